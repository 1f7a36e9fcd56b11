use wire::{CardReading, Hold, Registration};

use super::{dispatch::*, *};

const RULES: FarmRules = FarmRules { lease_ms: 100, claim_ms: 10_000, poison_after: 2 };

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

fn farm(jobs: u32) -> Farm {
    let mut farm = Farm::new(RULES, BTreeMap::new());
    for batch_no in 1..=jobs {
        farm.enqueue(batch_no, Shape::S3M1, [1; 32], [batch_no as u8; 32]);
    }
    farm
}

fn entries(effects: &[FarmEffect]) -> Vec<(u64, u32, Priority)> {
    let published = effects.iter().filter_map(|effect| match effect {
        FarmEffect::Publish { entry, priority } => Some((entry.job.0, entry.attempt.0, *priority)),
        _ => None,
    });
    published.collect()
}

fn controls(effects: &[FarmEffect]) -> Vec<(String, Control)> {
    let sent = effects.iter().filter_map(|effect| match effect {
        FarmEffect::Control { worker, control } => Some((worker.as_str().to_owned(), *control)),
        _ => None,
    });
    sent.collect()
}

fn claim(farm: &mut Farm, name: &str, job: u64, attempt: u32, now: u64) -> Vec<FarmEffect> {
    let event = WorkerEvent::Claimed { worker: worker(name), job: JobId(job), attempt: Attempt(attempt) };
    farm.step(FarmEvent::Worker(Box::new(event)), now)
}

fn grant(job: u64, attempt: u32) -> Control {
    Control::Grant { job: JobId(job), attempt: Attempt(attempt) }
}

fn cancel(job: u64, attempt: u32) -> Control {
    Control::Cancel { job: JobId(job), attempt: Attempt(attempt) }
}

/// A heartbeat of a worker that holds nothing.
fn idle(name: &str) -> WorkerEvent {
    WorkerEvent::Heartbeat { worker: worker(name), holds: Vec::new(), card: None }
}

fn started(name: &str) -> WorkerEvent {
    let registration =
        Registration { backend: "cpu".into(), version: "1".into(), memory: 1, circuits: Vec::new() };
    WorkerEvent::Register { worker: worker(name), registration, fresh: true }
}

/// A worker with a key of s3m1 whose verifying key has this digest.
fn with_key(name: &str, verifying_key: [u8; 32], fresh: bool) -> FarmEvent {
    let circuits = vec![wire::CircuitSupport { shape: Shape::S3M1, digest: [1; 32], verifying_key }];
    let registration = Registration { backend: "cpu".into(), version: "1".into(), memory: 1, circuits };
    FarmEvent::Worker(Box::new(WorkerEvent::Register { worker: worker(name), registration, fresh }))
}

#[test]
fn a_worker_whose_key_is_not_the_contracts_gets_no_job_of_the_circuit_and_is_told_so() {
    let mut farm = Farm::new(RULES, [(Shape::S3M1, [8; 32])].into());
    farm.enqueue(1, Shape::S3M1, [1; 32], [1; 32]);
    farm.enqueue(2, Shape::S14M2, [2; 32], [2; 32]);
    let refuse = Control::Refuse { shape: Shape::S3M1, verifying_key: [8; 32] };
    assert_eq!(controls(&farm.step(with_key("a", [9; 32], true), 0)), [("a".to_owned(), refuse)]);
    let why = &farm.workers().next().unwrap().1.refused[&Shape::S3M1];
    assert!(
        why.contains("PM-FARM-002") && why.contains(&"09".repeat(32)) && why.contains(&"08".repeat(32)),
        "{why}"
    );

    // It claims all the same: the job goes on at once, to another, and nobody is charged.
    farm.step(with_key("b", [8; 32], true), 0);
    let effects = claim(&mut farm, "a", 1, 1, 1);
    assert_eq!(controls(&effects), [("a".to_owned(), refuse), ("a".to_owned(), cancel(1, 1))]);
    assert!(effects.contains(&FarmEffect::Retire { job: JobId(1), attempt: Attempt(1) }));
    assert_eq!(shut_out(&effects), [vec![worker("a")]]);
    assert_eq!(controls(&claim(&mut farm, "b", 1, 2, 2)), [("b".to_owned(), grant(1, 2))]);
    assert_eq!(farm.job(1).unwrap().charged, 0);
    // Of other circuits it gets jobs.
    assert_eq!(controls(&claim(&mut farm, "a", 2, 1, 3)), [("a".to_owned(), grant(2, 1))]);

    // With the right key it is as good as any.
    assert_eq!(controls(&farm.step(with_key("a", [8; 32], true), 4)), []);
    assert!(farm.workers().all(|(_, worker)| worker.refused.is_empty()));
}

