//! What every store must do: one function per promise, each run on a fresh store.
//!
//! For tests: a broken promise panics with the promise's name in the backtrace. [`projections`] writes rows of every kind
//! and hands them back, so that two engines can be compared.

use std::{collections::BTreeMap, sync::Arc};

use bn254::Fr;
use circuits::{baby_jubjub::Point, leaf::CoinRange, shape::Shape};
use protocol::{
    Balances, DirectoryEntry, OperationId, OperationKind, Stage, TimelineEntry,
    l1::{Fees, SignedTx},
};
use sequencer::{
    ledger::{Leaf, Remembered},
    state::{
        Batch, Operation,
        event::{Cursor, Event, Stamped},
        rows::{BatchRow, Checkpoint, JobRow, Line, OperationRow, PER_BATCH, Row},
    },
};

use super::{Leadership, Store, StoreError};

mod history;

/// A row of a projection: columns by name, as text; bytes in hexadecimal, nothing for NULL.
pub type TextRow = BTreeMap<String, Option<String>>;

/// A place for one store, empty at first.
pub trait Fixture {
    /// Opens the store; one opened before is dropped by then.
    ///
    /// # Errors
    /// Of the store.
    fn open(&self) -> Result<Box<dyn Store>, StoreError>;

    /// What a table of the projections holds, in any order.
    fn table(&self, name: &str) -> Vec<TextRow>;
}

/// The tables that follow from the log.
pub const TABLES: [&str; 11] = [
    "user_balance",
    "leaves",
    "operations",
    "batches",
    "jobs",
    "proofs",
    "transactions",
    "chain_cursor",
    "directory",
    "idempotency",
    "lines",
];

const DEPLOYMENT: &str = "chain 31337 contract 0xc0";

type Outcome = Result<(), StoreError>;

/// Runs every check, each on a store from `fresh`.
///
/// # Errors
/// The first error of the store that no check expects.
///
/// # Panics
/// At the first broken promise.
pub fn check_all<F: Fixture>(mut fresh: impl FnMut() -> F) -> Outcome {
    events_come_back_in_order_also_after_a_restart(&fresh())?;
    a_replay_begins_after_any_event(&fresh())?;
    a_gap_is_refused_and_nothing_of_it_is_written(&fresh())?;
    the_same_commit_again_is_success_and_changes_nothing(&fresh())?;
    other_events_under_used_numbers_are_refused(&fresh())?;
    a_commit_is_written_whole_or_not_at_all(&fresh())?;
    values_are_taken_as_they_are_or_refused(&fresh())?;
    the_checkpoint_is_the_last_batch(&fresh())?;
    the_last_of_several_rows_with_one_key_counts(&fresh())?;
    lines_come_back_in_the_order_they_were_written(&fresh())?;
    history::readers_find_what_was_committed_at_once_and_whole(&fresh())?;
    history::lists_are_read_page_by_page_to_their_end(&fresh())?;
    history::signatures_are_kept_once(&fresh())?;
    a_store_stays_with_its_deployment(&fresh())?;
    whoever_leads_still_leads_in_the_same_term(&fresh())?;
    each_leader_has_a_term_of_its_own(&fresh())?;
    what_each_returns_ends_a_replay(&fresh())?;
    thousands_of_events_and_rows_fit_one_commit(&fresh())
}

fn event(number: u64) -> Stamped {
    Stamped { at: 1_000 + number, event: Event::Opened { batch_no: number as u32, places: 60 } }
}

fn events(numbers: std::ops::RangeInclusive<u64>) -> Vec<Stamped> {
    numbers.map(event).collect()
}

/// A store that leads.
fn leading(fixture: &impl Fixture) -> Result<Box<dyn Store>, StoreError> {
    let mut store = fixture.open()?;
    store.bind(DEPLOYMENT)?;
    let leadership = store.lead()?;
    assert!(matches!(leadership, Leadership::Leading { .. }), "{leadership:?}");
    Ok(store)
}

fn stored(store: &mut dyn Store, after: u64) -> Result<Vec<Stamped>, StoreError> {
    let (mut found, mut expected) = (Vec::new(), after + 1);
    store.replay(after, &mut |sequence, stamped| {
        assert_eq!(sequence, expected, "numbers have no gaps");
        expected += 1;
        found.push(stamped);
        Ok(())
    })?;
    Ok(found)
}

