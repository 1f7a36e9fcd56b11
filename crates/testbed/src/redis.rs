//! A private Redis, with the configuration and the users that the farm asks for (`infra/redis`).
//!
//! It listens on a port of 127.0.0.1 and on a unix socket in a folder of its own, and dies with the thread that started it.

use std::{
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Names the `redis-server` to run.
pub const BINARY_VARIABLE: &str = "PROOFMILL_REDIS_SERVER";
/// The URL of an administrator of a Redis that tests may wipe, in place of a private one.
pub const URL_VARIABLE: &str = "PROOFMILL_TEST_REDIS_URL";

const CONFIGURATION: &str = include_str!("../../../infra/redis/redis.conf");
const USERS: &str = include_str!("../../../infra/redis/users.acl");
/// The user of the file that shows what a pool's is like.
const EXAMPLE_POOL: &str = "pm-CHAIN-CONTRACT-pool-default";
const POOL_PASSWORD: &str = "pool-secret";
/// Longest wait for the server to answer.
const START: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error(
        "PM-TEST-010: redis-server cannot be started ({0}); install the package redis-server (Debian) or redis (Homebrew), \
         or name a binary in {BINARY_VARIABLE}"
    )]
    Missing(std::io::Error),
    #[error("PM-TEST-011: the private Redis did not start; its log: {0}")]
    Silent(String),
    #[error(
        "PM-TEST-012: the certificate for the private Redis cannot be made ({0}); install the package openssl"
    )]
    Certificate(String),
    #[error(
        "PM-TEST-013: this test kills or reconfigures Redis, which it does to a private one only; unset {URL_VARIABLE}"
    )]
    NotOurs,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Whether the port speaks TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    Plain,
    Tls,
}

#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub transport: Transport,
    /// Further lines of the configuration; they come last.
    pub configuration: Vec<String>,
}

/// A running Redis; killed when dropped.
pub struct Redis {
    folder: TempDir,
    port: u16,
    settings: Settings,
    child: Option<Child>,
    given: Option<String>,
}

impl Redis {
    /// # Errors
    /// `Missing`, `Silent`, `Io`.
    pub fn start() -> Result<Self, RedisError> {
        match std::env::var(URL_VARIABLE) {
            Ok(url) => Ok(Self {
                folder: TempDir::new()?,
                port: 0,
                settings: Settings::default(),
                child: None,
                given: Some(url),
            }),
            Err(_) => Self::with(Settings::default()),
        }
    }

    /// A private one, always.
    ///
    /// # Errors
    /// As `start`, and `Certificate`.
    pub fn with(settings: Settings) -> Result<Self, RedisError> {
        let folder = tempfile::Builder::new().prefix("pm-redis").tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = |name: &str| folder.path().join(name);
        let mut lines = vec![CONFIGURATION.to_owned()];
        lines.push(format!("bind 127.0.0.1\ndir {0}\nunixsocket {0}/redis.sock", folder.path().display()));
        lines.push(format!("aclfile {}\nlogfile {}", at("users.acl").display(), at("log").display()));
        match settings.transport {
            Transport::Plain => lines.push(format!("port {port}")),
            Transport::Tls => {
                certificate(folder.path())?;
                let (cert, key) = (at("cert.pem"), at("key.pem"));
                lines.push(format!("port 0\ntls-port {port}\ntls-auth-clients no"));
                lines.push(format!("tls-cert-file {}\ntls-key-file {}", cert.display(), key.display()));
            }
        }
        lines.extend(settings.configuration.iter().cloned());
        std::fs::write(at("redis.conf"), lines.join("\n"))?;
        std::fs::write(at("users.acl"), users())?;
        let mut redis = Self { folder, port, settings, child: None, given: None };
        redis.spawn()?;
        Ok(redis)
    }

