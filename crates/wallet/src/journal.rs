//! The journal of L1 transactions.
//!
//! Invariant: a transaction is on the disk, signed, before it is sent, and stays there until the user was told what became of
//! it. While one is there no other is signed, and the same command again means that one: a lost answer or a killed process
//! never makes two deposits out of one. One that the node refused stays too, and what is signed next has the same nonce: of a
//! node that refuses and sends it on all the same, only one of both is mined.

use std::collections::BTreeSet;

use bn254::Fr;
use eyre::bail;
use l1::node::{Mined, TxError, UserCall, Wallet};
use protocol::{
    Address, eth,
    l1::{Fees, SignedTx},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::WalletError,
    folder::{self, Folder, Lock, Shelf},
    session::now,
    text,
};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Purpose {
    /// Coins for the owner's own account.
    Deposit {
        /// What is deposited, the fee included.
        #[serde(with = "text::decimal")]
        wei: u128,
    },
    /// Takes what the contract has credited.
    Collect,
    /// Demands that a leaf leaves.
    ForceExit {
        /// The leaf's place.
        index: u64,
    },
    /// Demands that a leaf goes under the present key.
    ForceRekey {
        /// The leaf's place.
        index: u64,
    },
    /// Makes the present key and entry void.
    BumpKeyEpoch,
}

impl Purpose {
    /// What it is, for a person.
    pub fn words(&self) -> String {
        match self {
            Self::Deposit { wei } => format!("deposit of {}", eth(*wei)),
            Self::Collect => "collecting what is credited".to_owned(),
            Self::ForceExit { index } => format!("forced exit of leaf {index}"),
            Self::ForceRekey { index } => format!("forced re-key of leaf {index}"),
            Self::BumpKeyEpoch => "new key epoch".to_owned(),
        }
    }

    fn call(&self, order: &Order) -> UserCall {
        let Order { owner, key_hash, old_key_hash, paid, .. } = *order;
        match *self {
            Self::Deposit { wei } => UserCall::Deposit { owner, key_hash, wei },
            Self::Collect => UserCall::Collect { to: owner },
            Self::ForceExit { index } => UserCall::ForceExit { index, key_hash: old_key_hash, paid },
            Self::ForceRekey { index } => {
                UserCall::ForceRekey { index, key_hash: old_key_hash, new_key_hash: key_hash, paid }
            }
            Self::BumpKeyEpoch => UserCall::BumpKeyEpoch,
        }
    }
}

/// A purpose with what it takes to make its call.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is to be done.
    pub purpose: Purpose,
    /// For whom.
    pub owner: Address,
    /// Of the owner's present key.
    pub key_hash: Fr,
    /// Of the key under which the leaf of a forced request lies.
    pub old_key_hash: Fr,
    /// Wei that a forced request pays.
    pub paid: u128,
}

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    version: u32,
    /// What it does.
    pub purpose: Purpose,
    /// Unix seconds.
    pub signed_at: u64,
    chain_id: u64,
    #[serde(with = "text::bytes")]
    contract: Address,
    /// Of the account.
    pub nonce: u64,
    /// The transaction's hash.
    #[serde(with = "text::bytes")]
    pub hash: [u8; 32],
    #[serde(with = "text::bytes")]
    raw: Vec<u8>,
    #[serde(with = "text::decimal")]
    max_fee: u128,
    #[serde(with = "text::decimal")]
    max_priority: u128,
    /// Wei that a forced request paid.
    #[serde(with = "text::decimal")]
    pub paid: u128,
    /// Why the node did not take it, if it said so.
    #[serde(default)]
    pub refused: Option<String>,
}

impl folder::Entry for Entry {
    const VERSION: u32 = 1;
}

impl Entry {
    fn of(order: &Order, tx: &SignedTx, l1: &Wallet) -> Self {
        Self {
            version: <Self as folder::Entry>::VERSION,
            purpose: order.purpose.clone(),
            signed_at: now(),
            chain_id: l1.chain_id(),
            contract: l1.contract().address(),
            nonce: tx.nonce,
            hash: tx.hash,
            raw: tx.raw.clone(),
            max_fee: tx.fees.max_fee,
            max_priority: tx.fees.max_priority,
            paid: order.paid,
            refused: None,
        }
    }

    fn name(&self) -> String {
        format!("{:010}-{}", self.nonce, hex::encode(&self.hash[..8]))
    }

    fn tx(&self) -> SignedTx {
        let fees = Fees { max_fee: self.max_fee, max_priority: self.max_priority };
        SignedTx { raw: self.raw.clone(), hash: self.hash, nonce: self.nonce, fees }
    }

    fn unknown(&self, cause: &TxError) -> WalletError {
        WalletError::NoReceipt {
            hash: hex::encode(self.hash),
            nonce: self.nonce,
            what: self.purpose.words(),
            cause: cause.to_string(),
        }
    }
}

/// A transaction that is mined; it stays in the journal until it is reported.
#[derive(Debug)]
pub struct Done {
    /// What the chain says of it.
    pub mined: Mined,
    /// As it is in the journal.
    pub entry: Entry,
    /// An earlier command sent it and could not say so.
    pub found: bool,
    journal: Journal,
    _lock: Lock,
}

impl Done {
    /// The user was told.
    ///
    /// # Errors
    /// If the journal cannot be changed.
    pub fn reported(self) -> eyre::Result<Mined> {
        self.journal.close(&self.entry)?;
        Ok(self.mined)
    }
}

/// The transactions of a wallet's folder.
#[derive(Clone, Debug)]
pub struct Journal(pub(crate) Folder);

