//! Waiting until what was begun can be used, and saying how far it is.

use std::time::{Duration, Instant};

use client::api::Stage;
use eyre::Result;
use l1::node::wallet::DepositMade;

use super::{error::WalletError, session::Session};
use crate::ui::Spinner;

const POLL: Duration = Duration::from_millis(500);

impl Session {
    /// Waits until the coins of a deposit can be spent.
    ///
    /// # Errors
    /// `NotYet` when the time is over.
    pub async fn wait_for_deposit(&self, made: &DepositMade, limit: Duration) -> Result<()> {
        let what = format!("coins {}..={}", made.range.low(), made.range.high());
        let spinner = Spinner::new(format!("{what} become spendable"));
        let begun = Instant::now();
        loop {
            // A coordinator that is busy or starts again is asked again.
            match self.has_coins(made).await {
                Ok(true) => {
                    spinner.done(format!("{what} can be spent"));
                    return Ok(());
                }
                Ok(false) => spinner.say(self.deposit_words(made).await),
                Err(error) => spinner.say(error.to_string()),
            }
            if begun.elapsed() >= limit {
                let how = self.deposit_words(made).await;
                return Err(
                    WalletError::NotYet(format!("{how}; the deposit is made and nothing is lost")).into()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn has_coins(&self, made: &DepositMade) -> Result<bool> {
        let coins = self.checked_account().await?.coins;
        let inside = |low: u64, high: u64| made.range.low() <= low && high <= made.range.high();
        if coins.iter().any(|coin| inside(coin.low, coin.high)) {
            return Ok(true);
        }
        // They may have been spent by another command meanwhile.
        Ok(made.id < self.l1.contract().state().await?.minted_up_to)
    }

    /// How far a deposit is that is not minted.
    pub async fn deposit_words(&self, made: &DepositMade) -> String {
        let block = made.mined.block;
        match self.client.system().await {
            Ok(system) if system.l1.finalized < block => format!(
                "the deposit is in block {block} and is taken in when that is final: {} blocks to go",
                block - system.l1.finalized
            ),
            Ok(_) => format!("block {block} is final; the deposit is minted with the next batch"),
            Err(error) => format!("the coordinator cannot be asked ({error})"),
        }
    }

    /// Waits until L1 has accepted a batch.
    ///
    /// # Errors
    /// `NotYet` when the time is over.
    pub async fn wait_for_batch(&self, operation: &str, batch: u32, limit: Duration) -> Result<()> {
        let spinner = Spinner::new(format!("batch {batch} reaches L1"));
        let begun = Instant::now();
        loop {
            match self.l1.contract().state().await {
                Ok(state) if state.batch_no >= batch => {
                    spinner.done(format!("batch {batch} is on L1"));
                    return self.prune_promises(false).await;
                }
                Ok(_) => spinner.say(self.batch_words(operation, batch).await),
                Err(error) => spinner.say(error.to_string()),
            }
            if begun.elapsed() >= limit {
                let how = self.batch_words(operation, batch).await;
                return Err(WalletError::NotYet(format!(
                    "{how}; operation {operation} is accepted, do not repeat it"
                ))
                .into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How far a batch is that is not on L1.
    pub async fn batch_words(&self, operation: &str, batch: u32) -> String {
        let stage = match self.client.operation(operation).await {
            Ok(Some(operation)) => match operation.stage {
                Stage::Accepted => "filling",
                Stage::Sealed => "waiting for a worker",
                Stage::Proving => "being proved",
                Stage::Proven => "proven",
                Stage::Submitted | Stage::Final => "on its way to L1",
            },
            Ok(None) => "not known to the coordinator",
            Err(_) => "not on L1 (the coordinator does not answer)",
        };
        format!("batch {batch} is {stage}")
    }
}
