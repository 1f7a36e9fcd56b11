//! `doctor`: what this machine has, and whether what is configured can be reached. Says what to do for each thing missing.
//!
//! A machine without a card or driver is no fault: it proves on the CPU.

use std::path::PathBuf;

use circuits::shape::Shape;
use clap::Args;
use coordinator::api::client::Client;
use eyre::WrapErr;
use gpu_worker::{
    backend::{Choice, Kind, SelectError, Selection, select},
    card::{self, CardError},
};
use prover::BackendError;
use serde_json::{Value, json};
use wire::{
    CardReading,
    queue::redis::{Finding, Verdict, inspect},
};

use crate::{keys, redis};

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
    #[command(flatten)]
    redis: redis::Options,
}

/// One line: good or bad, and the words.
fn line(good: bool, what: &str, detail: impl AsRef<str>) -> bool {
    say!("  {} {what:<22} {}", if good { "✓" } else { "✗" }, detail.as_ref());
    good
}

/// # Errors
/// If anything that was asked about is not as it should be.
pub async fn run(options: Options) -> eyre::Result<()> {
    let mut good = true;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    line(true, "cores", format!("{cores}"));
    backends().await?;
    good &= cards(tokio::task::spawn_blocking(|| card::survey(None)).await?);
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
    if options.redis.redis_url.is_some() {
        good &= queue(&options.redis).await?;
    }
    eyre::ensure!(good, "something needs attention, see above");
    Ok(())
}

/// One line for each thing about the farm's Redis.
async fn queue(options: &redis::Options) -> eyre::Result<bool> {
    let settings = options.settings(options.redis_prefix.as_deref().unwrap_or("pm:doctor"))?;
    let findings = match inspect(&settings).await {
        Ok(findings) => findings,
        Err(error) => return Ok(line(false, "redis", error.to_string())),
    };
    let say = |finding: &Finding| match finding.verdict {
        Verdict::Good => line(true, finding.what, &finding.detail),
        Verdict::Risky => line(true, finding.what, format!("WARNING: {}", finding.detail)),
        Verdict::Bad => line(false, finding.what, &finding.detail),
    };
    Ok(findings.iter().map(say).fold(true, |all, one| all & one))
}

/// One line for each backend: what it would prove on, or why it is not here, which is no fault.
async fn backends() -> eyre::Result<()> {
    let program = std::env::current_exe().wrap_err("cannot find this program to start it as a child")?;
    for kind in [Kind::Cuda, Kind::Icicle] {
        let selection = Selection { choice: Choice::Only(kind), device: 0, program: program.clone() };
        let detail = match tokio::task::spawn_blocking(move || select(&selection)).await? {
            Ok(selected) => selected.to_string(),
            Err(SelectError::Named { source: BackendError::Device { reason, .. }, .. }) => {
                format!("not here: {reason}")
            }
            Err(error) => format!("not here: {error}"),
        };
        line(true, &format!("backend {kind}"), detail);
    }
    line(true, "backend cpu", "portable, always here");
    Ok(())
}

/// One line for each card: what it is, and why it would take no work.
fn cards(found: Result<Vec<CardReading>, CardError>) -> bool {
    match found {
        Err(CardError::NoDriver(_)) => {
            line(true, "card", "no NVIDIA driver: proving on the CPU; install the driver to use a card")
        }
        Err(error) => line(false, "card", error.to_string()),
        Ok(cards) if cards.is_empty() => {
            line(true, "card", "the NVIDIA driver knows no card: proving on the CPU")
        }
        Ok(cards) => {
            // Every card gets its line, so no short-circuit.
            let healthy = cards.iter().enumerate().map(|(number, card)| {
                let detail = match &card.sick {
                    None => format!("{}; it would take work", describe(card)),
                    Some(reason) => format!("{}; it would take no work: {reason}", describe(card)),
                };
                line(card.sick.is_none(), &format!("card {number}"), detail)
            });
            healthy.fold(true, |all, one| all & one)
        }
    }
}

/// What is known of a card, in a line.
fn describe(card: &CardReading) -> String {
    let gib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 30));
    let memory = card.memory_free.zip(card.memory_total);
    let heat = card.temperature.map(|degrees| match card.slowdown_temperature {
        Some(slowdown) => format!("{degrees} °C (slows down at {slowdown})"),
        None => format!("{degrees} °C"),
    });
    let watts = |milliwatts: u32| f64::from(milliwatts) / 1000.0;
    let power = card.power.map(|power| match card.power_limit {
        Some(limit) => format!("{:.0} of {:.0} W", watts(power), watts(limit)),
        None => format!("{:.0} W", watts(power)),
    });
    let parts = [
        Some(card.name.clone().unwrap_or_else(|| "an unnamed card".to_owned())),
        card.uuid.clone(),
        card.driver.as_ref().map(|driver| format!("driver {driver}")),
        memory.map(|(free, total)| format!("{} of {} GiB free", gib(free), gib(total))),
        heat,
        power,
        card.mig.filter(|split| *split).map(|_| "split into instances (MIG)".to_owned()),
        card.foreign_processes.filter(|count| *count > 0).map(|count| format!("{count} foreign processes")),
        card.ecc_uncorrected
            .filter(|errors| *errors > 0)
            .map(|errors| format!("{errors} uncorrectable memory errors since the driver was loaded")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

async fn chain_id(url: &str) -> eyre::Result<u64> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] });
    let reply: Value = reqwest::Client::new().post(url).json(&body).send().await?.json().await?;
    let text = reply["result"].as_str().unwrap_or_default();
    Ok(u64::from_str_radix(text.trim_start_matches("0x"), 16)?)
}