impl Journal {
    /// Transactions that nobody was told of, in order of their nonces.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn open_entries(&self) -> eyre::Result<Vec<Entry>> {
        self.0.all(Shelf::Transactions)
    }

    fn close(&self, entry: &Entry) -> eyre::Result<()> {
        self.0.remove(Shelf::Transactions, &entry.name())
    }

    /// Drops a transaction of which the user knows that it will never be mined.
    ///
    /// # Errors
    /// If there is none of that hash.
    pub async fn forget(&self, hash: &[u8; 32]) -> eyre::Result<bool> {
        let _lock = self.0.lock().await?;
        let Some(entry) = self.open_entries()?.into_iter().find(|entry| entry.hash == *hash) else {
            return Ok(false);
        };
        self.close(&entry)?;
        Ok(true)
    }

    /// Does what is asked, once: finishes what earlier commands began, and if that is the same, that is it.
    ///
    /// # Errors
    /// `NoReceipt` while nobody can say what became of a transaction; `TxError` if nothing was sent or it reverted.
    pub async fn transact(&self, l1: &Wallet, order: &Order, tell: fn(&str)) -> eyre::Result<Done> {
        let lock = self.0.lock().await?;
        let (mut nonce, mut used) = (None, BTreeSet::new());
        let mut entries = self.open_entries()?;
        // What a refused one became decides about those that were signed in its place.
        entries.sort_by_key(|entry| entry.refused.is_none());
        for entry in entries {
            if used.contains(&entry.nonce) {
                continue;
            }
            if (entry.chain_id, entry.contract) != (l1.chain_id(), l1.contract().address()) {
                bail!(WalletError::OtherChain { found: l1.chain_id(), expected: entry.chain_id });
            }
            let (what, hash) = (entry.purpose.words(), hex::encode(entry.hash));
            let became = if entry.refused.is_some() {
                l1.look(&entry.tx()).await
            } else {
                tell(&format!("an earlier command sent transaction 0x{hash} ({what}); waiting for it"));
                l1.follow_again(&entry.tx()).await.map(Some)
            };
            match became {
                // What is signed now excludes it.
                Ok(None) => {
                    nonce.get_or_insert(entry.nonce);
                    continue;
                }
                Ok(Some(mined)) if entry.purpose == order.purpose => {
                    self.close_others(&entry)?;
                    return Ok(Done { mined, entry, found: true, journal: self.clone(), _lock: lock });
                }
                Ok(Some(_)) => tell(&format!("transaction 0x{hash} ({what}) is mined")),
                Err(error @ TxError::Reverted { .. }) => tell(&format!("{what}: {error}")),
                Err(error) => bail!(entry.unknown(&error)),
            }
            used.insert(entry.nonce);
            self.close_others(&entry)?;
            self.close(&entry)?;
        }
        self.begin(l1, order, nonce.filter(|nonce| !used.contains(nonce)), lock).await
    }

    /// Signs what is asked, keeps it, sends it.
    async fn begin(&self, l1: &Wallet, order: &Order, nonce: Option<u64>, lock: Lock) -> eyre::Result<Done> {
        let tx = l1.sign(&order.purpose.call(order), nonce).await?;
        let mut entry = Entry::of(order, &tx, l1);
        self.0.put(Shelf::Transactions, &entry.name(), &entry)?;
        match l1.follow(&tx).await {
            Ok(mined) => {
                self.close_others(&entry)?;
                Ok(Done { mined, entry, found: false, journal: self.clone(), _lock: lock })
            }
            Err(error @ TxError::NotTaken(_)) => {
                entry.refused = Some(error.to_string());
                self.0.put(Shelf::Transactions, &entry.name(), &entry)?;
                Err(error.into())
            }
            Err(error @ TxError::Reverted { .. }) => {
                self.close_others(&entry)?;
                self.close(&entry)?;
                Err(error.into())
            }
            Err(error) => Err(entry.unknown(&error).into()),
        }
    }

    /// Closes those that had the nonce of one that is mined.
    fn close_others(&self, mined: &Entry) -> eyre::Result<()> {
        let others = self.open_entries()?;
        let mut others = others.iter().filter(|one| one.nonce == mined.nonce && one.hash != mined.hash);
        others.try_for_each(|other| self.close(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_another_version_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let journal = Journal(Folder::open(place.path().join("w.d")).unwrap());
        let entry = |nonce: u64, purpose: Purpose| Entry {
            version: 1,
            purpose,
            signed_at: 7,
            chain_id: 31_337,
            contract: [3; 20],
            nonce,
            hash: [nonce as u8; 32],
            raw: vec![2, 1],
            max_fee: u128::MAX,
            max_priority: 5,
            paid: u128::from(u64::MAX) + 1,
            refused: (nonce == 9).then(|| "no".to_owned()),
        };
        let later = entry(10, Purpose::Deposit { wei: u128::MAX });
        let first = entry(9, Purpose::ForceExit { index: 3 });
        for entry in [&later, &first] {
            journal.0.put(Shelf::Transactions, &entry.name(), entry).unwrap();
        }
        assert_eq!(journal.open_entries().unwrap(), [first.clone(), later.clone()], "in order of nonces");
        journal.close(&first).unwrap();
        assert_eq!(journal.open_entries().unwrap(), [later]);
        let odd = Entry { version: 2, ..first };
        journal.0.put(Shelf::Transactions, &odd.name(), &odd).unwrap();
        assert!(journal.open_entries().unwrap_err().to_string().starts_with("PM-WALLET-018"));
    }
}
