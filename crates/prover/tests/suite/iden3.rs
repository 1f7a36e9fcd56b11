//! Files of iden3's programs: what is written is read again, what is damaged is refused, and snarkjs agrees.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::common::{Chain, Mixed, witness_of};
use bn254::ntt::Generator;
use bn254::{Field, Fr, fr_to_le_bytes};
use proptest::prelude::*;
use prover::iden3::zkey::Checks;
use prover::iden3::{Iden3Error, json, r1cs, wtns, zkey};
use prover::{
    Cancel, CpuBackend, DevTrapdoor, Key, KeyError, KeyParts, Matrices, NoProgress, Origin, ProveError,
    Prover, Witness, generate_for, verify,
};

fn matrices() -> Matrices {
    Matrices::synthesize(Mixed::shape()).unwrap()
}

fn key_for_iden3(matrices: &Matrices) -> KeyParts {
    generate_for(Generator::Five, matrices, &DevTrapdoor::from_seed("tests"), &NoProgress).unwrap()
}

/// The three files of a circuit.
fn files() -> [Vec<u8>; 3] {
    let matrices = matrices();
    let key = Key::from_parts(&key_for_iden3(&matrices)).unwrap();
    let witness = witness_of(Mixed::new(77));
    [r1cs::write(&matrices).unwrap(), wtns::write(&witness), zkey::write(&key, &matrices).unwrap()]
}

fn prove(matrices: Matrices, parts: &KeyParts, witness: &Witness) -> Result<(), ProveError> {
    let key = Arc::new(Key::from_parts(parts).unwrap());
    let prover = Prover::new(Arc::new(CpuBackend::new()), key, Arc::new(matrices))?;
    let proven = prover.prove(witness, &Cancel::new())?;
    verify(prover.verifying_key(), &proven.proof, witness.public_inputs()).unwrap();
    let proof = json::read_proof(&json::write_proof(&proven.proof)).unwrap();
    assert_eq!(proof, proven.proof);
    Ok(())
}

#[test]
fn circuits_witnesses_and_keys_survive_the_way_through_files() {
    let [circuit, witness, key] = files();
    let read = r1cs::read(&circuit).unwrap();
    assert_eq!(read.digest(), matrices().digest());
    assert_eq!(r1cs::write(&read).unwrap(), circuit);

    let values = wtns::read(&witness, read.inputs()).unwrap();
    assert_eq!(values, witness_of(Mixed::new(77)));

    let zkey::Zkey { matrices: of_key, parts, contributions } = zkey::read(&key, Checks::Group).unwrap();
    assert_eq!(contributions, 0);
    assert!(!parts.origin.is_safe());
    assert!(!of_key.c_is_known());
    let expected = key_for_iden3(&read);
    let made = KeyParts { origin: expected.origin.clone(), circuit: expected.circuit, ..parts.clone() };
    assert_eq!(made, expected);
    prove(of_key, &parts, &values).unwrap();
    let other = Matrices::synthesize(Mixed { tweak: 1, ..Mixed::shape() }).unwrap();
    let again = || zkey::read(&key, Checks::Group).unwrap();
    assert!(matches!(again().for_circuit(&other), Err(Iden3Error::OtherCircuit(_))));
    assert_eq!(again().for_circuit(&read).unwrap().circuit, expected.circuit);
    prove(read, &expected, &values).unwrap();
}

#[test]
fn a_key_without_c_proves_and_finds_a_false_witness_in_the_end() {
    let [_, _, key] = files();
    let zkey::Zkey { matrices, parts, .. } = zkey::read(&key, Checks::Group).unwrap();
    let mut values = witness_of(Mixed::new(77)).values().to_vec();
    values[5] += Fr::from(1);
    let error = prove(matrices, &parts, &Witness::from_values(3, values)).unwrap_err();
    assert_eq!(error, ProveError::Invalid { backend: "cpu" });
}

#[test]
fn keys_in_bellmans_order_are_not_written_as_zkey() {
    let matrices = matrices();
    let parts = prover::generate(&matrices, &DevTrapdoor::from_seed("tests"), &NoProgress).unwrap();
    let key = Key::from_parts(&parts).unwrap();
    assert!(matches!(zkey::write(&key, &matrices), Err(Iden3Error::Unsupported(_))));
    let other = Matrices::synthesize(Chain::shape(5)).unwrap();
    assert!(matches!(zkey::write(&key, &other), Err(Iden3Error::OtherCircuit(_))));
}

