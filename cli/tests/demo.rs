//! The binary as a user runs it: the demo to its end, killed and started again, and refused where it must be.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic with the rest of the test")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use testbed::redis::{Redis, Settings};

const BINARY: &str = env!("CARGO_BIN_EXE_proofmill");
const LONG: Duration = Duration::from_secs(900);

/// The development key of s3m1, made once for all tests.
fn keys() -> &'static Path {
    static KEYS: OnceLock<PathBuf> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("keys-{}", std::process::id()));
        let made = Command::new(BINARY).args(["keys", "setup-dev", "--out"]).arg(&folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        folder
    })
}

/// A data directory with the key in it.
fn data_dir() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("keys")).unwrap();
    fs::copy(keys().join("s3m1.pmkey"), data.path().join("keys/s3m1.pmkey")).unwrap();
    data
}

/// A demo on any free ports, with its own chain.
fn demo(data: &Path) -> Command {
    let mut command = demo_on(data, "0");
    command.args(["--exit", "--rpc-port", "0"]);
    command
}

fn demo_on(data: &Path, port: &str) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["demo", "--port", port, "--data-dir"]).arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(mut child: Child) -> Output {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > LONG {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!(
                "the demo does not end:\n{}\n{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.wait_with_output().unwrap()
}

/// Rows of the table that begin with a word.
fn rows<'a>(table: &'a str, word: &str) -> Vec<&'a str> {
    table.lines().filter(|line| line.starts_with(word)).collect()
}

/// Each operation of the script is there exactly once, and final.
fn check_table(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let table = text.split("operation ").last().unwrap();
    for (word, count) in [("Mint", 3), ("Send", 3), ("Withdraw", 1), ("ForcedExit", 1)] {
        let rows = rows(table, word);
        assert_eq!(rows.len(), count, "{word}\n{text}");
        assert!(rows.iter().all(|row| row.trim_end().ends_with("final")), "{text}");
    }
}

