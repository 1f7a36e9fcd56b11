//! `https://`: only a server whose certificate is in order is spoken to, and each refusal says what to do.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
};

use client::api::{Client, ClientError};
use coordinator::chain::{
    Chain as _,
    evm::{EvmChain, EvmSettings},
};
use l1::{
    http::{ClientIdentity, Endpoint, HttpLimits, TlsOptions},
    node::RemoteSigner,
};
use protocol::l1::{ChainError, SubmitBatch};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::PrivateKeyDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use serde_json::json;
use testbed::chain::{Backend, DEV_CHAIN};

use crate::{
    fake::{CONTRACT, Fake, Reply, key},
    mill::{Mill, operator},
    signer::sign,
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with such a certificate; clients must have one of `clients`, if there is one.
fn server(
    params: CertificateParams,
    signed_by: Option<&Authority>,
    clients: Option<&Authority>,
) -> Arc<ServerConfig> {
    let secret = KeyPair::generate().unwrap();
    let certificate = match signed_by {
        Some(authority) => params.signed_by(&secret, authority).unwrap(),
        None => params.self_signed(&secret).unwrap(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let verifier: Arc<dyn ClientCertVerifier> = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap()
        }
    };
    let chain = vec![certificate.der().clone()];
    let secret = PrivateKeyDer::try_from(secret.serialize_der()).unwrap();
    Arc::new(builder.with_client_cert_verifier(verifier).with_single_cert(chain, secret).unwrap())
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn trusting(&self, authority: &Authority) -> TlsOptions {
        TlsOptions { ca_file: Some(self.write("ca.pem", &authority.pem())), identity: None }
    }

    /// A certificate for clients, of the authority.
    fn identity(&self, authority: &Authority) -> Option<ClientIdentity> {
        let secret = KeyPair::generate().unwrap();
        let certificate = named("coordinator").signed_by(&secret, authority).unwrap();
        Some(ClientIdentity {
            certificate: self.write("client.pem", &certificate.pem()),
            key: self.write("client.key", &secret.serialize_pem()),
        })
    }
}

/// What a coordinator says that is started with a node behind this server.
async fn refusal(config: Arc<ServerConfig>, tls: TlsOptions) -> String {
    let fake = Fake::start_tls(config, |_, _| Reply::Result(json!("0x1")));
    let settings = EvmSettings::new(Endpoint::new(&fake.url, tls), CONTRACT, 0);
    let error = EvmChain::connect(settings, key()).await.unwrap_err();
    let requests = fake.requests.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(requests, 0, "nothing was asked of a server that is not trusted");
    assert!(matches!(error, ChainError::Unreachable(_)), "a certificate can be renewed: {error}");
    let words = error.to_string();
    assert!(words.contains("PM-HTTP-003") && words.contains("localhost:"), "{words}");
    assert!(!words.contains("/key"), "{words}");
    words
}

#[tokio::test]
async fn a_node_and_an_api_with_a_certificate_of_an_authority_given_by_ca_are_spoken_to() {
    let (authority, files) = (authority(), Files::new());
    let config = server(named("localhost"), Some(&authority), None);
    let fake = Fake::start_tls(Arc::clone(&config), |method, _| match method {
        "eth_chainId" => Reply::Result(json!("0x1")),
        "" => Reply::Raw(200, br#"{"data":{"batch":null}}"#.to_vec()),
        _ => Reply::Error(-32_000, "the connection is good"),
    });
    let trusted = Endpoint::new(&fake.url, files.trusting(&authority));
    let error = EvmChain::connect(EvmSettings::new(trusted, CONTRACT, 0), key()).await.unwrap_err();
    assert!(error.to_string().contains("no Proofmill contract"), "{error}");

    let base = fake.url.trim_end_matches("/key");
    let api = Client::new(Endpoint::new(base, files.trusting(&authority)));
    assert!(api.batch(1).await.unwrap().is_none());
    let untrusting = Client::new(base).batch(1).await.unwrap_err();
    assert!(
        matches!(&untrusting, ClientError::Transport { .. } if !untrusting.is_retryable()),
        "{untrusting}"
    );
    assert!(untrusting.to_string().contains("--ca FILE"), "{untrusting}");
}

#[tokio::test]
async fn a_certificate_that_is_foreign_expired_or_of_another_host_is_refused_and_says_what_to_do() {
    let (ours, files) = (authority(), Files::new());
    let foreign = server(named("localhost"), Some(&authority()), None);
    assert!(refusal(Arc::clone(&foreign), files.trusting(&ours)).await.contains("--ca FILE"));
    assert!(refusal(foreign, TlsOptions::default()).await.contains("--ca FILE"));
    let alone = server(named("localhost"), None, None);
    assert!(refusal(alone, files.trusting(&ours)).await.contains("--ca FILE"));
    let mut old = named("localhost");
    (old.not_before, old.not_after) = (date_time_ymd(1999, 1, 1), date_time_ymd(2001, 1, 1));
    let words = refusal(server(old, Some(&ours), None), files.trusting(&ours)).await;
    assert!(words.contains("expired") && words.contains("renewed"), "{words}");
    let mut early = named("localhost");
    (early.not_before, early.not_after) = (date_time_ymd(3000, 1, 1), date_time_ymd(3001, 1, 1));
    let words = refusal(server(early, Some(&ours), None), files.trusting(&ours)).await;
    assert!(words.contains("not valid yet") && words.contains("clock"), "{words}");
    let other = server(named("node.example"), Some(&ours), None);
    let words = refusal(other, files.trusting(&ours)).await;
    assert!(words.contains("for another name"), "{words}");
}

#[tokio::test]
async fn a_server_without_tls_and_files_that_are_no_certificates_are_refused_with_a_sentence() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 1_000]);
    });
    let settings = EvmSettings::new(url, CONTRACT, 0);
    let words = EvmChain::connect(settings, key()).await.unwrap_err().to_string();
    assert!(words.contains("does not speak TLS"), "{words}");
    let files = Files::new();
    for (file, complaint) in [
        (files.write("empty.pem", ""), "holds no certificate"),
        (files.write("garbage.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"), "PEM"),
        (files.0.path().join("missing.pem"), "PEM"),
    ] {
        let tls = TlsOptions { ca_file: Some(file.clone()), identity: None };
        let settings = EvmSettings::new(Endpoint::new("https://localhost:1", tls), CONTRACT, 0);
        let words = EvmChain::connect(settings, key()).await.unwrap_err().to_string();
        assert!(words.contains(complaint) && words.contains(&file.display().to_string()), "{words}");
    }
}