fn events_come_back_in_order_also_after_a_restart(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    assert_eq!(stored(store.as_mut(), 0)?, []);
    store.commit(1, &events(1..=3), &[])?;
    store.commit(4, &events(4..=9), &[])?;
    assert_eq!(stored(store.as_mut(), 0)?, events(1..=9));
    drop(store);
    let mut store = leading(fixture)?;
    assert_eq!(stored(store.as_mut(), 0)?, events(1..=9));
    store.commit(10, &events(10..=10), &[])?;
    assert_eq!(stored(store.as_mut(), 0)?, events(1..=10));
    Ok(())
}

fn a_replay_begins_after_any_event(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    store.commit(1, &events(1..=20), &[])?;
    for after in [0, 1, 7, 19, 20] {
        assert_eq!(stored(store.as_mut(), after)?, events(after + 1..=20));
    }
    Ok(())
}

fn a_gap_is_refused_and_nothing_of_it_is_written(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    for first in [2, 3] {
        let refused = store.commit(first, &events(first..=9), &[balance(1, 5)]);
        assert!(matches!(refused, Err(StoreError::Unusable(_))), "{refused:?}");
    }
    store.commit(1, &events(1..=3), &[])?;
    let refused = store.commit(5, &events(5..=9), &[]);
    assert!(matches!(refused, Err(StoreError::Unusable(_))), "{refused:?}");
    assert_eq!(stored(store.as_mut(), 0)?, events(1..=3));
    assert_eq!(fixture.table("user_balance"), []);
    Ok(())
}

fn the_same_commit_again_is_success_and_changes_nothing(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    store.commit(1, &events(1..=3), &[line(1, "first")])?;
    store.commit(4, &events(4..=6), &[line(1, "second")])?;
    store.commit(4, &events(4..=6), &[line(1, "second")])?;
    store.commit(1, &events(1..=3), &[line(1, "first")])?;
    assert_eq!(stored(store.as_mut(), 0)?, events(1..=6));
    assert_eq!(store.lines(1)?.len(), 2);
    store.commit(7, &events(7..=7), &[])
}

fn other_events_under_used_numbers_are_refused(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    store.commit(1, &events(1..=6), &[])?;
    // Another body; more than are there.
    for (first, other) in [(6, events(7..=7)), (5, events(5..=8))] {
        let refused = store.commit(first, &other, &[balance(1, 5)]);
        let expected = matches!(refused, Err(StoreError::Unusable(_) | StoreError::Deposed { .. }));
        assert!(expected, "{refused:?}");
    }
    assert_eq!(stored(store.as_mut(), 0)?, events(1..=6));
    assert_eq!(fixture.table("user_balance"), []);
    Ok(())
}

fn a_commit_is_written_whole_or_not_at_all(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    // The schema refuses a proof of the wrong length, which comes after rows that are good.
    let rows = [leaf(1, 1_000), balance(1, 5), short_proof(), line(1, "never")];
    let refused = store.commit(1, &events(1..=4), &rows);
    assert!(matches!(refused, Err(StoreError::Value(_))), "{refused:?}");
    assert_eq!(stored(store.as_mut(), 0)?, []);
    for table in TABLES {
        assert_eq!(fixture.table(table), [], "{table}");
    }
    store.commit(1, &events(1..=4), &rows[..2])?;
    assert_eq!(fixture.table("user_balance").len(), 1);
    Ok(())
}

