//! What the built binary refuses of a farm's Redis and PostgreSQL, and what it says must be done.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::process::{Command, Output};

use testbed::{
    postgres::{Postgres, Settings as PostgresSettings},
    redis::{Redis, Settings},
};

fn proofmill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmill"));
    command.args(arguments).env("PROOFMILL_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1");
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

fn doctor(redis: &Redis) -> (String, bool) {
    let keys = tempfile::tempdir().unwrap();
    let output = proofmill(&["doctor", "--redis-url", &redis.url(), "--keys"]).arg(keys.path()).output();
    let output = output.unwrap();
    (said(&output), output.status.success())
}

#[test]
fn doctor_finds_the_shipped_configuration_well_and_refuses_a_redis_that_evicts() {
    let (text, good) = doctor(&Redis::with(Settings::default()).unwrap());
    assert!(good, "{text}");
    let configuration = vec!["maxmemory 100mb".to_owned(), "maxmemory-policy allkeys-lru".to_owned()];
    let (text, good) = doctor(&Redis::with(Settings { configuration, ..Settings::default() }).unwrap());
    assert!(!good && text.contains("allkeys-lru") && text.contains("noeviction"), "{text}");
}

#[test]
fn a_worker_says_why_redis_does_not_let_it_in() {
    let redis = Redis::with(Settings::default()).unwrap();
    let keys = tempfile::tempdir().unwrap();
    let worker = |url: &str| {
        refusal(
            proofmill(&["worker", "--backend", "cpu", "--circuits", "s3m1", "--redis-url", url, "--keys"])
                .arg(keys.path()),
        )
    };
    let wrong = worker(&redis.worker_url().replace("worker-secret", "guessed"));
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
        let url = redis.worker_url();
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

#[test]
fn a_coordinator_says_why_its_database_does_not_let_it_in() {
    let server = Postgres::start_private(PostgresSettings::default()).unwrap();
    let keys = tempfile::tempdir().unwrap();
    let made = proofmill(&["keys", "setup-dev", "--out"]).arg(keys.path()).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let coordinator = |url: &str| {
        let data = tempfile::tempdir().unwrap();
        refusal(
            proofmill(&["coordinator", "--rpc", "http://127.0.0.1:1", "--first-block", "0", "--contract"])
                .arg(format!("0x{}", "11".repeat(20)))
                .args(["--data-dir"])
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
    assert!(missing.contains("PM-STORE") && missing.contains("nothing-here"), "{missing}");
}
