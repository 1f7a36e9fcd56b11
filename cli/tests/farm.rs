//! The real deployment: ledger on PostgreSQL, queue on Redis, chain on anvil, workers in processes of their own; and each of
//! them dies on the way. Nothing is lost, and the demo's script ends with every operation final, once.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic with the rest of the test")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use testbed::{
    postgres::{Postgres, Settings},
    redis::Redis,
};

const BINARY: &str = env!("CARGO_BIN_EXE_proofmill");
const LONG: Duration = Duration::from_secs(600);

/// A child that does not outlive its test.
struct Process {
    child: Child,
    output: Option<JoinHandle<String>>,
}

impl Process {
    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let output = std::thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
        Self { child, output: Some(output) }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its whole output, once it has ended with success.
    fn finish(mut self) -> String {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if started.elapsed() > LONG {
                break None;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        if status.is_none() {
            self.child.kill().unwrap();
        }
        let output = self.output.take().unwrap().join().unwrap();
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{output}");
        output
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of one that has ended there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct World {
    data: tempfile::TempDir,
    postgres: Postgres,
    redis: Redis,
    _anvil: Process,
    rpc: String,
}

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let keys = data.path().join("keys");
        let made = Command::new(BINARY).args(["keys", "setup-dev", "--out"]).arg(&keys).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (anvil, rpc) = anvil();
        let (postgres, redis) =
            (Postgres::start_private(Settings::default()).unwrap(), Redis::start().unwrap());
        Self { data, postgres, redis, _anvil: anvil, rpc }
    }

    fn coordinator(&self) -> Process {
        let mut command = Command::new(BINARY);
        command.args([
            "demo",
            "--exit",
            "--port",
            "0",
            "--no-local-worker",
            "--rpc",
            &self.rpc,
            "--data-dir",
        ]);
        command.arg(self.data.path()).args(["--redis-url", &self.redis.url()]);
        command.env("PROOFMILL_DATABASE_URL", self.postgres.url());
        Process::spawn(&mut command)
    }

    /// What an operator is told, once the coordinator leads and answers.
    fn ops(&self, arguments: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let mut command = Command::new(BINARY);
            command.arg("ops").args(arguments).arg("--data-dir").arg(self.data.path());
            let output = command.output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(started.elapsed() < LONG && error.contains("no coordinator answers"), "{error}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn worker(&self, name: &str) -> Process {
        let mut command = Command::new(BINARY);
        command.args(["worker", "--backend", "cpu", "--id", name, "--redis-url", &self.redis.worker_url()]);
        command.arg("--keys").arg(self.data.path().join("keys"));
        Process::spawn(&mut command)
    }
}

/// npm's anvil, a block a second.
fn anvil() -> (Process, String) {
    let package = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "aarch64") => "anvil-darwin-arm64",
        ("macos", _) => "anvil-darwin-amd64",
        (_, "aarch64") => "anvil-linux-arm64",
        _ => "anvil-linux-amd64",
    };
    let binary = std::env::var_os("PROOFMILL_ANVIL").map(PathBuf::from).unwrap_or_else(|| {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/node_modules/@foundry-rs");
        packages.join(package).join("bin/anvil")
    });
    let advice = "anvil is not installed: run `npm ci --prefix contracts` or set PROOFMILL_ANVIL";
    assert!(binary.exists(), "{advice}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(binary);
    command.args(["--port", &port.to_string(), "--block-time", "1"]);
    let process = Process::spawn(&mut command);
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < LONG, "anvil does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (process, format!("http://127.0.0.1:{port}"))
}

/// Each operation of the script is there exactly once, and final.
fn check_table(text: &str) {
    let table = text.split("operation ").last().unwrap();
    for (word, count) in [("Mint", 3), ("Send", 3), ("Withdraw", 1), ("ForcedExit", 1)] {
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with(word)).collect();
        assert_eq!(rows.len(), count, "{word}\n{text}");
        assert!(rows.iter().all(|row| row.trim_end().ends_with("final")), "{text}");
    }
}

#[test]
fn everything_dies_once_and_every_operation_becomes_final_once() {
    let mut world = World::new();
    let nap = |seconds: u64| std::thread::sleep(Duration::from_secs(seconds));
    let first = world.worker("first");
    let second = world.worker("second");
    for life in 0..2 {
        let coordinator = world.coordinator();
        nap(6 + 3 * life);
        coordinator.kill();
    }
    let coordinator = world.coordinator();
    // Operators ask and steer it with what is in its data directory.
    let status = world.ops(&["status"]);
    assert!(status.contains("batches") && status.contains("workers"), "{status}");
    assert!(world.ops(&["pause"]).contains("new operations are refused"));
    assert!(!world.ops(&["resume"]).contains("new operations are refused"));
    let explained = world.ops(&["explain", "batch", "1"]);
    assert!(explained.contains("sealed as s3m1") && explained.contains("published"), "{explained}");
    nap(3);
    first.kill();
    world.redis.kill().unwrap();
    world.redis.restart().unwrap();
    nap(2);
    world.postgres.kill().unwrap();
    nap(1);
    world.postgres.restart().unwrap();
    let third = world.worker("third");
    check_table(&coordinator.finish());
    // Once more on the same database: nothing is done twice.
    check_table(&world.coordinator().finish());
    drop((second, third));
    assert!(
        fs::read_dir(world.data.path().join("snapshots")).unwrap().next().is_some(),
        "a stop leaves a snapshot"
    );
}
