//! Children that do not start, crash, hang, lie, or lose their worker.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use gpu_worker::child::ChildBackend;
use prover::{Cancel, ProveError};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Test,
    fixture::{Play, eventually, settings, witness},
    odd::ROLE,
};

pub const TESTS: &[Test] = crate::tests![
    a_child_killed_amid_a_proof_costs_that_proof,
    a_child_that_dies_says_how_and_the_next_one_proves,
    a_child_that_hangs_is_killed,
    a_child_that_hangs_although_it_was_cancelled_is_killed,
    a_child_that_lies_is_killed,
    a_witness_that_was_staged_in_a_child_that_died_is_proved_by_the_next,
    a_device_without_memory_fails_the_request_alone,
    one_wrong_proof_in_three_is_never_taken_for_a_proof,
    a_backend_that_cannot_start_says_why,
    a_child_and_its_witnesses_go_with_a_worker_that_was_killed,
];

fn kill(process: u32) {
    kill_process(Pid::from_raw(process as i32).unwrap(), Signal::KILL).unwrap();
}

fn a_child_killed_amid_a_proof_costs_that_proof() {
    let play = Play::start("once-wait");
    let process = play.backend.process();
    thread::scope(|scope| {
        let proof = scope.spawn(|| play.fails());
        play.wait_for("proving");
        kill(process);
        let reason = proof.join().unwrap();
        assert!(reason.contains("signal 9"), "{reason}");
    });
    play.proves(3);
    assert_ne!(play.backend.process(), process);
}

fn a_child_that_dies_says_how_and_the_next_one_proves() {
    for (part, words) in [
        ("once-abort", ["signal 6", "IcicleError"]),
        ("once-exit", ["code 7", "PM-CHILD-014"]),
        ("once-panic", ["code 101", "the device is on fire"]),
        ("once-lost", ["code 75", "fell off the bus"]),
        ("once-closed", ["code 0", "PM-CHILD-014"]),
        ("once-cut-frame", ["code 0", "PM-CHILD-001"]),
    ] {
        let play = Play::start(part);
        let reason = play.fails();
        assert!(words.iter().all(|word| reason.contains(word)), "{part}: {reason}");
        (3..5).for_each(|x| play.proves(x));
    }
}

fn a_child_that_hangs_is_killed() {
    let play = Play::with("once-hang", |settings| settings.deadlines.prove = Duration::from_secs(3));
    let reason = play.fails();
    assert!(reason.contains("did not answer") && reason.contains("signal 9"), "{reason}");
    play.proves(3);
}

fn a_child_that_hangs_although_it_was_cancelled_is_killed() {
    let play = Play::with("once-hang", |settings| settings.deadlines.cancel = Duration::from_millis(200));
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let proof = scope.spawn(|| play.prover.prove(&witness(2), &cancel));
        play.wait_for("proving");
        cancel.cancel();
        proof.join().unwrap().unwrap_err();
    });
    play.proves(3);
}

fn a_child_that_lies_is_killed() {
    for (part, word) in [
        ("once-garbage-later", "PM-CHILD-002"),
        ("once-huge-frame", "PM-CHILD-002"),
        ("once-other-number", "which nobody made"),
        ("once-other-answer", "does not fit the request"),
    ] {
        let play = Play::start(part);
        let reason = play.fails();
        assert!(reason.contains(word) && reason.contains("signal 9"), "{part}: {reason}");
        play.proves(3);
    }
}

fn a_witness_that_was_staged_in_a_child_that_died_is_proved_by_the_next() {
    let play = Play::start("sound");
    let staged = play.prover.stage(Arc::new(witness(5))).unwrap();
    let process = play.backend.process();
    kill(process);
    eventually(|| !is_there(process));
    // Seen at the latest when the first request fails.
    let again = play.prover.stage(Arc::new(witness(6)));
    play.check(&play.prover.prove_staged(staged, &Cancel::new()).unwrap(), 5);
    drop(again);
    play.proves(7);
}

fn a_device_without_memory_fails_the_request_alone() {
    let play = Play::start("no-memory");
    let process = play.backend.process();
    for _ in 0..3 {
        assert_eq!(play.fails(), "out of memory");
    }
    assert_eq!(play.backend.process(), process, "it is for the worker to judge");
}

fn one_wrong_proof_in_three_is_never_taken_for_a_proof() {
    let play = Play::start("wrong");
    let mut wrong = 0;
    for x in 2..11 {
        match play.prover.prove(&witness(x), &Cancel::new()) {
            Ok(proven) => play.check(&proven, x),
            Err(ProveError::Invalid { backend: "cpu" }) => wrong += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(wrong, 3);
}

fn a_backend_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let reason = |part: &str| {
        ChildBackend::start(settings(part, folder.path()))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    for (part, word) in [
        ("no-driver", "no driver"),
        ("fails-self-test", "PM-CHILD-010"),
        ("other-name", "toaster"),
        ("garbage", "PM-CHILD-002"),
    ] {
        let reason = reason(part);
        assert!(reason.contains(word), "{part}: {reason}");
    }
    let mut missing = settings("sound", folder.path());
    missing.program = "/no/such/program".into();
    let error = ChildBackend::start(missing).err().unwrap();
    assert!(error.to_string().contains("PM-CHILD-011"), "{error}");
}

fn a_child_and_its_witnesses_go_with_a_worker_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let before = shared_files();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args([ROLE, "worker"])
        .arg(folder.path())
        .env("TMPDIR", files.path())
        .spawn()
        .unwrap();
    eventually(|| folder.path().join("proving").exists());
    let child: u32 = std::fs::read_to_string(folder.path().join("child")).unwrap().parse().unwrap();
    assert!(is_there(child));
    let mut witnesses = shared_files();
    witnesses.retain(|file| !before.contains(file));
    worker.kill().unwrap();
    worker.wait().unwrap();
    eventually(|| !is_there(child));
    assert_eq!(
        std::fs::read_dir(files.path()).unwrap().count(),
        0,
        "keys and matrices went before, witnesses now"
    );
    eventually(|| witnesses.iter().all(|file| !file.exists()));
}

/// Files of any worker in memory.
fn shared_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_string_lossy().contains("proofmill-")).collect()
}

/// Whether the process runs; one that ended and was not reaped does not.
fn is_there(process: u32) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    status.is_ok_and(|status| !status.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}
