//! Nodes that are away, behind, late or wrong, beside nodes that are not.

use bn254::Fr;

use super::{
    look::{APART, BEHIND, STANDSTILL},
    *,
};
use crate::chain::memory::{Faults, MemoryChain};

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
    nodes[0].set_faults(Faults { logs: true, receipts: true, ..Default::default() });
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

/// A comparison, as if so much time had gone by since the last one.
async fn look_after(several: &Several, time: Duration) -> Found {
    several.members.iter().for_each(|member| member.age(time));
    {
        let mut found = several.found();
        found.at = None;
        found.apart_since = found.apart_since.and_then(|since| since.checked_sub(time));
    }
    several.compare().await.unwrap_or_else(|_| several.found().clone())
}

async fn look(several: &Several) -> Found {
    look_after(several, Duration::ZERO).await
}

#[tokio::test]
async fn of_two_nodes_one_that_is_merely_ahead_is_asked_and_moves_neither_head_nor_finality() {
    let nodes = nodes(2);
    let several = several(&nodes).await.unwrap();
    let settled = several.finalized().await.unwrap().unwrap().number;
    nodes[1].mine(100);
    assert_eq!(asked(&several, &nodes).await, Some(1));
    assert_eq!(several.head().await.unwrap().number, 10);
    assert_eq!(several.finalized().await.unwrap().unwrap().number, settled);
    assert_eq!(several.alarm(), None, "a node may be late for a while");
    // The late one goes on, always far behind.
    nodes.iter().for_each(|node| node.mine(1));
    let found = look_after(&several, APART).await;
    let alarm = found.alarm.unwrap();
    assert!(alarm.contains("PM-CHAIN-007: b is far ahead of a"), "{alarm}");
    assert_eq!((found.head.unwrap().number, found.settled.unwrap().number), (11, settled + 1));
    nodes[0].mine(100);
    let found = look(&several).await;
    assert_eq!((found.usable[0].member, found.head.unwrap().number), (0, 111), "it has caught up");
    assert_eq!(found.alarm, None);
}

#[tokio::test]
async fn of_two_nodes_one_that_is_ahead_on_another_chain_is_contradicted_and_nobody_is_used() {
    let nodes = nodes(2);
    let several = several(&nodes).await.unwrap();
    // Only a block that is not final yet.
    nodes[1].reorg(1);
    nodes[1].mine(100);
    assert_eq!(asked(&several, &nodes).await, None);
    let alarm = several.alarm().unwrap();
    assert!(alarm.contains("PM-CHAIN-006: a, b do not agree on block 10"), "{alarm}");
    // The late one comes over to that chain.
    nodes[0].reorg(1);
    assert_eq!(asked(&several, &nodes).await, Some(1));
    assert_eq!(several.alarm(), None);
}

#[tokio::test]
async fn of_two_nodes_one_that_has_stood_still_for_long_is_not_counted() {
    let nodes = nodes(2);
    let several = several(&nodes).await.unwrap();
    nodes[1].mine(50);
    let found = look_after(&several, STANDSTILL - Duration::from_secs(20)).await;
    assert_eq!(found.head.unwrap().number, 10);
    let found = look_after(&several, Duration::from_secs(20)).await;
    assert_eq!(found.head.unwrap().number, 60);
    let alarm = found.alarm.unwrap();
    assert!(alarm.contains("PM-CHAIN-008: a has stood at block 10"), "{alarm}");
    nodes[0].mine(1);
    assert_eq!(look(&several).await.head.unwrap().number, 11, "it moves: it is counted");
}

#[tokio::test]
async fn a_chain_that_stands_still_is_not_outvoted_by_one_node_that_goes_on() {
    let nodes = nodes(3);
    let several = several(&nodes).await.unwrap();
    nodes[0].mine(100);
    let found = look_after(&several, STANDSTILL * 2).await;
    assert_eq!((found.head.unwrap().number, found.usable[0].member), (10, 1));
}

#[tokio::test]
async fn a_final_height_that_one_node_invents_hurries_nothing() {
    let nodes = nodes(3);
    let several = several(&nodes).await.unwrap();
    let before = several.finalized().await.unwrap().unwrap();
    // Near enough to be asked first, with a higher final block.
    nodes[0].mine(BEHIND as usize);
    let found = look(&several).await;
    assert_eq!((found.usable[0].member, found.settled.unwrap().number), (0, before.number));
    assert_eq!(found.head.unwrap().number, 10);
}

/// Two nodes for which nobody waits long, the first of them silent.
async fn one_silent() -> (Vec<Arc<MemoryChain>>, Several) {
    let nodes = nodes(2);
    let mut several = several(&nodes).await.unwrap();
    several.members.iter_mut().for_each(|member| member.with_patience(Duration::from_millis(200)));
    nodes[0].set_faults(Faults { head: true, ..Faults::default() });
    (nodes, several)
}

#[tokio::test]
async fn a_node_that_is_silent_costs_one_wait_and_then_rests_longer_and_longer() {
    let (nodes, several) = one_silent().await;
    let mut rests = Vec::new();
    for _ in 0..6 {
        let before = nodes[0].heads_asked();
        let found = look(&several).await;
        assert_eq!((found.usable.len(), found.usable[0].member), (1, 1));
        assert_eq!(nodes[0].heads_asked(), before + 1);
        // While it rests nobody asks it.
        let mut rest = 0;
        while several.members[0].rests() {
            look(&several).await;
            assert_eq!(nodes[0].heads_asked(), before + 1);
            several.members[0].age(Duration::from_millis(100));
            rest += 1;
        }
        rests.push(rest);
    }
    assert!(rests.is_sorted() && rests[0] <= 2 && rests[4] > 16, "{rests:?}");
    nodes[0].set_faults(Faults::default());
    assert_eq!(look(&several).await.usable[0].member, 0);
}

#[tokio::test]
async fn nodes_that_rest_are_asked_where_nobody_else_answers() {
    let (nodes, several) = one_silent().await;
    look(&several).await;
    nodes[0].set_faults(Faults::default());
    nodes[1].set_down(true);
    assert_eq!(asked(&several, &nodes).await, Some(0));
}

#[tokio::test]
async fn callers_that_come_at_once_share_one_look() {
    let (nodes, several) = one_silent().await;
    nodes[1].set_faults(Faults { head: true, ..Faults::default() });
    several.found().at = None;
    let before = nodes[0].heads_asked();
    let answers = futures::future::join_all((0..8).map(|_| several.head())).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(nodes[0].heads_asked() - before, 1);
}
