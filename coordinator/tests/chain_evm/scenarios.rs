//! What the coordinator and its users do, on a real chain.

use bn254::Fr;
use circuits::{leaf::account, shape::Shape, slot::ForcedKind};
use coordinator::chain::{
    Chain,
    evm::{EvmChain, EvmSettings},
};
use l1::{
    contract::{Config, Event},
    node::{AccountKey, TX_GAS_CAP, TxError, Wallet, deploy},
};
use protocol::l1::{At, ContractState, DryRun, Fees, SendOutcome, SubmitBatch};
use serde_json::json;
use testbed::chain::{Backend, ETHER, GWEI, Node};

use crate::mill::{Mill, alice, circuits, key_hash, operator};

pub async fn a_deployment_with_all_circuits_fits_into_one_transaction(backend: Backend) {
    let node = Node::start(backend).await;
    let config = Config::new(operator().address());
    let deployed = deploy(&node.url, &operator(), &config, &circuits(&Shape::ALL)).await.unwrap();
    assert!(deployed.gas_used < TX_GAS_CAP, "{deployed:?}");
    let settings = EvmSettings::new(&node.url, deployed.contract, deployed.block);
    let chain = EvmChain::connect(settings, operator()).await.unwrap();
    let deployment = chain.deployment().await.unwrap();
    assert_eq!((deployment.chain_id, deployment.contract), (deployed.chain_id, deployed.contract));
    assert_eq!((deployment.operator, deployment.first_block), (operator().address(), deployed.block));
    assert_eq!(u128::from(deployment.quantum_wei), GWEI);
    for shape in Shape::ALL {
        let info = chain.contract().circuit(shape.number()).await.unwrap().unwrap();
        assert_eq!((info.slots as usize, info.mint_places as usize), (shape.slots(), shape.mint_places()));
        assert_eq!(info.digest, [shape.number() as u8; 32]);
    }
    let state = chain.contract_state().await.unwrap();
    assert_eq!((state.batch_no, state.next, state.deposit_count, state.forced_count), (0, 0, 0, 0));
    let empty_root = "10324093790923573694809336500321329393818462535542594560181580445522306007833";
    assert_eq!(state.root, bn254::PrimeField::from_str_vartime(empty_root).unwrap());
    assert!(chain.contract().is_promise_signer(operator().address()).await.unwrap());
    assert!(!chain.contract().is_promise_signer(alice().address()).await.unwrap());
}

pub async fn a_deposit_arrives_with_every_field_and_is_minted_by_a_batch(backend: Backend) {
    let mill = Mill::start(backend).await;
    let owner = mill.alice.address();
    let coins = Config::new(owner).coins_after_deposit((ETHER / GWEI) as u64).unwrap();
    for id in 0..5u64 {
        let made = mill.alice.deposit(owner, key_hash(), ETHER).await.unwrap();
        let logs = mill.logs().await;
        assert_eq!(logs.deposits.len() as u64, id + 1);
        let deposit = &logs.deposits[id as usize];
        assert_eq!((deposit.id, made.id), (id, id));
        assert_eq!((deposit.owner, deposit.depositor, deposit.key_hash), (owner, owner, key_hash()));
        assert_eq!(deposit.account, account(&owner, &key_hash()));
        assert_eq!((deposit.range.low(), deposit.range.high()), (id * coins + 1, (id + 1) * coins));
        assert_eq!((deposit.range, deposit.deadline), (made.range, made.deadline));
        assert_eq!((deposit.tx, deposit.block), (made.mined.tx, made.mined.block));
        assert!(made.mined.gas_used > 21_000 && made.mined.gas_cost.unwrap() > 0);
    }
    assert!(mill.chain.contract().liabilities().await.unwrap() >= 5 * ETHER);

    let deposits = mill.logs().await.deposits;
    let batch = mill.batch(vec![deposits[0].clone()], &[], vec![]).await;
    let tried = mill.chain.dry_run(std::slice::from_ref(&batch), At::Latest).await;
    assert!(matches!(tried, Ok(DryRun::Accepted { gas_limit }) if gas_limit > 100_000), "{tried:?}");
    mill.submit(&batch).await;
    let logs = mill.logs().await;
    assert_eq!(logs.deposits, deposits);
    let accepted = &logs.batches[..];
    let [accepted] = accepted else { panic!("one batch, not {accepted:?}") };
    assert_eq!((accepted.batch_no, accepted.shape), (1, Shape::S3M1));
    assert_eq!((accepted.mid_root, accepted.new_root), (batch.mid_root, batch.new_root));
    assert_eq!((accepted.start, accepted.next, accepted.minted_up_to, accepted.forced_up_to), (0, 4, 1, 0));
    let state = mill.chain.contract_state().await.unwrap();
    assert_eq!((state.batch_no, state.next, state.minted_up_to, state.deposit_count), (1, 4, 1, 5));
    assert_eq!(state.root, batch.new_root);

    // A range holds its own blocks only, and the whole is the sum of its parts.
    let (mut parts, head) = (Vec::new(), mill.chain.head().await.unwrap().number);
    for block in 0..=head {
        parts.extend(mill.chain.logs(block, block).await.unwrap().deposits);
    }
    assert_eq!(parts, deposits);
}