#[test]
fn what_a_worker_holds_when_its_key_is_found_wrong_goes_to_another() {
    let mut farm = Farm::new(RULES, [(Shape::S3M1, [8; 32])].into());
    farm.enqueue(1, Shape::S3M1, [1; 32], [1; 32]);
    farm.step(FarmEvent::Tick, 0);
    farm.step(with_key("b", [8; 32], true), 0);
    // Nobody knew it yet.
    assert_eq!(controls(&claim(&mut farm, "a", 1, 1, 0)), [("a".to_owned(), grant(1, 1))]);
    let effects = farm.step(with_key("a", [9; 32], false), 1);
    assert_eq!(entries(&effects), [(1, 2, Priority::Urgent)]);
    assert_eq!(shut_out(&effects), [vec![worker("a")]]);
    assert_eq!(farm.job(1).unwrap().charged, 0);
}

fn shut_out(effects: &[FarmEffect]) -> Vec<Vec<WorkerId>> {
    let published = effects.iter().filter_map(|effect| match effect {
        FarmEffect::Publish { entry, .. } => Some(entry.excluded.clone()),
        _ => None,
    });
    published.collect()
}

#[test]
fn a_worker_that_died_and_started_again_is_let_in_again_at_once() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    claim(&mut farm, "a", 1, 1, 0);
    farm.step(FarmEvent::Worker(Box::new(idle("b"))), 90);
    let effects = farm.step(FarmEvent::Tick, 110);
    assert_eq!(shut_out(&effects), [vec![worker("a")]], "it fell silent");
    // Another process under its name: what is out shuts it out, so it goes out anew.
    let effects = farm.step(FarmEvent::Worker(Box::new(started("a"))), 120);
    assert!(effects.contains(&FarmEffect::Retire { job: JobId(1), attempt: Attempt(2) }));
    assert_eq!((entries(&effects), shut_out(&effects)), (vec![(1, 3, Priority::Urgent)], vec![vec![]]));
    assert_eq!(controls(&claim(&mut farm, "a", 1, 3, 121)), [("a".to_owned(), grant(1, 3))]);
    // One that was to blame stays shut out as long as another is here.
    farm.step(FarmEvent::ProofRefused { worker: worker("a"), job: JobId(1), attempt: Attempt(3) }, 122);
    let effects = farm.step(FarmEvent::Worker(Box::new(started("a"))), 123);
    assert!(entries(&effects).is_empty());
    assert_eq!(farm.job(1).unwrap().excluded, [worker("a")]);
}

#[test]
fn a_job_that_waits_for_a_worker_that_has_gone_goes_out_to_those_who_are_here() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    claim(&mut farm, "a", 1, 1, 0);
    farm.step(FarmEvent::Worker(Box::new(idle("b"))), 0);
    let message = "out of memory".to_owned();
    let (job, attempt, kind) = (JobId(1), Attempt(1), FailureKind::Infrastructure);
    let failed = WorkerEvent::Failed { worker: worker("a"), job, attempt, kind, message };
    let effects = farm.step(FarmEvent::Worker(Box::new(failed)), 10);
    assert_eq!(shut_out(&effects), [vec![worker("a")]], "b is here");
    farm.step(FarmEvent::Worker(Box::new(idle("a"))), 95);
    assert!(entries(&farm.step(FarmEvent::Tick, 99)).is_empty());
    let effects = farm.step(FarmEvent::Tick, 101);
    assert!(effects.contains(&FarmEffect::Retire { job: JobId(1), attempt: Attempt(2) }), "b fell silent");
    assert_eq!((entries(&effects), shut_out(&effects)), (vec![(1, 3, Priority::Urgent)], vec![vec![]]));
}

