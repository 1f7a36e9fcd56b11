//! When the contract takes no batch, nothing is promised; and a worker whose key is not the contract's gets no jobs.

use super::*;
use crate::driver::tests::operators::Admin;

async fn refusal(handle: &Handle, from: &Holder, to: &Holder, key: &str) -> Rejection {
    send(handle, from, to, 100, key).await.unwrap_err()
}

async fn until_halted(handle: &Handle) {
    eventually("it halts", async || handle.status_for_tests().halted.is_some()).await;
}

async fn until_it_goes_on(handle: &Handle) {
    eventually("it goes on", async || handle.status_for_tests().halted.is_none()).await;
}

/// Refuses sends as halted, is not ready, says why, and answers reads.
async fn check_halted(handle: &Handle, (alice, bob): (&Holder, &Holder), key: &str, why: &str) {
    let refused = refusal(handle, alice, bob, key).await;
    assert_eq!((refused.code(), refused.retryable()), ("HALTED", false));
    assert!(refused.to_string().contains(why), "{refused}");
    assert!(handle.ready().await.unwrap_err().contains(why));
    assert!(handle.overview().await.unwrap().alarms.iter().any(|alarm| alarm.contains(why)));
    assert!(handle.account(alice.owner).await.balances.accepted > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_that_refuses_batches_stops_new_promises_until_it_takes_them() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 5_000).await;
    settle(&handle).await;
    // A wrong key, a freeze, a proof it does not like: the contract's reason does not matter.
    let next = world.chain.contract().batch_no + 1;
    world.chain.refuse(Some(next));
    let accepted = send(&handle, &alice, &bob, 100, "before").await.unwrap();
    until_halted(&handle).await;
    check_halted(&handle, (&alice, &bob), "during", "PM-SETTLE-002").await;
    // What was accepted before is answered as before.
    let ask = PrepareSend {
        sender: alice.owner,
        recipient: bob.owner,
        amount: 100,
        allow_vault: false,
        valid_until: None,
    };
    let draft = handle.prepare_send(ask).await.unwrap();
    assert_eq!(handle.submit(alice.sign(&draft, "fresh")).await.unwrap_err().code(), "HALTED");
    assert_eq!(promises(&handle, &accepted.id).await.len(), 1);

    // A restart does not forget it.
    handle.shutdown().await;
    drop(handle);
    let handle = world.start(folder.path()).await;
    assert_eq!(refusal(&handle, &alice, &bob, "after").await.code(), "HALTED");
    world.chain.refuse(None);
    until_it_goes_on(&handle).await;
    send(&handle, &alice, &bob, 100, "at last").await.unwrap();
    settle(&handle).await;
    assert_eq!(handle.ready().await, Ok(()));
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_that_pass_no_gate_lift_no_halt() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let paused = Config { resend_after: Duration::from_secs(3), ..config() };
    let handle = world.start_as(paused.clone(), folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 5_000).await;
    settle(&handle).await;
    let next = world.chain.contract().batch_no + 1;
    world.chain.refuse(Some(next));
    send(&handle, &alice, &bob, 100, "refused").await.unwrap();
    until_halted(&handle).await;
    // The contract may have changed its mind; nobody can ask.
    world.chain.set_down(true);
    eventually("the outage shows", async || handle.status_for_tests().chain_unreachable.is_some()).await;
    world.chain.refuse(None);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(handle.status_for_tests().halted.is_some(), "no gate was passed");
    // From now on no pool takes what passes the gates, and after each attempt there is a pause.
    world.chain.set_fee_cap(Some(1));
    world.chain.set_down(false);
    until_it_goes_on(&handle).await;
    eventually("it pauses", async || {
        handle.ready().await.is_err_and(|words| words.contains("PM-SETTLE-003"))
    })
    .await;

    // Within the pause no look after a restart comes to a gate, and what was recorded still counts.
    handle.shutdown().await;
    drop(handle);
    let handle = world.start_as(paused, folder.path()).await;
    let looked = world.chain.heads_asked();
    eventually("it has looked", async || world.chain.heads_asked() > looked + 10).await;
    assert!(handle.status_for_tests().halted.is_some(), "no gate was passed");
    world.chain.set_fee_cap(None);
    until_it_goes_on(&handle).await;
    settle(&handle).await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_root_and_a_signer_that_is_not_listed_stop_new_promises_with_nothing_to_settle() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 5_000).await;
    settle(&handle).await;
    world.chain.set_foreign_root(true);
    until_halted(&handle).await;
    check_halted(&handle, (&alice, &bob), "1", "PM-SETTLE-007").await;
    world.chain.set_foreign_root(false);
    until_it_goes_on(&handle).await;
    send(&handle, &alice, &bob, 100, "2").await.unwrap();
    settle(&handle).await;

    world.chain.list_signer(false);
    until_halted(&handle).await;
    check_halted(&handle, (&alice, &bob), "3", "does not list the promise signer").await;
    world.chain.list_signer(true);
    until_it_goes_on(&handle).await;
    send(&handle, &alice, &bob, 100, "4").await.unwrap();
    settle(&handle).await;
    handle.shutdown().await;

    world.chain.list_signer(false);
    let store = Box::new(SqliteStore::open(folder.path()).unwrap());
    let unlisted = world.start_with(store).await.err().unwrap().to_string();
    let signer = hex::encode(Holder::new(200).owner);
    assert!(unlisted.contains("PM-START-006") && unlisted.contains(&signer), "{unlisted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_another_key_gets_no_jobs_and_operators_see_why() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let handle = world.start(folder.path()).await;
    let side = world.queue.worker(WorkerId::parse("stranger").unwrap(), ProcessId(2));
    side.emit(&registers(|_| [0x55; 32])).await.unwrap();
    let told = Control::Refuse { shape: Shape::S3M1, verifying_key: key(Shape::S3M1) };
    eventually("it is told", async || {
        side.next_control(Duration::from_millis(20)).await.unwrap().as_ref() == Some(&told)
    })
    .await;
    let find = async || {
        handle.workers().await.into_iter().find(|worker| worker.id == "default/stranger" && worker.refused)
    };
    // Workers are looked at a few times a second.
    eventually("readers see the worker", async || find().await.is_some()).await;
    let view = find().await.unwrap();
    let reason = view.reason.unwrap();
    assert!(view.circuits.is_empty());
    assert!(
        reason.contains("PM-FARM-002")
            && reason.contains(&"55".repeat(32))
            && reason.contains(&hex::encode(key(Shape::S3M1))),
        "{reason}"
    );
    let alarms = handle.overview().await.unwrap().alarms;
    assert!(
        alarms.iter().any(|alarm| alarm.contains("stranger") && alarm.contains("PM-FARM-002")),
        "{alarms:?}"
    );
    let shown = Admin::over(&handle, folder.path()).ask("{ status { workers { id reason } alarms } }").await;
    assert!(shown.to_string().contains("PM-FARM-002"), "{shown}");

    // The other worker proves everything.
    let (alice, bob) = people();
    register(&handle, &alice).await;
    register(&handle, &bob).await;
    fund(&world, &handle, &alice, 1_000).await;
    send(&handle, &alice, &bob, 100, "s").await.unwrap();
    settle(&handle).await;
    for batch in handle.batches(None, 10).await.unwrap() {
        assert_ne!(batch.worker.as_deref(), Some("default/stranger"));
    }
    handle.shutdown().await;
}
