//! The observations of [`crate::ethereum::observe`] have to be those of another implementation.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::common::{Client, start};
use crate::ethereum::observe;

/// The binary named by `PROOFMILL_ANVIL`, or the one npm put under `contracts/`.
fn anvil() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PROOFMILL_ANVIL") {
        return Some(PathBuf::from(path));
    }
    let packages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/node_modules/@foundry-rs");
    let entries = std::fs::read_dir(packages).ok()?;
    entries.flatten().map(|entry| entry.path().join("bin/anvil")).find(|path| path.is_file())
}

/// A child that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(path: PathBuf) -> (Killed, String) {
    let mut child = Command::new(path)
        .args(["--port", "0", "--chain-id", "31337", "--hardfork", "osaka"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("anvil starts");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let child = Killed(child);
    let mut lines = output.lines().map_while(Result::ok);
    let address =
        lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned)).expect("an address");
    // Its output has to be read on, or it stops when the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    (child, format!("http://{}", address.trim()))
}

#[tokio::test]
async fn anvil_sees_the_same() {
    let Some(path) = anvil() else {
        let required = std::env::var("PROOFMILL_REQUIRE_ANVIL").is_ok_and(|value| value == "1");
        assert!(!required, "anvil is required but not installed: run `npm ci` in contracts/");
        eprintln!("skipped: anvil is not installed (`npm ci` in contracts/, or set PROOFMILL_ANVIL)");
        return;
    };
    let (_anvil, url) = spawn(path);
    let theirs = observe(&Client::new(&url)).await;
    let (_chain, client) = start().await;
    let ours = observe(&client).await;
    assert_eq!(ours.len(), theirs.len());
    let differing: Vec<_> = ours.iter().zip(&theirs).filter(|(our, their)| our != their).collect();
    assert!(differing.is_empty(), "(ours, anvil's): {differing:#?}");
}
