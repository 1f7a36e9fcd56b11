//! From the contract's logs and calls to the plain data of [`protocol::l1`], and back. Every field is converted or refused.

use circuits::{leaf::CoinRange, shape::Shape, slot::ForcedKind};
use ethers::{
    abi::AbiEncode,
    types::{Log, U256},
};
use protocol::l1::{BatchAccepted, ChainError, Deposit, ForcedRequest, Logs, SubmitBatch};

use crate::contract::{Event, Word, bindings as abi, calls, decode_log};

/// The contract's event behind a log.
///
/// # Errors
/// `Undecodable` for a log that this program does not know completely.
pub(super) fn event(log: &Log) -> Result<Event, ChainError> {
    let topics: Vec<Word> = log.topics.iter().map(|topic| topic.0).collect();
    decode_log(&topics, &log.data).map_err(|error| undecodable(block_of(log), &error))
}

fn block_of(log: &Log) -> u64 {
    log.block_number.unwrap_or_default().as_u64()
}

fn undecodable(block: u64, detail: &dyn std::fmt::Display) -> ChainError {
    ChainError::Undecodable { block, detail: detail.to_string() }
}

/// Sorts logs, given in order of the chain, by queue. Those of payments and fees are decoded too, and dropped.
///
/// # Errors
/// `Undecodable` for a log that this program does not know, `Unexpected` where a queue has a gap: a log was left out.
pub(super) fn sort(logs: &[Log]) -> Result<Logs, ChainError> {
    let mut sorted = Logs::default();
    for log in logs {
        add(&mut sorted, log)?;
    }
    gapless("deposit", sorted.deposits.iter().map(|deposit| deposit.id))?;
    gapless("forced request", sorted.forced.iter().map(|request| request.id))?;
    gapless("batch", sorted.batches.iter().map(|batch| u64::from(batch.batch_no)))?;
    Ok(sorted)
}

fn add(sorted: &mut Logs, log: &Log) -> Result<(), ChainError> {
    let block = block_of(log);
    let tx = log.transaction_hash.unwrap_or_default().0;
    match event(log)? {
        Event::Deposited { id, owner, key_hash, entry } => sorted.deposits.push(Deposit {
            id,
            owner,
            key_hash,
            account: entry.account,
            range: CoinRange::new(entry.low, entry.high).map_err(|error| undecodable(block, &error))?,
            depositor: entry.depositor,
            deadline: entry.deadline,
            block,
            tx,
        }),
        Event::ForcedRequested { id, entry } => sorted.forced.push(ForcedRequest {
            id,
            kind: match entry.kind {
                crate::contract::ForcedKind::Exit => ForcedKind::Exit,
                crate::contract::ForcedKind::Rekey => ForcedKind::Rekey,
            },
            index: entry.index,
            account: entry.account,
            new_account: entry.new_account,
            owner: entry.owner,
            deadline: entry.deadline,
            block,
            tx,
        }),
        Event::BatchAccepted {
            batch_no,
            circuit,
            mid_root,
            new_root,
            start,
            next,
            minted_up_to,
            forced_up_to,
        } => sorted.batches.push(BatchAccepted {
            batch_no,
            shape: Shape::from_number(circuit)
                .ok_or_else(|| undecodable(block, &format!("circuit {circuit} is unknown")))?,
            mid_root,
            new_root,
            start,
            next,
            minted_up_to,
            forced_up_to,
            block,
            tx,
        }),
        Event::CircuitAdded { .. }
        | Event::PromiseSignerAdded(_)
        | Event::Credited { .. }
        | Event::ExcessCredited { .. }
        | Event::Collected { .. }
        | Event::FeesCollected { .. }
        | Event::StakeAdded { .. }
        | Event::KeyEpochBumped { .. } => {}
    }
    Ok(())
}

fn gapless(what: &str, ids: impl Iterator<Item = u64>) -> Result<(), ChainError> {
    let mut before: Option<u64> = None;
    for id in ids {
        if let Some(before) = before.filter(|before| before.checked_add(1) != Some(id)) {
            let detail = format!("{what} {id} follows {before} in the logs, so one was left out");
            return Err(ChainError::Unexpected(detail));
        }
        before = Some(id);
    }
    Ok(())
}

/// Call data of `submitBatch` for one batch, of `submitBatches` for several.
pub fn submit_call(batches: &[SubmitBatch]) -> Vec<u8> {
    if let [batch] = batches {
        let (batch, proof) = proven(batch);
        return abi::SubmitBatchCall { batch, proof }.encode();
    }
    let (batches, proofs) = batches.iter().map(proven).unzip();
    abi::SubmitBatchesCall { batches, proofs }.encode()
}

fn proven(batch: &SubmitBatch) -> (abi::Batch, [U256; 8]) {
    let word = |x: &bn254::Fr| U256::from_big_endian(&calls::word(x));
    let mints = batch.mints.iter().map(|deposit| crate::contract::MintEntry {
        account: deposit.account,
        low: deposit.range.low(),
        high: deposit.range.high(),
        depositor: deposit.depositor,
        deadline: deposit.deadline,
    });
    let forced = batch.forced.iter().map(|request| crate::contract::ForcedEntry {
        kind: match request.kind {
            ForcedKind::Exit => crate::contract::ForcedKind::Exit,
            ForcedKind::Rekey => crate::contract::ForcedKind::Rekey,
        },
        index: request.index,
        account: request.account,
        new_account: request.new_account,
        owner: request.owner,
        deadline: request.deadline,
    });
    let mut proof = [U256::zero(); 8];
    for (to, from) in proof.iter_mut().zip(batch.proof.as_chunks::<32>().0) {
        *to = U256::from_big_endian(from);
    }
    let batch = abi::Batch {
        circuit: batch.shape.number(),
        start: batch.start,
        mid_root: word(&batch.mid_root),
        new_root: word(&batch.new_root),
        h: word(&batch.h),
        mints: mints.map(|mint| calls::mint_entry(&mint)).collect(),
        records: batch.records.iter().map(|record| record.each_ref().map(word)).collect(),
        forced: forced.map(|entry| calls::forced_entry(&entry)).collect(),
    };
    (batch, proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_a_queue_is_an_error() {
        assert_eq!(gapless("deposit", [5, 6, 7].into_iter()), Ok(()));
        assert_eq!(gapless("deposit", std::iter::empty()), Ok(()));
        for ids in [[5, 7], [5, 5], [6, 5]] {
            assert!(matches!(gapless("deposit", ids.into_iter()), Err(ChainError::Unexpected(_))));
        }
    }

    #[test]
    fn a_log_of_no_known_event_is_undecodable_and_names_its_block() {
        let log = Log { block_number: Some(9.into()), topics: vec![Default::default()], ..Log::default() };
        assert!(matches!(sort(&[log]), Err(ChainError::Undecodable { block: 9, .. })));
    }
}