#[test]
fn the_oldest_batch_is_published_first_and_granted_to_one_worker() {
    let mut farm = farm(3);
    let effects = farm.step(FarmEvent::Tick, 0);
    assert_eq!(entries(&effects), [1, 2, 3].map(|job| (job, 1, Priority::Normal)));
    assert_eq!(controls(&claim(&mut farm, "a", 1, 1, 1)), [("a".to_owned(), grant(1, 1))]);
    assert_eq!(controls(&claim(&mut farm, "b", 1, 1, 2)), [("b".to_owned(), cancel(1, 1))]);
    // The same claim again means that the grant was lost.
    assert_eq!(controls(&claim(&mut farm, "a", 1, 1, 3)), [("a".to_owned(), grant(1, 1))]);
}

#[test]
fn no_more_is_published_than_workers_can_take_soon() {
    let mut farm = farm(20);
    assert_eq!(entries(&farm.step(FarmEvent::Tick, 0)).len(), MIN_ENTRIES);
    assert_eq!(entries(&claim(&mut farm, "a", 1, 1, 1)), [(5, 1, Priority::Normal)]);
}

#[test]
fn heartbeats_keep_a_lease_and_silence_gives_the_job_to_another_worker_uncharged() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    claim(&mut farm, "a", 1, 1, 0);
    claim(&mut farm, "b", 9, 1, 0);
    let hold = Hold { job: JobId(1), attempt: Attempt(1), stage: wire::Stage::Proving };
    let beat = WorkerEvent::Heartbeat { worker: worker("a"), holds: vec![hold], card: None };
    farm.step(FarmEvent::Worker(Box::new(beat.clone())), 90);
    assert!(entries(&farm.step(FarmEvent::Tick, 150)).is_empty());
    farm.step(FarmEvent::Worker(Box::new(idle("b"))), 180);
    let effects = farm.step(FarmEvent::Tick, 190);
    assert_eq!(entries(&effects), [(1, 2, Priority::Urgent)]);
    assert!(effects.contains(&FarmEffect::Retire { job: JobId(1), attempt: Attempt(1) }));
    let job = farm.job(1).unwrap();
    assert_eq!((job.charged, &job.excluded), (0, &vec![worker("a")]));
    // It wakes up and is told to stop; the excluded worker's claim of the next attempt is refused too.
    assert_eq!(
        controls(&farm.step(FarmEvent::Worker(Box::new(beat)), 200)),
        [("a".to_owned(), Control::Introduce), ("a".to_owned(), cancel(1, 1))]
    );
    assert_eq!(controls(&claim(&mut farm, "a", 1, 2, 201)), [("a".to_owned(), cancel(1, 2))]);
    assert_eq!(controls(&claim(&mut farm, "b", 1, 2, 202)), [("b".to_owned(), grant(1, 2))]);
}

#[test]
fn bad_proofs_of_k_different_workers_poison_the_job() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    for (attempt, name) in (1..=RULES.poison_after).zip(["a", "b"]) {
        let effects = refuse(&mut farm, name, attempt, 2);
        assert_eq!(entries(&effects).len(), usize::from(attempt < RULES.poison_after));
    }
    assert!(matches!(farm.job(1).unwrap().phase, Phase::Poisoned { .. }));
    assert_eq!(controls(&claim(&mut farm, "c", 1, 2, 3)), [("c".to_owned(), cancel(1, 2))]);
}

fn refuse(farm: &mut Farm, name: &str, attempt: u32, now: u64) -> Vec<FarmEffect> {
    claim(farm, name, 1, attempt, now);
    let refused = FarmEvent::ProofRefused { worker: worker(name), job: JobId(1), attempt: Attempt(attempt) };
    farm.step(refused, now)
}

fn records(effects: &[FarmEffect]) -> Vec<FarmRecord> {
    let records = effects.iter().filter_map(|effect| match effect {
        FarmEffect::Record(record) => Some(record.clone()),
        _ => None,
    });
    records.collect()
}

