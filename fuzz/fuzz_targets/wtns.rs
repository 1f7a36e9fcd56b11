//! A `.wtns`: what is read is written again as the same witness.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prover::iden3::wtns;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(witness) = wtns::read(bytes, 1) {
        let again = wtns::read(&wtns::write(&witness), 1).expect("what was written is read");
        assert!(again == witness);
    }
});
