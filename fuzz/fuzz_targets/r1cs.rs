//! A `.r1cs`: what is read is written again as the same circuit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prover::iden3::r1cs;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(circuit) = r1cs::read(bytes) {
        let again = r1cs::write(&circuit).expect("a circuit that was read has C");
        assert_eq!(r1cs::read(&again).expect("what was written is read").digest(), circuit.digest());
        assert!(r1cs::is_in_order(bytes, &circuit).is_ok());
    }
});
