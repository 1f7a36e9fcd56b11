//! Verifying keys, proofs and public witnesses of gnark: what is read is written again as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prover::gnark;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = gnark::read_verifying_key(bytes) {
        assert_eq!(gnark::write_verifying_key(&key), bytes);
    }
    if let Ok(proof) = gnark::read_proof(bytes) {
        assert_eq!(gnark::write_proof(&proof), bytes);
    }
    if let Ok(inputs) = gnark::read_public_inputs(bytes) {
        assert_eq!(gnark::write_public_inputs(&inputs), bytes);
    }
});
