//! Runs what was asked, at the cost of who asks: queries on the readers' threads, mutations where they come in.
//!
//! Invariant: all processor time of a request from its document on is charged to its client, however the request ends; and
//! a client that has used up its time is refused before anything is resolved for it.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::http::StatusCode;
use async_graphql::{EmptySubscription, ObjectType, Request, Response, Schema, Value as ConstValue};
use context::{cost::Meter, trace::TraceId};
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::timeout;
use tracing::Instrument;

use super::{
    ApiConfig,
    document::Shape,
    graphql::{MAX_COMPLEXITY, argument_hint},
    rate_limit::{Budget, Spending},
    readers::Readers,
    refusal::{Fault, Refusal},
};

/// Errors of one request that are told: a short document can be wrong in thousands of places.
const MAX_FAULTS: usize = 20;

/// A schema, whatever its roots are.
type Execute = dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Query,
    Mutation,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
        }
    }
}

pub struct Execution {
    execute: Arc<Execute>,
    readers: Option<Readers>,
    timeout: Duration,
    reads: Option<Arc<Mutex<Spending>>>,
    sends: Option<Arc<Mutex<Spending>>>,
    started: Instant,
}

/// What a request has cost so far; charged when it is dropped.
pub struct Tab {
    kind: Kind,
    client: IpAddr,
    meter: Meter,
    spending: Option<Arc<Mutex<Spending>>>,
    started: Instant,
}

impl Drop for Tab {
    fn drop(&mut self) {
        let took = self.meter.total();
        metrics::histogram!("proofmill_api_cost_seconds", "kind" => self.kind.name())
            .record(took.as_secs_f64());
        if let Some(spending) = &self.spending {
            let mut spending = spending.lock();
            spending.end(self.client, took, self.started.elapsed());
        }
    }
}

impl Execution {
    pub fn new<Q, M>(
        schema: Schema<Q, M, EmptySubscription>,
        config: &ApiConfig,
        readers: Option<Readers>,
    ) -> Self
    where
        Q: ObjectType + 'static,
        M: ObjectType + 'static,
    {
        let execute = move |request| {
            let schema = schema.clone();
            async move { schema.execute(request).await }.boxed()
        };
        let spending = |budget: Option<Budget>| Some(Arc::new(Mutex::new(Spending::new(budget?))));
        Self {
            execute: Arc::new(execute),
            readers,
            timeout: config.timeout,
            reads: spending(config.read_budget),
            sends: spending(config.send_budget),
            started: Instant::now(),
        }
    }

    fn spending(&self, kind: Kind) -> Option<&Arc<Mutex<Spending>>> {
        match kind {
            Kind::Query => self.reads.as_ref(),
            Kind::Mutation => self.sends.as_ref(),
        }
    }

    /// Charges what was done for a request that is refused.
    pub fn charge(&self, kind: Kind, client: IpAddr, meter: &Meter) {
        if let Some(spending) = self.spending(kind) {
            let mut spending = spending.lock();
            spending.add(client, meter.total(), self.started.elapsed());
        }
    }

    /// Begins to count for a client.
    ///
    /// # Errors
    /// 429 `RATE_LIMITED` if it has used up its time.
    pub fn open(&self, kind: Kind, client: IpAddr, meter: Meter) -> Result<Tab, Refusal> {
        let spending = self.spending(kind).cloned();
        if let Some(spending) = &spending {
            let begun = {
                let mut spending = spending.lock();
                spending.begin(client, self.started.elapsed())
            };
            if let Err(wait) = begun {
                metrics::counter!("proofmill_api_over_budget_total", "kind" => kind.name()).increment(1);
                self.charge(kind, client, &meter);
                return Err(Refusal::rate_limited("your requests have used up their processor time", wait));
            }
        }
        Ok(Tab { kind, client, meter, spending, started: self.started })
    }

    /// The body of the answer.
    ///
    /// # Errors
    /// A refusal of the whole request.
    pub async fn run(
        &self,
        kind: Kind,
        tab: Tab,
        request: Request,
        shape: Shape,
    ) -> Result<Vec<u8>, Refusal> {
        let (execute, patience) = (Arc::clone(&self.execute), self.timeout);
        let work = async move {
            let answer = answer(&*execute, request, &shape, patience);
            tab.meter.clone().follow(answer).await
        };
        let Some(readers) = self.readers.as_ref().filter(|_| kind == Kind::Query) else { return work.await };
        let work = work.instrument(tracing::Span::current());
        let running = match TraceId::current() {
            Some(id) => readers.run(id.scope(work)),
            None => readers.run(work),
        };
        let Some(running) = running else {
            let message = "too many queries at once; ask again in a moment";
            let refusal = Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "BUSY", message);
            return Err(Refusal { retry_after: Some(Duration::from_secs(1)), ..refusal });
        };
        running.await.unwrap_or_else(|_| Err(internal()))
    }
}

fn internal() -> Refusal {
    let message = "an internal error; the operators see it in their log";
    Refusal::http(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
}

async fn answer(
    execute: &Execute,
    request: Request,
    shape: &Shape,
    patience: Duration,
) -> Result<Vec<u8>, Refusal> {
    let execution = AssertUnwindSafe(execute(request)).catch_unwind();
    match timeout(patience, execution).await {
        Ok(Ok(response)) => {
            let response = sort_errors(response, shape)?;
            serde_json::to_vec(&response).map_err(|_| internal())
        }
        Ok(Err(_)) => {
            tracing::error!("a resolver panicked");
            Err(internal())
        }
        Err(_) => {
            let message = "no answer in time; repeat the call with the same idempotency key";
            let refusal = Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message);
            Err(Refusal { retry_after: Some(Duration::from_secs(1)), ..refusal })
        }
    }
}

/// Tells errors of the request, which have no path and no data, from errors of fields, and gives each its code.
fn sort_errors(mut response: Response, shape: &Shape) -> Result<Response, Refusal> {
    if !response.errors.is_empty()
        && response.data == ConstValue::Null
        && response.errors.iter().all(|error| error.path.is_empty())
    {
        let faults = response.errors.into_iter().take(MAX_FAULTS).map(|error| {
            let (code, message) = classify(&error.message);
            Fault { code, message, locations: error.locations }
        });
        return Err(Refusal::graphql_errors(faults.collect()));
    }
    let data = std::mem::take(&mut response.data);
    response.data = shape.arrange(data, &mut response.errors);
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            // Resolvers give their errors a code; what has none is an argument that could not be read.
            extensions.set("code", "BAD_USER_INPUT");
        }
    }
    Ok(response)
}

/// The code of a validation error, and its message with advice where the library gives none.
fn classify(message: &str) -> (&'static str, String) {
    if message == "Query is too complex." {
        let advice = format!(
            "the query costs more than {} (a field costs 1, a connection `first` times its nodes); ask for less at once",
            MAX_COMPLEXITY
        );
        ("QUERY_TOO_COMPLEX", advice)
    } else if message.starts_with("The recursion depth of the query") {
        ("QUERY_TOO_DEEP", message.to_owned())
    } else if message.starts_with("Invalid value for argument") {
        let hint = argument_hint(message).map(|hint| format!("; {hint}")).unwrap_or_default();
        ("BAD_USER_INPUT", format!("{message}{hint}"))
    } else {
        ("GRAPHQL_VALIDATION_FAILED", message.to_owned())
    }
}
