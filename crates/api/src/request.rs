//! A GraphQL-over-HTTP request: the parameters in a JSON body or in a query string.

use actix_web::{http::StatusCode, web};
use protocol::depth;
use serde_json::{Map, Value};

use super::{accept::is_utf8, refusal::Refusal};

/// The parameters. Of `extensions` only a persisted query without its document is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: Map<String, Value>,
}

fn bad(message: &str) -> Refusal {
    Refusal::http(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
}

fn too_deep(what: &str) -> Refusal {
    bad(&format!("{what} has more than {} brackets inside each other; nest less", depth::MAX_DEPTH))
}

/// The answer of a server without automatic persisted queries, word by word: Apollo's client then sends the document.
fn persisted_query_not_supported() -> Refusal {
    Refusal::graphql("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported", vec![])
}

/// Lets only UTF-8 JSON through: a browser sends it to another site only after a CORS preflight, unlike `text/plain`.
///
/// # Errors
/// 415 `UNSUPPORTED_MEDIA_TYPE`.
pub fn check_content_type(content_type: Option<&str>, content_encoding: Option<&str>) -> Result<(), Refusal> {
    let refuse =
        |message| Err(Refusal::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
    if content_encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return refuse("compressed bodies are not taken; send the JSON as it is");
    }
    let Some(content_type) = content_type else {
        return refuse("the body has no Content-Type; send `Content-Type: application/json`");
    };
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        return refuse("only JSON bodies are taken; send `Content-Type: application/json`");
    }
    let foreign = parts
        .filter_map(|parameter| parameter.split_once('='))
        .any(|(name, value)| name.trim().eq_ignore_ascii_case("charset") && !is_utf8(value.trim()));
    if foreign {
        refuse("only UTF-8 is taken; send `Content-Type: application/json; charset=utf-8`")
    } else {
        Ok(())
    }
}

/// Reads the body of a POST.
///
/// # Errors
/// 400 `BAD_REQUEST`, `BATCHING_NOT_SUPPORTED` or `PERSISTED_QUERY_NOT_SUPPORTED`.
pub fn from_body(body: &[u8]) -> Result<Parameters, Refusal> {
    depth::check_json(body).map_err(|_| too_deep("the body"))?;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| bad(&format!("the body is not JSON ({error}); send {{\"query\": \"…\"}}")))?;
    match body {
        Value::Object(parameters) => from_map(parameters),
        Value::Array(_) => {
            let message =
                "batches of requests are not taken; send one request, with several fields if needed";
            Err(Refusal::http(StatusCode::BAD_REQUEST, "BATCHING_NOT_SUPPORTED", message))
        }
        _ => Err(bad("the body is not a JSON object; send {\"query\": \"…\"}")),
    }
}

/// Reads the query string of a GET.
///
/// # Errors
/// 400 `BAD_REQUEST` or `PERSISTED_QUERY_NOT_SUPPORTED`.
pub fn from_query_string(query: &str) -> Result<Parameters, Refusal> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|_| bad("the query string cannot be decoded; encode it as URLSearchParams does"))?;
    let mut parameters = Map::new();
    for (name, text) in pairs.into_inner() {
        let value = match name.as_str() {
            "variables" | "extensions" if text.is_empty() => Value::Null,
            "variables" | "extensions" => {
                depth::check_json(text.as_bytes()).map_err(|_| too_deep(&format!("`{name}`")))?;
                serde_json::from_str(&text)
                    .map_err(|_| bad(&format!("`{name}` is not JSON; encode the object as a JSON string")))?
            }
            _ => Value::String(text),
        };
        if parameters.insert(name.clone(), value).is_some() {
            return Err(bad(&format!("`{name}` comes twice; send it once")));
        }
    }
    from_map(parameters)
}

fn from_map(mut parameters: Map<String, Value>) -> Result<Parameters, Refusal> {
    let extensions = object(parameters.remove("extensions"), "extensions")?;
    let query = match parameters.remove("query") {
        Some(Value::String(query)) => query,
        None | Some(Value::Null) if extensions.contains_key("persistedQuery") => {
            return Err(persisted_query_not_supported());
        }
        Some(_) => return Err(bad("`query` must be a string with the GraphQL document")),
        None => return Err(bad("`query` is missing; send the GraphQL document in it")),
    };
    let operation_name = match parameters.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
        Some(_) => return Err(bad("`operationName` must be a string")),
    };
    let variables = object(parameters.remove("variables"), "variables")?;
    Ok(Parameters { query, operation_name, variables })
}

fn object(value: Option<Value>, name: &str) -> Result<Map<String, Value>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(bad(&format!("`{name}` must be an object"))),
    }
}
