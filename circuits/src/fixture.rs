//! A small ledger that makes valid batches, for tests, benches and vectors of this crate and others.
//!
//! It keeps the whole tree in a map and hashes a path per changed leaf: simple enough to be the reference that the
//! coordinator's tree is compared with.

use std::collections::{BTreeMap, HashMap};

use bn254::Fr;
use ff::{Field, PrimeField};

use crate::{
    baby_jubjub::Point,
    batch::{BatchInput, Mint, PlacedSlot, carried_level},
    eddsa::{PrivateKey, Signature},
    leaf::{account, key_hash},
    message::SignedKind,
    poseidon,
    shape::Shape,
    slot::{ForcedEntry, ForcedKind, HeldLeaf, SignedSpend, SlotInput},
    tree::{ARITY, DEPTH, Siblings, digit, empty_root},
};

/// A holder with a key made from a seed.
#[derive(Clone)]
pub struct Wallet {
    pub private: PrivateKey,
    pub owner: [u8; 20],
    pub key: Point,
    pub account: Fr,
}

impl Wallet {
    pub fn new(seed: u8) -> Self {
        let private = PrivateKey::new([seed; 32]);
        let key = private.public();
        let owner = [seed; 20];
        Self { private, owner, key, account: account(&owner, &key_hash(&key)) }
    }
}

/// What a test wants to happen in a slot.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Noop,
    Send { index: u64, split: u64, recipient: Fr },
    Withdraw { index: u64, split: u64 },
    Exit { index: u64, account: Fr },
    Rekey { index: u64, account: Fr, new_account: Fr },
}

/// The tree and everything needed to sign for its leaves.
#[derive(Clone)]
pub struct Fixture {
    pub domain: Fr,
    pub batch_no: u32,
    pub next: u64,
    pub leaves: BTreeMap<u64, HeldLeaf>,
    wallets: HashMap<[u8; 32], Wallet>,
    nodes: HashMap<(usize, u64), Fr>,
}

impl Fixture {
    pub fn new(domain: Fr) -> Self {
        Self {
            domain,
            batch_no: 1,
            next: 0,
            leaves: BTreeMap::new(),
            wallets: HashMap::new(),
            nodes: HashMap::new(),
        }
    }

    /// Adds a wallet that the fixture can sign for.
    pub fn wallet(&mut self, seed: u8) -> Wallet {
        let wallet = Wallet::new(seed);
        self.wallets.insert(key_of(&wallet.account), wallet.clone());
        wallet
    }

    pub fn root(&self) -> Fr {
        self.node(DEPTH, 0)
    }

    pub(crate) fn node(&self, level: usize, index: u64) -> Fr {
        self.nodes.get(&(level, index)).copied().unwrap_or_else(|| empty_root(level))
    }

    pub(crate) fn set_leaf(&mut self, index: u64, leaf: Fr) {
        self.nodes.insert((0, index), leaf);
        for level in 1..=DEPTH {
            let parent = index >> (2 * level);
            let hash = poseidon::hash4(std::array::from_fn(|i| self.node(level - 1, parent * 4 + i as u64)));
            self.nodes.insert((level, parent), hash);
        }
    }

    /// Siblings of the path of leaf `index`, on levels `from..to`.
    pub fn siblings(&self, index: u64, from: usize, to: usize) -> Vec<Siblings> {
        (from..to)
            .map(|level| {
                let node = index >> (2 * level);
                let own = digit(index, level) as u64;
                let others: Vec<Fr> = (0..ARITY as u64)
                    .filter(|d| *d != own)
                    .map(|d| self.node(level, node - own + d))
                    .collect();
                [others[0], others[1], others[2]]
            })
            .collect()
    }

