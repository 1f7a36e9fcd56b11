//! What is not GraphQL: GraphiQL, health, metrics, CORS, and the committed schema.

use std::{sync::atomic::Ordering, time::Duration};

use api::{ApiConfig, admin, graphql};
use reqwest::{Method, redirect::Policy};

use crate::{
    double::UUID,
    harness::{Answer, Api, JSON},
};

#[test]
fn the_committed_schemas_are_those_that_are_served() {
    for (file, sdl) in [("schema.graphql", graphql::sdl()), ("admin.graphql", admin::sdl())] {
        let path = format!("{}/../crates/api/{file}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, &sdl).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == sdl, "crates/api/{file} is out of date: run the test with UPDATE_SCHEMA=1");
    }
}

#[tokio::test]
async fn graphiql_comes_from_here_alone() {
    let api = Api::start().await;
    let index = api.get("/graphiql").await;
    assert_eq!((index.status, index.content_type.as_str()), (200, "text/html"));
    assert!(!index.text.contains("//"), "no URL of another host: {}", index.text);
    assert!(!index.text.contains("<style") && !index.text.contains("style="));
    let mut files = 0;
    for tag in index.text.split('<').filter(|tag| tag.starts_with("script") || tag.starts_with("link")) {
        let source =
            tag.split("src=\"").nth(1).or_else(|| tag.split("href=\"").nth(1)).expect("no inline script");
        let source = source.split('"').next().unwrap();
        if source == "data:," {
            continue;
        }
        let file = api.get(source).await;
        assert_eq!(file.status, 200, "{source}");
        let imports = ["@import", "url(http", "url(//", "importScripts(", "sourceMappingURL"];
        for remote in imports {
            assert!(!file.text.contains(remote), "{source} loads something: {remote}");
        }
        files += 1;
    }
    assert_eq!(files, 6);
    let policy = index.headers["content-security-policy"].to_str().unwrap().to_owned();
    let scripts = policy.split(';').find(|rule| rule.trim().starts_with("script-src")).unwrap();
    assert_eq!(scripts.trim(), "script-src 'self'");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"));
    for path in ["/graphiql/nothing.js", "/graphiql/..%2f..%2fCargo.toml", "/graphiql/%2e%2e/schema.graphql"]
    {
        assert_eq!(api.get(path).await.status, 404, "{path}");
    }
    assert!(api.get("/graphiql/LICENSES.txt").await.text.contains("Facebook, Inc. and its affiliates"));
}

#[tokio::test]
async fn a_file_that_the_browser_knows_is_not_sent_again() {
    let api = Api::start().await;
    let first = api.get("/graphiql/page.js").await;
    let tag = first.headers["etag"].clone();
    let again = api.http.get(api.url("/graphiql/page.js")).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
}

#[tokio::test]
async fn the_home_page_leads_to_graphiql_unless_it_is_off() {
    let api = Api::start().await;
    let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let home = http.get(api.url("/")).send().await.unwrap();
    assert_eq!((home.status().as_u16(), &home.headers()["location"]), (307, &"/graphiql".parse().unwrap()));
    let api = Api::with(ApiConfig { graphiql: false, ..ApiConfig::default() }).await;
    assert_eq!((api.get("/").await.status, api.get("/graphiql").await.status), (404, 404));
}

#[tokio::test]
async fn health_tells_live_and_ready() {
    let api = Api::start().await;
    assert_eq!(api.get("/health/live").await.status, 200);
    let ready = api.get("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["warnings"][0]["code"]), (200, &"NO_WORKER".into()));
    api.double.draining.store(true, Ordering::SeqCst);
    let ready = api.get("/health/ready").await;
    let reasons = ready.json()["reasons"].clone();
    let codes: Vec<&str> =
        reasons.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!((ready.status, codes), (503, vec!["DRAINING", "STORE_AWAY"]));
    assert_eq!(reasons[0]["text"], "it is draining");
    assert_eq!(api.get("/health/live").await.status, 200);
    api.double.stuck.store(true, Ordering::SeqCst);
    assert_eq!(api.get("/health/live").await.status, 503);
}

/// One recorder serves the whole process: who looks at gauges looks alone.
static METRICS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn metrics_show_each_card_until_its_worker_is_gone() {
    let _alone = METRICS.lock().await;
    let api = Api::start().await;
    let labels = format!("{{worker=\"b-card\",uuid=\"{UUID}\"}}");
    let lines = |values: [&str; 5]| {
        let names = [
            "card_healthy",
            "card_temperature_celsius",
            "card_power_watts",
            "proof_energy_joules",
            "payment_energy_joules",
        ];
        std::iter::zip(names, values)
            .map(|(name, value)| format!("proofmill_{name}{labels} {value}\n"))
            .collect::<Vec<_>>()
    };
    let before = api.get("/metrics").await.text;
    for line in lines(["0", "93", "412.5", "30.5", "0.25"]) {
        assert!(before.contains(&line), "{line}: {before}");
    }
    assert!(before.contains("proofmill_workers{health=\"sick\"} 1\n"), "{before}");
    assert!(!before.contains("proofmill_card_sm_clock_hertz{"), "what is not known is not shown");
    api.double.carded_left.store(true, Ordering::SeqCst);
    let after = api.get("/metrics").await.text;
    for line in lines(["NaN"; 5]) {
        assert!(after.contains(&line), "{line}: {after}");
    }
    assert!(after.contains("proofmill_workers{health=\"left\"} 1\n"), "{after}");
}

#[tokio::test]
async fn a_worker_process_serves_its_metrics_and_nothing_else() {
    let server = api::serve_metrics(([127, 0, 0, 1], 0).into()).await.unwrap();
    metrics::gauge!("proofmill_test_of_a_worker").set(1.0);
    let get = async |path: &str| reqwest::get(format!("{}{path}", server.url)).await.unwrap();
    assert!(get("/metrics").await.text().await.unwrap().contains("proofmill_test_of_a_worker 1"));
    assert_eq!(get("/health/live").await.status(), 200);
    assert_eq!(get("/graphql").await.status(), 404);
    server.stop().await;
}

#[tokio::test]
async fn metrics_that_nobody_asks_for_take_no_memory() {
    let _alone = METRICS.lock().await;
    let _api = Api::start().await;
    let resident = async || {
        let histogram = metrics::histogram!("proofmill_test_of_memory_seconds");
        (0..2_000_000).for_each(|_| histogram.record(0.1));
        tokio::time::sleep(Duration::from_secs(2)).await;
        crate::fuzz::resident().unwrap_or_default()
    };
    let first = resident().await;
    let mut last = first;
    for _ in 0..4 {
        last = resident().await;
    }
    // Kept, the samples of these four rounds would take 128 MB.
    assert!(last <= first + (64 << 20), "{first} bytes grew to {last}");
}

#[tokio::test]
async fn metrics_count_what_was_answered() {
    let _alone = METRICS.lock().await;
    let api = Api::start().await;
    api.query("{ __typename }").await;
    api.query("{").await;
    let metrics = api.get("/metrics").await;
    assert!(metrics.content_type.starts_with("text/plain"));
    for line in [
        "proofmill_api_requests_total{status=\"200\"}",
        "proofmill_api_requests_total{status=\"400\"}",
        "proofmill_api_request_seconds_bucket",
    ] {
        assert!(metrics.text.contains(line), "{line}: {}", metrics.text);
    }
}

#[tokio::test]
async fn only_allowed_origins_may_read_answers() {
    let wallet = "https://wallet.example";
    let config = ApiConfig { allowed_origins: vec![wallet.parse().unwrap()], ..ApiConfig::default() };
    let api = Api::with(config).await;
    for (origin, allowed) in [(wallet, true), ("https://evil.example", false)] {
        let preflight = api.http.request(Method::OPTIONS, api.url("/graphql")).header("origin", origin);
        let preflight = Answer::of(preflight.send().await.unwrap()).await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.headers.contains_key("access-control-allow-methods"), allowed);
        let answer =
            api.raw(&[("content-type", JSON), ("origin", origin)], r#"{"query":"{__typename}"}"#).await;
        let named = answer.headers.get("access-control-allow-origin").map(|origin| origin.to_str().unwrap());
        assert_eq!(named, allowed.then_some(origin));
        assert!(answer.headers["vary"].to_str().unwrap().contains("Origin"));
        for headers in [&preflight.headers, &answer.headers] {
            assert!(!headers.contains_key("access-control-allow-credentials"), "{headers:?}");
        }
    }
}

#[tokio::test]
async fn no_origin_is_allowed_unless_it_is_named_and_a_star_allows_all() {
    for (allowed_origins, allowed) in [(vec![], false), (vec!["*".parse().unwrap()], true)] {
        let api = Api::with(ApiConfig { allowed_origins, ..ApiConfig::default() }).await;
        for origin in ["https://wallet.example", "http://127.0.0.1:3000", "null", "*"] {
            let headers = [("content-type", JSON), ("origin", origin)];
            let answer = api.raw(&headers, r#"{"query":"{__typename}"}"#).await;
            assert_eq!(answer.headers.contains_key("access-control-allow-origin"), allowed, "{origin}");
        }
    }
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let api = Api::start().await;
    let config = ApiConfig { port: api.server.address.port(), ..ApiConfig::default() };
    let error = api::serve(api.double.clone(), config).await.unwrap_err().to_string();
    assert!(error.starts_with("PM-API-001") && error.contains(&api.server.address.to_string()), "{error}");
}

#[tokio::test]
async fn a_stopped_server_answers_no_more() {
    let api = Api::start().await;
    api.server.stop().await;
    assert!(reqwest::Client::new().get(api.url("/health/live")).send().await.is_err());
}
