//! Powers of tau: what is made from them is what snarkjs makes, and nothing else is accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::{Chain, Mixed, witness_of};
use crate::iden3::{interop, snarkjs};
use proptest::prelude::*;
use prover::iden3::phase_two::initial_key;
use prover::iden3::zkey::Checks;
use prover::iden3::{Iden3Error, json, ptau, r1cs, wtns, zkey};
use prover::{Cancel, CpuBackend, DevTrapdoor, Key, Matrices, NoProgress, Prover, VerifyingKeyError};

fn trapdoor() -> DevTrapdoor {
    DevTrapdoor::from_seed("powers")
}

fn matrices() -> Matrices {
    Matrices::synthesize(Mixed::shape()).unwrap()
}

fn begin(ptau: &[u8], matrices: &Matrices) -> Result<Vec<u8>, Iden3Error> {
    initial_key(&ptau::read(ptau)?, matrices, &NoProgress)
}

/// The sections of a file by number.
fn sections(file: &[u8]) -> BTreeMap<u32, &[u8]> {
    let mut rest = &file[12..];
    let mut sections = BTreeMap::new();
    while !rest.is_empty() {
        let number = u32::from_le_bytes(rest[..4].try_into().unwrap());
        let len = u64::from_le_bytes(rest[4..12].try_into().unwrap()) as usize;
        sections.insert(number, &rest[12..12 + len]);
        rest = &rest[12 + len..];
    }
    sections
}

#[test]
fn the_first_key_of_a_circuit_is_that_of_its_trapdoor() {
    let matrices = matrices();
    let log = matrices.domain_log();
    let key = begin(&ptau::write_dev(log, &trapdoor()).unwrap(), &matrices).unwrap();
    let larger = begin(&ptau::write_dev(log + 2, &trapdoor()).unwrap(), &matrices).unwrap();
    // H of the smaller file is made without the highest power, which it does not need.
    let (of_smaller, of_larger) = (sections(&key), sections(&larger));
    for (number, section) in &of_larger {
        assert_eq!(of_smaller[number] == *section, *number != 9, "section {number}");
    }

    let key = zkey::read(&key, Checks::Group).unwrap();
    assert_eq!(key.contributions, 0);
    assert_eq!(key.matrices.digest(), matrices.without_c().digest());
    assert_eq!(key.parts.vk.validate(), Err(VerifyingKeyError::Degenerate("delta", "gamma")));
    // The same with gamma = delta = 1, which no key generation makes: A, B and the domain's order do not depend on them.
    let generated =
        prover::generate_for(bn254::ntt::Generator::Five, &matrices, &trapdoor(), &NoProgress).unwrap();
    assert_eq!((key.parts.a_columns, key.parts.a), (generated.a_columns, generated.a));
    assert_eq!((key.parts.b_columns, key.parts.b1), (generated.b_columns, generated.b1));
    assert_eq!(key.parts.b2, generated.b2);
    let (delta, gamma) = (trapdoor().delta, trapdoor().gamma);
    let times = |points: &[bn254::G1Affine], factor| -> Vec<bn254::G1Affine> {
        points.iter().map(|point| bn254::Curve::to_affine(&(*point * factor))).collect()
    };
    assert_eq!(key.parts.l, times(&generated.l, delta));
    assert_eq!(key.parts.vk.ic, times(&generated.vk.ic, gamma));
}

#[test]
fn the_ceremony_of_a_circuit_of_one_row_needs_two_powers() {
    let matrices = r1cs::read(include_bytes!("data/snarkjs/nocons.r1cs")).unwrap();
    assert_eq!((matrices.rows(), matrices.domain_log()), (1, 1));
    let of_one = begin(&ptau::write_dev(0, &trapdoor()).unwrap(), &matrices);
    assert!(matches!(of_one, Err(Iden3Error::TooFewPowers { power: 0, needed: 1 })));
    for power in [1, 3] {
        let key = begin(&ptau::write_dev(power, &trapdoor()).unwrap(), &matrices).unwrap();
        let key = zkey::read(&key, Checks::Group).unwrap();
        assert_eq!(key.matrices.digest(), matrices.without_c().digest());
        assert_eq!(key.parts.a.len(), 1);
    }
}

#[test]
fn a_ceremony_that_is_too_small_or_not_prepared_is_refused() {
    let matrices = matrices();
    let log = matrices.domain_log();
    let small = ptau::write_dev(log - 1, &trapdoor()).unwrap();
    let refused = begin(&small, &matrices);
    assert!(
        matches!(refused, Err(Iden3Error::TooFewPowers { power, needed }) if (power, needed) == (log - 1, log))
    );

    let file = ptau::write_dev(log, &trapdoor()).unwrap();
    let of_prepared = sections(&file);
    let mut unprepared = [&file[..8], &7_u32.to_le_bytes()[..]].concat();
    for number in 1..=7 {
        unprepared.extend(u32::to_le_bytes(number));
        unprepared.extend((of_prepared[&number].len() as u64).to_le_bytes());
        unprepared.extend(of_prepared[&number]);
    }
    assert!(!ptau::read(&unprepared).unwrap().is_prepared());
    assert!(matches!(begin(&unprepared, &matrices), Err(Iden3Error::NotPrepared)));
}

