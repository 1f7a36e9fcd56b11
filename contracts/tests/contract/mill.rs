//! A deployed contract with circuits whose secrets are known, and a check of its solvency after each transaction.

use bn254::Fr;
use l1::contract::{
    Address, Batch, ChainState, CircuitKey, Config, ContractError, Event, ForcedEntry, MintEntry, Word,
    calls,
    data::{Head, public_inputs},
    decode_log,
};
use l1::testing::{AbiEncode, U256, bindings, submit_batch_call};
use testbed::chain::{Backend, DEV_CHAIN, Trapdoor, account};

use crate::rpc::{Receipt, Rpc};

/// Accounts of the dev chain by what they do here.
pub const OPERATOR: usize = 0;
pub const ALICE: usize = 1;
pub const BOB: usize = 2;
pub const CAROL: usize = 3;

/// (number, N, M) of the circuits of the protocol.
pub const S3M1: u32 = 1;
pub const S14M2: u32 = 2;
pub const S4M60: u32 = 3;
pub const S60M4: u32 = 4;
pub const S252M4: u32 = 5;
pub const S1020M4: u32 = 6;
pub const SHAPES: [(u32, u32, u32); 6] =
    [(S3M1, 3, 1), (S14M2, 14, 2), (S4M60, 4, 60), (S60M4, 60, 4), (S252M4, 252, 4), (S1020M4, 1020, 4)];

pub fn trapdoor(circuit: u32) -> Trapdoor {
    Trapdoor::new(u64::from(circuit))
}

pub fn circuits() -> Vec<CircuitKey> {
    SHAPES.iter().map(|&(number, slots, mint_places)| Trapdoor::circuit(number, slots, mint_places)).collect()
}

pub struct Mill {
    pub rpc: Rpc,
    pub address: Address,
    pub config: Config,
}

impl Mill {
    pub fn deploy(backend: Backend) -> Self {
        Self::deploy_with(backend, |_| {})
    }

    pub fn deploy_with(backend: Backend, change: impl FnOnce(&mut Config)) -> Self {
        let rpc = Rpc::start(backend, DEV_CHAIN);
        let mut config = Config::new(account(OPERATOR).address());
        change(&mut config);
        let receipt =
            rpc.transact(OPERATOR, None, 0, &calls::deploy_bytecode(&config, &circuits())).expect("deploys");
        let mill = Self { rpc, address: receipt.contract.expect("a contract"), config };
        mill.assert_solvent();
        mill
    }

    pub fn who(&self, who: usize) -> Address {
        account(who).address()
    }

    // ---- transactions, each followed by the check of solvency

    pub fn transact(&self, who: usize, value: u128, data: &[u8]) -> Result<Receipt, ContractError> {
        let before = self.rpc.balance(&self.address);
        let result = self.rpc.transact(who, Some(&self.address), value, data);
        if result.is_err() {
            assert_eq!(self.rpc.balance(&self.address), before, "a refused call moved ETH");
        }
        self.assert_solvent();
        result
    }

