//! What the log says, worked out a second time: plain maps, one event after the other, none of the coordinator's code but
//! the hash functions. And what must be true of every effect that leaves the coordinator.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use api::service::OperationView;
use bn254::Fr;
use circuits::{
    leaf::{CoinRange, leaf},
    message::SignedKind,
    poseidon::hash4,
    shape::Shape,
    slot::ForcedKind,
    tree::{ARITY, DEPTH, empty_root},
};
use protocol::{
    Address, OperationId,
    l1::{Deposit, ForcedRequest, Hash32},
};
use sequencer::{
    ledger::Verified,
    state::event::{Accepted, Cursor, Event, ReadAgain, Sealed, Stamped},
};
use wire::WorkerId;

use super::node::{Node, tag};

mod effects;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coin {
    pub owner: Address,
    pub account: Fr,
    pub range: CoinRange,
}

/// A sealed batch.
struct Past {
    new_root: Fr,
    public_inputs: [Fr; 3],
    input_hash: [u8; 32],
    shape: Shape,
    /// Places and leaves as they were appended.
    appended: BTreeMap<u64, Fr>,
    proven: bool,
}

/// The attempts of a job.
#[derive(Default)]
struct Dispatch {
    attempt: u32,
    /// Attempts in flight.
    live: BTreeMap<u32, WorkerId>,
    granted: BTreeMap<u32, WorkerId>,
}

/// A tree without its empty parts.
#[derive(Default)]
struct Sparse(BTreeMap<(usize, u64), Fr>);

impl Sparse {
    fn node(&self, level: usize, index: u64) -> Fr {
        self.0.get(&(level, index)).copied().unwrap_or_else(|| empty_root(level))
    }

    fn write(&mut self, leaves: impl Iterator<Item = (u64, Fr)>) -> Fr {
        let mut above = BTreeSet::new();
        for (index, leaf) in leaves {
            self.0.insert((0, index), leaf);
            above.insert(index / ARITY as u64);
        }
        for level in 1..=DEPTH {
            for index in std::mem::take(&mut above) {
                let child = |i| self.node(level - 1, index * ARITY as u64 + i as u64);
                let hash = hash4(std::array::from_fn(child));
                self.0.insert((level, index), hash);
                above.insert(index / ARITY as u64);
            }
        }
        self.node(DEPTH, 0)
    }
}

#[derive(Default)]
pub struct Model {
    /// Whether trees are hashed, too.
    pub hashes: bool,
    tree: Sparse,
    coins: BTreeMap<u64, Coin>,
    minted: u64,
    taken_in: u64,
    pub withdrawn: u64,
    deposits: VecDeque<Deposit>,
    forced: VecDeque<ForcedRequest>,
    next_deposit: u64,
    next_forced: u64,
    sealed_deposits: BTreeMap<u64, CoinRange>,
    /// How far L1 was read, and the ids due after it.
    positions: Vec<(Cursor, u64, u64)>,
    /// Of the open batch.
    start: u64,
    next: u64,
    filled: u64,
    appended: BTreeMap<u64, Fr>,
    touched: BTreeSet<u64>,
    past: BTreeMap<u32, Past>,
    proven: u32,
    last_final: u32,
    operations: BTreeMap<OperationId, Accepted>,
    by_key: BTreeMap<(Address, String), OperationId>,
    promised: Vec<(u32, u64, Fr)>,
    dispatch: BTreeMap<u32, Dispatch>,
    /// The batches of each nonce that may still bring them in.
    flights: BTreeMap<u64, (u32, u32)>,
    /// Nonces whose transactions are final.
    spent: BTreeSet<u64>,
    /// The batches of every transaction that was recorded.
    recorded: BTreeMap<Hash32, (u32, u32)>,
    nonce_of: BTreeMap<Hash32, u64>,
    mined: BTreeMap<u32, Hash32>,
}

type Verdict = Result<(), String>;

fn holds(condition: bool, what: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(what()) }
}

impl Model {
    pub fn new(hashes: bool) -> Self {
        Self { hashes, ..Self::default() }
    }

    /// The last batch that is sealed, proven, final.
    pub fn heights(&self) -> (u32, u32, u32) {
        (self.past.keys().next_back().copied().unwrap_or(0), self.proven, self.last_final)
    }

