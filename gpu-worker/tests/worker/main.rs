//! A worker on the in-process queue, with the real `s3m1` circuit and a development key.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod batches;
mod contact;
mod decisions;
mod farm;
mod metrics_of;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use batches::Ledger;
use circuits::{batch::Prepared, shape::Shape};
use farm::{Behaviour, Farm, FaultyBackend, PROCESS, circuit, worker_id};
use gpu_worker::{
    LoadError, Worker, WorkerError,
    card::{Condition, Monitor, Settings},
};
use prover::{CpuBackend, PreparedVerifyingKey, verify};
use testbed::nvml::Fake;
use wire::{
    Attempt, Control, FailureKind, JobEntry, JobId, ProcessId, Stage, WorkerEvent,
    job::{encode_batch_input, input_hash},
};

/// Sends the batch and checks the proof that comes.
async fn prove_batch(farm: &Farm, input: circuits::batch::BatchInput) {
    let expected = Prepared::new(input.clone()).unwrap().public_inputs();
    let entry = farm.send(&input).await;
    let event = farm.end_of(&entry).await;
    let WorkerEvent::Proved { proof, timings, .. } = event else { panic!("{event:?}") };
    let key = PreparedVerifyingKey::new(circuit().key.verifying_key()).unwrap();
    verify(&key, &prover::Proof::from_bytes(&proof.0).unwrap(), &expected).unwrap();
    for (stage, time) in
        [("witness", timings.witness), ("sparse", timings.sparse), ("ntt", timings.ntt), ("msm", timings.msm)]
    {
        assert!(
            time > Duration::ZERO && time < timings.total,
            "{stage} took {time:?} of {:?}",
            timings.total
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_with_and_without_operations_are_proved() {
    let farm = Farm::start(Arc::new(CpuBackend::new())).await;
    let mut ledger = Ledger::new();
    prove_batch(&farm, ledger.empty()).await;
    prove_batch(&farm, ledger.mint()).await;
    prove_batch(&farm, ledger.send_withdraw_exit()).await;
    farm.stop().await;
}

#[tokio::test]
async fn a_worker_says_what_it_is_before_anything_else() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    let event = farm.next().await;
    let WorkerEvent::Register { registration, .. } = event else { panic!("{event:?}") };
    assert_eq!(registration.backend, "faulty");
    assert_eq!(registration.circuits, [circuit().support()]);
    assert!(registration.memory > 0);
    farm.stop().await;
}

#[tokio::test]
async fn a_job_for_another_circuit_version_is_refused() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    let bytes = encode_batch_input(&Ledger::new().empty()).unwrap();
    let entry = JobEntry { circuit_digest: [9; 32], ..farm.entry(JobId(1), &bytes) };
    farm.send_bytes(&entry, &bytes).await;
    farm.expect_failure(&entry, FailureKind::Infrastructure, "PM-WORKER-011").await;
    farm.stop().await;
}

#[tokio::test]
async fn damaged_inputs_are_refused_with_the_reason() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    let mut ledger = Ledger::new();
    ledger.mint();
    let good = ledger.send_withdraw_exit();
    let bytes = encode_batch_input(&good).unwrap();

    let mut flipped = bytes.clone();
    flipped[100] ^= 1;
    let mut forged = good.clone();
    let circuits::slot::SlotInput::Signed(spend) = &mut forged.slots[0].input else {
        panic!("slot 0 is signed")
    };
    spend.signature.s += bn254::Fr::from(1);
    let mut wrong_path = good.clone();
    wrong_path.slots[0].siblings[3][1] += bn254::Fr::from(1);
    let mut other_batch = good.clone();
    other_batch.batch_no += 1;
    let mut future_version = bytes.clone();
    future_version[3] += 1;

    let input = FailureKind::Input;
    let cases = [
        (flipped, input_hash(&bytes), input, "PM-WORKER-020"),
        (bytes[..bytes.len() - 1].to_vec(), input_hash(&bytes[..bytes.len() - 1]), input, "PM-WIRE-004"),
        (future_version.clone(), input_hash(&future_version), FailureKind::Infrastructure, "PM-WIRE-002"),
        with_hash(&forged, input, "PM-EDDSA-005"),
        with_hash(&wrong_path, input, "PM-BATCH-005"),
        with_hash(&other_batch, input, "PM-WORKER-022"),
    ];
    for (attempt, (bytes, hash, kind, code)) in (1..).zip(cases) {
        let job = JobId::of_batch(good.batch_no);
        let entry = JobEntry { input_hash: hash, attempt: Attempt(attempt), ..farm.entry(job, &bytes) };
        farm.send_bytes(&entry, &bytes).await;
        farm.expect_failure(&entry, kind, code).await;
    }
    farm.stop().await;
}

