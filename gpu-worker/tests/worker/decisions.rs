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
    WorkerEvent, WorkerId,
};

const RULES: Rules = Rules {
    grant_wait: Duration::from_secs(60),
    claim_backoff: Duration::from_secs(1),
    drain: Duration::from_secs(30),
    rest: Duration::from_secs(20),
    memory: 1000,
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id() -> WorkerId {
    WorkerId::new("w").unwrap()
}

/// A worker that has started and looks for work.
fn worker() -> State {
    worker_on("cpu")
}

fn worker_on(backend: &str) -> State {
    worker_with(backend, &[Shape::S3M1])
}

fn worker_with(backend: &str, shapes: &[Shape]) -> State {
    let support = |shape: &Shape| CircuitSupport { shape: *shape, digest: [1; 32], verifying_key: [2; 32] };
    let circuits = shapes.iter().map(support).collect();
    let registration = Registration { backend: backend.into(), version: "1".into(), memory: 1000, circuits };
    let mut state = State::new(id(), RULES, registration);
    let effects = state.step(Event::Started, at(0));
    assert!(
        matches!(effects[..], [Effect::Emit(WorkerEvent::Register { .. }), Effect::Claim]),
        "{effects:?}"
    );
    state
}

fn entry(job: u64) -> JobEntry {
    JobEntry {
        job: JobId(job),
        attempt: Attempt(1),
        shape: Shape::S3M1,
        circuit_digest: [1; 32],
        input_hash: [0; 32],
        excluded: Vec::new(),
    }
}

fn key(job: u64) -> (JobId, Attempt) {
    (JobId(job), Attempt(1))
}

fn claimed(job: u64) -> Event {
    Event::Claimed { entry: Some(entry(job)), memory_used: 100 }
}

fn grant(job: u64) -> Event {
    Event::Control(Control::Grant { job: JobId(job), attempt: Attempt(1) })
}

fn cancel(job: u64) -> Event {
    Event::Control(Control::Cancel { job: JobId(job), attempt: Attempt(1) })
}

fn prove(job: u64) -> Effect {
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

fn proof() -> Box<Proof> {
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
fn proving(state: &mut State, job: u64) {
    proving_from(0, state, job);
}

/// As `proving`, so many seconds later.
fn proving_from(start: u64, state: &mut State, job: u64) {
    state.step(claimed(job), at(start + 1));
    assert_eq!(state.step(grant(job), at(start + 2)), [Effect::Prepare(entry(job))]);
    state.step(Event::Fetched(key(job)), at(start + 3));
    assert_eq!(
        state.step(Event::Prepared(key(job)), at(start + 5)),
        [prove(job), Effect::Peek],
        "the next entry is taken, if it is there, while the backend proves"
    );
}

fn ended(effects: &[Effect]) -> Vec<&WorkerEvent> {
    let events =
        effects.iter().filter_map(|effect| if let Effect::Emit(event) = effect { Some(event) } else { None });
    events.filter(|event| event.ends().is_some()).collect()
}

#[test]
fn an_attempt_is_timed_from_its_claim_to_its_proof() {
    let mut state = worker();
    proving(&mut state, 1);
    let effects = state.step(Event::Proved(key(1), proof()), at(11));
    let [WorkerEvent::Proved { timings, .. }] = ended(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(
        (timings.queue_wait, timings.fetch, timings.witness, timings.total),
        (at(1), at(1), at(2), at(10))
    );
    assert!(effects.contains(&Effect::Forget(key(1))));
}

#[test]
fn nothing_is_prepared_without_a_grant() {
    let mut state = worker();
    let effects = state.step(claimed(1), at(1));
    assert!(matches!(effects[..], [Effect::Emit(WorkerEvent::Claimed { .. })]), "{effects:?}");
    assert_eq!(state.step(grant(2), at(2)), [], "a grant of something else");
    assert_eq!(state.step(Event::Tick, at(60)), []);
    let effects = state.step(Event::Tick, at(61));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]), "{effects:?}");
    assert_eq!(effects.last(), Some(&Effect::Claim));
}

#[test]
fn at_most_two_attempts_are_held() {
    let mut state = worker();
    proving(&mut state, 1);
    state.step(claimed(2), at(6));
    state.step(grant(2), at(6));
    let effects = state.step(Event::Prepared(key(2)), at(7));
    assert_eq!(
        effects,
        [Effect::Stage(key(2), Shape::S3M1)],
        "the backend is busy: the witness moves ahead, and nothing more is claimed"
    );
    assert_eq!(
        state.holds().iter().map(|hold| hold.stage).collect::<Vec<_>>(),
        [Stage::Proving, Stage::Ready]
    );
    let effects = state.step(Event::Proved(key(1), proof()), at(8));
    assert!(effects.contains(&prove(2)) && effects.contains(&Effect::Peek));
}

#[test]
fn a_busy_worker_leaves_what_comes_to_idle_ones_for_a_while() {
    let mut state = worker();
    proving(&mut state, 1);
    let nothing = || Event::Claimed { entry: None, memory_used: 0 };
    assert_eq!(state.step(nothing(), at(6)), [], "no second look at once");
    assert_eq!(state.step(Event::Tick, at(7)), [Effect::Peek]);
    let effects = state.step(Event::Proved(key(1), proof()), at(7));
    assert!(!effects.contains(&Effect::Claim), "one look at a time");
    assert_eq!(state.step(nothing(), at(7)), [Effect::Claim], "an idle worker waits at the queue again");
}

#[test]
fn a_worker_introduces_itself_again_when_asked_and_keeps_what_it_holds() {
    let mut state = worker();
    proving(&mut state, 1);
    let effects = state.step(Event::Control(Control::Introduce), at(6));
    assert!(matches!(effects[..], [Effect::Emit(WorkerEvent::Register { fresh: false, .. })]), "{effects:?}");
    assert_eq!(state.holds().len(), 1);
}

#[test]
fn an_operator_drains_a_worker_as_a_signal_does() {
    let mut state = worker();
    proving(&mut state, 1);
    state.step(claimed(2), at(6));
    let effects = state.step(Event::Control(Control::Drain), at(7));
    let [WorkerEvent::HandedBack { job, .. }] = ended(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(*job, JobId(2));
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
    assert!(matches!(&effects[..], [Effect::GiveUp(Shape::S3M1, _)]), "{effects:?}");
    // The claim under way comes back first.
    let effects = state.step(claimed(1), at(2));
    let Some(Effect::Finish(Some(why))) = effects.last() else { panic!("{effects:?}") };
    assert!(
        why.contains("PM-WORKER-013") && why.contains(&"02".repeat(32)) && why.contains(&"03".repeat(32)),
        "{why}"
    );
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Emit(WorkerEvent::HandedBack { .. }))));
    assert!(
        effects.iter().any(
            |effect| matches!(effect, Effect::Emit(WorkerEvent::Left { message, .. }) if message == why)
        )
    );
}

