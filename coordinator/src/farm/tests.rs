use wire::{CircuitSupport, FailureKind, InFlight, InstanceName, Registration, Stage};

use super::{registry::MAX_WORKERS_PER_POOL, *};

const RULES: FarmRules = FarmRules { lease_ms: 4_000, quarantine_after: 2, attempt_limit_ms: 100_000 };
const KEY: [u8; 32] = [7; 32];

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
        let farm = Farm::new(RULES, BTreeMap::from([(Shape::S3M1, KEY), (Shape::S14M2, KEY)]));
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
        let registration = registration(&[Shape::S3M1]);
        self.say(name, WorkerEvent::Register { registration, in_flight: Vec::new() });
    }

    /// A heartbeat that names all that the farm thinks the worker holds, in this stage.
    fn beat(&mut self, name: &str, stage: Stage) {
        let id = worker(name);
        let held = self.farm.work.leases_of.get(&id).cloned().unwrap_or_default();
        let named = |(batch_no, attempt): (u32, u32)| InFlight {
            job: JobId::of_batch(batch_no),
            attempt: Attempt(attempt),
            stage,
        };
        let in_flight = held.into_iter().map(named).collect();
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
        let mut farm = Farm::new(RULES, self.farm.pinned.clone());
        let shapes: Vec<(u32, Shape)> = self.farm.jobs().map(|(batch_no, job)| (batch_no, job.shape)).collect();
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
    let ends: Vec<_> = bench.records.iter().filter(|(record, _)| matches!(record, FarmRecord::AttemptEnded { end: AttemptEnd::Died, .. })).collect();
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
fn who_is_not_known_is_asked_to_register_and_another_process_is_refused_its_name() {
    let mut bench = Bench::new();
    bench.sent();
    bench.beat("a", Stage::Proving);
    assert_eq!(bench.sent(), [("default/a".to_owned(), Control::Reregister)]);
    bench.register("a");
    assert_eq!(bench.sent(), [("default/a".to_owned(), Control::Registered)]);
    let second = |bench: &mut Bench| {
        let event = WorkerEvent::Register { registration: registration(&[Shape::S3M1]), in_flight: Vec::new() };
        bench.step(FarmCommand::Report { worker: worker("a"), process: ProcessId(99), event: Box::new(event) });
        bench.sent()
    };
    assert_eq!(second(&mut bench), [("default/a".to_owned(), Control::NameTaken)]);
    bench.pass(RULES.lease_ms, &[]);
    assert_eq!(second(&mut bench), [("default/a".to_owned(), Control::Registered)]);
}

#[test]
fn an_attempt_that_is_not_the_workers_is_closed() {
    let mut bench = Bench::new();
    bench.register("a");
    bench.sent();
    let in_flight = vec![InFlight { job: JobId(9), attempt: Attempt(3), stage: Stage::Proving }];
    bench.say("a", WorkerEvent::Heartbeat { in_flight, card: None });
    let close = Control::Close { job: JobId(9), attempt: Attempt(3) };
    assert_eq!(bench.sent(), [("default/a".to_owned(), close)]);
}

#[test]
fn a_failure_blamed_on_the_input_counts_only_after_the_coordinators_own_replay() {
    let mut bench = Bench::new();
    bench.enqueue(1..=2);
    for name in ["a", "b", "c"] {
        bench.register(name);
    }
    let holders: Vec<(String, u32, u32)> = bench.granted();
    assert_eq!(holders, [job("a", 1, 1), job("a", 2, 1)]);
    bench.fail("a", 1, 1, FailureKind::Input);
    assert!(bench.effects.contains(&FarmEffect::Replay { batch_no: 1 }));
    assert_eq!(bench.granted(), [job("b", 1, 2)]);
    bench.step(FarmCommand::Replayed { batch_no: 1, unprovable: None });
    bench.fail("b", 1, 2, FailureKind::Proof);
    assert!(!bench.effects.contains(&FarmEffect::Replay { batch_no: 1 }), "once is enough");
    assert!(!matches!(bench.phase(1), Phase::Poisoned { .. }));

    bench.fail("a", 2, 1, FailureKind::Input);
    bench.step(FarmCommand::Replayed { batch_no: 2, unprovable: Some("slot 3".to_owned()) });
    assert_eq!(*bench.phase(2), Phase::Poisoned { message: "slot 3".to_owned() });
    bench.sent();
    bench.pass(120_000, &["a", "b", "c"]);
    assert!(bench.granted().iter().all(|(_, batch_no, _)| *batch_no != 2), "it waits for an operator");
    bench.step(FarmCommand::Requeue { batch_no: 2 });
    assert!(bench.granted().iter().any(|(_, batch_no, _)| *batch_no == 2));
}

#[test]
fn a_failure_of_an_attempt_that_the_worker_does_not_hold_changes_nothing() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    bench.register("a");
    bench.register("rack/liar");
    let before = bench.records.len();
    for attempt in 0..3 {
        for kind in [FailureKind::Input, FailureKind::Infrastructure] {
            bench.fail("rack/liar", 1, attempt, kind);
        }
        bench.say("rack/liar", WorkerEvent::HandedBack { job: JobId(1), attempt: Attempt(attempt), message: String::new() });
    }
    assert_eq!(bench.records.len(), before);
    assert!(!bench.effects.iter().any(|effect| matches!(effect, FarmEffect::Replay { .. })));
    assert_eq!(bench.farm.job(1).unwrap().failures, 0);
}