pub async fn what_the_contract_would_refuse_is_told_before_anything_is_signed(backend: Backend) {
    let mill = Mill::start(backend).await;
    let batch = mill.batch(vec![], &[], vec![]).await;
    let mut forged = batch.clone();
    forged.new_root += Fr::from(1);
    let tried = async |batch: &SubmitBatch| match mill
        .chain
        .dry_run(std::slice::from_ref(batch), At::Latest)
        .await
        .unwrap()
    {
        DryRun::Reverted(words) => words,
        accepted => panic!("{accepted:?}"),
    };
    let words = tried(&forged).await;
    assert!(words.starts_with("ProofRejected: ") && words.contains("batch 1"), "{words}");

    mill.submit(&batch).await;
    let words = tried(&batch).await;
    assert!(words.starts_with("StartOutOfWindow: ") && words.contains("PM-CONTRACT-1"), "{words}");

    // A user's mistakes cost nothing and are explained.
    let before = mill.alice.balance().await.unwrap();
    let refused = |result: Result<_, TxError>| match result {
        Err(TxError::Refused(error)) => error.name,
        other => panic!("not refused: {other:?}"),
    };
    let owner = mill.alice.address();
    assert_eq!(refused(mill.alice.deposit(owner, key_hash(), ETHER + 1).await.map(|_| ())), "ValueNotWhole");
    assert_eq!(refused(mill.alice.deposit(owner, key_hash(), GWEI).await.map(|_| ())), "DepositTooSmall");
    assert_eq!(refused(mill.alice.withdraw(owner).await.map(|_| ())), "NothingPending");
    assert_eq!(mill.alice.balance().await.unwrap(), before);
}

pub async fn a_withdrawal_is_credited_and_collected_once(backend: Backend) {
    let mill = Mill::start(backend).await;
    let deposit = mill.deposit().await;
    mill.submit(&mill.batch(vec![deposit.clone()], &[], vec![]).await).await;
    let (owner, coins) = (mill.alice.address(), 1_000_000);
    let low = deposit.range.low();
    mill.submit(&mill.batch(vec![], &[(owner, low, low + coins - 1)], vec![]).await).await;

    let credited = u128::from(Config::new(owner).coins_after_exit(coins)) * GWEI;
    assert_eq!(mill.alice.pending().await, Ok(credited));
    let before = mill.alice.balance().await.unwrap();
    let mined = mill.alice.withdraw(owner).await.unwrap();
    assert_eq!(mined.events, [Event::Collected { owner, amount_wei: credited }]);
    assert_eq!(mill.alice.balance().await, Ok(before + credited - mined.gas_cost.unwrap()));
    assert_eq!(mill.alice.pending().await, Ok(0));
    assert!(matches!(mill.alice.withdraw_for(owner).await, Err(TxError::Refused(_))));
}

pub async fn forced_requests_arrive_and_are_answered(backend: Backend) {
    let mill = Mill::start(backend).await;
    let (owner, new_key_hash) = (mill.alice.address(), Fr::from(4_242));
    let error = mill.alice.force_exit(5, key_hash()).await.unwrap_err();
    assert!(matches!(&error, TxError::Refused(error) if error.name == "IndexNotAppended"), "{error}");
    for _ in 0..2 {
        mill.submit(&mill.batch(vec![], &[], vec![]).await).await;
    }
    let (base, surcharge) = mill.alice.contract().force_fee().await.unwrap();
    let exit = mill.alice.force_exit(5, key_hash()).await.unwrap();
    let rekey = mill.alice.force_rekey(6, key_hash(), new_key_hash).await.unwrap();
    assert_eq!((exit.id, rekey.id, exit.paid), (0, 1, base + surcharge));
    assert!(rekey.paid > exit.paid, "an open request makes the next dearer");

    let requests = mill.logs().await.forced;
    assert_eq!(requests.len(), 2);
    for (request, made) in requests.iter().zip([&exit, &rekey]) {
        assert_eq!((request.id, request.deadline), (made.id, made.deadline));
        assert_eq!((request.block, request.tx), (made.mined.block, made.mined.tx));
        assert_eq!((request.owner, request.account), (owner, account(&owner, &key_hash())));
    }
    assert_eq!((requests[0].kind, requests[0].index), (ForcedKind::Exit, 5));
    assert_eq!(requests[0].new_account, Fr::from(0));
    assert_eq!((requests[1].kind, requests[1].index), (ForcedKind::Rekey, 6));
    assert_eq!(requests[1].new_account, account(&owner, &new_key_hash));

    mill.submit(&mill.batch(vec![], &[], vec![requests[0].clone()]).await).await;
    let state = mill.chain.contract_state().await.unwrap();
    assert_eq!((state.forced_up_to, state.forced_count), (1, 2));
    let forced_up_to: Vec<u64> = mill.logs().await.batches.iter().map(|batch| batch.forced_up_to).collect();
    assert_eq!(forced_up_to, [0, 0, 1]);
}

