//! Waiting until what was begun can be used, and saying how far it is.

use std::time::{Duration, Instant};

use eyre::Result;
use l1::node::wallet::DepositMade;
use wallet::{Session, WalletError};

use crate::ui::Spinner;

const POLL: Duration = Duration::from_millis(500);

/// Waits until the coins of a deposit can be spent.
///
/// # Errors
/// `NotYet` when the time is over.
pub async fn for_deposit(session: &Session, made: &DepositMade, limit: Duration) -> Result<()> {
    let what = format!("coins {}..={}", made.range.low(), made.range.high());
    let spinner = Spinner::new(format!("{what} become spendable"));
    let begun = Instant::now();
    loop {
        // A coordinator that is busy or starts again is asked again.
        match session.has_coins(made).await {
            Ok(true) => {
                spinner.done(format!("{what} can be spent"));
                return Ok(());
            }
            Ok(false) => spinner.say(session.deposit_words(made).await),
            Err(error) => spinner.say(error.to_string()),
        }
        if begun.elapsed() >= limit {
            let how = session.deposit_words(made).await;
            return Err(WalletError::NotYet(format!("{how}; the deposit is made and nothing is lost")).into());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until L1 has accepted a batch.
///
/// # Errors
/// `NotYet` when the time is over.
pub async fn for_batch(session: &Session, operation: &str, batch: u32, limit: Duration) -> Result<()> {
    let spinner = Spinner::new(format!("batch {batch} reaches L1"));
    let begun = Instant::now();
    loop {
        match session.l1.contract().state().await {
            Ok(state) if state.batch_no >= batch => {
                spinner.done(format!("batch {batch} is on L1"));
                return session.prune_promises(false).await;
            }
            Ok(_) => spinner.say(session.batch_words(operation, batch).await),
            Err(error) => spinner.say(error.to_string()),
        }
        if begun.elapsed() >= limit {
            let how = session.batch_words(operation, batch).await;
            let what = format!("{how}; operation {operation} is accepted, do not repeat it");
            return Err(WalletError::NotYet(what).into());
        }
        tokio::time::sleep(POLL).await;
    }
}
