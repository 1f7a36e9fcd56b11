//! The commands: each connects, asks the parts, and tells the user before it closes what was open.

use std::path::Path;

use bn254::Fr;
use client::api::Client;
use eyre::{Context, bail, eyre};
use l1::{
    http::Endpoint,
    node::{
        AccountKey,
        wallet::{DepositMade, ForcedMade, Wallet},
    },
};
use protocol::{Address, checksummed, ecdsa::OperatorKey, eth};
use wallet::{
    Folder, Session, WalletError,
    amount::Amount,
    file::{Deployment, WalletFile, key_of_variable},
    journal::Purpose,
    pin,
    request::{Order, Paid},
};

use super::{Command, Options, Waiting, show, wait};
use crate::{tls::Trust, ui::hex};

fn tell(line: &str) {
    say_error!("  {line}");
}

pub async fn run(options: Options) -> eyre::Result<()> {
    let Options { wallet, api, rpc, trust, patience, command } = options;
    if let Command::New { contract } = command {
        let (Some(api), Some(rpc)) = (api, rpc) else {
            bail!("a new wallet needs a coordinator and a node: pass --api URL and --rpc URL");
        };
        return new(&wallet, api, rpc, &trust, contract).await;
    }
    let file = WalletFile::read(&wallet)?;
    if let Command::Address = command {
        say!("{}", checksummed(&file.address()?));
        return Ok(());
    }
    let api = trust.endpoint(api.as_ref().unwrap_or(&file.api_url));
    let rpc = trust.endpoint(rpc.as_ref().unwrap_or(&file.rpc_url));
    let session = connect(&file, Folder::beside(&wallet)?, api, rpc, patience).await?;
    match command {
        Command::New { .. } | Command::Address => Ok(()),
        Command::Balance => show::balance(&session).await,
        Command::Deposit { amount, waiting } => deposit(&session, amount, waiting).await,
        Command::Register => {
            same_contract(&session).await?;
            session.register(&uuid::Uuid::new_v4().to_string()).await?;
            say!("{} can be paid now", checksummed(&session.holder.address()));
            Ok(())
        }
        Command::Send { to, amount, allow_vault, idempotency_key, waiting } => {
            let wei = session.spendable(amount).await?;
            let order = Order { recipient: Some(to), wei, allow_vault, yes_burn: false, idempotency_key };
            pay(&session, &order, waiting).await
        }
        Command::Withdraw { amount, yes_burn, idempotency_key, waiting } => {
            let wei = session.spendable(amount).await?;
            let order = Order { recipient: None, wei, allow_vault: false, yes_burn, idempotency_key };
            pay(&session, &order, waiting).await
        }
        Command::Collect => collect(&session).await,
        Command::History { newest } => show::history(&session, newest).await,
        Command::Status { operation: Some(id) } => show::operation(&session, &id.to_ascii_lowercase()).await,
        Command::Status { operation: None } => show::open(&session).await,
        Command::Promises => show::promises(&session).await,
        Command::Resume => resume(&session).await,
        Command::Forget { hash, anyway } => forget(&session, &hash, anyway).await,
        Command::ExportProof { out } => export(&session, &out).await,
        Command::ForceExit { index, anyway } => {
            force(&session, Purpose::ForceExit { index }, index, anyway).await
        }
        Command::ForceRekey { index, anyway } => {
            force(&session, Purpose::ForceRekey { index }, index, anyway).await
        }
        Command::BumpKeyEpoch { yes } => bump(&session, yes).await,
    }
}

async fn new(
    path: &Path,
    api: String,
    rpc: String,
    trust: &Trust,
    contract: Option<Address>,
) -> eyre::Result<()> {
    if path.exists() {
        bail!("{} is there, and an existing wallet is never replaced; name another --wallet", path.display());
    }
    if let Some(folder) = Folder::left_beside(path) {
        bail!(WalletError::FolderLeft(folder));
    }
    let told =
        Client::new(trust.endpoint(&api)).system().await.wrap_err("the coordinator must answer once")?;
    let expected = contract.unwrap_or(told.contract);
    if told.contract != expected {
        bail!(WalletError::OtherContract { found: told.contract, expected });
    }
    let mut secret = [0u8; 32];
    match key_of_variable()? {
        Some(key) => secret = key,
        None => rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, &mut secret),
    }
    let key = OperatorKey::from_bytes(&secret)?;
    let l1 = Wallet::connect(trust.endpoint(&rpc), expected, AccountKey::from_bytes(&secret)?, None).await?;
    if l1.chain_id() != told.chain_id {
        bail!(WalletError::OtherChain { found: l1.chain_id(), expected: told.chain_id });
    }
    let code_hash = pin::check_new(l1.contract()).await?;
    let at = Deployment { contract: expected, chain_id: l1.chain_id(), code_hash };
    WalletFile::new(&secret, rpc, api, &at).create(path)?;
    say!("{} in {}", checksummed(&key.address()), path.display());
    let source = match contract {
        Some(_) => "as you named it",
        None => "as the coordinator names it: compare it with what the operator publishes",
    };
    say!("contract {} on chain {}, {source}", checksummed(&expected), at.chain_id);
    say!("its code ({}) and its circuits are those of this version", hex(&code_hash));
    if told.dev_key {
        say!("UNSAFE: its proving key is a development key, with which anybody can forge proofs");
    }
    Ok(())
}

