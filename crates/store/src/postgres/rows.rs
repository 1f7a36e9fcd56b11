//! Rows of one group as arrays, one statement per table. Of several rows with one key the last counts.

use std::collections::{BTreeMap, BTreeSet};

use bn254::{Fr, fr_to_be_bytes};
use bytes::BytesMut;
use protocol::{Address, Balances, DirectoryEntry, OperationId, Stage, l1::SignedTx};
use sequencer::{
    ledger::{Leaf, Remembered},
    state::{
        event::Cursor,
        rows::{BatchRow, Line, OperationRow, Row, stage_name},
    },
};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::{
    history::{promised_bytes, timeline_text},
    kind_name,
};

pub(super) type Param = Box<dyn ToSql + Sync + Send>;

/// A statement and its arrays.
pub(super) struct Write {
    pub statement: &'static str,
    pub params: Vec<Param>,
}

const BALANCES: &str = "INSERT INTO user_balance (address, balance, proven, final) \
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) ON CONFLICT (address) DO UPDATE \
    SET balance = excluded.balance, proven = excluded.proven, final = excluded.final";
const EMPTY_LEAVES: &str = "DELETE FROM leaves WHERE place = ANY($1::bigint[])";
const LEAVES: &str = "INSERT INTO leaves (place, owner, account, key_hash, low, high, batch_no) \
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[], $7::integer[]) \
    ON CONFLICT (place) DO UPDATE SET owner = excluded.owner, account = excluded.account, key_hash = excluded.key_hash, \
    low = excluded.low, high = excluded.high, batch_no = excluded.batch_no";
const OPERATIONS: &str = "INSERT INTO operations (id, kind, sender, recipient, amount, batch_no, at, hit, number, deadline, \
    promised) SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::bigint[], $6::integer[], \
    $7::bigint[], $8::boolean[], $9::bigint[], $10::bigint[], $11::bytea[]) ON CONFLICT (id) DO UPDATE \
    SET batch_no = excluded.batch_no, at = excluded.at, hit = excluded.hit, number = excluded.number, \
    deadline = excluded.deadline, promised = excluded.promised";
const DIRECTORY: &str = "INSERT INTO directory (owner, ax, ay, key_epoch, signature) \
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bytea[]) ON CONFLICT (owner) DO UPDATE \
    SET ax = excluded.ax, ay = excluded.ay, key_epoch = excluded.key_epoch, signature = excluded.signature";
const IDEMPOTENCY: &str = "INSERT INTO idempotency (sender, key, request_hash, operation) \
    SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[]) ON CONFLICT (sender, key) DO UPDATE \
    SET request_hash = excluded.request_hash, operation = excluded.operation";
const CURSOR: &str = "INSERT INTO chain_cursor (id, number, hash) VALUES (1, $1::bigint, $2::bytea) \
    ON CONFLICT (id) DO UPDATE SET number = excluded.number, hash = excluded.hash";
const LINES: &str = "INSERT INTO lines (batch_no, at, text) SELECT batch_no, at, text \
    FROM unnest($1::integer[], $2::bigint[], $3::text[]) WITH ORDINALITY AS new (batch_no, at, text, n) ORDER BY n";
const BATCHES: &str = "INSERT INTO batches (batch_no, shape, stage, start, old_root, mid_root, new_root, input_hash, \
    input, l1_tx, l1_block, gas_used, public_inputs, worker, attempts, timeline) SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::bigint[], \
    $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[], $11::bigint[], $12::bigint[], $13::bytea[], \
    $14::text[], $15::bigint[], $16::text[]) ON CONFLICT (batch_no) DO UPDATE SET stage = excluded.stage, l1_tx = excluded.l1_tx, \
    l1_block = excluded.l1_block, gas_used = excluded.gas_used, public_inputs = excluded.public_inputs, \
    worker = excluded.worker, attempts = excluded.attempts, timeline = excluded.timeline, \
    input = CASE WHEN excluded.stage IN ('sealed', 'proving') THEN coalesce(excluded.input, batches.input) END";
const PROOFS: &str = "INSERT INTO proofs (batch_no, proof, worker, prove_ms, witness_ms) \
    SELECT * FROM unnest($1::integer[], $2::bytea[], $3::text[], $4::bigint[], $5::bigint[]) ON CONFLICT DO NOTHING";