/// A farm whose only job is poisoned, and all that it recorded.
fn poisoned() -> (Farm, Vec<FarmRecord>) {
    let mut farm = farm(1);
    let mut all = records(&farm.step(FarmEvent::Tick, 0));
    for (name, attempt) in [("a", 1), ("b", 2)] {
        let claimed = claim(&mut farm, name, 1, attempt, 1);
        all.extend(records(&claimed));
        all.extend(records(&refuse(&mut farm, name, attempt, 2)));
    }
    assert_eq!(farm.poisoned().map(|(batch_no, _)| batch_no).collect::<Vec<_>>(), [1]);
    (farm, all)
}

#[test]
fn a_worker_that_fails_twice_is_counted_once_until_twice_as_many_attempts_failed() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    for attempt in 1..RULES.poison_after * ATTEMPTS_PER_WORKER {
        refuse(&mut farm, "a", attempt, 1);
        assert_eq!(farm.poisoned().count(), 0, "after {attempt} attempts of one worker");
    }
    refuse(&mut farm, "a", RULES.poison_after * ATTEMPTS_PER_WORKER, 1);
    assert_eq!(farm.poisoned().count(), 1);
}

#[test]
fn a_poisoned_job_goes_out_again_only_when_an_operator_says_so_and_once() {
    let (mut farm, _) = poisoned();
    assert_eq!(farm.step(FarmEvent::Tick, 1_000_000), []);
    let again = farm.step(FarmEvent::Requeue { batch_no: 1 }, 1_000_001);
    assert_eq!(entries(&again), [(1, 3, Priority::Urgent)]);
    assert_eq!(farm.job(1).map(|job| job.charged), Some(0));
    assert_eq!(farm.step(FarmEvent::Requeue { batch_no: 1 }, 1_000_002), []);
    assert_eq!(farm.step(FarmEvent::Requeue { batch_no: 7 }, 1_000_002), []);
}

#[test]
fn poison_and_its_end_survive_a_restart() {
    let (mut before, mut records_before) = poisoned();
    let mut after = farm(1);
    records_before.iter().for_each(|record| after.replay(record));
    // Who is excluded right now is not recorded: it depends on who is there.
    let recorded = |farm: &Farm| farm.job(1).map(|job| Job { excluded: Vec::new(), ..job.clone() });
    assert_eq!(recorded(&after), recorded(&before));
    assert_eq!(after.step(FarmEvent::Tick, 3), []);

    records_before = records(&before.step(FarmEvent::Requeue { batch_no: 1 }, 4));
    records_before.iter().for_each(|record| after.replay(record));
    assert_eq!(after.poisoned().count(), 0);
    assert_eq!(entries(&after.step(FarmEvent::Tick, 5)), [(1, 4, Priority::Urgent)]);
}

#[test]
fn a_drained_worker_gets_nothing_more_also_after_a_restart_until_it_starts_again() {
    let mut before = farm(1);
    before.step(FarmEvent::Tick, 0);
    let drained = before.step(FarmEvent::Drain { worker: worker("a") }, 1);
    assert_eq!(controls(&drained), [("a".to_owned(), Control::Drain)]);
    assert_eq!(before.step(FarmEvent::Drain { worker: worker("a") }, 1), [], "it was told already");
    assert_eq!(controls(&claim(&mut before, "a", 1, 1, 2)), [("a".to_owned(), cancel(1, 1))]);

    let mut after = farm(1);
    records(&drained).iter().for_each(|record| after.replay(record));
    after.step(FarmEvent::Tick, 3);
    assert!(controls(&beat(&mut after, "a", None, 4)).contains(&("a".to_owned(), Control::Drain)));
    assert!(!controls(&beat(&mut after, "a", None, 5)).contains(&("a".to_owned(), Control::Drain)));
    assert_eq!(controls(&claim(&mut after, "a", 1, 1, 6)), [("a".to_owned(), cancel(1, 1))]);

    let registration =
        Registration { backend: "cpu".to_owned(), version: "1".to_owned(), memory: 1, circuits: Vec::new() };
    let again = WorkerEvent::Register { worker: worker("a"), registration, fresh: true };
    let admitted = after.step(FarmEvent::Worker(Box::new(again)), 7);
    assert!(records(&admitted).contains(&FarmRecord::Admitted { worker: worker("a") }));
    assert_eq!(controls(&claim(&mut after, "a", 1, 1, 8)), [("a".to_owned(), grant(1, 1))]);
}