fn with_hash(
    input: &circuits::batch::BatchInput,
    kind: FailureKind,
    code: &'static str,
) -> (Vec<u8>, [u8; 32], FailureKind, &'static str) {
    let bytes = encode_batch_input(input).unwrap();
    let hash = input_hash(&bytes);
    (bytes, hash, kind, code)
}

#[tokio::test]
async fn a_backend_that_panics_costs_the_attempt_and_not_the_worker() {
    let backend = FaultyBackend::new(Behaviour::Panic);
    let farm = Farm::start(backend.clone()).await;
    let entry = farm.send(&Ledger::new().empty()).await;
    farm.expect_failure(&entry, FailureKind::Infrastructure, "the device is on fire").await;

    backend.now(Behaviour::Cpu);
    prove_batch(&farm, Ledger::new().empty_number(2)).await;
    farm.stop().await;
}

#[tokio::test]
async fn one_invalid_proof_is_made_again() {
    let backend = FaultyBackend::new(Behaviour::WrongOnce);
    let farm = Farm::start(backend.clone()).await;
    prove_batch(&farm, Ledger::new().empty()).await;
    assert_eq!(backend.proofs(), 2);
    farm.stop().await;
}

#[tokio::test]
async fn what_the_card_gets_wrong_twice_the_processor_proves_and_the_worker_leaves_with_the_reason() {
    let counted = metrics_of::INVALID_PROOFS.load(Ordering::SeqCst);
    metrics_of::install();
    let backend = FaultyBackend::new(Behaviour::Wrong);
    let farm = Farm::start(backend.clone()).await;
    prove_batch(&farm, Ledger::new().empty()).await;
    assert_eq!(backend.proofs(), 2, "no third time on the card");
    assert!(metrics_of::INVALID_PROOFS.load(Ordering::SeqCst) >= counted + 2);
    let message = farm.until_left().await;
    assert!(message.contains("PM-WORKER-051"), "{message}");
    let error = farm.result().await.unwrap_err();
    assert!(error.to_string().contains(&message), "{error}");
}

#[tokio::test]
async fn a_card_that_gets_one_proof_in_two_wrong_proves_all_jobs_until_it_is_suspect() {
    let backend = FaultyBackend::new(Behaviour::WrongEvery(2));
    let farm = Farm::start(backend.clone()).await;
    for batch_no in 1..=4 {
        prove_batch(&farm, Ledger::new().empty_number(batch_no)).await;
    }
    assert_eq!(backend.proofs(), 7, "one more for each of three wrong ones");
    assert!(farm.until_left().await.contains("PM-WORKER-050"));
    assert!(farm.result().await.is_err());
}

#[tokio::test]
async fn a_device_that_fails_once_is_tried_again_and_one_that_fails_twice_fails_the_attempt() {
    let backend = FaultyBackend::new(Behaviour::DeviceFailsOnce);
    let farm = Farm::start(backend.clone()).await;
    prove_batch(&farm, Ledger::new().empty()).await;
    assert_eq!(backend.proofs(), 2);
    backend.now(Behaviour::DeviceFails);
    let entry = farm.send(&Ledger::new().empty_number(2)).await;
    farm.expect_failure(&entry, FailureKind::Infrastructure, "out of memory").await;
    backend.now(Behaviour::Cpu);
    prove_batch(&farm, Ledger::new().empty_number(3)).await;
    farm.stop().await;
}

