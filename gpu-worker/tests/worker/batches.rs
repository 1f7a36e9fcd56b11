//! Batches as a coordinator makes them, from a small tree.

use std::collections::HashMap;

use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    batch::{BatchInput, Mint, PlacedSlot, carried_level},
    eddsa::{PrivateKey, Signature},
    leaf::{CoinRange, account, key_hash, leaf},
    message::SignedKind,
    shape::Shape,
    slot::{ForcedEntry, ForcedKind, HeldLeaf, SignedSpend, SlotInput},
    tree::{DEPTH, Siblings, children, digit, empty_root},
};

const SHAPE: Shape = Shape::S3M1;
const OWNER: [u8; 20] = [0x11; 20];
const PAYEE: [u8; 20] = [0x22; 20];

/// A 4-ary tree that keeps only the nodes that differ from the empty tree's.
#[derive(Clone, Default)]
struct Tree(HashMap<(usize, u64), Fr>);

impl Tree {
    fn node(&self, level: usize, index: u64) -> Fr {
        self.0.get(&(level, index)).copied().unwrap_or_else(|| empty_root(level))
    }

    fn siblings(&self, level: usize, index: u64) -> Siblings {
        let node = index >> (2 * level);
        let first = node & !3;
        let mut others =
            (first..first + 4).filter(|other| *other != node).map(|other| self.node(level, other));
        std::array::from_fn(|_| others.next().unwrap())
    }

    fn path(&self, levels: std::ops::Range<usize>, index: u64) -> Vec<Siblings> {
        levels.map(|level| self.siblings(level, index)).collect()
    }

    fn set(&mut self, index: u64, value: Fr) {
        let mut node = value;
        for level in 0..DEPTH {
            self.0.insert((level, index >> (2 * level)), node);
            let siblings = self.siblings(level, index);
            node = circuits::poseidon::hash4(children(digit(index, level), node, &siblings));
        }
        self.0.insert((DEPTH, 0), node);
    }
}

/// A coordinator's state, reduced to what these batches need.
pub struct Ledger {
    tree: Tree,
    domain: Fr,
    batch_no: u32,
    next: u64,
}

impl Ledger {
    pub fn new() -> Self {
        Self { tree: Tree::default(), domain: Fr::from(77), batch_no: 0, next: 0 }
    }

    /// The next batch, without operations.
    pub fn empty(&mut self) -> BatchInput {
        self.seal(Vec::new(), Vec::new(), &[])
    }

    /// An empty batch of that number.
    pub fn empty_number(mut self, batch_no: u32) -> BatchInput {
        self.batch_no = batch_no - 1;
        self.empty()
    }

    /// Mints coins 1..=100 to the owner; the leaf is at the last place of the batch.
    pub fn mint(&mut self) -> BatchInput {
        let mint = Mint { account: owner_account(), range: coins(1, 100) };
        let place = self.next + 3;
        self.seal(Vec::new(), vec![mint], &[(place, leaf(&mint.account, &mint.range))])
    }

    /// After `mint`: sends 1..=60 to the payee, who withdraws 1..=20 in the same batch; the rest of the owner is forced out.
    pub fn send_withdraw_exit(&mut self) -> BatchInput {
        let (minted, sent) = (self.next - 1, self.next);
        let batch_no = self.batch_no + 1;
        let sign = |spend: SignedSpend, key: &PrivateKey| {
            let signature = key.sign(&spend.message(&self.domain));
            SlotInput::Signed(Box::new(SignedSpend { signature, ..spend }))
        };
        let unsigned = Signature { r8: Point::IDENTITY, s: Fr::from(0) };
        let payee_account = account(&PAYEE, &key_hash(&payee_key().public()));
        let send = SignedSpend {
            kind: SignedKind::Send,
            index: minted,
            owner: OWNER,
            key: owner_key().public(),
            range: coins(1, 100),
            split: 60,
            recipient: payee_account,
            valid_until: batch_no + 5,
            signature: unsigned,
        };
        let withdraw = SignedSpend {
            kind: SignedKind::Withdraw,
            index: sent,
            owner: PAYEE,
            key: payee_key().public(),
            range: coins(1, 60),
            split: 20,
            recipient: Fr::from(0),
            valid_until: batch_no,
            signature: unsigned,
        };
        let exit = ForcedEntry {
            kind: ForcedKind::Exit,
            index: minted,
            account: owner_account(),
            new_account: Fr::from(0),
            held: Some(HeldLeaf { account: owner_account(), range: coins(61, 100) }),
        };
        let output = send.output().unwrap().hash();
        let slots = vec![sign(send, &owner_key()), sign(withdraw, &payee_key()), SlotInput::Forced(exit)];
        self.seal(slots, Vec::new(), &[(sent, output)])
    }

    /// Appends the outputs, then takes the paths.
    fn seal(&mut self, slots: Vec<SlotInput>, mints: Vec<Mint>, outputs: &[(u64, Fr)]) -> BatchInput {
        let start = self.next;
        let append_siblings = self.tree.path(SHAPE.subtree_levels()..DEPTH, start);
        for (index, value) in outputs {
            self.tree.set(*index, *value);
        }
        let top = carried_level(SHAPE);
        let carried_nodes =
            (0..4u64.pow((DEPTH - top) as u32)).map(|index| self.tree.node(top, index)).collect();
        let place = |input: SlotInput| {
            let siblings = input.index().map(|index| self.tree.path(0..top, index)).unwrap_or_default();
            PlacedSlot { input, siblings }
        };
        let slots = slots.into_iter().map(place).collect();
        self.batch_no += 1;
        self.next += SHAPE.places() as u64;
        BatchInput {
            shape: SHAPE,
            domain: self.domain,
            batch_no: self.batch_no,
            start,
            append_siblings,
            carried_nodes,
            slots,
            mints,
        }
    }
}

fn coins(low: u64, high: u64) -> CoinRange {
    CoinRange::new(low, high).unwrap()
}

fn owner_key() -> PrivateKey {
    PrivateKey::new([7; 32])
}

fn payee_key() -> PrivateKey {
    PrivateKey::new([8; 32])
}

fn owner_account() -> Fr {
    account(&OWNER, &key_hash(&owner_key().public()))
}
