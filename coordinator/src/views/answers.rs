//! Answers to questions, out of the views alone.

use std::sync::Arc;

use api::service::{BatchView, CoinView};
use bn254::Fr;
use circuits::baby_jubjub::Point;
use protocol::{Address, Balances, DirectoryEntry, Stage};
use sequencer::ledger::{
    Leaf,
    directory::{self, Registered},
    prepare::{Book, Outlook},
};

use super::{Holder, Views};

impl Views {
    fn holder(&self, address: &Address) -> Arc<Holder> {
        self.holders.get(address).unwrap_or_default()
    }

    pub fn balances(&self, address: &Address) -> Balances {
        self.holder(address).balances
    }

    pub fn directory_entry(&self, owner: &Address) -> Option<DirectoryEntry> {
        Some(self.holder(owner).entry.as_ref()?.entry.clone())
    }

    /// Coins by place, behind `after`.
    pub fn coins(&self, address: &Address, after: Option<u64>, limit: usize) -> Vec<CoinView> {
        let (holder, heads) = (self.holder(address), self.heads());
        let first = match after {
            None => Some(0),
            Some(place) => place.checked_add(1),
        };
        let behind = first.into_iter().flat_map(|first| holder.leaves.range(first..));
        let coin = |(index, leaf): (&u64, &Leaf)| CoinView {
            index: *index,
            owner: leaf.owner,
            account: leaf.account,
            key_hash: leaf.key_hash.unwrap_or_default(),
            range: leaf.range,
            batch_no: leaf.batch_no,
            stage: heads.stage_of(leaf.batch_no),
        };
        behind.take(limit).map(coin).collect()
    }

    /// What a draft depends on besides.
    pub fn outlook(&self, domain: Fr, valid_for: u32) -> Outlook {
        let heads = self.heads();
        Outlook { domain, open_batch: heads.open_batch, open_start: heads.open_start, valid_for }
    }

    /// The batch that takes operations now.
    pub fn open_batch(&self) -> BatchView {
        let heads = self.heads();
        BatchView {
            batch_no: heads.open_batch,
            shape: None,
            stage: Stage::Accepted,
            start: heads.open_start,
            old_root: Some(heads.state_root),
            mid_root: None,
            new_root: None,
            public_inputs: None,
            proof: None,
            worker: None,
            attempts: 0,
            prove_ms: None,
            witness_ms: None,
            l1_tx: None,
            l1_block: None,
            gas_used: None,
            timeline: Vec::new(),
        }
    }
}

impl Book for Views {
    fn knows(&self, address: &Address) -> bool {
        self.holders.get(address).is_some()
    }

    fn leaves(&self, owner: &Address) -> Vec<(u64, Leaf)> {
        self.holder(owner).leaves.iter().map(|(index, leaf)| (*index, *leaf)).collect()
    }

    fn registered(&self, owner: &Address) -> Option<Registered> {
        self.holder(owner).entry.as_deref().cloned()
    }

    fn key_of(&self, account: &Fr) -> Option<Point> {
        self.keys.get(&directory::bytes(account)).map(|key| key.1)
    }
}
