//! A `.ptau`, and what the smallest circuit needs of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prover::{NoProgress, iden3::ptau};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(powers) = ptau::read(bytes) {
        let _ = powers.for_domain(1, &NoProgress);
    }
});
