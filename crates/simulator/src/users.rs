//! Users: they register, pay, withdraw, ask again when an answer is lost, and remember what they were told.

use std::sync::OnceLock;

use api::service::OperationView;
use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    eddsa::{PrivateKey, Signature},
    leaf::{account, key_hash},
    message::SignedKind,
    slot::{ForcedKind, SignedSpend},
};
use coordinator::internals::Message;
use protocol::{Address, Draft, PrepareSend, PrepareWithdraw};
use sequencer::{
    ledger::{Verified, directory::vault},
    rejection::Rejection,
    state::event::KeyRegistered,
};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use super::{
    node::Wish,
    process::Process,
    world::{Shared, World},
};

/// Somebody with two spending keys, made once: hashes cost most of a simulation.
pub struct Person {
    pub owner: Address,
    vault: Fr,
    keys: [(Point, Fr, Fr); 2],
}

pub fn people() -> &'static [Person] {
    static PEOPLE: OnceLock<Vec<Person>> = OnceLock::new();
    PEOPLE.get_or_init(|| {
        let person = |number: u8| {
            let owner = [number; 20];
            let key = |salt: u8| {
                let key = PrivateKey::new([number + salt; 32]).public();
                let hash = key_hash(&key);
                (key, hash, account(&owner, &hash))
            };
            Person { owner, vault: vault(&owner), keys: [key(0), key(100)] }
        };
        (1..=4).map(person).collect()
    })
}

enum Ask {
    Submit(Verified),
    Register(KeyRegistered),
}

enum Wait {
    Submit(Receiver<Result<OperationView, Rejection>>),
    Register(Receiver<Result<(), Rejection>>),
}

struct Call {
    key: String,
    ask: Ask,
    /// The answer under way, and the process that it comes from.
    wait: Option<(u64, Wait)>,
    done: bool,
}

pub struct User {
    person: &'static Person,
    calls: Vec<Call>,
    keys_registered: u32,
}

impl User {
    pub fn new(person: &'static Person) -> Self {
        Self { person, calls: Vec::new(), keys_registered: 0 }
    }

    pub fn owner(&self) -> Address {
        self.person.owner
    }

    /// Whether every call has its answer.
    pub fn content(&self) -> bool {
        self.calls.iter().all(|call| call.done)
    }

    /// Deposits on L1, or forces there.
    pub fn wish(&self, world: &mut World) {
        let (owner, (_, _, account)) = (self.person.owner, self.person.keys[0]);
        if world.dice.one_in(3) {
            let mine = world
                .model
                .coins()
                .filter(|(_, coin)| coin.owner == owner)
                .map(|(index, coin)| (*index, coin.account));
            let mine: Vec<(u64, Fr)> = mine.collect();
            let kind = world.dice.pick(&[ForcedKind::Exit, ForcedKind::Rekey]);
            let (index, account) = match mine.is_empty() || world.dice.one_in(4) {
                true => (world.dice.below(12), account),
                false => world.dice.pick(&mine),
            };
            let new_account = match kind {
                ForcedKind::Exit => Fr::default(),
                ForcedKind::Rekey => self.person.keys[1].2,
            };
            world.say(|| format!("{} forces {kind:?} of leaf {index} on L1", owner[0]));
            world.node.wish(Wish::Force { kind, index, account, new_account, owner });
        } else {
            self.deposit(world);
        }
    }

    pub fn deposit(&self, world: &mut World) {
        let (_, key_hash, account) = self.person.keys[0];
        let owner = self.person.owner;
        let coins = world.dice.pick(&[10, 40, 100]);
        world.say(|| format!("{} deposits {coins}", owner[0]));
        world.node.wish(Wish::Deposit { owner, key_hash, account, coins });
    }

    /// Has its first key registered.
    pub fn register(&mut self, process: &Process, world: &Shared) {
        let ask = Ask::Register(self.registration(0, "c0"));
        self.keys_registered = 1;
        self.calls.push(Call { key: "c0".to_owned(), ask, wait: None, done: false });
        self.call(0, process, world);
    }

