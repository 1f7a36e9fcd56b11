//! Nodes that are away, behind, late or wrong, beside nodes that are not.

use bn254::Fr;

use super::*;
use crate::chain::memory::MemoryChain;

/// Chains that went the same way, under the names `a`, `b`, `c`.
fn nodes(count: usize) -> Vec<Arc<MemoryChain>> {
    let nodes: Vec<_> = (0..count).map(|_| Arc::new(MemoryChain::default())).collect();
    nodes.iter().for_each(|node| node.mine(10));
    nodes
}

async fn several(nodes: &[Arc<MemoryChain>]) -> Result<Several, ChainError> {
    let connect = |node: &Arc<MemoryChain>| {
        let node = Arc::clone(node);
        let connect: Connect = Box::new(move || {
            let node = Arc::clone(&node);
            Box::pin(async move {
                node.head().await?;
                Ok(node as Arc<dyn Chain>)
            })
        });
        connect
    };
    let named = ["a", "b", "c"].iter().zip(nodes).map(|(name, node)| ((*name).to_owned(), connect(node)));
    Several::connect(named.collect()).await
}

/// Which node answers, by a deposit that only it knows.
async fn asked(several: &Several, nodes: &[Arc<MemoryChain>]) -> Option<usize> {
    several.found().at = None;
    let before: Vec<usize> = nodes.iter().map(|node| node.sent()).collect();
    let tx = SignedTx { raw: vec![1], hash: [1; 32], nonce: 9, fees: Fees { max_fee: 1, max_priority: 1 } };
    several.send_raw(&tx).await.ok()?;
    nodes.iter().zip(before).position(|(node, before)| node.sent() > before)
}

#[tokio::test]
async fn nodes_are_asked_in_order_and_one_that_is_away_or_behind_is_passed_over() {
    let nodes = nodes(3);
    let several = several(&nodes).await.unwrap();
    assert_eq!(asked(&several, &nodes).await, Some(0));
    nodes[0].set_down(true);
    assert_eq!(asked(&several, &nodes).await, Some(1));
    nodes[0].set_down(false);
    nodes[1..].iter().for_each(|node| node.mine(BEHIND as usize));
    assert_eq!(asked(&several, &nodes).await, Some(0), "a few blocks behind are none");
    nodes[1..].iter().for_each(|node| node.mine(1));
    assert_eq!(asked(&several, &nodes).await, Some(1));
    assert_eq!(several.alarm(), None);
    nodes[0].mine(BEHIND as usize + 1);
    assert_eq!(asked(&several, &nodes).await, Some(0), "it has caught up");
}

#[tokio::test]
async fn a_node_that_has_another_final_block_raises_an_alarm_and_is_not_used() {
    let nodes = nodes(3);
    let several = several(&nodes).await.unwrap();
    nodes[0].reorg(5);
    assert_eq!(asked(&several, &nodes).await, Some(1));
    let alarm = several.alarm().unwrap();
    assert!(alarm.contains("PM-CHAIN-005") && alarm.contains("a gives another final block"), "{alarm}");
    // One against one: nobody knows who is right.
    nodes[2].set_down(true);
    assert_eq!(asked(&several, &nodes).await, None);
    assert!(several.alarm().unwrap().contains("PM-CHAIN-006"));
    let error = several.head().await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Unreachable(words) if words.contains("a, b do not agree")),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_lies_about_the_contract_raises_an_alarm_and_is_not_used() {
    let nodes = nodes(3);
    let several = several(&nodes).await.unwrap();
    nodes[0].set_foreign_root(true);
    assert_eq!(asked(&several, &nodes).await, Some(1));
    assert!(
        several.alarm().unwrap().contains("a gives another root of the contract"),
        "{:?}",
        several.alarm()
    );
    nodes[0].set_foreign_root(false);
    assert_eq!(asked(&several, &nodes).await, Some(0));
    assert_eq!(several.alarm(), None);
}

#[tokio::test]
async fn a_node_that_invents_a_head_does_not_put_the_others_aside() {
    let nodes = nodes(3);
    let several = several(&nodes).await.unwrap();
    nodes[0].mine(100);
    assert_eq!(asked(&several, &nodes).await, Some(1));
    nodes[1..].iter().for_each(|node| node.mine(100));
    assert_eq!(asked(&several, &nodes).await, Some(0));
}

#[tokio::test]
async fn a_question_that_one_node_cannot_answer_goes_to_the_next() {
    let nodes = nodes(2);
    for node in &nodes {
        node.deposit([1; 20], Fr::from(1), 5);
        node.mine(4);
    }
    let several = several(&nodes).await.unwrap();
    nodes[0].set_faults(crate::chain::memory::Faults { logs: true, receipts: true, ..Default::default() });
    assert_eq!(several.logs(0, 14).await.unwrap().deposits.len(), 1);
    assert_eq!(several.receipt([9; 32]).await, Ok(None));
    nodes[1].set_down(true);
    assert!(several.logs(0, 14).await.is_err());
}

#[tokio::test]
async fn a_transaction_is_not_taken_only_if_no_node_takes_it_and_each_said_so() {
    let nodes = nodes(2);
    let several = several(&nodes).await.unwrap();
    let tx = SignedTx { raw: vec![1], hash: [1; 32], nonce: 9, fees: Fees { max_fee: 50, max_priority: 1 } };
    nodes[0].set_fee_cap(Some(10));
    assert_eq!(several.send_raw(&tx).await, Ok(SendOutcome::Sent), "the second takes it");
    nodes[1].set_fee_cap(Some(10));
    assert!(matches!(several.send_raw(&tx).await, Ok(SendOutcome::NotTaken(_))));
    nodes[1].set_down(true);
    assert!(several.send_raw(&tx).await.is_err(), "an answer that is lost is no refusal");
}

#[tokio::test]
async fn a_node_that_is_away_at_the_start_is_used_when_it_comes() {
    let nodes = nodes(2);
    nodes[0].set_down(true);
    let several = several(&nodes).await.unwrap();
    assert_eq!(asked(&several, &nodes).await, Some(1));
    nodes[0].set_down(false);
    assert_eq!(asked(&several, &nodes).await, Some(0));
    nodes.iter().for_each(|node| node.set_down(true));
    assert!(super::tests::several(&nodes).await.is_err(), "none answers");
}