const NO_JOBS: &str = "DELETE FROM jobs WHERE batch_no = ANY($1::integer[])";
const JOBS: &str = "INSERT INTO jobs (batch_no, attempt, charged, phase, worker) \
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) ON CONFLICT (batch_no) \
    DO UPDATE SET attempt = excluded.attempt, charged = excluded.charged, phase = excluded.phase, worker = excluded.worker";
const NOT_LIVE: &str = "UPDATE transactions SET live = false WHERE live AND batch_no = ANY($1::integer[])";
const TRANSACTIONS: &str = "INSERT INTO transactions (hash, batch_no, nonce, raw, max_fee, max_priority, live) \
    SELECT hash, batch_no, nonce, raw, max_fee::numeric, max_priority::numeric, live FROM unnest($1::bytea[], \
    $2::integer[], $3::bigint[], $4::bytea[], $5::text[], $6::text[], $7::boolean[]) \
    AS new (hash, batch_no, nonce, raw, max_fee, max_priority, live) \
    ON CONFLICT (hash) DO UPDATE SET live = excluded.live";

/// Bytes of a fixed number, as `bytea`, without an allocation each.
#[derive(Debug)]
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> ToSql for Bytes<N> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::BYTEA
    }

    to_sql_checked!();
}

fn word(value: &Fr) -> Bytes<32> {
    Bytes(fr_to_be_bytes(value))
}

fn column<T, V: ToSql + Sync + Send + 'static>(rows: &[T], value: impl Fn(&T) -> V) -> Param {
    Box::new(rows.iter().map(value).collect::<Vec<V>>())
}

/// The rows of a group by table and key.
pub(super) struct Folded<'a> {
    /// Batches whose input, which may have megabytes, the database has already: it is not sent again.
    stored_inputs: &'a BTreeSet<u32>,
    balances: BTreeMap<&'a Address, &'a Balances>,
    leaves: BTreeMap<u64, Option<&'a Leaf>>,
    operations: BTreeMap<OperationId, &'a OperationRow>,
    batches: BTreeMap<u32, &'a BatchRow>,
    directory: BTreeMap<&'a Address, &'a DirectoryEntry>,
    idempotency: BTreeMap<(&'a Address, &'a str), &'a Remembered>,
    cursor: Option<&'a Cursor>,
    lines: Vec<&'a Line>,
}

impl<'a> Folded<'a> {
    pub fn new(rows: &'a [Row], stored_inputs: &'a BTreeSet<u32>) -> Self {
        let mut folded = Self {
            stored_inputs,
            balances: BTreeMap::new(),
            leaves: BTreeMap::new(),
            operations: BTreeMap::new(),
            batches: BTreeMap::new(),
            directory: BTreeMap::new(),
            idempotency: BTreeMap::new(),
            cursor: None,
            lines: Vec::new(),
        };
        for row in rows {
            match row {
                Row::Balance(address, balances) => {
                    folded.balances.insert(address, balances);
                }
                Row::Leaf(place, _, leaf) => {
                    folded.leaves.insert(*place, leaf.as_ref());
                }
                Row::Operation(row) => {
                    folded.operations.insert(row.operation.id, row);
                }
                Row::Batch(row) => {
                    folded.batches.insert(row.batch.batch_no, row);
                }
                Row::Directory(entry) => {
                    folded.directory.insert(&entry.owner, entry);
                }
                Row::Idempotency(sender, key, remembered) => {
                    folded.idempotency.insert((sender, key), remembered);
                }
                Row::Cursor(cursor) => folded.cursor = Some(cursor),
                Row::Line(line) => folded.lines.push(line),
            }
        }
        folded
    }

    /// The highest batch of an operation; 0 if there is none.
    pub fn last_batch(&self) -> i32 {
        self.operations.values().map(|row| row.operation.batch_no as i32).max().unwrap_or(0)
    }

