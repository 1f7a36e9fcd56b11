//! `doctor`: what this machine has, and whether what is configured can be reached. Says what to do for each thing missing.
//!
//! A machine without a card or driver is no fault: it proves on the CPU.

use std::path::PathBuf;

use circuits::shape::Shape;
use clap::Args;
use client::api::{Client, System};
use eyre::WrapErr;
use gpu_worker::{
    backend::{Choice, Kind, SelectError, Selection, select},
    card::{self, CardError},
};
use l1::{
    http::{Endpoint, HttpClient, HttpLimits},
    node::Contract,
};
use prover::BackendError;
use queue::{
    QueueError,
    redis::{Finding, Verdict, deployment_prefix, inspect, inspect_pool},
};
use serde_json::Value;
use wire::{CardReading, PoolName};

use crate::{keys, redis, tls::Trust, ui::hex};

#[derive(Args)]
pub struct Options {
    /// Where the keys are
    #[arg(long, default_value = "proofmill-data/keys")]
    keys: PathBuf,
    /// An Ethereum node to look at
    #[arg(long, env = "PROOFMILL_RPC")]
    rpc: Option<String>,
    /// A coordinator to look at; with --rpc, whether both speak of the same contract
    #[arg(long, env = "PROOFMILL_API")]
    api: Option<String>,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    redis: redis::Options,
    /// A pool whose Redis user is looked at, of the deployment that --redis-prefix names, or the coordinator at --api
    #[arg(long)]
    pool: Option<PoolName>,
}

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    /// Not here, and no fault.
    Absent,
    /// Works, until something else goes wrong.
    Risky,
    Bad,
}

/// One line; whether it is no fault.
fn mark(mark: Mark, what: &str, detail: impl AsRef<str>) -> bool {
    let sign = match mark {
        Mark::Good => "✓",
        Mark::Absent => "–",
        Mark::Risky => "!",
        Mark::Bad => "✗",
    };
    say!("  {sign} {what:<22} {}", detail.as_ref());
    mark != Mark::Bad
}