async fn connect(
    file: &WalletFile,
    folder: Folder,
    api: Endpoint,
    rpc: Endpoint,
    patience: u64,
) -> eyre::Result<Session> {
    let at = (file.contract()?, file.chain_id);
    let mut session = Session::connect(file.key_hex(), rpc, api, at, folder).await?;
    pin::check_known(session.l1.contract(), file.code_hash()?).await?;
    let patience = std::time::Duration::from_secs(patience);
    (session.l1, session.client) =
        (session.l1.with_patience(patience), session.client.with_patience(patience));
    (session.patience, session.tell) = (patience, tell);
    Ok(session)
}

/// Before anything is asked of a coordinator that moves money.
async fn same_contract(session: &Session) -> eyre::Result<()> {
    let (told, ours) = (session.client.system().await?, session.holder.deployment());
    if told.chain_id != ours.chain_id {
        bail!(WalletError::OtherChain { found: told.chain_id, expected: ours.chain_id });
    }
    if told.contract != ours.contract {
        bail!(WalletError::OtherContract { found: told.contract, expected: ours.contract });
    }
    Ok(())
}

async fn deposit(session: &Session, amount: Amount, waiting: Waiting) -> eyre::Result<()> {
    let Amount::Wei(wei) = amount else {
        bail!(WalletError::Amount("a deposit leaves something on L1 for gas; name an amount".into()));
    };
    let coins = session.coins(wei)?;
    let Some(arrive) = session.fees.after_deposit(coins) else {
        let least = eth(u128::from(session.fees.deposit_floor.saturating_add(1)) * session.quantum);
        bail!(WalletError::Amount(format!("the fee would take all of it; deposit at least {least}")));
    };
    let arrives = u128::from(arrive) * session.quantum;
    tell(&format!("depositing {}: the fee is {}; {} arrive", eth(wei), eth(wei - arrives), eth(arrives)));
    let done = session.begin_deposit(wei).await?;
    let found = done.found;
    let made = DepositMade::of(done.mined.clone())?;
    say!(
        "deposited as coins {}..={} (deposit {}, {} gas, {}){}",
        made.range.low(),
        made.range.high(),
        made.id,
        made.mined.gas_used,
        hex(&made.mined.tx),
        if found { ": this is the deposit that an earlier command began; none was made now" } else { "" }
    );
    done.reported()?;
    match waiting.limit() {
        Some(limit) => wait::for_deposit(session, &made, limit).await,
        None => {
            tell(&format!(
                "{}; `balance` shows it, `deposit … --wait` waits",
                session.deposit_words(&made).await
            ));
            Ok(())
        }
    }
}

async fn pay(session: &Session, order: &Order, waiting: Waiting) -> eyre::Result<()> {
    same_contract(session).await?;
    session.prune_promises(false).await?;
    let (operation, batch) = say_paid(session.pay(order).await?)?;
    match waiting.limit() {
        Some(limit) => wait::for_batch(session, &operation, batch, limit).await,
        None => {
            if order.recipient.is_none() {
                let words = session.batch_words(&operation, batch).await;
                tell(&format!("{words}; when it is on L1, `collect` pays it out; `withdraw … --wait` waits"));
            }
            Ok(())
        }
    }
}

fn say_paid(paid: Paid) -> eyre::Result<(String, u32)> {
    let words = paid.request.words();
    let found = if paid.found {
        ": this is the one that an earlier command sent; nothing was paid twice"
    } else {
        ""
    };
    let operation = &paid.operation;
    say!(
        "{words}: accepted and promised in batch {} (operation {}){found}",
        operation.batch_number,
        operation.id
    );
    let operation = paid.reported()?;
    Ok((operation.id, operation.batch_number))
}

async fn resume(session: &Session) -> eyre::Result<()> {
    same_contract(session).await?;
    let paid = session.resume().await?;
    if paid.is_empty() {
        say!("no request is without an answer");
    }
    for one in paid {
        say_paid(one)?;
    }
    Ok(())
}

