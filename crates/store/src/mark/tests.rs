use std::{fs, io::Write};

use sequencer::state::{
    event::Event,
    rows::{Checkpoint, Line, Row},
};

use super::*;
use crate::{Leadership, SqliteStore};

const DEPLOYMENT: &str = "chain 31337 contract 0xc0";

fn event(number: u64) -> Stamped {
    Stamped { at: number, event: Event::Opened { batch_no: number as u32, places: 60 } }
}

fn promised(sequence: u64) -> Promised {
    Promised {
        sequence,
        id: OperationId([sequence as u8; 32]),
        batch_no: 1,
        sender: [1; 20],
        recipient: Some([2; 20]),
        amount: 10 * sequence,
        deadline: 1_000 + sequence,
    }
}

fn mark(sequence: u64) -> HighWater {
    let operation = Some(OperationId([sequence as u8; 32]));
    HighWater {
        sequence,
        digest: digest(&event(sequence)),
        batch_no: 1,
        deadline: 1_000 + sequence,
        operation,
    }
}

fn noted(folder: &Path, up_to: u64) -> Journal {
    let mut journal = Journal::open(folder, DEPLOYMENT).unwrap();
    for sequence in 1..=up_to {
        journal.note(&[promised(sequence)], &mark(sequence)).unwrap();
    }
    journal
}

fn file(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap()
}

#[test]
fn a_journal_comes_back_whole_and_never_lower() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = noted(folder.path(), 5);
    journal.note(&[promised(3)], &mark(3)).unwrap();
    assert_eq!(journal.read().unwrap(), Some(mark(5)));
    drop(journal);
    let mut again = Journal::open(folder.path(), DEPLOYMENT).unwrap();
    assert_eq!(again.read().unwrap(), Some(mark(5)));
    assert_eq!(again.recent().after(2), [promised(3), promised(4), promised(5)]);
    // Another deployment in the same folder knows nothing of it.
    assert_eq!(Journal::open(folder.path(), "chain 1").unwrap().read().unwrap(), None);
    again.reset(&mark(2)).unwrap();
    drop(again);
    assert_eq!(Journal::open(folder.path(), DEPLOYMENT).unwrap().read().unwrap(), Some(mark(2)));
}

#[test]
fn a_journal_that_was_cut_anywhere_is_what_was_whole() {
    let folder = tempfile::tempdir().unwrap();
    drop(noted(folder.path(), 3));
    let path = file(folder.path());
    let whole = fs::read(&path).unwrap();
    let two = {
        let other = tempfile::tempdir().unwrap();
        drop(noted(other.path(), 2));
        fs::read(file(other.path())).unwrap().len()
    };
    for length in two..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut journal = Journal::open(folder.path(), DEPLOYMENT).unwrap();
        assert_eq!(journal.read().unwrap(), Some(mark(2)), "cut at {length}");
        // And is written on from there.
        journal.note(&[promised(3)], &mark(3)).unwrap();
        drop(journal);
        assert_eq!(fs::read(&path).unwrap(), whole, "cut at {length}");
    }
    let mut garbage = fs::File::options().append(true).open(&path).unwrap();
    garbage.write_all(&[0xff; 100]).unwrap();
    assert_eq!(Journal::open(folder.path(), DEPLOYMENT).unwrap().read().unwrap(), Some(mark(3)));
    // A bit that flips in the last record costs that record, not the start.
    let mut bent = whole.clone();
    let last = bent.len() - 20;
    bent[last] ^= 1;
    fs::write(&path, bent).unwrap();
    assert_eq!(Journal::open(folder.path(), DEPLOYMENT).unwrap().read().unwrap(), Some(mark(2)));
}

#[test]
fn a_journal_that_has_grown_is_written_anew_with_what_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path(), DEPLOYMENT).unwrap();
    let mut last = 0;
    for round in 0..120u64 {
        let many: Vec<Promised> = (round * 1_000 + 1..=(round + 1) * 1_000).map(promised).collect();
        last = (round + 1) * 1_000;
        journal.note(&many, &mark(last)).unwrap();
    }
    drop(journal);
    assert!(fs::metadata(file(folder.path())).unwrap().len() < 9 << 20);
    let mut again = Journal::open(folder.path(), DEPLOYMENT).unwrap();
    assert_eq!(again.read().unwrap(), Some(mark(last)));
    assert_eq!(again.recent().last(), Some(&promised(last)));
    assert_eq!(again.recent().iter().count(), 20_000);
}