/// One line: good or bad, and the words.
fn line(good: bool, what: &str, detail: impl AsRef<str>) -> bool {
    mark(if good { Mark::Good } else { Mark::Bad }, what, detail)
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
                let safety = if key.origin().is_safe() {
                    "from a ceremony"
                } else {
                    "UNSAFE, for development chains only"
                };
                line(true, &format!("key of {shape}"), format!("{safety}, all checksums right"))
            }
            Err(error) => line(false, &format!("key of {shape}"), format!("{error:#}")),
        };
    }
    if let Some(url) = &options.rpc {
        good &= match l1::node::chain_id(options.trust.endpoint(url)).await {
            Ok(id) => line(true, "node", format!("{url}, chain id {id}")),
            Err(error) => line(false, "node", format!("{url}: {error}; start it or correct --rpc")),
        };
    }
    let mut deployment = options.redis.redis_prefix.clone();
    if let Some(url) = &options.api {
        good &= match Client::new(options.trust.endpoint(url)).system().await {
            Ok(system) => {
                if let Some(rpc) = &options.rpc {
                    good &= same_deployment(&system, options.trust.endpoint(rpc)).await;
                }
                deployment.get_or_insert(deployment_prefix(system.chain_id, &hex(&system.contract)));
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
    if let Some(url) = &options.api {
        good &= health(url, &options.trust).await;
    }
    if options.redis.redis_url.is_some() {
        good &= queue(&options, deployment.as_deref()).await?;
    }
    eyre::ensure!(good, "something needs attention, see above");
    Ok(())
}

/// One line for each reason why the coordinator is not ready.
async fn health(url: &str, trust: &Trust) -> bool {
    let base = url.trim_end_matches('/');
    let ask = async |path: &str| -> eyre::Result<(u16, Value)> {
        let http = HttpClient::new(&trust.endpoint(&format!("{base}{path}")), HttpLimits::default())?;
        let answer = http.get().await?;
        Ok((answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default()))
    };
    let mut good = match ask("/health/live").await {
        Ok((200, _)) => true,
        Ok((_, body)) => line(false, "live", body["reason"].as_str().unwrap_or("it does not say why not")),
        Err(error) => return line(false, "health", format!("{error:#}")),
    };
    good &= match ask("/health/ready").await {
        Ok((200, body)) => {
            line(true, "ready", "it accepts, proves and settles");
            tell(&body["warnings"], true, "but");
            true
        }
        Ok((_, body)) => {
            tell(&body["warnings"], true, "besides");
            if !tell(&body["reasons"], false, "not ready") {
                line(false, "not ready", "it does not say why");
            }
            false
        }
        Err(error) => line(false, "health", format!("{error:#}")),
    };
    good
}

/// A line for each of these reasons; whether there are any.
fn tell(reasons: &Value, good: bool, what: &str) -> bool {
    let reasons = reasons.as_array().map(Vec::as_slice).unwrap_or_default();
    for reason in reasons {
        let of = |name: &str| reason[name].as_str().unwrap_or_default();
        line(good, what, format!("{}: {}", of("code"), of("text")));
    }
    !reasons.is_empty()
}

/// Whether the coordinator speaks of what the node has: a wallet that believed one of them would pay into another contract.
async fn same_deployment(system: &System, rpc: Endpoint) -> bool {
    let (chain_id, contract) = match Contract::open(rpc, system.contract).await {
        Ok(opened) => opened,
        Err(error) => return line(false, "contract", format!("the coordinator's, on the node: {error}")),
    };
    let mut differs = Vec::new();
    if chain_id != system.chain_id {
        differs.push(format!("the coordinator's chain is {}, the node's {chain_id}", system.chain_id));
    }
    match contract.operator().await {
        Ok(operator) if operator == system.operator => {}
        Ok(operator) => differs.push(format!("the contract's operator is {}", hex(&operator))),
        Err(error) => differs.push(error.to_string()),
    }
    match contract.is_promise_signer(system.promise_signer).await {
        Ok(true) => {}
        Ok(false) => differs.push(format!("{} may not sign promises", hex(&system.promise_signer))),
        Err(error) => differs.push(error.to_string()),
    }
    for circuit in &system.circuits {
        match contract.circuit(circuit.number).await {
            Ok(Some(known)) if known.digest == circuit.digest => {}
            Ok(Some(_)) => differs.push(format!("the contract pins another version of {}", circuit.name)),
            Ok(None) => differs.push(format!("the contract does not know {}", circuit.name)),
            Err(error) => differs.push(error.to_string()),
        }
    }
    if differs.is_empty() {
        return line(
            true,
            "contract",
            format!("{}, the same for coordinator and node", hex(&system.contract)),
        );
    }
    line(false, "contract", format!("coordinator and node differ: {}", differs.join("; ")))
}

/// One line for each thing about the farm's Redis. `deployment` is the first part of its keys.
async fn queue(options: &Options, deployment: Option<&str>) -> eyre::Result<bool> {
    let settings = options.redis.settings(deployment.unwrap_or("pm:doctor"))?;
    let looked_at = options.pool.as_ref().filter(|_| deployment.is_some());
    let findings = match inspect(&settings, looked_at.map_or(&[], std::slice::from_ref)).await {
        Ok(findings) => {
            if looked_at.is_none() {
                let what = "no user was looked at: name a pool with --pool, and its deployment with --redis-prefix or --api";
                mark(Mark::Absent, "redis pool", what);
            }
            findings
        }
        // A user that may not ask about the server is a pool's: what is left to see is what it may do.
        Err(QueueError::Refused(_)) => {
            let pool = options.pool.clone().unwrap_or_default();
            match inspect_pool(&settings, &pool).await {
                Ok(findings) => findings,
                Err(error) => return Ok(line(false, "redis", error.to_string())),
            }
        }
        Err(error) => return Ok(line(false, "redis", error.to_string())),
    };
    let say = |finding: &Finding| match finding.verdict {
        Verdict::Good => line(true, finding.what, &finding.detail),
        Verdict::Risky => mark(Mark::Risky, finding.what, &finding.detail),
        Verdict::Bad => line(false, finding.what, &finding.detail),
    };
    Ok(findings.iter().map(say).fold(true, |all, one| all & one))
}

/// One line for each backend: what it would prove on, or why it is not here, which is no fault.
async fn backends() -> eyre::Result<()> {
    let program = std::env::current_exe().wrap_err("cannot find this program to start it as a child")?;
    for kind in [Kind::Cuda, Kind::Icicle] {
        let selection = Selection { choice: Choice::Only(kind), device: 0, program: program.clone() };
        let (here, detail) = match tokio::task::spawn_blocking(move || select(&selection)).await? {
            Ok(selected) => (Mark::Good, selected.to_string()),
            Err(SelectError::Named { source: BackendError::Device { reason, .. }, .. }) => {
                (Mark::Absent, format!("not here: {reason}"))
            }
            Err(error) => (Mark::Absent, format!("not here: {error}")),
        };
        mark(here, &format!("backend {kind}"), detail);
    }
    line(true, "backend cpu", "portable, always here");
    Ok(())
}

/// One line for each card: what it is, and why it would take no work.
fn cards(found: Result<Vec<CardReading>, CardError>) -> bool {
    match found {
        Err(CardError::NoDriver(_)) => {
            let detail = "no NVIDIA driver: proving on the CPU; install the driver to use a card";
            mark(Mark::Absent, "card", detail)
        }
        Err(error) => line(false, "card", error.to_string()),
        Ok(cards) if cards.is_empty() => {
            mark(Mark::Absent, "card", "the NVIDIA driver knows no card: proving on the CPU")
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
