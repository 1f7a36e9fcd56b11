//! The recorder behind `/metrics`. One for each process: whoever comes first installs it, all others get its handle.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use actix_web::http::StatusCode;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

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
    Ok(handle.insert(installed).clone())
}

/// Counts an answered request.
pub(super) fn answered(status: StatusCode, took: Duration) {
    metrics::counter!("proofmill_api_requests_total", "status" => status.as_u16().to_string()).increment(1);
    metrics::histogram!("proofmill_api_request_seconds").record(took.as_secs_f64());
}
