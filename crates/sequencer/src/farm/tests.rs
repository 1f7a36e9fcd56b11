use wire::{CircuitSupport, FailureKind, InFlight, InstanceName, Registration, Stage};

use super::{registry::MAX_WORKERS_PER_POOL, *};

const RULES: FarmRules = FarmRules { lease_ms: 4_000, quarantine_after: 2, attempt_limit_ms: 100_000 };
const KEY: [u8; 32] = [7; 32];

fn capacity() -> CapacityRules {
    let proof_ms = BTreeMap::from([(Shape::S3M1, 1_000), (Shape::S14M2, 4_000)]);
    CapacityRules { within_ms: 100_000, proof_ms, grace_ms: 10_000, scale: None }
}

/// A farm with a clock, and what it wanted done since it was asked last.
struct Bench {
    farm: Farm,
    now: u64,
    effects: Vec<FarmEffect>,
    records: Vec<(FarmRecord, u64)>,
}

fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}

fn rack() -> PoolName {
    PoolName::new("rack").unwrap()
}

fn process(id: &WorkerId) -> ProcessId {
    ProcessId(id.instance.as_str().bytes().map(u64::from).sum())
}

fn registration(shapes: &[Shape]) -> Registration {
    let circuit = |shape: &Shape| CircuitSupport { shape: *shape, digest: [1; 32], verifying_key: KEY };
    Registration {
        backend: "cpu".to_owned(),
        version: "1".to_owned(),
        memory: 1,
        circuits: shapes.iter().map(circuit).collect(),
        slots: 2,
    }
}

impl Bench {
    fn new() -> Self {
        let farm = Farm::new(RULES, BTreeMap::from([(Shape::S3M1, KEY), (Shape::S14M2, KEY)]), capacity());
        let mut bench = Self { farm, now: 1_000_000, effects: Vec::new(), records: Vec::new() };
        bench.step(FarmCommand::AddPool { pool: rack() });
        bench
    }

    fn step(&mut self, command: FarmCommand) {
        let effects = self.farm.step(command, self.now);
        let now = self.now;
        self.records.extend(effects.iter().filter_map(|effect| match effect {
            FarmEffect::Record(record) => Some((record.clone(), now)),
            _ => None,
        }));
        self.effects.extend(effects);
    }

    fn say(&mut self, name: &str, event: WorkerEvent) {
        let id = worker(name);
        let process = process(&id);
        self.step(FarmCommand::Report { worker: id, process, event: Box::new(event) });
    }

    fn register(&mut self, name: &str) {
        let (registration, in_flight) = (registration(&[Shape::S3M1]), self.held(name, Stage::Proving));
        self.say(name, WorkerEvent::Register { registration, in_flight });
    }

    /// What the farm thinks that the worker holds, in this stage.
    fn held(&self, name: &str, stage: Stage) -> Vec<InFlight> {
        let held = self.farm.work.leases_of.get(&worker(name)).cloned().unwrap_or_default();
        let named = |(batch_no, attempt): (u32, u32)| InFlight {
            job: JobId::of_batch(batch_no),
            attempt: Attempt(attempt),
            stage,
        };
        held.into_iter().map(named).collect()
    }

    /// A heartbeat that names all that the farm thinks the worker holds, in this stage.
    fn beat(&mut self, name: &str, stage: Stage) {
        let in_flight = self.held(name, stage);
        self.say(name, WorkerEvent::Heartbeat { in_flight, card: None });
    }

    fn enqueue(&mut self, batches: std::ops::RangeInclusive<u32>) {
        batches.for_each(|batch_no| self.farm.enqueue(batch_no, Shape::S3M1, [1; 32], [batch_no as u8; 32]));
        self.tick();
    }

    fn tick(&mut self) {
        self.step(FarmCommand::Tick);
    }

    /// Lets time pass in small steps; these workers beat meanwhile.
    fn pass(&mut self, ms: u64, beating: &[&str]) {
        let until = self.now + ms;
        while self.now < until {
            self.now = (self.now + 500).min(until);
            for name in beating {
                self.beat(name, Stage::Proving);
            }
            self.tick();
        }
    }

    /// The jobs handed out since the last call: worker, batch, attempt.
    fn granted(&mut self) -> Vec<(String, u32, u32)> {
        let sent = self.sent();
        let jobs = sent.into_iter().filter_map(|(worker, control)| match control {
            Control::Job(entry) => Some((worker, entry.job.batch_no()?, entry.attempt.0)),
            _ => None,
        });
        jobs.collect()
    }

