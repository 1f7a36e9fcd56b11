//! A small `Service` in memory: the seam that lets these tests drive the API over real HTTP. It knows Alice, who holds
//! three leaves, and Bob, who can be paid; it checks signatures for real.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::service::*;
use async_trait::async_trait;
use bn254::Fr;
use circuits::{
    eddsa::{self, PrivateKey},
    leaf::{self, CoinRange},
    message::{Message, SignedKind},
    shape::Shape,
};
use protocol::{
    Address, Balances, DirectoryEntry, Draft, DraftSpend, OperationId, OperationKind, OwnershipProof,
    PrepareSend, PrepareWithdraw, Stage, SubmitRequest, TimelineEntry,
};
use wire::{CardReading, Throttle};

pub const ALICE: Address = [0xaa; 20];
pub const BOB: Address = [0xbb; 20];
/// Asking for this account never returns.
pub const SLEEPER: Address = [0x51; 20];
/// Asking for this account panics.
pub const PANICKER: Address = [0x99; 20];
pub const QUANTUM: u64 = 1_000_000_000;
pub const NEWEST_BATCH: u32 = 45;
pub const OPERATIONS: u8 = 30;
/// A batch with more attempts than an Int carries.
pub const ENDLESS: u32 = 44;
const LEAVES: [(u64, u64, u64); 3] = [(0, 1, 100), (5, 201, 250), (9, 301, 310)];

pub fn alice_key() -> PrivateKey {
    PrivateKey::new([1; 32])
}

pub fn bob_entry() -> DirectoryEntry {
    DirectoryEntry {
        owner: BOB,
        key: PrivateKey::new([2; 32]).public(),
        key_epoch: 3,
        signature: vec![7; 65],
    }
}

pub fn domain() -> Fr {
    Fr::from(77)
}

pub fn operation_id(number: u8) -> String {
    format!("0x{}", hex::encode([number; 32]))
}

/// What changed, so that a test can say that nothing did.
#[derive(Default)]
pub struct Double {
    pub submitted: Mutex<Vec<SubmitRequest>>,
    pub registered: Mutex<Vec<DirectoryEntry>>,
    /// How often promises were asked for.
    pub promises_asked: AtomicUsize,
    pub draining: AtomicBool,
    pub stuck: AtomicBool,
    /// Whether the worker with the card has left.
    pub carded_left: AtomicBool,
}

fn range(place: usize) -> CoinRange {
    CoinRange::new(LEAVES[place].1, LEAVES[place].2).unwrap()
}

fn alice_account() -> Fr {
    leaf::account(&ALICE, &leaf::key_hash(&alice_key().public()))
}

fn operation(id: &str) -> OperationView {
    OperationView {
        id: id.to_owned(),
        kind: OperationKind::Send,
        sender: Some(ALICE),
        recipient: Some(BOB),
        amount: 12,
        batch_no: 7,
        stage: Stage::Accepted,
        timeline: vec![TimelineEntry { stage: Stage::Accepted, at: 1_700_000_000_123, l1_tx: Some([6; 32]) }],
        promises: Vec::new(),
        hit: None,
    }
}

fn promises(id: OperationId) -> Vec<PromiseView> {
    vec![PromiseView {
        operation_id: id.0,
        kind: 1,
        batch_no: 7,
        index: 64,
        account: Fr::from(5),
        range: range(0),
        deadline: u64::MAX,
        signer: [0x0f; 20],
        signature: vec![1; 65],
    }]
}

fn batch(batch_no: u32) -> BatchView {
    BatchView {
        batch_no,
        shape: Some(Shape::S3M1),
        stage: Stage::Final,
        start: u64::from(batch_no) * 4,
        old_root: Some(Fr::from(1)),
        mid_root: Some(Fr::from(2)),
        new_root: None,
        public_inputs: Some([1, 2, 3].map(Fr::from)),
        proof: Some(vec![9; 256]),
        worker: Some("worker-1".to_owned()),
        // More than an Int carries.
        attempts: if batch_no == ENDLESS { u32::MAX } else { 1 },
        prove_ms: Some(2_345),
        witness_ms: None,
        l1_tx: Some([4; 32]),
        l1_block: Some(u64::from(u32::MAX) + 1),
        gas_used: Some(456_789),
        timeline: vec![],
    }
}

/// A card that is too hot.
pub const UUID: &str = "GPU-11111111-2222-3333-4444-555555555555";

