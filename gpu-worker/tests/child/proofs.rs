//! Sound children: their proofs, what they take ahead, and what they refuse.

use std::{sync::Arc, thread};

use gpu_worker::child::{ChildBackend, serve};
use prover::{
    Backend, BackendError, Cancel, CpuBackend, DevTrapdoor, Key, NoProgress, ProveError, Prover, Witness,
    generate,
};

use crate::{
    Test,
    fixture::{Play, circuit, settings, witness},
};

pub const TESTS: &[Test] = crate::tests![
    proofs_of_a_child_verify_with_the_key_in_a_file_or_in_memory,
    a_child_says_which_device_it_has,
    the_next_witness_is_taken_while_a_proof_is_under_way,
    a_cancelled_proof_stops_and_the_child_lives_on,
    two_circuits_share_a_child_and_a_released_key_is_gone,
    what_a_library_prints_does_not_disturb,
    a_witness_of_another_shape_or_a_false_one_is_refused_by_its_own_name,
    a_key_that_was_replaced_on_disk_is_refused,
    frames_that_no_worker_sends_end_the_child,
];

fn proofs_of_a_child_verify_with_the_key_in_a_file_or_in_memory() {
    let play = Play::start("sound");
    (1..4).for_each(|x| play.proves(x));
    let file = play.folder.path().join("key");
    circuit().1.write(&file).unwrap();
    let key = Arc::new(Key::open(&file, None).unwrap());
    let backend = Arc::clone(&play.backend) as Arc<dyn Backend>;
    let from_file = Prover::new(backend, key, Arc::clone(&circuit().0)).unwrap();
    let staged = from_file.stage(Arc::new(witness(9))).unwrap();
    play.check(&from_file.prove_staged(staged, &Cancel::new()).unwrap(), 9);
    play.proves(10);
}

fn a_child_says_which_device_it_has() {
    assert_eq!(Play::start("sound").backend.device(), None);
    let device = Play::start("device").backend.device().unwrap();
    assert_eq!(
        (&*device.name, &*device.uuid, device.memory, &*device.versions),
        ("Toaster 9000", "GPU-1", 7, "1.2")
    );
}

fn the_next_witness_is_taken_while_a_proof_is_under_way() {
    let play = Play::start("wait");
    thread::scope(|scope| {
        let first = scope.spawn(|| play.prover.prove(&witness(2), &Cancel::new()));
        play.wait_for("proving");
        let next: Vec<_> = (3..6).map(|x| (x, play.prover.stage(Arc::new(witness(x))).unwrap())).collect();
        let places = next.iter().filter(|(_, staged)| staged.place.is_some()).count();
        assert_eq!(places, 1, "one is proved, one waits; a third place there is not");
        std::fs::write(play.folder.path().join("go"), "").unwrap();
        play.check(&first.join().unwrap().unwrap(), 2);
        for (x, staged) in next {
            play.check(&play.prover.prove_staged(staged, &Cancel::new()).unwrap(), x);
        }
    });
    // What was staged and never proved is forgotten: there is always room again.
    for _ in 0..10 {
        drop(play.prover.stage(Arc::new(witness(7))).unwrap());
    }
    play.proves(8);
}

fn a_cancelled_proof_stops_and_the_child_lives_on() {
    let play = Play::start("wait");
    let (process, cancel) = (play.backend.process(), Cancel::new());
    thread::scope(|scope| {
        let proof = scope.spawn(|| play.prover.prove(&witness(2), &cancel));
        play.wait_for("proving");
        cancel.cancel();
        assert_eq!(proof.join().unwrap().unwrap_err(), BackendError::Cancelled.into());
    });
    std::fs::write(play.folder.path().join("go"), "").unwrap();
    play.proves(3);
    assert_eq!(play.backend.process(), process);
}

fn two_circuits_share_a_child_and_a_released_key_is_gone() {
    let play = Play::start("sound");
    let key = Arc::new(Key::from_parts(&circuit().1).unwrap());
    let id = play.backend.prepare(Arc::clone(&key), Arc::clone(&circuit().0)).unwrap();
    play.backend.prove(id, &witness(3), &Cancel::new()).unwrap();
    play.backend.release(id);
    let gone = play.backend.prove(id, &witness(3), &Cancel::new()).unwrap_err();
    assert_eq!(gone, BackendError::UnknownKey(id));
    play.proves(4);
}

fn what_a_library_prints_does_not_disturb() {
    let play = Play::start("prints");
    (1..4).for_each(|x| play.proves(x));
}

fn a_witness_of_another_shape_or_a_false_one_is_refused_by_its_own_name() {
    let play = Play::start("sound");
    let good = witness(3);
    let refusal = |aux: &[bn254::Fr]| {
        let witness = Witness::new(good.inputs().to_vec(), aux.to_vec());
        let ProveError::Backend(error) = play.prover.prove(&witness, &Cancel::new()).unwrap_err() else {
            panic!("it was proved")
        };
        error
    };
    assert!(matches!(refusal(&good.aux()[1..]), BackendError::WitnessShape { inputs: 2, aux: 40 }));
    let mut wrong = good.aux().to_vec();
    wrong[4] += bn254::Fr::from(1);
    assert_eq!(refusal(&wrong), BackendError::Unsatisfied(3));
    play.proves(3);
}

fn a_key_that_was_replaced_on_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let (matrices, parts) = circuit();
    parts.write(&file).unwrap();
    let key = Arc::new(Key::open(&file, None).unwrap());
    generate(matrices, &DevTrapdoor::from_seed("another"), &NoProgress).unwrap().write(&file).unwrap();
    let backend = ChildBackend::start(settings("sound", folder.path())).unwrap();
    let error = backend.prepare(key, Arc::clone(matrices)).unwrap_err();
    assert!(error.to_string().contains("another key"), "{error}");
}

fn frames_that_no_worker_sends_end_the_child() {
    for bytes in [&[0xff; 8][..], &[1, 0, 0, 0, 9], &[3, 0, 0, 0, 1, 1, 77], &[9, 0, 0, 0, 1]] {
        assert!(serve(Arc::new(CpuBackend::new()), bytes, std::io::sink()).is_err(), "{bytes:?}");
    }
    serve(Arc::new(CpuBackend::new()), &[][..], std::io::sink()).unwrap();
}
