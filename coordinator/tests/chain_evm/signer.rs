//! A remote signer of web3signer's kind: it signs what it is asked, and one that signs anything else is caught.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use coordinator::chain::{
    Chain,
    evm::{EvmChain, EvmSettings},
};
use l1::{
    http::HttpLimits,
    node::RemoteSigner,
    testing::{RawTx, TxType, U256},
};
use protocol::l1::{At, ChainError, DryRun, SendOutcome};
use serde_json::{Value, json};
use testbed::chain::{Backend, DEV_CHAIN, bytes_of, hex_of};

use crate::{
    fake::{Fake, Reply},
    mill::{Mill, alice, operator},
};

/// How the signer misbehaves.
const HONEST: u8 = 0;
const AS_AN_OBJECT: u8 = 1;
const CHANGES: [(u8, &str); 10] = [
    (10, "nonce"),
    (11, "chain"),
    (12, "recipient"),
    (13, "value"),
    (14, "call"),
    (15, "gas limit"),
    (16, "fee"),
    (17, "priority fee"),
    (18, "signed as"),
    (19, "not a signed transaction"),
];

fn quantity(value: &Value) -> U256 {
    value.as_str().unwrap().parse().unwrap()
}

pub fn sign(request: &Value, how: u8) -> Reply {
    let key = if how == 18 { alice() } else { operator() };
    let mut tx = RawTx {
        tx_type: TxType::DynamicFee,
        chain_id: Some(quantity(&request["chainId"]).as_u64()),
        nonce: quantity(&request["nonce"]),
        gas: quantity(&request["gas"]),
        max_fee: quantity(&request["maxFeePerGas"]),
        max_priority: quantity(&request["maxPriorityFeePerGas"]),
        to: Some(bytes_of(&request["to"]).try_into().unwrap()),
        value: quantity(&request["value"]),
        data: bytes_of(&request["data"]),
        access_list: vec![],
    };
    match how {
        10 => tx.nonce += U256::one(),
        11 => tx.chain_id = Some(1),
        12 => tx.to = Some([9; 20]),
        13 => tx.value += U256::one(),
        14 => tx.data = vec![1, 2, 3],
        15 => tx.gas += U256::one(),
        16 => tx.max_fee += U256::one(),
        17 => tx.max_priority += U256::one(),
        19 => return Reply::Result(json!("0x1234")),
        _ => {}
    }
    let raw = json!(hex_of(tx.sign(&key).unwrap()));
    Reply::Result(if how == AS_AN_OBJECT { json!({"raw": raw, "tx": {}}) } else { raw })
}

async fn chain_with(mill: &Mill, signer: &Fake) -> EvmChain {
    let settings = EvmSettings {
        chain_id: Some(DEV_CHAIN),
        ..EvmSettings::new(&mill.node.url, mill.deployed.contract, mill.deployed.block)
    };
    let remote = RemoteSigner::new(&signer.url, operator().address(), HttpLimits::default()).unwrap();
    EvmChain::connect(settings, remote).await.unwrap()
}

fn signer(how: &Arc<AtomicU8>) -> Fake {
    let how = Arc::clone(how);
    Fake::start(move |method, params| {
        assert_eq!(method, "eth_signTransaction");
        sign(&params[0], how.load(Ordering::SeqCst))
    })
}

#[tokio::test]
async fn what_a_remote_signer_signed_is_mined_and_what_it_changed_is_refused() {
    let mill = Mill::start(Backend::DevChain).await;
    let how = Arc::new(AtomicU8::new(HONEST));
    let remote = signer(&how);
    let chain = chain_with(&mill, &remote).await;
    for kind in [HONEST, AS_AN_OBJECT] {
        how.store(kind, Ordering::SeqCst);
        let batches = [mill.batch(vec![], &[], vec![]).await];
        let fees = chain.fees().await.unwrap();
        let nonce = chain.nonce(operator().address()).await.unwrap();
        let DryRun::Accepted { gas_limit } = chain.dry_run(&batches, At::Latest).await.unwrap() else {
            panic!("refused")
        };
        for (change, words) in CHANGES {
            how.store(change, Ordering::SeqCst);
            let error = chain.sign_submit(&batches, nonce, fees, gas_limit).await.unwrap_err();
            assert!(matches!(error, ChainError::Signing(_)), "{error}");
            assert!(error.to_string().contains(words), "{change}: {error}");
        }
        how.store(kind, Ordering::SeqCst);
        let tx = chain.sign_submit(&batches, nonce, fees, gas_limit).await.unwrap();
        let local = mill.chain.sign_submit(&batches, nonce, fees, gas_limit).await.unwrap();
        assert_eq!(tx, local, "the same key signs the same bytes");
        assert_eq!(chain.send_raw(&tx).await, Ok(SendOutcome::Sent));
    }
    assert_eq!(chain.contract_state().await.unwrap().batch_no, 2);
}

#[tokio::test]
async fn a_signer_that_refuses_or_is_away_is_named_without_its_path() {
    let mill = Mill::start(Backend::DevChain).await;
    let batches = [mill.batch(vec![], &[], vec![]).await];
    let fees = mill.chain.fees().await.unwrap();
    let locked = Fake::start(|_, _| Reply::Error(-32_000, "no key for this account"));
    let error = chain_with(&mill, &locked).await.sign_submit(&batches, 0, fees, 1).await.unwrap_err();
    assert!(matches!(&error, ChainError::Signing(words) if words.contains("no key")), "{error}");

    let away = crate::mill::dead_url();
    let remote = RemoteSigner::new(&away, operator().address(), HttpLimits::default()).unwrap();
    let settings = EvmSettings::new(&mill.node.url, mill.deployed.contract, mill.deployed.block);
    let chain = EvmChain::connect(settings, remote).await.unwrap();
    let error = chain.sign_submit(&batches, 0, fees, 1).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable(_)), "{error}");
    assert!(!error.to_string().contains("secret-path"), "{error}");
}

#[tokio::test]
async fn a_remote_signer_of_another_account_or_a_published_one_on_a_real_chain_is_refused_at_start() {
    let mill = Mill::start(Backend::DevChain).await;
    let other = alice().address();
    let remote = RemoteSigner::new("http://127.0.0.1:1/", other, HttpLimits::default()).unwrap();
    let settings = EvmSettings::new(&mill.node.url, mill.deployed.contract, mill.deployed.block);
    assert!(matches!(EvmChain::connect(settings, remote).await, Err(ChainError::Signing(_))));
}
