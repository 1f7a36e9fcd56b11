//! Reorganisations, fee spikes and refusals, seen through the whole coordinator on a chain in memory.

use super::*;
use crate::chain::memory::Faults;

/// As `config`, with blocks final as soon as they are there, so that every reorganisation replaces final blocks.
async fn start_hasty(world: &World, folder: &Path) -> Arc<Handle> {
    let hasty = Config { finality: Finality::Confirmations(0), ..config() };
    world.start_as(hasty, folder).await
}

async fn alarm(handle: &Handle) -> Option<String> {
    handle.system().await.intake_alarm
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_blocks_replaced_by_others_with_the_same_deposits_change_nothing() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    world.chain.rewrite_from(1);
    fund(&world, &handle, &bob, 500).await;
    send(&handle, &alice, &bob, 100, "still works").await.unwrap();
    settle(&handle).await;
    assert_eq!(alarm(&handle).await, None);
    assert_eq!(handle.account(bob.owner).await.balances.finalized, 600);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_deposit_that_a_reorganisation_takes_away_is_never_minted() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let slow = Config {
        finality: Finality::Confirmations(0),
        deposit_wait: Duration::from_secs(3600),
        shapes: vec![Shape::S14M2],
        ..config()
    };
    world.mining.store(false, Ordering::Release);
    let handle = world.start_as(slow, folder.path()).await;
    let (alice, bob) = people();
    let taken = async |count: u64| {
        eventually("the deposits are taken in", async || {
            handle.ask_state(|state| state.next_ids().0).await == count
        })
        .await;
    };
    world.chain.mine(3);
    world.chain.deposit(alice.owner, alice.key_hash, 1_000);
    world.chain.mine(1);
    taken(1).await;
    world.chain.reorg(2);
    taken(0).await;
    // Another deposit takes the number, and both of what comes now are minted.
    world.chain.deposit(bob.owner, bob.key_hash, 700);
    world.chain.deposit(alice.owner, alice.key_hash, 300);
    world.chain.mine(1);
    world.mining.store(true, Ordering::Release);
    taken(2).await;
    settle(&handle).await;
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 700);
    assert_eq!(handle.account(alice.owner).await.balances.accepted, 300);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_deposit_that_is_gone_stops_the_intake_until_the_chain_has_it_again() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = start_hasty(&world, folder.path()).await;
    let (alice, bob) = people();
    world.mining.store(false, Ordering::Release);
    world.chain.mine(3);
    world.chain.deposit(alice.owner, alice.key_hash, 1_000);
    world.chain.mine(1);
    eventually("the deposit is sealed and submitted", async || world.chain.sent() > 0).await;
    world.chain.reorg_with(2, &[(bob.owner, bob.key_hash, 5)]);
    eventually("the alarm", async || alarm(&handle).await.is_some()).await;
    let words = alarm(&handle).await.unwrap();
    assert!(words.contains("PM-INTAKE-004") && words.contains("deposit 0"), "{words}");
    assert!(words.contains("batch 1"), "{words}");
    // Another reorganisation brings it back, with another deadline: the batch settles with the preimage of now.
    world.chain.reorg_with(3, &[(alice.owner, alice.key_hash, 1_000)]);
    world.mining.store(true, Ordering::Release);
    eventually("the intake goes on", async || alarm(&handle).await.is_none()).await;
    fund(&world, &handle, &bob, 500).await;
    settle(&handle).await;
    assert_eq!(world.chain.contract().batch_no, 2);
    assert_eq!(handle.account(alice.owner).await.balances.finalized, 1_000);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deposits_in_another_order_are_minted_in_the_order_of_the_chain() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let slow = Config {
        finality: Finality::Confirmations(0),
        deposit_wait: Duration::from_secs(3600),
        shapes: vec![Shape::S4M60],
        ..config()
    };
    world.mining.store(false, Ordering::Release);
    let handle = world.start_as(slow, folder.path()).await;
    let (alice, bob) = people();
    world.chain.mine(3);
    world.chain.deposit(alice.owner, alice.key_hash, 1_000);
    world.chain.deposit(bob.owner, bob.key_hash, 70);
    world.chain.mine(1);
    let first_account = async || {
        handle.ask_state(|state| state.batcher().first_waiting().map(|deposit| deposit.account)).await
    };
    eventually("alice comes first", async || first_account().await == Some(alice.account)).await;
    world.chain.reorg_with(1, &[(bob.owner, bob.key_hash, 70), (alice.owner, alice.key_hash, 1_000)]);
    eventually("bob comes first", async || first_account().await == Some(bob.account)).await;
    assert_eq!(alarm(&handle).await, None);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_at_a_root_of_somebody_else_stops_intake_and_settlement_until_it_is_ours_again() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    world.chain.set_foreign_root(true);
    eventually("the alarm", async || alarm(&handle).await.is_some()).await;
    assert!(alarm(&handle).await.unwrap().contains("PM-SETTLE-007"));
    let sent = world.chain.sent();
    world.chain.deposit(bob.owner, bob.key_hash, 500);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(handle.account(bob.owner).await.balances.accepted, 0, "nothing is taken in");
    assert_eq!(world.chain.sent(), sent, "nothing is sent");
    world.chain.set_foreign_root(false);
    settle(&handle).await;
    eventually("bob's deposit is minted", async || handle.account(bob.owner).await.balances.accepted == 500)
        .await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fee_spike_is_paid_and_the_nonce_stays() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let spiky = Config { bump_after: Duration::from_millis(100), ..config() };
    world.chain.set_base_fee(100);
    let handle = world.start_as(spiky, folder.path()).await;
    let (alice, _) = people();
    world.mining.store(false, Ordering::Release);
    world.chain.deposit(alice.owner, alice.key_hash, 1_000);
    world.chain.mine(3);
    eventually("it is broadcast", async || world.chain.sent() > 0).await;
    world.chain.set_base_fee(100_000);
    world.chain.mine(1);
    assert_eq!(world.chain.receipts(), [], "it offers too little now");
    world.mining.store(true, Ordering::Release);
    settle(&handle).await;
    assert_eq!(world.chain.receipts().len(), 1, "one nonce, one transaction");
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_settles_in_few_transactions_also_on_a_node_without_pending_state() {
    for pending in ["kept", "not kept", "refused"] {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        match pending {
            "not kept" => world.chain.keep_no_pending_state(),
            "refused" => world.chain.set_faults(Faults { pending: true, ..Faults::default() }),
            _ => {}
        }
        let handle = world.start(folder.path()).await;
        let (alice, _) = people();
        world.mining.store(false, Ordering::Release);
        for _ in 0..24 {
            world.chain.deposit(alice.owner, alice.key_hash, 10);
        }
        world.chain.mine(3);
        eventually("all are proven", async || handle.account(alice.owner).await.balances.proven == 240).await;
        // Several looks later there is still no alarm.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(handle.ready().await, Ok(()), "pending state is {pending}");
        world.mining.store(true, Ordering::Release);
        settle(&handle).await;
        let (receipts, batches) = (world.chain.receipts(), world.chain.contract().batch_no);
        assert!(receipts.iter().all(|receipt| receipt.success));
        assert_eq!(batches, handle.system().await.final_batch);
        assert!(batches >= 8 && receipts.len() as u32 <= 5, "{batches} in {}", receipts.len());
        handle.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_batch_that_the_contract_refuses_holds_up_only_those_behind_it() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    world.chain.refuse(Some(5));
    let handle = world.start(folder.path()).await;
    let (alice, _) = people();
    for _ in 0..8 {
        fund(&world, &handle, &alice, 10).await;
    }
    eventually("those before it are mined", async || world.chain.contract().batch_no == 4).await;
    eventually("the alarm", async || {
        handle.ready().await.is_err_and(|words| words.contains("PM-SETTLE-002") && words.contains('5'))
    })
    .await;
    world.chain.refuse(None);
    settle(&handle).await;
    assert_eq!(world.chain.contract().batch_no, 8);
    assert_eq!(handle.ready().await, Ok(()));
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reorganisations_of_any_depth_and_foreign_nonces_converge_unattended() {
    converges(70).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reorganisations_far_deeper_than_what_counts_as_final_converge_unattended() {
    converges(1).await;
}

async fn converges(confirmations: u64) {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    // Deposits are deep enough; the batches are not.
    let finality = Finality::Confirmations(confirmations);
    let handle = world.start_as(Config { finality, ..config() }, folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    world.chain.deposit(alice.owner, alice.key_hash, 100_000);
    world.chain.mine(75);
    eventually("minted", async || handle.account(alice.owner).await.balances.accepted > 0).await;
    for (round, depth) in [1, 64, 2, 3, 17, 40, 5, 64, 1, 9].into_iter().enumerate() {
        send(&handle, &alice, &bob, 1_000, &format!("round {round}")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        if round % 3 == 2 {
            world.chain.use_a_nonce();
        }
        world.chain.reorg(depth);
    }
    world.chain.mine(80);
    settle(&handle).await;
    let system = handle.system().await;
    assert_eq!(system.final_root, world.chain.contract().root);
    assert_eq!(alarm(&handle).await, None);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_came_in_by_a_forgotten_transaction_long_ago_is_found() {
    let (world, folder, backup) = (World::new(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    world.chain.refuse(Some(1));
    let handle = world.start(folder.path()).await;
    let (alice, _) = people();
    fund(&world, &handle, &alice, 10).await;
    eventually("proven and not sent", async || handle.system().await.proven_batch == 1).await;
    handle.shutdown().await;
    drop(handle);
    let kept = "coordinator.sqlite";
    std::fs::copy(folder.path().join(kept), backup.path().join(kept)).unwrap();
    // This one signs and sends it; the backup will not know.
    world.chain.refuse(None);
    let handle = world.start(folder.path()).await;
    settle(&handle).await;
    handle.shutdown().await;
    world.chain.mine(100);
    let handle = world.start_as(Config { log_range: 2, ..config() }, backup.path()).await;
    settle(&handle).await;
    assert_eq!((handle.system().await.final_batch, world.chain.receipts().len()), (1, 1));
    // A node that is behind with its state and its logs, and knows the transaction: nothing is undone by logs that are missing.
    let missing = Faults { contract_behind: ALL, unindexed: ALL as u64, ..Faults::default() };
    world.chain.set_faults(missing);
    eventually("settlement waits for it", async || {
        handle.ready().await.is_err_and(|words| words.contains("PM-SETTLE-008"))
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(handle.system().await.final_batch, 1);
    world.chain.set_faults(Faults::default());
    settle(&handle).await;
    fund(&world, &handle, &alice, 10).await;
    settle(&handle).await;
    assert_eq!(world.chain.contract().batch_no, 2);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_deeper_than_what_counted_as_final_is_settled_again_and_told_honestly() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let mut handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    // The deposit is deep enough, what follows is not.
    world.chain.mine(20);
    let mut sent = Vec::new();
    for round in 0..3 {
        sent.push(send(&handle, &alice, &bob, 100, &format!("round {round}")).await.unwrap().id);
        settle(&handle).await;
    }
    let finalised = handle.system().await.final_batch;
    assert_eq!(handle.account(bob.owner).await.balances.finalized, 300);
    world.mining.store(false, Ordering::Release);
    let second = world.chain.receipts()[1].block;
    let head = world.chain.head().await.unwrap().number;
    world.chain.reorg((head - second + 1) as usize);

    eventually("nothing of it is final any more", async || handle.system().await.final_batch == 1).await;
    let balances = handle.account(bob.owner).await.balances;
    assert_eq!((balances.accepted, balances.proven, balances.finalized), (300, 300, 0));
    for id in &sent {
        assert!(operation(&handle, id).await.stage < Stage::Final);
    }
    assert_eq!(handle.system().await.final_root, world.chain.contract().root);
    // Also for who starts in the middle of it.
    handle.shutdown().await;
    drop(handle);
    handle = world.start(folder.path()).await;
    assert_eq!(handle.account(bob.owner).await.balances.finalized, 0);
    world.mining.store(true, Ordering::Release);
    settle(&handle).await;
    let system = handle.system().await;
    assert_eq!((system.final_batch, system.final_root), (finalised, world.chain.contract().root));
    assert_eq!(handle.account(bob.owner).await.balances.finalized, 300);
    for id in &sent {
        assert_eq!(operation(&handle, id).await.stage, Stage::Final);
    }
    eventually("all is well", async || handle.ready().await.is_ok()).await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settlement_goes_on_where_logs_cannot_be_read_and_intake_where_receipts_cannot() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    world.chain.set_faults(Faults { logs: true, ..Faults::default() });
    send(&handle, &alice, &bob, 100, "without logs").await.unwrap();
    eventually("it is final", async || handle.account(bob.owner).await.balances.finalized == 100).await;
    eventually("the intake says why it waits", async || {
        handle.ready().await.is_err_and(|words| words.contains("no logs today"))
    })
    .await;
    world.chain.set_faults(Faults { receipts: true, ..Faults::default() });
    fund(&world, &handle, &bob, 500).await;
    settle(&handle).await;
    // With neither, an error is no word about a receipt: nothing is dropped, and nothing final, until the node can say.
    world.chain.set_faults(Faults { receipts: true, logs: true, ..Faults::default() });
    send(&handle, &alice, &bob, 100, "without both").await.unwrap();
    eventually("it is proven", async || handle.account(bob.owner).await.balances.proven == 700).await;
    let batches = handle.system().await.sealed_batch;
    eventually("it is mined", async || world.chain.contract().batch_no == batches).await;
    world.chain.mine(5);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(handle.system().await.final_batch < batches);
    world.chain.set_faults(Faults::default());
    settle(&handle).await;
    eventually("all is well", async || handle.ready().await.is_ok()).await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deposits_whose_logs_are_indexed_late_are_waited_for_and_none_is_left_out() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    world.chain.set_faults(Faults { unindexed: 8, ..Faults::default() });
    world.chain.deposit(alice.owner, alice.key_hash, 1_000);
    world.mining.store(false, Ordering::Release);
    world.chain.mine(4);
    eventually("it waits for the logs", async || {
        handle.ready().await.is_err_and(|words| words.contains("has not indexed"))
    })
    .await;
    world.mining.store(true, Ordering::Release);
    fund(&world, &handle, &bob, 500).await;
    world.chain.set_faults(Faults::default());
    settle(&handle).await;
    assert_eq!(handle.account(alice.owner).await.balances.finalized, 1_000);
    assert_eq!(handle.account(bob.owner).await.balances.finalized, 500);
    assert_eq!(alarm(&handle).await, None);
    eventually("all is well", async || handle.ready().await.is_ok()).await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_the_node_never_took_is_signed_anew_when_fees_are_down_again() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    world.chain.set_base_fee(100_000);
    world.chain.set_fee_cap(Some(50_000));
    let handle = world.start(folder.path()).await;
    let (alice, _) = people();
    for _ in 0..4 {
        world.chain.deposit(alice.owner, alice.key_hash, 10);
    }
    eventually("the alarm", async || {
        handle.ready().await.is_err_and(|words| {
            ["PM-SETTLE-003", "nonce 0", "configured cap", "--max-fee"]
                .iter()
                .all(|word| words.contains(word))
        })
    })
    .await;
    assert_eq!(world.chain.receipts(), []);
    // The spike is over; the node's cap stays.
    world.chain.set_base_fee(100);
    settle(&handle).await;
    assert!(world.chain.receipts().iter().all(|receipt| receipt.success));
    assert_eq!(world.chain.contract().batch_no, handle.system().await.final_batch);
    eventually("all is well", async || handle.ready().await.is_ok()).await;
    handle.shutdown().await;
}

/// All blocks there are.
const ALL: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intake_that_only_waits_for_settlement_keeps_its_alarm() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, _) = people();
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    world.chain.set_foreign_root(true);
    eventually("the alarm", async || alarm(&handle).await.is_some()).await;
    // Another node answers, for which nothing is settled yet.
    world.chain.set_faults(Faults { contract_behind: ALL, ..Faults::default() });
    world.chain.set_foreign_root(false);
    eventually("settlement waits for it", async || {
        handle.status_for_tests().settlement_alarm.is_some_and(|words| words.contains("PM-SETTLE-008"))
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(alarm(&handle).await.is_some(), "nothing is taken in, and that is not over");
    world.chain.set_faults(Faults::default());
    eventually("all is well", async || alarm(&handle).await.is_none() && handle.ready().await.is_ok()).await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_answer_about_a_block_undoes_nothing_that_is_final() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, _) = people();
    fund(&world, &handle, &alice, 1_000).await;
    settle(&handle).await;
    // What is not final any more does not become final again meanwhile.
    let behind = Faults { contract_behind: ALL, receipts: true, logs: true, ..Faults::default() };
    world.chain.set_faults(behind);
    eventually("settlement waits for it", async || {
        handle.ready().await.is_err_and(|words| words.contains("PM-SETTLE-008"))
    })
    .await;
    world.chain.set_faults(Faults { other_hashes: 1, ..behind });
    eventually("it is asked", async || world.chain.faults().other_hashes == 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(handle.system().await.final_batch, 1);
    // Two in a row are believed.
    world.chain.set_faults(Faults { other_hashes: 2, ..behind });
    eventually("it is not final any more", async || handle.system().await.final_batch == 0).await;
    world.chain.set_faults(Faults::default());
    settle(&handle).await;
    assert_eq!(handle.system().await.final_batch, 1);
    handle.shutdown().await;
}
