//! What the driver tells of its work: metrics (`docs/metrics.md`), and spans that carry the ids of the requests.
//!
//! Each batch leaves three lines in the log (level info): sealed, proven, final.
//!
//! Nothing here decides anything, and nothing of it survives a restart. The spans are named `operation.accepted`,
//! `batch.sealed`, `job.granted`, `batch.proven`, `batch.signed`, `batch.mined` and `batch.final`; those of
//! a batch name the requests whose operations it holds.

use std::collections::{BTreeMap, BTreeSet};

use context::trace::TraceId;
use metrics::{counter, gauge, histogram};
use protocol::OperationId;
use sequencer::{
    farm::{FarmRecord, Phase},
    settlement::SettlementRecord,
    state::{
        State,
        event::{Accepted, Event, Stamped},
    },
};
use wire::{Timings, WorkerId};

use crate::explain;

/// Workers with a series of their own; those that come later count together.
const MOST_WORKERS: usize = 64;
/// Their name.
const OTHERS: &str = "other";
/// Requests of a batch that are remembered: more than its slots, since each may be sent again.
const MOST_REQUESTS: usize = 2048;
/// Promises are counted in every so many looks: there may be many.
const DEADLINES_EVERY: u32 = 10;

#[derive(Default)]
pub struct Telemetry {
    /// Since when a batch waits for a worker.
    due: BTreeMap<u32, u64>,
    workers: BTreeSet<WorkerId>,
    /// Requests whose operations are in a batch that is not final.
    requests: BTreeMap<u32, BTreeSet<TraceId>>,
    /// Jobs of each circuit and phase.
    depths: BTreeMap<(&'static str, &'static str), u32>,
    looks: u32,
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

impl Telemetry {
    /// A request's operation was accepted, or had been before.
    pub fn accepted(&mut self, request: TraceId, id: &OperationId, state: &State) {
        let batch = state.operation(id).map(|operation| operation.batch_no);
        let Some(batch) = batch.filter(|batch| *batch > state.tree().final_batch()) else {
            return;
        };
        tracing::info_span!("operation.accepted", trace_id = %request, operation = %id, batch).in_scope(
            || {
                tracing::debug!("durable and promised");
            },
        );
        let requests = self.requests.entry(batch).or_default();
        // A request that is sent again and again says nothing new.
        if requests.len() < MOST_REQUESTS {
            requests.insert(request);
        }
    }

    /// The ids of the requests in a batch, for the field of a span.
    fn requests_in(&self, batch: u32) -> String {
        let ids: Vec<String> =
            self.requests.get(&batch).into_iter().flatten().map(ToString::to_string).collect();
        ids.join(",")
    }

    /// A proof was verified and is taken.
    pub fn proved(&mut self, circuit: &'static str, worker: &WorkerId, timings: &Timings) {
        let parts = [
            ("witness", timings.witness),
            ("sparse", timings.sparse),
            ("ntt", timings.ntt),
            ("msm", timings.msm),
            ("finish", timings.finish),
            ("total", timings.total),
        ];
        for (part, took) in parts {
            histogram!("proofmill_proof_seconds", "circuit" => circuit, "part" => part)
                .record(took.as_secs_f64());
        }
        let own = self.workers.contains(worker)
            || self.workers.len() < MOST_WORKERS && self.workers.insert(worker.clone());
        let name = if own { worker.to_string() } else { OTHERS.to_owned() };
        counter!("proofmill_worker_accepted_proofs_total", "worker" => name).increment(1);
    }

    /// These events are durable.
    pub fn committed(&mut self, state: &State, log: &[Stamped]) {
        for stamped in log {
            match &stamped.event {
                Event::Accepted(accepted) => count_operation(accepted),
                Event::Sealed(sealed) => {
                    self.due.insert(sealed.batch_no, stamped.at);
                    counter!("proofmill_batches_sealed_total", "shape" => sealed.shape.name()).increment(1);
                    let (batch, circuit) = (sealed.batch_no, sealed.shape.name());
                    self.span(|requests| {
                        tracing::info_span!("batch.sealed", batch, circuit, trace_ids = requests(batch))
                    });
                    let operations = state.batch(batch).map_or(0, |batch| batch.operations.len());
                    tracing::info!(batch, circuit, operations, "sealed");
                }
                Event::Farm(record) => self.farm(state, record, stamped.at),
                Event::Proven(proof) => {
                    counter!("proofmill_proofs_accepted_total").increment(1);
                    self.due.remove(&proof.batch_no);
                    let (batch, attempt, worker) = (proof.batch_no, proof.attempt, &proof.worker);
                    self.span(|requests| {
                        tracing::info_span!(
                            "batch.proven", batch, job = batch, attempt, %worker, trace_ids = requests(batch)
                        )
                    });
                    let (proving, since) = (seconds(proof.prove_ms), since_sealed(state, batch, stamped.at));
                    tracing::info!(batch, %worker, attempt, proving, since_sealed = since, "proven");
                }
                Event::Settlement(record) => self.settlement(state, record, stamped.at),
                _ => {}
            }
        }
        let tree = state.tree();
        for (stage, batch_no) in
            [("sealed", tree.state_batch()), ("proven", tree.proven_batch()), ("final", tree.final_batch())]
        {
            gauge!("proofmill_batch", "stage" => stage).set(f64::from(batch_no));
        }
    }

