//! What the queue carries to a worker: a job's entry, and the input that lies beside it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{
    JobEntry,
    codec::Message,
    job::{decode_batch_input, encode_batch_input},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = JobEntry::decode(bytes) {
        let again = entry.encode().expect("what was read is short enough to be written");
        assert_eq!(JobEntry::decode(&again), Ok(entry));
    }
    if let Ok(input) = decode_batch_input(bytes) {
        let again = encode_batch_input(&input).expect("what was read is short enough to be written");
        assert_eq!(decode_batch_input(&again), Ok(input));
    }
});
