//! What `explain` says about a batch, an operation and what waits, beside the lines of the store: the state in sentences.
//!
//! | file | concept |
//! |---|---|
//! | `explain` | what waits for what |
//! | `lines` | events in words |
//! | `bisect` | which slots of a batch cannot be proved |

use std::sync::Arc;

use api::service::{BatchFacts, Deadlines, JobFacts, Placed, Suspect};
use bn254::Fr;
use protocol::{OperationId, OperationKind, Stage, TimelineEntry};
use sequencer::{
    farm::{Job, Phase, Worker},
    state::{Operation, State},
};
use wire::{Attempt, JobId, WorkerId};

mod bisect;
mod lines;

pub use lines::lines;

/// A promise is near its deadline when it has less than this left, in seconds.
const NEAR_DEADLINE_S: u64 = 600;

/// A poisoned batch as it was sealed.
#[derive(Clone, Debug)]
pub struct Evidence {
    input: Arc<[u8]>,
    input_hash: [u8; 32],
    public_inputs: [Fr; 3],
}

impl Evidence {
    /// Seconds of work for a large batch.
    pub fn bisect(&self) -> Vec<Suspect> {
        bisect::bisect(&self.input, &self.input_hash, &self.public_inputs)
    }
}

/// What is known about a batch, and what it is bisected by if it is poisoned or parked; nothing for one that never was.
pub fn batch_facts(state: &State, batch_no: u32, now: u64) -> Option<(BatchFacts, Option<Evidence>)> {
    let waits_for = waits_for(state, batch_no, now)?;
    let batch = state.batch(batch_no);
    let is_poisoned = |job: &Job| matches!(job.phase, Phase::Poisoned { .. } | Phase::Parked { .. });
    let poisoned =
        state.farm().job(batch_no).filter(|job| is_poisoned(job)).and_then(|_| evidence(state, batch_no));
    let facts = BatchFacts {
        batch_no,
        shape: batch.map(|batch| batch.shape),
        stage: batch.map_or(Stage::Accepted, |batch| batch.stage()),
        waits_for,
        operations: placed(state, batch_no),
    };
    Some((facts, poisoned))
}

/// What a batch can be bisected by, until it is proven.
pub fn evidence(state: &State, batch_no: u32) -> Option<Evidence> {
    let batch = state.batch(batch_no)?;
    let (input_hash, public_inputs) = (batch.input_hash, batch.public_inputs);
    Some(Evidence { input: batch.input.clone()?, input_hash, public_inputs })
}

/// The operations of a batch in the order of their slots, mints last.
fn placed(state: &State, batch_no: u32) -> Vec<Placed> {
    let batch = state.batch(batch_no);
    let ids = match batch {
        Some(batch) => &batch.operations,
        None if batch_no == state.batcher().open_batch().batch_no => &state.batcher().open_batch().operations,
        None => return Vec::new(),
    };
    let operations: Vec<_> = ids.iter().filter_map(|id| state.operation(id)).collect();
    let is_forced = |kind| matches!(kind, OperationKind::ForcedExit | OperationKind::ForcedRekey);
    let forced = operations.iter().filter(|operation| is_forced(operation.kind)).count();
    // Signed operations fill a batch from its first slot on, forced ones its last slots.
    let mut next_signed = 0;
    let mut next_forced = batch.map_or(0, |batch| batch.shape.slots().saturating_sub(forced));
    let place = |operation: &Operation| {
        let (next, count) = match operation.kind {
            OperationKind::Send | OperationKind::Withdraw => (&mut next_signed, operation.promised.len()),
            OperationKind::ForcedExit | OperationKind::ForcedRekey => (&mut next_forced, 1),
            OperationKind::Mint => (&mut next_signed, 0),
        };
        let slots = *next..*next + count;
        *next = slots.end;
        Placed { id: operation.id, kind: operation.kind, slots }
    };
    operations.into_iter().map(place).collect()
}

