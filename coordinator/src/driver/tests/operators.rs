//! What operators see and do, over real HTTP.

use api::{Server, admin::serve_admin, token::AdminToken};
use serde_json::{Value, json};

use super::*;

pub(super) struct Admin {
    server: Server,
    token: String,
    http: reqwest::Client,
}

impl Admin {
    pub(super) fn over(handle: &Arc<Handle>, folder: &Path) -> Self {
        let path = folder.join("admin-token");
        let token = AdminToken::at(&path).unwrap();
        let server = serve_admin(Arc::clone(handle), token, ([127, 0, 0, 1], 0).into()).unwrap();
        let token = std::fs::read_to_string(path).unwrap().trim().to_owned();
        // A connection is not used again that the server may be closing after 5 s.
        let http = reqwest::Client::builder().pool_idle_timeout(std::time::Duration::from_secs(4)).build();
        Self { server, token, http: http.unwrap() }
    }

    async fn post(&self, document: &str, token: Option<&str>) -> (u16, Value) {
        let request =
            self.http.post(format!("{}/graphql", self.server.url)).json(&json!({ "query": document }));
        let request = token.map_or_else(
            || request.try_clone().unwrap(),
            |token| request.try_clone().unwrap().bearer_auth(token),
        );
        let answer = request.header("accept", "application/graphql-response+json").send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(super) async fn ask(&self, document: &str) -> Value {
        let (status, mut body) = self.post(document, Some(&self.token)).await;
        assert!(status == 200 && body.get("errors").is_none(), "{body}");
        body["data"].take()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_without_the_token_learns_or_changes_anything() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let admin = Admin::over(&handle, folder.path());
    let shorter = &admin.token[1..];
    for token in [None, Some("wrong"), Some(shorter)] {
        for document in
            ["{ status { term } }", "mutation { pause { userErrors { code } } }", "{ __typename }"]
        {
            let (status, body) = admin.post(document, token).await;
            assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (401, &json!("UNAUTHORIZED")));
            assert!(body.get("data").is_none(), "{body}");
        }
    }
    assert_eq!(admin.ask("{ status { paused } }").await["status"]["paused"], false);
    let nested = format!("{{ status {{ term @include(if: {}) }} }}", "[".repeat(3_000));
    let (status, body) = admin.post(&nested, Some(&admin.token)).await;
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (400, &json!("QUERY_TOO_DEEP")));
    let page =
        admin.http.post(format!("{}/graphql", admin.server.url)).header("origin", "https://wallet.example");
    let answer =
        page.bearer_auth(&admin.token).json(&json!({ "query": "{ __typename }" })).send().await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"), "no page steers a coordinator");
    assert!(!api::graphql::sdl().contains("pause"), "the public schema has none of it");
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_pause_and_resume_and_a_pause_survives_a_restart() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    let admin = Admin::over(&handle, folder.path());
    for _ in 0..2 {
        let done = admin.ask("mutation { pause { status { paused } userErrors { code } } }").await;
        assert_eq!(done["pause"], json!({ "status": { "paused": true }, "userErrors": [] }));
    }
    handle.shutdown().await;
    drop(handle);
    let handle = world.start(folder.path()).await;
    let admin = Admin::over(&handle, folder.path());
    let refused = send(&handle, &alice, &bob, 100, "s").await.unwrap_err();
    assert_eq!((refused.code(), refused.retryable()), ("PAUSED", true));
    assert_eq!(admin.ask("{ status { paused } }").await["status"]["paused"], true);
    admin.ask("mutation { resume { status { paused } } }").await;
    send(&handle, &alice, &bob, 100, "s").await.unwrap();
    settle(&handle).await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_and_an_operation_explain_how_they_came_to_be_final() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    world.bad_proofs.store(1, Ordering::Release);
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    let sent = send(&handle, &alice, &bob, 100, "s").await.unwrap();
    settle(&handle).await;
    let admin = Admin::over(&handle, folder.path());
    let batch = admin
        .ask("{ explainBatch(number: 1) { stage waitsFor suspects { slot } lines { afterMs text } } }")
        .await;
    let batch = &batch["explainBatch"];
    assert_eq!((&batch["stage"], &batch["waitsFor"]), (&json!("FINAL"), &json!("It is final.")));
    assert_eq!(batch["suspects"], Value::Null);
    let lines: Vec<&str> =
        batch["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    let story = [
        "opened with",
        "a coordinator begins to lead, in term 1",
        "sealed as s3m1",
        "attempt 1 granted to default/tagger",
        "attempt 1 of default/tagger ended (refused, which counts against it): the proof does not verify",
        "attempt 2 granted to default/tagger",
        "proof of default/tagger (attempt 2) accepted",
        "signed with nonce 0",
        "mined in block",
        "final on L1",
    ];
    let mut rest = lines.iter();
    for part in story {
        assert!(rest.any(|line| line.contains(part)), "{part} does not follow in {lines:#?}");
    }

