//! From settings to pools of connections.
//!
//! Invariant: every connection is to a server that takes writes, has a statement timeout, ends a transaction that its client left open, commits to the disk
//! and, to another machine, is encrypted with a verified certificate.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Plaintext, PostgresSettings};
use crate::StoreError;

const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

fn settings_error(problem: impl Into<String>) -> StoreError {
    StoreError::Settings(problem.into())
}

/// The pool for work, and one of a single connection for keeping the lead.
pub(super) fn pools(settings: &PostgresSettings, session: &str) -> Result<(Pool, Pool), StoreError> {
    Ok((pool(settings, session, settings.connections.max(1))?, pool(settings, session, 1)?))
}

/// The pool of readers, under a name of its own: a coordinator that takes over ends the sessions of the one before.
pub(super) fn readers(settings: &PostgresSettings) -> Result<Pool, StoreError> {
    pool(settings, "proofmill readers", settings.readers.max(1))
}

fn pool(settings: &PostgresSettings, session: &str, connections: usize) -> Result<Pool, StoreError> {
    if settings.holder.is_empty() {
        return Err(settings_error("the name of this coordinator is empty; give each one its own"));
    }
    let Parsed { mut config, authority } = parse(&settings.url, settings.plaintext)?;
    // What the command line names is newer than what the URL does.
    let ca_file = settings.ca_file.clone().or(authority);
    config.application_name(session);
    config.connect_timeout(CONNECT_PATIENCE);
    config.tcp_user_timeout(settings.patience());
    // A replica answers too, and would keep answering after the master moved elsewhere.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    let ours = [
        ("statement_timeout", settings.statement_timeout.as_millis().to_string()),
        // What a frozen coordinator left open must not stop the next one.
        ("idle_in_transaction_session_timeout", settings.lease.as_millis().to_string()),
        ("synchronous_commit", "on".to_owned()),
        // A plan made while a table was empty would read the whole table for as long as the connection lives.
        ("enable_seqscan", "off".to_owned()),
        ("jit", "off".to_owned()),
    ];
    let mut options = config.get_options().unwrap_or_default().to_owned();
    for (name, value) in ours {
        options.push_str(&format!(" -c {name}={value}"));
    }
    config.options(options.trim_start());
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match config.get_ssl_mode() {
        SslMode::Disable => Manager::from_config(config, NoTls, manager_config),
        _ => {
            let tls = MakeRustlsConnect::new(tls(ca_file.as_deref())?);
            Manager::from_config(config, tls, manager_config)
        }
    };
    Pool::builder(manager)
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(settings.patience()))
        .create_timeout(Some(CONNECT_PATIENCE * 2))
        .recycle_timeout(Some(CONNECT_PATIENCE))
        .build()
        .map_err(|error| settings_error(error.to_string()))
}

/// What a URL says.
struct Parsed {
    config: Config,
    /// `sslrootcert`: whose certificates to believe.
    authority: Option<PathBuf>,
}

/// Parameters of libpq that mean something else here, or nothing, and what to do instead.
const REFUSED: [(&str, &str); 6] = [
    ("sslcert", "client certificates are not supported: use a password"),
    ("sslkey", "client certificates are not supported: use a password"),
    ("sslpassword", "client certificates are not supported: use a password"),
    ("sslcrl", "revocation lists are not read"),
    ("service", "service files are not read: write host, database and user"),
    ("passfile", "password files are not read: put the password into PROOFMILL_DATABASE_URL"),
];

/// The URL with what its `sslmode` means here. The library knows `disable`, `prefer` and `require`; its `prefer` does not
/// fall back when a certificate is refused, so one of the others is chosen.
fn parse(url: &str, plaintext: Plaintext) -> Result<Parsed, StoreError> {
    if !["postgresql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(settings_error("the database's URL does not begin with postgresql://"));
    }
    let (base, parameters) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut authority) = (None, None);
    let mut kept = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if let Some((_, instead)) = REFUSED.iter().find(|(known, _)| *known == name) {
            return Err(settings_error(format!("{name} in the database's URL: {instead}")));
        }
        match name {
            "sslmode" => mode = Some(value),
            // The authorities that browsers believe.
            "sslrootcert" if value == "system" => authority = None,
            "sslrootcert" => authority = Some(PathBuf::from(unescaped(value)?)),
            // Only its name is quoted: values may be secret.
            _ if format!("postgresql://host/?{parameter}").parse::<Config>().is_err() => {
                return Err(settings_error(format!(
                    "{name} in the database's URL is no parameter that is known, or its value is wrong; for certificates \
                     use sslmode and sslrootcert (or --database-ca)"
                )));
            }
            _ => kept.push(parameter),
        }
    }
    // The library's own message may repeat parts of the URL, and with them a password.
    let mut config: Config = format!("{base}?{}", kept.join("&")).parse().map_err(|_| {
        settings_error("the database's URL cannot be read; check its parts and their escapes")
    })?;
    let local = config.get_hosts().iter().all(is_local);
    config.ssl_mode(match mode {
        Some("require" | "verify-ca" | "verify-full") => SslMode::Require,
        Some("disable") if local || plaintext == Plaintext::Anywhere => SslMode::Disable,
        Some("disable") => {
            return Err(settings_error(
                "sslmode=disable with a database on another machine sends passwords and coins in the clear; use \
                 sslmode=verify-full",
            ));
        }
        None | Some("allow" | "prefer") if local => SslMode::Disable,
        None | Some("allow" | "prefer") => SslMode::Require,
        Some(other) => {
            return Err(settings_error(format!("sslmode={other} is unknown; use verify-full or disable")));
        }
    });
    Ok(Parsed { config, authority })
}