/// A mark in memory.
struct Elsewhere(Result<Option<HighWater>, String>);

impl Mark for Elsewhere {
    fn place(&self) -> String {
        "elsewhere".to_owned()
    }

    fn read(&mut self) -> Result<Option<HighWater>, MarkError> {
        self.0.clone().map_err(MarkError::Redis)
    }

    fn raise(&mut self, to: &HighWater) -> Result<(), MarkError> {
        let is_higher = |known: &HighWater| known.sequence >= to.sequence;
        if !self.0.as_ref().is_ok_and(|known| known.as_ref().is_some_and(is_higher)) {
            self.0 = Ok(Some(*to));
        }
        Ok(())
    }

    fn reset(&mut self, to: &HighWater) -> Result<(), MarkError> {
        self.0 = Ok(Some(*to));
        Ok(())
    }
}

fn log(folder: &Path, events: u64) -> SqliteStore {
    let mut store = SqliteStore::open(folder).unwrap();
    assert!(matches!(store.lead(), Ok(Leadership::Leading { .. })));
    let events: Vec<Stamped> = (1..=events).map(event).collect();
    let rows: [Row; 0] = [];
    store.commit(1, &events, &rows).unwrap();
    let (_, _): (Option<Checkpoint>, Option<Line>) = (None, None);
    store
}

#[test]
fn a_log_is_compared_with_every_mark() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = log(folder.path(), 5);
    let mut compare = |journal: u64, elsewhere: Result<Option<HighWater>, String>| {
        let other = tempfile::tempdir_in(data.path()).unwrap();
        let mut marks = Marks {
            journal: Some(noted(other.path(), journal)),
            others: vec![Box::new(Elsewhere(elsewhere))],
            loss: Loss::Refuse,
        };
        marks.compare(&mut store, &mark(5))
    };
    for level in [0, 1, 5] {
        assert!(matches!(compare(level, Ok(Some(mark(3)))), Ok(unread) if unread.is_empty()), "{level}");
    }
    assert!(matches!(compare(5, Err("away".to_owned())), Ok(unread) if unread[0].contains("away")));
    // Behind the data directory, which knows what is missing.
    let Err(Compared::Behind(behind)) = compare(8, Ok(None)) else { panic!("not noticed") };
    assert_eq!((behind.found, behind.known, behind.replaced), (5, mark(8), false));
    assert_eq!(behind.missing, [promised(6), promised(7), promised(8)]);
    let said = behind.to_string();
    for part in
        ["ends with event 5", "event 8", "3 promised operations of 210 coins", "0808", "--accept-loss"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Behind another place only.
    let Err(Compared::Behind(behind)) = compare(5, Ok(Some(mark(6)))) else { panic!("not noticed") };
    assert!(behind.to_string().contains("elsewhere knows of event 6"), "{behind}");
    // As long as it should be, and another one.
    for at in [3, 5] {
        let other = HighWater { digest: [7; 32], ..mark(at) };
        let Err(Compared::Behind(behind)) = compare(2, Ok(Some(other))) else { panic!("not noticed") };
        assert!(behind.replaced && behind.to_string().contains("another one"), "{behind}");
    }
}

#[test]
fn a_lead_that_is_won_again_is_compared_with_what_others_promised_meanwhile() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = log(folder.path(), 5);
    let mut kept = |elsewhere: HighWater| {
        let other = tempfile::tempdir_in(data.path()).unwrap();
        let follower = Follower::start(Box::new(Elsewhere(Ok(Some(elsewhere)))), |_| {}).unwrap();
        follower.raise(mark(5));
        let journal = Some(noted(other.path(), 5));
        let mut kept = Kept { journal, followers: vec![follower], ..Kept::default() };
        let begun = std::time::Instant::now();
        let doubts = elsewhere != mark(5);
        while kept.doubted() != doubts && begun.elapsed().as_secs() < 20 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(kept.doubted(), doubts, "its thread has told");
        kept.compare(&mut store, &mark(5))
    };
    assert!(kept(mark(5)).is_ok());
    // It knows of more, or of something else.
    for other in [mark(7), HighWater { digest: [7; 32], ..mark(5) }] {
        assert!(matches!(kept(other), Err(Compared::Behind(behind)) if behind.place == "elsewhere"));
    }
}
