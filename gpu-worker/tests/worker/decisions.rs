//! The worker's decisions, without clock, threads or proofs.

use std::time::Duration;

use bn254::Fr;
use circuits::shape::Shape;
use gpu_worker::{
    card::Condition,
    state::{Effect, Engine, Event, Proof, ProveFailure, Rules, State},
};
use wire::{
    Attempt, CircuitSupport, Control, FailureKind, JobEntry, JobId, ProofBytes, Registration, Stage,
    WorkerEvent,
};

const RULES: Rules = Rules { drain: Duration::from_secs(30), rest: Duration::from_secs(20), memory: 1000 };

pub fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A worker that has started and that the coordinator knows.
pub fn worker() -> State {
    worker_on("cpu")
}

fn worker_on(backend: &str) -> State {
    worker_with(backend, &[Shape::S3M1])
}

fn worker_with(backend: &str, shapes: &[Shape]) -> State {
    let mut state = stranger(backend, shapes);
    let effects = state.step(Event::Started, at(0));
    assert!(matches!(effects[..], [Effect::Emit(WorkerEvent::Register { .. })]), "{effects:?}");
    assert_eq!(state.step(Event::Control(Control::Registered), at(0)), []);
    state
}

/// One that has not started.
pub fn stranger(backend: &str, shapes: &[Shape]) -> State {
    let support = |shape: &Shape| CircuitSupport { shape: *shape, digest: [1; 32], verifying_key: [2; 32] };
    let registration = Registration {
        backend: backend.into(),
        version: "1".into(),
        memory: 1000,
        circuits: shapes.iter().map(support).collect(),
        slots: 2,
    };
    State::new(RULES, registration)
}

pub fn entry(job: u64) -> JobEntry {
    JobEntry {
        job: JobId(job),
        attempt: Attempt(1),
        shape: Shape::S3M1,
        circuit_digest: [1; 32],
        input_hash: [0; 32],
    }
}

pub fn key(job: u64) -> (JobId, Attempt) {
    (JobId(job), Attempt(1))
}

pub fn received(job: u64) -> Event {
    Event::Job { entry: entry(job), memory_used: 100 }
}

pub fn close(job: u64) -> Event {
    Event::Control(Control::Close { job: JobId(job), attempt: Attempt(1) })
}

pub fn prove(job: u64) -> Effect {
    Effect::Prove(key(job), Shape::S3M1, Engine::Device)
}

fn prove_on_the_processor(job: u64) -> Effect {
    Effect::Prove(key(job), Shape::S3M1, Engine::Processor)
}

fn invalid(job: u64) -> Event {
    Event::ProveFailed(key(job), ProveFailure::Invalid("wrong".into()))
}

fn crash(job: u64) -> Event {
    Event::ProveFailed(key(job), ProveFailure::Device("signal 9".into()))
}

pub fn proof() -> Box<Proof> {
    let zero = Duration::ZERO;
    let public_inputs = [Fr::from(1), Fr::from(2), Fr::from(3)];
    Box::new(Proof {
        proof: ProofBytes([0; 256]),
        public_inputs,
        sparse: zero,
        ntt: zero,
        msm: zero,
        finish: zero,
        energy_millijoules: Some(1500),
    })
}

/// Takes job `job` until the backend proves it.
pub fn proving(state: &mut State, job: u64) {
    proving_from(0, state, job);
}

/// As `proving`, so many seconds later.
fn proving_from(start: u64, state: &mut State, job: u64) {
    assert_eq!(state.step(received(job), at(start + 1)), [Effect::Prepare(entry(job))]);
    state.step(Event::Fetched(key(job)), at(start + 3));
    assert_eq!(state.step(Event::Prepared(key(job)), at(start + 5)), [prove(job)]);
}

/// The events that end an attempt.
pub fn ended(effects: &[Effect]) -> Vec<&WorkerEvent> {
    let events =
        effects.iter().filter_map(|effect| if let Effect::Emit(event) = effect { Some(event) } else { None });
    events.filter(|event| event.ends().is_some()).collect()
}

/// Without what is only said again.
fn news(effects: Vec<Effect>) -> Vec<Effect> {
    let said_again = |effect: &Effect| matches!(effect, Effect::Emit(WorkerEvent::Register { .. }));
    effects.into_iter().filter(|effect| !said_again(effect)).collect()
}

