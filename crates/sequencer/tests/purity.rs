//! The cores are pure by what they can reach: no runtime, no clock, no file, no log among their dependencies.

use std::collections::BTreeSet;

/// Data, arithmetic and encodings. Whoever adds a line says here why it cannot reach the outside.
const ALLOWED: [&str; 8] = ["bn254", "circuits", "hex", "postcard", "protocol", "serde", "thiserror", "wire"];

#[test]
fn the_cores_depend_on_nothing_that_reaches_the_outside() {
    let manifest = include_str!("../Cargo.toml");
    let dependencies = manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let names: BTreeSet<&str> = dependencies
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect();
    assert_eq!(names, BTreeSet::from(ALLOWED));
    assert!(!manifest.contains("target."), "no dependency of one platform only");
}
