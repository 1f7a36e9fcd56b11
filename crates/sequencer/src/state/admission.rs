//! Whether a new operation is accepted: only if what is promised about it can be kept.
//!
//! An operation is promised to be on L1 by its deadline. It is accepted only while the farm proves all that waits, and the batch
//! that is open, so long before the deadline that there is time left to settle. What an account may send shrinks as the farm fills
//! up, so that few accounts with much to send do not take what is left from many with little.

use std::time::Duration;

use super::State;
use crate::{farm::Load, ledger::Limits, rejection::Rejection};

/// Asked to wait so long where it is not known how long it takes until there is a worker.
const NO_WORKER_FOR: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

impl State {
    /// How long the farm takes for what waits and for the open batch.
    pub fn load(&self, now: u64) -> Load {
        self.farm.load(self.batcher.largest(), self.tree.proven_batch() > 0, now)
    }

    /// The limits of one more operation, or why there is none to be promised.
    pub(super) fn admit(&self, now: u64) -> Result<Limits, Rejection> {
        let load = self.load(now);
        match load.expected_ms() {
            None => Err(Rejection::NoWorker { wait: NO_WORKER_FOR }),
            Some(ms) if ms > load.within_ms => {
                let longer = Duration::from_millis(ms - load.within_ms) + Duration::from_secs(1);
                Err(Rejection::Backlog { needed: Duration::from_millis(ms), wait: longer.min(LONGEST_WAIT) })
            }
            Some(ms) => {
                Ok(Limits { quota: quota(self.rules.limits.quota, ms, load.within_ms), ..self.rules.limits })
            }
        }
    }
}

/// All of it while the farm needs less than half of the time there is, then less and less down to one leaf.
fn quota(most: u32, expected_ms: u64, within_ms: u64) -> u32 {
    let (left, half) = (within_ms.saturating_sub(expected_ms), within_ms.div_ceil(2).max(1));
    let part = u128::from(most) * u128::from(left.min(half)) / u128::from(half);
    u32::try_from(part).unwrap_or(most).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use circuits::shape::Shape;
    use wire::{CircuitSupport, ProcessId, Registration, WorkerEvent, WorkerId};

    use super::*;
    use crate::{
        farm::FarmCommand,
        testkit::{Bench, Holder, rules},
    };

    /// Two holders, the first with so many leaves; a farm that has ten seconds and takes one for a proof.
    fn bench(leaves: u64) -> (Bench, Holder, Holder) {
        let mut rules = (*rules(&[Shape::S3M1])).clone();
        rules.capacity.scale = None;
        rules.capacity.grace_ms = 0;
        (rules.capacity.within_ms, rules.capacity.proof_ms) = (10_000, [(Shape::S3M1, 1_000)].into());
        // Each operation is in a window of its own.
        (rules.limits.quota, rules.limits.quota_window_ms) = (30, 1);
        let (alice, bob) = (Holder::new(1), Holder::new(2));
        let mut bench = Bench::new(Arc::new(rules));
        bench.register(&alice);
        bench.register(&bob);
        for _ in 0..leaves {
            bench.deposit(&alice, 1_000);
            bench.wait();
        }
        (bench, alice, bob)
    }

    fn register_worker(bench: &mut Bench) {
        let circuit = CircuitSupport { shape: Shape::S3M1, digest: [1; 32], verifying_key: [0; 32] };
        let registration = Registration {
            backend: "cpu".to_owned(),
            version: "1".to_owned(),
            memory: 1,
            circuits: vec![circuit],
            slots: 2,
        };
        let event = Box::new(WorkerEvent::Register { registration, in_flight: Vec::new() });
        let worker = WorkerId::parse("w").unwrap();
        let command = FarmCommand::Report { worker, process: ProcessId(1), event };
        bench.state.farm_step(command, bench.now, &mut bench.log);
        bench.now += 1_000;
        bench.state.farm_step(FarmCommand::Tick, bench.now, &mut bench.log);
    }

    #[test]
    fn nothing_is_promised_without_a_worker_and_what_was_is_answered_again() {
        let (mut bench, alice, bob) = bench(1);
        let events = bench.log.len();
        let refused = bench.send(&alice, &bob, 100).unwrap_err();
        assert_eq!((refused.code(), refused.retryable()), ("BUSY", true));
        assert_eq!(refused.retry_after(), Some(NO_WORKER_FOR));
        assert_eq!(bench.log.len(), events, "nothing of it was recorded");
        register_worker(&mut bench);
        let ask = protocol::PrepareSend {
            sender: alice.owner,
            recipient: bob.owner,
            amount: 100,
            allow_vault: false,
            valid_until: None,
        };
        let draft = bench.state.prepare_send(&ask).unwrap();
        let id = bench.submit(alice.sign(&draft, "key")).unwrap();
        bench.now += 60_000;
        bench.state.farm_step(FarmCommand::Tick, bench.now, &mut bench.log);
        assert_eq!(bench.send(&alice, &bob, 100).unwrap_err().code(), "BUSY", "it is dead");
        assert_eq!(bench.submit(alice.sign(&draft, "key")), Ok(id));
    }

    #[test]
    fn a_backlog_shrinks_the_quota_and_then_names_the_time_to_wait() {
        let (mut bench, alice, bob) = bench(1);
        register_worker(&mut bench);
        // Each seals a batch of its own: the farm has a second more to do.
        let mut taken = 0;
        let refused = loop {
            match bench.withdraw(&alice, 1) {
                Ok(_) => taken += 1,
                Err(refused) => break refused,
            }
            bench.now += 2_000;
            bench.state.seal_due(bench.now, &mut bench.log).unwrap();
            assert!(taken < 20, "{:?}", bench.state.load(bench.now));
        };
        // One batch with the deposit, nine with withdrawals.
        assert_eq!((taken, refused.code()), (9, "BUSY"));
        assert!(refused.to_string().contains("11 s"), "{refused}");
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(2)));
        assert!(bench.send(&alice, &bob, 100).is_err());
        bench.prove(1);
        bench.prove(2);
        // Within the time again, and nearly full.
        bench.now += 100;
        let limits = bench.state.admit(bench.now).unwrap();
        assert_eq!(limits.quota, 6);
    }

    #[test]
    fn the_quota_is_whole_up_to_half_of_the_time_and_shrinks_to_one_leaf() {
        let of = |expected| quota(600, expected, 1_000);
        assert_eq!([of(0), of(499), of(500), of(750), of(990), of(1_000)], [600, 600, 600, 300, 12, 1]);
        assert_eq!(quota(1, 999, 1_000), 1);
        assert_eq!(quota(u32::MAX, 0, u64::MAX), u32::MAX);
    }
}
