//! HTTP with or without TLS: every client of this program that speaks to a node, a remote signer or an API is made here.
//!
//! Invariant: an answer is never longer than [`HttpLimits::max_answer_bytes`] in memory and takes no longer than
//! [`HttpLimits::timeout`]; over `https://` the server's certificate is verified against the system's roots and those of
//! [`TlsOptions::ca_file`], by name and time, and there is no way around that; redirects are not followed; no error quotes
//! an address beyond its host (the path of a node's address often is a key).
//!
//! Known limit: it connects directly, never over an HTTP proxy.

use std::{
    error::Error as StdError,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
pub use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{
    Request, StatusCode,
    header::{CONTENT_TYPE, HeaderName, RETRY_AFTER},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use percent_encoding::percent_decode_str;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use url::Url;

/// How long a connection without a request is kept: shorter than servers keep one (5 s in Node.js and here, 120 s in geth),
/// so that no request is sent on a connection that is being closed.
const IDLE: Duration = Duration::from_secs(4);

/// How long an answer may take and how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Of a request from its first byte to the last of the answer.
    pub timeout: Duration,
    /// Of opening a connection.
    pub connect_timeout: Duration,
    pub max_answer_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_answer_bytes: 32 << 20,
        }
    }
}

/// Whom we trust and who we are, over `https://`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM certificates of authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    pub identity: Option<ClientIdentity>,
}

/// PEM files of the certificate with which we introduce ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// An address and how its server is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://` or `https://`.
    pub url: String,
    pub tls: TlsOptions,
}

impl Endpoint {
    pub fn new(url: impl Into<String>, tls: TlsOptions) -> Self {
        Self { url: url.into(), tls }
    }

    /// Host and port, which may be shown; the path often is a key.
    pub fn host(&self) -> String {
        Url::parse(&self.url).map_or_else(|_| "the server".to_owned(), |url| host_of(&url))
    }
}

impl From<&str> for Endpoint {
    fn from(url: &str) -> Self {
        Self::new(url, TlsOptions::default())
    }
}

impl From<&String> for Endpoint {
    fn from(url: &String) -> Self {
        Self::new(url, TlsOptions::default())
    }
}

impl From<String> for Endpoint {
    fn from(url: String) -> Self {
        Self::new(url, TlsOptions::default())
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("PM-HTTP-001: {0}")]
    Settings(String),
    /// Nothing was sent.
    #[error("PM-HTTP-002: {host} does not answer: {reason}; check that it runs and can be reached")]
    Connect { host: String, reason: String },
    /// Nothing was sent, or nothing that was sent counted.
    #[error("PM-HTTP-003: no secure connection to {host}: {reason}")]
    Secure { host: String, reason: String },
    /// What was asked may have been done.
    #[error(
        "PM-HTTP-004: {host} gave no whole answer in {seconds} s; it is overloaded, or asked for too much at once"
    )]
    Timeout { host: String, seconds: u64 },
    /// What was asked may have been done.
    #[error("PM-HTTP-005: the connection to {host} ended before its answer did: {reason}; ask again")]
    Cut { host: String, reason: String },
    /// What was asked may have been done.
    #[error("PM-HTTP-006: the answer of {host} is longer than {limit} bytes; ask for less at once")]
    TooLong { host: String, limit: usize },
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: StatusCode,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

/// A client of one address. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: hyper::Uri,
    authorization: Option<HeaderValue>,
    host: String,
    limits: HttpLimits,
}

