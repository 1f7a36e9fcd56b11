//! Making a key with the real binary: killed in the middle, it goes on from there.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "s3m1.pmkey";
const PARTIAL: &str = "s3m1.pmkey.partial";
/// The work file with its first chunk, of 2^16 points at most: header, length, points, checksum.
const FIRST_CHUNK: u64 = 112 + 8 + (64 << 16) + 32;
/// How often the process may be done before it is killed.
const TRIES: usize = 5;

fn setup_dev(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmill"));
    command.args(["keys", "setup-dev", "--circuits", "s3m1", "--out"]).arg(out);
    command
}

fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Starts the command, slow, and kills it as soon as its work file has a whole chunk of points; whether that was in time.
fn kill_in_the_middle(out: &Path) -> bool {
    let partial = out.join(PARTIAL);
    let mut slow = setup_dev(out);
    slow.env("PROOFMILL_ENGINE", "portable")
        .env("RAYON_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut process = slow.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while process.try_wait().unwrap().is_none()
        && fs::metadata(&partial).map_or(0, |file| file.len()) <= FIRST_CHUNK
    {
        assert!(Instant::now() < deadline, "no point after a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let in_time = !out.join(KEY).exists();
    if !in_time {
        fs::remove_file(out.join(KEY)).unwrap();
    }
    in_time && partial.exists()
}

#[test]
fn a_killed_setup_goes_on_where_it_was_and_gives_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let (killed, whole) = (folder.path().join("killed"), folder.path().join("whole"));
    assert!((0..TRIES).any(|_| kill_in_the_middle(&killed)), "always done before it was killed");

    let text = said(setup_dev(&killed));
    assert!(text.contains("going on from the") && text.contains(PARTIAL), "{text}");
    assert!(!killed.join(PARTIAL).exists());
    let text = said(setup_dev(&whole));
    assert!(!text.contains("going on"), "{text}");
    assert!(fs::read(killed.join(KEY)).unwrap() == fs::read(whole.join(KEY)).unwrap());
}

#[test]
fn the_work_on_another_key_is_replaced_and_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(PARTIAL), [7; 5000]).unwrap();
    let text = said(setup_dev(folder.path()));
    assert!(text.contains("replaced") && text.contains(PARTIAL), "{text}");
    assert!(folder.path().join(KEY).exists() && !folder.path().join(PARTIAL).exists());
}