    /// Tables without references first.
    pub fn writes(self, writes: &mut Vec<Write>) {
        let mut push = |statement, params: Vec<Param>| writes.push(Write { statement, params });
        let balances: Vec<_> = self.balances.into_iter().collect();
        if !balances.is_empty() {
            push(
                BALANCES,
                vec![
                    column(&balances, |(address, _)| Bytes(**address)),
                    column(&balances, |(_, balances)| balances.accepted as i64),
                    column(&balances, |(_, balances)| balances.proven as i64),
                    column(&balances, |(_, balances)| balances.finalized as i64),
                ],
            );
        }
        write_leaves(&self.leaves, &mut push);
        let operations: Vec<_> = self.operations.into_values().collect();
        if !operations.is_empty() {
            push(
                OPERATIONS,
                vec![
                    column(&operations, |row| Bytes(row.operation.id.0)),
                    column(&operations, |row| kind_name(row.operation.kind)),
                    column(&operations, |row| row.operation.sender.map(Bytes)),
                    column(&operations, |row| row.operation.recipient.map(Bytes)),
                    column(&operations, |row| row.operation.amount as i64),
                    column(&operations, |row| row.operation.batch_no as i32),
                    column(&operations, |row| row.operation.at as i64),
                    column(&operations, |row| row.operation.hit),
                    column(&operations, |row| row.number as i64),
                    column(&operations, |row| row.operation.deadline as i64),
                    column(&operations, |row| promised_bytes(&row.operation.promised)),
                ],
            );
        }
        let directory: Vec<_> = self.directory.into_values().collect();
        if !directory.is_empty() {
            push(
                DIRECTORY,
                vec![
                    column(&directory, |entry| Bytes(entry.owner)),
                    column(&directory, |entry| word(&entry.key.x)),
                    column(&directory, |entry| word(&entry.key.y)),
                    column(&directory, |entry| i64::from(entry.key_epoch)),
                    column(&directory, |entry| entry.signature.clone()),
                ],
            );
        }
        let idempotency: Vec<_> = self.idempotency.into_iter().collect();
        if !idempotency.is_empty() {
            push(
                IDEMPOTENCY,
                vec![
                    column(&idempotency, |((sender, _), _)| Bytes(**sender)),
                    column(&idempotency, |((_, key), _)| (*key).to_owned()),
                    column(&idempotency, |(_, remembered)| Bytes(remembered.request_hash)),
                    column(&idempotency, |(_, remembered)| remembered.operation.map(Bytes)),
                ],
            );
        }
        if let Some(cursor) = self.cursor {
            push(CURSOR, vec![Box::new(cursor.number as i64), Box::new(Bytes(cursor.hash))]);
        }
        let batches: Vec<_> = self.batches.into_values().collect();
        if !batches.is_empty() {
            write_batches(&batches, self.stored_inputs, &mut push);
            write_jobs(&batches, &mut push);
            write_transactions(&batches, &mut push);
        }
        let lines = self.lines;
        if !lines.is_empty() {
            push(
                LINES,
                vec![
                    column(&lines, |line| line.batch_no as i32),
                    column(&lines, |line| line.at as i64),
                    column(&lines, |line| line.text.clone()),
                ],
            );
        }
    }
}

