//! What the coordinator says of an account, compared with what the wallet knows and with L1.

use std::collections::BTreeMap;

use bn254::Fr;
use circuits::leaf::{self, CoinRange};
use client::api::Account;
use eyre::Result;

use crate::{error::WalletError, session::Session};

/// How the coordinator's state stands to L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The contract's last batch, whose root both name.
    pub batch: u32,
}

impl Session {
    /// The account of this wallet.
    ///
    /// # Errors
    /// `Answer` for what cannot be true.
    pub async fn checked_account(&self) -> Result<Account> {
        let account = self.client.account(self.holder.address()).await?;
        check(&account, self.quantum).map_err(WalletError::Answer)?;
        Ok(account)
    }

    /// Compares the coordinator's root of the contract's last batch with the contract's.
    ///
    /// # Errors
    /// `Answer` where they differ.
    pub async fn agreement(&self) -> Result<Agreement> {
        let state = self.l1.contract().state().await?;
        let batch = state.batch_no;
        if batch > 0 {
            let told = self.client.batch(batch).await?.and_then(|batch| batch.new_root);
            if told != Some(bn254::fr_to_be_bytes(&state.root)) {
                let what = format!("its root of batch {batch} is not the one that L1 has");
                return Err(WalletError::Answer(what).into());
            }
        }
        Ok(Agreement { batch })
    }

    /// The contract's root after a batch; nothing while the batch is not on L1.
    ///
    /// # Errors
    /// `Answer` where the coordinator says in which block it is, and it is not there.
    pub async fn root_on_l1(&self, batch_no: u32) -> Result<Option<Fr>> {
        let state = self.l1.contract().state().await?;
        if batch_no >= state.batch_no {
            return Ok((batch_no == state.batch_no).then_some(state.root));
        }
        let block = self.client.batch(batch_no).await?.and_then(|batch| batch.l1_block);
        let Some(block) = block else { return Ok(None) };
        let root = self.l1.contract().root_of(batch_no, block).await?;
        let nowhere = || WalletError::Answer(format!("batch {batch_no} is not in block {block} of L1"));
        Ok(Some(root.ok_or_else(nowhere)?))
    }
}

/// Whether an account can be as it is told: every leaf of this owner, whole, with its worth, no coin twice, and the sum.
fn check(account: &Account, quantum: u128) -> Result<(), String> {
    let mut ranges = BTreeMap::new();
    for coin in &account.coins {
        let wrong = |what: &str| Err(format!("leaf {} {what}", coin.index));
        let Ok(range) = CoinRange::new(coin.low, coin.high) else { return wrong("holds no range of coins") };
        if coin.owner != account.address {
            return wrong("belongs to somebody else");
        }
        if coin.account != leaf::account(&coin.owner, &coin.key_hash) && coin.key_hash != Fr::default() {
            return wrong("is of another account than its owner and key give");
        }
        if coin.amount != u128::from(range.amount()) * quantum {
            return wrong("is not worth what its coins are");
        }
        if ranges.insert(coin.low, coin.high).is_some() {
            return wrong("holds coins that another one holds");
        }
    }
    let overlap = ranges.iter().zip(ranges.iter().skip(1)).find(|((_, high), (low, _))| low <= high);
    if let Some(((low, high), _)) = overlap {
        return Err(format!("coins {low}..={high} are in two leaves"));
    }
    let sum: u128 = account.coins.iter().map(|coin| coin.amount).sum();
    if sum != account.balances.accepted {
        return Err(format!(
            "the balance is {} wei and the coins are worth {sum}",
            account.balances.accepted
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use client::api::{Balances, Coin, Stage};

    use super::*;

    fn coin(index: u64, low: u64, high: u64) -> Coin {
        let (owner, key_hash) = ([1; 20], Fr::from(7));
        Coin {
            index,
            owner,
            account: leaf::account(&owner, &key_hash),
            key_hash,
            low,
            high,
            amount: u128::from(high - low + 1) * 5,
            batch_number: 1,
            stage: Stage::Final,
        }
    }

    fn account() -> Account {
        let coins = vec![coin(3, 1, 10), coin(4, 21, 30), coin(9, 11, 20)];
        let accepted = coins.iter().map(|coin| coin.amount).sum();
        Account { address: [1; 20], balances: Balances { accepted, ..Balances::default() }, coins }
    }

    #[test]
    fn an_account_that_cannot_be_is_refused() {
        assert_eq!(check(&account(), 5), Ok(()));
        type Lie = (&'static str, fn(&mut Account));
        let lies: [Lie; 7] = [
            ("somebody else", |a| a.coins[0].owner = [2; 20]),
            ("another account", |a| a.coins[0].key_hash = Fr::from(8)),
            ("not worth", |a| a.coins[0].amount += 5),
            ("no range", |a| a.coins[0].high = 0),
            ("two leaves", |a| a.coins[1].low = 10),
            ("holds coins that another", |a| a.coins[1].low = 1),
            ("the balance is", |a| a.balances.accepted += 1),
        ];
        for (words, lie) in lies {
            let mut account = account();
            lie(&mut account);
            for coin in &mut account.coins {
                if words != "not worth" && coin.high >= coin.low {
                    coin.amount = u128::from(coin.high - coin.low + 1) * 5;
                }
            }
            let refusal = check(&account, 5).unwrap_err();
            assert!(refusal.contains(words), "{words}: {refusal}");
        }
    }
}