pub async fn a_key_epoch_can_only_rise(backend: Backend) {
    let mill = Mill::start(backend).await;
    let owner = mill.alice.address();
    assert_eq!(mill.chain.key_epoch(owner).await, Ok(0));
    for epoch in 1..=2 {
        let mined = mill.alice.bump_key_epoch().await.unwrap();
        assert_eq!(mined.events, [Event::KeyEpochBumped { owner, key_epoch: epoch }]);
        assert_eq!(mill.chain.key_epoch(owner).await, Ok(epoch));
        assert_eq!(mill.alice.key_epoch().await, Ok(epoch));
    }
    assert_eq!(mill.chain.key_epoch(operator().address()).await, Ok(0));
}

pub async fn a_transaction_that_waits_is_replaced_by_one_that_pays_more(backend: Backend) {
    let mill = Mill::start(backend).await;
    let batch = mill.batch(vec![], &[], vec![]).await;
    mill.node.ask("evm_setAutomine", json!([false])).await;
    let nonce = mill.chain.nonce(operator().address()).await.unwrap();
    let fees = mill.chain.fees().await.unwrap();
    let sign = async |fees: Fees| mill.sign(std::slice::from_ref(&batch), nonce, fees).await;
    let first = sign(fees).await;
    assert_eq!(mill.chain.send_raw(&first).await, Ok(SendOutcome::Sent));
    assert_eq!(mill.chain.send_raw(&first).await, Ok(SendOutcome::Sent), "sent again after a lost answer");
    assert_eq!(mill.chain.nonce(operator().address()).await, Ok(nonce), "by mined transactions only");
    assert_eq!(mill.chain.receipt(first.hash).await, Ok(None));

    let little = sign(Fees { max_fee: fees.max_fee - 1, max_priority: fees.max_priority - 1 }).await;
    assert_eq!(mill.chain.send_raw(&little).await, Ok(SendOutcome::Underpriced));
    let more =
        sign(Fees { max_fee: fees.max_fee * 9 / 8 + 1, max_priority: fees.max_priority * 9 / 8 + 1 }).await;
    assert_eq!(mill.chain.send_raw(&more).await, Ok(SendOutcome::Sent));
    mill.node.ask("evm_mine", json!([])).await;

    let receipt = mill.chain.receipt(more.hash).await.unwrap().expect("the dearer one is mined");
    assert!(receipt.success && receipt.tx == more.hash);
    assert_eq!(mill.chain.block_hash(receipt.block).await, Ok(Some(receipt.block_hash)));
    assert_eq!(mill.chain.receipt(first.hash).await, Ok(None));
    assert_eq!(mill.chain.send_raw(&first).await, Ok(SendOutcome::NonceUsed));
    assert_eq!(mill.chain.nonce(operator().address()).await, Ok(nonce + 1));
}

