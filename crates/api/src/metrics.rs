//! The recorder behind `/metrics`. One for each process: whoever comes first installs it, all others get its handle.

use std::{collections::BTreeSet, thread, time::Duration};

use actix_web::http::StatusCode;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;

use crate::service::{WorkerHealth, WorkerView};

/// Seconds: from an answer out of memory to a proof of a large batch.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 20.0, 60.0, 300.0, 1800.0, 7200.0];
/// Messages of one commit.
const GROUPS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
/// Gas of one batch, its share of a transaction.
const GAS: [f64; 8] = [90e3, 120e3, 160e3, 220e3, 280e3, 400e3, 800e3, 1.6e6];

/// What `/metrics` says about each metric of a coordinator; types, labels and units are in `docs/metrics.md`.
const HELP: &[(&str, &str)] = &[
    ("proofmill_api_requests_total", "Requests to /graphql by HTTP status."),
    ("proofmill_api_request_seconds", "Time to answer a request to /graphql."),
    ("proofmill_api_cost_seconds", "Processor time of a request, by kind."),
    (
        "proofmill_api_over_budget_total",
        "Requests refused because their client had used up its processor time, by kind.",
    ),
    ("proofmill_history_failures_total", "Questions to the history that the store did not answer."),
    (
        "proofmill_promises_signed_total",
        "Promises signed; each once, unless a death came before its signature was kept.",
    ),
    (
        "proofmill_promises_unkept_total",
        "Operations whose signatures were not kept; they are signed again when asked for.",
    ),
    ("proofmill_operations_accepted_total", "Durable sends and withdrawals."),
    ("proofmill_commit_seconds", "Time of a durable commit."),
    ("proofmill_commit_group_size", "Messages that a commit took together."),
    ("proofmill_commit_retries_total", "Commits repeated because the store did not answer."),
    ("proofmill_commit_failures_total", "Commits that the store refused."),
    ("proofmill_batch", "The last batch of each stage."),
    ("proofmill_batches_sealed_total", "Batches sealed with each circuit."),
    ("proofmill_queue_wait_seconds", "How long a job waits for a worker."),
    ("proofmill_jobs", "Jobs that wait for a proof."),
    ("proofmill_lease_age_seconds", "Longest time since a worker with a lease was heard of."),
    ("proofmill_attempts_ended_total", "Attempts that ended without a proof that counts, by how."),
    ("proofmill_jobs_poisoned_total", "Jobs whose input cannot be replayed: they wait for an operator."),
    ("proofmill_jobs_parked_total", "Jobs that ended badly on several workers and alone."),
    ("proofmill_proof_seconds", "Parts of an accepted proof, as its worker measured them."),
    ("proofmill_proofs_accepted_total", "Proofs that verified and were taken."),
    (
        "proofmill_worker_accepted_proofs_total",
        "The same by worker; those beyond the first 64 count as other.",
    ),
    ("proofmill_proofs_refused_total", "Proofs that did not verify."),
    ("proofmill_queue_replaced_total", "Streams of pools that were replaced by empty ones."),
    ("proofmill_pool_workers", "Workers of the pool that are alive."),
    ("proofmill_pool_in_flight", "Attempts of the pool in flight."),
    ("proofmill_pool_window", "How many attempts of the pool may be in flight."),
    ("proofmill_pool_bad_ends_total", "Attempts of the pool that ended badly."),
    ("proofmill_pool_malformed_total", "Messages of the pool that could not be read."),
    ("proofmill_queue_malformed_total", "Messages of workers that could not be read."),
    ("proofmill_settlement_total", "What became of transactions on L1."),
    ("proofmill_gas_total", "Gas that settled batches."),
    ("proofmill_batch_gas", "Gas of a batch: its share of the transaction."),
    ("proofmill_batch_final_seconds", "From sealing to finality on L1."),
    ("proofmill_l1_lag_blocks", "Blocks of L1 that are not final yet."),
    ("proofmill_unsettled_batches", "Sealed batches that are not final."),
    ("proofmill_unsettled_age_seconds", "Age of the oldest of them."),
    ("proofmill_promises_near_deadline", "Promises due within ten minutes."),
    ("proofmill_promises_missed", "Promises past their deadline."),
    ("proofmill_intake_stopped", "1 while no deposits are taken in, with an alarm."),
    ("proofmill_final_blocks_replaced_total", "Reorganisations deeper than what counted as final."),
    ("proofmill_leader_term", "The term in which this coordinator leads."),
    (
        "proofmill_backlog_seconds",
        "Time that the provers need for what was accepted; infinite if none can prove it.",
    ),
    ("proofmill_counted_workers", "Workers by whose rate operations are admitted."),
    ("proofmill_paused", "1 while an operator has paused new operations."),
    ("proofmill_snapshot_seconds", "Time to write a snapshot of the state."),
    ("proofmill_snapshot_copy_seconds", "Time for which the copy of the state stops everything else."),
    ("proofmill_workers", "Workers by health; those that left a while ago count as left."),
    ("proofmill_card_healthy", "1 while the worker's card gets work."),
    ("proofmill_proof_energy_joules", "Joules that the card used for a proof, averaged over the last ones."),
    ("proofmill_payment_energy_joules", "Joules for each slot in use, averaged over the same proofs."),
];