    /// What was sent since the last call.
    fn sent(&mut self) -> Vec<(String, Control)> {
        let effects = std::mem::take(&mut self.effects).into_iter();
        let sent = effects.filter_map(|effect| match effect {
            FarmEffect::Send { worker, directive } => Some((worker.to_string(), directive.control)),
            _ => None,
        });
        sent.collect()
    }

    fn fail(&mut self, name: &str, batch_no: u32, attempt: u32, kind: FailureKind) {
        let (job, attempt) = (JobId::of_batch(batch_no), Attempt(attempt));
        self.say(name, WorkerEvent::Failed { job, attempt, kind, message: "it failed".to_owned() });
    }

    fn prove(&mut self, name: &str, batch_no: u32) {
        let effects = self.farm.proven(batch_no, &worker(name), self.now);
        self.effects.extend(effects);
        self.tick();
    }

    fn phase(&self, batch_no: u32) -> &Phase {
        &self.farm.job(batch_no).unwrap().phase
    }

    /// The farm as it comes back after a restart.
    fn restarted(&self) -> Farm {
        let mut farm = Farm::new(RULES, self.farm.pinned.clone(), capacity());
        let shapes: Vec<(u32, Shape)> =
            self.farm.jobs().map(|(batch_no, job)| (batch_no, job.shape)).collect();
        for (batch_no, shape) in shapes {
            farm.enqueue(batch_no, shape, [1; 32], [batch_no as u8; 32]);
        }
        self.records.iter().for_each(|(record, at)| farm.apply(record, *at));
        farm
    }
}

fn job(name: &str, batch_no: u32, attempt: u32) -> (String, u32, u32) {
    (worker(name).to_string(), batch_no, attempt)
}

mod capacity;
mod strangers;

#[test]
fn the_oldest_job_goes_to_the_worker_that_was_idle_longest() {
    let mut bench = Bench::new();
    bench.register("a");
    bench.register("b");
    bench.enqueue(1..=1);
    assert_eq!(bench.granted(), [job("a", 1, 1)]);
    bench.enqueue(2..=3);
    // The idle one first, then the next slot of the other.
    assert_eq!(bench.granted(), [job("b", 2, 1), job("a", 3, 1)]);
    bench.enqueue(4..=6);
    assert_eq!(bench.granted(), [job("b", 4, 1)], "two at once is all that a worker takes");
    bench.prove("a", 1);
    assert_eq!(bench.granted(), [job("a", 5, 1)]);
}

#[test]
fn circuits_do_not_starve_each_other() {
    let mut bench = Bench::new();
    let registration = registration(&[Shape::S14M2]);
    bench.say("other", WorkerEvent::Register { registration, in_flight: Vec::new() });
    bench.enqueue(1..=5_000);
    assert_eq!(bench.granted(), []);
    bench.farm.enqueue(5_001, Shape::S14M2, [1; 32], [0; 32]);
    bench.tick();
    assert_eq!(bench.granted(), [job("other", 5_001, 1)]);
}

#[test]
fn the_first_worker_after_minutes_without_any_gets_a_job_with_its_registration() {
    let mut bench = Bench::new();
    bench.enqueue(1..=4);
    bench.pass(360_000, &[]);
    assert_eq!(bench.granted(), []);
    bench.register("a");
    assert_eq!(bench.granted(), [job("a", 1, 1), job("a", 2, 1)]);
}

#[test]
fn heartbeats_renew_a_lease_and_silence_ends_it_within_a_lease() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    bench.register("a");
    bench.pass(20_000, &["a"]);
    assert_eq!(bench.granted(), [job("a", 1, 1)]);
    assert_eq!(bench.farm.job(1).unwrap().live.len(), 1);
    bench.register("b");
    bench.sent();
    bench.pass(RULES.lease_ms - 500, &["b"]);
    assert!(bench.farm.worker(&worker("a")).is_some());
    bench.pass(500, &["b"]);
    assert!(bench.farm.worker(&worker("a")).is_none(), "dead within a lease");
    let ends: Vec<_> = bench
        .records
        .iter()
        .filter(|(record, _)| matches!(record, FarmRecord::AttemptEnded { end: AttemptEnd::Died, .. }))
        .collect();
    assert_eq!(ends.len(), 1);
    assert!(bench.farm.job(1).unwrap().live.iter().all(|lease| lease.worker == worker("b")));
}

