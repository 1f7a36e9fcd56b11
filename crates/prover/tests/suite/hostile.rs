//! Files that lie, of every kind that this crate reads. Small good files are bent ([`testbed::bend`]), also in ways of their
//! formats: sections repeated, dropped or swapped, checksums made right. Whatever comes of it is an error or a value that keeps
//! the promises of its type.

use std::fs;
use std::path::Path;

use crate::common::{Chain, Mixed, key_of, prover_of, witness_of};
use bn254::ntt::Generator;
use prover::iden3::phase_two::initial_key;
use prover::iden3::zkey::Checks;
use prover::iden3::{json, ptau, r1cs, wtns, zkey};
use prover::{Cancel, DevTrapdoor, Key, KeyParts, Matrices, NoProgress, Resumable, generate_for, gnark};
use testbed::bend::{Dice, Noting, Suite};

#[global_allocator]
static ALLOCATOR: Noting = Noting;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    R1cs,
    Wtns,
    Zkey,
    Ptau,
    Pmkey,
    Matrices,
    Partial,
    Proof,
    Public,
    VerifyingKey,
    GnarkKey,
    GnarkProof,
    GnarkPublic,
}

/// Good files, and what they are read with.
struct Bench {
    seeds: Vec<(Kind, Vec<u8>)>,
    /// Of the seeds of `.zkey` and `.ptau`.
    circuit: Matrices,
    /// Of the work file.
    chain: Matrices,
    trapdoor: DevTrapdoor,
    expected: KeyParts,
}

impl Bench {
    fn new() -> Self {
        let trapdoor = DevTrapdoor::from_seed("tests");
        let folder = tempfile::tempdir().unwrap();
        let circuit = Matrices::synthesize(Chain::shape(3)).unwrap();
        let parts = generate_for(Generator::Five, &circuit, &trapdoor, &NoProgress).unwrap();
        let for_iden3 = Key::from_parts(&parts).unwrap();
        let (chain, expected) = key_of(Chain::shape(2));
        let partial = folder.path().join("partial");
        let mut work = Resumable::open(&partial, Generator::Seven, &chain, &trapdoor).unwrap();
        assert!(work.generate(&NoProgress).unwrap() == expected);
        drop(work);
        let prover = prover_of(Mixed::shape());
        let witness = witness_of(Mixed::new(5));
        let proof = prover.prove(&witness, &Cancel::new()).unwrap().proof;
        let vk = prover.key().verifying_key();
        let mut matrices = Vec::new();
        circuit.write_to(&mut matrices).unwrap();
        let nocons: &[&[u8]] =
            &[include_bytes!("data/snarkjs/nocons.r1cs"), include_bytes!("data/snarkjs/nocons_1.zkey")];
        let seeds = vec![
            (Kind::R1cs, r1cs::write(&circuit).unwrap()),
            (Kind::R1cs, include_bytes!("data/snarkjs/outs-nolabels.r1cs").to_vec()),
            (Kind::R1cs, nocons[0].to_vec()),
            (Kind::Wtns, wtns::write(&witness_of(Chain::new(3, 2)))),
            (Kind::Zkey, zkey::write(&for_iden3, &circuit).unwrap()),
            (Kind::Zkey, nocons[1].to_vec()),
            (Kind::Ptau, ptau::write_dev(circuit.domain_log(), &trapdoor).unwrap()),
            (Kind::Pmkey, Key::from_parts(&expected).unwrap().file_bytes().to_vec()),
            (Kind::Matrices, matrices),
            (Kind::Partial, fs::read(&partial).unwrap()),
            (Kind::Proof, json::write_proof(&proof).to_string().into_bytes()),
            (Kind::Public, json::write_public(witness.public_inputs()).to_string().into_bytes()),
            (Kind::VerifyingKey, json::write_verifying_key(vk).to_string().into_bytes()),
            (Kind::GnarkKey, gnark::write_verifying_key(vk)),
            (Kind::GnarkProof, gnark::write_proof(&proof)),
            (Kind::GnarkPublic, gnark::write_public_inputs(witness.public_inputs())),
        ];
        let chain = Matrices::clone(&chain);
        Self { seeds, circuit, chain, trapdoor, expected }
    }

