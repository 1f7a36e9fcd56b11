//! `deploy`: the contract, with recommended settings explained, once.
//!
//! Invariant: nothing is sent before all of it was shown and confirmed, and before the signed transaction lies on the disk. A
//! command that is repeated after a lost answer finds the contract of the first.
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | the contract's settings as a TOML file |
//! | `file` | the deployment file that `coordinator` takes |
//! | `journal` | the transactions, kept before they are sent |
//! | `toml_file` | reading TOML, bounded |

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
};

use circuits::shape::Shape;
use clap::Args;
use eyre::{WrapErr, bail, ensure, eyre};
use gpu_worker::key_path;
use l1::{
    contract::{
        calls,
        settings::in_words,
        types::{CircuitKey, Config},
    },
    http::Endpoint,
    node::{AccountKey, Broadcast, Contract, DEV_CHAIN_IDS, Deployed, Deployer, Plan, TxError},
};
use protocol::{
    eth,
    l1::{ChainError, Fees},
};

mod file;
#[cfg(all(test, unix))]
mod hostile;
mod journal;
mod settings;
mod toml_file;

use file::Circuit;
pub use file::Deployment;
use journal::Journal;

use crate::{
    keys::{circuit_key, open},
    tls::Trust,
    ui::{Spinner, hex},
};

#[derive(Args)]
pub struct Options {
    /// The Ethereum node, http:// or https://. Of several, separated by commas or given again, the first that answers is asked;
    /// all that answer must be of one chain
    #[arg(
        long,
        env = "PROOFMILL_RPC",
        value_name = "URL",
        value_delimiter = ',',
        required_unless_present = "print_config"
    )]
    rpc: Vec<String>,
    #[command(flatten)]
    trust: Trust,
    /// The key of the account that deploys, 64 hex digits in a file that only you can read; the operator's, unless --config
    /// names another operator
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    key_file: Option<PathBuf>,
    /// The contract's settings, TOML; without it the recommended ones
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the recommended settings, each explained, as a file for --config, and do nothing else
    #[arg(long)]
    print_config: bool,
    /// Circuits that the contract accepts, separated by commas; none can be added later
    #[arg(long, value_delimiter = ',', default_value = "s3m1")]
    circuits: Vec<Shape>,
    /// Where their keys are
    #[arg(long, value_name = "DIR", default_value = "proofmill-data/keys")]
    keys: PathBuf,
    /// The deployment file, which `coordinator --deployment` takes
    #[arg(long, value_name = "FILE", default_value = "deployment.toml")]
    out: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// # Errors