#[test]
fn infrastructure_failures_never_poison_a_job() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    for attempt in 1..=10 {
        claim(&mut farm, "a", 1, attempt, 1);
        let failed = WorkerEvent::Failed {
            worker: worker("a"),
            job: JobId(1),
            attempt: Attempt(attempt),
            kind: FailureKind::Infrastructure,
            message: "no memory".to_owned(),
        };
        // The only worker is let in again.
        assert_eq!(
            entries(&farm.step(FarmEvent::Worker(Box::new(failed)), 2)),
            [(1, attempt + 1, Priority::Urgent)]
        );
    }
    assert_eq!(farm.job(1).unwrap().charged, 0);
}

#[test]
fn an_event_of_an_earlier_attempt_changes_nothing() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    claim(&mut farm, "a", 1, 1, 0);
    farm.step(FarmEvent::Tick, 100);
    claim(&mut farm, "b", 1, 2, 101);
    let before = farm.job(1).cloned();
    let late = FarmEvent::ProofRefused { worker: worker("a"), job: JobId(1), attempt: Attempt(1) };
    assert!(farm.step(late, 102).is_empty());
    assert_eq!(farm.job(1).cloned(), before);
}

#[test]
fn a_late_proof_ends_the_job_and_stops_whoever_holds_it_now() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    claim(&mut farm, "a", 1, 1, 0);
    farm.step(FarmEvent::Tick, 100);
    claim(&mut farm, "b", 1, 2, 101);
    let effects = farm.proven(1, &worker("a"));
    assert_eq!(controls(&effects), [("b".to_owned(), cancel(1, 2))]);
    assert!(effects.contains(&FarmEffect::Remove { job: JobId(1) }));
    assert_eq!(farm.job(1), None);
    assert!(farm.proven(1, &worker("b")).is_empty());
}

#[test]
fn a_worker_that_leaves_or_starts_again_gives_its_jobs_back() {
    let mut farm = farm(2);
    farm.step(FarmEvent::Tick, 0);
    claim(&mut farm, "a", 1, 1, 0);
    claim(&mut farm, "b", 2, 1, 0);
    let left = WorkerEvent::Left { worker: worker("a"), message: "drained".to_owned() };
    assert_eq!(entries(&farm.step(FarmEvent::Worker(Box::new(left)), 1)), [(1, 2, Priority::Urgent)]);
    let registration =
        Registration { backend: "cpu".to_owned(), version: "1".to_owned(), memory: 1, circuits: Vec::new() };
    let again = WorkerEvent::Register { worker: worker("b"), registration, fresh: true };
    assert_eq!(entries(&farm.step(FarmEvent::Worker(Box::new(again)), 2)), [(2, 2, Priority::Urgent)]);
}

#[test]
fn a_worker_nobody_knows_is_asked_who_it_is_and_keeps_what_it_holds() {
    let mut farm = farm(1);
    farm.step(FarmEvent::Tick, 0);
    claim(&mut farm, "a", 1, 1, 0);
    let hold = Hold { job: JobId(1), attempt: Attempt(1), stage: wire::Stage::Proving };
    let beat = WorkerEvent::Heartbeat { worker: worker("a"), holds: vec![hold], card: None };
    let asked = controls(&farm.step(FarmEvent::Worker(Box::new(beat.clone())), 1));
    assert_eq!(asked, [("a".to_owned(), Control::Introduce)]);
    let registration =
        Registration { backend: "cpu".to_owned(), version: "1".to_owned(), memory: 1, circuits: Vec::new() };
    let register = WorkerEvent::Register { worker: worker("a"), registration, fresh: false };
    assert_eq!(farm.step(FarmEvent::Worker(Box::new(register)), 2), []);
    assert!(matches!(&farm.job(1).unwrap().phase, Phase::Leased { .. }));
    assert_eq!(controls(&farm.step(FarmEvent::Worker(Box::new(beat)), 3)), []);
}