#[test]
fn an_attempt_is_timed_from_its_arrival_to_its_proof() {
    let mut state = worker();
    assert_eq!(state.step(received(1), at(1)), [Effect::Prepare(entry(1))]);
    assert_eq!(state.step(received(2), at(2)), [], "witnesses are made one at a time");
    state.step(Event::Fetched(key(1)), at(3));
    assert_eq!(state.step(Event::Prepared(key(1)), at(4)), [Effect::Prepare(entry(2)), prove(1)]);
    state.step(Event::Fetched(key(2)), at(5));
    state.step(Event::Prepared(key(2)), at(7));
    assert!(state.step(Event::Proved(key(1), proof()), at(8)).contains(&prove(2)));
    let effects = state.step(Event::Proved(key(2), proof()), at(12));
    let [WorkerEvent::Proved { timings, .. }] = ended(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(
        (timings.queue_wait, timings.fetch, timings.witness, timings.total),
        (at(2), at(1), at(2), at(10))
    );
    assert!(effects.contains(&Effect::Forget(key(2))));
}

#[test]
fn at_most_two_attempts_are_held_and_a_third_is_handed_back() {
    let mut state = worker();
    proving(&mut state, 1);
    assert_eq!(state.step(received(2), at(6)), [Effect::Prepare(entry(2))]);
    let effects = state.step(received(3), at(6));
    let [WorkerEvent::HandedBack { job: JobId(3), .. }] = ended(&effects)[..] else { panic!("{effects:?}") };
    let effects = state.step(Event::Prepared(key(2)), at(7));
    assert_eq!(effects, [Effect::Stage(key(2), Shape::S3M1)], "the backend is busy: the witness moves ahead");
    assert_eq!(
        state.in_flight().iter().map(|held| (held.job.0, held.stage)).collect::<Vec<_>>(),
        [(1, Stage::Proving), (2, Stage::Ready)]
    );
    let effects = state.step(Event::Proved(key(1), proof()), at(8));
    assert!(effects.contains(&prove(2)));
    assert_eq!(state.step(received(4), at(9)), [Effect::Prepare(entry(4))], "there is room again");
}

#[test]
fn an_operator_drains_a_worker_as_a_signal_does() {
    let mut state = worker();
    proving(&mut state, 1);
    state.step(received(2), at(6));
    state.step(Event::Prepared(key(2)), at(6));
    let effects = state.step(Event::Control(Control::Drain), at(7));
    let [WorkerEvent::HandedBack { job: JobId(2), .. }] = ended(&effects)[..] else { panic!("{effects:?}") };
    let effects = state.step(received(3), at(7));
    let [WorkerEvent::HandedBack { job: JobId(3), .. }] = ended(&effects)[..] else { panic!("{effects:?}") };
    let effects = state.step(Event::Proved(key(1), proof()), at(8));
    assert!(effects.contains(&Effect::Finish(None)), "{effects:?}");
}

fn refuse(shape: Shape) -> Event {
    Event::Control(Control::Refuse { shape, verifying_key: [3; 32] })
}

#[test]
fn a_worker_whose_only_key_is_not_the_contracts_leaves_and_names_both() {
    let mut state = worker();
    let effects = state.step(refuse(Shape::S3M1), at(1));
    let [Effect::GiveUp(Shape::S3M1, reason), ..] = &effects[..] else { panic!("{effects:?}") };
    let why = farewell(&effects).unwrap();
    assert_eq!(why, reason);
    assert!(
        why.contains("PM-WORKER-013") && why.contains(&"02".repeat(32)) && why.contains(&"03".repeat(32)),
        "{why}"
    );
}

#[test]
fn a_worker_with_one_wrong_key_of_two_gives_up_that_circuit_only() {
    let mut state = worker_with("cpu", &[Shape::S3M1, Shape::S14M2]);
    state.step(received(1), at(1));
    let effects = state.step(refuse(Shape::S3M1), at(2));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::GiveUp(Shape::S3M1, _))), "{effects:?}");
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]), "{effects:?}");
    assert_eq!(state.step(refuse(Shape::S3M1), at(2)), [], "once");
    assert_eq!(
        state.step(Event::PrepareFailed(key(1), FailureKind::Input, "late".into()), at(2)),
        [Effect::Forget(key(1))]
    );
    let other = JobEntry { shape: Shape::S14M2, ..entry(2) };
    let effects = state.step(Event::Job { entry: other.clone(), memory_used: 100 }, at(3));
    assert_eq!(effects, [Effect::Prepare(other)]);
    let effects = state.step(received(3), at(4));
    let [WorkerEvent::Failed { kind: FailureKind::Infrastructure, message, .. }] = ended(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert!(message.contains("PM-WORKER-013"), "{message}");
}