/// An operation, where it stands in its batch, and its promises' deadline in words.
pub fn operation_facts<'a>(
    state: &'a State,
    id: &OperationId,
    now: u64,
) -> Option<(&'a Operation, Placed, Option<String>)> {
    let operation = state.operation(id)?;
    let placed = placed(state, operation.batch_no).into_iter().find(|placed| placed.id == *id)?;
    let deadline = (!operation.promised.is_empty()).then(|| {
        let due = operation.deadline.saturating_mul(1000);
        match (state.stage_of(operation.batch_no), due.checked_sub(now)) {
            (Stage::Final, _) => "Its promise is kept: it is final.".to_owned(),
            (_, Some(left)) => format!("It is promised to be final in {}.", seconds(left)),
            (_, None) => format!("Its promise was due {} ago.", seconds(now - due)),
        }
    });
    Some((operation, placed, deadline))
}

/// The jobs that wait for a proof, oldest first, `limit` at most, and how many there are.
pub fn job_facts(state: &State, limit: usize, now: u64) -> (Vec<JobFacts>, usize) {
    let facts = |(batch_no, job): (u32, &Job)| JobFacts {
        batch_no,
        shape: job.shape,
        phase: job.phase.name(),
        attempt: job.attempt,
        failures: job.failures,
        worker: job.live.last().map(|lease| lease.worker.to_string()),
        waits_for: waits_for(state, batch_no, now).unwrap_or_default(),
    };
    (state.farm().jobs().take(limit).map(facts).collect(), state.farm().job_count())
}

/// What a batch waits for, as a sentence; nothing for a batch that never was.
pub fn waits_for(state: &State, batch_no: u32, now: u64) -> Option<String> {
    let open = state.batcher().open_batch();
    if batch_no == open.batch_no {
        let (slots, places) = (open.slots.len(), open.places);
        return Some(format!("It is open: {slots} of {places} slots are taken."));
    }
    let batch = state.batch(batch_no)?;
    Some(match batch.stage() {
        Stage::Accepted | Stage::Sealed | Stage::Proving => waits_for_proof(state, batch_no, now),
        Stage::Proven => match state.tree().final_batch() + 1 {
            next if next == batch_no => "It is proven and waits for its transaction to be signed.".to_owned(),
            next => format!(
                "It is proven and waits for its transaction; batch {next} is the next to become final."
            ),
        },
        Stage::Submitted => match batch.l1_block {
            Some(block) => format!("It is in block {block} of L1, which is not final yet."),
            None if state.settlement().transactions(batch_no).is_empty() => {
                "No transaction of it is on its way any more; another one is signed.".to_owned()
            }
            None => "Its transaction is sent and in no block yet.".to_owned(),
        },
        Stage::Final => "It is final.".to_owned(),
    })
}

fn waits_for_proof(state: &State, batch_no: u32, now: u64) -> String {
    let Some(job) = state.farm().job(batch_no) else {
        let next = state.tree().proven_batch() + 1;
        return format!("Its proof is there and waits for the proof of batch {next}.");
    };
    match &job.phase {
        Phase::Poisoned { message } => {
            format!("It is poisoned ({message}); find out why, then requeue it.")
        }
        Phase::Parked { message } => format!(
            "It is parked after {} attempts that ended badly, the last of them alone ({message}); it is tried again after a \
             pause, or at once if it is requeued.",
            job.failures
        ),
        Phase::Leased => {
            let leases = job.live.iter().map(|lease| {
                let held = state.farm().worker(&lease.worker);
                let key = (JobId::of_batch(batch_no), Attempt(lease.attempt));
                let stage = held
                    .and_then(|known| known.in_flight.iter().find(|named| (named.job, named.attempt) == key))
                    .map_or_else(String::new, |named| format!(", stage {:?}", named.stage).to_lowercase());
                let left = seconds(lease.until.saturating_sub(now));
                format!(
                    "{} holds attempt {}{stage}; its lease ends in {left} without a heartbeat.",
                    lease.worker, lease.attempt
                )
            });
            leases.collect::<Vec<_>>().join(" ")
        }
        Phase::Due => {
            let able = |known: &Worker| {
                known.circuits().any(|shape| shape == job.shape)
                    && known.registration.as_ref().is_some_and(|known| {
                        known.circuits.iter().any(|circuit| circuit.digest == job.circuit_digest)
                    })
            };
            let able: Vec<_> = state.farm().workers().filter(|(_, worker)| able(worker)).collect();
            let takes = |id: &WorkerId| !job.failed_on.contains(id) && !state.farm().draining().contains(id);
            let free = able.iter().filter(|(id, _)| takes(id)).count();
            let alone = if job.quarantined { "It is tried alone. " } else { "" };
            match (able.len(), free) {
                (0, _) => format!("{alone}No worker with the key of {} is alive.", job.shape.name()),
                (able, 0) => {
                    format!(
                        "{alone}Each of the {able} workers that could prove it has failed on it or drains."
                    )
                }
                (_, free) => format!("{alone}{free} workers could take it and are busy."),
            }
        }
    }
}

