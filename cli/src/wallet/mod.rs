//! `wallet`: what a holder does from the command line.

mod file;
mod holder;
mod session;

use std::path::PathBuf;

use circuits::{
    leaf::{self, CoinRange},
    tree,
};
use clap::{Args, Subcommand};
use coordinator::{api::client::OwnershipProof, service::Address};
use eyre::{Context, bail};
use serde_json::json;
use wire::ecdsa::OperatorKey;

use crate::ui::{eth, hex, short_hash};
use file::{WalletFile, default_path, parse_eth};
pub use file::{parse_address, write_private};
pub use session::Session;

#[derive(Args)]
pub struct Options {
    /// The wallet file
    #[arg(long, global = true, default_value_os_t = default_path())]
    wallet: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a wallet with a fresh key, or with the key in PROOFMILL_WALLET_KEY
    New {
        /// The coordinator, e.g. the URL that the demo prints
        #[arg(long)]
        api: String,
        /// The Ethereum node
        #[arg(long)]
        rpc: String,
    },
    /// Print the address
    Address,
    /// Balances in three states, coins, and what can be collected on L1
    Balance,
    /// Deposit ETH from L1
    Deposit {
        #[arg(value_parser = parse_eth)]
        eth: u128,
    },
    /// Publish the key by which others can pay this address
    Register,
    /// Pay an address
    Send {
        #[arg(value_parser = address_argument)]
        to: Address,
        #[arg(value_parser = parse_eth)]
        eth: u128,
        /// Pay even if the recipient has no key yet: only L1 can unlock these coins
        #[arg(long)]
        allow_vault: bool,
        /// Repeat a call safely by giving the same key again
        #[arg(long)]
        idempotency_key: Option<String>,
    },
    /// Withdraw to this address on L1; collect it when the batch is final
    Withdraw {
        #[arg(value_parser = parse_eth)]
        eth: u128,
        #[arg(long)]
        idempotency_key: Option<String>,
    },
    /// Collect what the contract has credited
    Collect,
    /// All operations of this address
    History,
    /// Write the ownership proof of each coin to a file: with it nobody is needed to show what you own
    ExportProof {
        /// Where to
        #[arg(long, default_value = "proofmill-ownership.json")]
        out: PathBuf,
    },
    /// Make the contract demand that a leaf leaves; the operator must do it before the deadline
    ForceExit {
        /// The leaf's index, as `balance` shows it
        index: u64,
    },
}

fn address_argument(text: &str) -> Result<Address, String> {
    parse_address(text).map_err(|error| error.to_string())
}

pub async fn run(options: Options) -> eyre::Result<()> {
    if let Command::New { api, rpc } = options.command {
        return new(&options.wallet, api, rpc).await;
    }
    let file = WalletFile::read(&options.wallet)?;
    if let Command::Address = options.command {
        say!("{}", hex(&OperatorKey::from_hex(file.key_hex())?.address()));
        return Ok(());
    }
    let session = Session::connect(file.key_hex(), &file.rpc_url, &file.api_url, file.contract()?).await?;
    match options.command {
        Command::New { .. } | Command::Address => Ok(()),
        Command::Balance => balance(&session).await,
        Command::Deposit { eth: wei } => {
            let made = session.deposit(wei).await?;
            say!(
                "deposited as coins {}..={} (deposit {}, {} gas, {})",
                made.range.low(),
                made.range.high(),
                made.id,
                made.mined.gas_used,
                hex(&made.mined.tx)
            );
            Ok(())
        }
        Command::Register => {
            session.register(&fresh_key()).await?;
            say!("{} can be paid now", hex(&session.holder.address()));
            Ok(())
        }
        Command::Send { to, eth: wei, allow_vault, idempotency_key } => {
            let key = idempotency_key.unwrap_or_else(fresh_key);
            let operation = session.send(to, wei, allow_vault, &key).await?;
            say!("sent {} in batch {} (operation {})", eth(wei), operation.batch_number, operation.id);
            Ok(())
        }
        Command::Withdraw { eth: wei, idempotency_key } => {
            let key = idempotency_key.unwrap_or_else(fresh_key);
            let operation = session.withdraw(wei, &key).await?;
            say!("withdrawing {} in batch {} (operation {})", eth(wei), operation.batch_number, operation.id);
            Ok(())
        }
        Command::Collect => {
            let pending = session.l1.pending().await?;
            if pending == 0 {
                bail!("nothing is credited on L1 yet; a withdrawal is credited when its batch is accepted");
            }
            let mined = session.collect().await?;
            say!("collected {} ({} gas, {})", eth(pending), mined.gas_used, hex(&mined.tx));
            Ok(())
        }
        Command::History => history(&session).await,
        Command::ExportProof { out } => export_proof(&session, &out).await,
        Command::ForceExit { index } => {
            let made = session.force_exit(index).await?;
            say!("forced request {} is due at {} ({})", made.id, made.deadline, hex(&made.mined.tx));
            Ok(())
        }
    }
}

