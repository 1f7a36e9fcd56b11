//! What readers find.

use std::future::Future;

use circuits::leaf::CoinRange;
use protocol::{OperationId, OperationKind, Stage, history::ListOf};
use sequencer::state::Promised;

use super::{Fixture, Outcome, batch, events, leading, operation, root};
use crate::{StoreError, history::Signatures};

/// Waits for an answer.
fn wait<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(StoreError::unexpected)?.block_on(answer)
}

fn id(byte: u8) -> OperationId {
    OperationId([byte; 32])
}

/// What is promised for one slot of an operation of these checks.
pub(super) fn promised() -> Option<Promised> {
    let range = CoinRange::new(5, 9).ok()?;
    Some(Promised { kind: 1, index: 64, account: root(3), range })
}

pub(super) fn readers_find_what_was_committed_at_once_and_whole(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    let history = store.history();
    assert_eq!(wait(history.operation(id(1)))?, None);
    store.commit(1, &events(1..=1), &[operation(1, 1, None), operation(2, 1, None)])?;
    let open = wait(history.operation(id(1)))?.map(|view| (view.stage, view.timeline.len()));
    assert_eq!(open, Some((Stage::Accepted, 1)));
    store.commit(2, &events(2..=2), &[batch(1, Stage::Sealed)])?;
    store.commit(3, &events(3..=3), &[operation(3, 2, Some(true)), batch(2, Stage::Sealed)])?;
    store.commit(4, &events(4..=4), &[batch(1, Stage::Final)])?;
    assert!(!store.is_incomplete()?);

    let Some(view) = wait(history.operation(id(1)))? else { panic!("it was committed") };
    assert_eq!((view.kind, view.amount, view.batch_no), (OperationKind::Send, 100, 1));
    assert_eq!((view.sender, view.recipient, view.hit), (Some([1; 20]), Some([2; 20]), None));
    let stages: Vec<Stage> = view.timeline.iter().map(|entry| entry.stage).collect();
    use Stage::{Accepted, Final, Proven, Proving, Sealed, Submitted};
    assert_eq!((view.stage, stages), (Final, vec![Accepted, Sealed, Proving, Proven, Submitted, Final]));

    let Some(final_batch) = wait(history.batch(1))? else { panic!("it was committed") };
    assert_eq!((final_batch.stage, final_batch.new_root), (Final, Some(root(1))));
    assert_eq!((final_batch.proof, final_batch.prove_ms), (Some(vec![9; 256]), Some(1_234)));
    assert_eq!((final_batch.worker.as_deref(), final_batch.attempts), (Some("worker"), 1));
    assert_eq!((final_batch.l1_block, final_batch.gas_used), (Some(77), Some(300_000)));
    assert_eq!(final_batch.public_inputs, Some([bn254::Fr::from(1); 3]));
    assert_eq!(wait(history.batch(3))?, None);
    let numbers = |below, limit| -> Result<Vec<u32>, StoreError> {
        Ok(wait(history.batches(below, limit))?.iter().map(|batch| batch.batch_no).collect())
    };
    assert_eq!((numbers(u32::MAX, 9)?, numbers(2, 9)?, numbers(9, 1)?), (vec![2, 1], vec![1], vec![2]));
    Ok(())
}

pub(super) fn lists_are_read_page_by_page_to_their_end(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    let history = store.history();
    let rows: Vec<_> = (1..=5).map(|n| operation(n, 1, None)).collect();
    store.commit(1, &events(1..=1), &rows)?;
    store.commit(2, &events(2..=2), &[batch(1, Stage::Sealed), operation(6, 2, None)])?;
    let page = |list, after: Option<u8>, limit| -> Result<Option<Vec<u8>>, StoreError> {
        let views = wait(history.operations(list, after.map(id), limit))?;
        let first_byte = |id: &str| OperationId::parse(id).map_or(0, |id| id.0[0]);
        Ok(views.map(|views| views.iter().map(|view| first_byte(&view.id)).collect()))
    };
    // The second is a mint: its depositor is not known here.
    let (payer, payee) = (ListOf::Address([1; 20]), ListOf::Address([2; 20]));
    assert_eq!(page(payee, None, 9)?, Some(vec![6, 5, 4, 3, 2, 1]));
    assert_eq!(page(payee, None, 2)?, Some(vec![6, 5]));
    assert_eq!(page(payee, Some(5), 3)?, Some(vec![4, 3, 2]));
    assert_eq!(page(payee, Some(1), 3)?, Some(vec![]));
    assert_eq!(page(payer, Some(3), 9)?, Some(vec![1]));
    assert_eq!(page(payer, Some(2), 9)?, None);
    assert_eq!(page(ListOf::Address([3; 20]), None, 9)?, Some(vec![]));
    assert_eq!(page(ListOf::Batch(1), None, 2)?, Some(vec![1, 2]));
    assert_eq!(page(ListOf::Batch(1), Some(2), 9)?, Some(vec![3, 4, 5]));
    assert_eq!(page(ListOf::Batch(1), Some(6), 9)?, None);
    assert_eq!(page(ListOf::Batch(2), None, 9)?, Some(vec![6]));
    Ok(())
}

pub(super) fn signatures_are_kept_once(fixture: &impl Fixture) -> Outcome {
    let mut store = leading(fixture)?;
    let history = store.history();
    store.commit(1, &events(1..=1), &[operation(1, 1, None), operation(2, 1, None)])?;
    let Some(kept) = wait(history.promises(id(1)))? else { panic!("it was committed") };
    assert_eq!((kept.batch_no, kept.deadline, kept.signed), (1, 9, None));
    assert_eq!(kept.promised, promised().into_iter().collect::<Vec<_>>());
    let by = |signer| Signatures { signer: [signer; 20], signatures: vec![[signer; 65]] };
    wait(history.keep(&[(id(1), by(7)), (id(2), by(8))]))?;
    wait(history.keep(&[(id(1), by(9))]))?;
    for (operation, signer) in [(1, 7), (2, 8)] {
        let kept = wait(history.promises(id(operation)))?.and_then(|kept| kept.signed);
        assert_eq!(kept, Some(by(signer)));
    }
    assert_eq!(wait(history.promises(id(3)))?, None);
    Ok(())
}
