//! Snapshots and stored events that lie, with right checksums: whoever forges one makes them right. What is read can be used and
//! written again; what cannot be read is refused, and the log gives the state.

use sequencer::state::event::Stamped;
use testbed::bend::{Noting, Suite};

use super::*;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// In a file's head before the lengths of its sections.
const BEFORE_LENGTHS: usize = 8 + 4 + 8 + 32;
/// An event is also applied in one of so many inputs: the state before it has to be made first.
const APPLIED: u64 = 16;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Bent anywhere.
    Snapshot,
    /// One section of it, the others good.
    Section(usize),
    /// The event of this place in the log.
    Event(usize),
}

/// A file of these sections.
fn assembled(before_lengths: &[u8], sections: &[Vec<u8>]) -> Vec<u8> {
    let mut body = before_lengths.to_vec();
    for section in sections {
        body.extend((section.len() as u64).to_le_bytes());
    }
    body.extend(sections.concat());
    [blake3::hash(&body).as_bytes().as_slice(), &body].concat()
}

#[test]
fn no_file_however_bent_makes_the_coordinator_panic_hang_or_take_memory() {
    let snapshots = Snapshots { folder: PathBuf::new(), deployment: "chain 1 contract 0x00".to_owned() };
    let bench = lived();
    let rules = Arc::new(bench.state.rules().clone());
    let parts = snapshots.encode(&bench.state, 1).unwrap();
    let (before_lengths, sections) = (&parts[1][..BEFORE_LENGTHS], &parts[2..]);
    let log: Vec<Vec<u8>> = bench.log.iter().map(|stamped| postcard::to_stdvec(stamped).unwrap()).collect();
    let mut seeds = vec![(Kind::Snapshot, parts.concat())];
    assert_eq!(seeds[0].1, assembled(before_lengths, sections));
    let filled = (0..).map(Kind::Section).zip(sections.iter().cloned());
    seeds.extend(filled.filter(|(_, section)| !section.is_empty()));
    seeds.extend((0..).map(Kind::Event).zip(log.iter().cloned()));

    let bent = |kind, bytes: &mut Vec<u8>, dice: &mut testbed::bend::Dice| {
        if matches!(kind, Kind::Snapshot) && dice.below(8) > 0 && bytes.len() > 32 {
            let sum = blake3::hash(&bytes[32..]);
            bytes[..32].copy_from_slice(sum.as_bytes());
        }
    };
    let read_snapshot = |bytes: &[u8]| {
        let Ok((state, later)) = snapshots.decode(bytes, 1, &rules) else { return false };
        later.decode().is_ok() && snapshots.encode(&state, 1).is_ok()
    };
    let read_event = |bytes: &[u8], place: usize, number: u64| {
        let Ok(stamped) = postcard::from_bytes::<Stamped>(bytes) else { return false };
        if number.is_multiple_of(APPLIED) {
            let mut state = State::new(Arc::clone(&rules));
            bench.log[..place].iter().for_each(|before| drop(state.apply(before).unwrap()));
            return state.apply(&stamped).is_ok();
        }
        true
    };
    let read = |kind, bytes: &[u8], _: &Path, number| match kind {
        Kind::Snapshot => read_snapshot(bytes),
        Kind::Section(section) => {
            let mut sections = sections.to_vec();
            sections[section] = bytes.to_vec();
            read_snapshot(&assembled(before_lengths, &sections))
        }
        Kind::Event(place) => read_event(bytes, place, number),
    };
    Suite { what: "coordinator", seeds: &seeds, few: 3_000 }.run(bent, read);
}
