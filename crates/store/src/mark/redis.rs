//! The mark in the farm's Redis: one key, as text. Losing it is no fault while another mark is there; it is written again.

use std::time::Duration;

use protocol::OperationId;
use queue::redis::Settings;
use redis::{Client, Connection, IntoConnectionInfo, TlsCertificates};

use super::{HighWater, Mark, MarkError};

const PATIENCE: Duration = Duration::from_secs(2);
/// Numbers are written with all their digits, so that texts compare as they do.
const RAISE: &str = "local known = redis.call('GET', KEYS[1])
if not known or string.sub(known, 1, 20) < string.sub(ARGV[1], 1, 20) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1";

/// `<prefix>:mark`.
pub struct RedisMark {
    client: Client,
    key: String,
    connection: Option<Connection>,
}

fn unusable(problem: impl std::fmt::Display) -> MarkError {
    MarkError::Redis(problem.to_string())
}

impl RedisMark {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// `MarkError::Redis` for a URL or certificate that cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, MarkError> {
        let mut info = settings.url.as_str().into_connection_info().map_err(unusable)?;
        let mut redis = info.redis_settings().clone().set_skip_set_lib_name();
        if let Some(password) = &settings.password {
            redis = redis.set_password(password);
        }
        info = info.set_redis_settings(redis);
        let client = match &settings.authority {
            Some(pem) => Client::build_with_tls(
                info,
                TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) },
            ),
            None => Client::open(info),
        };
        let key = format!("{}:mark", settings.prefix);
        Ok(Self { client: client.map_err(unusable)?, key, connection: None })
    }

    /// Whatever fails, the next call has a connection of its own: this one may be to a replica by now.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection, &str) -> redis::RedisResult<T>,
    ) -> Result<T, MarkError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.client.get_connection_with_timeout(PATIENCE).map_err(unusable)?;
                connection.set_read_timeout(Some(PATIENCE)).map_err(unusable)?;
                connection.set_write_timeout(Some(PATIENCE)).map_err(unusable)?;
                connection
            }
        };
        let answer = call(&mut connection, &self.key).map_err(unusable)?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

impl Mark for RedisMark {
    fn place(&self) -> String {
        format!("Redis ({})", self.key)
    }

    fn read(&mut self) -> Result<Option<HighWater>, MarkError> {
        let text: Option<String> =
            self.call(|connection, key| redis::cmd("GET").arg(key).query(connection))?;
        text.map(|text| parse(&text).ok_or_else(|| unusable(format!("it reads {text:?}")))).transpose()
    }

    fn raise(&mut self, to: &HighWater) -> Result<(), MarkError> {
        // Whole, not by its hash: what the coordinator's user may do is `EVAL`.
        self.call(|connection, key| {
            redis::cmd("EVAL").arg(RAISE).arg(1).arg(key).arg(text(to)).query(connection)
        })
    }

    fn reset(&mut self, to: &HighWater) -> Result<(), MarkError> {
        self.call(|connection, key| redis::cmd("SET").arg(key).arg(text(to)).query(connection))
    }
}

fn text(mark: &HighWater) -> String {
    let HighWater { sequence, digest, batch_no, deadline, operation } = mark;
    let operation = operation.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{sequence:020} {batch_no} {deadline} {operation} {}", hex::encode(digest))
}

fn parse(text: &str) -> Option<HighWater> {
    let mut parts = text.split(' ');
    let mut part = || parts.next();
    let mark = HighWater {
        sequence: part()?.parse().ok()?,
        batch_no: part()?.parse().ok()?,
        deadline: part()?.parse().ok()?,
        operation: match part()? {
            "-" => None,
            id => Some(OperationId::parse(id)?),
        },
        digest: {
            let mut digest = [0; 32];
            hex::decode_to_slice(part()?, &mut digest).ok()?;
            digest
        },
    };
    parts.next().is_none().then_some(mark)
}