#[test]
fn nothing_that_a_file_says_of_its_ceremony_makes_a_key_safe() {
    let [_, _, mut key] = files();
    let contributions = key.len() - 4;
    let mut transcripts = Vec::new();
    for count in [0, 1, 200] {
        // Of a key from a public seed, whose count anybody can write.
        key[contributions] = count;
        let read = zkey::read(&key, Checks::Group).unwrap();
        assert_eq!(read.contributions, u32::from(count));
        assert!(!read.parts.origin.is_safe());
        let Origin::UnsafeImported { transcript } = read.parts.origin else { panic!("it was imported") };
        assert!(!transcripts.contains(&transcript), "another transcript");
        transcripts.push(transcript);
    }
}

#[test]
fn a_zkey_that_anybody_can_forge_proofs_for_is_not_imported() {
    let matrices = matrices();
    let [_, _, file] = files();
    let good = zkey::read(&file, Checks::Group).unwrap().parts.vk;
    zkey::read(&file, Checks::Group).unwrap().for_circuit(&matrices).unwrap();
    for (bad, expected) in crate::key_files::forgeable_keys() {
        let mut file = file.clone();
        let mut put = |old: &[u8], new: &[u8]| {
            let at = file.windows(old.len()).position(|window| window == old).unwrap();
            file[at..at + old.len()].copy_from_slice(new);
        };
        let g1 = |vk: &prover::VerifyingKey| bn254::raw::as_bytes(&[vk.alpha_g1, vk.beta_g1]).to_vec();
        put(&g1(&good), &g1(&bad));
        put(bn254::raw::as_bytes(&[good.beta_g2]), bn254::raw::as_bytes(&[bad.beta_g2]));
        put(bn254::raw::as_bytes(&[good.delta_g1]), bn254::raw::as_bytes(&[bad.delta_g1]));
        put(bn254::raw::as_bytes(&[good.delta_g2]), bn254::raw::as_bytes(&[bad.delta_g2]));
        let refused = zkey::read(&file, Checks::Group).unwrap().for_circuit(&matrices).unwrap_err();
        assert!(matches!(refused, Iden3Error::Key(KeyError::VerifyingKey(error)) if error == expected));
    }
}

/// A circuit without constraints and without public values: one row, that of the constant one. snarkjs made the key and the witness.
#[test]
fn a_circuit_without_constraints_is_read_proved_and_verified() {
    let circuit = r1cs::read(include_bytes!("data/snarkjs/nocons.r1cs")).unwrap();
    let witness = wtns::read(include_bytes!("data/snarkjs/nocons.wtns"), circuit.inputs()).unwrap();
    let key = || zkey::read(include_bytes!("data/snarkjs/nocons_1.zkey"), Checks::Group).unwrap();
    let theirs = serde_json::from_slice(include_bytes!("data/snarkjs/nocons.vk.json")).unwrap();
    assert_eq!(json::read_verifying_key(&theirs).unwrap(), key().parts.vk.public());
    let parts = key().parts;
    prove(key().matrices, &parts, &witness).unwrap();
    let parts = key().for_circuit(&circuit).unwrap();
    prove(circuit.clone(), &parts, &witness).unwrap();
    for generator in [Generator::Five, Generator::Seven] {
        let parts = generate_for(generator, &circuit, &DevTrapdoor::from_seed("tests"), &NoProgress).unwrap();
        prove(circuit.clone(), &parts, &witness).unwrap();
        let key = Key::from_parts(&parts).unwrap();
        if generator == Generator::Five {
            let file = zkey::write(&key, &circuit).unwrap();
            let read = zkey::read(&file, Checks::Group).unwrap().for_circuit(&circuit).unwrap();
            assert_eq!(KeyParts { origin: parts.origin.clone(), ..read }, parts);
        }
    }
}

#[test]
fn a_circuit_without_labels_is_read() {
    let file = include_bytes!("data/snarkjs/outs-nolabels.r1cs");
    let circuit = r1cs::read(file).unwrap();
    let again = r1cs::read(&r1cs::write(&circuit).unwrap()).unwrap();
    assert_eq!(again.digest(), circuit.digest());
    assert!(circuit.constraints() > 0 && circuit.inputs() > 1);
    // The number of wires is behind the header of the file, of the section, and the field. Without labels it is bounded all the same.
    let mut absurd = file.to_vec();
    let at = file.windows(4).position(|w| w == (circuit.variables() as u32).to_le_bytes()).unwrap();
    absurd[at..at + 4].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    assert!(matches!(r1cs::read(&absurd), Err(Iden3Error::Malformed { .. })));
}