/// If a file is missing or wrong, the node or the contract refuses, or nobody says yes.
pub async fn run(options: Options) -> eyre::Result<()> {
    if options.print_config {
        say!("{}", settings::explained().trim_end());
        return Ok(());
    }
    let Some(key_file) = &options.key_file else { bail!("pass --key-file") };
    let key = read_key(key_file)?;
    let account = key.address();
    let config = match &options.config {
        Some(path) => settings::read(path, account)?,
        None => settings::recommended(account),
    };
    let circuits = {
        let (shapes, folder) = (options.circuits.clone(), options.keys.clone());
        tokio::task::spawn_blocking(move || pinned(&shapes, &folder)).await??
    };
    let nodes: Vec<Endpoint> = options.rpc.iter().map(|rpc| options.trust.endpoint(rpc)).collect();
    let (deployer, node) = &connect(&nodes, &key).await?;
    if options.out.exists() {
        return deployed_already(&options.out, node, deployer.chain_id()).await;
    }
    refuse_unsafe(deployer.chain_id(), &circuits)?;
    ensure!(
        deployer.balance().await? > 0,
        "the account {} has no ether on chain {}; send it some, a deployment takes about 8,500,000 gas",
        hex(&account),
        deployer.chain_id()
    );
    let keys: Vec<CircuitKey> = circuits.iter().map(|(_, key, _)| key.clone()).collect();
    let code = calls::deploy_bytecode(&config, &keys);
    let path = Journal::path_beside(&options.out);
    let mut begun = Journal::find(&path, deployer.chain_id(), &account, &code)?;
    if let Some(journal) = &begun
        && is_void(deployer, node, journal).await?
    {
        say!("  an earlier deployment with nonce {} made no contract; there is a new one", journal.nonce);
        journal.remove()?;
        begun = None;
    }
    let mut journal = match begun {
        Some(journal) => {
            say!("  going on with the deployment in {}", path.display());
            journal
        }
        None => {
            let nonce = deployer.plan(&code).await?.nonce;
            Journal::begin(path, deployer.chain_id(), &account, nonce, &code)
        }
    };
    let mut broadcast = Broadcast::Again;
    if deployer.look(&journal.transactions()?).await?.is_none() {
        let before = journal.last_fees();
        sign(deployer, &options, &mut journal, &config, &circuits, &code).await?;
        if before.is_none() {
            broadcast = Broadcast::First;
        }
    }
    let spinner = Spinner::new("the contract is deployed");
    let kept = |path: &Path| format!("the transaction is kept in {}: run the command again", path.display());
    let deployed = match deployer.finish(&journal.transactions()?, broadcast).await {
        Err(error @ TxError::NotTaken(_)) if broadcast == Broadcast::First => {
            journal.refused()?;
            return Err(eyre!(error).wrap_err(kept(&options.out.with_extension("journal"))));
        }
        finished => finished.wrap_err_with(|| kept(&options.out.with_extension("journal")))?,
    };
    spinner.done(format!(
        "contract {} in block {} ({} gas, transaction {})",
        hex(&deployed.contract),
        deployed.block,
        deployed.gas_used,
        hex(&deployed.tx)
    ));
    file_of(&deployed, &config, &circuits).write(&options.out)?;
    journal.remove()?;
    let (out, keys) = (options.out.display(), options.keys.display());
    say!("  ✓ {out} is written; start the coordinator with");
    let rpc = options.rpc.join(",");
    say!("    proofmill coordinator --deployment {out} --rpc {rpc} --keys {keys} --operator-key FILE");
    Ok(())
}

/// The first node that answers, and where it is. Those that are away are passed over, unless all are.
async fn connect(nodes: &[Endpoint], key: &AccountKey) -> eyre::Result<(Deployer, Endpoint)> {
    let (mut first, mut failed): (Option<(Deployer, Endpoint)>, _) = (None, None);
    for node in nodes {
        match (Deployer::connect(node.clone(), key.clone()).await, &first) {
            (Ok(deployer), None) => first = Some((deployer, node.clone())),
            (Ok(other), Some((deployer, _))) => ensure!(
                other.chain_id() == deployer.chain_id(),
                "{} is of chain {}, the first node of chain {}; pass nodes of one chain with --rpc",
                node.host(),
                other.chain_id(),
                deployer.chain_id()
            ),
            (Err(error @ ChainError::Unreachable(_)), _) => failed = failed.or(Some(error)),
            (Err(error), _) => return Err(error.into()),
        }
    }
    match (first, failed) {
        (Some(first), _) => Ok(first),
        (None, Some(error)) => Err(error.into()),
        (None, None) => bail!("pass --rpc"),
    }
}

/// Signs the deployment once more at the nonce of the journal where that is needed, after it was shown and confirmed, and
/// keeps it.
async fn sign(
    deployer: &Deployer,
    options: &Options,
    journal: &mut Journal,
    config: &Config,
    circuits: &[(Shape, CircuitKey, [u8; 32])],
    code: &[u8],
) -> eyre::Result<()> {
    let mut plan = Plan { nonce: journal.nonce, ..deployer.plan(code).await? };
    if let Some(last) = journal.last_fees() {
        if plan.fees.max_fee <= last.max_fee {
            return Ok(());
        }
        plan.fees = replacing(&last, &plan.fees);
        say!("  fees have risen: the deployment is signed again with the same nonce");
    }
    show(deployer, &plan, config, circuits);
    ensure!(
        plan.balance >= plan.most_wei(),
        "the account has {} and the deployment may cost {}; send it more",
        eth(plan.balance),
        eth(plan.most_wei())
    );
    confirm(options.yes)?;
    journal.add(&deployer.sign(&plan, code)?)
}

