//! `doctor`: what this machine has, and whether what is configured can be reached. Says what to do for each thing missing.

use std::path::PathBuf;

use circuits::shape::Shape;
use clap::Args;
use coordinator::api::client::Client;
use serde_json::{Value, json};

use crate::keys;

#[derive(Args)]
pub struct Options {
    /// Where the keys are
    #[arg(long, default_value = "proofmill-data/keys")]
    keys: PathBuf,
    /// An Ethereum node to look at
    #[arg(long)]
    rpc: Option<String>,
    /// A coordinator to look at
    #[arg(long)]
    api: Option<String>,
}

/// One line: good or bad, and the words.
fn line(good: bool, what: &str, detail: impl AsRef<str>) -> bool {
    println!("  {} {what:<22} {}", if good { "✓" } else { "✗" }, detail.as_ref());
    good
}

/// # Errors
/// If anything that was asked about is not as it should be.
pub async fn run(options: Options) -> eyre::Result<()> {
    let mut good = true;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    line(true, "cores", format!("{cores}"));
    line(true, "backend", "cpu (portable)");
    for shape in Shape::ALL {
        let path = gpu_worker::key_path(&options.keys, shape);
        if !path.exists() {
            continue;
        }
        good &= match keys::open(&path, None) {
            Ok(key) => {
                let safety =
                    if key.origin().is_safe() { "from a ceremony" } else { "UNSAFE development key" };
                line(true, &format!("key of {shape}"), format!("{safety}, all checksums right"))
            }
            Err(error) => line(false, &format!("key of {shape}"), format!("{error:#}")),
        };
    }
    if let Some(url) = &options.rpc {
        good &= match chain_id(url).await {
            Ok(id) => line(true, "node", format!("{url}, chain id {id}")),
            Err(error) => {
                line(false, "node", format!("{url} does not answer: {error:#}; start it or correct --rpc"))
            }
        };
    }
    if let Some(url) = &options.api {
        good &= match Client::new(url).system().await {
            Ok(system) => {
                let alarm = system.intake_alarm.clone();
                let state = format!(
                    "batch {} open, {} proven, {} final{}",
                    system.progress.open_batch,
                    system.progress.proven_batch,
                    system.progress.final_batch,
                    alarm.as_deref().map_or_else(String::new, |alarm| format!("; ALARM: {alarm}")),
                );
                line(alarm.is_none(), "coordinator", state)
            }
            Err(error) => line(false, "coordinator", error.to_string()),
        };
    }
    eyre::ensure!(good, "something needs attention, see above");
    Ok(())
}

async fn chain_id(url: &str) -> eyre::Result<u64> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] });
    let reply: Value = reqwest::Client::new().post(url).json(&body).send().await?.json().await?;
    let text = reply["result"].as_str().unwrap_or_default();
    Ok(u64::from_str_radix(text.trim_start_matches("0x"), 16)?)
}
