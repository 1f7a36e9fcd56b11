//! `proof.json`, `public.json` and `verification_key.json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prover::iden3::json;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = serde_json::from_slice(bytes) else { return };
    if let Ok(proof) = json::read_proof(&value) {
        assert!(json::read_proof(&json::write_proof(&proof)).is_ok_and(|again| again == proof));
    }
    if let Ok(public) = json::read_public(&value) {
        assert!(json::read_public(&json::write_public(&public)).is_ok_and(|again| again == public));
    }
    let _ = json::read_verifying_key(&value);
});
