//! What `doctor` says of cards, by the built binary over a fake NVML.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{path::Path, process::Command};

use testbed::nvml::{Fake, uuid};

/// The lines on cards, and whether `doctor` found everything well.
fn doctor(library: &Path) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_proofmill"))
        .args(["doctor", "--keys"])
        .arg(folder.path())
        .env("PROOFMILL_NVML_LIBRARY", library)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("card") && !line.contains("backend")).collect();
    (lines.join("\n"), output.status.success())
}

#[test]
fn a_machine_without_a_driver_is_well_and_proves_on_the_cpu() {
    let (text, good) = doctor(Path::new("/nowhere/libnvidia-ml.so.1"));
    assert!(
        text.contains("no NVIDIA driver: proving on the CPU; install the driver to use a card"),
        "{text}"
    );
    // What is not here is no fault, and not well either.
    assert!(good && text.starts_with("  – card"), "{text}");
    let fake = Fake::new();
    let (text, good) = doctor(&fake.library());
    assert!(
        good && text.starts_with("  – card") && text.contains("the NVIDIA driver knows no card"),
        "{text}"
    );
}

#[test]
fn backends_that_are_not_here_say_why_and_are_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_proofmill"))
        .args(["doctor", "--keys"])
        .arg(folder.path())
        .env("PROOFMILL_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1")
        .env("PROOFMILL_CUDA_LIBRARY", "/nowhere/libproofmill_cuda.so")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let of = |marked: &str| text.lines().find(|line| line.contains(marked)).unwrap().to_owned();
    assert!(of("– backend cuda").contains("not here: PM-CUDA-001"), "{text}");
    assert!(of("– backend icicle").contains("not here: PM-ICICLE-"), "{text}");
    assert!(of("✓ backend cpu").contains("always here"), "{text}");
    assert!(text.lines().all(|line| !(line.contains('✓') && line.contains("not here"))), "{text}");
}

#[test]
fn a_healthy_card_is_described() {
    let fake = Fake::new();
    fake.add(0);
    let (text, good) = doctor(&fake.library());
    assert!(good, "{text}");
    let description = format!(
        "NVIDIA H200, {}, driver 580.95.05, 93.1 of 139.7 GiB free, 54 °C (slows down at 90), 412 of 700 W; it would take work",
        uuid(0)
    );
    assert!(text.starts_with("  ✓ card 0") && text.ends_with(&description), "{text}");
}

#[test]
fn every_sick_card_says_why_it_would_take_no_work() {
    let fake = Fake::new();
    (0..3).for_each(|number| fake.add(number));
    fake.card(0, &[("temperature", "95")]);
    fake.card(2, &[("lost", "!15")]);
    let (text, good) = doctor(&fake.library());
    assert!(!good, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("  ✗ card 0") && lines[0].contains("would take no work: PM-CARD-012"),
        "{text}"
    );
    assert!(lines[1].starts_with("  ✓ card 1"), "{text}");
    assert!(lines[2].starts_with("  ✗ card 2") && lines[2].contains("PM-CARD-010"), "{text}");
}

#[test]
fn a_driver_that_refuses_is_a_fault_with_advice() {
    let fake = Fake::new();
    fake.set(&[("init", "!4")]);
    let (text, good) = doctor(&fake.library());
    assert!(!good && text.contains("PM-CARD-002"), "{text}");
}