impl HttpClient {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// `Settings` unless the address is an `http` or `https` URL and the files with certificates can be read.
    pub fn new(endpoint: &Endpoint, limits: HttpLimits) -> Result<Self, HttpError> {
        let settings = |problem: String| HttpError::Settings(problem);
        let mut url = Url::parse(&endpoint.url).map_err(|error| {
            settings(format!("the address is not a URL ({error}); give http:// or https://"))
        })?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(settings(format!("{other}:// is not spoken; give http:// or https://"))),
        };
        let (host, authorization) = (host_of(&url), authorization(&url)?);
        let anonymous = url.set_username("").and_then(|()| url.set_password(None));
        anonymous.map_err(|()| settings("the address has no host".to_owned()))?;
        url.set_fragment(None);
        let uri = hyper::Uri::try_from(url.as_str())
            .map_err(|error| settings(format!("the address cannot be used ({error})")))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.connect_timeout));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls(&endpoint.tls, secure)?);
        let connector = if secure { builder.https_only() } else { builder.https_or_http() };
        let connector = connector.enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { client, uri, authorization, host, limits })
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// Posts a JSON text and reads the whole answer.
    ///
    /// # Errors
    /// All but `Settings`.
    pub async fn post(
        &self,
        body: Vec<u8>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<HttpAnswer, HttpError> {
        let request = Request::post(&self.uri).header(CONTENT_TYPE, "application/json");
        self.send(request, body, headers).await
    }

    /// Reads the whole answer to a GET.
    ///
    /// # Errors
    /// All but `Settings`.
    pub async fn get(&self) -> Result<HttpAnswer, HttpError> {
        self.send(Request::get(&self.uri), Vec::new(), &[]).await
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Vec<u8>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<HttpAnswer, HttpError> {
        let mut request = request.header(ACCEPT, "application/json");
        if let Some(map) = request.headers_mut() {
            map.extend(self.authorization.clone().map(|value| (AUTHORIZATION, value)));
            headers.iter().for_each(|(name, value)| drop(map.insert(name, value.clone())));
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| HttpError::Settings(format!("the request cannot be made ({error})")))?;
        let seconds = self.limits.timeout.as_secs().max(1);
        match tokio::time::timeout(self.limits.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Timeout { host: self.host.clone(), seconds }),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<HttpAnswer, HttpError> {
        let response =
            self.client.request(request).await.map_err(|error| self.failed(&error, error.is_connect()))?;
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.failed(&error, false))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > self.limits.max_answer_bytes {
                let limit = self.limits.max_answer_bytes;
                return Err(HttpError::TooLong { host: self.host.clone(), limit });
            }
            bytes.extend_from_slice(&data);
        }
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(HttpAnswer { status: head.status, retry_after, body: bytes })
    }

    fn failed(&self, error: &(dyn StdError + 'static), connecting: bool) -> HttpError {
        let host = self.host.clone();
        if let Some(refused) = tls_error(error) {
            return HttpError::Secure { host, reason: tls_words(refused) };
        }
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        if connecting { HttpError::Connect { host, reason } } else { HttpError::Cut { host, reason } }
    }
}

fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or("the server").to_owned(),
    }
}

/// Name and password of an address, which hosted nodes take as basic authentication.
fn authorization(url: &Url) -> Result<Option<HeaderValue>, HttpError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| HttpError::Settings("name and password of the address cannot be used".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Roots are read only where they are needed.
fn tls(options: &TlsOptions, secure: bool) -> Result<ClientConfig, HttpError> {
    let mut roots = RootCertStore::empty();
    if secure {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if let Some(file) = &options.ca_file {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| unreadable(file, &error))?;
        }
    }
    if secure && roots.is_empty() {
        return Err(HttpError::Settings(
            "this system has no root certificates; install its ca-certificates, or pass --ca FILE".to_owned(),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::Settings(error.to_string()))?
        .with_root_certificates(roots);
    let Some(ClientIdentity { certificate, key }) = &options.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| {
        let (key, certificate) = (key.display(), certificate.display());
        HttpError::Settings(format!("the key {key} does not go with the certificate {certificate} ({error})"))
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unreadable(file, &"it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn unreadable(file: &Path, problem: &dyn std::fmt::Display) -> HttpError {
    HttpError::Settings(format!("{}: {problem}; give a file in PEM form", file.display()))
}

/// The TLS error below an error of the client: inside of I/O errors too, which do not name it as their source.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// What is wrong and what to do about it.
fn tls_words(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match error {
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired; have it renewed, or correct this machine's clock".to_owned()
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "its certificate is not valid yet; correct this machine's clock".to_owned()
        }
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name; use the name that is in the certificate as the host of the address, and \
              check that the address is right"
            .to_owned(),
        InvalidCertificate(CertificateError::Revoked) => {
            "its certificate was revoked; do not use this server until it has another one".to_owned()
        }
        InvalidCertificate(other) => format!(
            "its certificate comes from no authority that is trusted here ({other}); if the server is yours, pass the PEM \
             certificate of the authority that signed it with --ca FILE"
        ),
        AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::HandshakeFailure,
        ) => format!(
            "it refuses us ({error}); where it wants a client certificate, pass one that it knows (for a remote signer \
             --signer-cert FILE and --signer-key FILE)"
        ),
        InvalidMessage(_) => format!("it does not speak TLS ({error}); check the port, or use http:// where that is safe"),
        other => format!("{other}; check the server's TLS settings"),
    }
}
