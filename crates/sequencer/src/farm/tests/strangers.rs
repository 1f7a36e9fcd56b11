//! Workers that fail, lie, flood or only pretend: what they cost is their own pool's work.

use super::*;

#[test]
fn who_is_not_known_is_asked_to_register_and_another_process_is_refused_its_name() {
    let mut bench = Bench::new();
    bench.sent();
    bench.beat("a", Stage::Proving);
    assert_eq!(bench.sent(), [("default/a".to_owned(), Control::Reregister)]);
    bench.register("a");
    assert_eq!(bench.sent(), [("default/a".to_owned(), Control::Registered)]);
    let second = |bench: &mut Bench| {
        let event =
            WorkerEvent::Register { registration: registration(&[Shape::S3M1]), in_flight: Vec::new() };
        bench.step(FarmCommand::Report {
            worker: worker("a"),
            process: ProcessId(99),
            event: Box::new(event),
        });
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
        bench.say(
            "rack/liar",
            WorkerEvent::HandedBack { job: JobId(1), attempt: Attempt(attempt), message: String::new() },
        );
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
    assert_eq!(bench.granted(), [job("d", 2, 1)]);
    bench.prove("d", 2);
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
    // What the fakes spoiled is tried alone by the honest, the oldest first, and everything else goes on.
    for _ in 0..20 {
        let held = bench.farm.work.leases_of.get(&worker("honest")).cloned().unwrap_or_default();
        assert!(!held.is_empty(), "the honest go on");
        bench.prove("honest", held[0].0);
    }
    assert!(bench.farm.jobs().next().unwrap().0 > 15, "in the order of the batches");
}

#[test]
fn a_job_that_is_tried_alone_does_not_wait_behind_younger_ones() {
    let mut bench = Bench::new();
    bench.enqueue(1..=1);
    for name in ["a", "b"] {
        bench.register(name);
        bench.fail(name, 1, if name == "a" { 1 } else { 2 }, FailureKind::Infrastructure);
    }
    assert!(bench.farm.job(1).unwrap().quarantined);
    bench.register("rack/c");
    assert_eq!(bench.granted().last(), Some(&job("rack/c", 1, 3)));
    bench.enqueue(2..=9);
    assert!(bench.granted().iter().all(|(to, ..)| to != "rack/c"), "nothing beside it");
    bench.fail("rack/c", 1, 3, FailureKind::Infrastructure);
    assert!(matches!(bench.phase(1), Phase::Parked { .. }));
    bench.pass(300, &["a", "b", "rack/c"]);
    bench.granted();
    // Its pause is over while everybody is busy with younger ones: one worker gets no more of them.
    bench.pass(60_000, &["a", "b", "rack/c"]);
    let held = |bench: &Bench| bench.farm.job(1).is_some_and(|job| !job.live.is_empty());
    // Younger ones never end: with each proof another one comes.
    for next in 10..=18 {
        let oldest = bench.farm.jobs().find(|(batch_no, job)| *batch_no > 1 && !job.live.is_empty());
        let (batch_no, by) = oldest.map(|(no, job)| (no, job.live[0].worker.to_string())).unwrap();
        bench.enqueue(next..=next);
        bench.prove(&by, batch_no);
    }
    assert!(bench.farm.jobs().any(|(batch_no, job)| batch_no > 1 && job.live.is_empty()), "and some wait");
    assert!(held(&bench), "it was taken as soon as a worker was idle");
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
#[expect(clippy::disallowed_methods, reason = "the work itself is measured")]
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
    // The best of several turns: another process on the machine must not decide.
    let (mut few, mut many) = (std::time::Duration::MAX, std::time::Duration::MAX);
    for _ in 0..5 {
        few = few.min(cost(2_000, 200));
        many = many.min(cost(20_000, 2_000));
    }
    // A linear scan would make it ten times as long; caches and noise are given a factor of six.
    assert!(many < 6 * few, "{few:?} with 200 workers, {many:?} with 2,000");
}

#[test]
fn an_attempt_that_never_ends_is_ended_however_alive_its_worker_is() {
    let mut bench = Bench::new();
    bench.register("a");
    bench.enqueue(1..=1);
    bench.pass(RULES.attempt_limit_ms - 1_000, &["a"]);
    assert_eq!(bench.farm.job(1).unwrap().failures, 0);
    bench.sent();
    bench.pass(1_500, &["a"]);
    let ended = |(record, _): &(FarmRecord, u64)| {
        matches!(record, FarmRecord::AttemptEnded { batch_no: 1, attempt: 1, end: AttemptEnd::TimedOut, .. })
    };
    assert!(bench.records.iter().any(ended));
    let close = Control::Close { job: JobId(1), attempt: Attempt(1) };
    assert!(bench.sent().contains(&("default/a".to_owned(), close)), "the worker is told to stop");
}