#[test]
fn a_worker_with_one_wrong_key_of_two_gives_up_that_circuit_only() {
    let mut state = worker_with("cpu", &[Shape::S3M1, Shape::S14M2]);
    state.step(claimed(1), at(1));
    state.step(grant(1), at(1));
    let effects = state.step(refuse(Shape::S3M1), at(2));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::GiveUp(Shape::S3M1, _))), "{effects:?}");
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]), "{effects:?}");
    assert!(
        !state.step(refuse(Shape::S3M1), at(2)).iter().any(|effect| matches!(effect, Effect::GiveUp(..))),
        "once"
    );
    let other = JobEntry { shape: Shape::S14M2, ..entry(2) };
    let effects = state.step(Event::Claimed { entry: Some(other), memory_used: 100 }, at(3));
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Emit(WorkerEvent::Claimed { .. }))),
        "{effects:?}"
    );
    let effects = state.step(claimed(3), at(4));
    let [WorkerEvent::Failed { kind: FailureKind::Infrastructure, message, .. }] = ended(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert!(message.contains("PM-WORKER-013"), "{message}");
}

#[test]
fn a_cancelled_proof_keeps_the_backend_busy_until_it_stops() {
    let mut state = worker();
    proving(&mut state, 1);
    state.step(claimed(2), at(6));
    state.step(grant(2), at(6));
    state.step(Event::Prepared(key(2)), at(7));
    let effects = state.step(cancel(1), at(8));
    assert!(effects.contains(&Effect::Forget(key(1))));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]));
    assert!(!effects.contains(&prove(2)));
    let effects = state.step(Event::ProveFailed(key(1), ProveFailure::Cancelled), at(9));
    assert!(effects.contains(&prove(2)));
    assert!(ended(&effects).is_empty(), "an attempt ends once");
}

#[test]
fn a_proof_that_finished_although_it_was_cancelled_is_dropped() {
    let mut state = worker();
    proving(&mut state, 1);
    state.step(cancel(1), at(6));
    assert!(ended(&state.step(Event::Proved(key(1), proof()), at(7))).is_empty());
    assert_eq!(state.step(cancel(1), at(8)), [], "cancelling twice changes nothing");
}