#[tokio::test]
async fn a_worker_whose_card_is_called_sick_hands_back_what_comes_until_it_is_called_well() {
    let (say, card) = tokio::sync::watch::channel(Condition::Well);
    let farm = Farm::with(FaultyBackend::new(Behaviour::Wait), |config| config.condition = Some(card)).await;
    let first = farm.send(&Ledger::new().empty()).await;
    let second = farm.send(&Ledger::new().empty_number(2)).await;
    farm.until_held(&[(first.job, Stage::Proving), (second.job, Stage::Ready)]).await;
    say.send(Condition::Sick("too hot".into())).unwrap();
    let event = farm.end_of(&second).await;
    assert!(matches!(&event, WorkerEvent::HandedBack { message, .. } if message == "too hot"), "{event:?}");
    farm.until_held(&[(first.job, Stage::Proving)]).await;
    let again = JobEntry { attempt: Attempt(2), ..second };
    let bytes = encode_batch_input(&Ledger::new().empty_number(2)).unwrap();
    farm.send_bytes(&again, &bytes).await;
    assert!(matches!(farm.end_of(&again).await, WorkerEvent::HandedBack { .. }));
    say.send(Condition::Well).unwrap();
    let well = |event: &WorkerEvent| matches!(event, WorkerEvent::Heartbeat { card: None, .. });
    farm.find("a heartbeat without a sick card", well).await;
    farm.send_bytes(&JobEntry { attempt: Attempt(3), ..again.clone() }, &bytes).await;
    farm.until_held(&[(first.job, Stage::Proving), (again.job, Stage::Ready)]).await;
    farm.control(Control::Close { job: again.job, attempt: Attempt(3) }).await;
    farm.stop().await;
}

#[tokio::test]
async fn a_watched_card_shows_in_heartbeats_and_its_energy_in_reports() {
    let fake = Fake::new();
    fake.add(0);
    let settings =
        Settings { library: Some(fake.library()), every: Duration::from_millis(10), ..Settings::default() };
    let monitor = Monitor::start(worker_id(), settings).unwrap();
    let backend = FaultyBackend::new(Behaviour::Wait);
    let farm = Farm::with(backend.clone(), |config| *config = config.clone().watching(monitor.card())).await;
    let entry = farm.send(&Ledger::new().empty()).await;
    farm.until_held(&[(entry.job, Stage::Proving)]).await;
    fake.card(0, &[("energy", "5007500")]);
    backend.now(Behaviour::Cpu);
    let event = farm.end_of(&entry).await;
    let WorkerEvent::Proved { timings, .. } = event else { panic!("{event:?}") };
    assert_eq!(timings.energy_millijoules, Some(7500));
    let name = farm.until_card(|card| card.sick.is_none()).await.name;
    assert_eq!(name.as_deref(), Some("NVIDIA H200"));
    fake.card(0, &[("uncorrected", "3")]);
    let sick = farm.until_card(|card| card.sick.is_some()).await.sick.unwrap();
    assert!(sick.contains("PM-CARD"), "{sick}");
    farm.stop().await;
}

#[tokio::test]
async fn a_card_that_the_worker_itself_finds_sick_shows_in_heartbeats() {
    let backend = FaultyBackend::new(Behaviour::DeviceFails);
    let farm = Farm::start(backend.clone()).await;
    // Each attempt is tried twice, and three failures in a row are too many.
    for number in [1, 2] {
        farm.send(&Ledger::new().empty_number(number)).await;
    }
    let sick = farm.until_card(|card| card.sick.is_some()).await.sick.unwrap();
    assert!(sick.contains("PM-WORKER-052"), "{sick}");
    farm.stop().await;
}