    fn signed(&self, kind: SignedKind, index: u64, split: u64, recipient: Fr) -> SlotInput {
        let held = self.leaves[&index];
        let wallet = &self.wallets[&key_of(&held.account)];
        let mut spend = SignedSpend {
            kind,
            index,
            owner: wallet.owner,
            key: wallet.key,
            range: held.range,
            split,
            recipient,
            valid_until: self.batch_no + 5,
            signature: Signature { r8: Point::IDENTITY, s: Fr::ZERO },
        };
        spend.signature = wallet.private.sign(&spend.message(&self.domain));
        SlotInput::Signed(Box::new(spend))
    }

    /// Runs a batch on the fixture and returns its input.
    ///
    /// # Panics
    /// If an operation names a leaf that is not there or has no wallet, or a split outside its leaf.
    pub fn batch(&mut self, shape: Shape, operations: &[Operation], mints: &[Mint]) -> BatchInput {
        let places = shape.places() as u64;
        let start = self.next.div_ceil(places) * places;
        let append_siblings = self.siblings(start, shape.subtree_levels(), DEPTH);
        let mut inputs = Vec::new();
        let mut rewritten: Vec<(u64, Fr)> = Vec::new();
        let mut outputs: Vec<(u64, Fr)> = Vec::new();
        for (i, operation) in operations.iter().enumerate() {
            let place = start + i as u64;
            let input = match *operation {
                Operation::Noop => SlotInput::Noop,
                Operation::Send { index, split, recipient } => {
                    self.signed(SignedKind::Send, index, split, recipient)
                }
                Operation::Withdraw { index, split } => {
                    self.signed(SignedKind::Withdraw, index, split, Fr::ZERO)
                }
                Operation::Exit { index, account } => self.forced(ForcedKind::Exit, index, account, Fr::ZERO),
                Operation::Rekey { index, account, new_account } => {
                    self.forced(ForcedKind::Rekey, index, account, new_account)
                }
            };
            let (after, output) = match &input {
                SlotInput::Noop => (None, None),
                SlotInput::Signed(spend) => (Some((spend.index, spend.change())), spend.output()),
                SlotInput::Forced(entry) => (Some((entry.index, entry.after())), None),
            };
            if let Some((index, leaf)) = after {
                match leaf {
                    Some(leaf) => self.leaves.insert(index, leaf),
                    None => self.leaves.remove(&index),
                };
                rewritten.push((index, leaf.map_or(Fr::ZERO, |leaf| leaf.hash())));
            }
            if let Some(leaf) = output {
                self.leaves.insert(place, leaf);
                outputs.push((place, leaf.hash()));
            }
            inputs.push(input);
        }
        for (j, mint) in mints.iter().enumerate() {
            let place = start + (shape.slots() + j) as u64;
            let leaf = HeldLeaf { account: mint.account, range: mint.range };
            self.leaves.insert(place, leaf);
            outputs.push((place, leaf.hash()));
        }

        // The tree as it stands after the append and before the first spend.
        for (place, leaf) in outputs {
            self.set_leaf(place, leaf);
        }
        let top = carried_level(shape);
        let carried_nodes = (0..1u64 << (2 * (DEPTH - top))).map(|i| self.node(top, i)).collect();
        let slots = inputs
            .into_iter()
            .map(|input| PlacedSlot {
                siblings: input.index().map_or_else(Vec::new, |index| self.siblings(index, 0, top)),
                input,
            })
            .collect();
        for (index, leaf) in rewritten {
            self.set_leaf(index, leaf);
        }
        let input = BatchInput {
            shape,
            domain: self.domain,
            batch_no: self.batch_no,
            start,
            append_siblings,
            carried_nodes,
            slots,
            mints: mints.to_vec(),
        };
        self.next = start + places;
        self.batch_no += 1;
        input
    }

    fn forced(&self, kind: ForcedKind, index: u64, account: Fr, new_account: Fr) -> SlotInput {
        let held = self.leaves.get(&index).copied();
        SlotInput::Forced(ForcedEntry { kind, index, account, new_account, held })
    }
}

fn key_of(account: &Fr) -> [u8; 32] {
    let mut key = [0u8; 32];
    key.copy_from_slice(account.to_repr().as_ref());
    key
}
