//! What the built binary refuses of a farm's Redis and PostgreSQL, and what it says must be done.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bn254::{Curve, Fr, G2Affine};
use circuits::shape::Shape;
use devchain::{DEV_ACCOUNTS, DevChain};
use l1::node::{AccountKey, Deployed, deploy};
use prover::{Key, VerifyingKey};
use serde_json::json;
use tempfile::TempDir;
use testbed::{
    postgres::{Postgres, Settings as PostgresSettings},
    redis::{Redis, Settings},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn proofmill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmill"));
    command.args(arguments).env("PROOFMILL_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1");
    for name in ["PROOFMILL_RPC", "PROOFMILL_API", "PROOFMILL_OPERATOR_KEY", "PROOFMILL_DATABASE_URL"] {
        command.env_remove(name);
    }
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// It must fail; what it says.
fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn kernels_that_nobody_knows_are_refused_with_the_names_of_those_there_are() {
    let said = |name: &str| refusal(proofmill(&["circuit", "info", "s3m1"]).env("PROOFMILL_ENGINE", name));
    for name in ["avx1024", "AVX2", "ifma,avx2"] {
        let text = said(name);
        assert!(text.contains("PM-CPU-002") && text.contains("portable") && text.contains("ifma"), "{text}");
    }
    for name in ["portable", "avx2", ""] {
        let output = proofmill(&["circuit", "info", "s3m1"]).env("PROOFMILL_ENGINE", name).output().unwrap();
        assert!(output.status.success(), "{}", said(name));
    }
}

fn doctor(redis: &Redis, more: &[&str]) -> (String, bool) {
    let keys = tempfile::tempdir().unwrap();
    let mut command = proofmill(&["doctor", "--redis-url", &redis.url(), "--keys"]);
    let output = command.arg(keys.path()).args(more).output();
    let output = output.unwrap();
    (said(&output), output.status.success())
}

#[test]
fn doctor_finds_the_shipped_configuration_well_and_refuses_a_redis_that_evicts() {
    let redis = Redis::with(Settings::default()).unwrap();
    let (text, good) = doctor(&redis, &[]);
    assert!(good && text.contains("no user was looked at: name a pool"), "{text}");
    let (text, _) = doctor(&redis, &["--pool", "rack-1", "--redis-prefix", "pm:1:0xab"]);
    assert!(text.contains("there is no user pm-1-0xab-pool-rack-1"), "{text}");
    let configuration = vec!["maxmemory 100mb".to_owned(), "maxmemory-policy allkeys-lru".to_owned()];
    let (text, good) = doctor(&Redis::with(Settings { configuration, ..Settings::default() }).unwrap(), &[]);
    assert!(!good && text.contains("allkeys-lru") && text.contains("noeviction"), "{text}");
}

#[test]
fn a_worker_says_why_redis_does_not_let_it_in() {
    let redis = Redis::with(Settings::default()).unwrap();
    let keys = tempfile::tempdir().unwrap();
    let worker = |url: &str| {
        refusal(
            proofmill(&[
                "worker",
                "--backend",
                "cpu",
                "--circuits",
                "s3m1",
                "--redis-url",
                url,
                "--redis-prefix",
            ])
            .args(["pm:1:0x00", "--keys"])
            .arg(keys.path()),
        )
    };
    let url = redis.pool_url("pm:1:0x00", "default").unwrap();
    let secret = url.split('@').next().unwrap().rsplit(':').next().unwrap();
    let wrong = worker(&url.replace(secret, "guessed"));
    assert!(wrong.contains("PM-QUEUE-004") && wrong.contains("password"), "{wrong}");
    assert!(!wrong.contains("guessed"), "a password is never shown: {wrong}");
    let nobody = worker("redis://proofmill-worker:secret@127.0.0.1:1");
    assert!(nobody.contains("PM-QUEUE-003") && !nobody.contains("secret"), "{nobody}");
    let garbled = worker("http://127.0.0.1");
    assert!(garbled.contains("PM-QUEUE"), "{garbled}");
}

#[test]
fn a_worker_without_its_key_or_with_an_unknown_circuit_says_which() {
    let redis = Redis::with(Settings::default()).unwrap();
    let keys = tempfile::tempdir().unwrap();
    let worker = |circuits: &str| {
        let url = redis.pool_url("pm:1:0x00", "default").unwrap();
        refusal(
            proofmill(&["worker", "--backend", "cpu", "--redis-prefix", "pm:1:0x00", "--redis-url", &url])
                .args(["--circuits", circuits, "--keys"])
                .arg(keys.path()),
        )
    };
    let missing = worker("s3m1");
    assert!(missing.contains("s3m1") && missing.contains("key"), "{missing}");
    let unknown = worker("s3m1,s5m5");
    assert!(unknown.contains("s5m5"), "{unknown}");
}

/// A folder with the development key of s3m1.
fn dev_keys() -> &'static TempDir {
    static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
        let keys = tempfile::tempdir().unwrap();
        let made = proofmill(&["keys", "setup-dev", "--out"]).arg(keys.path()).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        keys
    });
    &KEYS
}