#[test]
fn a_job_on_which_several_workers_died_is_tried_alone_elsewhere_then_parked_and_tried_again() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    for name in ["a", "b"] {
        bench.register(name);
        bench.pass(RULES.lease_ms, &[]);
    }
    assert!(bench.farm.job(1).unwrap().quarantined, "k different workers died on it");
    bench.granted();
    // Alone: on an idle worker, of another pool than those that died, and with nothing beside it.
    bench.register("c");
    assert_eq!(bench.granted(), [job("c", 1, 3)], "no other pool is there");
    bench.enqueue(2..=2);
    assert_eq!(bench.granted(), []);
    bench.pass(RULES.lease_ms, &[]);
    assert!(matches!(bench.phase(1), Phase::Parked { .. }));
    assert_eq!(bench.farm.stuck().map(|(batch_no, ..)| batch_no).collect::<Vec<_>>(), [1]);
    bench.register("d");
    bench.register("rack/e");
    bench.granted();
    bench.pass(59_000, &["d", "rack/e"]);
    assert!(bench.granted().iter().all(|(_, batch_no, _)| *batch_no != 1));
    bench.pass(2_000, &["d", "rack/e"]);
    assert_eq!(bench.granted(), [job("rack/e", 1, 4)], "a pool on which nobody died comes first");
    bench.prove("rack/e", 1);
    assert!(bench.farm.job(1).is_none());
}

#[test]
fn infrastructure_failures_have_a_budget() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    bench.register("a");
    for attempt in 1..=2 * RULES.quarantine_after {
        bench.fail("a", 1, attempt, FailureKind::Infrastructure);
        bench.pass(60_000, &["a"]);
    }
    assert!(bench.farm.job(1).unwrap().quarantined, "one worker alone does not try for ever");
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
    assert!(bench.effects.contains(&removed(rack())) && bench.effects.contains(&removed(PoolName::default())));
    let close = |attempt| Control::Close { job: JobId(1), attempt: Attempt(attempt) };
    let sent = bench.sent();
    assert!(sent.contains(&("default/a".to_owned(), close(1))));
    assert!(!bench.farm.was_granted(&worker("a"), JobId(1), Attempt(1)), "nothing is left to prove");
}

#[test]
fn an_overdue_attempt_gets_a_second_and_a_third_and_no_more() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    let names = ["a", "rack/b", "rack/c", "rack/d"];
    names.iter().for_each(|name| bench.register(name));
    bench.pass(9_000, &names);
    assert_eq!(bench.granted().len(), 1);
    bench.pass(60_000, &names);
    assert_eq!(bench.granted().len(), 2);
    assert_eq!(bench.farm.job(1).unwrap().live.len(), 3);
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
    assert!(sent.iter().any(|(to, control)| to == "default/b" && matches!(control, Control::Job(entry) if entry.job == JobId(2))));
    assert_eq!(bench.farm.job(2).unwrap().failures, 0, "it is nobody's fault");
}

#[test]
fn a_pool_that_delivers_nothing_ends_at_one_attempt_and_costs_no_other_pool() {
    let mut bench = Bench::new();
    bench.register("honest");
    bench.enqueue(1..=2_000);
    bench.granted();
    for round in 0..400 {
        let name = format!("rack/fake{round}");
        bench.register(&name);
        let held = bench.farm.work.leases_of.get(&worker(&name)).cloned().unwrap_or_default();
        for (batch_no, attempt) in held {
            bench.fail(&name, batch_no, attempt, FailureKind::Infrastructure);
        }
        bench.now += 10;
        bench.beat("honest", Stage::Proving);
    }
    let pools: BTreeMap<_, _> = bench.farm.pools().map(|(name, pool)| (name.clone(), pool)).collect();
    assert_eq!(pools[&rack()].window, 1);
    assert!(pools[&PoolName::default()].window > 100);
    bench.granted();
    bench.prove("honest", 1);
    assert!(bench.granted().iter().any(|(to, ..)| to == "default/honest"), "the honest go on");
}