#[test]
fn a_closed_proof_keeps_the_backend_busy_until_it_stops() {
    let mut state = worker();
    proving(&mut state, 1);
    state.step(received(2), at(6));
    state.step(Event::Prepared(key(2)), at(7));
    assert_eq!(state.step(close(1), at(8)), [Effect::Forget(key(1))], "nobody wants to know how it ends");
    let effects = state.step(Event::ProveFailed(key(1), ProveFailure::Cancelled), at(9));
    assert!(effects.contains(&prove(2)));
    assert!(ended(&effects).is_empty());
}

#[test]
fn a_proof_that_finished_although_it_was_closed_is_dropped() {
    let mut state = worker();
    proving(&mut state, 1);
    state.step(close(1), at(6));
    assert!(ended(&state.step(Event::Proved(key(1), proof()), at(7))).is_empty());
    assert_eq!(state.step(close(1), at(8)), [], "closing twice changes nothing");
}

#[test]
fn a_witness_that_comes_after_its_attempt_was_closed_is_dropped() {
    let mut state = worker();
    state.step(received(1), at(1));
    state.step(close(1), at(3));
    assert_eq!(state.step(Event::Prepared(key(1)), at(4)), [Effect::Forget(key(1))]);
    assert!(state.in_flight().is_empty());
}

#[test]
fn entries_it_cannot_prove_are_refused_with_the_reason() {
    let other_shape = JobEntry { shape: Shape::S14M2, ..entry(1) };
    let other_digest = JobEntry { circuit_digest: [2; 32], ..entry(1) };
    for (entry, memory_used, code) in [
        (other_shape, 0, "PM-WORKER-010"),
        (other_digest, 0, "PM-WORKER-011"),
        (entry(1), 1001, "PM-WORKER-012"),
    ] {
        let mut state = worker();
        let effects = state.step(Event::Job { entry, memory_used }, at(1));
        let [WorkerEvent::Failed { kind: FailureKind::Infrastructure, message, .. }] = ended(&effects)[..]
        else {
            panic!("{effects:?}")
        };
        assert!(message.starts_with(code), "{message}");
        proving(&mut state, 2);
    }
}

#[test]
fn on_the_processor_the_second_invalid_proof_fails_the_attempt() {
    let mut state = worker();
    proving(&mut state, 1);
    assert_eq!(state.step(invalid(1), at(6)), [prove(1)]);
    let effects = state.step(invalid(1), at(7));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::Failed { kind: FailureKind::Proof, .. }]));
    assert!(!effects.contains(&Effect::Finish(None)), "there is no card to suspect");
}

/// What a worker says when it leaves the farm on its own.
pub fn farewell(effects: &[Effect]) -> Option<&str> {
    let [.., Effect::Emit(WorkerEvent::Left { message, .. }), Effect::Finish(Some(why))] = effects else {
        return None;
    };
    assert_eq!(message, why);
    Some(why)
}

#[test]
fn the_processor_proves_what_a_card_gets_wrong_twice_and_the_card_is_suspect() {
    let mut state = worker_on("cuda");
    proving(&mut state, 1);
    state.step(received(2), at(6));
    state.step(Event::Prepared(key(2)), at(6));
    assert_eq!(state.step(invalid(1), at(7)), [prove(1)]);
    assert_eq!(state.step(invalid(1), at(8)), [prove_on_the_processor(1)]);
    let effects = state.step(Event::Proved(key(1), proof()), at(9));
    assert!(
        matches!(ended(&effects)[..], [WorkerEvent::Proved { .. }, WorkerEvent::HandedBack { .. }]),
        "the proof counts, the rest goes to others: {effects:?}"
    );
    assert!(farewell(&effects).is_some_and(|why| why.contains("PM-WORKER-051")), "{effects:?}");
}

#[test]
fn a_witness_that_the_processor_finds_false_is_not_held_against_the_card() {
    let mut state = worker_on("cuda");
    for job in 1..=4 {
        proving(&mut state, job);
        state.step(invalid(job), at(6));
        assert!(state.step(invalid(job), at(7)).contains(&prove_on_the_processor(job)));
        let unsatisfied = ProveFailure::Other(FailureKind::Input, "row 3".into());
        let effects = state.step(Event::ProveFailed(key(job), unsatisfied), at(8));
        assert!(matches!(ended(&effects)[..], [WorkerEvent::Failed { kind: FailureKind::Input, .. }]));
        assert_eq!(farewell(&effects), None);
    }
}

