//! What a worker writes to its pool's stream of events, and what it reads of its own: what is read is written again as the
//! same bytes, and what is kept of a stranger's event fits its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{Directive, Report, codec::Message};

fn read<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = message.encode().expect("what was read is short enough to be written");
    assert_eq!(M::decode(&again).as_ref(), Ok(&message));
    Some(message)
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(Report { mut event, .. }) = read::<Report>(bytes) {
        event.clip();
        let clipped = event.clone();
        event.clip();
        assert_eq!(event, clipped);
    }
    read::<Directive>(bytes);
});