pub async fn several_batches_go_in_one_transaction_and_a_second_one_builds_on_it(backend: Backend) {
    let mill = Mill::start(backend).await;
    let deposit = mill.deposit().await;
    let mut state = mill.chain.contract_state().await.unwrap();
    let mut batches = Vec::new();
    for i in 0..5u64 {
        let mints = if i == 1 { vec![deposit.clone()] } else { vec![] };
        let batch = mill.batch_after(&state, mints, &[], vec![]);
        let (root, next, batch_no) = (batch.new_root, batch.start + 4, batch.batch_no);
        state = ContractState { root, next, batch_no, ..state };
        batches.push(batch);
    }
    let (first, second) = batches.split_at(3);
    let nonce = mill.chain.nonce(operator().address()).await.unwrap();
    let fees = mill.chain.fees().await.unwrap();
    mill.node.ask("evm_setAutomine", json!([false])).await;
    let one = mill.sign(first, nonce, fees).await;
    assert_eq!(mill.chain.send_raw(&one).await, Ok(SendOutcome::Sent));
    // On the latest block the second cannot stand; behind the first it can.
    let latest = mill.chain.dry_run(second, At::Latest).await.unwrap();
    assert!(
        matches!(&latest, DryRun::Reverted(words) if words.starts_with("StartOutOfWindow")
        || words.starts_with("ProofsRejected")),
        "{latest:?}"
    );
    let behind = mill.chain.dry_run(second, At::Pending).await.unwrap();
    let gas_limit = match (backend, behind) {
        (Backend::Anvil, DryRun::Accepted { gas_limit }) => gas_limit,
        // The dev chain keeps no state of what is pending, and refuses.
        (Backend::DevChain, DryRun::Reverted(_)) => 2_000_000,
        (_, other) => panic!("{other:?}"),
    };
    let two = mill.chain.sign_submit(second, nonce + 1, fees, gas_limit).await.unwrap();
    assert_eq!(mill.chain.send_raw(&two).await, Ok(SendOutcome::Sent));
    mill.node.ask("evm_mine", json!([])).await;
    for tx in [&one, &two] {
        assert!(mill.chain.receipt(tx.hash).await.unwrap().unwrap().success);
    }
    let state = mill.chain.contract_state().await.unwrap();
    assert_eq!((state.batch_no, state.minted_up_to, state.root), (5, 1, batches[4].new_root));
    let logs = mill.logs().await.batches;
    assert_eq!(logs.iter().map(|log| log.batch_no).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

pub async fn our_estimate_of_gas_is_above_the_chains(backend: Backend) {
    use sequencer::settlement::cost::{batch_gas, tx_gas};
    let mill = Mill::start(backend).await;
    let deposit = mill.deposit().await;
    let used = mill.submit(&mill.batch(vec![deposit.clone()], &[], vec![]).await).await;
    assert!(used <= tx_gas(batch_gas(1, 0, 0)), "{used}");
    let low = deposit.range.low();
    let out: Vec<_> =
        (0..3u64).map(|i| ([i as u8 + 1; 20], low + i * 50_000, low + i * 50_000 + 40_000)).collect();
    let used = mill.submit(&mill.batch(vec![], &out, vec![]).await).await;
    assert!(used <= tx_gas(batch_gas(0, 3, 0)), "{used}");
    let mut state = mill.chain.contract_state().await.unwrap();
    let mut batches = Vec::new();
    for _ in 0..16 {
        let batch = mill.batch_after(&state, vec![], &[], vec![]);
        state =
            ContractState { root: batch.new_root, next: batch.start + 4, batch_no: batch.batch_no, ..state };
        batches.push(batch);
    }
    let DryRun::Accepted { gas_limit } = mill.chain.dry_run(&batches, At::Latest).await.unwrap() else {
        panic!("refused")
    };
    assert!(gas_limit <= tx_gas(16 * batch_gas(0, 0, 0)) * 6 / 5, "{gas_limit}");
}

pub async fn blocks_become_final_by_confirmations(backend: Backend) {
    let mill = Mill::start(backend).await;
    for _ in 0..3 {
        mill.node.ask("evm_mine", json!([])).await;
    }
    let head = mill.chain.head().await.unwrap();
    assert_eq!(mill.chain.block_hash(head.number).await, Ok(Some(head.hash)));
    assert_eq!(mill.chain.block_hash(head.number + 1).await, Ok(None));
    let settled = mill.chain.finalized().await.unwrap().unwrap();
    assert_eq!(settled.number, head.number - 1);
    assert_eq!(mill.chain.block_hash(settled.number).await, Ok(Some(settled.hash)));

    let by_tag = EvmSettings::new(&mill.node.url, mill.deployed.contract, mill.deployed.block);
    let by_tag = EvmChain::connect(by_tag, operator()).await.unwrap().finalized().await.unwrap().unwrap();
    assert!(by_tag.number < head.number);
    // Logs of blocks that the node does not have yet are not "none".
    let error = mill.chain.logs(0, head.number + 1).await.unwrap_err().to_string();
    assert!(error.starts_with("PM-CHAIN-001"), "{error}");
}

pub async fn fees_pay_for_the_next_block(backend: Backend) {
    let mill = Mill::start(backend).await;
    let fees = mill.chain.fees().await.unwrap();
    let block = mill.node.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    let base = block["baseFeePerGas"].as_str().unwrap().trim_start_matches("0x");
    let base = u128::from_str_radix(base, 16).unwrap();
    assert!(fees.max_priority > 0 && fees.max_fee >= base + fees.max_priority, "{fees:?} over {base}");
}

pub async fn an_account_without_ether_is_told_so(backend: Backend) {
    let mill = Mill::start(backend).await;
    let key = AccountKey::from_bytes(&[9; 32]).unwrap();
    let poor = Wallet::connect(&mill.node.url, mill.deployed.contract, key, None).await.unwrap();
    let error = poor.deposit(poor.address(), key_hash(), ETHER).await.unwrap_err();
    assert!(matches!(&error, TxError::NotTaken(words) if words.to_lowercase().contains("funds")), "{error}");
}
