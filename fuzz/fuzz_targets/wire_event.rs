//! What a worker writes to the stream of events: what is read is written again as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Control, WorkerEvent, codec::Message};

fn read<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let again = message.encode().expect("what was read is short enough to be written");
        assert_eq!(M::decode(&again), Ok(message));
    }
}

fuzz_target!(|bytes: &[u8]| {
    read::<WorkerEvent>(bytes);
    read::<Control>(bytes);
});
