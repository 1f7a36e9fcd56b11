//! The real deployment: ledger on PostgreSQL, queue on Redis, chain on anvil, workers in processes of their own; and each of
//! them dies on the way. Nothing is lost, and the demo's script ends with every operation final, once.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic with the rest of the test")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use l1::{
    http::HttpLimits,
    node::{AccountKey, Node},
};
use testbed::{
    postgres::{Postgres, Settings},
    redis::Redis,
};

mod scale;

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

/// First part of the keys in Redis.
const PREFIX: &str = "pm:farm-test";

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
        command.arg(self.data.path()).args(["--redis-url", &self.redis.url(), "--redis-prefix", PREFIX]);
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
        let url = self.redis.pool_url(PREFIX, "default").unwrap();
        command.args(["worker", "--backend", "cpu", "--name", name, "--redis-url", &url]);
        command.args(["--redis-prefix", PREFIX]);
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
    assert!(
        explained.contains("sealed as s3m1") && explained.contains("attempt 1 granted to default/"),
        "{explained}"
    );
    nap(3);
    first.kill();
    world.redis.kill().unwrap();
    world.redis.restart().unwrap();
    nap(2);
    world.postgres.kill().unwrap();
    nap(1);
    world.postgres.restart().unwrap();
    // A pool of its own: made with a user that may change users, joined with the password that was kept.
    let (admin, url) = (world.redis.admin_url(), world.redis.url());
    let added = world.ops(&["pool", "add", "rack", "--redis-url", &admin, "--redis-prefix", PREFIX]);
    assert!(added.contains("pm-farm-test-pool-rack is made and saved"), "{added}");
    let password = world.data.path().join("pools/rack.password");
    assert!(!added.contains(fs::read_to_string(&password).unwrap().trim()), "it is not printed");
    let mut command = Command::new(BINARY);
    command.args([
        "worker",
        "--backend",
        "cpu",
        "--name",
        "third",
        "--pool",
        "rack",
        "--redis-prefix",
        PREFIX,
    ]);
    let host = url.split('@').nth(1).unwrap();
    command.args(["--redis-url", &format!("redis://pm-farm-test-pool-rack@{host}"), "--redis-password-file"]);
    command.arg(&password).arg("--keys").arg(world.data.path().join("keys"));
    let third = Process::spawn(&mut command);
    let listed = world.ops(&["pool", "list"]);
    assert!(listed.contains("default") && listed.contains("rack"), "{listed}");
    check_table(&coordinator.finish());
    // Once more on the same database: nothing is done twice.
    check_table(&world.coordinator().finish());
    drop((second, third));
    assert!(
        fs::read_dir(world.data.path().join("snapshots")).unwrap().next().is_some(),
        "a stop leaves a snapshot"
    );
}

/// The key of a funded account of anvil that the demo's script does not use.
const OWNER: &str = "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6";
const OWNER_ADDRESS: &str = "0xa0ee7a142d267c1f36714e4a8f75612f20a79720";

/// Transactions that the owner has sent and that are mined.
fn sent_by_the_owner(rpc: &str) -> u64 {
    let node = Node::connect(&rpc.into(), HttpLimits::default()).unwrap();
    let owner = AccountKey::from_hex(OWNER).unwrap().address();
    tokio::runtime::Runtime::new().unwrap().block_on(node.nonce(owner, "latest")).unwrap()
}