#[tokio::test]
async fn the_next_witness_moves_to_the_device_while_it_proves() {
    let backend = FaultyBackend::new(Behaviour::Wait);
    let farm = Farm::start(backend.clone()).await;
    let first = farm.send(&Ledger::new().empty()).await;
    let second = farm.send(&Ledger::new().empty_number(2)).await;
    farm.until_held(&[(first.job, Stage::Proving), (second.job, Stage::Ready)]).await;
    while backend.staged() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(backend.proofs(), 1, "the first one is still proved");
    backend.now(Behaviour::Cpu);
    assert!(matches!(farm.end_of(&first).await, WorkerEvent::Proved { .. }));
    assert!(matches!(farm.end_of(&second).await, WorkerEvent::Proved { .. }));
    assert_eq!((backend.staged(), backend.proofs()), (1, 2));
    farm.stop().await;
}

#[tokio::test]
async fn the_next_witness_is_made_while_the_backend_proves_and_heartbeats_show_it() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    let first = farm.send(&Ledger::new().empty()).await;
    let second = farm.send(&Ledger::new().empty_number(2)).await;
    farm.until_held(&[(first.job, Stage::Proving), (second.job, Stage::Ready)]).await;
    farm.stop().await;
}

#[tokio::test]
async fn a_closed_proof_stops_and_the_next_one_starts() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    let first = farm.send(&Ledger::new().empty()).await;
    let second = farm.send(&Ledger::new().empty_number(2)).await;
    farm.until_held(&[(first.job, Stage::Proving), (second.job, Stage::Ready)]).await;
    farm.close(&first).await;
    farm.until_held(&[(second.job, Stage::Proving)]).await;
    farm.stop().await;
}

#[tokio::test]
async fn a_third_job_is_handed_back() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    let first = farm.send(&Ledger::new().empty()).await;
    let second = farm.send(&Ledger::new().empty_number(2)).await;
    let third = farm.send(&Ledger::new().empty_number(3)).await;
    assert!(matches!(farm.end_of(&third).await, WorkerEvent::HandedBack { .. }));
    farm.until_held(&[(first.job, Stage::Proving), (second.job, Stage::Ready)]).await;
    farm.stop().await;
}

#[tokio::test]
async fn a_job_that_is_sent_twice_is_proved_once_and_its_end_is_said_until_it_is_closed() {
    let backend = FaultyBackend::new(Behaviour::Wait);
    let farm = Farm::start(backend.clone()).await;
    let batch = Ledger::new().empty();
    let entry = farm.send(&batch).await;
    farm.send(&batch).await;
    farm.until_held(&[(entry.job, Stage::Proving)]).await;
    farm.send(&batch).await;
    backend.now(Behaviour::Cpu);
    let is_end = |event: &WorkerEvent| event.ends() == Some((entry.job, entry.attempt));
    let end = farm.find("the end", is_end).await;
    assert!(matches!(end, WorkerEvent::Proved { .. }), "{end:?}");
    // Nobody answered: it comes again by itself, and when the job is sent again.
    assert_eq!(farm.find("the end again", is_end).await, end);
    farm.send(&batch).await;
    assert_eq!(farm.find("the end again", is_end).await, end);
    farm.close(&entry).await;
    assert_eq!(backend.proofs(), 1);
    farm.stop().await;
}

#[tokio::test]
async fn directives_for_another_process_of_its_name_are_ignored() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    let entry = farm.send(&Ledger::new().empty()).await;
    farm.until_held(&[(entry.job, Stage::Proving)]).await;
    let close = Control::Close { job: entry.job, attempt: entry.attempt };
    for control in [close, Control::Drain, Control::NameTaken] {
        farm.control_of(ProcessId(8), control).await;
    }
    // What comes behind them is read.
    let second = farm.send(&Ledger::new().empty_number(2)).await;
    farm.until_held(&[(entry.job, Stage::Proving), (second.job, Stage::Ready)]).await;
    farm.stop().await;
}

