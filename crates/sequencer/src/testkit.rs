//! Holders, and a state without a driver: what tests share.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{collections::BTreeMap, sync::Arc};

use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    eddsa::{PrivateKey, Signature},
    leaf::{account, key_hash},
    public_data::domain,
    shape::Shape,
    slot::{ForcedKind, SignedSpend},
};
use protocol::{
    Address, DirectoryEntry, Draft, OperationId, SpendRequest, SubmitRequest,
    ecdsa::OperatorKey,
    eip712::{self, SigningDomain, TypedMessage},
    l1::{Deposit, ForcedRequest, Logs},
};

use crate::{
    batcher::SealRules,
    farm::{CapacityRules, FarmRecord, FarmRules, Scale},
    ledger::{Limits, Unremembered, accept::verify},
    parallel::Parallel,
    rejection::Rejection,
    rules::Rules,
    settlement::SettlementRules,
    state::{
        State,
        event::{Cursor, Event, KeyRegistered, ProofAccepted, Stamped},
    },
};

pub const SIGNING: SigningDomain = SigningDomain { chain_id: 31337, contract: [0xc0; 20] };

pub fn domain_word() -> Fr {
    domain(SIGNING.chain_id, &SIGNING.contract)
}

/// Somebody with an Ethereum key and a spending key.
#[derive(Clone)]
pub struct Holder {
    pub ethereum: OperatorKey,
    pub private: PrivateKey,
    pub owner: Address,
    pub key: Point,
    pub key_hash: Fr,
    pub account: Fr,
}

impl Holder {
    pub fn new(seed: u8) -> Self {
        let ethereum = OperatorKey::from_bytes(&[seed; 32]).unwrap();
        let private = PrivateKey::new([seed; 32]);
        let (owner, key) = (ethereum.address(), private.public());
        let key_hash = key_hash(&key);
        let account = account(&owner, &key_hash);
        Self { ethereum, private, owner, key, key_hash, account }
    }

    pub fn entry(&self, key_epoch: u32) -> DirectoryEntry {
        let message = eip712::DirectoryEntry { owner: self.owner, key: self.key, key_epoch };
        let signature = message.sign(&SIGNING, &self.ethereum).to_vec();
        DirectoryEntry { owner: self.owner, key: self.key, key_epoch, signature }
    }

    /// Signs a draft as a wallet does: from its own data, not from the hash it was given.
    pub fn sign(&self, draft: &Draft, idempotency_key: &str) -> SubmitRequest {
        let spends = draft.spends.iter().map(|spend| {
            let mut signed = SignedSpend {
                kind: draft.kind,
                index: spend.index,
                owner: self.owner,
                key: self.key,
                range: spend.range,
                split: spend.split,
                recipient: draft.recipient_account,
                valid_until: draft.valid_until,
                signature: Signature { r8: Point::IDENTITY, s: Fr::default() },
            };
            signed.signature = self.private.sign(&signed.message(&draft.domain));
            SpendRequest {
                index: spend.index,
                range: spend.range,
                split: spend.split,
                key: self.key,
                signature: signed.signature,
            }
        });
        SubmitRequest {
            idempotency_key: idempotency_key.to_owned(),
            kind: draft.kind,
            sender: draft.sender,
            recipient: draft.recipient,
            recipient_account: draft.recipient_account,
            valid_until: draft.valid_until,
            spends: spends.collect(),
        }
    }
}

pub fn rules(shapes: &[Shape]) -> Arc<Rules> {
    let most = shapes.iter().map(|shape| shape.slots()).max().unwrap_or(0);
    Arc::new(Rules {
        domain: domain_word(),
        signing: SIGNING,
        shapes: shapes.to_vec(),
        circuits: Shape::ALL.into_iter().map(|shape| (shape, [shape.number() as u8; 32])).collect(),
        keys: BTreeMap::new(),
        limits: Limits { min_amount: 10, max_leaves: most.min(64), quota: 600, quota_window_ms: 60_000 },
        seal: SealRules { age_ms: 2_000, deposit_wait_ms: 2_000, forced_wait_ms: 2_000 },
        farm: FarmRules { lease_ms: 4_000, quarantine_after: 4, attempt_limit_ms: 1_800_000 },
        capacity: CapacityRules {
            within_ms: 2_400_000,
            proof_ms: Shape::ALL.into_iter().map(|shape| (shape, 60_000)).collect(),
            grace_ms: 60_000,
            scale: Some(Scale { after_ms: 60_000, max_workers: 1_000_000 }),
        },
        settlement: SettlementRules {
            resend_ms: 15_000,
            bump_ms: 60_000,
            bump_percent: 25,
            max_fee: 500_000_000_000,
            max_batches_per_tx: 64,
            max_gas_per_tx: 14_000_000,
            max_in_flight: 4,
        },
        valid_for: 1_000,
        promise_deadline_s: 3_000,
        parallel: Parallel::default(),
    })
}

/// A state with its log, moved by hand.
pub struct Bench {
    pub state: State,
    pub log: Vec<Stamped>,
    pub now: u64,
    block: u64,
    coins: u64,
    keys: u64,
}

