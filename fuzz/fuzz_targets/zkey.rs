//! A `.zkey`: what is read makes a key, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prover::{
    Key,
    iden3::zkey::{self, Checks},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = zkey::read(bytes, Checks::Curve) {
        assert!(!key.parts.origin.is_safe());
        let _ = Key::from_parts(&key.parts);
    }
});