#[test]
fn a_worker_that_fails_pauses_longer_each_time_and_a_proof_ends_that() {
    let mut bench = Bench::new();
    bench.enqueue(1..=50);
    bench.register("a");
    bench.granted();
    bench.fail("a", 1, 1, FailureKind::Infrastructure);
    assert_eq!(bench.granted(), []);
    bench.pass(500, &["a"]);
    assert_eq!(bench.granted().len(), 1);
    bench.fail("a", 2, 1, FailureKind::Infrastructure);
    bench.pass(500, &["a"]);
    assert!(bench.granted().len() == 1);
    bench.prove("a", 3);
    assert_eq!(bench.farm.worker(&worker("a")).unwrap().pauses_until, 0);
}

#[test]
fn after_a_restart_a_worker_keeps_what_it_holds_and_a_lost_one_does_not() {
    let mut bench = Bench::new();
    bench.enqueue(1..=2);
    bench.register("a");
    bench.register("b");
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
    let mut farm = Farm::new(RULES, BTreeMap::new());
    farm.enqueue(1, Shape::S3M1, [1; 32], [1; 32]);
    let old = WorkerId::parse("worker-1").unwrap();
    for record in [
        FarmRecord::Published { batch_no: 1, attempt: 1 },
        FarmRecord::Granted { batch_no: 1, attempt: 1, worker: old.clone() },
        FarmRecord::Ended { batch_no: 1, attempt: 1, worker: Some(old.clone()), charged: true, message: String::new() },
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
    assert!(sent.contains(&("default/a".to_owned(), Control::Refuse { shape: Shape::S3M1, verifying_key: KEY })));
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

#[test]
fn names_floods_and_answers_are_bounded_per_pool() {
    let mut bench = Bench::new();
    bench.register("honest");
    bench.sent();
    for number in 0..20_000 {
        let id = WorkerId::new(rack(), InstanceName::new(format!("n{number}")).unwrap());
        let registration = registration(&[Shape::S3M1]);
        let event = Box::new(WorkerEvent::Register { registration, in_flight: Vec::new() });
        bench.step(FarmCommand::Report { worker: id, process: ProcessId(number), event });
    }
    assert!(bench.farm.workers().count() <= MAX_WORKERS_PER_POOL + 1);
    let answers = bench.sent().len();
    assert!(answers <= 4_001, "{answers} answers at once");
    for number in 0..20_000 {
        let id = WorkerId::new(rack(), InstanceName::new(format!("m{number}")).unwrap());
        let event = Box::new(WorkerEvent::Heartbeat { in_flight: Vec::new(), card: None });
        bench.step(FarmCommand::Report { worker: id, process: ProcessId(number), event });
    }
    assert!(bench.sent().is_empty(), "the pool's budget is spent");
    bench.beat("stranger", Stage::Proving);
    assert_eq!(bench.sent().len(), 1, "another pool's is not");
    // All of them are dead within a lease, and the honest worker proves.
    bench.enqueue(1..=1);
    bench.pass(RULES.lease_ms, &["honest"]);
    assert_eq!(bench.farm.workers().count(), 1);
}

/// The work of a command does not grow with what is there: the same commands over ten times as many jobs and workers.
#[test]
fn the_work_of_a_command_is_flat_in_jobs_and_workers() {
    let cost = |jobs: u32, workers: u64| {
        let mut bench = Bench::new();
        bench.enqueue(1..=jobs);
        for number in 0..workers {
            bench.register(&format!("w{number}"));
        }
        bench.effects.clear();
        let start = std::time::Instant::now();
        for round in 0..2_000u64 {
            bench.beat(&format!("w{}", round % workers), Stage::Proving);
        }
        start.elapsed()
    };
    cost(1_000, 100);
    let (few, many) = (cost(2_000, 200), cost(20_000, 2_000));
    // A linear scan would make it ten times as long; noise is given a factor of four.
    assert!(many < 6 * few, "{few:?} with 200 workers, {many:?} with 2,000");
}
