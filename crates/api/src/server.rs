//! The routes, and the server that runs them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{StatusCode, header},
    middleware::{Compress, DefaultHeaders},
    web,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::{
    ApiConfig, assets,
    graphql::{self, Units},
    http::{self, Endpoint},
    metrics,
    readers::Readers,
};
use crate::service::{REASONS, Reason, Service};

/// Why the API does not start.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("PM-API-001: cannot listen on {address}: {source}; choose another address or port 0")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("PM-API-002: no metrics recorder: {0}; let `api::metrics::handle` install the only one")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    #[error("PM-API-006: the readers' threads cannot be started ({0}); raise the limit on processes")]
    Threads(std::io::Error),
    #[error("PM-API-003: the contract reports a quantum of 0 wei; check its address and chain")]
    NoQuantum,
}

/// A running API. Dropping it leaves it running.
#[derive(Clone, Debug)]
pub struct Server {
    /// Without a slash at the end, e.g. `http://127.0.0.1:8080`.
    pub url: String,
    pub address: SocketAddr,
    pub handle: ServerHandle,
}

impl Server {
    /// Takes no new connections and waits until all requests are answered (at most 30 s).
    pub async fn stop(&self) {
        self.handle.stop(true).await;
    }
}

/// Longest that a scrape waits for the workers.
const WORKERS_WITHIN: Duration = Duration::from_secs(1);

struct Health {
    service: Arc<dyn Service>,
    metrics: PrometheusHandle,
    workers: metrics::Workers,
}

async fn live(health: web::Data<Health>) -> HttpResponse {
    match health.service.live() {
        Ok(()) => alive().await,
        Err(reason) => {
            HttpResponse::ServiceUnavailable().json(json!({ "status": "not live", "reason": reason }))
        }
    }
}

/// A process that answers, and has no loop to look at.
async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    let readiness = health.service.readiness().await;
    let told = |reasons: &[Reason]| -> Vec<_> {
        reasons.iter().map(|reason| json!({ "code": reason.code, "text": reason.text })).collect()
    };
    let (reasons, warnings) = (told(&readiness.against), told(&readiness.warnings));
    match reasons.is_empty() {
        true => {
            HttpResponse::Ok().json(json!({ "status": "ready", "reasons": reasons, "warnings": warnings }))
        }
        false => HttpResponse::ServiceUnavailable()
            .json(json!({ "status": "not ready", "reasons": reasons, "warnings": warnings })),
    }
}

fn exposition(metrics: &PrometheusHandle) -> HttpResponse {
    metrics.run_upkeep();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

async fn prometheus(health: web::Data<Health>) -> HttpResponse {
    // While the coordinator waits for its store it tells nothing about workers, and everything else all the same.
    if let Ok(workers) = tokio::time::timeout(WORKERS_WITHIN, health.service.workers()).await {
        health.workers.update(&workers);
    }
    let reasons = health.service.readiness().await.against;
    for code in REASONS {
        let told = reasons.iter().any(|reason| reason.code == code);
        ::metrics::gauge!("proofmill_not_ready", "reason" => code).set(u8::from(told));
    }
    exposition(&health.metrics)
}

async fn prometheus_alone(metrics: web::Data<PrometheusHandle>) -> HttpResponse {
    exposition(&metrics)
}

async fn home() -> HttpResponse {
    HttpResponse::build(StatusCode::TEMPORARY_REDIRECT)
        .insert_header((header::LOCATION, "/graphiql"))
        .finish()
}

fn routes(app: &mut web::ServiceConfig, graphiql: bool) {
    app.service(web::resource("/graphql").to(http::graphql))
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .route("/metrics", web::get().to(prometheus));
    if graphiql {
        app.route("/", web::get().to(home))
            .route("/graphiql", web::get().to(assets::index))
            .route("/graphiql/{file}", web::get().to(assets::file));
    }
}

/// Serves the API until the handle stops it. Needs a tokio runtime; requests are answered on threads of their own.
///
/// # Errors
/// `ApiError` when it cannot listen, when another metrics recorder is installed, or without a quantum.
pub async fn serve(service: Arc<dyn Service>, config: ApiConfig) -> Result<Server, ApiError> {
    let quantum_wei = service.system().await.quantum_wei;
    if quantum_wei == 0 {
        return Err(ApiError::NoQuantum);
    }
    let schema = graphql::schema(service.clone(), Units { quantum_wei });
    let health =
        web::Data::new(Health { service, metrics: metrics::handle()?, workers: metrics::Workers::default() });
    let address = SocketAddr::new(config.bind, config.port);
    let graphiql = config.graphiql;
    let threads = config.threads.max(1);
    let readers = Readers::new(config.read_threads).map_err(ApiError::Threads)?;
    let endpoint = web::Data::new(Endpoint::new(schema, config, Some(readers)));
    let app = move || {
        App::new()
            .wrap(Compress::default())
            .wrap(
                DefaultHeaders::new()
                    .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .add((header::REFERRER_POLICY, "no-referrer")),
            )
            .app_data(endpoint.clone())
            .app_data(health.clone())
            .configure(|app| routes(app, graphiql))
    };
    let failed = |source| ApiError::Bind { address, source };
    let server = HttpServer::new(app).workers(threads).disable_signals().bind(address).map_err(failed)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    let server = started(server.run(), bound);
    tracing::info!(url = server.url, "the API listens");
    Ok(server)
}

/// Serves `/metrics` and `/health/live` alone, for a worker in a process of its own.
///
/// # Errors
/// `ApiError` when it cannot listen or another metrics recorder is installed.
pub async fn serve_metrics(address: SocketAddr) -> Result<Server, ApiError> {
    let metrics = web::Data::new(metrics::handle()?);
    let app = move || {
        App::new()
            .app_data(metrics.clone())
            .route("/health/live", web::get().to(alive))
            .route("/metrics", web::get().to(prometheus_alone))
    };
    let failed = |source| ApiError::Bind { address, source };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(address).map_err(failed)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok(started(server.run(), bound))
}

pub(super) fn started(running: actix_web::dev::Server, bound: SocketAddr) -> Server {
    let handle = running.handle();
    tokio::spawn(running);
    let host = if bound.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { bound.ip() };
    let url = format!("http://{}", SocketAddr::new(host, bound.port()));
    Server { url, address: bound, handle }
}