#[test]
fn after_a_restart_the_records_give_attempts_and_charges_and_everything_is_published_again() {
    let mut before = farm(2);
    let mut records = Vec::new();
    let mut keep = |effects: Vec<FarmEffect>| {
        records.extend(effects.into_iter().filter_map(|effect| match effect {
            FarmEffect::Record(record) => Some(record),
            _ => None,
        }));
    };
    keep(before.step(FarmEvent::Tick, 0));
    keep(claim(&mut before, "a", 1, 1, 1));
    keep(before.step(FarmEvent::ProofRefused { worker: worker("a"), job: JobId(1), attempt: Attempt(1) }, 2));
    keep(claim(&mut before, "b", 1, 2, 3));
    let mut after = farm(2);
    records.iter().for_each(|record| after.replay(record));
    let job = after.job(1).unwrap();
    assert_eq!((job.attempt, job.charged), (2, 1));
    assert_eq!(
        entries(&after.step(FarmEvent::Tick, 0)),
        [(1, 3, Priority::Urgent), (2, 2, Priority::Urgent)]
    );
}

fn beat(farm: &mut Farm, name: &str, sick: Option<&str>, now: u64) -> Vec<FarmEffect> {
    let card =
        CardReading { temperature: Some(now as u32), sick: sick.map(str::to_owned), ..Default::default() };
    let event =
        WorkerEvent::Heartbeat { worker: worker(name), holds: Vec::new(), card: Some(Box::new(card)) };
    farm.step(FarmEvent::Worker(Box::new(event)), now)
}

#[test]
fn the_farm_knows_the_last_reading_of_each_card() {
    let mut farm = farm(0);
    beat(&mut farm, "a", None, 10);
    beat(&mut farm, "b", Some("too hot"), 20);
    beat(&mut farm, "a", None, 30);
    let known: Vec<_> = farm
        .workers()
        .map(|(id, worker)| {
            let card = worker.card.as_ref().unwrap();
            (id.as_str(), worker.seen, card.temperature, card.sick.as_deref())
        })
        .collect();
    assert_eq!(known, [("a", 30, Some(30), None), ("b", 20, Some(20), Some("too hot"))]);
}

#[test]
fn energy_is_averaged_by_worker_over_accepted_proofs() {
    let mut farm = farm(0);
    beat(&mut farm, "a", None, 1);
    beat(&mut farm, "b", None, 1);
    let spend = |farm: &mut Farm, name, millijoules, payments| {
        farm.step(FarmEvent::ProofEnergy { worker: worker(name), millijoules, payments }, 2);
    };
    spend(&mut farm, "a", 30_000, 60);
    spend(&mut farm, "a", 30_000, 0);
    spend(&mut farm, "nobody", 1, 1);
    let energy = |name: &str| {
        let energy = farm.workers().find(|(id, _)| id.as_str() == name).unwrap().1.energy;
        (energy.joules_per_proof(), energy.joules_per_payment().map(f64::round))
    };
    assert_eq!(energy("a"), (Some(30.0), Some(1.0)));
    assert_eq!(energy("b"), (None, None));
}

#[test]
fn a_worker_that_left_is_told_of_with_its_reason_until_it_comes_back() {
    let mut farm = farm(0);
    beat(&mut farm, "a", None, 1);
    let left = WorkerEvent::Left { worker: worker("a"), message: "its proofs do not verify".to_owned() };
    farm.step(FarmEvent::Worker(Box::new(left)), 2);
    beat(&mut farm, "b", None, 3);
    let forget = RULES.lease_ms * FORGET_AFTER_LEASES;
    farm.step(FarmEvent::Tick, 3 + forget);
    let departed: Vec<_> = farm.departed().map(|gone| (gone.id.as_str(), gone.message.as_str())).collect();
    assert_eq!(departed, [("a", "its proofs do not verify"), ("b", "it fell silent")]);
    assert_eq!(farm.workers().count(), 0);
    beat(&mut farm, "a", None, 4 + forget);
    assert_eq!(farm.departed().map(|gone| gone.id.as_str()).collect::<Vec<_>>(), ["b"]);
    for other in 0..100 {
        let name = format!("w{other}");
        beat(&mut farm, &name, None, 5 + forget);
        let left = WorkerEvent::Left { worker: worker(&name), message: String::new() };
        farm.step(FarmEvent::Worker(Box::new(left)), 5 + forget);
    }
    assert_eq!(farm.departed().count(), 16);
}