    /// Calls a coordinator: again what has no answer yet, sometimes what has one, or something new.
    pub fn act(&mut self, process: &Process, world: &Shared) {
        let quiet = world.lock().quiet;
        let idle: Vec<usize> = (0..self.calls.len()).filter(|at| self.calls[*at].wait.is_none()).collect();
        let open: Vec<usize> = idle.iter().copied().filter(|at| !self.calls[*at].done).collect();
        if quiet {
            open.into_iter().for_each(|at| self.call(at, process, world));
            return;
        }
        let (again, twice) = {
            let mut world = world.lock();
            let again = (!open.is_empty() && world.dice.one_in(2)).then(|| world.dice.pick(&open));
            (again, (!idle.is_empty() && world.dice.one_in(6)).then(|| world.dice.pick(&idle)))
        };
        match again.or(twice) {
            Some(at) => self.call(at, process, world),
            None => self.begin(process, world),
        }
    }

    fn begin(&mut self, process: &Process, world: &Shared) {
        let number = self.calls.len();
        let key = format!("c{number}");
        let wanted = {
            let mut world = world.lock();
            let epoch = self.keys_registered;
            if epoch == 1 && world.dice.one_in(8) {
                self.keys_registered += 1;
                Some(Ask::Register(self.registration(epoch, &key)))
            } else {
                self.payment(&key, process, &mut world)
            }
        };
        let Some(ask) = wanted else { return };
        self.calls.push(Call { key, ask, wait: None, done: false });
        self.call(number, process, world);
    }

    fn registration(&self, key_epoch: u32, key: &str) -> KeyRegistered {
        KeyRegistered {
            owner: self.person.owner,
            key: self.person.keys[key_epoch as usize & 1].0,
            key_epoch,
            signature: Vec::new(),
            idempotency_key: key.to_owned(),
            request_hash: [key_epoch as u8; 32],
        }
    }

    /// Drafts a send or a withdrawal; nothing if there is not enough. Now and then an old key is taken for it.
    fn payment(&self, key: &str, process: &Process, world: &mut World) -> Option<Ask> {
        let sender = self.person.owner;
        let amount = world.dice.pick(&[10, 15, 40, 60, 110]);
        let state = &process.driver.state;
        let payee = &people()[world.dice.index(people().len())];
        let (draft, vault) = if world.dice.one_in(5) {
            let ask = PrepareWithdraw { sender, amount, valid_until: None };
            (state.prepare_withdraw(&ask).ok()?, Fr::default())
        } else {
            let recipient = payee.owner;
            let ask = PrepareSend { sender, recipient, amount, allow_vault: true, valid_until: None };
            (state.prepare_send(&ask).ok()?, payee.vault)
        };
        let reused = self.calls.iter().rfind(|call| matches!(call.ask, Ask::Submit(_)));
        let key = match reused {
            Some(call) if world.dice.one_in(20) => call.key.clone(),
            _ => key.to_owned(),
        };
        Some(Ask::Submit(signed(&draft, &key, vault)))
    }

    fn call(&mut self, at: usize, process: &Process, world: &Shared) {
        let call = &mut self.calls[at];
        let owner = self.person.owner[0];
        let holder = process.holder;
        world.lock().say(|| format!("user {owner} calls process {holder} with {}", call.key));
        let message = match &call.ask {
            Ask::Submit(verified) => {
                let (reply, answer) = oneshot::channel();
                call.wait = Some((holder, Wait::Submit(answer)));
                Message::Submit(Box::new(verified.clone()), None, reply)
            }
            Ask::Register(entry) => {
                let (reply, answer) = oneshot::channel();
                call.wait = Some((holder, Wait::Register(answer)));
                Message::Register(Box::new(entry.clone()), reply)
            }
        };
        process.link.try_send(message);
    }

