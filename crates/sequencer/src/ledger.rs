//! Who holds which coins, and whether an operation is acceptable.
//!
//! Invariants: a refusal changes nothing (checks take `&self`); for every address the accepted balance is the sum of its
//! leaves; proven and final balances follow from it by the batches still to be proven or final. An operation is checked
//! with the same `SignedSpend::effect` that the witness is made of, so that whatever was accepted can be proved.
//!
//! | file | concept |
//! |---|---|
//! | `ledger` | leaves, balances, and both as they were after an older batch |
//! | `accept` | the rules of a signed operation |
//! | `prepare` | what a holder has to sign to pay an amount |
//! | `select` | which leaves pay an amount |
//! | `directory` | the keys that people can be paid to |
//! | `key_hashes` | what is the same in each operation of a holder |

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bn254::Fr;
use circuits::{
    leaf::CoinRange,
    slot::{ForcedEntry, HeldLeaf},
};
use protocol::{Address, Balances, l1::Deposit};
use serde::{Deserialize, Serialize};

use crate::layered::Layered;

pub mod accept;
pub mod directory;
mod key_hashes;
pub mod prepare;
pub mod select;

pub use accept::{Limits, Verified};
pub use directory::Directory;
pub use key_hashes::{KeyHashes, KnownKey, Unremembered};

/// A leaf and what is known of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub owner: Address,
    /// Nothing when the account came from a re-key on L1 and its key is not in the directory.
    pub key_hash: Option<Fr>,
    pub account: Fr,
    pub range: CoinRange,
    /// The batch that created this state of the leaf.
    pub batch_no: u32,
}

impl Leaf {
    pub fn held(&self) -> HeldLeaf {
        HeldLeaf { account: self.account, range: self.range }
    }

    /// What a deposit mints.
    pub fn minted(deposit: &Deposit, batch_no: u32) -> Self {
        Self {
            owner: deposit.owner,
            key_hash: Some(deposit.key_hash),
            account: deposit.account,
            range: deposit.range,
            batch_no,
        }
    }
}

/// What a batch changed, kept until it is final and beyond, as long as a reorganisation may undo that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct BatchChanges {
    /// Leaves as they were before the batch first touched them.
    before: HashMap<u64, Option<Leaf>>,
    /// Coins gained or lost by an address.
    deltas: HashMap<Address, i64>,
}

/// Sends counted in the window that has this number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Quota {
    window: u64,
    used: u32,
}

/// The result of an operation that was sent with an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub request_hash: [u8; 32],
    /// Nothing for a directory entry.
    pub operation: Option<[u8; 32]>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "sim"), derive(PartialEq))]
pub struct Ledger {
    #[serde(skip)]
    pub(crate) leaves: HashMap<u64, Leaf>,
    /// For each owner, (amount, index) of the leaves, so that selection finds sizes in order.
    #[serde(skip)]
    pub(crate) owned: HashMap<Address, BTreeSet<(u64, u64)>>,
    balances: HashMap<Address, Balances>,
    directory: Directory,
    #[serde(skip)]
    pub(crate) idempotency: Layered<(Address, Arc<str>), Remembered>,
    quotas: HashMap<Address, Quota>,
    changes: BTreeMap<u32, BatchChanges>,
    #[serde(skip)]
    touched_leaves: BTreeMap<u64, Address>,
    #[serde(skip)]
    touched_addresses: BTreeSet<Address>,
}