/// Every text and number that a row can hold: both engines take the same ones, and give back what they took.
fn values_are_taken_as_they_are_or_refused(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    let refused: [(&str, Row); 7] = [
        ("a NUL in a line", line(1, "before\0after")),
        ("a NUL in a key", idempotency("\0")),
        ("a NUL in a worker's name", named_worker("wor\0ker")),
        (
            "a balance beyond 63 bits",
            Row::Balance([1; 20], Balances { accepted: 1 << 63, ..Balances::default() }),
        ),
        ("a place beyond 63 bits", leaf(1 << 63, 1_000)),
        ("a block beyond 63 bits", Row::Cursor(Cursor { number: u64::MAX, hash: [4; 32] })),
        ("a proof of another length", short_proof()),
    ];
    for (what, row) in refused {
        let outcome = store.commit(1, &events(1..=1), &[balance(1, 5), row]);
        assert!(matches!(outcome, Err(StoreError::Value(_))), "{what}: {outcome:?}");
    }
    let late = Stamped { at: u64::MAX, ..event(1) };
    let outcome = store.commit(1, &[late], &[]);
    assert!(matches!(outcome, Err(StoreError::Value(_))), "a time beyond 63 bits: {outcome:?}");
    assert_eq!(stored(store.as_mut(), 0)?, []);
    assert_eq!(fixture.table("user_balance"), []);
    // Everything else that a text can be.
    let texts = [
        "".to_owned(),
        "'; DROP TABLE events; --".to_owned(),
        "\u{1}\u{7f}\u{80}\r\n\t".to_owned(),
        "\u{fffd}\u{feff}\u{202e}\u{10ffff}\u{e000}é漢🪙".to_owned(),
        "\\x00 \\u0000 %s $1".to_owned(),
        "long ".repeat(50_000),
    ];
    let most = i64::MAX as u64;
    let mut rows: Vec<Row> = texts.iter().map(|text| line(1, text)).collect();
    rows.extend(texts.iter().map(|text| idempotency(&text.chars().take(64).collect::<String>())));
    rows.push(Row::Balance([9; 20], Balances { accepted: most, proven: most, finalized: most }));
    store.commit(1, &events(1..=1), &rows)?;
    let lines: Vec<String> = store.lines(1)?.into_iter().map(|line| line.text).collect();
    assert_eq!(lines, texts);
    assert_eq!(fixture.table("idempotency").len(), texts.len());
    Ok(())
}

fn the_checkpoint_is_the_last_batch(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    let checkpoint = |store: &mut dyn Store| store.replay(0, &mut |_, _| Ok(()));
    assert_eq!(checkpoint(store.as_mut())?, None);
    store.commit(1, &events(1..=1), &[batch(1, Stage::Sealed), batch(2, Stage::Sealed)])?;
    assert_eq!(checkpoint(store.as_mut())?, Some(Checkpoint { batch_no: 2, root: root(2) }));
    store.commit(2, &events(2..=2), &[batch(3, Stage::Sealed), batch(1, Stage::Proven)])?;
    assert_eq!(checkpoint(store.as_mut())?, Some(Checkpoint { batch_no: 3, root: root(3) }));
    Ok(())
}

fn the_last_of_several_rows_with_one_key_counts(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    let rows =
        [balance(1, 5), leaf(7, 1_000), balance(1, 4), Row::Leaf(7, [1; 20], None), leaf(8, 10), leaf(8, 20)];
    store.commit(1, &events(1..=1), &rows)?;
    let column = |table: &str, column: &str| -> Vec<Option<String>> {
        fixture.table(table).into_iter().map(|mut row| row.remove(column).flatten()).collect()
    };
    assert_eq!(column("user_balance", "balance"), [Some("4".to_owned())]);
    assert_eq!(column("leaves", "place"), [Some("8".to_owned())]);
    assert_eq!(column("leaves", "high"), [Some("20".to_owned())]);
    Ok(())
}

fn lines_come_back_in_the_order_they_were_written(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    let rows: Vec<Row> = (0..50).map(|n| line(1 + n % 2, &format!("line {n}"))).collect();
    store.commit(1, &events(1..=1), &rows[..20])?;
    store.commit(2, &events(2..=2), &rows[20..])?;
    let texts: Vec<String> = store.lines(2)?.into_iter().map(|line| line.text).collect();
    let expected: Vec<String> = (0..50).filter(|n| n % 2 == 1).map(|n| format!("line {n}")).collect();
    assert_eq!(texts, expected);
    assert_eq!(store.lines(3)?, []);
    Ok(())
}

fn a_store_stays_with_its_deployment(fixture: &impl Fixture) -> Outcome {
    drop(leading(fixture)?);
    let mut store = fixture.open()?;
    let refused = store.bind("chain 1 contract 0xc0");
    assert!(matches!(refused, Err(StoreError::Deployment { .. })), "{refused:?}");
    store.bind(DEPLOYMENT)
}

