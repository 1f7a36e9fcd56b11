//! What the worker says until it is answered, and what it makes of messages that come twice, late or not for it.

use std::time::Duration;

use circuits::shape::Shape;
use gpu_worker::state::{Effect, Event, State};
use wire::{Attempt, Control, JobEntry, JobId, WorkerEvent};

use super::decisions::{
    at, close, ended, entry, farewell, key, proof, prove, proving, received, stranger, worker,
};

/// Ticks ten times a second from there to there; the times at which it registers and at which it reads its directives again.
fn registrations(state: &mut State, from: u64, to: u64) -> (Vec<u64>, Vec<u64>) {
    let (mut registered, mut rewound) = (Vec::new(), Vec::new());
    for tenth in 10 * from + 1..=10 * to {
        for effect in state.step(Event::Tick, Duration::from_millis(100 * tenth)) {
            match effect {
                Effect::Emit(WorkerEvent::Register { .. }) => registered.push(tenth / 10),
                Effect::Rewind => rewound.push(tenth / 10),
                other => panic!("{other:?}"),
            }
        }
    }
    (registered, rewound)
}

fn said(control: Control) -> Event {
    Event::Control(control)
}

#[test]
fn a_registration_is_repeated_ever_slower_until_it_is_answered_and_the_directives_are_read_again() {
    let mut state = stranger("cpu", &[Shape::S3M1]);
    assert!(matches!(state.step(Event::Started, at(0))[..], [Effect::Emit(WorkerEvent::Register { .. })]));
    let (registered, rewound) = registrations(&mut state, 0, 30);
    assert_eq!(registered, [1, 3, 6, 10, 15, 20, 25, 30]);
    assert_eq!(rewound, [6, 10, 15, 20, 25, 30], "from the fourth on: three were not answered");
    assert_eq!(state.step(said(Control::Registered), at(30)), []);
    assert_eq!(registrations(&mut state, 30, 44), (Vec::new(), Vec::new()));
}

#[test]
fn a_worker_that_hears_nothing_registers_again_and_any_directive_is_a_sign_of_life() {
    let mut state = worker();
    assert_eq!(registrations(&mut state, 0, 16), (vec![15, 16], Vec::new()));
    assert_eq!(state.step(said(Control::Registered), at(16)), []);
    state.step(close(9), at(30));
    assert_eq!(registrations(&mut state, 30, 44), (Vec::new(), Vec::new()));
    // The coordinator is gone for good: the stream may be another one.
    assert_eq!(registrations(&mut state, 44, 52), (vec![45, 46, 48, 51], vec![51]));
}

#[test]
fn a_worker_that_is_not_known_any_more_registers_at_once_with_what_it_holds() {
    let mut state = worker();
    proving(&mut state, 1);
    let effects = state.step(said(Control::Reregister), at(6));
    let [Effect::Emit(WorkerEvent::Register { in_flight, registration })] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(in_flight.iter().map(|held| held.job).collect::<Vec<_>>(), [JobId(1)]);
    assert_eq!(registration.slots, 2);
    assert_eq!(registrations(&mut state, 6, 9).0, [7, 9], "until it is answered");
}

#[test]
fn an_end_is_said_again_until_it_is_closed() {
    let mut state = worker();
    proving(&mut state, 1);
    let effects = state.step(Event::Proved(key(1), proof()), at(6));
    let [end] = ended(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(state.step(Event::Tick, at(8)), []);
    for seconds in [9, 12] {
        assert_eq!(state.step(Event::Tick, at(seconds)), [Effect::Emit(end.clone())]);
    }
    // Of another attempt: not this one.
    let other = Control::Close { job: JobId(1), attempt: Attempt(2) };
    state.step(said(other), at(13));
    assert_eq!(state.step(Event::Tick, at(15)), [Effect::Emit(end.clone())]);
    assert_eq!(state.step(close(1), at(16)), []);
    assert_eq!(state.step(Event::Tick, at(19)), []);
}

#[test]
fn a_job_that_comes_twice_is_proved_once() {
    let mut state = worker();
    assert_eq!(state.step(received(1), at(1)), [Effect::Prepare(entry(1))]);
    assert_eq!(state.step(received(1), at(1)), []);
    assert_eq!(state.step(Event::Prepared(key(1)), at(2)), [prove(1)]);
    assert_eq!(state.step(received(1), at(3)), []);
    assert_eq!(state.in_flight().len(), 1);
}

#[test]
fn a_job_that_ended_is_answered_with_its_end() {
    let mut state = worker();
    proving(&mut state, 1);
    let effects = state.step(Event::Proved(key(1), proof()), at(6));
    let [end] = ended(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(state.step(received(1), at(7)), [Effect::Emit(end.clone())]);
    assert_eq!(state.step(Event::Tick, at(9)), [], "it was said again a moment ago");
    assert_eq!(state.step(Event::Tick, at(10)), [Effect::Emit(end.clone())]);
    // Another attempt of the job is another one.
    let again = JobEntry { attempt: Attempt(2), ..entry(1) };
    let effects = state.step(Event::Job { entry: again.clone(), memory_used: 0 }, at(11));
    assert_eq!(effects, [Effect::Prepare(again)]);
}

#[test]
fn what_is_said_again_is_bounded() {
    let mut state = worker();
    for job in 1..=200 {
        let wrong = JobEntry { circuit_digest: [9; 32], ..entry(job) };
        let effects = state.step(Event::Job { entry: wrong, memory_used: 0 }, at(1));
        assert!(matches!(ended(&effects)[..], [WorkerEvent::Failed { .. }]));
    }
    let effects = state.step(Event::Tick, at(4));
    let jobs: Vec<u64> = ended(&effects).iter().map(|event| event.ends().unwrap().0.0).collect();
    assert_eq!(jobs, (137..=200).collect::<Vec<_>>(), "the oldest give way");
}

#[test]
fn a_worker_whose_name_is_taken_leaves_and_says_what_to_do() {
    let mut idle = worker();
    let effects = idle.step(said(Control::NameTaken), at(1));
    assert!(farewell(&effects).is_some_and(|why| why.contains("PM-WORKER-014")), "{effects:?}");

    let mut busy = worker();
    proving(&mut busy, 1);
    busy.step(received(2), at(6));
    busy.step(Event::Prepared(key(2)), at(6));
    let effects = busy.step(said(Control::NameTaken), at(7));
    let [WorkerEvent::HandedBack { job: JobId(2), .. }] = ended(&effects)[..] else { panic!("{effects:?}") };
    let effects = busy.step(Event::Proved(key(1), proof()), at(8));
    assert!(farewell(&effects).is_some_and(|why| why.contains("PM-WORKER-014")), "{effects:?}");
}
