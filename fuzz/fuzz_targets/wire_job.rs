//! The input of a job, which lies beside the queue.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::job::{decode_batch_input, encode_batch_input};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(input) = decode_batch_input(bytes) {
        let again = encode_batch_input(&input).expect("what was read is short enough to be written");
        assert_eq!(decode_batch_input(&again), Ok(input));
    }
});
