//! The recorder behind `/metrics`. One for each process: whoever comes first installs it, all others get its handle.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use actix_web::http::StatusCode;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use crate::service::{WorkerHealth, WorkerView};

/// Seconds: from an answer out of memory to a request that timed out.
const BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 20.0];

static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// The handle that renders all metrics of the process; the recorder is installed at the first call.
///
/// # Errors
/// When another library has installed a recorder of its own.
pub fn handle() -> Result<PrometheusHandle, BuildError> {
    let mut handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*handle {
        return Ok(handle.clone());
    }
    let installed = PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder()?;
    metrics::describe_counter!("proofmill_api_requests_total", "Requests to /graphql by HTTP status.");
    metrics::describe_histogram!("proofmill_api_request_seconds", "Time to answer a request to /graphql.");
    metrics::describe_gauge!(
        "proofmill_workers",
        "Workers by health; those that left a while ago count as left."
    );
    metrics::describe_gauge!("proofmill_card_healthy", "1 while the worker's card gets work.");
    metrics::describe_gauge!(
        "proofmill_proof_energy_joules",
        "Joules that the card used for a proof, averaged over the last ones."
    );
    metrics::describe_gauge!(
        "proofmill_payment_energy_joules",
        "Joules for each slot in use, averaged over the same proofs."
    );
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
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