async fn forget(session: &Session, hash: &str, anyway: bool) -> eyre::Result<()> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash.trim_start_matches("0x"), &mut bytes).map_err(|_| {
        eyre!("'{hash}' is neither a transaction's hash nor an operation's id; write 0x and 64 hex digits")
    })?;
    if session.journal().forget(&bytes).await? {
        say!("forgotten; if it is mined after all, it counts beside what is sent now");
        return Ok(());
    }
    if !session.forget(&bytes, anyway).await? {
        bail!(WalletError::NoSuch(format!(
            "neither a transaction nor a payment {hash} is open; `proofmill wallet status` shows those"
        )));
    }
    say!("forgotten; the same command signs another payment now");
    Ok(())
}

async fn collect(session: &Session) -> eyre::Result<()> {
    let pending = session.l1.pending().await?;
    let open = session.journal().open_entries()?;
    if pending == 0 && !open.iter().any(|entry| entry.purpose == Purpose::Collect) {
        let on_l1 = session.l1.contract().state().await?.batch_no;
        let waiting = session.requests().all()?;
        let waiting = waiting.iter().filter(|request| request.signed.withdraw).count();
        let how = match waiting {
            0 => "this wallet has no withdrawal on its way".to_owned(),
            _ => "a withdrawal is credited when its batch is on L1; wait with `withdraw … --wait`".to_owned(),
        };
        bail!(WalletError::NotYet(format!("nothing is credited on L1, which is at batch {on_l1}: {how}")));
    }
    let done = session.begin_collect().await?;
    let mined = &done.mined;
    let found = if done.found { ": this is what an earlier command began" } else { "" };
    say!("collected {} ({} gas, {}){found}", eth(collected(mined)), mined.gas_used, hex(&mined.tx));
    done.reported()?;
    Ok(())
}

/// Wei that the contract paid out.
fn collected(mined: &l1::node::Mined) -> u128 {
    let paid = |event: &l1::contract::Event| match event {
        l1::contract::Event::Collected { amount_wei, .. } => Some(*amount_wei),
        _ => None,
    };
    mined.events.iter().filter_map(paid).sum()
}

async fn export(session: &Session, out: &Path) -> eyre::Result<()> {
    let (proofs, left_out) = session.export_proofs(out).await?;
    for line in left_out {
        say!("{line}");
    }
    say!("{proofs} proofs, each compared with L1, in {}", out.display());
    Ok(())
}

async fn force(session: &Session, purpose: Purpose, index: u64, anyway: bool) -> eyre::Result<()> {
    let fee = eth(session.l1.force_fee().await?);
    // Who forces must not need the coordinator: without an answer the present key is meant.
    let leaf = match session.checked_account().await {
        Ok(account) => account.coins.into_iter().find(|coin| coin.index == index),
        Err(error) if anyway => {
            tell(&format!("the coordinator cannot be asked whether leaf {index} is yours ({error})"));
            None
        }
        Err(error) => return Err(error.wrap_err("with --anyway the coordinator is not needed")),
    };
    let own = session.holder.key_hashes();
    let key_hash = match leaf {
        Some(coin) if own.contains(&coin.key_hash) => coin.key_hash,
        _ if anyway => session.holder.key_hash(),
        _ => bail!(WalletError::ForeignLeaf { index, fee }),
    };
    tell(&format!("a forced request costs {fee} now"));
    let done = session.begin_force(purpose, key_hash).await?;
    let made = ForcedMade::of(done.mined.clone(), done.entry.paid)?;
    let found = if done.found { ": this is the one that an earlier command began" } else { "" };
    let (id, deadline, tx) = (made.id, made.deadline, hex(&made.mined.tx));
    say!("forced request {id} for leaf {index} is due at {deadline} (Unix time) ({tx}){found}");
    done.reported()?;
    Ok(())
}

async fn bump(session: &Session, yes: bool) -> eyre::Result<()> {
    let under: Vec<Fr> = vec![session.holder.key_hash()];
    let coins = session.checked_account().await?.coins;
    let leaves = coins.iter().filter(|coin| under.contains(&coin.key_hash)).count();
    if !yes {
        bail!(
            "{leaves} leaves are under the present key: after a new key epoch each needs `force-rekey` or `force-exit`; send or \
             withdraw them first, or pass --yes"
        );
    }
    let done = session.begin_bump().await?;
    say!("a new key epoch began ({}); `register` publishes the new key", hex(&done.mined.tx));
    done.reported()?;
    Ok(())
}