#[tokio::test]
async fn a_worker_whose_name_is_taken_leaves_with_the_reason() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    farm.control(Control::NameTaken).await;
    let message = farm.until_left().await;
    assert!(message.contains("PM-WORKER-014"), "{message}");
    assert!(farm.result().await.unwrap_err().to_string().contains(&message));
}

#[tokio::test]
async fn a_worker_that_the_coordinator_forgot_registers_again_with_what_it_holds() {
    let farm = Farm::start(FaultyBackend::new(Behaviour::Wait)).await;
    let entry = farm.send(&Ledger::new().empty()).await;
    farm.until_held(&[(entry.job, Stage::Proving)]).await;
    farm.control(Control::Reregister).await;
    let event = farm.find("a registration", |event| matches!(event, WorkerEvent::Register { .. })).await;
    let WorkerEvent::Register { in_flight, .. } = event else { panic!("{event:?}") };
    assert_eq!(
        in_flight.iter().map(|held| (held.job, held.stage)).collect::<Vec<_>>(),
        [(entry.job, Stage::Proving)]
    );
    farm.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_finishes_its_proof_and_gives_the_rest_back() {
    let backend = FaultyBackend::new(Behaviour::Wait);
    let farm = Farm::start(backend.clone()).await;
    let first = farm.send(&Ledger::new().empty()).await;
    let second = farm.send(&Ledger::new().empty_number(2)).await;
    farm.until_held(&[(first.job, Stage::Proving), (second.job, Stage::Ready)]).await;
    farm.shutdown();
    assert!(matches!(farm.end_of(&second).await, WorkerEvent::HandedBack { .. }));
    backend.now(Behaviour::Cpu);
    assert!(matches!(farm.end_of(&first).await, WorkerEvent::Proved { .. }));
    farm.until_left().await;
    farm.joined().await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_gives_a_proof_back_that_takes_too_long() {
    let farm = Farm::with(FaultyBackend::new(Behaviour::Wait), |config| config.drain = Duration::ZERO).await;
    let entry = farm.send(&Ledger::new().empty()).await;
    farm.until_held(&[(entry.job, Stage::Proving)]).await;
    farm.shutdown();
    assert!(matches!(farm.end_of(&entry).await, WorkerEvent::HandedBack { .. }));
    farm.until_left().await;
    farm.joined().await;
}

#[test]
fn a_worker_does_not_start_without_memory_or_with_a_foreign_key() {
    let queue = Arc::new(queue::memory::MemoryQueue::default().worker(worker_id(), PROCESS));
    let backend = || FaultyBackend::new(Behaviour::Wait);
    let mut config = farm::config();
    config.memory_limit = Some(1 << 20);
    let small = Worker::with_circuits(config, &[circuit().clone()], backend(), queue.clone());
    assert!(matches!(small.err(), Some(WorkerError::Load(LoadError::Memory { shape: Shape::S3M1, .. }))));

    let folder = tempfile::tempdir().unwrap();
    let mut config = farm::config();
    config.keys_dir = folder.path().to_owned();
    config.shapes = vec![Shape::S14M2];
    std::fs::copy(farm::key_file(), gpu_worker::key_path(folder.path(), Shape::S14M2)).unwrap();
    let foreign = Worker::new(config.clone(), backend(), queue.clone()).err().unwrap();
    assert!(foreign.to_string().contains("PM-KEY-007"), "{foreign}");
    config.shapes = vec![Shape::S3M1];
    let missing = Worker::new(config, backend(), queue.clone()).err().unwrap();
    assert!(missing.to_string().contains("s3m1.pmkey"), "{missing}");
    let none = Worker::with_circuits(farm::config(), &[], backend(), queue);
    assert!(matches!(none.err(), Some(WorkerError::NoCircuit)));
}