/// Percent escapes of a URL.
fn unescaped(text: &str) -> Result<String, StoreError> {
    let wrong = || settings_error("an escape in the database's URL is wrong; write % as %25");
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let (high, low) = digit(high).zip(digit(low)).ok_or_else(wrong)?;
                bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
                after
            }
            (b'%', _) => return Err(wrong()),
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, StoreError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let unreadable = |problem: String| {
                settings_error(format!("{}: {problem}; give a file of PEM certificates", file.display()))
            };
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("it holds no certificate".to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| settings_error(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str, plaintext: Plaintext) -> Option<SslMode> {
        parse(url, plaintext).ok().map(|parsed| parsed.config.get_ssl_mode())
    }

    #[test]
    fn plaintext_is_for_sockets_and_loopback_unless_said_otherwise() {
        use Plaintext::{Anywhere, OnlyLocal};

        for local in ["%2Frun%2Fpostgresql", "localhost", "127.0.0.1", "[::1]"] {
            let url = format!("postgresql://me:secret@{local}/farm");
            assert_eq!(mode(&url, OnlyLocal), Some(SslMode::Disable), "{url}");
            assert_eq!(mode(&format!("{url}?sslmode=verify-full"), OnlyLocal), Some(SslMode::Require));
        }
        let remote = "postgres://me:secret@db.example/farm";
        assert_eq!(mode(remote, OnlyLocal), Some(SslMode::Require));
        assert_eq!(mode(&format!("{remote}?sslmode=prefer"), OnlyLocal), Some(SslMode::Require));
        assert_eq!(mode(&format!("{remote}?sslmode=disable"), OnlyLocal), None);
        assert_eq!(mode(&format!("{remote}?sslmode=disable"), Anywhere), Some(SslMode::Disable));
        assert_eq!(mode("postgres://localhost,db.example/farm", OnlyLocal), Some(SslMode::Require));
    }

    #[test]
    fn the_authority_in_the_url_is_taken_and_what_is_not_supported_is_named() {
        let authority = |parameters: &str| {
            parse(&format!("postgres://db.example/farm?{parameters}"), Plaintext::OnlyLocal)
                .unwrap()
                .authority
        };
        assert_eq!(authority("sslmode=verify-full&sslrootcert=/etc/ca.pem"), Some("/etc/ca.pem".into()));
        assert_eq!(authority("sslrootcert=%2Fetc%2Fmy%20ca.pem"), Some("/etc/my ca.pem".into()));
        assert_eq!(authority("sslrootcert=system"), None);
        let said = |parameter: &str| {
            let url = format!("postgres://me:secret@db.example/farm?{parameter}");
            let refused = parse(&url, Plaintext::OnlyLocal).err().map(|error| error.to_string());
            refused.filter(|text| text.contains("PM-STORE-008") && !text.contains("secret")).unwrap()
        };
        assert!(said("sslcert=secret.pem").contains("client certificates"));
        assert!(said("sslrotcert=secret.pem").contains("sslrotcert"));
        assert!(said("connect_timeout=secret").contains("connect_timeout"));
        assert!(said("sslrootcert=%2").contains("escape"));
    }

    #[test]
    fn an_unreadable_url_is_refused_without_repeating_its_password() {
        for url in
            ["host=localhost", "postgresql://me:secret@localhost:port/farm", "postgresql://h?sslmode=maybe"]
        {
            let refused = parse(url, Plaintext::OnlyLocal).err().map(|error| error.to_string());
            assert!(
                refused.is_some_and(|text| text.contains("PM-STORE-008") && !text.contains("secret")),
                "{url}"
            );
        }
    }
}