impl Ledger {
    /// What each idempotency key was used for.
    pub fn idempotency(&self) -> &Layered<(Address, Arc<str>), Remembered> {
        &self.idempotency
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn register(&mut self, registered: directory::Registered) {
        self.directory.insert(registered);
    }

    pub fn leaf(&self, index: u64) -> Option<&Leaf> {
        self.leaves.get(&index)
    }

    pub fn balances(&self, address: &Address) -> Balances {
        self.balances.get(address).copied().unwrap_or_default()
    }

    /// The leaves of an owner, smallest amount first.
    pub fn leaves_of(&self, owner: &Address) -> impl Iterator<Item = (u64, &Leaf)> {
        let indices = self.owned.get(owner).into_iter().flatten();
        indices.filter_map(|(_, index)| self.leaves.get(index).map(|leaf| (*index, leaf)))
    }

    pub fn knows(&self, address: &Address) -> bool {
        self.balances.contains_key(address) || self.directory.entry(address).is_some()
    }

    pub fn remembered(&self, sender: Address, key: &str) -> Option<Remembered> {
        self.idempotency.get(&(sender, Arc::from(key))).copied()
    }

    pub fn remember(&mut self, sender: Address, key: String, remembered: Remembered) {
        self.idempotency.insert((sender, key.into()), remembered);
    }

    /// A leaf as it was after `batch_no`, which must not be below the final batch.
    pub fn leaf_after(&self, batch_no: u32, index: u64) -> Option<Leaf> {
        let later = self.changes.range(batch_no + 1..);
        match later.into_iter().find_map(|(_, changes)| changes.before.get(&index)) {
            Some(before) => *before,
            None => self.leaves.get(&index).copied(),
        }
    }

    /// Replaces a leaf in the name of a batch; balances follow.
    pub fn put(&mut self, batch_no: u32, index: u64, leaf: Option<Leaf>) {
        let old = match leaf {
            Some(leaf) => self.leaves.insert(index, leaf),
            None => self.leaves.remove(&index),
        };
        self.changes.entry(batch_no).or_default().before.entry(index).or_insert(old);
        if let Some(old) = old {
            if let Some(owned) = self.owned.get_mut(&old.owner) {
                owned.remove(&(old.range.amount(), index));
                // Whoever holds nothing is not listed, whether the state was replayed or read from a snapshot.
                if owned.is_empty() {
                    self.owned.remove(&old.owner);
                }
            }
            self.move_coins(batch_no, old.owner, -(old.range.amount() as i64));
        }
        if let Some(new) = leaf {
            self.owned.entry(new.owner).or_default().insert((new.range.amount(), index));
            self.move_coins(batch_no, new.owner, new.range.amount() as i64);
        }
        // A place is written for one owner: a re-key keeps it.
        if let Some(either) = leaf.or(old) {
            self.touched_leaves.insert(index, either.owner);
        }
    }

    /// Amounts are below 2^63, so they fit the signed type.
    fn move_coins(&mut self, batch_no: u32, owner: Address, amount: i64) {
        add(&mut self.balances.entry(owner).or_default().accepted, amount);
        *self.changes.entry(batch_no).or_default().deltas.entry(owner).or_default() += amount;
        self.touched_addresses.insert(owner);
    }

    /// The outcome of a forced entry in `batch_no`, decided by the state as it is now.
    pub fn force(&mut self, batch_no: u32, entry: &ForcedEntry, owner: Address) {
        let Some(before) = self.leaves.get(&entry.index).copied().filter(|_| entry.hit()) else { return };
        let after = entry.after().map(|held| {
            let key_hash = self.directory.key_hash_of(&owner, &held.account);
            Leaf { account: held.account, key_hash, batch_no, ..before }
        });
        self.put(batch_no, entry.index, after);
    }

    /// The batch is proven: its effects count as proven.
    pub fn prove(&mut self, batch_no: u32) {
        let Some(changes) = self.changes.get(&batch_no) else { return };
        for (owner, delta) in &changes.deltas {
            add(&mut self.balances.entry(*owner).or_default().proven, *delta);
            self.touched_addresses.insert(*owner);
        }
    }

    /// The batch is final: its effects count as final.
    pub fn finalise(&mut self, batch_no: u32) {
        self.count_final(batch_no, |delta| delta);
    }

    /// The batch is not final any more.
    pub fn unfinalise(&mut self, batch_no: u32) {
        self.count_final(batch_no, |delta| -delta);
    }

    fn count_final(&mut self, batch_no: u32, change: impl Fn(i64) -> i64) {
        let Some(changes) = self.changes.get(&batch_no) else { return };
        for (owner, delta) in &changes.deltas {
            add(&mut self.balances.entry(*owner).or_default().finalized, change(*delta));
            self.touched_addresses.insert(*owner);
        }
    }

    /// Forgets how things were before the final batches up to `batch_no`.
    pub fn forget(&mut self, batch_no: u32) {
        while self.changes.first_key_value().is_some_and(|(changed, _)| *changed <= batch_no) {
            self.changes.pop_first();
        }
    }

    /// Leaves that a re-key on L1 gave to a key that has just become known.
    pub fn learn_key(&mut self, owner: &Address) {
        let unknown: Vec<u64> = self
            .leaves_of(owner)
            .filter(|(_, leaf)| leaf.key_hash.is_none())
            .map(|(index, _)| index)
            .collect();
        for index in unknown {
            let Some(leaf) = self.leaves.get_mut(&index) else { continue };
            leaf.key_hash = self.directory.key_hash_of(owner, &leaf.account);
            self.touched_leaves.insert(index, *owner);
        }
    }

    /// Leaves, with whose they are or were, and addresses changed since the last call, for the projections.
    pub fn take_touched(&mut self) -> (BTreeMap<u64, Address>, BTreeSet<Address>) {
        (std::mem::take(&mut self.touched_leaves), std::mem::take(&mut self.touched_addresses))
    }

    /// Everybody who ever held coins.
    pub fn all_balances(&self) -> impl Iterator<Item = (&Address, &Balances)> {
        self.balances.iter()
    }

    /// All leaves.
    pub fn leaves(&self) -> impl Iterator<Item = (u64, &Leaf)> {
        self.leaves.iter().map(|(index, leaf)| (*index, leaf))
    }
}

fn add(balance: &mut u64, delta: i64) {
    match balance.checked_add_signed(delta) {
        Some(sum) => *balance = sum,
        None => unreachable!(
            "a balance of {balance} coins cannot change by {delta}: leaves and balances disagree"
        ),
    }
}
