//! The operators' GraphQL: on a listener of its own, for those who show the token.
//!
//! Invariant: nothing of it is on the public schema, and nobody without the token learns anything from it. Each mutation is
//! durable when it is answered and may be repeated.
//!
//! | file | part |
//! |---|---|
//! | `admin` | the roots, `serve_admin` |
//! | `types` | what is given out |

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, middleware::DefaultHeaders, web};
use async_graphql::{Context, EmptySubscription, Object, Result, Schema, SchemaBuilder, SimpleObject};
use protocol::{OperationId, Stage};
use sequencer::{farm::MAX_POOLS, state::rows::stage_name};
use wire::{PoolName, WorkerId};

use super::{
    ApiConfig, RateLimit,
    graphql::{
        MAX_COMPLEXITY,
        refusal::{UserError, asked},
        scalars::Bytes32,
    },
    http::{self, Endpoint},
    server::{ApiError, Server, started},
    token::AdminToken,
};
use crate::service::{Operator, Rejection};

mod types;

use types::{BatchExplanation, Job, OperationExplanation, Status};

/// What an operator may ask and do in bursts; a script in a loop must not slow the ledger down.
const RATE: RateLimit = RateLimit { per_second: 50, burst: 200 };

pub type AdminSchema = Schema<Query, Mutation, EmptySubscription>;

fn builder() -> SchemaBuilder<Query, Mutation, EmptySubscription> {
    Schema::build(Query, Mutation, EmptySubscription).limit_complexity(MAX_COMPLEXITY).limit_directives(8)
}

/// The schema in its definition language, as committed in `crates/api/admin.graphql`.
pub fn sdl() -> String {
    builder().finish().sdl()
}

/// Serves the operators' GraphQL at `/graphql` of this address until the returned server is stopped. Needs a tokio runtime.
///
/// # Errors
/// `ApiError` when it cannot listen.
pub fn serve_admin(
    operator: Arc<impl Operator + 'static>,
    token: AdminToken,
    address: SocketAddr,
) -> std::result::Result<Server, ApiError> {
    let operator: Arc<dyn Operator> = operator;
    let schema = builder().data(operator).finish();
    // Bisecting a large batch takes its time.
    let config = ApiConfig {
        rate_limit: Some(RATE),
        read_budget: None,
        send_budget: None,
        timeout: Duration::from_secs(120),
        ..ApiConfig::default()
    };
    let endpoint = web::Data::new(Endpoint::new(schema, config, None).guarded(token));
    let app = move || {
        App::new()
            .wrap(DefaultHeaders::new().add(("x-content-type-options", "nosniff")))
            .app_data(endpoint.clone())
            .service(web::resource("/graphql").to(http::graphql))
    };
    let failed = |source| ApiError::Bind { address, source };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(address).map_err(failed)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok(started(server.run(), bound))
}

fn operator<'a>(ctx: &Context<'a>) -> Result<&'a Arc<dyn Operator>> {
    ctx.data::<Arc<dyn Operator>>()
}

pub struct Query;

#[Object]
impl Query {
    /// How everything is.
    async fn status(&self, ctx: &Context<'_>) -> Result<Status> {
        Ok(asked(operator(ctx)?.overview().await)?.into())
    }

    /// Jobs that wait for a proof, oldest first, at most a hundred.
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = false, desc = "Only those that are poisoned or parked")] stuck: bool,
    ) -> Result<Vec<Job>> {
        let jobs = asked(operator(ctx)?.overview().await)?.jobs;
        Ok(jobs
            .into_iter()
            .filter(|job| !stuck || matches!(job.phase, "poisoned" | "parked"))
            .map(Job::from)
            .collect())
    }

    /// What happened to a batch, what it waits for, and what of a poisoned one cannot be proved; null if it never was.
    async fn explain_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(validator(maximum = 2147483647))] number: u32,
    ) -> Result<Option<BatchExplanation>> {
        Ok(asked(operator(ctx)?.explain_batch(number).await)?.map(BatchExplanation::from))
    }

    /// Where an operation stands and what happened to its batch; null if it never was.
    async fn explain_operation(
        &self,
        ctx: &Context<'_>,
        id: Bytes32,
    ) -> Result<Option<OperationExplanation>> {
        let explained = asked(operator(ctx)?.explain_operation(OperationId(id.0)).await)?;
        Ok(explained.map(OperationExplanation::from))
    }
}