/// Reads bytes as every kind of file; whether one was accepted.
fn read_all(bytes: &[u8]) -> bool {
    let circuit = r1cs::read(bytes).is_ok();
    let witness = wtns::read(bytes, 3).is_ok();
    let key = zkey::read(bytes, Checks::Group).is_ok();
    circuit || witness || key
}

#[test]
fn no_truncated_file_is_accepted() {
    for file in files() {
        assert!(read_all(&file));
        let lens = (0..file.len().min(400)).chain((400..file.len()).step_by(131)).chain([file.len() - 1]);
        for len in lens {
            assert!(!read_all(&file[..len]), "{len} of {} bytes", file.len());
        }
        assert!(!read_all(&[&file[..], &[0]].concat()));
    }
}

#[test]
fn absurd_numbers_are_refused_without_taking_memory() {
    for file in files() {
        // Every aligned word of the headers and of the beginning of each section, as large as it can be.
        for at in (4..file.len().min(1200)).step_by(4) {
            for value in [u32::MAX, 1 << 31, 1 << 27, 0x00ff_ffff] {
                let mut damaged = file.clone();
                damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
                // Some words mean nothing to us, such as labels; all that counts is that it comes back.
                let _ = read_all(&damaged);
            }
        }
    }
}

#[test]
fn points_that_are_not_in_their_group_are_refused() {
    let [_, _, key] = files();
    let good = zkey::read(&key, Checks::Group).unwrap().parts;
    for bytes in [bn254::raw::as_bytes(&good.a[..1]), bn254::raw::as_bytes(&good.b2[..1])] {
        let mut damaged = key.clone();
        let mut places: Vec<usize> =
            damaged.windows(bytes.len()).enumerate().filter(|(_, w)| *w == bytes).map(|(at, _)| at).collect();
        let at = places.pop().unwrap();
        damaged[at] ^= 1;
        assert!(matches!(zkey::read(&damaged, Checks::Curve), Err(Iden3Error::Malformed { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damaged_files_are_never_a_panic(
        which in 0_usize..3,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        truncate: bool,
    ) {
        let mut file = files()[which].clone();
        for (at, value) in damage {
            let at = at.index(file.len());
            file[at] ^= value;
        }
        if truncate {
            let len = cut.index(file.len());
            file.truncate(len);
        }
        let _ = read_all(&file);
    }

    #[test]
    fn any_bytes_are_never_a_panic(kind in 0_usize..3, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let head = ["r1cs", "wtns", "zkey"][kind].as_bytes();
        let version = [1_u32, 2, 1][kind].to_le_bytes();
        let _ = read_all(&[head, &version[..], &bytes[..]].concat());
    }
}

/// The folder with snarkjs, if its packages were installed; `PROOFMILL_REQUIRE_SNARKJS` makes that an error.
pub fn interop() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let installed = folder.join("node_modules/snarkjs").exists();
    let required = std::env::var_os("PROOFMILL_REQUIRE_SNARKJS").is_some();
    assert!(installed || !required, "run `npm ci --prefix crates/prover/tests/interop` first");
    installed.then_some(folder)
}

/// Runs a step of `interop.mjs` in a folder.
pub fn snarkjs(scripts: &Path, step: &str, folder: &Path) {
    let output =
        Command::new("node").arg(scripts.join("interop.mjs")).arg(step).arg(folder).output().unwrap();
    assert!(
        output.status.success(),
        "{step}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn snarkjs_and_we_prove_and_verify_the_same_circuit() {
    let Some(scripts) = interop() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let matrices = Matrices::synthesize(Chain::shape(200)).unwrap();
    let witness = witness_of(Chain::new(200, 3));
    std::fs::write(at("circuit.r1cs"), r1cs::write(&matrices).unwrap()).unwrap();
    std::fs::write(at("witness.wtns"), wtns::write(&witness)).unwrap();
    let public = json::write_public(witness.public_inputs());
    std::fs::write(at("public.json"), public.to_string()).unwrap();

    // Their ceremony and their proof of our circuit.
    snarkjs(&scripts, "setup", folder.path());
    snarkjs(&scripts, "prove", folder.path());
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(at(name)).unwrap()).unwrap()
    };
    let key = zkey::read(&std::fs::read(at("final.zkey")).unwrap(), Checks::Curve).unwrap();
    assert_eq!(key.contributions, 1);
    assert!(!key.parts.origin.is_safe(), "nobody verified its transcript");
    let of_circuit = zkey::read(&std::fs::read(at("final.zkey")).unwrap(), Checks::Curve).unwrap();
    let of_circuit = of_circuit.for_circuit(&matrices).unwrap();
    let prover = Prover::new(
        Arc::new(CpuBackend::new()),
        Arc::new(Key::from_parts(&key.parts).unwrap()),
        Arc::new(key.matrices),
    )
    .unwrap();
    let theirs = json::read_proof(&read("their_proof.json")).unwrap();
    assert_eq!(json::read_public(&read("their_public.json")).unwrap(), witness.public_inputs());
    verify(prover.verifying_key(), &theirs, witness.public_inputs()).unwrap();
    let vk = json::read_verifying_key(&read("verification_key.json")).unwrap();
    let ours = prover.key().verifying_key();
    assert_eq!(
        (vk.alpha, vk.beta, vk.gamma, vk.delta),
        (ours.alpha_g1, ours.beta_g2, ours.gamma_g2, ours.delta_g2)
    );
    assert_eq!(vk.ic, ours.ic);

    // Our proofs with their key: with the matrices that it has, and with ours, which have C.
    let proof = prover.prove(&witness, &Cancel::new()).unwrap().proof;
    std::fs::write(at("proof.json"), json::write_proof(&proof).to_string()).unwrap();
    snarkjs(&scripts, "verify", folder.path());
    let key = Arc::new(Key::from_parts(&of_circuit).unwrap());
    let prover = Prover::new(Arc::new(CpuBackend::new()), key, Arc::new(matrices)).unwrap();
    let proof = prover.prove(&witness, &Cancel::new()).unwrap().proof;
    std::fs::write(at("proof.json"), json::write_proof(&proof).to_string()).unwrap();
    std::fs::write(
        at("verification_key.json"),
        json::write_verifying_key(prover.key().verifying_key()).to_string(),
    )
    .unwrap();
    snarkjs(&scripts, "verify", folder.path());
}

#[test]
fn snarkjs_proves_with_a_key_that_we_wrote() {
    let Some(scripts) = interop() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [_, witness, key] = files();
    std::fs::write(at("witness.wtns"), witness).unwrap();
    std::fs::write(at("final.zkey"), &key).unwrap();
    snarkjs(&scripts, "prove", folder.path());
    let parts = zkey::read(&key, Checks::Group).unwrap().parts;
    let proof = serde_json::from_slice(&std::fs::read(at("their_proof.json")).unwrap()).unwrap();
    let vk = prover::PreparedVerifyingKey::new(&parts.vk).unwrap();
    let inputs = witness_of(Mixed::new(77));
    verify(&vk, &json::read_proof(&proof).unwrap(), inputs.public_inputs()).unwrap();
}

/// Different coefficients of one hash under the hash that was used here once: of each limb `hash = (hash.rotate_left(23) ^ limb) * GOLDEN`,
/// after the number of limbs. The last limb is what leads to the hash wanted.
fn of_one_hash(count: usize) -> Vec<Fr> {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, limb: u64| (hash.rotate_left(23) ^ limb).wrapping_mul(GOLDEN);
    let one = |first: u64| {
        let hash = [first, 0, 0].into_iter().fold(step(0, 4), step);
        let mut value = Fr::ZERO;
        value.0 = [first, 0, 0, hash.rotate_left(23)];
        // Elements have limbs below the modulus.
        (value.0[3] < 0x3064_4e72_e131_a029).then_some(value)
    };
    (0..).filter_map(one).take(count).collect()
}

/// Coefficients are looked up in a table as they are read. 100,000 of them took half a minute.
#[test]
fn coefficients_that_were_chosen_to_collide_are_read_like_others() {
    let coefficients = of_one_hash(100_000);
    let wires = 2u32;
    // A length of 32 and the modulus, as in every file.
    let mut header = r1cs::write(&matrices()).unwrap()[24..60].to_vec();
    header.extend([wires, 0, 0, 1, wires, 0, coefficients.len() as u32].map(u32::to_le_bytes).concat());
    let mut constraints = Vec::new();
    for coefficient in &coefficients {
        constraints.extend([1u32, 1].map(u32::to_le_bytes).concat());
        constraints.extend(fr_to_le_bytes(coefficient));
        constraints.extend([0; 8]);
    }
    let mut file = b"r1cs".to_vec();
    file.extend([1u32, 2].map(u32::to_le_bytes).concat());
    for (number, section) in [(1u32, header), (2, constraints)] {
        file.extend(number.to_le_bytes());
        file.extend((section.len() as u64).to_le_bytes());
        file.extend(section);
    }
    let began = std::time::Instant::now();
    assert_eq!(r1cs::read(&file).unwrap().constraints(), coefficients.len());
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}