    /// Reads what was answered; some answers get lost on the way. `ended`: a process that has just stopped, and may have answered
    /// before it found out that others had led meanwhile.
    pub fn hear(&mut self, world: &mut World, ended: Option<u64>) {
        for at in 0..self.calls.len() {
            let Some((holder, wait)) = &mut self.calls[at].wait else { continue };
            let leads = Some(*holder) == world.disk.leader && Some(*holder) != ended;
            let heard = match wait {
                Wait::Submit(answer) => answer.try_recv().map(|answer| answer.map(Some)),
                Wait::Register(answer) => answer.try_recv().map(|answer| answer.map(|()| None)),
            };
            match heard {
                Err(TryRecvError::Empty) => continue,
                Err(TryRecvError::Closed) => {}
                Ok(_) if world.fault(8) => world.say(|| "an answer is lost".to_owned()),
                Ok(answer) => self.answered(at, leads, answer, world),
            }
            self.calls[at].wait = None;
        }
    }

    fn answered(
        &mut self,
        at: usize,
        leads: bool,
        answer: Result<Option<OperationView>, Rejection>,
        world: &mut World,
    ) {
        let owner = self.person.owner;
        let call = &mut self.calls[at];
        match answer {
            Ok(None) => call.done = true,
            Ok(Some(view)) => {
                let Ask::Submit(verified) = &call.ask else { return };
                world.seen.answers += 1;
                world.say(|| {
                    format!(
                        "{} of {} is answered: batch {}",
                        verified.idempotency_key, owner[0], view.batch_no
                    )
                });
                let told = world.model.answered(verified, &view);
                world.check(told);
                call.done = true;
            }
            Err(refused) => {
                world.seen.refusals += 1;
                let text = match &call.ask {
                    Ask::Submit(verified) => verified.idempotency_key.clone(),
                    Ask::Register(entry) => entry.idempotency_key.clone(),
                };
                world.say(|| format!("{text} of {} is refused: {}", owner[0], refused.code()));
                world.seen.clock_refusals += u64::from(refused.code() == "CLOCK");
                world.seen.no_capacity += u64::from(refused.code() == "BUSY");
                if refused.retryable() {
                    return;
                }
                // Who does not lead may know too little.
                if leads && let Ask::Submit(verified) = &call.ask {
                    let known = world.model.operation_of(owner, &verified.idempotency_key);
                    let same = known.is_some_and(|known| known.request_hash == verified.request_hash);
                    if same {
                        world.breaks(|| {
                            format!("{text} of {} is durable and refused: {}", owner[0], refused.code())
                        });
                    }
                }
                call.done |= leads;
            }
        }
    }
}

/// A draft as a wallet sends it back, checked; the signature was not made.
fn signed(draft: &Draft, key: &str, vault: Fr) -> Verified {
    let spends: Vec<SignedSpend> = draft
        .spends
        .iter()
        .map(|spend| SignedSpend {
            kind: draft.kind,
            index: spend.index,
            owner: draft.sender,
            key: spend.key,
            range: spend.range,
            split: spend.split,
            recipient: draft.recipient_account,
            valid_until: draft.valid_until,
            signature: Signature { r8: Point::IDENTITY, s: Fr::default() },
        })
        .collect();
    let mut hash = Sha256::new();
    hash.update([u8::from(draft.kind == SignedKind::Withdraw)]);
    hash.update(draft.recipient.unwrap_or_default());
    hash.update(bn254::fr_to_be_bytes(&draft.recipient_account));
    hash.update(draft.valid_until.to_be_bytes());
    for spend in &spends {
        for word in [spend.index, spend.range.low(), spend.range.high(), spend.split] {
            hash.update(word.to_be_bytes());
        }
    }
    Verified {
        idempotency_key: key.to_owned(),
        request_hash: hash.finalize().into(),
        kind: draft.kind,
        sender: draft.sender,
        recipient: draft.recipient,
        vault,
        hashes: spends.iter().map(SignedSpend::hashes).collect(),
        spends,
    }
}
