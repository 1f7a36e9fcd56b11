//! Events in words: what `explain` prints about a batch. Written in the transaction of the event, never without it.
//!
//! Pure: the line of an event follows from the event alone, so that it is the same after a replay. Events that are about no
//! batch, and heartbeats, which are not events, leave none.

use super::{
    event::{Event, Stamped},
    rows::Line,
};
use crate::{farm::FarmRecord, settlement::SettlementRecord};

/// The line that an event leaves, if it is about a batch.
pub fn line(stamped: &Stamped) -> Option<Line> {
    let (batch_no, text) = match &stamped.event {
        Event::Opened { batch_no, places } => (*batch_no, format!("opened with {places} slots")),
        Event::Sealed(sealed) => (
            sealed.batch_no,
            format!(
                "sealed as {} with {} mints and {} forced requests",
                sealed.shape.name(),
                sealed.mints,
                sealed.forced
            ),
        ),
        Event::Farm(record) => farm(record)?,
        Event::Proven(proof) => (
            proof.batch_no,
            format!(
                "proof of {} (attempt {}) accepted; it took {} ms, of which {} ms for the witness",
                proof.worker, proof.attempt, proof.prove_ms, proof.witness_ms
            ),
        ),
        Event::Settlement(record) => (record.batch_no(), settlement(record)),
        Event::KeyRegistered(_) | Event::Accepted(_) | Event::TakenIn { .. } | Event::Ops(_) => return None,
    };
    Some(Line { batch_no, at: stamped.at, text })
}

fn farm(record: &FarmRecord) -> Option<(u32, String)> {
    let text = match record {
        FarmRecord::Published { attempt, .. } => format!("attempt {attempt} published"),
        FarmRecord::Granted { attempt, worker, .. } => format!("attempt {attempt} granted to {worker}"),
        FarmRecord::Ended { attempt, worker, charged, message, .. } => {
            let who = worker.as_ref().map_or_else(String::new, |worker| format!(" of {worker}"));
            let charged = if *charged { "charged to the batch" } else { "not charged" };
            format!("attempt {attempt}{who} ended, {charged}: {message}")
        }
        FarmRecord::Poisoned { message, .. } => {
            format!("poisoned, it waits for an operator; the last failure: {message}")
        }
        FarmRecord::Requeued { .. } => "sent out again by an operator".to_owned(),
        FarmRecord::Draining { .. } | FarmRecord::Admitted { .. } => return None,
    };
    Some((record.batch_no()?, text))
}

fn settlement(record: &SettlementRecord) -> String {
    match record {
        SettlementRecord::Signed { tx, .. } => {
            let (max_fee, nonce) = (tx.fees.max_fee, tx.nonce);
            format!(
                "transaction 0x{} signed with nonce {nonce}, at most {max_fee} wei per gas",
                hex::encode(tx.hash)
            )
        }
        SettlementRecord::Mined { receipt, .. } => {
            let (block, gas) = (receipt.block, receipt.gas_used);
            format!("transaction 0x{} mined in block {block} with {gas} gas", hex::encode(receipt.tx))
        }
        SettlementRecord::Dropped { .. } => {
            "a reorganisation dropped its transaction; it is sent again".to_owned()
        }
        SettlementRecord::Reverted { receipt, .. } => {
            let block = receipt.block;
            format!("transaction 0x{} reverted in block {block}", hex::encode(receipt.tx))
        }
        SettlementRecord::Displaced { .. } => {
            "another transaction took its nonce; it starts over behind the gates".to_owned()
        }
        SettlementRecord::Finalised { .. } => "final on L1".to_owned(),
    }
}