    pub fn coins(&self) -> impl Iterator<Item = (&u64, &Coin)> {
        self.coins.iter()
    }

    pub fn held(&self) -> u64 {
        self.coins.values().map(|coin| coin.range.amount()).sum()
    }

    pub fn public_inputs(&self, batch_no: u32) -> Option<[Fr; 3]> {
        self.past.get(&batch_no).map(|past| past.public_inputs)
    }

    pub fn operations(&self) -> usize {
        self.operations.len()
    }

    pub fn operation_of(&self, sender: Address, key: &str) -> Option<&Accepted> {
        self.operations.get(self.by_key.get(&(sender, key.to_owned()))?)
    }

    /// # Errors
    /// What does not hold.
    pub fn follow(&mut self, stamped: &Stamped, node: &Node) -> Verdict {
        match &stamped.event {
            Event::KeyRegistered(_) => Ok(()),
            Event::Accepted(accepted) => self.accepted(accepted),
            Event::Opened { batch_no, places } => {
                holds(self.filled == 0, || format!("batch {batch_no} is opened over accepted operations"))?;
                holds(*batch_no == self.heights().0 + 1, || {
                    format!("batch {batch_no} is opened out of order")
                })?;
                self.start = self.next.next_multiple_of(u64::from(*places));
                Ok(())
            }
            Event::Sealed(sealed) => self.sealed(sealed),
            Event::TakenIn { to, deposits, forced } => {
                self.taken_in(deposits, forced)?;
                self.positions.push((*to, self.next_deposit, self.next_forced));
                Ok(())
            }
            Event::Farm(record) => self.farm(record),
            Event::Proven(proof) => {
                let past = self.past.get_mut(&proof.batch_no);
                let past = past.ok_or_else(|| format!("batch {} is proven unsealed", proof.batch_no))?;
                holds(!past.proven, || format!("batch {} is proven twice", proof.batch_no))?;
                let valid = proof.proof[..] == tag(&past.public_inputs);
                holds(valid, || {
                    format!("a proof of batch {} is accepted that does not verify", proof.batch_no)
                })?;
                past.proven = true;
                self.dispatch.remove(&proof.batch_no);
                while self.past.get(&(self.proven + 1)).is_some_and(|past| past.proven) {
                    self.proven += 1;
                }
                Ok(())
            }
            Event::Settlement(record) => self.settlement(record, node),
            Event::ReadAgain(again) => self.read_again(again),
            #[allow(unreachable_patterns, reason = "events that others add do not concern the model")]
            _ => Ok(()),
        }
    }

    fn accepted(&mut self, accepted: &Accepted) -> Verdict {
        let id = accepted.id;
        holds(self.operations.insert(id, accepted.clone()).is_none(), || format!("{id} is applied twice"))?;
        let key = (accepted.sender, accepted.idempotency_key.clone());
        holds(self.by_key.insert(key, id).is_none(), || {
            format!("key {} of {} is used twice", accepted.idempotency_key, accepted.sender[0])
        })?;
        holds(accepted.batch_no == self.heights().0 + 1, || {
            format!("{id} stands in a batch that is not open")
        })?;
        holds(accepted.place == self.start + self.filled, || {
            format!("{id} stands at place {}", accepted.place)
        })?;
        for (place, spend) in (accepted.place..).zip(&accepted.spends) {
            let Some(coin) = self.coins.remove(&spend.index) else {
                return Err(format!("{id} spends leaf {}, which is empty", spend.index));
            };
            holds(coin.owner == accepted.sender && coin.range == spend.range, || {
                format!("{id} spends leaf {} of {}", spend.index, coin.owner[0])
            })?;
            let low = CoinRange::new(spend.range.low(), spend.split).map_err(|error| error.to_string())?;
            if spend.split < spend.range.high() {
                let rest =
                    CoinRange::new(spend.split + 1, spend.range.high()).map_err(|error| error.to_string())?;
                self.coins.insert(spend.index, Coin { range: rest, ..coin });
            }
            self.touched.insert(spend.index);
            match (accepted.kind, accepted.recipient) {
                (SignedKind::Send, Some(owner)) => {
                    let paid = Coin { owner, account: spend.recipient, range: low };
                    holds(self.coins.insert(place, paid).is_none(), || {
                        format!("place {place} is used twice")
                    })?;
                    self.append(place, &paid);
                }
                (SignedKind::Withdraw, None) => self.withdrawn += low.amount(),
                _ => return Err(format!("{id} is neither a send nor a withdrawal")),
            }
        }
        self.filled += accepted.spends.len() as u64;
        Ok(())
    }