/// How everything is after the change, or why nothing was changed.
#[derive(Clone, Debug, SimpleObject)]
pub struct OpsPayload {
    pub status: Option<Status>,
    pub user_errors: Vec<UserError>,
}

async fn payload(ctx: &Context<'_>, outcome: std::result::Result<(), Rejection>) -> Result<OpsPayload> {
    let refused = |error: UserError| OpsPayload { status: None, user_errors: vec![error] };
    Ok(match outcome {
        Ok(()) => {
            let status = asked(operator(ctx)?.overview().await)?.into();
            OpsPayload { status: Some(status), user_errors: Vec::new() }
        }
        Err(error) => refused(error.into()),
    })
}

fn refused(code: &'static str, message: String, argument: &str) -> OpsPayload {
    OpsPayload { status: None, user_errors: vec![UserError::new(code, message, &[argument])] }
}

pub struct Mutation;

#[Object]
impl Mutation {
    /// New operations are refused with `PAUSED` from now on, also after a restart; what was accepted goes on.
    async fn pause(&self, ctx: &Context<'_>) -> Result<OpsPayload> {
        let outcome = operator(ctx)?.pause().await;
        payload(ctx, outcome).await
    }

    /// New operations are taken again.
    async fn resume(&self, ctx: &Context<'_>) -> Result<OpsPayload> {
        let outcome = operator(ctx)?.resume().await;
        payload(ctx, outcome).await
    }

    /// Sends a poisoned or parked batch out again, with a clean record; one that is on its way to a proof is left as it is. Refused for
    /// a batch that is not sealed yet, or proven already.
    async fn requeue(
        &self,
        ctx: &Context<'_>,
        #[graphql(validator(maximum = 2147483647))] batch: u32,
    ) -> Result<OpsPayload> {
        let coordinator = operator(ctx)?;
        let outcome = match coordinator.stage(batch).await {
            Ok(Some(Stage::Sealed | Stage::Proving)) => coordinator.requeue(batch).await,
            Ok(Some(stage)) => {
                let message = format!(
                    "batch {batch} has its proof ({}): there is nothing to send out again; `ops explain batch {batch}` says \
                     what it waits for",
                    stage_name(stage)
                );
                return Ok(refused("ALREADY_PROVEN", message, "batch"));
            }
            Ok(None) => {
                let message =
                    format!("batch {batch} is not sealed; `ops status` lists those that wait for a proof");
                return Ok(refused("NO_SUCH_JOB", message, "batch"));
            }
            Err(error) => Err(error),
        };
        payload(ctx, outcome).await
    }

    /// Opens a pool of workers; its credential is made beside this (`ops pool add`).
    async fn add_pool(&self, ctx: &Context<'_>, name: String) -> Result<OpsPayload> {
        let pool = match PoolName::new(name) {
            Ok(pool) => pool,
            Err(error) => return Ok(refused("BAD_NAME", error.to_string(), "name")),
        };
        let outcome = match operator(ctx)?.add_pool(pool).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = format!("there are {MAX_POOLS} pools, which is the most; remove one first");
                return Ok(refused("TOO_MANY_POOLS", message, "name"));
            }
            Err(error) => Err(error),
        };
        payload(ctx, outcome).await
    }

    /// Closes a pool of workers: it gets no more jobs, and what it reports is deleted unread.
    async fn remove_pool(&self, ctx: &Context<'_>, name: String) -> Result<OpsPayload> {
        let outcome = match PoolName::new(name) {
            Ok(pool) => operator(ctx)?.remove_pool(pool).await,
            Err(error) => return Ok(refused("BAD_NAME", error.to_string(), "name")),
        };
        payload(ctx, outcome).await
    }

    /// The worker finishes what it proves, hands the rest back, gets nothing more and leaves.
    async fn drain_worker(&self, ctx: &Context<'_>, id: String) -> Result<OpsPayload> {
        let coordinator = operator(ctx)?;
        let unknown = || refused("NO_SUCH_WORKER", format!("there is no worker {id}"), "id");
        let Ok(worker) = WorkerId::parse(&id) else {
            return Ok(unknown());
        };
        let outcome = match coordinator.knows_worker(worker.clone()).await {
            Ok(true) => coordinator.drain_worker(worker).await,
            Ok(false) => return Ok(unknown()),
            Err(error) => Err(error),
        };
        payload(ctx, outcome).await
    }
}
