//! `/graphql`: from an HTTP request to an HTTP response, by GraphQL-over-HTTP.
//!
//! The steps, in order: media type, rate, token, method, body, parameters, document, budget, execution. Each can refuse, and none
//! before execution touches the service.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web,
};
use async_graphql::{
    EmptySubscription, ObjectType, Request, Schema, Variables, parser::types::OperationType,
};
use context::{cost::Meter, trace::TraceId};
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::timeout;
use tracing::Instrument;

use super::{
    ApiConfig,
    accept::{self, MediaType},
    document::{Bounded, Documents, Types},
    execution::{Execution, Kind},
    metrics,
    rate_limit::RateLimiter,
    readers::Readers,
    refusal::Refusal,
    request::{self, Parameters},
    token::AdminToken,
};

/// What every request shares.
pub struct Endpoint {
    execution: Execution,
    types: Types,
    documents: Documents,
    /// What a caller must show, if not everybody may call.
    guard: Option<AdminToken>,
    config: ApiConfig,
    limiter: Option<Mutex<RateLimiter>>,
}

/// Answers with the id under which logs and spans tell of the request.
const REQUEST_ID: &str = "x-request-id";

/// How much of a body that is too large is read on, so that its sender gets to see the answer.
const DRAIN_FACTOR: usize = 16;

impl Endpoint {
    /// Queries run on the threads of the readers, or where they come in without them.
    pub fn new<Q, M>(
        schema: Schema<Q, M, EmptySubscription>,
        config: ApiConfig,
        readers: Option<Readers>,
    ) -> Self
    where
        Q: ObjectType + 'static,
        M: ObjectType + 'static,
    {
        let limiter = config.rate_limit.map(|limit| Mutex::new(RateLimiter::new(limit)));
        let types = Types::of(&schema.sdl());
        Self {
            execution: Execution::new(schema, &config, readers),
            types,
            documents: Documents::default(),
            guard: None,
            config,
            limiter,
        }
    }

    /// Answers only those who show the token.
    pub fn guarded(self, token: AdminToken) -> Self {
        Self { guard: Some(token), ..self }
    }

    fn check_token(&self, request: &HttpRequest) -> Result<(), Refusal> {
        let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if self.guard.as_ref().is_none_or(|token| token.admits(shown)) {
            return Ok(());
        }
        let message = "send `Authorization: Bearer TOKEN` with the token of the file `admin-token` in the coordinator's data \
                       directory";
        Err(Refusal::http(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message))
    }

    /// The origin to name in `Access-Control-Allow-Origin`, if its pages may read the answer.
    fn allowed_origin(&self, request: &HttpRequest) -> Option<HeaderValue> {
        let origin = request.headers().get(header::ORIGIN)?;
        self.config
            .allowed_origins
            .iter()
            .any(|known| known.admits(origin.as_bytes()))
            .then(|| origin.clone())
    }

    fn client(&self, request: &HttpRequest) -> IpAddr {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        self.config.proxies.client(peer, request.headers())
    }

    fn check_rate(&self, client: IpAddr) -> Result<(), Refusal> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.lock().take(client).map_err(|wait| Refusal::rate_limited("too many requests", wait))
    }

    async fn read_body(&self, request: &HttpRequest, mut payload: web::Payload) -> Result<Vec<u8>, Refusal> {
        let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
        request::check_content_type(text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING))?;
        let max = self.config.max_body;
        let mut body = Vec::new();
        let mut length = 0_usize;
        let read = async {
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(|error| {
                    Refusal::http(
                        StatusCode::BAD_REQUEST,
                        "BAD_REQUEST",
                        format!("the body broke off: {error}"),
                    )
                })?;
                length += chunk.len();
                if length <= max {
                    body.extend_from_slice(&chunk);
                } else if length > max.saturating_mul(DRAIN_FACTOR) {
                    break;
                }
            }
            Ok(())
        };
        timeout(self.config.timeout, read).await.map_err(|_| {
            let message = "the body did not arrive in time; send it again";
            Refusal::http(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", message)
        })??;
        if length > max {
            let message = format!("the body has more than {max} bytes; send less at once");
            return Err(Refusal::http(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message));
        }
        Ok(body)
    }

    /// The body of the answer.
    async fn answer(&self, request: &HttpRequest, payload: web::Payload) -> Result<Vec<u8>, Refusal> {
        let client = self.client(request);
        self.check_rate(client)?;
        self.check_token(request)?;
        let parameters = match *request.method() {
            Method::GET => request::from_query_string(request.query_string())?,
            Method::POST => request::from_body(&self.read_body(request, payload).await?)?,
            _ => return Err(Refusal::method_not_allowed("GET, POST", "send the request by POST")),
        };
        let Parameters { query, operation_name, variables } = parameters;
        let meter = Meter::default();
        let bounded =
            meter.measure(|| self.documents.bound(&query, operation_name.as_deref(), variables, &self.types));
        let Bounded { document, operation, variables, shape } =
            bounded.inspect_err(|_| self.execution.charge(Kind::Query, client, &meter))?;
        match operation {
            OperationType::Query => {}
            OperationType::Mutation if request.method() == Method::GET => {
                return Err(Refusal::method_not_allowed(
                    "POST",
                    "a GET changes nothing; send mutations by POST",
                ));
            }
            OperationType::Mutation => {}
            OperationType::Subscription => {
                let message = "there are no subscriptions; ask `operation` or `batch` again";
                return Err(Refusal::graphql("GRAPHQL_VALIDATION_FAILED", message, vec![]));
            }
        }
        let mut execution = Request::new(query).variables(Variables::from_json(Value::Object(variables)));
        execution.operation_name = operation_name;
        execution.set_parsed_query(document);
        let kind = if operation == OperationType::Query { Kind::Query } else { Kind::Mutation };
        let tab = self.execution.open(kind, client, meter)?;
        let answer = self.execution.run(kind, tab, execution, shape).await?;
        Ok(answer)
    }
}

/// Answers every method on `/graphql`.
pub async fn graphql(
    request: HttpRequest,
    payload: web::Payload,
    endpoint: web::Data<Endpoint>,
) -> HttpResponse {
    let begun = Instant::now();
    let origin = endpoint.allowed_origin(&request);
    let parent = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let id = parent.and_then(TraceId::of_traceparent).unwrap_or_else(TraceId::random);
    let span = tracing::info_span!("request", trace_id = %id);
    let mut response = if request.method() == Method::OPTIONS {
        preflight(origin.is_some())
    } else {
        let lines: Vec<_> =
            request.headers().get_all(header::ACCEPT).map(|line| line.to_str().unwrap_or("?")).collect();
        let asked = (!lines.is_empty()).then(|| lines.join(","));
        match accept::negotiate(asked.as_deref()) {
            None => {
                let message = "send `Accept: application/graphql-response+json` or `application/json`";
                let refusal = Refusal::http(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message);
                refusal.respond(MediaType::GraphqlResponse)
            }
            Some(media) => match id.scope(endpoint.answer(&request, payload)).instrument(span).await {
                Ok(body) => HttpResponse::Ok().content_type(media.content_type()).body(body),
                Err(refusal) => refusal.respond(media),
            },
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(HeaderName::from_static(REQUEST_ID), id);
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("retry-after, x-request-id"),
        );
    }
    metrics::answered(response.status(), begun.elapsed());
    response
}

fn preflight(allowed: bool) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::ALLOW, "GET, POST"));
    if allowed {
        response
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"))
            .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "accept, content-type, traceparent"))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"));
    }
    response.finish()
}
