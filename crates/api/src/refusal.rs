//! Errors of a request: what was wrong with it before any field was resolved. They have a code, no `data`, and leave
//! everything unchanged.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use async_graphql::Pos;
use serde_json::{Value, json};

use super::accept::MediaType;

/// Why a request was not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status; under `application/json` it is 200 for a well-formed GraphQL-over-HTTP request.
    pub status: StatusCode,
    /// Whether the request was well-formed, and only its GraphQL was wrong.
    pub well_formed: bool,
    pub errors: Vec<Fault>,
    pub retry_after: Option<Duration>,
    pub allow: Option<&'static str>,
}

/// One entry of `errors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: &'static str,
    pub message: String,
    pub locations: Vec<Pos>,
}

impl Refusal {
    /// A refusal of the HTTP request itself.
    pub fn http(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let fault = Fault { code, message: message.into(), locations: Vec::new() };
        Self { status, well_formed: false, errors: vec![fault], retry_after: None, allow: None }
    }

    /// A refusal of the GraphQL in a well-formed request.
    pub fn graphql(code: &'static str, message: impl Into<String>, locations: Vec<Pos>) -> Self {
        Self::graphql_errors(vec![Fault { code, message: message.into(), locations }])
    }

    pub fn graphql_errors(errors: Vec<Fault>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, well_formed: true, errors, retry_after: None, allow: None }
    }

    /// A client has used up what it may.
    pub fn rate_limited(what: &str, wait: Duration) -> Self {
        let wait = Duration::from_secs((wait.as_secs_f64().ceil() as u64).max(1));
        let message = format!("{what}; wait {} s", wait.as_secs());
        let refusal = Self::http(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message);
        Self { retry_after: Some(wait), ..refusal }
    }

    pub fn method_not_allowed(allow: &'static str, message: &str) -> Self {
        let refusal = Self::http(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message);
        Self { allow: Some(allow), ..refusal }
    }

    /// The code of the first error.
    pub fn code(&self) -> &'static str {
        self.errors.first().map_or("INTERNAL", |fault| fault.code)
    }

    pub fn status_in(&self, media: MediaType) -> StatusCode {
        if self.well_formed && media == MediaType::Json { StatusCode::OK } else { self.status }
    }

    pub fn respond(&self, media: MediaType) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_in(media));
        if let Some(wait) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, wait.as_secs().max(1)));
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        let errors: Vec<Value> = self.errors.iter().map(Fault::to_json).collect();
        response.content_type(media.content_type()).body(json!({ "errors": errors }).to_string())
    }
}

impl Fault {
    fn to_json(&self) -> Value {
        let mut error = json!({ "message": self.message, "extensions": { "code": self.code } });
        if !self.locations.is_empty() {
            let places = self.locations.iter().map(|pos| json!({ "line": pos.line, "column": pos.column }));
            error["locations"] = places.collect();
        }
        error
    }
}