#[test]
fn powers_of_different_numbers_are_refused() {
    let matrices = matrices();
    let log = matrices.domain_log();
    let (good, other) = (
        ptau::write_dev(log, &trapdoor()).unwrap(),
        ptau::write_dev(log, &DevTrapdoor::from_seed("other")).unwrap(),
    );
    begin(&good, &matrices).unwrap();
    let (good_sections, other_sections) = (sections(&good), sections(&other));
    for number in [2, 3, 4, 5, 6, 12, 13, 14, 15] {
        // One section of another ceremony.
        let mut mixed = good.clone();
        let at = good_sections[&number].as_ptr() as usize - good.as_ptr() as usize;
        mixed[at..at + good_sections[&number].len()].copy_from_slice(other_sections[&number]);
        assert!(matches!(begin(&mixed, &matrices), Err(Iden3Error::Malformed { .. })), "section {number}");
        if number == 6 {
            continue;
        }
        // The last point that is needed, one place further on as well.
        let size = if [3, 13].contains(&number) { 128 } else { 64 };
        let end = at + if number == 2 { (2 << log) - 1 } else { good_sections[&number].len() / size } * size;
        let mut swapped = good.clone();
        swapped.copy_within(end - 2 * size..end - size, end - size);
        assert!(matches!(begin(&swapped, &matrices), Err(Iden3Error::Malformed { .. })), "section {number}");
    }
}

#[test]
fn no_truncated_file_and_no_absurd_number_is_accepted() {
    let file = ptau::write_dev(2, &trapdoor()).unwrap();
    for len in 0..file.len() {
        assert!(ptau::read(&file[..len]).is_err(), "{len} bytes");
    }
    for at in (4..200).step_by(4) {
        for value in [u32::MAX, 1 << 31, 27, 0x00ff_ffff] {
            let mut damaged = file.clone();
            damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let _ = ptau::read(&damaged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn damaged_powers_are_never_accepted(at: prop::sample::Index, bit in 0..8) {
        let matrices = Matrices::synthesize(Chain::shape(3)).unwrap();
        let file = ptau::write_dev(matrices.domain_log(), &trapdoor()).unwrap();
        let mut damaged = file.clone();
        damaged[at.index(file.len())] ^= 1_u8 << bit;
        if let Ok(key) = begin(&damaged, &matrices) {
            // Contributions and smaller domains are not looked at.
            prop_assert!(key == begin(&file, &matrices).unwrap());
        }
    }
}

#[test]
fn snarkjs_makes_the_same_first_key_of_our_powers() {
    let Some(scripts) = interop() else { return };
    // With and without room for the highest power; the second has variables that A or B lack.
    for (matrices, spare) in [(Matrices::synthesize(Chain::shape(50)).unwrap(), 1), (matrices(), 0)] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let powers = ptau::write_dev(matrices.domain_log() + spare, &trapdoor()).unwrap();
        std::fs::write(at("circuit.r1cs"), r1cs::write(&matrices).unwrap()).unwrap();
        std::fs::write(at("ours.ptau"), &powers).unwrap();
        snarkjs(&scripts, "begin", folder.path());
        let (theirs, ours) = (std::fs::read(at("of_ours.zkey")).unwrap(), begin(&powers, &matrices).unwrap());
        let (theirs, ours) = (sections(&theirs), sections(&ours));
        assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
        for (number, section) in theirs {
            assert!(ours[&number] == section, "section {number}");
        }
    }
}

#[test]
fn a_ceremony_that_we_begin_goes_on_with_snarkjs() {
    let Some(scripts) = interop() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let matrices = Matrices::synthesize(Chain::shape(200)).unwrap();
    let witness = witness_of(Chain::new(200, 3));
    let circuit = r1cs::write(&matrices).unwrap();
    assert!(r1cs::is_in_order(&circuit, &matrices).unwrap());
    std::fs::write(at("circuit.r1cs"), circuit).unwrap();
    std::fs::write(at("witness.wtns"), wtns::write(&witness)).unwrap();
    std::fs::write(at("public.json"), json::write_public(witness.public_inputs()).to_string()).unwrap();
    snarkjs(&scripts, "setup", folder.path());
    let powers = std::fs::read(at("pot.ptau")).unwrap();
    assert_eq!(ptau::read(&powers).unwrap().contributions(), 1);
    std::fs::write(at("begun.zkey"), begin(&powers, &matrices).unwrap()).unwrap();
    snarkjs(&scripts, "go on", folder.path());

    let key = zkey::read(&std::fs::read(at("final.zkey")).unwrap(), Checks::Group).unwrap();
    let key = key.for_circuit(&matrices).unwrap();
    key.vk.validate().unwrap();
    let key = Arc::new(Key::from_parts(&key).unwrap());
    let prover = Prover::new(Arc::new(CpuBackend::new()), key, Arc::new(matrices)).unwrap();
    let proof = prover.prove(&witness, &Cancel::new()).unwrap().proof;
    std::fs::write(at("proof.json"), json::write_proof(&proof).to_string()).unwrap();
    snarkjs(&scripts, "verify", folder.path());
}