#[test]
fn a_witness_that_comes_after_its_cancellation_is_dropped() {
    let mut state = worker();
    state.step(claimed(1), at(1));
    state.step(grant(1), at(2));
    state.step(cancel(1), at(3));
    assert_eq!(state.step(Event::Prepared(key(1)), at(4)), [Effect::Forget(key(1))]);
    assert!(state.holds().is_empty());
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
        let effects = state.step(Event::Claimed { entry: Some(entry), memory_used }, at(1));
        let [WorkerEvent::Failed { kind: FailureKind::Infrastructure, message, .. }] = ended(&effects)[..]
        else {
            panic!("{effects:?}")
        };
        assert!(message.starts_with(code), "{message}");
        assert_eq!(effects.last(), Some(&Effect::Claim), "it goes on");
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
fn farewell(effects: &[Effect]) -> Option<&str> {
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
    state.step(claimed(2), at(6));
    state.step(grant(2), at(6));
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
        state.step(Event::Claimed { entry: None, memory_used: 0 }, at(9));
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
        state.step(Event::Claimed { entry: None, memory_used: 0 }, at(5));
        state.step(Event::Claimed { entry: None, memory_used: 0 }, at(6));
        assert_eq!(state.step(invalid(job), at(6)), [prove(job)]);
        let effects = state.step(Event::Proved(key(job), proof()), at(7));
        assert!(matches!(ended(&effects)[..], [WorkerEvent::Proved { .. }]));
        // No look into the queue is under way: it leaves at once.
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
    state.step(Event::Claimed { entry: None, memory_used: 0 }, at(7));
    proving(&mut state, 2);
    state.step(claimed(3), at(8));
    state.step(grant(3), at(8));
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
    assert_eq!(state.step(Event::Tick, at(29)), [], "20 seconds of rest");
    assert_eq!(state.step(Event::Tick, at(30)), [Effect::Claim]);
    // One more failure is enough to rest again, and one proof to be well.
    proving_from(30, &mut state, 4);
    let effects = state.step(crash(4), at(36));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]), "{effects:?}");
    let effects = state.step(claimed(5), at(37));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]), "a claim that was under way");
    assert_eq!(state.step(Event::Tick, at(56)), [Effect::Claim]);
    proving_from(60, &mut state, 6);
    state.step(Event::Proved(key(6), proof()), at(66));
    state.step(Event::Claimed { entry: None, memory_used: 0 }, at(67));
    proving_from(70, &mut state, 7);
    assert_eq!(state.step(crash(7), at(76)), [prove(7)]);
}

#[test]
fn a_sick_card_finishes_its_proof_and_claims_nothing_until_it_is_well() {
    let mut state = worker_on("cuda");
    proving(&mut state, 1);
    state.step(claimed(2), at(6));
    let effects = state.step(Event::Condition(Condition::Sick("too hot".into())), at(7));
    let [WorkerEvent::HandedBack { job: JobId(2), message, .. }] = ended(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(message, "too hot");
    let effects = state.step(Event::Proved(key(1), proof()), at(8));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::Proved { .. }]));
    assert!(!effects.contains(&Effect::Claim));
    assert_eq!(state.step(Event::Tick, at(9999)), []);
    assert_eq!(state.step(Event::Condition(Condition::Well), at(10_000)), [Effect::Claim]);
}

#[test]
fn a_queue_that_cannot_be_reached_is_asked_again_after_a_pause() {
    let mut state = worker();
    assert_eq!(state.step(Event::ClaimFailed, at(5)), []);
    assert_eq!(state.step(Event::Tick, Duration::from_millis(5999)), []);
    assert_eq!(state.step(Event::Tick, at(6)), [Effect::Claim]);
    assert_eq!(state.step(Event::Tick, at(7)), [], "one claim at a time");
}

#[test]
fn an_idle_worker_leaves_when_its_last_look_into_the_queue_ends() {
    let mut state = worker();
    assert_eq!(state.step(Event::Drain, at(1)), []);
    let effects = state.step(claimed(1), at(2));
    assert!(
        matches!(
            effects[..],
            [
                Effect::Emit(WorkerEvent::HandedBack { .. }),
                Effect::Emit(WorkerEvent::Left { .. }),
                Effect::Finish(None)
            ]
        ),
        "{effects:?}"
    );
}

#[test]
fn a_draining_worker_finishes_its_proof_within_its_time() {
    let mut state = worker();
    proving(&mut state, 1);
    state.step(Event::Claimed { entry: None, memory_used: 0 }, at(6));
    let mut slow = state.clone();
    state.step(Event::Claimed { entry: None, memory_used: 0 }, at(6));
    state.step(Event::Drain, at(7));
    let effects = state.step(Event::Proved(key(1), proof()), at(8));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::Proved { .. }]));

    slow.step(Event::Drain, at(7));
    assert_eq!(slow.step(Event::Tick, at(36)), []);
    let effects = slow.step(Event::Tick, at(37));
    assert!(matches!(ended(&effects)[..], [WorkerEvent::HandedBack { .. }]));
    assert_eq!(effects.last(), Some(&Effect::Finish(None)));
}