#[tokio::test]
async fn a_remote_signer_that_wants_a_client_certificate_signs_only_for_who_has_one() {
    let (ours, clients, files) = (authority(), authority(), Files::new());
    let mill = Mill::start(Backend::DevChain).await;
    let batch: SubmitBatch = mill.batch(vec![], &[], vec![]).await;
    let config = server(named("localhost"), Some(&ours), Some(&clients));
    let fake = Fake::start_tls(config, |method, params| match method {
        "eth_signTransaction" => sign(&params[0], 0),
        _ => Reply::Error(-32_601, "no such method"),
    });
    let signed_with = async |identity: Option<ClientIdentity>| {
        let tls = TlsOptions { identity, ..files.trusting(&ours) };
        let endpoint = Endpoint::new(&fake.url, tls);
        let signer = RemoteSigner::new(endpoint, operator().address(), HttpLimits::default()).unwrap();
        let mut settings = EvmSettings::new(&mill.node.url, mill.deployed.contract, mill.deployed.block);
        settings.chain_id = Some(DEV_CHAIN);
        let chain = EvmChain::connect(settings, signer).await.unwrap();
        let fees = chain.fees().await.unwrap();
        chain.sign_submit(std::slice::from_ref(&batch), 1, fees, 1_000_000).await
    };
    for identity in [None, files.identity(&authority())] {
        let error = signed_with(identity).await.unwrap_err().to_string();
        assert!(error.contains("--signer-cert FILE and --signer-key FILE"), "{error}");
    }
    let signed = signed_with(files.identity(&clients)).await.unwrap();
    assert_eq!(signed.nonce, 1);
}