#[test]
fn an_entry_that_heartbeats_do_not_name_is_sent_again_as_the_same_attempt() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    bench.register("a");
    assert_eq!(bench.granted(), [job("a", 1, 1)]);
    let silent = || WorkerEvent::Heartbeat { in_flight: Vec::new(), card: None };
    bench.now += 1_000;
    bench.say("a", silent());
    assert_eq!(bench.granted(), [], "it may be on its way");
    bench.now += 1_000;
    bench.say("a", silent());
    let input = FarmEffect::Input { pool: PoolName::default(), batch_no: 1 };
    assert!(bench.effects.contains(&input), "its input may be lost, too");
    assert_eq!(bench.granted(), [job("a", 1, 1)]);
    // It never takes it: the lease is not renewed by heartbeats that do not name it.
    bench.now += 2_500;
    bench.say("a", silent());
    bench.tick();
    assert_eq!(bench.farm.job(1).unwrap().failures, 1);
}

#[test]
fn what_a_wiped_queue_lost_is_sent_again_at_once_as_the_same_attempts() {
    let mut bench = Bench::new();
    bench.register("a");
    bench.register("rack/b");
    bench.enqueue(1..=3);
    let granted = bench.granted();
    assert_eq!(granted.len(), 3);
    bench.prove("a", 1);
    bench.granted();
    bench.effects.clear();
    bench.step(FarmCommand::QueueWiped);
    let inputs: Vec<_> =
        bench.effects.iter().filter(|effect| matches!(effect, FarmEffect::Input { .. })).cloned().collect();
    let laid = |pool, batch_no| FarmEffect::Input { pool, batch_no };
    assert_eq!(
        inputs,
        [laid(rack(), 2), laid(PoolName::default(), 3)],
        "before their jobs, and nothing proven"
    );
    assert_eq!(bench.granted(), [job("rack/b", 2, 1), job("a", 3, 1)]);
    // Heartbeats that left before do not send it a third time.
    bench.now += 1_000;
    bench.say("a", WorkerEvent::Heartbeat { in_flight: Vec::new(), card: None });
    assert_eq!(bench.granted(), []);
}

#[test]
fn a_proof_closes_every_other_attempt_and_drops_the_inputs() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    bench.register("a");
    bench.register("rack/b");
    bench.pass(11_000, &["a", "rack/b"]);
    assert_eq!(bench.granted(), [job("a", 1, 1), job("rack/b", 1, 2)]);
    bench.prove("rack/b", 1);
    let removed = |pool| FarmEffect::RemoveInput { pool, batch_no: 1 };
    assert!(
        bench.effects.contains(&removed(rack())) && bench.effects.contains(&removed(PoolName::default()))
    );
    let close = |attempt| Control::Close { job: JobId(1), attempt: Attempt(attempt) };
    let sent = bench.sent();
    assert!(sent.contains(&("default/a".to_owned(), close(1))));
    assert!(!bench.farm.was_granted(&worker("a"), JobId(1), Attempt(1)), "nothing is left to prove");
}

#[test]
fn what_waits_behind_a_proof_moves_to_a_worker_that_becomes_idle() {
    let mut bench = Bench::new();
    bench.register("a");
    bench.enqueue(1..=2);
    assert_eq!(bench.granted(), [job("a", 1, 1), job("a", 2, 1)]);
    let stages = |bench: &mut Bench| {
        let named = |batch_no, stage| InFlight { job: JobId(batch_no), attempt: Attempt(1), stage };
        let in_flight = vec![named(1, Stage::Proving), named(2, Stage::Ready)];
        bench.say("a", WorkerEvent::Heartbeat { in_flight, card: None });
    };
    bench.now += 1_500;
    stages(&mut bench);
    bench.register("b");
    let sent = bench.sent();
    let close = Control::Close { job: JobId(2), attempt: Attempt(1) };
    assert!(sent.contains(&("default/a".to_owned(), close)));
    assert!(
        sent.iter().any(|(to, control)| to == "default/b"
            && matches!(control, Control::Job(entry) if entry.job == JobId(2)))
    );
    assert_eq!(bench.farm.job(2).unwrap().failures, 0, "it is nobody's fault");
}

#[test]
fn after_a_restart_a_worker_keeps_what_it_holds_and_a_lost_one_does_not() {
    let mut bench = Bench::new();
    bench.register("a");
    bench.register("b");
    bench.enqueue(1..=2);
    assert_eq!(bench.granted(), [job("a", 1, 1), job("b", 2, 1)]);
    let farm = bench.restarted();
    assert_eq!(farm, bench.farm);
    bench.farm = farm;
    bench.effects.clear();
    // Only one of them is still there; it says so before it registers again.
    bench.pass(3_000, &["a"]);
    bench.register("a");
    bench.register("c");
    bench.pass(3_000, &["a", "c"]);
    let jobs: Vec<_> = bench.granted();
    assert_eq!(jobs, [job("c", 2, 2)], "the proof under way is not begun anew");
    assert!(bench.farm.was_granted(&worker("b"), JobId(2), Attempt(1)), "a late proof is still of use");
}