/// Nodes replace a transaction only by one that pays at least a tenth more, in both fees.
fn replacing(before: &Fees, now: &Fees) -> Fees {
    let more = |fee: u128| fee + fee / 8 + 1;
    let max_fee = now.max_fee.max(more(before.max_fee));
    Fees { max_fee, max_priority: now.max_priority.max(more(before.max_priority)).min(max_fee) }
}

/// Whether none of the journal's transactions can be mined any more. The nonce alone does not tell: it may be one of them
/// that used it, whose receipt the node does not show yet. Only a deployment by this account with this nonce can have put a
/// contract at its address.
async fn is_void(deployer: &Deployer, rpc: &Endpoint, journal: &Journal) -> eyre::Result<bool> {
    if !deployer.is_used(journal.nonce).await? {
        return Ok(false);
    }
    match deployer.look(&journal.transactions()?).await {
        Ok(None) => {}
        Ok(Some(_)) => return Ok(false),
        // Mined, and no contract came of it.
        Err(TxError::Reverted { .. }) => return Ok(true),
        Err(error) => return Err(error.into()),
    }
    match Contract::open(rpc.clone(), deployer.contract_at(journal.nonce)).await {
        Ok(_) => Ok(false),
        Err(error @ ChainError::Unreachable(_)) => Err(error.into()),
        Err(_) => Ok(true),
    }
}

fn file_of(deployed: &Deployed, config: &Config, circuits: &[(Shape, CircuitKey, [u8; 32])]) -> Deployment {
    let circuits = circuits
        .iter()
        .map(|(shape, key, verifying_key)| Circuit::new(*shape, &key.digest, verifying_key, key.dev_key));
    let Deployed { chain_id, contract, block, tx, .. } = deployed;
    Deployment::new(*chain_id, contract, *block, &config.operator, tx, circuits.collect())
}

/// A second run finds the contract of the first.
async fn deployed_already(out: &Path, rpc: &Endpoint, chain_id: u64) -> eyre::Result<()> {
    let (found, file) = (Deployment::read(out)?, out.display());
    ensure!(
        found.chain_id == chain_id,
        "{file} is of chain {}, the node of chain {chain_id}; pass another --out",
        found.chain_id
    );
    let contract = found.contract()?;
    Contract::open(rpc.clone(), contract).await.wrap_err_with(|| {
        format!("{file} names a contract that the node does not have; move the file away to deploy a new one")
    })?;
    say!(
        "  ✓ contract {} is deployed already, as {file} says; pass another --out for one more",
        hex(&contract)
    );
    Ok(())
}

/// The key of a file that only its owner can read.
fn read_key(path: &Path) -> eyre::Result<AccountKey> {
    let file = path.display();
    let text = fs::read_to_string(path).wrap_err_with(|| format!("cannot read the key file {file}"))?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions());
        ensure!(
            mode & 0o077 == 0,
            "others can read the key file {file}; run `chmod 600 {file}` and, if they may have read \
             it, take another key"
        );
    }
    AccountKey::from_hex(&text).wrap_err_with(|| format!("in {file}"))
}

/// The circuits as the contract takes them, with the digests of their verifying keys.
fn pinned(shapes: &[Shape], folder: &Path) -> eyre::Result<Vec<(Shape, CircuitKey, [u8; 32])>> {
    let missing: Vec<&str> =
        shapes.iter().filter(|shape| !key_path(folder, **shape).exists()).map(|shape| shape.name()).collect();
    if !missing.is_empty() {
        bail!("{}", no_keys(&missing, folder));
    }
    let key = |shape: &Shape| {
        let key = open(&key_path(folder, *shape), Some(gpu_worker::matrices(*shape)?.digest()))?;
        key.check_points()?;
        Ok((*shape, circuit_key(*shape, &key)?, key.verifying_key().digest()))
    };
    shapes.iter().map(key).collect()
}