    let document = format!(
        "{{ explainOperation(id: \"{}\") {{ kind amount slots deadline batch {{ number operations {{ id slots }} }} }} }}",
        sent.id
    );
    let explained = admin.ask(&document).await;
    let explained = &explained["explainOperation"];
    assert_eq!((&explained["kind"], &explained["amount"]), (&json!("SEND"), &json!("100")));
    assert_eq!(explained["slots"], json!([0]));
    assert_eq!(explained["deadline"], "Its promise is kept: it is final.");
    assert_eq!(explained["batch"]["number"], sent.batch_no);
    assert_eq!(explained["batch"]["operations"][0], json!({ "id": sent.id, "slots": [0] }));
    let nothing = admin.ask("{ explainBatch(number: 9999) { stage } }").await;
    assert_eq!(nothing["explainBatch"], Value::Null);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_batch_raises_an_alarm_is_bisected_and_goes_out_again() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    // The first makes it tried alone, the second parks it.
    world.bad_proofs.store(2, Ordering::Release);
    let handle = world.start_as(Config { quarantine_after: 1, ..config() }, folder.path()).await;
    let (alice, _) = people();
    world.chain.deposit(alice.owner, alice.key_hash, 1_000);
    let admin = Admin::over(&handle, folder.path());
    eventually("the batch is parked", async || {
        let jobs = admin.ask("{ jobs(stuck: true) { batch phase } }").await;
        jobs["jobs"] == json!([{ "batch": 1, "phase": "parked" }])
    })
    .await;
    let status = admin.ask("{ status { alarms jobCount } }").await;
    assert!(status["status"]["alarms"][0].as_str().unwrap().contains("batch 1 is parked"), "{status}");
    assert!(handle.ready().await.is_err());
    let explained = admin.ask("{ explainBatch(number: 1) { waitsFor suspects { slot reason } } }").await;
    // The worker lied: nothing of the batch is wrong.
    assert_eq!(explained["explainBatch"]["suspects"], json!([]));

    world.bad_proofs.store(0, Ordering::Release);
    let requeue = "mutation { requeue(batch: 1) { status { paused } userErrors { code } } }";
    assert_eq!(admin.ask(requeue).await["requeue"]["userErrors"], json!([]));
    settle(&handle).await;
    assert_eq!(admin.ask("{ status { alarms } }").await["status"]["alarms"], json!([]));
    // A batch that has its proof cannot be sent out again, and nobody says it was.
    let done = admin.ask(&requeue.replace("{ code }", "{ code message }")).await;
    let refused = &done["requeue"]["userErrors"][0];
    assert_eq!((&refused["code"], &done["requeue"]["status"]), (&json!("ALREADY_PROVEN"), &Value::Null));
    assert!(refused["message"].as_str().unwrap().contains("(final)"), "{done}");
    let never = admin.ask(&requeue.replace("batch: 1", "batch: 999")).await;
    assert_eq!(never["requeue"]["userErrors"][0]["code"], "NO_SUCH_JOB");
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_drained_by_its_name_and_an_unknown_one_is_refused() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let admin = Admin::over(&handle, folder.path());
    eventually("the worker is there", async || !handle.workers().await.is_empty()).await;
    let drained = admin
        .ask("mutation { drainWorker(id: \"default/tagger\") { status { workers { id draining } } } }")
        .await;
    assert_eq!(
        drained["drainWorker"]["status"]["workers"][0],
        json!({ "id": "default/tagger", "draining": true })
    );
    for name in ["nobody", "no such name!"] {
        let refused = admin
            .ask(&format!("mutation {{ drainWorker(id: \"{name}\") {{ userErrors {{ code }} }} }}"))
            .await;
        assert_eq!(refused["drainWorker"]["userErrors"][0]["code"], "NO_SUCH_WORKER");
    }
    handle.shutdown().await;
}