#[test]
fn an_attempt_that_even_the_processor_gets_wrong_fails_as_a_proof() {
    let mut state = worker_on("cuda");
    proving(&mut state, 1);
    state.step(invalid(1), at(6));
    state.step(invalid(1), at(7));
    let effects = state.step(invalid(1), at(8));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::Failed { kind: FailureKind::Proof, .. }]));
    assert_eq!(farewell(&effects), None, "the key or the job is broken, not the card");
}

#[test]
fn a_card_that_is_wrong_now_and_then_is_suspect_at_the_third_time() {
    let mut state = worker_on("cuda");
    for job in 1..=3 {
        let at = |seconds| at(10 * job + seconds);
        proving_from(10 * job, &mut state, job);
        assert_eq!(state.step(invalid(job), at(6)), [prove(job)]);
        let effects = state.step(Event::Proved(key(job), proof()), at(7));
        assert!(matches!(ended(&effects)[..], [WorkerEvent::Proved { .. }]));
        let why = farewell(&effects);
        assert_eq!(why.is_some_and(|why| why.contains("PM-WORKER-050")), job == 3, "{effects:?}");
    }
}

#[test]
fn an_attempt_that_crashes_the_device_twice_fails_as_infrastructure() {
    let mut state = worker_on("cuda");
    proving(&mut state, 1);
    assert_eq!(state.step(crash(1), at(6)), [prove(1)], "in a new child");
    let effects = state.step(crash(1), at(7));
    let [WorkerEvent::Failed { kind: FailureKind::Infrastructure, message, .. }] = ended(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(message, "signal 9");
}

#[test]
fn a_card_that_fails_three_times_in_a_row_rests_and_gets_another_chance() {
    let mut state = worker_on("cuda");
    proving(&mut state, 1);
    state.step(crash(1), at(6));
    state.step(crash(1), at(7));
    proving(&mut state, 2);
    state.step(received(3), at(8));
    state.step(Event::Prepared(key(3)), at(9));
    let effects = state.step(crash(2), at(10));
    let reasons: Vec<&str> = ended(&effects)
        .into_iter()
        .map(|event| match event {
            WorkerEvent::HandedBack { message, .. } => message.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(reasons.len() == 2 && reasons.iter().all(|why| why.contains("PM-WORKER-052")), "{reasons:?}");
    let effects = state.step(received(4), Duration::from_millis(29_999));
    assert!(
        matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]),
        "20 seconds of rest: {effects:?}"
    );
    // One more failure is enough to rest again, and one proof to be well.
    proving_from(30, &mut state, 5);
    let effects = state.step(crash(5), at(36));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]), "{effects:?}");
    assert!(state.sick(at(55)).is_some() && state.sick(at(56)).is_none());
    proving_from(60, &mut state, 6);
    state.step(Event::Proved(key(6), proof()), at(66));
    proving_from(70, &mut state, 7);
    assert_eq!(state.step(crash(7), at(76)), [prove(7)]);
}

#[test]
fn a_sick_card_finishes_its_proof_and_hands_back_what_comes_until_it_is_well() {
    let mut state = worker_on("cuda");
    proving(&mut state, 1);
    state.step(received(2), at(6));
    let effects = state.step(Event::Condition(Condition::Sick("too hot".into())), at(7));
    let [WorkerEvent::HandedBack { job: JobId(2), message, .. }] = ended(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(message, "too hot");
    state.step(Event::PrepareFailed(key(2), FailureKind::Input, "late".into()), at(7));
    let effects = state.step(Event::Proved(key(1), proof()), at(8));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::Proved { .. }]));
    let effects = state.step(received(3), at(9999));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]), "{effects:?}");
    assert_eq!(news(state.step(Event::Condition(Condition::Well), at(10_000))), []);
    proving_from(10_000, &mut state, 4);
}

#[test]
fn an_idle_worker_leaves_at_once() {
    let mut state = worker();
    let effects = state.step(Event::Drain, at(1));
    assert!(
        matches!(effects[..], [Effect::Emit(WorkerEvent::Left { .. }), Effect::Finish(None)]),
        "{effects:?}"
    );
}

#[test]
fn a_draining_worker_finishes_its_proof_within_its_time() {
    let mut state = worker();
    proving(&mut state, 1);
    let mut slow = state.clone();
    state.step(Event::Drain, at(7));
    let effects = state.step(Event::Proved(key(1), proof()), at(8));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::Proved { .. }]));

    slow.step(Event::Drain, at(7));
    assert_eq!(news(slow.step(Event::Tick, at(36))), []);
    let effects = slow.step(Event::Tick, at(37));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]));
    assert_eq!(effects.last(), Some(&Effect::Finish(None)));
}
