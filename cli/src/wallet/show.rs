//! What the wallet prints that changes nothing.

use chrono::DateTime;
use client::api::{Coin, OperationKind, Stage, TimelineEntry};
use eyre::{Result, bail};
use protocol::{checksummed, eth};
use wallet::{
    Session, WalletError,
    folder::Shelf,
    promise::Kept,
    request::{Request, State},
    session::now,
};

use crate::ui::{hex, short_hash};

fn time(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    at.map_or_else(|| seconds.to_string(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn kind_words(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Mint => "deposit",
        OperationKind::Send => "payment",
        OperationKind::Withdraw => "withdrawal",
        OperationKind::ForcedExit => "forced exit",
        OperationKind::ForcedRekey => "forced re-key",
    }
}

/// How far a leaf is, in words.
fn stage_words(coin: &Coin) -> &'static str {
    match coin.stage {
        Stage::Final => "final",
        Stage::Submitted => "on its way to L1",
        Stage::Proven => "proven",
        Stage::Proving => "being proved",
        Stage::Sealed => "sealed",
        Stage::Accepted => "accepted",
    }
}

fn began(timeline: &[TimelineEntry]) -> String {
    timeline.first().map_or_else(String::new, |entry| entry.at.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// Balances in three states, coins, and what can be collected.
pub async fn balance(session: &Session) -> Result<()> {
    let account = session.checked_account().await?;
    let agreement = session.agreement().await?;
    let own = session.holder.key_hashes();
    say!("{}", checksummed(&session.holder.address()));
    say!("accepted     {}", eth(account.balances.accepted));
    say!("proven       {}", eth(account.balances.proven));
    say!("final on L1  {}", eth(account.balances.finalized));
    say!("to collect   {}", eth(session.l1.pending().await?));
    say!("ETH on L1    {}", eth(session.l1.balance().await?));
    for coin in &account.coins {
        let key = match own.iter().position(|key_hash| *key_hash == coin.key_hash) {
            Some(0) => "",
            Some(1) => " (vault: only L1 can open it, see force-rekey)",
            Some(_) => " (under an older key, see force-rekey)",
            None => " (not held by this wallet's keys)",
        };
        say!(
            "  leaf {:>8}  coins {}..={}  {}  {} in batch {}{key}",
            coin.index,
            coin.low,
            coin.high,
            eth(coin.amount),
            stage_words(coin),
            coin.batch_number
        );
    }
    say!(
        "L1 is at batch {} with the coordinator's root; `export-proof` keeps what proves the final leaves",
        agreement.batch
    );
    Ok(())
}

/// The newest operations, newest first.
pub async fn history(session: &Session, most: usize) -> Result<()> {
    let owner = session.holder.address();
    let newest = session.client.newest(owner, most).await?;
    for operation in &newest {
        let other = if operation.sender == Some(owner) {
            operation.recipient.map_or_else(String::new, |to| format!("to {}", checksummed(&to)))
        } else {
            operation.sender.map_or_else(String::new, |from| format!("from {}", checksummed(&from)))
        };
        say!(
            "{:<19}  {:<13} {:>22} {other}  batch {}, {:?}  {}",
            began(&operation.timeline),
            kind_words(operation.kind),
            eth(operation.amount),
            operation.batch_number,
            operation.stage,
            operation.id
        );
    }
    if newest.len() == most {
        say!("the newest {most}; `--newest N` shows more");
    }
    Ok(())
}

/// One operation as the coordinator, the folder and L1 know it.
pub async fn operation(session: &Session, id: &str) -> Result<()> {
    let requests = session.requests().all()?;
    let request = requests.iter().find(|request| request.operation() == id);
    let known = session.client.operation(id).await?;
    if let Some(request) = request {
        say!("{} ({:?}, signed {})", request.words(), request.state, time(request.signed.signed_at));
    }
    match &known {
        None if request.is_none() => {
            bail!(WalletError::NoSuch(format!(
                "neither the coordinator nor this wallet knows an operation {id}"
            )))
        }
        None => say!(
            "the coordinator does not know it: it was not accepted, as far as it says. `proofmill wallet resume` sends the \
             same request again"
        ),
        Some(operation) => {
            let batch = operation.batch_number;
            say!(
                "{} of {}, batch {batch}, {:?}",
                kind_words(operation.kind),
                eth(operation.amount),
                operation.stage
            );
            if let Some(to) = &operation.recipient {
                say!("to {}", checksummed(to));
            }
            for entry in &operation.timeline {
                let tx = entry.l1_tx.map_or_else(String::new, |tx| format!("  {}", hex(&tx)));
                say!("  {}  {:?}{tx}", entry.at.format("%Y-%m-%d %H:%M:%S"), entry.stage);
            }
            let on_l1 = session.l1.contract().state().await?.batch_no;
            match batch <= on_l1 {
                true => say!("batch {batch} is on L1"),
                false => say!("batch {batch} is not on L1 yet, which is at batch {on_l1}"),
            }
        }
    }
    session.prune_promises(false).await?;
    promises_of(session, Some(id)).await
}

/// What is open: requests, transactions, promises.
pub async fn open(session: &Session) -> Result<()> {
    let all = session.requests().all()?;
    for request in all.iter().filter(|request| request.state == State::Refused) {
        let (words, operation) = (request.words(), request.operation());
        say!("{words} was refused: operation {operation}, good until batch {}", request.signed.valid_until);
    }
    let requests: Vec<_> = all.into_iter().filter(Request::is_open).collect();
    for request in &requests {
        let state = match request.state {
            State::Disputed => "answered with something else than was signed",
            State::Accepted => "accepted",
            _ => "without an answer",
        };
        say!("{} {state}: operation {}", request.words(), request.operation());
    }
    let transactions = session.journal().open_entries()?;
    for entry in &transactions {
        let sent = match &entry.refused {
            None => format!("sent {}", time(entry.signed_at)),
            Some(why) => format!("refused {}: {why}", time(entry.signed_at)),
        };
        say!("{}: transaction {} (nonce {}), {sent}", entry.purpose.words(), hex(&entry.hash), entry.nonce);
    }
    if !requests.is_empty() || !transactions.is_empty() {
        say!(
            "`proofmill wallet resume` asks for requests again; the command of a transaction, once more, waits for it"
        );
    } else {
        say!("nothing is open");
    }
    promises(session).await
}

/// The promises that are kept.
pub async fn promises(session: &Session) -> Result<()> {
    session.prune_promises(true).await?;
    promises_of(session, None).await
}

async fn promises_of(session: &Session, id: Option<&str>) -> Result<()> {
    let on_l1 = session.l1.contract().state().await?.batch_no;
    for kept in session.folder.all::<Kept>(Shelf::Promises)? {
        if id.is_some_and(|id| id != kept.operation) {
            continue;
        }
        let late = match (kept.unshown, kept.deadline < now()) {
            (true, _) => "final, and its leaf is not shown (spent since, or never made), was due",
            (false, true) if kept.batch > on_l1 => "BROKEN, keep it: was due",
            (false, true) => "on L1, was due",
            (false, false) => "due",
        };
        let place = session.folder.place(Shelf::Promises, &hex::encode(kept.signed.operation));
        say!(
            "promise for {}: batch {} {late} {}, slots {}, in {}",
            short_hash(&kept.signed.operation),
            kept.batch,
            time(kept.deadline),
            kept.promises.len(),
            place.display()
        );
    }
    Ok(())
}
