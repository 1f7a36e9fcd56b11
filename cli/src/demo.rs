//! `demo`: the whole of proofmill in one process, and a script of real payments that goes through all of it.

mod script;
mod table;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use circuits::shape::Shape;
use clap::Args;
use client::api::Client;
use devchain::{DEV_ACCOUNTS, DevAccount, DevChain, Mining};
use eyre::{WrapErr, bail};
use gpu_worker::backend::{Choice, Kind};
use l1::{contract::types::Config as ContractConfig, node::AccountKey};
use protocol::{Address, l1::Finality, parse_address};
use script::{Places, Script};
use serde::{Deserialize, Serialize};
use store::mark::Loss;

use crate::{
    keys::{circuit_key, open_or_make_dev},
    node, redis,
    ui::{Spinner, hex},
};

/// A block a second: payments wait for proofs, not for blocks.
const BLOCK_TIME: Duration = Duration::from_secs(1);
const CONFIRMATIONS: u64 = 2;

#[derive(Args)]
pub struct Options {
    /// Where keys, chain and ledger live; one process at a time
    #[arg(long, default_value = "proofmill-data")]
    data_dir: PathBuf,
    /// Port of the API; 0 takes any free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port of the chain's JSON-RPC; 0 takes any free one
    #[arg(long, default_value_t = 8545, conflicts_with = "rpc")]
    rpc_port: u16,
    /// The circuit that proves the batches
    #[arg(long, default_value = "s3m1")]
    circuit: Shape,
    /// Stop after the table, with status 0 only if every operation became final
    #[arg(long)]
    exit: bool,
    /// A development node with the usual funded accounts, instead of the chain inside this process
    #[arg(long)]
    rpc: Option<String>,
    /// Prove nothing in this process; the workers take their jobs from Redis
    #[arg(long, requires = "redis_url")]
    no_local_worker: bool,
    #[command(flatten)]
    database: node::Database,
    #[command(flatten)]
    redis: redis::Options,
}

/// Which contract a data directory belongs to.
#[derive(Serialize, Deserialize)]
struct DeploymentFile {
    chain_id: u64,
    contract: String,
    first_block: u64,
    circuit: Shape,
    gas_used: u64,
}

/// # Errors
/// If anything cannot start, or with `--exit` if an operation did not become final.
pub async fn run(options: Options) -> eyre::Result<()> {
    say!("proofmill demo, data in {}", options.data_dir.display());
    fs::create_dir_all(&options.data_dir)
        .wrap_err_with(|| format!("cannot make the folder {}", options.data_dir.display()))?;
    ports_are_free(&options)?;
    let keys_dir = options.data_dir.join("keys");
    let shape = options.circuit;
    let pinned = {
        let keys_dir = keys_dir.clone();
        tokio::task::spawn_blocking(move || -> eyre::Result<_> {
            let matrices = gpu_worker::matrices(shape)?;
            circuit_key(shape, &open_or_make_dev(&keys_dir, shape, &matrices)?)
        })
        .await??
    };

    let chain = match &options.rpc {
        Some(_) => None,
        None => Some(
            DevChain::start(devchain::Config {
                mining: Mining::Interval(BLOCK_TIME),
                data_dir: Some(options.data_dir.join("chain")),
                finality_depth: CONFIRMATIONS,
                port: options.rpc_port,
                ..devchain::Config::default()
            })
            .await?,
        ),
    };
    let rpc_url = match (&options.rpc, &chain) {
        (Some(url), _) => url.clone(),
        (None, Some(chain)) => chain.url(),
        (None, None) => bail!("there is no chain to run on"),
    };
    let [operator, people @ ..] = DEV_ACCOUNTS.map(|account| account.private_key);
    let deployment = deploy_once(&options.data_dir, &rpc_url, operator, shape, &pinned).await?;
    let contract = parse_address(&deployment.contract)?;

    let spinner = Spinner::new("coordinator and worker start");
    let node = node::start(node::Settings {
        data_dir: options.data_dir.clone(),
        keys_dir,
        rpc: vec![(&rpc_url).into()],
        contract,
        first_block: deployment.first_block,
        operator_key: operator.to_owned(),
        database: options.database.clone(),
        store: None,
        loss: Loss::Refuse,
        deployment: None,
        redis: options.redis.redis_url.is_some().then(|| options.redis.clone()),
        remote_signer: None,
        shapes: vec![shape],
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: options.port,
        origins: Vec::new(),
        proxies: api::Proxies::default(),
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        finality: Finality::Confirmations(CONFIRMATIONS),
        poll: Duration::from_millis(250),
        max_fee: coordinator::Config::default().max_fee,
        log_range: coordinator::Config::default().log_range,
        admission: node::Admission::default(),
        local_worker: (!options.no_local_worker).then_some((Choice::Only(Kind::Cpu), 0)),
        limits: None,
    })
    .await?;
    spinner.done("coordinator and worker are up");
    say!("  API and GraphiQL: {}", node.api.url);
    say!("  chain (JSON-RPC): {rpc_url}, contract {}", hex(&contract));
    say!("  the key of {shape} is UNSAFE, for development chains only");
    say!("  funded accounts for you; their keys are PUBLIC, never send anything of value to them:");
    for account in spare_accounts() {
        say!("    {} key 0x{}", account.address, account.private_key);
    }

    let outcome = tokio::select! {
        outcome = play(&options.data_dir, &rpc_url, &node.api.url, contract, [people[0], people[1], people[2]]) => Some(outcome),
        signal = crate::stop_signal() => {
            signal?;
            None
        }
    };
    let all_final = match outcome {
        Some(outcome) => {
            let all_final = outcome?;
            if !options.exit {
                say!("  running; Ctrl-C stops");
                crate::stop_signal().await?;
            }
            all_final
        }
        None => false,
    };
    let spinner = Spinner::new("draining");
    node.drain().await?;
    if let Some(chain) = chain {
        chain.shutdown().await?;
    }
    spinner.done("stopped; the next start with the same data directory goes on from here");
    if options.exit && !all_final {
        bail!("not every operation became final");
    }
    Ok(())
}