    fn append(&mut self, place: u64, coin: &Coin) {
        if self.hashes {
            self.appended.insert(place, leaf(&coin.account, &coin.range));
        }
    }

    fn taken_in(&mut self, deposits: &[Deposit], forced: &[ForcedRequest]) -> Verdict {
        for deposit in deposits {
            holds(deposit.id == self.next_deposit, || format!("deposit {} is out of order", deposit.id))?;
            holds(deposit.range.low() == self.taken_in + 1, || {
                format!("deposit {} brings coins that were there before", deposit.id)
            })?;
            self.next_deposit += 1;
            self.taken_in = deposit.range.high();
            self.deposits.push_back(deposit.clone());
        }
        for request in forced {
            holds(request.id == self.next_forced, || format!("request {} is out of order", request.id))?;
            self.next_forced += 1;
            self.forced.push_back(request.clone());
        }
        Ok(())
    }

    /// What is behind a block that still stands is exchanged, as far as it is not sealed.
    fn read_again(&mut self, again: &ReadAgain) -> Verdict {
        let stands = |(at, ..): &&(Cursor, u64, u64)| Some(*at) == again.kept;
        let (deposits, forced) = match again.kept {
            None => (0, 0),
            Some(_) => {
                let kept = self.positions.iter().find(stands);
                kept.map(|(_, deposits, forced)| (*deposits, *forced)).ok_or("it goes back to nowhere")?
            }
        };
        self.positions.retain(|(at, ..)| again.kept.is_some_and(|kept| at.number <= kept.number));
        let waiting = self.next_deposit - self.deposits.len() as u64;
        for deposit in again.deposits.iter().filter(|deposit| deposit.id < waiting) {
            let same = self.sealed_deposits.get(&deposit.id) == Some(&deposit.range);
            holds(same, || format!("deposit {} is sealed and another one now", deposit.id))?;
        }
        let waiting_forced = self.next_forced - self.forced.len() as u64;
        self.deposits.retain(|deposit| deposit.id < deposits);
        self.forced.retain(|request| request.id < forced);
        self.next_deposit = deposits.max(waiting);
        self.next_forced = forced.max(waiting_forced);
        let before = self.deposits.back().map(|deposit| deposit.range);
        let before = before.or_else(|| self.sealed_deposits.values().next_back().copied());
        self.taken_in = before.map_or(0, |range| range.high());
        let new = |id: u64, sealed: u64, kept: u64| id >= sealed.max(kept);
        let fresh: Vec<_> = again.deposits.iter().filter(|d| new(d.id, waiting, deposits)).cloned().collect();
        let requests: Vec<_> =
            again.forced.iter().filter(|r| new(r.id, waiting_forced, forced)).cloned().collect();
        self.taken_in(&fresh, &requests)?;
        self.positions.push((again.to, self.next_deposit, self.next_forced));
        Ok(())
    }