/// What to do about missing keys.
pub fn no_keys(missing: &[&str], folder: &Path) -> String {
    let (names, folder) = (missing.join(","), folder.display());
    format!(
        "there is no key of {names} in {folder}; copy the key files there, or for a development chain make them with \
         `proofmill keys setup-dev --circuits {names} --out {folder}`"
    )
}

fn refuse_unsafe(chain_id: u64, circuits: &[(Shape, CircuitKey, [u8; 32])]) -> eyre::Result<()> {
    let names: Vec<&str> =
        circuits.iter().filter(|(_, key, _)| key.dev_key).map(|(shape, ..)| shape.name()).collect();
    ensure!(
        names.is_empty() || DEV_CHAIN_IDS.contains(&chain_id),
        "the keys of {} are UNSAFE, anybody can forge proofs for them: refused on chain {chain_id}, allowed on the \
         development chains 31337 and 1337",
        names.join(", ")
    );
    Ok(())
}

/// All that is about to happen.
fn show(deployer: &Deployer, plan: &Plan, config: &Config, circuits: &[(Shape, CircuitKey, [u8; 32])]) {
    let line = |what: &str, detail: String| say!("  {what:<22} {detail}");
    let chain_id = deployer.chain_id();
    let kind = if DEV_CHAIN_IDS.contains(&chain_id) { "a development chain" } else { "a real chain" };
    say!("The Proofmill contract is about to be deployed:");
    line("chain", format!("{chain_id}, {kind}"));
    line(
        "deployer",
        format!("{}, which has {}, nonce {}", hex(&deployer.address()), eth(plan.balance), plan.nonce),
    );
    let gwei = plan.fees.max_fee as f64 / 1e9;
    line("cost", format!("at most {} ({} gas at {gwei:.3} gwei)", eth(plan.most_wei()), plan.gas_limit));
    for (name, words) in in_words(config) {
        line(name, words);
    }
    for (shape, key, verifying_key) in circuits {
        let safety =
            if key.dev_key { "UNSAFE key, for development chains only" } else { "key of a ceremony" };
        line(&format!("circuit {shape}"), format!("{safety}, verifying key {}", hex(verifying_key)));
    }
    say!("  None of it can be changed later.");
}

fn confirm(yes: bool) -> eyre::Result<()> {
    if yes {
        return Ok(());
    }
    ensure!(std::io::stdin().is_terminal(), "nothing was sent: pass --yes where nobody can be asked");
    write!(std::io::stdout(), "Deploy it? [y/N] ")?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was sent");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_pays_a_tenth_more_in_both_fees_whatever_the_node_says_now() {
        let fees = |max_fee, max_priority| Fees { max_fee, max_priority };
        assert_eq!(replacing(&fees(800, 80), &fees(810, 1)), fees(901, 91));
        assert_eq!(replacing(&fees(800, 80), &fees(2_000, 500)), fees(2_000, 500));
        // The priority fee is a part of the whole.
        assert_eq!(replacing(&fees(8, 8), &fees(9, 9)), fees(10, 10));
    }

    #[test]
    fn unsafe_keys_go_to_development_chains_only() {
        let point = l1::contract::types::CircuitKey {
            number: 1,
            slots: 3,
            mint_places: 1,
            dev_key: true,
            digest: [0; 32],
            key: l1::contract::VerifyingKey {
                alpha: Default::default(),
                beta: Default::default(),
                gamma: Default::default(),
                delta: Default::default(),
                ic: Default::default(),
            },
        };
        let circuit = |key| [("s3m1".parse::<Shape>().unwrap(), key, [0; 32])];
        for chain_id in DEV_CHAIN_IDS {
            refuse_unsafe(chain_id, &circuit(point.clone())).unwrap();
        }
        for chain_id in [1, 11_155_111, 31_338] {
            let refused = refuse_unsafe(chain_id, &circuit(point.clone())).unwrap_err().to_string();
            assert!(refused.contains("s3m1") && refused.contains(&format!("refused on chain {chain_id}")));
            refuse_unsafe(chain_id, &circuit(CircuitKey { dev_key: false, ..point.clone() })).unwrap();
        }
    }
}