fn write_leaves(leaves: &BTreeMap<u64, Option<&Leaf>>, push: &mut impl FnMut(&'static str, Vec<Param>)) {
    let empty: Vec<u64> = leaves.iter().filter(|(_, leaf)| leaf.is_none()).map(|(place, _)| *place).collect();
    if !empty.is_empty() {
        push(EMPTY_LEAVES, vec![column(&empty, |place| *place as i64)]);
    }
    let held: Vec<(u64, &Leaf)> =
        leaves.iter().filter_map(|(place, leaf)| Some((*place, (*leaf)?))).collect();
    if !held.is_empty() {
        push(
            LEAVES,
            vec![
                column(&held, |(place, _)| *place as i64),
                column(&held, |(_, leaf)| Bytes(leaf.owner)),
                column(&held, |(_, leaf)| word(&leaf.account)),
                column(&held, |(_, leaf)| leaf.key_hash.as_ref().map(word)),
                column(&held, |(_, leaf)| leaf.range.low() as i64),
                column(&held, |(_, leaf)| leaf.range.high() as i64),
                column(&held, |(_, leaf)| leaf.batch_no as i32),
            ],
        );
    }
}

fn write_batches(
    batches: &[&BatchRow],
    stored_inputs: &BTreeSet<u32>,
    push: &mut impl FnMut(&'static str, Vec<Param>),
) {
    let input = |row: &&BatchRow| {
        let input = row.batch.input.as_deref().filter(|_| !stored_inputs.contains(&row.batch.batch_no));
        input.map(<[u8]>::to_vec)
    };
    let of = |row: &&BatchRow| row.batch.batch_no as i32;
    push(
        BATCHES,
        vec![
            column(batches, of),
            column(batches, |row| row.batch.shape.name()),
            column(batches, |row| stage_name(row.batch.stage())),
            column(batches, |row| row.batch.start as i64),
            column(batches, |row| word(&row.batch.old_root)),
            column(batches, |row| word(&row.batch.mid_root)),
            column(batches, |row| word(&row.batch.new_root)),
            column(batches, |row| Bytes(row.batch.input_hash)),
            column(batches, input),
            column(batches, |row| row.batch.l1_tx.map(Bytes)),
            column(batches, |row| row.batch.l1_block.map(|block| block as i64)),
            column(batches, |row| row.batch.gas_used.map(|gas| gas as i64)),
            column(batches, |row| row.batch.public_inputs.map(|input| fr_to_be_bytes(&input)).concat()),
            column(batches, |row| row.batch.worker.clone()),
            column(batches, |row| i64::from(row.batch.attempts)),
            column(batches, |row| timeline_text(&row.batch.timeline)),
        ],
    );
    let proven: Vec<&BatchRow> = batches.iter().copied().filter(|row| row.batch.proof.is_some()).collect();
    if !proven.is_empty() {
        push(
            PROOFS,
            vec![
                column(&proven, of),
                column(&proven, |row| row.batch.proof.clone()),
                column(&proven, |row| row.batch.worker.clone()),
                column(&proven, |row| row.batch.prove_ms.map(|ms| ms as i64)),
                column(&proven, |row| row.batch.witness_ms.map(|ms| ms as i64)),
            ],
        );
    }
}

fn write_jobs(batches: &[&BatchRow], push: &mut impl FnMut(&'static str, Vec<Param>)) {
    let done: Vec<u32> =
        batches.iter().filter(|row| row.job.is_none()).map(|row| row.batch.batch_no).collect();
    if !done.is_empty() {
        push(NO_JOBS, vec![column(&done, |batch_no| *batch_no as i32)]);
    }
    let jobs: Vec<_> =
        batches.iter().filter_map(|row| Some((row.batch.batch_no, row.job.as_ref()?))).collect();
    if !jobs.is_empty() {
        push(
            JOBS,
            vec![
                column(&jobs, |(batch_no, _)| *batch_no as i32),
                column(&jobs, |(_, job)| i64::from(job.attempt)),
                column(&jobs, |(_, job)| i64::from(job.charged)),
                column(&jobs, |(_, job)| job.phase),
                column(&jobs, |(_, job)| job.worker.clone()),
            ],
        );
    }
}

/// Transactions of a batch replace each other, newest last: only the newest can be live, until one is mined. Those of the
/// written batches are first set down, so that the schema sees one live transaction of a nonce at any time.
fn write_transactions(batches: &[&BatchRow], push: &mut impl FnMut(&'static str, Vec<Param>)) {
    let mut transactions: Vec<(u32, &SignedTx, bool)> = Vec::new();
    let mut seen = BTreeSet::new();
    for row in batches {
        let unmined = row.batch.stage() == Stage::Submitted && row.batch.l1_block.is_none();
        for (i, tx) in row.transactions.iter().enumerate() {
            // One transaction may carry several batches.
            if seen.insert(tx.hash) {
                let newest = i + 1 == row.transactions.len();
                transactions.push((row.batch.batch_no, tx, newest && unmined));
            }
        }
    }
    push(NOT_LIVE, vec![column(batches, |row| row.batch.batch_no as i32)]);
    if !transactions.is_empty() {
        push(
            TRANSACTIONS,
            vec![
                column(&transactions, |(_, tx, _)| Bytes(tx.hash)),
                column(&transactions, |(batch_no, _, _)| *batch_no as i32),
                column(&transactions, |(_, tx, _)| tx.nonce as i64),
                column(&transactions, |(_, tx, _)| tx.raw.clone()),
                column(&transactions, |(_, tx, _)| tx.fees.max_fee.to_string()),
                column(&transactions, |(_, tx, _)| tx.fees.max_priority.to_string()),
                column(&transactions, |(_, _, live)| *live),
            ],
        );
    }
}