    /// A span that names requests; nothing is put together if nobody listens.
    fn span(&self, make: impl FnOnce(&dyn Fn(u32) -> String) -> tracing::Span) {
        if tracing::enabled!(tracing::Level::INFO) {
            make(&|batch| self.requests_in(batch)).in_scope(|| tracing::debug!("durable"));
        }
    }

    fn farm(&mut self, state: &State, record: &FarmRecord, at: u64) {
        match record {
            FarmRecord::Granted { batch_no, attempt, worker } => {
                let waited = self.due.remove(batch_no).map(|since| at.saturating_sub(since));
                if let (Some(waited), Some(batch)) = (waited, state.batch(*batch_no)) {
                    histogram!("proofmill_queue_wait_seconds", "circuit" => batch.shape.name())
                        .record(seconds(waited));
                }
                let (batch, attempt) = (*batch_no, *attempt);
                self.span(|requests| {
                    tracing::info_span!(
                        "job.granted", batch, job = batch, attempt, %worker, trace_ids = requests(batch)
                    )
                });
            }
            FarmRecord::AttemptEnded { batch_no, end, .. } => {
                self.due.insert(*batch_no, at);
                counter!("proofmill_attempts_ended_total", "reason" => end.name()).increment(1);
            }
            FarmRecord::Poisoned { .. } => counter!("proofmill_jobs_poisoned_total").increment(1),
            FarmRecord::Parked { batch_no, message } => {
                counter!("proofmill_jobs_parked_total").increment(1);
                tracing::error!(
                    batch = batch_no,
                    message,
                    "PM-FARM-005: a job ended badly on several workers and alone; it is parked"
                );
            }
            FarmRecord::Published { .. }
            | FarmRecord::Ended { .. }
            | FarmRecord::Quarantined { .. }
            | FarmRecord::Unparked { .. }
            | FarmRecord::Requeued { .. }
            | FarmRecord::Draining { .. }
            | FarmRecord::Admitted { .. }
            | FarmRecord::PoolAdded { .. }
            | FarmRecord::PoolRemoved { .. }
            | FarmRecord::Late { .. } => {}
        }
    }

    fn settlement(&mut self, state: &State, record: &SettlementRecord, at: u64) {
        let what = match record {
            SettlementRecord::Signed { tx, replaces, .. } => {
                let hash = hex::encode(tx.hash);
                for batch in record.batches() {
                    self.span(|requests| {
                        tracing::info_span!("batch.signed", batch, tx = %hash, trace_ids = requests(batch))
                    });
                }
                if replaces.is_some() { "replaced" } else { "signed" }
            }
            SettlementRecord::Mined { batch_no, receipt, .. } => {
                let (batch, hash) = (*batch_no, hex::encode(receipt.tx));
                self.span(|requests| {
                    tracing::info_span!(
                        "batch.mined", batch, tx = %hash, block = receipt.block, trace_ids = requests(batch)
                    )
                });
                "mined"
            }
            SettlementRecord::Finalised { batch_no } => {
                let (batch, known) = (*batch_no, state.batch(*batch_no));
                let tx = known.and_then(|batch| batch.l1_tx).map(hex::encode).unwrap_or_default();
                self.span(|requests| {
                    tracing::info_span!("batch.final", batch, tx = %tx, trace_ids = requests(batch))
                });
                let operations = known.map_or(0, |batch| batch.operations.len());
                let (gas, since) = (known.and_then(|batch| batch.gas_used), since_sealed(state, batch, at));
                tracing::info!(
                    batch,
                    operations,
                    tx = format!("0x{tx}"),
                    gas,
                    since_sealed = since,
                    "final on L1"
                );
                self.requests.remove(&batch);
                // Not when it was mined: a reorganisation mines it again.
                if let Some(gas) = known.and_then(|batch| batch.gas_used) {
                    histogram!("proofmill_batch_gas").record(gas as f64);
                    counter!("proofmill_gas_total").increment(gas);
                }
                if let Some(sealed) = known.and_then(|batch| batch.timeline.first()) {
                    histogram!("proofmill_batch_final_seconds").record(seconds(at.saturating_sub(sealed.at)));
                }
                "final"
            }
            SettlementRecord::Dropped { .. } => "dropped",
            SettlementRecord::Reverted { .. } => "reverted",
            SettlementRecord::Displaced { .. } => "displaced",
            SettlementRecord::Refused { .. } => "refused",
            SettlementRecord::AtCap { .. } => "at_cap",
        };
        counter!("proofmill_settlement_total", "what" => what).increment(1);
    }

