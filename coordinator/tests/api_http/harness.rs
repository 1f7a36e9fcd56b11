//! A running API over the double, and short ways to ask it.

use std::sync::Arc;

use api::{ApiConfig, Server};
use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use crate::double::Double;

pub const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";
pub const JSON: &str = "application/json";

pub struct Api {
    pub server: Server,
    pub double: Arc<Double>,
    pub http: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub headers: header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let headers = response.headers().clone();
        let content_type = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        Self {
            status: response.status().as_u16(),
            content_type: content_type.unwrap_or_default(),
            headers,
            text: response.text().await.unwrap(),
        }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn data(&self) -> Value {
        let body = self.json();
        assert_eq!(body.get("errors"), None, "{body}");
        body["data"].clone()
    }

    /// The code of the first error.
    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["errors"][0]["extensions"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("{self:?}"))
            .to_owned()
    }

    /// Asserts a request error: this status and code, a sentence, and no data.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        let body = self.json();
        assert!(body.get("data").is_none(), "a request error has no data: {body}");
        assert!(body["errors"][0]["message"].as_str().unwrap().len() > 10, "{body}");
    }
}

impl Api {
    pub async fn start() -> Self {
        Self::with(ApiConfig {
            rate_limit: None,
            read_budget: None,
            send_budget: None,
            ..ApiConfig::default()
        })
        .await
    }

    pub async fn with(config: ApiConfig) -> Self {
        let double = Arc::new(Double::default());
        let server = api::serve(double.clone(), ApiConfig { threads: 1, ..config }).await.unwrap();
        Self { server, double, http: reqwest::Client::new() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(self.url(path)).send().await.unwrap()).await
    }

    /// A POST to `/graphql` with these headers and body.
    pub async fn raw(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let request = self.http.request(Method::POST, self.url("/graphql"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.body(body).send().await.unwrap()).await
    }

    pub async fn post_as(&self, accept: &str, body: &Value) -> Answer {
        self.raw(&[("content-type", JSON), ("accept", accept)], body.to_string()).await
    }

    pub async fn post(&self, body: &Value) -> Answer {
        self.post_as(GRAPHQL_RESPONSE, body).await
    }

    pub async fn query(&self, query: &str) -> Answer {
        self.post(&json!({ "query": query })).await
    }

    pub async fn ask(&self, query: &str, variables: Value) -> Answer {
        self.post(&json!({ "query": query, "variables": variables })).await
    }

    /// Whether nothing was submitted or registered.
    pub fn is_unchanged(&self) -> bool {
        self.double.submitted.lock().unwrap().is_empty() && self.double.registered.lock().unwrap().is_empty()
    }
}