fn fresh_key() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn new(path: &std::path::Path, api: String, rpc: String) -> eyre::Result<()> {
    let system = coordinator::api::client::Client::new(&api)
        .system()
        .await
        .wrap_err("the coordinator must answer once, to learn its contract")?;
    let mut secret = [0u8; 32];
    match std::env::var(file::KEY_VARIABLE) {
        Ok(text) => hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut secret)
            .wrap_err_with(|| format!("{} is not 64 hex digits", file::KEY_VARIABLE))?,
        Err(_) => rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, &mut secret),
    }
    let key = OperatorKey::from_bytes(&secret)?;
    WalletFile::new(&secret, rpc, api, hex(&system.contract)).create(path)?;
    say!("{} in {}", hex(&key.address()), path.display());
    Ok(())
}

async fn balance(session: &Session) -> eyre::Result<()> {
    let account = session.client.account(session.holder.address()).await?;
    say!("accepted     {}", eth(account.balances.accepted));
    say!("proven       {}", eth(account.balances.proven));
    say!("final on L1  {}", eth(account.balances.finalized));
    say!("to collect   {}", eth(session.l1.pending().await?));
    say!("ETH on L1    {}", eth(session.l1.balance().await?));
    for coin in account.coins {
        let vault = if coin.key_hash == session.holder.key_hash() { "" } else { " (not held by this key)" };
        say!(
            "  leaf {:>8}  coins {}..={}  {}  {:?} in batch {}{vault}",
            coin.index,
            coin.low,
            coin.high,
            eth(coin.amount),
            coin.stage,
            coin.batch_number
        );
    }
    Ok(())
}

async fn history(session: &Session) -> eyre::Result<()> {
    for operation in session.client.history(session.holder.address()).await? {
        let other = if operation.sender == Some(session.holder.address()) {
            operation.recipient.map_or_else(String::new, |to| format!("to {}", short_hash(&to)))
        } else {
            operation.sender.map_or_else(String::new, |from| format!("from {}", short_hash(&from)))
        };
        say!(
            "{}  {:?} {} {other}  batch {}  {:?}",
            operation.id,
            operation.kind,
            eth(operation.amount),
            operation.batch_number,
            operation.stage
        );
    }
    Ok(())
}

async fn export_proof(session: &Session, out: &std::path::Path) -> eyre::Result<()> {
    let account = session.client.account(session.holder.address()).await?;
    let mut proofs = Vec::new();
    for coin in &account.coins {
        let proof = match session.client.ownership_proof(coin.index, None).await {
            Ok(proof) => proof,
            Err(error) => {
                say!("leaf {}: {error}", coin.index);
                continue;
            }
        };
        check_proof(&proof)?;
        proofs.push(json!({
            "batch": proof.batch_number,
            "root": bn254::fr_to_hex(&proof.root),
            "index": proof.index,
            "owner": hex(&proof.owner),
            "keyHash": bn254::fr_to_hex(&proof.key_hash),
            "low": proof.low,
            "high": proof.high,
            "leaf": bn254::fr_to_hex(&proof.leaf),
            "siblings": proof.siblings,
            "finalOnL1": proof.final_on_l1,
        }));
    }
    let document = json!({ "contract": hex(&session.holder.deployment().contract), "proofs": proofs });
    std::fs::write(out, serde_json::to_vec_pretty(&document)?)?;
    say!("{} proofs, each checked up to its root, in {}", proofs.len(), out.display());
    Ok(())
}

/// A proof is worth keeping only if its path leads from the opened leaf to its root.
fn check_proof(proof: &OwnershipProof) -> eyre::Result<()> {
    let range = CoinRange::new(proof.low, proof.high)?;
    let leaf = leaf::leaf(&leaf::account(&proof.owner, &proof.key_hash), &range);
    let siblings = proof
        .siblings
        .iter()
        .map(|[a, b, c]| Ok([bn254::fr_from_hex(a)?, bn254::fr_from_hex(b)?, bn254::fr_from_hex(c)?]))
        .collect::<eyre::Result<Vec<tree::Siblings>>>()?;
    let leads =
        siblings.len() == tree::DEPTH && tree::root_from(leaf, 0, proof.index, &siblings) == proof.root;
    if !leads || leaf != proof.leaf {
        bail!(
            "the coordinator's proof for leaf {} does not lead to its root; keep the answer and report it",
            proof.index
        );
    }
    Ok(())
}
