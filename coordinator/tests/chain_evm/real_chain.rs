//! What is refused on a chain where coins are worth something, and refusals to work for another chain or contract.

use circuits::shape::Shape;
use coordinator::chain::evm::{EvmChain, EvmSettings, connect};
use l1::{
    contract::Config,
    node::{AccountKey, TxError, Wallet, deploy},
};
use protocol::l1::ChainError;
use testbed::chain::{Backend, ETHER, Node};

use crate::mill::{Mill, alice, circuits, operator};

const REAL_CHAIN: u64 = 1;

#[tokio::test]
async fn a_key_that_everybody_knows_deploys_nothing_on_a_real_chain() {
    let node = Node::start_with(Backend::Anvil, REAL_CHAIN).await;
    let config = Config::new(operator().address());
    let error = deploy(&node.url, &operator(), &config, &circuits(&[Shape::S3M1])).await.unwrap_err();
    assert!(
        matches!(&error, TxError::Chain(ChainError::Signing(words)) if words.contains("chain 1")),
        "{error}"
    );
    let settings = EvmSettings::new(&node.url, [0x11; 20], 0);
    assert!(matches!(EvmChain::connect(settings, operator()).await, Err(ChainError::Signing(_))));
    assert!(matches!(
        Wallet::connect(&node.url, [0x11; 20], alice(), None).await,
        Err(ChainError::Signing(_))
    ));
}

#[tokio::test]
async fn a_circuit_with_a_development_key_is_refused_on_a_real_chain_by_the_contract() {
    let node = Node::start_with(Backend::Anvil, REAL_CHAIN).await;
    let key = AccountKey::from_bytes(&[7; 32]).unwrap();
    node.set_balance(key.address(), ETHER).await;
    let config = Config::new(key.address());
    let error = deploy(&node.url, &key, &config, &circuits(&[Shape::S3M1])).await.unwrap_err();
    assert!(matches!(&error, TxError::Refused(error) if error.name == "DevKeyOnRealChain"), "{error}");
}

#[tokio::test]
async fn another_chain_contract_or_operator_is_named_and_refused() {
    let mill = Mill::start(Backend::DevChain).await;
    let settings = || EvmSettings::new(&mill.node.url, mill.deployed.contract, mill.deployed.block);

    let error =
        EvmChain::connect(EvmSettings { chain_id: Some(1), ..settings() }, operator()).await.unwrap_err();
    let words = error.to_string();
    assert!(words.contains("chain 31337") && words.contains("chain 1"), "{words}");

    let nowhere = EvmSettings { contract: [0x11; 20], ..settings() };
    let error = EvmChain::connect(nowhere, operator()).await.unwrap_err().to_string();
    assert!(error.contains("no Proofmill contract at 0x1111"), "{error}");

    let error = EvmChain::connect(settings(), alice()).await.unwrap_err();
    assert!(matches!(&error, ChainError::Signing(words) if words.contains("f39fd6e5")), "{error}");
}

#[tokio::test]
async fn nodes_of_different_chains_are_not_taken_for_nodes_of_one() {
    let config = Config::new(operator().address());
    let mut settings = Vec::new();
    let mut nodes = Vec::new();
    for chain_id in [31_337, 1337] {
        let node = Node::start_with(Backend::DevChain, chain_id).await;
        let deployed = deploy(&node.url, &operator(), &config, &circuits(&[Shape::S3M1])).await.unwrap();
        settings.push(EvmSettings::new(&node.url, deployed.contract, deployed.block));
        nodes.push(node);
    }
    // One account and one nonce: the contracts have one address.
    assert_eq!(settings[0].contract, settings[1].contract);
    let error = connect(settings.clone(), operator()).await.err().unwrap();
    assert!(matches!(&error, ChainError::Unexpected(words) if words.contains("chain 1337")), "{error}");
    settings.pop();
    assert!(connect(settings, operator()).await.is_ok());
}
