//! Where ICICLE is looked for, and what is said when it is not usable there.

use std::path::Path;

use crate::child::Child;
use crate::fake::fakes;

fn open_error(child: Child) -> String {
    let outcome = child.run();
    assert!(outcome.ended_well(), "{}", outcome.all());
    outcome.said("open").remove(0)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_environment_names_the_folder_in_the_documented_order() {
    let (good, empty) = (&fakes().good, &fakes().empty);
    // A prefix whose lib is the fake.
    let prefix = good.parent().unwrap().join("prefix");
    std::fs::create_dir_all(&prefix).unwrap();
    let _ = std::os::unix::fs::symlink(good, prefix.join("lib"));
    let unset = || Child::new("prove").folder(None);
    let children = [
        unset().with("ICICLE_FRONTEND_INSTALL_DIR", text(good)),
        unset().with("ICICLE_INSTALL_DIR", text(&prefix)),
        unset().with("ICICLE_FRONTEND_INSTALL_DIR", text(empty)).with("ICICLE_INSTALL_DIR", text(&prefix)),
    ];
    for child in children {
        let outcome = child.run();
        assert_eq!(outcome.said("proof"), ["well"], "{}", outcome.all());
    }
    if !Path::new("/opt/icicle/lib").exists() {
        let outcome = unset().driver(good).run();
        assert_eq!(outcome.said("proof"), ["well"], "{}", outcome.all());
    }
}

#[test]
fn an_explicit_folder_without_icicle_is_an_error_even_when_another_has_it() {
    let child = Child::new("prove").folder(Some(&fakes().empty));
    let error = open_error(child.with("ICICLE_FRONTEND_INSTALL_DIR", text(&fakes().good)));
    assert!(error.contains("PM-ICICLE-001") && error.contains(text(&fakes().empty)), "{error}");
}

#[test]
fn a_missing_library_or_function_and_an_old_version_are_named() {
    let open = |folder| open_error(Child::new("prove").folder(Some(folder)));
    let error = open(&fakes().without_curve);
    assert!(error.contains("PM-ICICLE-002") && error.contains("libicicle_curve_bn254.so"), "{error}");
    let error = open(&fakes().without_g2);
    assert!(error.contains("PM-ICICLE-003") && error.contains("bn254_g2_msm"), "{error}");
    let error = open(&fakes().old);
    assert!(error.contains("PM-ICICLE-004") && error.contains("3.1"), "{error}");
}

#[test]
fn without_a_driver_or_card_icicles_backend_is_not_even_loaded() {
    // It would throw while it is loaded, as the real one does without a driver.
    let child = || Child::new("prove").cuda().misbehaving("throw-in-load");
    let error = open_error(child().driver(&fakes().no_driver));
    assert!(error.contains("PM-ICICLE-005") && error.contains("install the NVIDIA driver"), "{error}");
    let error = open_error(child().with("CUDA_FAKE_INIT", "803"));
    assert!(error.contains("PM-ICICLE-005") && error.contains("803"), "{error}");
    for (variable, value) in [("CUDA_FAKE_INIT", "100"), ("CUDA_FAKE_CARDS", "0")] {
        let error = open_error(child().with(variable, value));
        assert!(error.contains("shows no card"), "{error}");
    }
    let error = open_error(child().with("DEVICE", "2").with("CUDA_FAKE_CARDS", "2"));
    assert!(error.contains("PM-ICICLE-006") && error.contains("--device 0 to 1"), "{error}");
}

#[test]
fn a_folder_of_backends_that_is_missing_or_empty_is_named_although_icicle_reports_success() {
    let child = |folder: &str| Child::new("prove").cuda().with("ICICLE_BACKEND_INSTALL_DIR", folder);
    let error = open_error(child("/nowhere/backend"));
    assert!(error.contains("PM-ICICLE-007") && error.contains("/nowhere/backend"), "{error}");
    let error = open_error(child(text(&fakes().empty)));
    assert!(error.contains("PM-ICICLE-008") && error.contains("CUDA"), "{error}");
    let error = open_error(child(text(&fakes().good.join("backend"))).misbehaving("load-fails"));
    assert!(error.contains("PM-ICICLE-009") && error.contains("icicle_load_backend"), "{error}");
}

#[test]
fn a_card_with_everything_in_place_proves_and_says_which_card_it_is() {
    let outcome =
        Child::new("prove").cuda().with("PROOFS", "2").with("CUDA_FAKE_CARDS", "2").with("DEVICE", "1").run();
    assert!(outcome.is_clean(), "{}", outcome.all());
    assert_eq!(outcome.said("proof"), ["well", "well"]);
    let device = outcome.said("device").remove(0);
    assert_eq!(
        device,
        "Fake card 1 GPU-01112131-4151-6171-8191-a1b1c1d1e1f1 CUDA driver 13.0, ICICLE >= 3.1"
    );
}
