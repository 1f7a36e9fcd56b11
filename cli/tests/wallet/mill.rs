//! The contract on a chain in this process, with a Groth16 key whose secrets are known: for them every statement has a proof.

use std::sync::OnceLock;

use bn254::{Curve, Field, Fr, G1, G2};
use circuits::{public_data::Record, shape::Shape};
use coordinator::chain::{
    Chain,
    evm::{EvmChain, EvmSettings},
};
use devchain::{DEV_ACCOUNTS, DevChain, Handle};
use l1::{
    contract::{CircuitKey, Config, VerifyingKey, Word, data, proof_words},
    node::{AccountKey, deploy},
};
use protocol::{
    Address,
    l1::{SendOutcome, SubmitBatch},
};
use tokio::runtime::Runtime;

pub const SHAPE: Shape = Shape::S3M1;
const ALPHA: u64 = 2;
const BETA: u64 = 3;
const GAMMA: u64 = 5;
const DELTA: u64 = 7;

pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

pub struct Mill {
    pub chain: Handle,
    pub evm: EvmChain,
    pub contract: Address,
}

fn fr(x: u64) -> Fr {
    Fr::from(x)
}

fn key() -> VerifyingKey {
    let (g1, g2) = (G1::generator(), G2::generator());
    VerifyingKey {
        alpha: (g1 * fr(ALPHA)).to_affine(),
        beta: (g2 * fr(BETA)).to_affine(),
        gamma: (g2 * fr(GAMMA)).to_affine(),
        delta: (g2 * fr(DELTA)).to_affine(),
        ic: [11, 13, 17, 19].map(|x| (g1 * fr(x)).to_affine()),
    }
}

/// C = (ab - alpha beta - ic(x) gamma) / delta, with A = G and B = H.
fn prove(inputs: &[Fr; 3]) -> [Word; 8] {
    let ic = fr(11) + fr(13) * inputs[0] + fr(17) * inputs[1] + fr(19) * inputs[2];
    let c = (Fr::ONE - fr(ALPHA * BETA) - ic * fr(GAMMA)) * fr(DELTA).invert().unwrap();
    let (g1, g2) = (G1::generator(), G2::generator());
    proof_words(&g1.to_affine(), &g2.to_affine(), &(g1 * c).to_affine())
}

/// Of the matrices of [`SHAPE`], as the binary finds it.
pub fn digest() -> [u8; 32] {
    static DIGEST: OnceLock<[u8; 32]> = OnceLock::new();
    *DIGEST.get_or_init(|| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_proofmill"));
        let output = command.args(["circuit", "info", SHAPE.name(), "--json"]).output().unwrap();
        let info: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let digest = info["digest"].as_str().unwrap().trim_start_matches("0x");
        hex::decode(digest).unwrap().try_into().unwrap()
    })
}

impl Mill {
    pub fn start(digest: [u8; 32]) -> Self {
        runtime().block_on(async {
            let config = devchain::Config { finality_depth: 0, ..devchain::Config::default() };
            let chain = DevChain::start(config).await.unwrap();
            let operator = AccountKey::from_hex(DEV_ACCOUNTS[0].private_key).unwrap();
            let circuit = CircuitKey {
                number: SHAPE.number(),
                slots: SHAPE.slots() as u32,
                mint_places: SHAPE.mint_places() as u32,
                dev_key: true,
                digest,
                key: key(),
            };
            let config = Config::new(operator.address());
            let deployed = deploy(&chain.url(), &operator, &config, &[circuit]).await.unwrap();
            let settings = EvmSettings::new(chain.url(), deployed.contract, deployed.block);
            let evm = EvmChain::connect(settings, operator).await.unwrap();
            Self { chain, evm, contract: deployed.contract }
        })
    }

    /// Has the contract accept a batch that mints the next deposits and lets records out; returns its number.
    pub fn accept(&self, new_root: Fr, mints: usize, records: Vec<Record>) -> u32 {
        runtime().block_on(async {
            let state = self.evm.contract_state().await.unwrap();
            let head = self.evm.head().await.unwrap();
            let logs = self.evm.logs(1, head.number).await.unwrap();
            let from = usize::try_from(state.minted_up_to).unwrap();
            let mints = logs.deposits[from..][..mints].to_vec();
            let mut batch = SubmitBatch {
                shape: SHAPE,
                batch_no: state.batch_no + 1,
                start: state.next.next_multiple_of(SHAPE.places() as u64),
                mid_root: new_root,
                new_root,
                h: fr(1),
                mints,
                records,
                forced: Vec::new(),
                proof: [0; 256],
            };
            batch.proof = prove(&inputs(&batch, &state.root, self.contract)).concat().try_into().unwrap();
            let owner = self.evm.deployment().await.unwrap().operator;
            let (nonce, fees) = (self.evm.nonce(owner).await.unwrap(), self.evm.fees().await.unwrap());
            let number = batch.batch_no;
            let tx = self.evm.sign_submit(&[batch], nonce, fees, 3_000_000).await.unwrap();
            assert_eq!(self.evm.send_raw(&tx).await.unwrap(), SendOutcome::Sent);
            assert!(self.evm.receipt(tx.hash).await.unwrap().unwrap().success);
            number
        })
    }

    /// The last block.
    pub fn head(&self) -> u64 {
        runtime().block_on(self.evm.head()).unwrap().number
    }

    /// Transactions of an account that are mined.
    pub fn transactions(&self, owner: Address) -> u64 {
        runtime().block_on(self.evm.nonce(owner)).unwrap()
    }

    pub fn deposits(&self) -> u64 {
        runtime().block_on(self.evm.contract_state()).unwrap().deposit_count
    }
}

fn inputs(batch: &SubmitBatch, old_root: &Fr, contract: Address) -> [Fr; 3] {
    let mut d = vec![
        fr(batch.shape.number().into()),
        data::domain(31_337, &contract),
        fr(batch.batch_no.into()),
        *old_root,
        batch.mid_root,
        batch.new_root,
        fr(batch.start),
    ];
    for deposit in &batch.mints {
        d.extend([deposit.account, deposit.range.packed()]);
    }
    d.resize(7 + 2 * SHAPE.mint_places(), Fr::ZERO);
    d.extend(batch.records.iter().flatten());
    let c = data::challenge(&batch.h, &d);
    [batch.h, c, data::evaluate(&c, &d)]
}
