//! Spans for an OpenTelemetry collector, by OTLP over HTTP.
//!
//! A span that names a request (`trace_id`) is part of that request's trace, under the id that its caller sent; one that names
//! several (`trace_ids`: a batch) is part of the first one's, and the others find it by the attribute.

use std::cell::Cell;

use opentelemetry::{SpanId, TraceId, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider},
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    registry::LookupSpan,
};

/// Says where the collector is, as for every OpenTelemetry exporter.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

thread_local! {
    /// The trace of the span that is about to begin on this thread.
    static BEGINS_IN: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Nothing without an endpoint.
///
/// # Errors
/// If the exporter cannot be made.
pub fn provider(endpoint: Option<String>) -> eyre::Result<Option<SdkTracerProvider>> {
    let Some(endpoint) = endpoint else { return Ok(None) };
    let traces = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(traces).build()?;
    let resource = Resource::builder().with_service_name("proofmill").build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_id_generator(OfRequest::default())
        .with_resource(resource);
    Ok(Some(provider.build()))
}

/// Whose spans are our own.
pub const OWN: [&str; 9] =
    ["proofmill", "api", "coordinator", "cuda", "gpu_worker", "icicle", "l1", "queue", "store"];

/// Our own spans, whatever the log says.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S> {
    let layer = Joined(tracing_opentelemetry::layer().with_tracer(provider.tracer("proofmill")));
    let own = Targets::new().with_targets(OWN.map(|name| (name, LevelFilter::INFO)));
    layer.with_filter(own)
}

/// Traces begin with the id of their request, if there is one.
#[derive(Debug, Default)]
struct OfRequest(RandomIdGenerator);

impl IdGenerator for OfRequest {
    fn new_trace_id(&self) -> TraceId {
        BEGINS_IN.get().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// The layer of OpenTelemetry, which begins a span when it is entered first, or at its end.
struct Joined<L>(L);

/// The trace of the first request that a span names; kept with it.
#[derive(Clone, Copy, Default)]
struct Request(Option<TraceId>);

impl Visit for Request {
    fn record_str(&mut self, field: &Field, value: &str) {
        if matches!(field.name(), "trace_id" | "trace_ids") {
            let first = value.split(',').next().unwrap_or_default();
            self.0 = TraceId::from_hex(first).ok().filter(|id| *id != TraceId::INVALID);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Runs `begin` with the trace of the span in its place.
fn in_trace<S: Subscriber + for<'a> LookupSpan<'a>>(id: &Id, context: &Context<'_, S>, begin: impl FnOnce()) {
    let request = context.span(id).and_then(|span| span.extensions().get::<Request>().copied());
    BEGINS_IN.set(request.and_then(|request| request.0));
    begin();
    BEGINS_IN.set(None);
}

impl<S: Subscriber + for<'a> LookupSpan<'a>, L: Layer<S>> Layer<S> for Joined<L> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut request = Request::default();
        attributes.record(&mut request);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(request);
        }
        self.0.on_new_span(attributes, id, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        in_trace(id, &context.clone(), || self.0.on_enter(id, context));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        in_trace(&id.clone(), &context.clone(), || self.0.on_close(id, context));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        self.0.on_follows_from(id, follows, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.0.on_event(event, context);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        net::TcpListener,
        thread,
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Takes one export and gives its path and body.
    fn collector() -> (String, thread::JoinHandle<(String, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let taken = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let (mut path, mut length) = (String::new(), 0);
            lines.read_line(&mut path).unwrap();
            loop {
                let mut line = String::new();
                lines.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            lines.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            (path, body)
        });
        (endpoint, taken)
    }

    fn position(body: &[u8], part: &[u8]) -> Option<usize> {
        body.windows(part.len()).position(|window| window == part)
    }

    #[test]
    fn a_collector_gets_the_spans_of_a_request_under_its_id() {
        let (endpoint, taken) = collector();
        let provider = provider(Some(endpoint)).unwrap().unwrap();
        let ours = tracing_subscriber::registry().with(layer(&provider));
        let (first, second) = ("4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c");
        tracing::subscriber::with_default(ours, || {
            tracing::info_span!("request", trace_id = %first).in_scope(|| {});
            // Never entered: it begins at its end.
            drop(tracing::info_span!("operation.accepted", trace_id = %first));
            let of_both = format!("{second},{first}");
            tracing::info_span!("batch.sealed", batch = 1, trace_ids = of_both).in_scope(|| {});
            tracing::info_span!("on.its.own").in_scope(|| {});
            tracing::info_span!("batch.final", trace_ids = "").in_scope(|| {});
            tracing::info_span!(target: "hyper", "foreign").in_scope(|| {});
        });
        provider.shutdown().unwrap();
        let (path, body) = taken.join().unwrap();
        assert!(path.starts_with("POST /v1/traces "), "{path}");
        // In protobuf a span begins with its trace id and its own, each behind two bytes, then its name if it has no parent.
        let trace = |name: &str| {
            let field = [&[0x2a, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
            let at = position(&body, &field).unwrap_or_else(|| panic!("{name} was not exported"));
            hex::encode(&body[at - 26..at - 10])
        };
        for (name, of) in [("request", first), ("operation.accepted", first), ("batch.sealed", second)] {
            assert_eq!(trace(name), of, "{name}");
        }
        for name in ["on.its.own", "batch.final"] {
            assert!(![first, second].contains(&trace(name).as_str()), "{name}");
        }
        assert_eq!(position(&body, b"foreign"), None);
    }
}