/// Promises that run out soon or have run out.
pub fn deadlines(state: &State, now: u64) -> Deadlines {
    let now = now / 1000;
    let mut deadlines = Deadlines::default();
    let unsettled = (state.tree().final_batch() + 1)..=state.batcher().open_batch().batch_no;
    let sealed = unsettled.filter_map(|batch_no| state.batch(batch_no));
    let ids = sealed.flat_map(|batch| &batch.operations).chain(&state.batcher().open_batch().operations);
    for operation in ids.filter_map(|id| state.operation(id)) {
        if operation.promised.is_empty() {
            continue;
        }
        deadlines.missed += u64::from(operation.deadline <= now);
        deadlines.near += u64::from(operation.deadline > now && operation.deadline - now < NEAR_DEADLINE_S);
    }
    deadlines
}

/// How far an operation has come, and when.
pub fn timeline(state: &State, operation: &Operation) -> Vec<TimelineEntry> {
    let mut timeline = vec![TimelineEntry { stage: Stage::Accepted, at: operation.at, l1_tx: None }];
    if let Some(batch) = state.batch(operation.batch_no) {
        timeline.extend(batch.timeline.iter().cloned());
    }
    timeline
}

/// Slots of a sealed batch that move coins: one for each leaf spent and each forced request.
pub fn slots_used(state: &State, batch_no: u32) -> u32 {
    let operations = state.batch(batch_no).into_iter().flat_map(|batch| &batch.operations);
    let slots = operations.filter_map(|id| state.operation(id)).map(|operation| match operation.kind {
        OperationKind::Mint => 0,
        OperationKind::Send | OperationKind::Withdraw => operation.promised.len(),
        OperationKind::ForcedExit | OperationKind::ForcedRekey => 1,
    });
    u32::try_from(slots.sum::<usize>()).unwrap_or(u32::MAX)
}

/// A duration for people.
pub fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use circuits::shape::Shape;
    use sequencer::{
        farm::FarmCommand,
        testkit::{Bench, funded},
    };

    use super::*;

    #[test]
    fn a_batch_says_what_it_waits_for() {
        let (mut bench, _, _) = funded(&[Shape::S3M1]);
        let waits = |bench: &Bench| waits_for(&bench.state, 1, bench.now).unwrap();
        bench.state.farm_step(FarmCommand::Tick, bench.now, &mut bench.log);
        bench.now += 12_000;
        assert_eq!(waits(&bench), "No worker with the key of s3m1 is alive.");
        bench.grant(1);
        assert_eq!(waits(&bench), "default/w holds attempt 1; its lease ends in 4.0 s without a heartbeat.");
        bench.prove(1);
        assert_eq!(waits(&bench), "It is proven and waits for its transaction to be signed.");
        assert_eq!(waits_for(&bench.state, 9, bench.now), None);
    }

    #[test]
    fn mints_take_no_slot_so_the_energy_of_a_proof_is_shared_by_what_moved() {
        let (mut bench, alice, _) = funded(&[Shape::S3M1]);
        let id = bench.withdraw(&alice, 250).unwrap();
        bench.wait();
        let promised = bench.state.operation(&id).unwrap().promised.len() as u32;
        assert_eq!((slots_used(&bench.state, 1), slots_used(&bench.state, 2)), (0, promised));
    }
}
