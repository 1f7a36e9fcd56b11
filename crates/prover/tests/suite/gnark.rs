//! gnark verifies our proofs and we verify gnark's.
//!
//! The files in `data/gnark` were written by `gnark-peer export` (`benches/peers/gnark`, gnark 0.15.0).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Mixed, prover_of, witness_of};
use proptest::prelude::*;
use prover::gnark::{
    GnarkError, read_proof, read_public_inputs, read_verifying_key, write_proof, write_public_inputs,
    write_verifying_key,
};
use prover::{Cancel, PreparedVerifyingKey, VerifyError, verify};

const KEY: &[u8] = include_bytes!("data/gnark/vk.bin");
const PROOF: &[u8] = include_bytes!("data/gnark/proof.bin");
const PUBLIC: &[u8] = include_bytes!("data/gnark/public.bin");

/// Whether three files make a proof that verifies.
fn holds(key: &[u8], proof: &[u8], public: &[u8]) -> Result<Result<(), VerifyError>, GnarkError> {
    let key = PreparedVerifyingKey::new(&read_verifying_key(key)?).unwrap();
    Ok(verify(&key, &read_proof(proof)?, &read_public_inputs(public)?))
}

#[test]
fn a_proof_of_gnark_verifies_and_is_written_as_it_was() {
    assert_eq!(holds(KEY, PROOF, PUBLIC), Ok(Ok(())));
    assert_eq!(write_verifying_key(&read_verifying_key(KEY).unwrap()), KEY);
    assert_eq!(write_proof(&read_proof(PROOF).unwrap()), PROOF);
    let inputs = read_public_inputs(PUBLIC).unwrap();
    assert_eq!(inputs, [bn254::Fr::from(263)]);
    assert_eq!(write_public_inputs(&inputs), PUBLIC);
    let other = write_public_inputs(&[bn254::Fr::from(264)]);
    assert_eq!(holds(KEY, PROOF, &other), Ok(Err(VerifyError::Invalid)));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let mut with_commitments = PROOF.to_vec();
    with_commitments[259] = 1;
    assert_eq!(read_proof(&with_commitments), Err(GnarkError::Commitments));
    let mut with_commitments = KEY.to_vec();
    let last = with_commitments.len() - 1;
    with_commitments[last] = 1;
    assert_eq!(read_verifying_key(&with_commitments), Err(GnarkError::Commitments));
    let mut compressed = PROOF.to_vec();
    compressed[0] |= 0x80;
    let refused = read_proof(&compressed).unwrap_err().to_string();
    assert!(refused.contains("compressed") && refused.contains("WriteRawTo"), "{refused}");
    let mut secret = PUBLIC.to_vec();
    secret[7] = 1;
    assert!(matches!(read_public_inputs(&secret), Err(GnarkError::Malformed { .. })));
}

#[test]
fn truncated_and_absurd_files_are_refused() {
    for len in 0..KEY.len() {
        assert!(read_verifying_key(&KEY[..len]).is_err(), "{len} bytes");
    }
    for len in 0..PROOF.len() {
        assert!(read_proof(&PROOF[..len]).is_err(), "{len} bytes");
    }
    for len in 0..PUBLIC.len() {
        assert!(read_public_inputs(&PUBLIC[..len]).is_err(), "{len} bytes");
    }
    let mut absurd = KEY.to_vec();
    absurd[576..580].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(read_verifying_key(&absurd), Err(GnarkError::Malformed { .. })));
    let absurd = [[0xff; 4], [0; 4], [0xff; 4]].concat();
    assert!(matches!(read_public_inputs(&absurd), Err(GnarkError::Malformed { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_changed_bit_is_never_a_panic_or_a_proof(which in 0_usize..3, at: prop::sample::Index, bit in 0..8) {
        let mut files = [KEY.to_vec(), PROOF.to_vec(), PUBLIC.to_vec()];
        let at = at.index(files[which].len());
        files[which][at] ^= 1_u8 << bit;
        let [key, proof, public] = files;
        prop_assert_ne!(holds(&key, &proof, &public), Ok(Ok(())));
    }
}

/// The program in `benches/peers/gnark`: `PROOFMILL_GNARK_PEER`, or built here where there is Go;
/// `PROOFMILL_REQUIRE_GO` makes it an error if there is neither.
fn gnark_peer(folder: &Path) -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("PROOFMILL_GNARK_PEER") {
        return Some(program.into());
    }
    let required = std::env::var_os("PROOFMILL_REQUIRE_GO").is_some();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers/gnark");
    let program = folder.join("gnark-peer");
    let build = Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(sources).output();
    match build {
        Ok(output) if output.status.success() => Some(program),
        other => {
            assert!(!required, "gnark's peer cannot be built: {other:?}");
            println!("skipped: no Go here that builds benches/peers/gnark");
            None
        }
    }
}

#[test]
fn gnark_verifies_our_proofs_and_we_verify_gnarks() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = gnark_peer(folder.path()) else { return };
    let at = |name: &str| folder.path().join(name);
    let gnark = |command: &str| {
        let output = Command::new(&program).arg(command).arg(folder.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };

    let prover = prover_of(Mixed::shape());
    let witness = witness_of(Mixed::new(77));
    let proof = prover.prove(&witness, &Cancel::new()).unwrap().proof;
    std::fs::write(at("vk.bin"), write_verifying_key(prover.key().verifying_key())).unwrap();
    std::fs::write(at("proof.bin"), write_proof(&proof)).unwrap();
    let mut inputs = witness.public_inputs().to_vec();
    std::fs::write(at("public.bin"), write_public_inputs(&inputs)).unwrap();
    assert_eq!(gnark("verify"), (true, String::new()));
    inputs[0] += bn254::Fr::from(1);
    std::fs::write(at("public.bin"), write_public_inputs(&inputs)).unwrap();
    assert!(!gnark("verify").0, "gnark accepts a false statement");

    assert_eq!(gnark("export"), (true, String::new()));
    let read = |name: &str| std::fs::read(at(name)).unwrap();
    assert_eq!(holds(&read("vk.bin"), &read("proof.bin"), &read("public.bin")), Ok(Ok(())));
}