    /// How things are, once a second.
    pub fn look(&mut self, state: &State, lease_ms: u64, head: u64, term: u64, now: u64) {
        let mut lease_age = 0;
        for shape in state.rules().circuits.keys() {
            self.depths.extend(Phase::NAMES.map(|phase| ((shape.name(), phase), 0)));
        }
        for (_, job) in state.farm().jobs() {
            *self.depths.entry((job.shape.name(), job.phase.name())).or_default() += 1;
            for lease in &job.live {
                lease_age = lease_age.max((now + lease_ms).saturating_sub(lease.until));
            }
        }
        for ((circuit, phase), count) in &self.depths {
            gauge!("proofmill_jobs", "circuit" => *circuit, "phase" => *phase).set(f64::from(*count));
        }
        gauge!("proofmill_lease_age_seconds").set(seconds(lease_age));
        for (name, pool) in state.farm().pools() {
            let name = name.to_string();
            gauge!("proofmill_pool_workers", "pool" => name.clone()).set(pool.workers as f64);
            gauge!("proofmill_pool_in_flight", "pool" => name.clone()).set(f64::from(pool.in_flight));
            gauge!("proofmill_pool_window", "pool" => name.clone()).set(f64::from(pool.window));
            counter!("proofmill_pool_bad_ends_total", "pool" => name.clone()).absolute(pool.bad_ends);
            counter!("proofmill_pool_malformed_total", "pool" => name).absolute(pool.malformed);
        }
        let behind = state.cursor().map_or(0, |cursor| head.saturating_sub(cursor.number));
        gauge!("proofmill_l1_lag_blocks").set(behind as f64);
        let tree = state.tree();
        gauge!("proofmill_unsettled_batches").set(f64::from(tree.state_batch() - tree.final_batch()));
        let oldest = state.batch(tree.final_batch() + 1).and_then(|batch| batch.timeline.first());
        gauge!("proofmill_unsettled_age_seconds")
            .set(oldest.map_or(0.0, |sealed| seconds(now.saturating_sub(sealed.at))));
        let load = state.load(now);
        gauge!("proofmill_backlog_seconds").set(load.expected_ms().map_or(f64::INFINITY, seconds));
        gauge!("proofmill_counted_workers").set(load.workers as f64);
        gauge!("proofmill_leader_term").set(term as f64);
        gauge!("proofmill_paused").set(f64::from(u8::from(state.paused())));
        if self.looks.is_multiple_of(DEADLINES_EVERY) && state.is_whole() {
            let deadlines = explain::deadlines(state, now);
            gauge!("proofmill_promises_near_deadline").set(deadlines.near as f64);
            gauge!("proofmill_promises_missed").set(deadlines.missed as f64);
        }
        self.looks = self.looks.wrapping_add(1);
    }
}

/// Seconds since a batch was sealed.
fn since_sealed(state: &State, batch: u32, at: u64) -> f64 {
    let sealed = state.batch(batch).and_then(|batch| batch.timeline.first());
    sealed.map_or(0.0, |sealed| seconds(at.saturating_sub(sealed.at)))
}

fn count_operation(accepted: &Accepted) {
    let kind = match accepted.kind {
        circuits::message::SignedKind::Send => "send",
        circuits::message::SignedKind::Withdraw => "withdraw",
    };
    counter!("proofmill_operations_accepted_total", "kind" => kind).increment(1);
}
