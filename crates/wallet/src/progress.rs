//! How far what was begun is: a deposit that is not minted, a batch that is not on L1.

use client::api::Stage;
use eyre::Result;
use l1::node::wallet::DepositMade;

use crate::Session;

impl Session {
    /// Whether the coins of a deposit can be spent.
    ///
    /// # Errors
    /// `Answer` for what cannot be true; if the coordinator or the node does not answer.
    pub async fn has_coins(&self, made: &DepositMade) -> Result<bool> {
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