    /// The name of the error a call is refused with.
    pub fn refusal(&self, who: usize, value: u128, data: &[u8]) -> &'static str {
        let state = self.state();
        let error = self.transact(who, value, data).expect_err("the contract must refuse this");
        assert_eq!(self.state(), state, "a refused call changed the state");
        error.name
    }

    pub fn deposit(&self, who: usize, owner: &Address, key_hash: &Fr, value: u128) -> MintEntry {
        let receipt =
            self.transact(who, value, &calls::deposit(owner, key_hash)).expect("the deposit is taken");
        match &self.events(&receipt)[..] {
            [Event::Deposited { entry, .. }] => *entry,
            other => panic!("a deposit logs one event, not {other:?}"),
        }
    }

    /// A deposit of exactly `coins` after fees.
    pub fn deposit_coins(&self, who: usize, coins: u64) -> MintEntry {
        let mut gross = coins + self.config.deposit_fee_floor;
        while self.config.coins_after_deposit(gross).is_none_or(|net| net < coins) {
            gross += 1;
        }
        assert_eq!(self.config.coins_after_deposit(gross), Some(coins));
        let value = u128::from(gross) * u128::from(self.config.quantum);
        self.deposit(who, &self.who(who), &key_hash(who), value)
    }

    pub fn force_exit(&self, who: usize, index: u64) -> ForcedEntry {
        self.forced(who, &calls::force_exit(index, &key_hash(who)))
    }

    pub fn force_rekey(&self, who: usize, index: u64) -> ForcedEntry {
        self.forced(who, &calls::force_rekey(index, &key_hash(who), &Fr::from(4242)))
    }

    fn forced(&self, who: usize, data: &[u8]) -> ForcedEntry {
        let (base, surcharge) = self.force_fee();
        let receipt = self.transact(who, base + surcharge, data).expect("the request is taken");
        match &self.events(&receipt)[..] {
            [Event::ForcedRequested { entry, .. }] => *entry,
            other => panic!("a forced request logs one event, not {other:?}"),
        }
    }

    // ---- batches

    /// An empty batch of a circuit at the first place it may start, with roots nobody has seen.
    pub fn batch(&self, circuit: u32) -> Batch {
        let state = self.state();
        let (_, slots, mint_places) = shape(circuit);
        let size = u64::from(slots + mint_places);
        let salt = u64::from(state.batch_no) + 1;
        Batch {
            circuit,
            start: state.next.next_multiple_of(size),
            mid_root: Fr::from(1_000_000 + salt),
            new_root: Fr::from(2_000_000 + salt),
            h: Fr::from(3_000_000 + salt),
            mints: vec![],
            records: vec![],
        }
    }

    /// What the contract puts in D from its own state, for the next batch of a circuit.
    pub fn head(&self, circuit: u32) -> Head {
        let state = self.state();
        Head {
            domain: l1::contract::data::domain(self.rpc.chain_id, &self.address),
            batch_no: state.batch_no + 1,
            old_root: state.root,
            mint_places: shape(circuit).2,
        }
    }

    /// A valid proof of a batch in the contract's present state.
    pub fn prove(&self, batch: &Batch) -> [Word; 8] {
        trapdoor(batch.circuit).prove(&public_inputs(&self.head(batch.circuit), batch))
    }

    /// Call data of a batch with a valid proof; to be changed by those who want it refused.
    pub fn proven_call(&self, batch: &Batch) -> bindings::SubmitBatchCall {
        submit_batch_call(batch, &self.prove(batch))
    }

    pub fn submit(&self, batch: &Batch) -> Receipt {
        self.transact(OPERATOR, 0, &calls::submit_batch(batch, &self.prove(batch)))
            .expect("the batch is accepted")
    }

    /// Empty batches that follow each other from the contract's present state, with valid proofs.
    pub fn chain(&self, circuits: &[u32]) -> Vec<(Batch, [Word; 8])> {
        self.chain_of(circuits.iter().map(|&circuit| self.batch(circuit)).collect())
    }

    /// Gives batches the places, roots and proofs with which they follow each other.
    pub fn chain_of(&self, batches: Vec<Batch>) -> Vec<(Batch, [Word; 8])> {
        let state = self.state();
        let (mut next, mut old_root, mut batch_no) = (state.next, state.root, state.batch_no);
        let prove = |mut batch: Batch| {
            let (_, slots, mint_places) = shape(batch.circuit);
            let size = u64::from(slots + mint_places);
            batch_no += 1;
            batch.start = next.next_multiple_of(size);
            batch.mid_root = Fr::from(1_000_000 + u64::from(batch_no));
            batch.new_root = Fr::from(2_000_000 + u64::from(batch_no));
            batch.h = Fr::from(3_000_000 + u64::from(batch_no));
            let head = Head { batch_no, old_root, ..self.head(batch.circuit) };
            (next, old_root) = (batch.start + size, batch.new_root);
            let proof = trapdoor(batch.circuit).prove(&public_inputs(&head, &batch));
            (batch, proof)
        };
        batches.into_iter().map(prove).collect()
    }

    /// The name of the error a batch with a valid proof is refused with.
    pub fn batch_refusal(&self, batch: &Batch) -> &'static str {
        self.refusal(OPERATOR, 0, &calls::submit_batch(batch, &self.prove(batch)))
    }

    pub fn call_refusal(&self, call: &bindings::SubmitBatchCall) -> &'static str {
        self.refusal(OPERATOR, 0, &call.clone().encode())
    }

    /// Deposits and mints `coins` for `who` in a batch of their own.
    pub fn minted(&self, who: usize, coins: u64) -> MintEntry {
        let entry = self.deposit_coins(who, coins);
        let mut batch = self.batch(S3M1);
        batch.mints.push(entry);
        self.submit(&batch);
        entry
    }

    // ---- views

    pub fn view(&self, data: &[u8]) -> Vec<u8> {
        self.rpc.call(&[0; 20], Some(&self.address), 0, data).expect("a view answers")
    }

    pub fn number(&self, data: impl AbiEncode) -> u128 {
        calls::decode_u128(&self.view(&data.encode())).unwrap()
    }

    pub fn state(&self) -> ChainState {
        calls::decode_state(&self.view(&calls::state())).unwrap()
    }

    pub fn pending(&self, of: &Address) -> u128 {
        calls::decode_u128(&self.view(&calls::pending(of))).unwrap()
    }

    pub fn force_fee(&self) -> (u128, u128) {
        calls::decode_force_fee(&self.view(&calls::force_fee())).unwrap()
    }

    pub fn events(&self, receipt: &Receipt) -> Vec<Event> {
        receipt
            .logs
            .iter()
            .filter(|log| log.address == self.address)
            .map(|log| decode_log(&log.topics, &log.data).expect("every log decodes"))
            .collect()
    }

    /// balance = quantum * (coins outstanding + unminted) + pending + fees + stake.
    pub fn assert_solvent(&self) {
        let counts = self.view(&bindings::CoinCountsCall.encode());
        let coins: u128 = counts.chunks(32).map(|word| calls::decode_u128(word).unwrap()).sum();
        let owed = coins * u128::from(self.config.quantum)
            + self.number(bindings::PendingTotalCall)
            + self.number(bindings::FeesTotalCall)
            + self.number(bindings::StakeTotalCall);
        assert_eq!(self.rpc.balance(&self.address), owed, "balance and liabilities differ");
        assert_eq!(self.number(bindings::LiabilitiesCall), owed);
    }
}

pub fn shape(circuit: u32) -> (u32, u32, u32) {
    *SHAPES.iter().find(|shape| shape.0 == circuit).expect("a circuit of the protocol")
}

/// Key hash of a test account.
pub fn key_hash(who: usize) -> Fr {
    Fr::from(70_000 + who as u64)
}

/// An address with nothing at it.
pub fn stranger(n: u64) -> Address {
    let mut address = [0x5a; 20];
    address[12..].copy_from_slice(&n.to_be_bytes());
    address
}

/// The order r of the scalar field.
pub fn order() -> U256 {
    U256::from_dec_str("21888242871839275222246405745257275088548364400416034343698204186575808495617")
        .unwrap()
}