#[test]
fn a_log_of_claimed_attempts_is_read() {
    let mut farm = Farm::new(RULES, BTreeMap::new(), CapacityRules::default());
    farm.enqueue(1, Shape::S3M1, [1; 32], [1; 32]);
    let old = WorkerId::parse("worker-1").unwrap();
    for record in [
        FarmRecord::Published { batch_no: 1, attempt: 1 },
        FarmRecord::Granted { batch_no: 1, attempt: 1, worker: old.clone() },
        FarmRecord::Ended {
            batch_no: 1,
            attempt: 1,
            worker: Some(old.clone()),
            charged: true,
            message: String::new(),
        },
        FarmRecord::Published { batch_no: 1, attempt: 2 },
        FarmRecord::Granted { batch_no: 1, attempt: 2, worker: old.clone() },
        // Its coordinator died with the lease.
        FarmRecord::Published { batch_no: 1, attempt: 3 },
    ] {
        farm.apply(&record, 5);
    }
    let job = farm.job(1).unwrap();
    assert_eq!((job.attempt, job.live.len(), &job.phase, job.failures), (3, 0, &Phase::Due, 1));
    assert_eq!(job.failed_on, [old]);
}

#[test]
fn a_removed_pool_gets_no_jobs_and_is_not_heard() {
    let mut bench = Bench::new();
    bench.register("rack/a");
    bench.enqueue(1..=1);
    assert_eq!(bench.granted(), [job("rack/a", 1, 1)]);
    bench.step(FarmCommand::RemovePool { pool: rack() });
    let told = bench.effects.iter().any(|effect| match effect {
        FarmEffect::Pools { open, closed } => !open.contains(&rack()) && closed.contains(&rack()),
        _ => false,
    });
    assert!(told);
    bench.sent();
    assert_eq!(bench.farm.job(1).unwrap().live, []);
    bench.register("rack/a");
    bench.register("b");
    let granted = bench.granted();
    assert_eq!(granted, [job("b", 1, 2)]);
    bench.step(FarmCommand::AddPool { pool: rack() });
    assert!(bench.farm.pools().any(|(name, _)| *name == rack()));
}

#[test]
fn a_draining_worker_gets_nothing_more_until_it_is_gone() {
    let mut bench = Bench::new();
    bench.register("a");
    bench.step(FarmCommand::Drain { worker: worker("a") });
    assert!(bench.sent().contains(&("default/a".to_owned(), Control::Drain)));
    bench.enqueue(1..=1);
    assert_eq!(bench.granted(), []);
    // Said again to one that registers again, after a restart of this side.
    bench.farm = bench.restarted();
    bench.register("a");
    assert!(bench.sent().contains(&("default/a".to_owned(), Control::Drain)));
    bench.say("a", WorkerEvent::Left { message: "stopped".to_owned() });
    assert!(bench.farm.draining().is_empty());
}

#[test]
fn a_worker_with_another_key_gets_no_job_and_is_told_why() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    let mut registration = registration(&[Shape::S3M1]);
    registration.circuits[0].verifying_key = [8; 32];
    bench.say("a", WorkerEvent::Register { registration, in_flight: Vec::new() });
    let sent = bench.sent();
    assert!(
        sent.contains(&("default/a".to_owned(), Control::Refuse { shape: Shape::S3M1, verifying_key: KEY }))
    );
    assert!(!sent.iter().any(|(_, control)| matches!(control, Control::Job(_))));
    assert!(bench.farm.worker(&worker("a")).unwrap().refused[&Shape::S3M1].contains("PM-FARM-002"));
}

#[test]
fn a_sick_card_gets_no_job() {
    let mut bench = Bench::new();
    bench.register("a");
    let card = wire::CardReading { sick: Some("hot".to_owned()), ..wire::CardReading::default() };
    bench.say("a", WorkerEvent::Heartbeat { in_flight: Vec::new(), card: Some(Box::new(card)) });
    bench.enqueue(1..=1);
    assert_eq!(bench.granted(), []);
    bench.say("a", WorkerEvent::Heartbeat { in_flight: Vec::new(), card: None });
    assert_eq!(bench.granted(), [job("a", 1, 1)]);
}