/// The answer of one HTTP request; nothing while nobody listens.
fn ask(url: &str, head: &str) -> String {
    let host = url.trim_start_matches("http://");
    let Ok(mut stream) = TcpStream::connect(host) else { return String::new() };
    let rest = format!("Host: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
    let mut answer = String::new();
    // A connection that is cut answers nothing.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}: it does not come to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_contract_is_deployed_once_and_its_coordinator_waits_for_the_database_of_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (_anvil, rpc) = anvil();
    let proofmill = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        command.env_remove("PROOFMILL_DATABASE_URL").env_remove("PROOFMILL_OPERATOR_KEY");
        command
    };
    let said = |output: &std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let made = proofmill(&["keys", "setup-dev", "--out", "keys"]).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    fs::write(at("owner.key"), OWNER).unwrap();
    fs::set_permissions(at("owner.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let printed = proofmill(&["deploy", "--print-config"]).output().unwrap();
    fs::write(at("settings.toml"), &printed.stdout).unwrap();
    let deploy =
        ["deploy", "--rpc", &rpc, "--key-file", "owner.key", "--config", "settings.toml", "--keys", "keys"];

    // Nobody is there to say yes.
    let unasked = proofmill(&deploy).output().unwrap();
    let text = said(&unasked);
    assert!(!unasked.status.success() && text.contains("pass --yes") && !at("deployment.journal").exists());
    assert!(text.contains("queue_delay") && text.contains("3 days") && text.contains("UNSAFE key"), "{text}");

    // Its answer is lost: the process dies when the transaction is signed, perhaps sent.
    let mut lost =
        proofmill(&deploy).arg("--yes").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the deployment is signed", || {
        at("deployment.journal").exists() || at("deployment.toml").exists()
    });
    lost.kill().unwrap();
    lost.wait().unwrap();
    let again = proofmill(&deploy).arg("--yes").output().unwrap();
    assert!(again.status.success(), "{}", said(&again));
    let deployment = fs::read_to_string(at("deployment.toml")).unwrap();
    assert_eq!(sent_by_the_owner(&rpc), 1, "{}", said(&again));
    assert!(!at("deployment.journal").exists());
    let third = proofmill(&deploy).arg("--yes").output().unwrap();
    assert!(third.status.success() && said(&third).contains("deployed already"), "{}", said(&third));
    assert_eq!(
        (sent_by_the_owner(&rpc), fs::read_to_string(at("deployment.toml")).unwrap()),
        (1, deployment)
    );

    // The database as the README makes it; it is away when the coordinator starts.
    let mut postgres = Postgres::start_private(Settings::default()).unwrap();
    let readme = include_str!("../../../README.md");
    let sql = readme.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    // The server of the tests has a role of that name already.
    let sql = sql.replace("proofmill", "readme");
    for statement in sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        postgres.execute(statement).unwrap();
    }
    let database = postgres.url().replace("proofmill:only-for-tests", "readme:choose-a-password");
    let database = database.replace("/postgres", "/readme");
    postgres.stop().unwrap();
    let coordinator =
        ["coordinator", "--deployment", "deployment.toml", "--rpc", &rpc, "--keys", "keys", "--port", "0"];
    let coordinator = |key: &str| {
        let mut command = proofmill(&coordinator);
        command.args(["--operator-key", key, "--confirmations", "1", "--database-url", &database]);
        command.args(["--cors-origin", "https://wallet.example"]);
        command
    };
    fs::write(at("other.key"), "22".repeat(32)).unwrap();
    let refused = coordinator("other.key").output().unwrap();
    let text = said(&refused);
    assert!(
        !refused.status.success() && text.contains(&format!("batches of {OWNER_ADDRESS} only")),
        "{text}"
    );
    assert!(text.contains("database: PM-STORE-006"), "what else is missing is said at once: {text}");

    let mut child = coordinator("owner.key").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("the database does not answer; it is asked again")));
    let log = std::thread::spawn(move || log.collect::<Vec<_>>().join("\n"));
    postgres.restart().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("API: ")).unwrap();
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    eventually("it is ready", || ask(&url, "GET /health/ready HTTP/1.1\r\n").starts_with("HTTP/1.1 200"));

    // A browser's page may ask if its origin was named.
    for (origin, may) in [("https://wallet.example", true), ("https://evil.example", false)] {
        let head = format!(
            "OPTIONS /graphql HTTP/1.1\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n"
        );
        let answer = ask(&url, &head).to_ascii_lowercase();
        assert_eq!(answer.contains(&format!("access-control-allow-origin: {origin}")), may, "{answer}");
    }

    let doctor = proofmill(&["doctor", "--keys", "keys", "--rpc", &rpc, "--api", &url]).output().unwrap();
    assert!(said(&doctor).contains("the same for coordinator and node"), "{}", said(&doctor));

    // SIGTERM: it ends in order, with the status that the README promises.
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", log.join().unwrap());
}