/// A contract that accepts proofs of s3m1 under this key.
async fn deploy_with(rpc: &str, digest: [u8; 32], key: &VerifyingKey) -> Deployed {
    let circuit = l1::contract::CircuitKey {
        number: Shape::S3M1.number(),
        slots: Shape::S3M1.slots() as u32,
        mint_places: Shape::S3M1.mint_places() as u32,
        dev_key: true,
        digest,
        key: l1::contract::VerifyingKey {
            alpha: key.alpha_g1,
            beta: key.beta_g2,
            gamma: key.gamma_g2,
            delta: key.delta_g2,
            ic: key.ic.clone().try_into().unwrap(),
        },
    };
    let operator = AccountKey::from_hex(DEV_ACCOUNTS[0].private_key).unwrap();
    let config = l1::contract::Config::new(operator.address());
    deploy(rpc, &operator, &config, &[circuit]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_that_answers_must_be_of_one_chain() {
    let key = tokio::task::spawn_blocking(|| Key::open(&dev_keys().path().join("s3m1.pmkey"), None));
    let key = key.await.unwrap().unwrap();
    let chain_of = async |chain_id: u64| {
        let config = devchain::Config { chain_id, ..devchain::Config::default() };
        let chain = DevChain::start(config).await.unwrap();
        let deployed = deploy_with(&chain.url(), key.circuit(), key.verifying_key()).await;
        (chain, deployed)
    };
    // One account and one nonce: the contracts have one address.
    let ((ours, here), (other, there)) = (chain_of(31_337).await, chain_of(1337).await);
    assert_eq!(here.contract, there.contract);
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let owner = folder.path().join("owner.key");
    fs::write(&owner, DEV_ACCOUNTS[0].private_key).unwrap();
    fs::set_permissions(&owner, Permissions::from_mode(0o600)).unwrap();
    let away = "http://127.0.0.1:1".to_owned();
    let name = other.url().trim_start_matches("http://").trim_end_matches('/').to_owned();

    let all = [away.clone(), ours.url(), other.url()].join(",");
    let mut coordinator = proofmill(&["coordinator", "--rpc", &all, "--circuits", "s3m1", "--contract"]);
    coordinator
        .arg(format!("0x{}", hex::encode(here.contract)))
        .args(["--first-block", "0", "--port", "0", "--admin", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .arg("--keys")
        .arg(dev_keys().path())
        .env("PROOFMILL_OPERATOR_KEY", DEV_ACCOUNTS[0].private_key);
    let text = tokio::task::spawn_blocking(move || refusal(&mut coordinator)).await.unwrap();
    let expected = format!("node {name}: it is of chain 1337, the first one of chain 31337");
    assert!(text.contains(&expected) && !text.contains("127.0.0.1:1:"), "{text}");

    let deploy = move |rpc: String| {
        let mut command = proofmill(&["deploy", "--rpc", &rpc, "--yes", "--key-file"]);
        command.arg(&owner).arg("--keys").arg(dev_keys().path()).current_dir(folder.path());
        let output = command.output().unwrap();
        (output.status.success(), said(&output))
    };
    let (one_of_each, of_one) = (all, [away, ours.url()].join(","));
    let deployed = tokio::task::spawn_blocking(move || (deploy(one_of_each), deploy(of_one)));
    let ((refused, words), (done, said)) = deployed.await.unwrap();
    assert!(!refused && words.contains("is of chain 1337, the first node of chain 31337"), "{words}");
    assert!(done && said.contains("deployment.toml is written"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_whose_key_is_not_the_contracts_does_not_start_and_names_both() {
    let key = tokio::task::spawn_blocking(|| Key::open(&dev_keys().path().join("s3m1.pmkey"), None));
    let key = key.await.unwrap().unwrap();
    let here = key.verifying_key();
    // As after one more contribution to the same ceremony: the circuit is the same, and all points but delta's.
    let double = |point: G2Affine| (point * Fr::from(2)).to_affine();
    let delta_g1 = (here.delta_g1 * Fr::from(2)).to_affine();
    let there = VerifyingKey { delta_g1, delta_g2: double(here.delta_g2), ..here.clone() };
    there.validate().unwrap();
    let chain = DevChain::start(devchain::Config::default()).await.unwrap();
    let deployed = deploy_with(&chain.url(), key.circuit(), &there).await;

    let data = tempfile::tempdir().unwrap();
    let coordinator = |circuits: &str| {
        let mut command =
            proofmill(&["coordinator", "--rpc", &chain.url(), "--circuits", circuits, "--contract"]);
        command.arg(format!("0x{}", hex::encode(deployed.contract)));
        command.args(["--first-block", &deployed.block.to_string(), "--data-dir"]).arg(data.path());
        command
            .arg("--keys")
            .arg(dev_keys().path())
            .env("PROOFMILL_OPERATOR_KEY", DEV_ACCOUNTS[0].private_key);
        tokio::task::spawn_blocking(move || refusal(&mut command))
    };
    let text = coordinator("s3m1").await.unwrap();
    assert!(text.contains("not the contract's"), "{text}");
    for digest in [here.digest(), there.digest()] {
        assert!(text.contains(&hex::encode(digest)), "{text}");
    }
}

/// In front of a node, while `refuses` is set: it takes no transaction, for a fee cap of its own.
async fn with_fee_cap(node: String, refuses: Arc<AtomicBool>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut bytes, mut more) = (Vec::new(), [0; 65_536]);
            let body = loop {
                let read = stream.read(&mut more).await.unwrap();
                bytes.extend_from_slice(&more[..read]);
                let text = String::from_utf8_lossy(&bytes);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| {
                    line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                });
                if read == 0 || length.is_none_or(|length: usize| body.len() >= length) {
                    break body.to_owned();
                }
            };
            let asked: serde_json::Value = serde_json::from_str(&body).unwrap();
            let answer = if refuses.load(Ordering::SeqCst) && asked["method"] == "eth_sendRawTransaction" {
                let error = json!({"code": -32_000, "message": "tx fee (1.35 ether) exceeds the configured cap (1.00 ether)"});
                json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}).to_string()
            } else {
                reqwest::Client::new().post(&node).json(&asked).send().await.unwrap().text().await.unwrap()
            };
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
            let _ = stream.write_all((head + &answer).as_bytes()).await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_no_pool_takes_is_signed_again_at_the_same_nonce() {
    let chain = DevChain::start(devchain::Config::default()).await.unwrap();
    let refuses = Arc::new(AtomicBool::new(true));
    let rpc = with_fee_cap(chain.url(), Arc::clone(&refuses)).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("owner.key"), DEV_ACCOUNTS[0].private_key).unwrap();
    fs::set_permissions(folder.path().join("owner.key"), Permissions::from_mode(0o600)).unwrap();
    let at = folder.path().to_owned();
    let deploy = move || {
        let mut command = proofmill(&["deploy", "--rpc", &rpc, "--yes", "--key-file", "owner.key", "--keys"]);
        let output = command.arg(dev_keys().path()).current_dir(&at).output().unwrap();
        (output.status.success(), said(&output))
    };
    let first = deploy.clone();
    let (done, words) = tokio::task::spawn_blocking(first).await.unwrap();
    assert!(!done && words.contains("configured cap") && words.contains("nothing was sent"), "{words}");
    let journal = fs::read_to_string(folder.path().join("deployment.journal")).unwrap();
    assert!(journal.contains("\"refused\": true"), "the next one may be signed with any fees: {journal}");
    refuses.store(false, Ordering::SeqCst);
    let (done, words) = tokio::task::spawn_blocking(deploy).await.unwrap();
    assert!(done && !words.contains("fees have risen"), "{words}");
    assert!(!folder.path().join("deployment.journal").exists());
}

#[test]
fn a_coordinator_says_why_its_database_does_not_let_it_in() {
    let server = Postgres::start_private(PostgresSettings::default()).unwrap();
    let keys = dev_keys();
    let coordinator = |url: &str| {
        let data = tempfile::tempdir().unwrap();
        refusal(
            proofmill(&["coordinator", "--rpc", "http://127.0.0.1:1", "--first-block", "0", "--contract"])
                .arg(format!("0x{}", "11".repeat(20)))
                .args(["--port", "0", "--data-dir"])
                .arg(data.path())
                .arg("--keys")
                .arg(keys.path())
                .env("PROOFMILL_DATABASE_URL", url)
                .env("PROOFMILL_OPERATOR_KEY", "11".repeat(32)),
        )
    };
    let unreachable = coordinator("postgresql://somebody:secret@127.0.0.1:1/nothing");
    assert!(unreachable.contains("PM-STORE") && !unreachable.contains("secret"), "{unreachable}");
    let elsewhere = coordinator("postgresql://somebody:secret@192.0.2.1/nothing?sslmode=disable");
    assert!(elsewhere.contains("PM-STORE") && elsewhere.contains("sslmode=verify-full"), "{elsewhere}");
    let missing = server.url().replace("/postgres", "/nothing-here");
    assert_ne!(missing, server.url());
    let missing = coordinator(&missing);
    assert!(missing.contains("nothing-here") && missing.contains("CREATE DATABASE"), "{missing}");

    // A role that may only connect, which since PostgreSQL 15 may make no tables.
    server.execute("CREATE ROLE guest LOGIN PASSWORD 'guest-secret'").unwrap();
    let guest = server.url().replace("proofmill:only-for-tests", "guest:guest-secret");
    let guest = coordinator(&guest);
    assert!(guest.contains("permission denied for schema public") && guest.contains("42501"), "{guest}");
    assert!(guest.contains("OWNER") && !guest.contains("disk") && !guest.contains("db error"), "{guest}");
    let wrong = coordinator(&server.url().replace("only-for-tests", "guessed"));
    assert!(wrong.contains("28P01") && !wrong.contains("guessed"), "{wrong}");

    server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").unwrap();
    let latin = coordinator(&server.url().replace("/postgres", "/latin"));
    assert!(latin.contains("LATIN1") && latin.contains("ENCODING 'UTF8'"), "{latin}");

    let authority = format!("{}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", server.tcp_url().unwrap());
    let authority = coordinator(&authority);
    assert!(authority.contains("/nowhere/ca.pem"), "{authority}");
    let unknown = coordinator(&format!("{}?sslrotcert=secret", server.url()));
    assert!(unknown.contains("sslrotcert") && unknown.contains("--database-ca"), "{unknown}");
}

#[test]
fn a_coordinator_names_all_that_is_missing_at_once() {
    let redis = Redis::with(Settings::default()).unwrap();
    let (data, taken) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = taken.local_addr().unwrap().port().to_string();
    let mut bare = proofmill(&["coordinator", "--port", &port, "--redis-url"]);
    bare.arg(redis.url().replace("coordinator-secret", "guessed"));
    bare.args(["--no-local-worker", "--data-dir"]).arg(data.path());
    bare.args(["--database-url", "postgresql://somebody:secret@127.0.0.1:1/nothing"]);
    let text = refusal(&mut bare);
    for part in [
        "operator key: pass --operator-key FILE or set PROOFMILL_OPERATOR_KEY",
        "contract: pass --deployment FILE",
        "node: pass --rpc URL",
        "redis: PM-QUEUE",
        "port: 127.0.0.1:",
        "database: PM-STORE-006",
    ] {
        let line = text.lines().find(|line| line.trim_start().starts_with("- ") && line.contains(part));
        assert!(line.is_some(), "{part} is not in\n{text}");
    }
    assert!(text.contains("6 things are missing") && !text.contains("secret"), "{text}");

    let contract = format!("0x{}", "11".repeat(20));
    let mut away = proofmill(&["coordinator", "--rpc", "http://127.0.0.1:1", "--contract", &contract]);
    away.args(["--first-block", "0", "--circuits", "s3m1,s14m2", "--port", "0", "--data-dir"])
        .arg(data.path());
    let text = refusal(away.env("PROOFMILL_OPERATOR_KEY", "11"));
    assert!(text.contains("keys: there is no key of s3m1,s14m2"), "{text}");
    assert!(text.contains("node: PM-CHAIN-001") && !text.contains("asked again"), "{text}");
    assert!(text.contains("operator key: ") && text.contains("64 hexadecimal digits"), "{text}");
    assert!(!text.contains("database: "), "SQLite needs nothing: {text}");
}

#[test]
fn a_contract_is_deployed_only_with_settings_that_are_understood_and_a_key_that_nobody_else_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let deploy = |more: &[&str]| {
        let mut command = proofmill(&["deploy", "--rpc", "http://127.0.0.1:1", "--yes", "--key-file"]);
        command.arg(at("owner.key")).args(more).current_dir(folder.path());
        refusal(&mut command)
    };
    assert!(deploy(&[]).contains("owner.key"));
    fs::write(at("owner.key"), "11".repeat(32)).unwrap();
    fs::set_permissions(at("owner.key"), Permissions::from_mode(0o644)).unwrap();
    assert!(deploy(&[]).contains("chmod 600"));
    fs::set_permissions(at("owner.key"), Permissions::from_mode(0o600)).unwrap();
    fs::write(at("settings.toml"), "quantum = 1000000000\nqueue_dealy = 60\n").unwrap();
    let unknown = deploy(&["--config", "settings.toml"]);
    assert!(unknown.contains("queue_dealy") && unknown.contains("--print-config"), "{unknown}");
    let deep = format!("promise_signers = {}", "[".repeat(50_000));
    fs::write(at("settings.toml"), deep).unwrap();
    assert!(deploy(&["--config", "settings.toml"]).contains("nested deeper"));
    let printed = proofmill(&["deploy", "--print-config"]).output().unwrap();
    fs::write(at("settings.toml"), &printed.stdout).unwrap();
    // Read without a complaint: now the keys are missing.
    let keys = deploy(&["--config", "settings.toml", "--circuits", "s3m1,s14m2", "--keys", "nowhere"]);
    assert!(keys.contains("there is no key of s3m1,s14m2 in nowhere"), "{keys}");
}
