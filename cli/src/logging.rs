//! Where logs and spans go: to stderr by `PROOFMILL_LOG`, as many warnings of each place in the code as `flood` allows; with the
//! feature `otel` and `OTEL_EXPORTER_OTLP_ENDPOINT` spans go to an OpenTelemetry collector too.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterExt, layer::SubscriberExt, util::SubscriberInitExt,
};

mod flood;
#[cfg(feature = "otel")]
mod otel;

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
        .with_filter(filter.and(flood::Flood::new(std::io::stderr)));
    let registry = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otel")]
    {
        let provider = otel::provider(std::env::var(otel::ENDPOINT).ok())?;
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
            say_error!("the last spans were not exported: {error}");
        }
    }
}