fn card() -> CardReading {
    CardReading {
        name: Some("NVIDIA H200".to_owned()),
        uuid: Some(UUID.to_owned()),
        driver: Some("580.95.05".to_owned()),
        memory_total: Some(150_000_000_000),
        power: Some(412_500),
        pcie_replays: Some(u32::MAX),
        energy: Some(5_000_250),
        temperature: Some(93),
        throttle: Some(Throttle(0x44)),
        ecc_uncorrected: Some(0),
        sick: Some("PM-CARD-012: too hot".to_owned()),
        ..CardReading::default()
    }
}

fn worker(id: &str) -> WorkerView {
    WorkerView {
        id: id.to_owned(),
        health: WorkerHealth::Well,
        reason: None,
        refused: false,
        backend: Some("cpu".to_owned()),
        version: Some("0.1.0".to_owned()),
        memory: Some(1 << 33),
        circuits: vec![Shape::S3M1, Shape::S14M2],
        seen: 1_700_000_000_123,
        holds: vec![(7, wire::Stage::Proving)],
        card: None,
        joules_per_proof: None,
        joules_per_payment: None,
    }
}

impl Double {
    fn draft(
        &self,
        kind: SignedKind,
        recipient: Option<Address>,
        amount: u64,
        vault: bool,
    ) -> Result<Draft, Rejection> {
        let place = match amount {
            1..=100 => 0,
            _ => return Err(Rejection::InsufficientBalance { amount, available: 100, locked: 0 }),
        };
        let entry = recipient.filter(|recipient| *recipient == BOB).map(|_| bob_entry());
        let recipient_account = match (recipient, &entry) {
            (None, _) => Fr::from(0),
            (Some(owner), Some(entry)) => leaf::account(&owner, &leaf::key_hash(&entry.key)),
            (Some(owner), None) if vault => leaf::account(&owner, &Fr::from(0)),
            _ => return Err(Rejection::RecipientNotRegistered),
        };
        let range = range(place);
        let message = Message {
            domain: domain(),
            leaf: leaf::leaf(&alice_account(), &range),
            index: LEAVES[place].0,
            split: range.low() + amount - 1,
            kind,
            valid_until: 50,
            recipient: recipient_account,
        };
        let spend = DraftSpend {
            index: message.index,
            range,
            split: message.split,
            key: alice_key().public(),
            leaf: message.leaf,
            message: message.hash(),
        };
        Ok(Draft {
            kind,
            sender: ALICE,
            recipient,
            recipient_account,
            recipient_entry: entry,
            amount,
            domain: domain(),
            valid_until: 50,
            spends: vec![spend],
        })
    }
}

#[async_trait]
impl Service for Double {
    async fn system(&self) -> SystemView {
        SystemView {
            version: "0.1.0".to_owned(),
            chain_id: 31337,
            contract: [0xcc; 20],
            domain: domain(),
            operator: [0x0e; 20],
            promise_signer: [0x0f; 20],
            quantum_wei: QUANTUM,
            min_amount: 10,
            max_leaves_per_operation: 3,
            shapes: vec![(Shape::S3M1, [3; 32])],
            dev_key: true,
            l1_head: 12,
            l1_finalized: 10,
            open_batch: 8,
            sealed_batch: 7,
            proven_batch: 6,
            final_batch: 5,
            state_root: Fr::from(3),
            proven_root: Fr::from(2),
            final_root: Fr::from(1),
            intake_alarm: None,
            draining: false,
        }
    }

