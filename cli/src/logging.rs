//! Where logs and spans go: to stderr by `PROOFMILL_LOG`, as many warnings of each place in the code as `flood` allows; with the
//! feature `otel` and `OTEL_EXPORTER_OTLP_ENDPOINT` spans go to an OpenTelemetry collector too.

use std::io::IsTerminal;

use eyre::WrapErr;
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

/// Of coordinators and workers: what our own crates do, and only trouble of others.
pub const OF_A_SERVICE: &str =
    "warn,proofmill=info,coordinator=info,gpu_worker=info,wire=info,cuda=info,icicle=info";
/// Of everything that ends.
pub const OF_A_COMMAND: &str = "warn";

/// # Errors
/// If spans are to be exported and the exporter cannot be made, or `PROOFMILL_LOG` is no filter.
pub fn init(default: &str) -> eyre::Result<Logging> {
    let filter = match std::env::var("PROOFMILL_LOG") {
        Ok(directives) => EnvFilter::try_new(&directives)
            .wrap_err("PROOFMILL_LOG is no filter; write for example info or warn,coordinator=debug")?,
        Err(_) => EnvFilter::new(default),
    };
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