fn whoever_leads_still_leads_in_the_same_term(fixture: &impl Fixture) -> Outcome {
    let mut store = fixture.open()?;
    let first = store.lead()?;
    assert!(matches!(first, Leadership::Leading { .. }), "{first:?}");
    assert_eq!(store.lead()?, first);
    Ok(())
}

fn each_leader_has_a_term_of_its_own(fixture: &impl Fixture) -> Outcome {
    let term = |led: Leadership| if let Leadership::Leading { term } = led { Some(term) } else { None };
    let first = term(fixture.open()?.lead()?);
    let mut store = fixture.open()?;
    let second = loop {
        match term(store.lead()?) {
            Some(term) => break Some(term),
            // The lease of the one before runs out.
            None => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    };
    assert!(second > first && first.is_some(), "{first:?}, then {second:?}");
    Ok(())
}

fn what_each_returns_ends_a_replay(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    store.commit(1, &events(1..=5), &[])?;
    let mut seen = 0;
    let ended = store.replay(0, &mut |sequence, _| {
        seen = sequence;
        if sequence < 3 { Ok(()) } else { Err(StoreError::Replay("enough".to_owned())) }
    });
    assert!(matches!(ended, Err(StoreError::Replay(_))), "{ended:?}");
    assert_eq!(seen, 3);
    store.commit(6, &events(6..=6), &[])
}

fn thousands_of_events_and_rows_fit_one_commit(fixture: &impl Fixture) -> Outcome {
    const MANY: u64 = 10_000;
    let mut store = leading(fixture)?;
    let rows: Vec<Row> = (1..=MANY).map(|place| leaf(place, place)).collect();
    store.commit(1, &events(1..=MANY), &rows)?;
    store.commit(MANY + 1, &events(MANY + 1..=MANY + 1), &rows)?;
    assert_eq!(stored(store.as_mut(), 0)?, events(1..=MANY + 1));
    assert_eq!(fixture.table("leaves").len() as u64, MANY);
    Ok(())
}

/// What the projections hold after rows of every kind were written, changed and removed.
///
/// # Errors
/// Of the store.
pub fn projections(fixture: &impl Fixture) -> Result<BTreeMap<&'static str, Vec<TextRow>>, StoreError> {
    let mut store = leading(fixture)?;
    store.commit(
        1,
        &events(1..=2),
        &[
            balance(1, 500),
            balance(2, 0),
            leaf(0, 500),
            leaf(1, 7),
            operation(1, 1, None),
            operation(2, 1, None),
            batch(1, Stage::Sealed),
            Row::Directory(Box::new(entry(0))),
            Row::Idempotency(
                [1; 20],
                "key".to_owned(),
                Remembered { request_hash: [3; 32], operation: None },
            ),
            Row::Cursor(Cursor { number: 10, hash: [4; 32] }),
            line(1, "sealed"),
        ],
    )?;
    store.commit(
        3,
        &events(3..=3),
        &[batch(1, Stage::Proving), operation(3, 2, None), batch(2, Stage::Sealed), line(1, "granted")],
    )?;
    store.commit(
        4,
        &events(4..=5),
        &[
            balance(1, 400),
            balance(2, 100),
            Row::Leaf(1, [1; 20], None),
            operation(1, 1, Some(true)),
            batch(1, Stage::Proven),
            Row::Directory(Box::new(entry(1))),
            Row::Idempotency(
                [1; 20],
                "other".to_owned(),
                Remembered { request_hash: [5; 32], operation: Some([6; 32]) },
            ),
            Row::Cursor(Cursor { number: 11, hash: [5; 32] }),
        ],
    )?;
    store.commit(6, &events(6..=6), &[batch(1, Stage::Submitted), line(1, "signed")])?;
    store.commit(7, &events(7..=7), &[batch(1, Stage::Final)])?;
    drop(store);
    Ok(TABLES
        .into_iter()
        .map(|table| {
            let mut rows = fixture.table(table);
            rows.sort();
            (table, rows)
        })
        .collect())
}

fn balance(who: u8, coins: u64) -> Row {
    Row::Balance([who; 20], Balances { accepted: coins, proven: coins / 2, finalized: coins / 4 })
}

