//! One id from the request to the transaction on L1; and the lines that each batch leaves in the log.

use std::fmt::{Debug, Write as _};

use ::tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use context::trace::TraceId;
use tracing_subscriber::{Layer, layer::Context, prelude::*};

use super::*;

/// Every span that was opened in this process: its name and fields.
static SPANS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What an operator reads without setting anything: the driver's events from level info on.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collect;

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Collect {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        SPANS.lock().unwrap().push(format!("{}{}", attributes.metadata().name(), fields.0));
    }

    fn on_event(&self, event: &::tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() <= ::tracing::Level::INFO {
            let mut fields = Fields::default();
            event.record(&mut fields);
            LINES.lock().unwrap().push(fields.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_followed_by_its_id_to_the_transaction_that_settles_it() {
    // The driver has a thread of its own, so nothing less than the whole process can be listened to.
    ::tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Collect)).unwrap();
    let metrics = api::metrics::handle().unwrap();
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    let request = TraceId::random();
    let sent = request.scope(send(&handle, &alice, &bob, 100, "s")).await.unwrap();
    settle(&handle).await;
    // Gauges are set once a second; that of promises is set last, and by the coordinators of other tests less often.
    eventually("the gauges are there", async || metrics.render().contains("proofmill_promises_missed "))
        .await;
    let batch = handle.batch(sent.batch_no).await.unwrap().unwrap();
    let tx = hex::encode(batch.l1_tx.unwrap());
    handle.shutdown().await;

    let id = request.to_string();
    let spans: Vec<String> =
        SPANS.lock().unwrap().iter().filter(|span| span.contains(&id)).cloned().collect();
    let mut rest = spans.iter();
    let story = [
        ("operation.accepted", sent.id.as_str()),
        ("batch.sealed", "s3m1"),
        ("job.granted", "tagger"),
        ("batch.proven", "tagger"),
        ("batch.signed", &tx),
        ("batch.mined", &tx),
        ("batch.final", &tx),
    ];
    for (name, detail) in story {
        assert!(
            rest.any(|span| span.starts_with(name) && span.contains(detail)),
            "{name} with {detail} does not follow in {spans:#?}"
        );
    }
    let (lines, batch) = (LINES.lock().unwrap().clone(), format!(" batch={} ", sent.batch_no));
    let of_batch: Vec<&String> = lines.iter().filter(|line| line.contains(&batch)).collect();
    let mut rest = of_batch.iter();
    for parts in [
        ["message=sealed", "circuit=\"s3m1\"", "operations=1"],
        ["message=proven", "worker=default/tagger", "since_sealed="],
        ["message=final on L1", "operations=1", &format!("tx=\"0x{tx}\"")],
    ] {
        assert!(
            rest.any(|line| parts.iter().all(|part| line.contains(part))),
            "{parts:?} does not follow in {of_batch:#?}"
        );
    }
    let metrics = metrics.render();
    for line in [
        "# HELP proofmill_queue_wait_seconds How long a job waits",
        "proofmill_queue_wait_seconds_count{circuit=\"s3m1\"}",
        "proofmill_proof_seconds_count{circuit=\"s3m1\",part=\"msm\"}",
        "proofmill_worker_accepted_proofs_total{worker=\"default/tagger\"}",
        "proofmill_settlement_total{what=\"final\"}",
        "proofmill_batch_gas_count",
        "proofmill_jobs{circuit=\"s3m1\",phase=",
        "proofmill_promises_missed ",
        "proofmill_leader_term",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}