/// Accounts of the development chain that neither the operator nor the script's people use.
fn spare_accounts() -> &'static [DevAccount] {
    &DEV_ACCOUNTS[4..]
}

/// Looks at the ports before anything is made: a contract that nobody can reach is of no use.
fn ports_are_free(options: &Options) -> eyre::Result<()> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    node::is_free(at(options.port), "--port")?;
    if options.rpc.is_none() {
        node::is_free(at(options.rpc_port), "--rpc-port")?;
    }
    Ok(())
}

/// The script, then the table. Returns whether all of it is final.
async fn play(
    data_dir: &Path,
    rpc_url: &str,
    api_url: &str,
    contract: Address,
    keys: [&str; 3],
) -> eyre::Result<bool> {
    let wallets = &data_dir.join("wallets");
    let places = Places { rpc_url, api_url, contract, wallets, keys };
    let journal = Script::new(&places, data_dir.join("demo.json")).await?.run().await?;
    let mut people = Vec::new();
    for (name, key) in ["Alice", "Bob", "Carol"].into_iter().zip(keys) {
        people.push((name, AccountKey::from_hex(key)?.address()));
    }
    table::print(&Client::new(api_url), &people, &journal).await
}

/// Deploys the contract for this data directory unless that was done before.
async fn deploy_once(
    data_dir: &Path,
    rpc_url: &str,
    operator: &str,
    shape: Shape,
    pinned: &l1::contract::types::CircuitKey,
) -> eyre::Result<DeploymentFile> {
    let path = data_dir.join("deployment.json");
    if let Ok(bytes) = fs::read(&path) {
        let deployment: DeploymentFile =
            serde_json::from_slice(&bytes).wrap_err_with(|| format!("{} is damaged", path.display()))?;
        if deployment.circuit != shape {
            bail!(
                "this data directory was made for the circuit {}; pass --circuit {} or another --data-dir",
                deployment.circuit,
                deployment.circuit
            );
        }
        return Ok(deployment);
    }
    let spinner = Spinner::new("the contract is deployed");
    let key = AccountKey::from_hex(operator)?;
    let config = ContractConfig::new(key.address());
    let deployed = l1::node::deploy(rpc_url, &key, &config, std::slice::from_ref(pinned)).await?;
    let deployment = DeploymentFile {
        chain_id: deployed.chain_id,
        contract: hex(&deployed.contract),
        first_block: deployed.block,
        circuit: shape,
        gas_used: deployed.gas_used,
    };
    // Written whole or not at all: a crash in between deploys a second contract and forgets the first.
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, serde_json::to_vec_pretty(&deployment)?)?;
    fs::rename(&temporary, &path)?;
    spinner.done(format!("the contract is deployed ({} gas)", deployed.gas_used));
    Ok(deployment)
}