    async fn balances(&self, address: Address) -> Balances {
        if address == SLEEPER {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        assert_ne!(address, PANICKER, "asked to panic");
        if address != ALICE {
            return Balances::default();
        }
        // More than 2^64 wei, as real balances are.
        Balances { accepted: 1 << 62, proven: 150, finalized: 100 }
    }

    async fn coins(&self, address: Address, after: Option<u64>, limit: usize) -> Vec<CoinView> {
        let own = LEAVES.iter().filter(|_| address == ALICE);
        let behind = own.filter(|(index, _, _)| after.is_none_or(|after| *index > after));
        let coin = |(index, low, high): &(u64, u64, u64)| CoinView {
            index: *index,
            owner: ALICE,
            account: alice_account(),
            key_hash: leaf::key_hash(&alice_key().public()),
            range: CoinRange::new(*low, *high).unwrap(),
            batch_no: 2,
            stage: Stage::Proven,
        };
        behind.take(limit).map(coin).collect()
    }

    async fn directory_entry(&self, owner: Address) -> Option<DirectoryEntry> {
        (owner == BOB).then(bob_entry)
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationView>, Rejection> {
        let id = id.to_string();
        Ok((1..=OPERATIONS).map(operation_id).any(|known| known == id).then(|| operation(&id)))
    }

    async fn operations(
        &self,
        list: ListOf,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Option<Vec<OperationView>>, Rejection> {
        let ids: Vec<String> = match list {
            ListOf::Address(ALICE) => (1..=OPERATIONS).map(operation_id).collect(),
            ListOf::Address(_) => Vec::new(),
            ListOf::Batch(_) => vec![operation_id(1), operation_id(2)],
        };
        let begin = match after.map(|after| after.to_string()) {
            None => 0,
            Some(after) => match ids.iter().position(|id| *id == after) {
                Some(position) => position + 1,
                None => return Ok(None),
            },
        };
        Ok(Some(ids[begin..].iter().take(limit).map(|id| operation(id)).collect()))
    }

    async fn promises(&self, id: OperationId) -> Result<Vec<PromiseView>, Rejection> {
        self.promises_asked.fetch_add(1, Ordering::SeqCst);
        Ok(promises(id))
    }

    async fn batch(&self, batch_no: u32) -> Result<Option<BatchView>, Rejection> {
        Ok((1..=NEWEST_BATCH).contains(&batch_no).then(|| batch(batch_no)))
    }

    async fn batches(&self, before: Option<u32>, limit: usize) -> Result<Vec<BatchView>, Rejection> {
        let below = before.unwrap_or(NEWEST_BATCH + 1).min(NEWEST_BATCH + 1);
        Ok((1..below).rev().take(limit).map(batch).collect())
    }

    async fn workers(&self) -> Vec<WorkerView> {
        let carded = WorkerView {
            health: WorkerHealth::Sick,
            reason: card().sick,
            backend: Some("cuda".to_owned()),
            card: Some(Box::new(card())),
            joules_per_proof: Some(30.5),
            joules_per_payment: Some(0.25),
            ..worker("b-card")
        };
        let left = WorkerView {
            health: WorkerHealth::Left,
            reason: Some("its proofs do not verify".to_owned()),
            ..carded.clone()
        };
        let second = if self.carded_left.load(Ordering::SeqCst) { left } else { carded };
        vec![worker("a-plain"), second, worker("c-plain")]
    }

    async fn ownership_proof(&self, index: u64, batch_no: Option<u32>) -> Result<OwnershipProof, Rejection> {
        if index != LEAVES[1].0 {
            return Err(Rejection::LeafEmpty { index, batch_no: batch_no.unwrap_or(5) });
        }
        Ok(OwnershipProof {
            batch_no: batch_no.unwrap_or(5),
            root: Fr::from(1),
            index,
            owner: ALICE,
            key_hash: leaf::key_hash(&alice_key().public()),
            range: range(1),
            leaf: leaf::leaf(&alice_account(), &range(1)),
            siblings: vec![[Fr::from(0); 3]; 18],
            final_on_l1: true,
        })
    }

    async fn prepare_send(&self, request: PrepareSend) -> Result<Draft, Rejection> {
        if request.sender != ALICE {
            return Err(Rejection::UnknownSender);
        }
        self.draft(SignedKind::Send, Some(request.recipient), request.amount, request.allow_vault)
    }

    async fn prepare_withdraw(&self, request: PrepareWithdraw) -> Result<Draft, Rejection> {
        self.draft(SignedKind::Withdraw, None, request.amount, false)
    }

    async fn submit(&self, request: SubmitRequest) -> Result<OperationView, Rejection> {
        for spend in &request.spends {
            let account = leaf::account(&request.sender, &leaf::key_hash(&spend.key));
            let message = Message {
                domain: domain(),
                leaf: leaf::leaf(&account, &spend.range),
                index: spend.index,
                split: spend.split,
                kind: request.kind,
                valid_until: request.valid_until,
                recipient: request.recipient_account,
            };
            eddsa::verify(&spend.key, &message.hash(), &spend.signature)
                .map_err(|error| Rejection::BadSignature { index: spend.index, error })?;
        }
        self.submitted.lock().unwrap().push(request);
        let promises = promises(OperationId([1; 32]));
        Ok(OperationView { promises, ..operation(&operation_id(1)) })
    }

    async fn register_key(&self, entry: DirectoryEntry, _: String) -> Result<DirectoryEntry, Rejection> {
        self.registered.lock().unwrap().push(entry.clone());
        Ok(entry)
    }

    async fn readiness(&self) -> Readiness {
        let reason = |code, text: &str| Reason { code, text: text.to_owned() };
        let against = match self.draining.load(Ordering::SeqCst) {
            true => vec![reason("DRAINING", "it is draining"), reason("STORE_AWAY", "nobody answers")],
            false => Vec::new(),
        };
        Readiness { against, warnings: vec![reason("NO_WORKER", "more are expected")] }
    }

    fn live(&self) -> Result<(), String> {
        if self.stuck.load(Ordering::SeqCst) { Err("it does not turn".to_owned()) } else { Ok(()) }
    }
}
