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

/// Of coordinators and workers: what our own crates do, and only trouble of others. The chain of the demo is as a node elsewhere is:
/// only its trouble is of interest.
pub const OF_A_SERVICE: &str = "warn,proofmill=info,api=info,coordinator=info,cuda=info,gpu_worker=info,icicle=info,l1=info,\
                                queue=info,store=info";
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// The crates of the workspace that write logs or spans, by the names that these have.
    fn that_log() -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folders = [root.clone(), root.join("crates")].map(|folder| fs::read_dir(folder).unwrap());
        let manifests = folders.into_iter().flatten().map(|entry| entry.unwrap().path().join("Cargo.toml"));
        let texts = manifests.filter_map(|path| fs::read_to_string(path).ok());
        let manifests = texts.map(|text| text.parse::<toml::Table>().unwrap());
        let logs = manifests.filter(|manifest| {
            manifest.get("dependencies").is_some_and(|dependencies| dependencies.get("tracing").is_some())
        });
        let name = |manifest: toml::Table| {
            let named = manifest.get("lib").unwrap_or(&manifest["package"])["name"].as_str();
            named.unwrap().to_owned()
        };
        logs.map(name).collect()
    }

    #[test]
    fn what_our_own_crates_do_is_shown_and_exported() {
        let named = |filter: &str| -> BTreeSet<String> {
            filter.split(',').filter_map(|part| Some(part.split_once('=')?.0.to_owned())).collect()
        };
        let mut expected = that_log();
        assert!(expected.remove("devchain"), "the chain of the demo is a node: only its trouble is shown");
        assert_eq!(named(OF_A_SERVICE), expected);
        #[cfg(feature = "otel")]
        assert_eq!(otel::OWN.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(), expected);
    }
}
