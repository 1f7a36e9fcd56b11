//! A deployed contract whose proving secrets are known, so that it accepts batches of any content, and its people.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use bn254::Fr;
use circuits::shape::Shape;
use coordinator::chain::{
    Chain,
    evm::{EvmChain, EvmSettings},
};
use l1::{
    contract::{CircuitKey, Config, data},
    node::{AccountKey, Deployed, Wallet, deploy},
};
use protocol::{
    Address,
    l1::{At, ContractState, Deposit, DryRun, Fees, Finality, ForcedRequest, SignedTx, SubmitBatch},
};
use testbed::chain::{Backend, DEV_CHAIN, ETHER, Node, Trapdoor, account};

pub fn operator() -> AccountKey {
    account(0)
}

pub fn alice() -> AccountKey {
    account(1)
}

/// An address that nothing listens at.
pub fn dead_url() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}/secret-path")
}

/// A proof in bytes, as workers return it.
pub fn proof_bytes(shape: Shape, public_inputs: &[Fr; 3]) -> [u8; 256] {
    Trapdoor::new(shape.number().into()).prove(public_inputs).as_flattened().try_into().unwrap()
}

pub fn circuits(shapes: &[Shape]) -> Vec<CircuitKey> {
    let circuit =
        |shape: &Shape| Trapdoor::circuit(shape.number(), shape.slots() as u32, shape.mint_places() as u32);
    shapes.iter().map(circuit).collect()
}

pub struct Mill {
    pub node: Node,
    pub deployed: Deployed,
    pub chain: EvmChain,
    pub alice: Wallet,
}

impl Mill {
    pub async fn start(backend: Backend) -> Self {
        let node = Node::start(backend).await;
        let config = Config::new(operator().address());
        let deployed = deploy(&node.url, &operator(), &config, &circuits(&[Shape::S3M1])).await.unwrap();
        let mut settings = EvmSettings::new(&node.url, deployed.contract, deployed.block);
        settings.chain_id = Some(DEV_CHAIN);
        settings.finality = Finality::Confirmations(1);
        // Small, so that every read of logs is made of parts.
        settings.log_span = 2;
        let chain = EvmChain::connect(settings, operator()).await.unwrap();
        let alice = Wallet::connect(&node.url, deployed.contract, alice(), Some(DEV_CHAIN)).await.unwrap();
        Self { node, deployed, chain, alice }
    }

    pub async fn deposit(&self) -> Deposit {
        self.alice.deposit(self.alice.address(), key_hash(), ETHER).await.unwrap();
        self.logs().await.deposits.pop().unwrap()
    }

    pub async fn logs(&self) -> protocol::l1::Logs {
        let head = self.chain.head().await.unwrap();
        self.chain.logs(self.deployed.block, head.number).await.unwrap()
    }

    /// A batch with a proof that the contract accepts in its present state. Forced requests are answered with a miss.
    pub async fn batch(
        &self,
        mints: Vec<Deposit>,
        withdrawals: &[(Address, u64, u64)],
        forced: Vec<ForcedRequest>,
    ) -> SubmitBatch {
        self.batch_after(&self.chain.contract_state().await.unwrap(), mints, withdrawals, forced)
    }

    /// As `batch`, in another state of the contract.
    pub fn batch_after(
        &self,
        state: &ContractState,
        mints: Vec<Deposit>,
        withdrawals: &[(Address, u64, u64)],
        forced: Vec<ForcedRequest>,
    ) -> SubmitBatch {
        let shape = Shape::S3M1;
        let withdrawals =
            withdrawals.iter().map(|&(owner, low, high)| l1::contract::Record::Withdraw { owner, low, high });
        let records = withdrawals.chain(forced.iter().map(|request| l1::contract::Record::Exit {
            entry: l1::contract::ForcedEntry {
                kind: l1::contract::ForcedKind::Exit,
                index: request.index,
                account: request.account,
                new_account: request.new_account,
                owner: request.owner,
                deadline: request.deadline,
            },
            hit: None,
        }));
        let batch = l1::contract::Batch {
            circuit: shape.number(),
            start: state.next.next_multiple_of(shape.places() as u64),
            mid_root: Fr::from(1_000 + u64::from(state.batch_no)),
            new_root: Fr::from(2_000 + u64::from(state.batch_no)),
            h: Fr::from(3_000),
            mints: mints
                .iter()
                .map(|deposit| l1::contract::MintEntry {
                    account: deposit.account,
                    low: deposit.range.low(),
                    high: deposit.range.high(),
                    depositor: deposit.depositor,
                    deadline: deposit.deadline,
                })
                .collect(),
            records: records.collect(),
        };
        let head = data::Head {
            domain: data::domain(DEV_CHAIN, &self.deployed.contract),
            batch_no: state.batch_no + 1,
            old_root: state.root,
            mint_places: shape.mint_places() as u32,
        };
        SubmitBatch {
            shape,
            batch_no: head.batch_no,
            start: batch.start,
            mid_root: batch.mid_root,
            new_root: batch.new_root,
            h: batch.h,
            mints,
            records: batch.records.iter().map(l1::contract::Record::words).collect(),
            forced,
            proof: proof_bytes(shape, &data::public_inputs(&head, &batch)),
        }
    }

    /// Tries batches on the latest block and signs them.
    pub async fn sign(&self, batches: &[SubmitBatch], nonce: u64, fees: Fees) -> SignedTx {
        let DryRun::Accepted { gas_limit } = self.chain.dry_run(batches, At::Latest).await.unwrap() else {
            panic!("the contract would refuse it")
        };
        self.chain.sign_submit(batches, nonce, fees, gas_limit).await.unwrap()
    }

    /// Submits and returns the gas used.
    pub async fn submit(&self, batch: &SubmitBatch) -> u64 {
        let nonce = self.chain.nonce(operator().address()).await.unwrap();
        let fees = self.chain.fees().await.unwrap();
        let tx = self.sign(std::slice::from_ref(batch), nonce, fees).await;
        assert_eq!(self.chain.send_raw(&tx).await, Ok(protocol::l1::SendOutcome::Sent));
        let begun = Instant::now();
        loop {
            if let Some(receipt) = self.chain.receipt(tx.hash).await.unwrap() {
                assert!(receipt.success, "the batch reverted");
                return receipt.gas_used;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no receipt");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub fn key_hash() -> Fr {
    Fr::from(70_001)
}
