//! The committed ABI and bytecode are what the committed sources give.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::Path;
use std::process::Command;

#[test]
fn abi_and_bytecode_match_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(
        folder.join("node_modules/solc").is_dir(),
        "the Solidity compiler is not installed: run `npm ci --prefix contracts` first"
    );
    let output = Command::new("node").arg("build.mjs").arg("--check").current_dir(folder).output();
    let output = output.expect("node is installed");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
