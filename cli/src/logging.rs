//! Where logs and spans go: to stderr by `PROOFMILL_LOG`; with the feature `otel` and `OTEL_EXPORTER_OTLP_ENDPOINT` spans go to
//! an OpenTelemetry collector too.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// What must live as long as the program, so that nothing of the last moments is lost.
pub struct Logging {
    #[cfg(feature = "otel")]
    provider: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// # Errors
/// If spans are to be exported and the exporter cannot be made.
pub fn init() -> eyre::Result<Logging> {
    let filter = EnvFilter::try_from_env("PROOFMILL_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // A worker quotes the last lines of its proving child.
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter);
    let registry = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otel")]
    {
        let provider = otel::provider()?;
        registry.with(provider.as_ref().map(otel::layer)).init();
        Ok(Logging { provider })
    }
    #[cfg(not(feature = "otel"))]
    {
        registry.init();
        Ok(Logging {})
    }
}

#[cfg(feature = "otel")]
impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.provider.take().map(|provider| provider.shutdown()) {
            eprintln!("the last spans were not exported: {error}");
        }
    }
}

#[cfg(feature = "otel")]
mod otel {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
    use tracing::Subscriber;
    use tracing_subscriber::{Layer, filter::LevelFilter, registry::LookupSpan};

    /// Says where the collector is, as for every OpenTelemetry exporter.
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

    /// Nothing without an endpoint.
    pub fn provider() -> eyre::Result<Option<SdkTracerProvider>> {
        if std::env::var_os(ENDPOINT).is_none() {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build()?;
        let resource = Resource::builder().with_service_name("proofmill").build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
        Ok(Some(provider.build()))
    }

    /// Our own spans, whatever the log says.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(
        provider: &SdkTracerProvider,
    ) -> impl Layer<S> + use<S> {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("proofmill"));
        let own = tracing_subscriber::filter::Targets::new().with_targets(
            ["coordinator", "gpu_worker", "wire", "proofmill"].map(|name| (name, LevelFilter::INFO)),
        );
        layer.with_filter(own)
    }
}
