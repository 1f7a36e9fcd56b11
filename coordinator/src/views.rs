//! What readers see of the durable state: immutable values that the loop replaces after each commit, before it answers.
//!
//! Invariants. Nothing here was ever not durable: rows go in after their commit. Whoever was answered sees what the answer
//! said: rows go in before the answers go out. A reader takes a value and lets go of the map, so that no reader, whatever it
//! does, holds up the loop; the loop copies a value only if a reader still looks at it, and then in constant time. What a
//! round costs here grows with what it changed, never with the state.
//!
//! What is read together (a holder; the heads of the chains of batches) is of one moment; two of them may be a round apart.
//!
//! | file | concept |
//! |---|---|
//! | `views` | what there is, and how a round changes it |
//! | `shards` | a map from which readers take values |
//! | `answers` | answers to questions |
//! | `records` | what operations and workers look like from outside |

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::service::WorkerView;
use arc_swap::ArcSwap;
use bn254::Fr;
use circuits::baby_jubjub::Point;
use imbl::OrdMap;
use protocol::{Address, Balances, Stage};
use sequencer::{
    layered::Past,
    ledger::{
        Leaf, Remembered,
        directory::{self, Registered},
    },
    state::{State, rows::Row},
};

mod answers;
mod records;
mod shards;

use records::worker_views;
use shards::Shards;

pub(crate) use records::operation_view;

/// Workers change without a commit (heartbeats, readings of cards), so they are looked at by the clock.
const WORKERS_EVERY: Duration = Duration::from_millis(250);

/// All that belongs to one address.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    pub balances: Balances,
    /// By place; persistent, so that the copy beside a reader costs the same for one leaf and for a million.
    pub leaves: OrdMap<u64, Leaf>,
    pub entry: Option<Arc<Registered>>,
}

/// How far each chain of batches is.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    pub open_batch: u32,
    pub open_start: u64,
    pub sealed: u32,
    pub proven: u32,
    pub finalized: u32,
    pub state_root: Fr,
    pub proven_root: Fr,
    pub final_root: Fr,
    /// Of sealed batches that are not final.
    stages: OrdMap<u32, Stage>,
}

impl Heads {
    fn of(state: &State, stages: OrdMap<u32, Stage>) -> Self {
        let tree = state.tree();
        let root_of = |batch_no| tree.root_after(batch_no).unwrap_or_default();
        Self {
            open_batch: state.batcher().open_batch().batch_no,
            open_start: state.batcher().open_batch().start,
            sealed: tree.state_batch(),
            proven: tree.proven_batch(),
            finalized: tree.final_batch(),
            state_root: tree.root(),
            proven_root: root_of(tree.proven_batch()),
            final_root: root_of(tree.final_batch()),
            stages,
        }
    }

    /// How far a batch is; accepted means open.
    pub fn stage_of(&self, batch_no: u32) -> Stage {
        match self.stages.get(&batch_no) {
            Some(stage) => *stage,
            None if batch_no <= self.finalized => Stage::Final,
            None => Stage::Accepted,
        }
    }
}

type RememberedKey = (Address, Arc<str>);

pub struct Views {
    holders: Shards<Address, Holder>,
    /// Every key that was registered, with its hash, by the account that it makes.
    keys: Shards<[u8; 32], (Fr, Point)>,
    remembered: Shards<RememberedKey, Remembered>,
    /// Those that a snapshot holds: shared with the state, and maybe still on their way from the disk.
    remembered_before: Option<Arc<Past<RememberedKey, Remembered>>>,
    heads: ArcSwap<Heads>,
    workers: ArcSwap<Vec<WorkerView>>,
}

impl Views {
    /// All of a durable state.
    pub fn of(state: &State) -> Self {
        let ledger = &state.ledger();
        let (recent, before) = ledger.idempotency().layers();
        let views = Self {
            holders: Shards::default(),
            keys: Shards::default(),
            remembered: Shards::default(),
            remembered_before: before.cloned(),
            heads: ArcSwap::default(),
            workers: ArcSwap::from_pointee(worker_views(state.farm())),
        };
        for (address, balances) in ledger.all_balances() {
            views.holders.change(address, |holder| holder.balances = *balances);
        }
        for (place, leaf) in ledger.leaves() {
            views.holders.change(&leaf.owner, |holder| {
                holder.leaves.insert(place, *leaf);
            });
        }
        for registered in ledger.directory().entries() {
            views.register(registered);
        }
        for (account, key) in ledger.directory().keys() {
            views.keys.put(*account, *key);
        }
        for (key, remembered) in recent {
            views.remembered.put(key.clone(), *remembered);
        }
        let unsettled = (state.tree().final_batch() + 1)..=state.tree().state_batch();
        let stages = unsettled.filter_map(|no| Some((no, state.batch(no)?.stage())));
        views.heads.store(Arc::new(Heads::of(state, stages.collect())));
        views
    }

    fn register(&self, registered: &Registered) {
        let entry = Arc::new(registered.clone());
        self.holders.change(&registered.entry.owner, |holder| holder.entry = Some(entry));
    }

    /// Takes in what a commit has made durable.
    pub fn committed(&self, state: &State, rows: &[Row]) {
        let mut stages = self.heads.load().stages.clone();
        for row in rows {
            match row {
                Row::Balance(address, balances) => {
                    self.holders.change(address, |holder| holder.balances = *balances);
                }
                Row::Leaf(place, owner, leaf) => self.holders.change(owner, |holder| {
                    match leaf {
                        Some(leaf) => holder.leaves.insert(*place, *leaf),
                        None => holder.leaves.remove(place),
                    };
                }),
                Row::Directory(entry) => {
                    let Some(registered) = state.ledger().directory().entry(&entry.owner) else { continue };
                    self.keys.put(
                        directory::bytes(&registered.account),
                        (registered.key_hash, registered.entry.key),
                    );
                    self.register(registered);
                }
                Row::Idempotency(sender, key, remembered) => {
                    self.remembered.put((*sender, Arc::from(key.as_str())), *remembered);
                }
                Row::Batch(row) => {
                    match row.batch.stage() {
                        Stage::Final => stages.remove(&row.batch.batch_no),
                        stage => stages.insert(row.batch.batch_no, stage),
                    };
                }
                Row::Operation(_) | Row::Cursor(_) | Row::Line(_) => {}
            }
        }
        self.heads.store(Arc::new(Heads::of(state, stages)));
    }

    /// Looks at the workers again if the last look is old.
    pub fn look_at_workers(&self, state: &State, last: &mut Instant) {
        if last.elapsed() >= WORKERS_EVERY {
            *last = Instant::now();
            self.workers.store(Arc::new(worker_views(state.farm())));
        }
    }

    pub fn heads(&self) -> Arc<Heads> {
        self.heads.load_full()
    }

    pub fn workers(&self) -> Arc<Vec<WorkerView>> {
        self.workers.load_full()
    }

    /// What an idempotency key stands for. Nothing may also mean that old ones are still read from the disk.
    pub fn remembered(&self, sender: Address, key: &str) -> Option<Remembered> {
        let key = (sender, Arc::from(key));
        let recent = self.remembered.get(&key).map(|remembered| *remembered);
        recent.or_else(|| self.remembered_before.as_ref()?.if_arrived(&key).copied())
    }
}