    fn sealed(&mut self, sealed: &Sealed) -> Verdict {
        let batch_no = sealed.batch_no;
        holds(batch_no == self.heights().0 + 1, || format!("batch {batch_no} is sealed out of order"))?;
        let (slots, places) = (sealed.shape.slots() as u64, sealed.shape.places() as u64);
        let used = self.filled + u64::from(sealed.forced);
        holds(used <= slots, || format!("batch {batch_no} takes {used} slots"))?;
        for _ in 0..sealed.forced {
            let Some(request) = self.forced.pop_front() else {
                return Err(format!("batch {batch_no} answers a request that nobody made"));
            };
            self.touched.insert(request.index);
            let Some(coin) = self.coins.get_mut(&request.index) else { continue };
            if coin.account != request.account {
                continue;
            }
            match request.kind {
                ForcedKind::Rekey => coin.account = request.new_account,
                ForcedKind::Exit => {
                    self.withdrawn += coin.range.amount();
                    self.coins.remove(&request.index);
                }
            }
        }
        for place in 0..u64::from(sealed.mints) {
            let Some(deposit) = self.deposits.pop_front() else {
                return Err(format!("batch {batch_no} mints a deposit that nobody made"));
            };
            let coin = Coin { owner: deposit.owner, account: deposit.account, range: deposit.range };
            self.minted += deposit.range.amount();
            self.sealed_deposits.insert(deposit.id, deposit.range);
            let place = self.start + slots + place;
            holds(self.coins.insert(place, coin).is_none(), || format!("place {place} is used twice"))?;
            self.append(place, &coin);
        }
        let (held, minted, withdrawn) = (self.held(), self.minted, self.withdrawn);
        holds(minted == held + withdrawn, || {
            format!("after batch {batch_no} {minted} coins are minted, {held} held and {withdrawn} withdrawn")
        })?;
        let appended = std::mem::take(&mut self.appended);
        let touched = std::mem::take(&mut self.touched);
        if self.hashes {
            let mid_root = self.tree.write(appended.iter().map(|(place, leaf)| (*place, *leaf)));
            holds(mid_root == sealed.mid_root, || {
                format!("the mid root of batch {batch_no} is another one")
            })?;
            let spent = touched.into_iter().map(|index| {
                let coin = self.coins.get(&index);
                (index, coin.map_or_else(Fr::default, |coin| leaf(&coin.account, &coin.range)))
            });
            let new_root = self.tree.write(spent);
            holds(new_root == sealed.new_root, || {
                format!("the new root of batch {batch_no} is another one")
            })?;
        }
        let past = Past {
            new_root: sealed.new_root,
            public_inputs: sealed.public_inputs,
            input_hash: sealed.input_hash,
            shape: sealed.shape,
            appended,
            proven: false,
        };
        self.past.insert(batch_no, past);
        self.dispatch.insert(batch_no, Dispatch::default());
        (self.next, self.start, self.filled) = (self.start + places, self.start + places, 0);
        let promised = std::mem::take(&mut self.promised);
        promised.into_iter().try_for_each(|promise| self.promise(promise))
    }

    /// A promised leaf stands at its place in the mid root of its batch, as soon as that is sealed.
    fn promise(&mut self, promise: (u32, u64, Fr)) -> Verdict {
        let (batch_no, place, leaf) = promise;
        match self.past.get(&batch_no) {
            None => self.promised.push(promise),
            Some(past) if self.hashes => {
                holds(past.appended.get(&place) == Some(&leaf), || {
                    format!("the promise of place {place} in batch {batch_no} is broken")
                })?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// A user was told that an operation is accepted.
    ///
    /// # Errors
    /// What does not hold.
    pub fn answered(&mut self, asked: &Verified, view: &OperationView) -> Verdict {
        let (sender, key) = (asked.sender, &asked.idempotency_key);
        let accepted = self.operation_of(sender, key);
        let accepted =
            accepted.ok_or_else(|| format!("{key} of {} is answered and not durable", sender[0]))?;
        let same = accepted.request_hash == asked.request_hash && accepted.id.to_string() == view.id;
        holds(same && accepted.batch_no == view.batch_no, || {
            format!("{key} of {} is answered as another operation", sender[0])
        })?;
        holds(accepted.spends.len() == view.promises.len(), || format!("{key} is promised in part"))?;
        let mut leaves = Vec::new();
        for (place, (spend, promise)) in (accepted.place..).zip(accepted.spends.iter().zip(&view.promises)) {
            let paid = promise.range.low() == spend.range.low() && promise.range.high() == spend.split;
            holds(paid && promise.batch_no == accepted.batch_no, || {
                format!("{key} is promised other coins")
            })?;
            if accepted.kind == SignedKind::Send {
                holds(promise.index == place, || format!("{key} is promised place {}", promise.index))?;
                if self.hashes {
                    leaves.push((promise.batch_no, promise.index, leaf(&promise.account, &promise.range)));
                }
            }
        }
        leaves.into_iter().try_for_each(|promise| self.promise(promise))
    }
}