fn leaf(place: u64, high: u64) -> Row {
    let range = CoinRange::new(1, high).ok();
    let leaf = |range| Leaf {
        owner: [1; 20],
        key_hash: place.is_multiple_of(2).then(|| Fr::from(place)),
        account: Fr::from(7),
        range,
        batch_no: 1,
    };
    Row::Leaf(place, [1; 20], range.map(leaf))
}

fn line(batch_no: u32, text: &str) -> Row {
    Row::Line(Line { batch_no, at: 5, text: text.to_owned() })
}

fn idempotency(key: &str) -> Row {
    Row::Idempotency([1; 20], key.to_owned(), Remembered { request_hash: [3; 32], operation: None })
}

/// A batch that is not as [`batch`] makes it.
fn changed_batch(stage: Stage, change: impl FnOnce(&mut BatchRow)) -> Row {
    let Row::Batch(mut row) = batch(1, stage) else { return batch(1, stage) };
    change(&mut row);
    Row::Batch(row)
}

fn short_proof() -> Row {
    changed_batch(Stage::Proven, |row| row.batch.proof = Some(vec![9; 10]))
}

fn named_worker(name: &str) -> Row {
    changed_batch(Stage::Proven, |row| row.batch.worker = Some(name.to_owned()))
}

fn operation(id: u8, batch_no: u32, hit: Option<bool>) -> Row {
    let number = u64::from(batch_no) * PER_BATCH + u64::from(id);
    let operation = Arc::new(Operation {
        id: OperationId([id; 32]),
        kind: if id == 2 { OperationKind::Mint } else { OperationKind::Send },
        sender: (id != 2).then_some([1; 20]),
        recipient: Some([2; 20]),
        amount: 100,
        batch_no,
        at: 5,
        deadline: 9,
        promised: history::promised().into_iter().collect(),
        hit,
    });
    Row::Operation(Box::new(OperationRow { operation, number }))
}

fn entry(key_epoch: u32) -> DirectoryEntry {
    DirectoryEntry { owner: [1; 20], key: Point::IDENTITY, key_epoch, signature: vec![key_epoch as u8; 65] }
}

fn root(batch_no: u32) -> Fr {
    Fr::from(u64::from(batch_no) * 10)
}

fn batch(batch_no: u32, stage: Stage) -> Row {
    let stages = [Stage::Sealed, Stage::Proving, Stage::Proven, Stage::Submitted, Stage::Final];
    let timeline = stages.into_iter().filter(|passed| *passed <= stage);
    let proven = stage >= Stage::Proven;
    let hash = |byte: u8| [byte.wrapping_add(batch_no as u8); 32];
    let tx = |byte: u8| SignedTx {
        raw: vec![byte; 100],
        hash: hash(byte),
        nonce: u64::from(batch_no),
        fees: Fees { max_fee: u128::from(byte) << 80, max_priority: u128::from(byte) },
    };
    let worker = Some("worker".to_owned());
    Row::Batch(Box::new(BatchRow {
        batch: Batch {
            batch_no,
            shape: Shape::S3M1,
            start: u64::from(batch_no) * 4,
            old_root: root(batch_no - 1),
            mid_root: root(batch_no) + Fr::from(1),
            new_root: root(batch_no),
            public_inputs: [Fr::from(1); 3],
            input_hash: hash(50),
            input: (!proven).then(|| vec![7; 3_000].into()),
            mints: Vec::new(),
            forced: Vec::new(),
            records: Vec::new(),
            operations: Vec::new(),
            timeline: timeline.map(|stage| TimelineEntry { stage, at: 5, l1_tx: None }).collect(),
            attempts: 1,
            worker: proven.then(|| worker.clone()).flatten(),
            proof: proven.then(|| vec![9; 256]),
            prove_ms: proven.then_some(1_234),
            witness_ms: proven.then_some(56),
            l1_tx: (stage == Stage::Final).then(|| hash(101)),
            l1_block: (stage == Stage::Final).then_some(77),
            gas_used: (stage == Stage::Final).then_some(300_000),
            late: Default::default(),
        },
        transactions: if stage == Stage::Submitted { vec![tx(100), tx(101)] } else { Vec::new() },
        job: (!proven).then(|| JobRow {
            attempt: 1,
            charged: 0,
            phase: if stage == Stage::Proving { "leased" } else { "due" },
            worker: (stage == Stage::Proving).then(|| worker.clone()).flatten(),
        }),
    }))
}