#[test]
fn the_demo_runs_to_the_end_after_being_killed_at_several_points() {
    let data = data_dir();
    for (i, millis) in [700u64, 2_500, 6_000, 9_000, 13_000].into_iter().enumerate() {
        let mut child = demo(data.path()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "start {i} ended by itself with {status}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let finished = finish(demo(data.path()).spawn().unwrap());
    check_table(&finished);
    // Once more on the same data: nothing is done twice.
    check_table(&finish(demo(data.path()).spawn().unwrap()));
}

/// The commands under a heading of the README, with where the demo of this test is in the place of the usual ports.
fn commands_of_readme(heading: &str, api: &str, rpc: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let part = readme.split(&format!("## {heading}\n")).nth(1).unwrap();
    let block = part.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let there = |line: &str| line.replace("http://127.0.0.1:8080", api).replace("http://127.0.0.1:8545", rpc);
    block.lines().map(there).collect()
}

#[test]
fn what_the_readme_says_about_paying_by_hand_works_as_it_is_pasted() {
    let data = data_dir();
    let mut first = demo_on(data.path(), "0").args(["--rpc-port", "0"]).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut url_in = |line: &str| {
        let found = lines.find(|read| read.contains(line)).unwrap();
        found
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap()
            .trim_matches(',')
            .to_owned()
    };
    let (api, rpc) = (url_in("API and GraphiQL"), url_in("chain (JSON-RPC)"));
    let commands = commands_of_readme("Pay by hand", &api, &rpc);
    let (exports, commands): (Vec<_>, Vec<_>) =
        commands.into_iter().partition(|line| line.starts_with("export "));
    let key = exports[0].split('=').nth(1).unwrap();
    assert!(lines.any(|line| line.contains(key)), "the demo does not print the account of the README");
    // Alice is there once the script has begun.
    assert!(lines.any(|line| line.contains("deposited")));

    let second = finish(demo(data.path()).spawn().unwrap());
    let errors = String::from_utf8_lossy(&second.stderr);
    let refused = ["another process", "in use", "locked"].iter().any(|words| errors.contains(words));
    assert!(!second.status.success() && refused, "{errors}");

    // Keep reading, or the demo stops when the pipe is full.
    let rest = std::thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
    let (home, folder) = (tempfile::tempdir().unwrap(), Path::new(BINARY).parent().unwrap());
    let path = std::env::join_paths(
        std::iter::once(folder.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    let mut said = String::new();
    for command in &commands {
        let script = format!("{}\n{command}", exports.join("\n"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(home.path()).env("PATH", &path);
        let output = shell.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        said.push_str(&format!("$ {command}\n{text}{errors}"));
        assert!(output.status.success(), "{said}");
    }
    for part in ["can be spent", "0.1 ETH to 0x7099", "is on L1", "collected 0.0499", "proofs, each compared"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    drop(rest.join());
    assert!(home.path().join("proofmill-ownership.json").exists(), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag_before_anything_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (api, rpc, flag) in [(port.as_str(), "0", "--port"), ("0", port.as_str(), "--rpc-port")] {
        let data = data_dir();
        let refused = finish(demo_on(data.path(), api).args(["--exit", "--rpc-port", rpc]).spawn().unwrap());
        let errors = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && errors.contains(&format!("pass another {flag}")), "{errors}");
        let made: Vec<_> =
            fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(made, ["keys"], "nothing was deployed");
    }
}

/// First part of the keys in Redis.
const PREFIX: &str = "pm:demo-test";

fn worker_command(data: &Path, redis: &Redis, name: &str) -> Command {
    let mut command = Command::new(BINARY);
    let url = redis.pool_url(PREFIX, "default").unwrap();
    command.args(["worker", "--redis-url", &url, "--redis-prefix", PREFIX, "--name", name, "--keys"]);
    command.arg(data.join("keys")).stdout(Stdio::piped());
    command
}

/// Starts a worker process and returns once it is ready, with what it proves on.
fn started(mut command: Command) -> (Child, String) {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    let on = lines.find(|line| line.contains("proving on"));
    assert!(on.is_some() && lines.any(|line| line.contains("is ready")), "{on:?}");
    (child, on.unwrap())
}

fn worker(data: &Path, redis: &Redis, name: &str) -> Child {
    started(worker_command(data, redis, name)).0
}

/// A demo that leaves proving to worker processes, the Redis where they get their jobs, and what it prints.
fn farm(data: &Path) -> (Child, Redis, JoinHandle<String>) {
    let redis = Redis::with(Settings::default()).unwrap();
    let mut coordinator = demo(data)
        .args(["--no-local-worker", "--redis-url", &redis.url(), "--redis-prefix", PREFIX])
        .spawn()
        .unwrap();
    let lines = BufReader::new(coordinator.stdout.take().unwrap()).lines();
    let printed = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    (coordinator, redis, printed)
}

#[test]
fn a_worker_process_that_is_killed_loses_no_batch() {
    let data = data_dir();
    let (coordinator, redis, rest) = farm(data.path());
    let mut first = worker(data.path(), &redis, "first");
    std::thread::sleep(Duration::from_secs(4));
    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = worker(data.path(), &redis, "second");
    let mut output = finish(coordinator);
    output.stdout = rest.join().unwrap().into_bytes();
    second.kill().unwrap();
    second.wait().unwrap();
    check_table(&output);
}

/// The library that `cuda/build.sh host` makes: our kernels on a simulated card.
fn simulated_card() -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulated-card");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cuda/build.sh");
    let built = Command::new(script).arg("host").env("OUT", &out).output().unwrap();
    assert!(built.status.success(), "it needs g++: {}", String::from_utf8_lossy(&built.stderr));
    out.join("libproofmill_cuda_host.so")
}

#[test]
fn every_batch_is_proved_by_our_kernels_in_a_child_process_on_a_card_that_spoils_some() {
    let data = data_dir();
    let (coordinator, redis, rest) = farm(data.path());
    let mut command = worker_command(data.path(), &redis, "card");
    command.args(["--backend", "cuda"]).env("PROOFMILL_CUDA_LIBRARY", simulated_card());
    // A little memory, so that few multiples of the points are made; and every fourth proof is wrong.
    command.env("PM_HOST_MEMORY", (470 << 20).to_string()).env("PM_HOST_CORRUPT", "4");
    let (mut card, on) = started(command);
    assert!(on.contains("proving on cuda: simulated card"), "{on}");
    let mut output = finish(coordinator);
    output.stdout = rest.join().unwrap().into_bytes();
    card.kill().unwrap();
    card.wait().unwrap();
    check_table(&output);
}

#[test]
fn a_card_that_was_named_and_cannot_be_used_is_an_error_with_the_reason() {
    let redis = Redis::with(Settings::default()).unwrap();
    for backend in ["cuda", "icicle"] {
        let output = Command::new(BINARY)
            .args(["worker", "--redis-url", &redis.pool_url("pm:0:none", "default").unwrap()])
            .args(["--redis-prefix", "pm:0:none"])
            .args(["--backend", backend, "--device", "99"])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(errors.contains("PM-WORKER-041") && errors.contains(&format!("{backend}: ")), "{errors}");
    }
}

/// npm's anvil, a block a second, like the chain inside the demo.
fn anvil() -> (Child, String) {
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
    assert!(
        binary.exists(),
        "anvil is not installed: run `npm ci --prefix contracts` or set PROOFMILL_ANVIL"
    );
    let mut child = Command::new(binary)
        .args(["--port", "0", "--block-time", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned)).unwrap();
    // Keep reading, or anvil stops when the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    (child, format!("http://{address}"))
}

#[test]
fn the_demo_settles_on_anvil_as_on_its_own_chain() {
    let data = data_dir();
    let (mut node, url) = anvil();
    let output = finish(demo_on(data.path(), "0").args(["--exit", "--rpc", &url]).spawn().unwrap());
    node.kill().unwrap();
    node.wait().unwrap();
    check_table(&output);
}

#[test]
fn a_damaged_key_is_refused_before_anything_starts() {
    let data = data_dir();
    let path = data.path().join("keys/s3m1.pmkey");
    let mut bytes = Vec::new();
    fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = finish(demo(data.path()).spawn().unwrap());
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("PM-KEY-"), "{output:?}");
}

#[test]
fn a_reader_that_goes_away_stops_no_command() {
    for arguments in
        [&["doctor"][..], &["circuit", "info", "s3m1"], &["wallet", "--wallet", "/nowhere", "address"]]
    {
        let mut command = Command::new(BINARY);
        let mut child =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        drop(child.stderr.take());
        let code = child.wait().unwrap().code();
        assert!(code == Some(0) || code == Some(1), "{arguments:?} ended with {code:?}");
    }
}

#[test]
fn circuit_info_is_json_that_a_script_can_read() {
    let output = Command::new(BINARY).args(["circuit", "info", "s3m1", "--json"]).output().unwrap();
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(info["domain"], 1 << 16);
    assert!(info["constraints"].as_u64().unwrap() <= 1 << 16);
    assert_eq!(info["digest"].as_str().unwrap().len(), 66);
}

#[test]
fn an_unknown_circuit_is_refused_with_the_names_of_those_there_are() {
    let output = Command::new(BINARY).args(["circuit", "info", "s5m5"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("s1020m4"));
}