impl Bench {
    pub fn new(rules: Arc<Rules>) -> Self {
        let mut bench =
            Self { state: State::new(rules), log: Vec::new(), now: 1_000, block: 0, coins: 0, keys: 0 };
        bench.state.begin(bench.now, &mut bench.log).unwrap();
        bench
    }

    pub fn register(&mut self, holder: &Holder) {
        self.keys += 1;
        let entry = holder.entry(0);
        let registered = KeyRegistered {
            owner: entry.owner,
            key: entry.key,
            key_epoch: 0,
            signature: entry.signature,
            idempotency_key: format!("register {}", self.keys),
            request_hash: [0; 32],
        };
        self.state.register_key(registered, self.now, &mut self.log).unwrap();
    }

    pub fn deposit(&mut self, holder: &Holder, coins: u64) {
        let (id, _) = self.state.next_ids();
        let deposit = Deposit {
            id,
            owner: holder.owner,
            key_hash: holder.key_hash,
            account: holder.account,
            range: circuits::leaf::CoinRange::new(self.coins + 1, self.coins + coins).unwrap(),
            depositor: holder.owner,
            deadline: 0,
            block: self.block,
            tx: [0; 32],
        };
        self.coins += coins;
        self.take_in(Logs { deposits: vec![deposit], ..Logs::default() });
    }

    pub fn force(&mut self, request: ForcedRequest) {
        let (_, id) = self.state.next_ids();
        self.take_in(Logs { forced: vec![ForcedRequest { id, ..request }], ..Logs::default() });
    }

    fn take_in(&mut self, logs: Logs) {
        self.block += 1;
        let to = Cursor { number: self.block, hash: [self.block as u8; 32] };
        self.state.take_in(to, logs, self.now, &mut self.log).unwrap();
    }

    /// Lets the deposits and forced requests that wait into a batch.
    pub fn wait(&mut self) {
        self.now += 60_000;
        self.state.seal_due(self.now, &mut self.log).unwrap();
    }

    pub fn submit(&mut self, request: SubmitRequest) -> Result<OperationId, Rejection> {
        let verified = verify(&domain_word(), &self.state.rules().limits, &Unremembered, request)?;
        self.state
            .submit(&verified, None, self.now, &mut self.log)
            .map_err(|failure| failure.rejected().unwrap())
    }

    /// Prepares, signs and submits a send.
    pub fn send(&mut self, from: &Holder, to: &Holder, amount: u64) -> Result<OperationId, Rejection> {
        let draft = self.state.prepare_send(&protocol::PrepareSend {
            sender: from.owner,
            recipient: to.owner,
            amount,
            allow_vault: false,
            valid_until: None,
        })?;
        self.keys += 1;
        self.submit(from.sign(&draft, &format!("send {}", self.keys)))
    }

    pub fn withdraw(&mut self, from: &Holder, amount: u64) -> Result<OperationId, Rejection> {
        let draft = self.state.prepare_withdraw(&protocol::PrepareWithdraw {
            sender: from.owner,
            amount,
            valid_until: None,
        })?;
        self.keys += 1;
        self.submit(from.sign(&draft, &format!("withdraw {}", self.keys)))
    }

    /// Hands the first attempt of a batch to a worker.
    pub fn grant(&mut self, batch_no: u32) {
        let worker = wire::WorkerId::parse("w").unwrap();
        let event = Event::Farm(FarmRecord::Granted { batch_no, attempt: 1, worker });
        let stamped = Stamped { at: self.now, event };
        self.state.apply(&stamped).unwrap();
        self.log.push(stamped);
    }

    /// Has the next batch proven.
    pub fn prove(&mut self, batch_no: u32) {
        let proof = ProofAccepted {
            batch_no,
            attempt: 1,
            worker: wire::WorkerId::parse("w").unwrap(),
            proof: vec![0; 256],
            prove_ms: 1,
            witness_ms: 1,
        };
        self.state.accept_proof(proof, self.now, &mut self.log).unwrap();
    }

    /// The state that the log gives again.
    pub fn replayed(&self) -> State {
        let mut state = State::new(Arc::new(self.state.rules().clone()));
        for stamped in &self.log {
            let bytes = postcard::to_stdvec(stamped).unwrap();
            state.apply(&postcard::from_bytes(&bytes).unwrap()).unwrap();
        }
        state
    }
}

/// A forced exit of the leaf at this index.
pub fn exit_of(holder: &Holder, index: u64) -> ForcedRequest {
    ForcedRequest {
        id: 0,
        kind: ForcedKind::Exit,
        index,
        account: holder.account,
        new_account: Fr::default(),
        owner: holder.owner,
        deadline: 0,
        block: 0,
        tx: [0; 32],
    }
}

/// Two holders with keys; the first has one leaf of 1,000 coins in batch 1.
pub fn funded(shapes: &[Shape]) -> (Bench, Holder, Holder) {
    let (alice, bob) = (Holder::new(1), Holder::new(2));
    let mut bench = Bench::new(rules(shapes));
    bench.register(&alice);
    bench.register(&bob);
    bench.deposit(&alice, 1_000);
    bench.wait();
    (bench, alice, bob)
}

impl State {
    /// As if a store had taken what changed.
    pub fn without_rows(mut self) -> Self {
        self.take_rows();
        self
    }
}
