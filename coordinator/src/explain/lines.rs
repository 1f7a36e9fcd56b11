//! Events in words: what `explain` prints about a batch. Written in the transaction of the event, never without it.
//!
//! Pure: the line of an event follows from the event alone, so that it is the same after a replay. Events that are about no
//! batch, and heartbeats, which are not events, leave none.

use sequencer::{
    batcher::SealReason,
    farm::FarmRecord,
    settlement::{SettlementRecord, Tried, least_depth},
    state::{
        event::{Event, IntakeRecord, OpsRecord, Stamped},
        rows::Line,
    },
};

/// The lines that an event leaves: one for each batch it is about.
pub fn lines(stamped: &Stamped) -> Vec<Line> {
    let (batches, text) = match &stamped.event {
        Event::Opened { batch_no, places } => (*batch_no..=*batch_no, format!("opened with {places} places")),
        Event::Sealed(sealed) => (
            sealed.batch_no..=sealed.batch_no,
            format!(
                "sealed as {} with {} mints and {} forced requests: {}",
                sealed.shape.name(),
                sealed.mints,
                sealed.forced,
                sealed_because(sealed.reason)
            ),
        ),
        Event::Farm(record) => match farm(record) {
            Some((batch_no, text)) => (batch_no..=batch_no, text),
            None => return Vec::new(),
        },
        Event::Proven(proof) => (
            proof.batch_no..=proof.batch_no,
            format!(
                "proof of {} (attempt {}) accepted; it took {} ms, of which {} ms for the witness",
                proof.worker, proof.attempt, proof.prove_ms, proof.witness_ms
            ),
        ),
        Event::Settlement(record) => (record.batches(), settlement(record)),
        Event::Intake(IntakeRecord::Stopped { batch_no: Some(batch_no), reason }) => {
            (*batch_no..=*batch_no, format!("deposits stop: {reason}"))
        }
        Event::Ops(OpsRecord::Led { term, batch_no }) => {
            (*batch_no..=*batch_no, format!("a coordinator begins to lead, in term {term}"))
        }
        Event::Ops(OpsRecord::StoreBack { batch_no }) => {
            (*batch_no..=*batch_no, "the store takes what is written again".to_owned())
        }
        Event::Ops(OpsRecord::LossAccepted { batch_no, known, found }) => (
            *batch_no..=*batch_no,
            format!(
                "an operator accepted a loss: events up to {known} were promised, the database ended with event {found}"
            ),
        ),
        Event::Intake(_)
        | Event::ReadAgain(_)
        | Event::KeyRegistered(_)
        | Event::Accepted(_)
        | Event::TakenIn { .. }
        | Event::Ops(_) => return Vec::new(),
    };
    // Reasons come from nodes, workers and libraries; a line is for people, and no store takes a NUL.
    let text = text.replace('\0', "\u{fffd}");
    batches.map(|batch_no| Line { batch_no, at: stamped.at, text: text.clone() }).collect()
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
        FarmRecord::AttemptEnded { attempt, worker, end, message, .. } => {
            let counts = if end.is_bad() { ", which counts against it" } else { "" };
            format!("attempt {attempt} of {worker} ended ({}{counts}): {message}", end.name())
        }
        FarmRecord::Quarantined { .. } => {
            "it ended badly on several workers and is tried alone from now on".to_owned()
        }
        FarmRecord::Parked { message, .. } => format!("parked, it ended badly alone, too: {message}"),
        FarmRecord::Unparked { .. } => "tried again after a pause".to_owned(),
        FarmRecord::Poisoned { message, .. } => {
            format!("poisoned, it waits for an operator; the last failure: {message}")
        }
        FarmRecord::Requeued { .. } => "sent out again by an operator".to_owned(),
        FarmRecord::Late { attempt, worker, .. } => {
            format!("a proof of {worker} (attempt {attempt}) came late: another was accepted already")
        }
        FarmRecord::Draining { .. }
        | FarmRecord::Admitted { .. }
        | FarmRecord::PoolAdded { .. }
        | FarmRecord::PoolRemoved { .. } => return None,
    };
    Some((record.batch_no()?, text))
}

fn settlement(record: &SettlementRecord) -> String {
    match record {
        SettlementRecord::Signed { tx, gas_limit, tried, replaces, .. } => {
            let gates = match tried {
                Tried::Latest => {
                    "the gates are passed (pinned key, contract's root, call tried on the latest block)"
                }
                Tried::Pending => "the gates are passed (pinned key, root, call tried on what is pending)",
                Tried::Before => "its call was tried when its first transaction was signed",
            };
            let fees = match replaces {
                Some(before) => format!("{} wei per gas at most, {} before", tx.fees.max_fee, before.max_fee),
                None => format!("{} wei per gas at most", tx.fees.max_fee),
            };
            format!(
                "{gates}; transaction 0x{} signed with nonce {}, gas limit {gas_limit}, {fees}",
                hex::encode(tx.hash),
                tx.nonce
            )
        }
        SettlementRecord::Mined { receipt, was, .. } => {
            let (block, gas) = (receipt.block, receipt.gas_used);
            let moved = was.as_ref().map_or_else(String::new, |was| {
                format!("; before a reorganisation it stood in block {}", was.block)
            });
            format!("transaction 0x{} mined in block {block} with {gas} gas{moved}", hex::encode(receipt.tx))
        }
        SettlementRecord::Dropped { was, head, .. } => format!(
            "a reorganisation of at least {} blocks dropped its transaction from block {}; it is sent again",
            least_depth(was.block, *head),
            was.block
        ),
        SettlementRecord::Reverted { receipt, .. } => {
            let block = receipt.block;
            format!("transaction 0x{} reverted in block {block}", hex::encode(receipt.tx))
        }
        SettlementRecord::Displaced { nonce, .. } => {
            format!("another transaction took nonce {nonce}; it starts over behind the gates")
        }
        SettlementRecord::Finalised { .. } => "final on L1".to_owned(),
        SettlementRecord::Refused { reason, .. } => format!("a gate refused: {reason}"),
        SettlementRecord::AtCap { fees, .. } => {
            format!("the fees stand at their cap of {} wei per gas; it is sent again as it is", fees.max_fee)
        }
    }
}

/// As the end of a sentence.
fn sealed_because(reason: SealReason) -> &'static str {
    match reason {
        SealReason::Full => "it is full",
        SealReason::Records => "it shows L1 as many records as a batch may",
        SealReason::Age => "its first operation waited long enough",
        SealReason::Deposits => "deposits waited long enough or fill it",
        SealReason::Forced => "a forced request waited long enough",
        SealReason::NoRoom => "the next operation did not fit",
        SealReason::Drain => "the coordinator drains",
    }
}

#[cfg(test)]
mod tests;