    /// Reads a file as its kind, and uses what was read; whether it was accepted.
    fn read(&self, kind: Kind, bytes: &[u8], folder: &Path, number: u64) -> bool {
        let file = &folder.join("bent");
        match kind {
            Kind::R1cs => {
                let Ok(circuit) = r1cs::read(bytes) else { return false };
                let again = r1cs::read(&r1cs::write(&circuit).unwrap()).unwrap();
                assert_eq!(again.digest(), circuit.digest());
                assert!(r1cs::is_in_order(bytes, &circuit).is_ok());
                true
            }
            Kind::Wtns => {
                let Ok(witness) = wtns::read(bytes, 2) else { return false };
                assert_eq!(wtns::read(&wtns::write(&witness), 2).unwrap(), witness);
                true
            }
            Kind::Zkey => {
                let checks = if number.is_multiple_of(2) { Checks::Group } else { Checks::Curve };
                let Ok(key) = zkey::read(bytes, checks) else { return false };
                // Of a file that is not of a finished ceremony nothing can be made.
                let made = Key::from_parts(&key.parts);
                assert!(made.is_err() || !key.parts.origin.is_safe());
                let _ = key.for_circuit(&self.circuit);
                true
            }
            Kind::Ptau => {
                let Ok(powers) = ptau::read(bytes) else { return false };
                initial_key(&powers, &self.circuit, &NoProgress).is_ok()
            }
            Kind::Pmkey => {
                fs::write(file, bytes).unwrap();
                let Ok(key) = Key::open(file, None) else { return false };
                assert!(!key.origin().is_safe());
                key.check_points().is_ok()
            }
            Kind::Matrices => Matrices::read_from(bytes, bytes.len() as u64).is_ok(),
            Kind::Partial => {
                fs::write(file, bytes).unwrap();
                let mut work = Resumable::open(file, Generator::Seven, &self.chain, &self.trapdoor).unwrap();
                if number.is_multiple_of(64) {
                    assert!(work.generate(&NoProgress).unwrap() == self.expected);
                }
                true
            }
            Kind::Proof | Kind::Public | Kind::VerifyingKey => {
                let Ok(value) = serde_json::from_slice(bytes) else { return false };
                match kind {
                    Kind::Proof => json::read_proof(&value).is_ok(),
                    Kind::Public => json::read_public(&value).is_ok(),
                    _ => json::read_verifying_key(&value).is_ok(),
                }
            }
            Kind::GnarkKey => gnark::read_verifying_key(bytes).is_ok(),
            Kind::GnarkProof => gnark::read_proof(bytes).is_ok(),
            Kind::GnarkPublic => gnark::read_public_inputs(bytes).is_ok(),
        }
    }
}

/// Repeats, drops or swaps sections of a container of iden3's, or changes their numbers.
fn shuffle_sections(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let mut sections = Vec::new();
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((head, tail)) = rest.split_at_checked(12) {
        let len = u64::from_le_bytes(head[4..].try_into().unwrap()) as usize;
        let Some((section, tail)) = tail.split_at_checked(len) else { break };
        sections.push([head, section].concat());
        rest = tail;
    }
    if sections.is_empty() {
        return;
    }
    let at = dice.below(sections.len());
    match dice.below(4) {
        0 => sections.push(sections[at].clone()),
        1 => drop(sections.remove(at)),
        2 => {
            let with = dice.below(sections.len());
            sections.swap(at, with);
        }
        _ => sections[at][0] = dice.below(20) as u8,
    }
    let mut changed = bytes[..8].to_vec();
    changed.extend((sections.len() as u32).to_le_bytes());
    sections.iter().for_each(|section| changed.extend(section));
    *bytes = changed;
}

/// Makes the checksums of a key file right again, of the sections that lie in it and of the header: whoever forges a key does.
fn mend_checksums(bytes: &mut [u8]) {
    if bytes.len() < 1024 {
        return;
    }
    for section in 0..8 {
        let at = 384 + 48 * section;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let (start, len) = (number(at), number(at + 8));
        let contents = start.checked_add(len).and_then(|end| bytes.get(start..end));
        if let Some(sum) = contents.map(blake3::hash) {
            bytes[at + 16..at + 48].copy_from_slice(sum.as_bytes());
        }
    }
    let sum = blake3::hash(&bytes[..992]);
    bytes[992..1024].copy_from_slice(sum.as_bytes());
}

#[test]
fn no_file_however_bent_makes_a_parser_panic_hang_or_take_memory() {
    let bench = Bench::new();
    let bent = |kind, bytes: &mut Vec<u8>, dice: &mut Dice| match kind {
        Kind::R1cs | Kind::Wtns | Kind::Zkey | Kind::Ptau if dice.below(8) == 0 => {
            shuffle_sections(bytes, dice)
        }
        Kind::Pmkey if dice.below(4) > 0 => mend_checksums(bytes),
        _ => {}
    };
    let read = |kind, bytes: &[u8], folder: &Path, number| bench.read(kind, bytes, folder, number);
    Suite { what: "prover", seeds: &bench.seeds, few: 3_000 }.run(bent, read);
}