static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// How often samples are counted into the buckets of their histograms. Until then each takes memory, whether anybody asks for
/// `/metrics` or not, and strangers cause one with each request.
const UPKEEP: Duration = Duration::from_secs(1);

/// The handle that renders all metrics of the process; the recorder is installed at the first call.
///
/// # Errors
/// When another library has installed a recorder of its own.
pub fn handle() -> Result<PrometheusHandle, BuildError> {
    let mut handle = HANDLE.lock();
    if let Some(handle) = &*handle {
        return Ok(handle.clone());
    }
    let full = |name: &str| Matcher::Full(name.to_owned());
    let installed = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)?
        .set_buckets_for_metric(full("proofmill_commit_group_size"), &GROUPS)?
        .set_buckets_for_metric(full("proofmill_batch_gas"), &GAS)?
        .install_recorder()?;
    for (name, help) in HELP {
        // The recorder keeps one text for a name, whatever its type.
        metrics::describe_gauge!(*name, *help);
    }
    let upkeep = installed.clone();
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            loop {
                thread::sleep(UPKEEP);
                upkeep.run_upkeep();
            }
        })
        .map_err(|error| BuildError::FailedToCreateRuntime(error.to_string()))?;
    Ok(handle.insert(installed).clone())
}

/// Counts an answered request.
pub(super) fn answered(status: StatusCode, took: Duration) {
    metrics::counter!("proofmill_api_requests_total", "status" => status.as_u16().to_string()).increment(1);
    metrics::histogram!("proofmill_api_request_seconds").record(took.as_secs_f64());
}

/// One gauge of one card.
type Series = (&'static str, String, String);

/// The gauges of the farm's workers, brought up to date whenever somebody looks. A gauge cannot be taken back, so those of a
/// worker that is gone become NaN, which no rule of an alert takes for a value.
#[derive(Default)]
pub(super) struct Workers(Mutex<BTreeSet<Series>>);

impl Workers {
    pub fn update(&self, workers: &[WorkerView]) {
        let count = |health| workers.iter().filter(|worker| worker.health == health).count() as f64;
        for (name, health) in
            [("well", WorkerHealth::Well), ("sick", WorkerHealth::Sick), ("left", WorkerHealth::Left)]
        {
            metrics::gauge!("proofmill_workers", "health" => name).set(count(health));
        }
        let present = workers.iter().filter(|worker| worker.health != WorkerHealth::Left);
        let values = present.flat_map(|worker| {
            let uuid = worker.card.as_ref().and_then(|card| card.uuid.clone()).unwrap_or_default();
            let energy = [
                ("proofmill_proof_energy_joules", worker.joules_per_proof),
                ("proofmill_payment_energy_joules", worker.joules_per_payment),
            ];
            let energy = energy.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let gauges = worker.card.iter().flat_map(|card| card.gauges()).chain(energy);
            gauges.map(move |(name, value)| ((name, worker.id.clone(), uuid.clone()), value))
        });
        let mut known = self.0.lock();
        let mut gone = std::mem::take(&mut *known);
        for (series, value) in values {
            gone.remove(&series);
            set(&series, value);
            known.insert(series);
        }
        gone.iter().for_each(|series| set(series, f64::NAN));
    }
}

fn set((name, worker, uuid): &Series, value: f64) {
    metrics::gauge!(*name, "worker" => worker.clone(), "uuid" => uuid.clone()).set(value);
}