    fn spawn(&mut self) -> Result<(), RedisError> {
        let binary = std::env::var_os(BINARY_VARIABLE).unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(binary);
        command.arg(self.folder.path().join("redis.conf")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: between fork and exec only a system call is made, which allocates nothing and takes no lock.
        #[cfg(target_os = "linux")]
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                    .map_err(Into::into)
            });
        }
        self.child = Some(command.spawn().map_err(RedisError::Missing)?);
        let deadline = Instant::now() + START;
        // It answers on the socket only after its append-only file is read; before, it says that it is loading.
        while !answers(&self.socket()) {
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                self.stop();
                return Err(RedisError::Silent(log));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn url_of(&self, user: &str, password: &str) -> String {
        match &self.given {
            Some(url) => url.clone(),
            None => format!("{}://{user}:{password}@127.0.0.1:{}", self.scheme(), self.port),
        }
    }

    fn scheme(&self) -> &'static str {
        match self.settings.transport {
            Transport::Plain => "redis",
            Transport::Tls => "rediss",
        }
    }

    /// Of the coordinator's user.
    pub fn url(&self) -> String {
        self.url_of("proofmill-coordinator", "coordinator-secret")
    }

    /// Of the user of a pool in the deployment with this prefix, which is made if it is not there. It survives a restart.
    ///
    /// # Errors
    /// `Io`.
    pub fn pool_url(&self, prefix: &str, pool: &str) -> Result<String, RedisError> {
        let (user, rules) = pool_user(prefix, pool);
        if self.given.is_none() {
            for command in [format!("ACL SETUSER {user} reset {rules}"), "ACL SAVE".to_owned()] {
                self.administer(&command)?;
            }
        }
        Ok(self.url_of(&user, POOL_PASSWORD))
    }

    /// Of the user that may do everything.
    pub fn admin_url(&self) -> String {
        self.url_of("default", "admin-secret")
    }

    /// PEM of the certificate that signed itself; for TLS only.
    ///
    /// # Errors
    /// `Io`.
    pub fn authority(&self) -> Result<Vec<u8>, RedisError> {
        Ok(std::fs::read(self.folder.path().join("cert.pem"))?)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// `NotOurs`.
    pub fn kill(&mut self) -> Result<(), RedisError> {
        if self.given.is_some() {
            return Err(RedisError::NotOurs);
        }
        self.stop();
        Ok(())
    }

    /// Makes it forget everything, as `FLUSHALL` of an administrator does.
    ///
    /// # Errors
    /// `NotOurs`, `Io`.
    pub fn wipe(&self) -> Result<(), RedisError> {
        if self.given.is_some() {
            return Err(RedisError::NotOurs);
        }
        self.administer("FLUSHALL")
    }

    /// Has the administrator say a command whose answer is `OK`.
    fn administer(&self, command: &str) -> Result<(), RedisError> {
        let reply = ask(&self.socket(), command)?;
        let refused = || std::io::Error::other(String::from_utf8_lossy(&reply).into_owned());
        if reply == b"+OK\r\n" { Ok(()) } else { Err(refused().into()) }
    }

    /// Kills it and starts it again on the same port with what it had on disk.
    ///
    /// # Errors
    /// As `start`, `NotOurs`.
    pub fn restart(&mut self) -> Result<(), RedisError> {
        self.kill()?;
        self.spawn()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The users of the farm with passwords for tests; a pool's come with [`Redis::pool_url`].
fn users() -> String {
    let fixed: Vec<&str> = USERS.lines().filter(|line| !line.contains(EXAMPLE_POOL)).collect();
    (fixed.join("\n") + "\n")
        .replace("CHANGE-ME-ADMIN", "admin-secret")
        .replace("CHANGE-ME-COORDINATOR", "coordinator-secret")
}

/// Name and rules of a pool's user, as the file's example has them.
fn pool_user(prefix: &str, pool: &str) -> (String, String) {
    let line = USERS.lines().find(|line| line.contains(EXAMPLE_POOL)).unwrap_or_default();
    let dashed = prefix.replace(':', "-");
    let line = line
        .replace(EXAMPLE_POOL, &format!("{dashed}-pool-{pool}"))
        .replace("pm:CHAIN:CONTRACT:pool:default:", &format!("{prefix}:pool:{pool}:"))
        .replace("CHANGE-ME-POOL", POOL_PASSWORD);
    let mut words = line.split(' ').skip(1);
    let user = words.next().unwrap_or_default().to_owned();
    (user, words.collect::<Vec<_>>().join(" "))
}

fn answers(socket: &Path) -> bool {
    ask(socket, "PING").is_ok_and(|reply| reply == b"+PONG\r\n")
}

/// The one line that the administrator is answered.
fn ask(socket: &Path, command: &str) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("AUTH default admin-secret\r\n{command}\r\n").as_bytes())?;
    let mut reply = Vec::new();
    let mut piece = [0u8; 64];
    while reply.iter().filter(|byte| **byte == b'\n').count() < 2 {
        let length = stream.read(&mut piece)?;
        if length == 0 {
            break;
        }
        reply.extend_from_slice(&piece[..length]);
    }
    Ok(reply.strip_prefix(b"+OK\r\n").unwrap_or(&reply).to_vec())
}

fn certificate(folder: &Path) -> Result<(), RedisError> {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
        .output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(RedisError::Certificate(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) => Err(RedisError::Certificate(error.to_string())),
    }
}
