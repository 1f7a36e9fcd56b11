//! A real chain for a test: npm's anvil in a child process, or the workspace's dev chain. A deployed contract whose proving
//! secrets are known, so that the contract accepts batches of any content.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bn254::{Curve, Field, Fr, G1, G2};
use circuits::shape::Shape;
use coordinator::chain::{
    Chain,
    evm::{EvmChain, EvmSettings},
};
use l1::{
    contract::{CircuitKey, Config, VerifyingKey, data, proof_words},
    node::{AccountKey, Deployed, Wallet, deploy},
};
use protocol::{
    Address,
    l1::{At, ContractState, Deposit, DryRun, Fees, Finality, ForcedRequest, SignedTx, SubmitBatch},
};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

pub const DEV_CHAIN: u64 = 31_337;
pub const GWEI: u128 = 1_000_000_000;
pub const ETHER: u128 = 1_000_000_000 * GWEI;

/// Accounts that both chains fund, by what they do here.
const OPERATOR: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ALICE: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

pub fn operator() -> AccountKey {
    AccountKey::from_hex(OPERATOR).unwrap()
}

pub fn alice() -> AccountKey {
    AccountKey::from_hex(ALICE).unwrap()
}

#[derive(Clone, Copy, Debug)]
pub enum Backend {
    Anvil,
    DevChain,
}

enum Running {
    Anvil(Child),
    DevChain { _handle: Box<devchain::Handle> },
}

pub struct Node {
    running: Running,
    pub url: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Running::Anvil(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Node {
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, DEV_CHAIN).await
    }

    pub async fn start_with(backend: Backend, chain_id: u64) -> Self {
        match backend {
            Backend::Anvil => start_anvil(chain_id).await,
            Backend::DevChain => {
                let config = devchain::Config { chain_id, ..devchain::Config::default() };
                let handle = devchain::DevChain::start(config).await.unwrap();
                let url = handle.url();
                Self { running: Running::DevChain { _handle: Box::new(handle) }, url }
            }
        }
    }

    /// A method beside those that the adapter uses, to steer the chain.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = try_ask(&self.url, method, params).await.expect("the chain answers");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub async fn set_balance(&self, of: Address, wei: u128) {
        self.ask("anvil_setBalance", json!([hex_of(of), format!("{wei:#x}")])).await;
    }
}

pub async fn try_ask(url: &str, method: &str, params: Value) -> Option<Value> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    reqwest::Client::new().post(url).json(&body).send().await.ok()?.json().await.ok()
}

pub fn hex_of(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// An address that nothing listens at.
pub fn dead_url() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}/secret-path")
}

async fn start_anvil(chain_id: u64) -> Node {
    let program = anvil_program();
    assert!(
        program.is_file(),
        "anvil is not at {}: run `npm ci --prefix contracts` first, or set PROOFMILL_ANVIL to the program",
        program.display()
    );
    // The port is free when we look; anvil ends at once when somebody was faster, and another is tried.
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(&program)
            .args(["--port", &port.to_string(), "--chain-id", &chain_id.to_string(), "--silent"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let mut node = Node { running: Running::Anvil(child), url: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while let Running::Anvil(child) = &mut node.running
            && child.try_wait().unwrap().is_none()
            && begun.elapsed() < Duration::from_secs(60)
        {
            if try_ask(&node.url, "eth_chainId", json!([])).await.is_some() {
                return node;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("anvil found no free port in ten attempts");
}

fn anvil_program() -> PathBuf {
    if let Some(path) = std::env::var_os("PROOFMILL_ANVIL") {
        return path.into();
    }
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../contracts/node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil"))
}

// ---- a verifying key whose secrets are known

/// With A = aG, B = bH and the secrets alpha, beta, gamma, delta, ic, Groth16's equation holds for
/// C = (ab - alpha beta - ic(x) gamma) / delta.
pub struct Trapdoor {
    alpha: Fr,
    beta: Fr,
    gamma: Fr,
    delta: Fr,
    ic: [Fr; 4],
}

impl Trapdoor {
    pub fn of(shape: Shape) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(shape.number().into());
        let mut draw = || Fr::random(&mut rng);
        Self {
            alpha: draw(),
            beta: draw(),
            gamma: draw(),
            delta: draw(),
            ic: [draw(), draw(), draw(), draw()],
        }
    }

    fn key(&self) -> VerifyingKey {
        let (g1, g2) = (G1::generator(), G2::generator());
        VerifyingKey {
            alpha: (g1 * self.alpha).to_affine(),
            beta: (g2 * self.beta).to_affine(),
            gamma: (g2 * self.gamma).to_affine(),
            delta: (g2 * self.delta).to_affine(),
            ic: self.ic.map(|x| (g1 * x).to_affine()),
        }
    }

    pub fn prove(&self, inputs: &[Fr; 3]) -> [u8; 256] {
        let (a, b) = (Fr::from(11), Fr::from(13));
        let ic: Fr = self.ic[0] + (0..3).map(|i| self.ic[i + 1] * inputs[i]).sum::<Fr>();
        let c = (a * b - self.alpha * self.beta - ic * self.gamma) * self.delta.invert().unwrap();
        let (g1, g2) = (G1::generator(), G2::generator());
        let words = proof_words(&(g1 * a).to_affine(), &(g2 * b).to_affine(), &(g1 * c).to_affine());
        words.as_flattened().try_into().unwrap()
    }
}

pub fn circuits(shapes: &[Shape]) -> Vec<CircuitKey> {
    let circuit = |shape: &Shape| CircuitKey {
        number: shape.number(),
        slots: shape.slots() as u32,
        mint_places: shape.mint_places() as u32,
        dev_key: true,
        digest: [shape.number() as u8; 32],
        key: Trapdoor::of(*shape).key(),
    };
    shapes.iter().map(circuit).collect()
}

// ---- a deployed contract

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
            proof: Trapdoor::of(shape).prove(&data::public_inputs(&head, &batch)),
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
