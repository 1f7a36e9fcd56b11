//! The commands for files of snarkjs and rapidsnark, with the built binary and a batch circuit of the protocol.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::Path;
use std::process::{Command, Output};

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::Fr;
use circuits::batch::{Prepared, gadget::witness};
use circuits::fixture::Fixture;
use circuits::shape::Shape;
use prover::iden3::{json, ptau, r1cs, wtns, zkey};
use prover::{DevTrapdoor, Matrices, PreparedVerifyingKey, Witness, gnark, verify};

fn proofmill(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proofmill")).args(arguments).current_dir(folder).output().unwrap()
}

fn done(folder: &Path, arguments: &[&str]) {
    let output = proofmill(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn refusal(folder: &Path, arguments: &[&str]) -> String {
    let output = proofmill(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !text.contains("panicked"), "{text}");
    text
}

fn read_json(file: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_batch_is_proved_from_the_files_that_rapidsnark_takes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run = |arguments: &[&str]| done(folder.path(), arguments);
    run(&["keys", "export-zkey", "s3m1", "--out", "s3m1.zkey"]);
    run(&["keys", "export-r1cs", "s3m1", "--out", "s3m1.r1cs"]);

    let shape = Shape::ALL.into_iter().find(|shape| shape.name() == "s3m1").unwrap();
    let mut fixture = Fixture::new(Fr::from(1));
    let batch = Prepared::new(fixture.batch(shape, &[], &[])).unwrap();
    let (inputs, aux) = witness(&batch);
    let witness = Witness::new(inputs, aux);
    std::fs::write(at("batch.wtns"), wtns::write(&witness)).unwrap();

    run(&["prove", "s3m1.zkey", "batch.wtns", "proof.json", "public.json"]);
    let key = zkey::read(&std::fs::read(at("s3m1.zkey")).unwrap(), zkey::Checks::Curve).unwrap();
    let vk = PreparedVerifyingKey::new(&key.parts.vk).unwrap();
    let proof = json::read_proof(&read_json(&at("proof.json"))).unwrap();
    let public = json::read_public(&read_json(&at("public.json"))).unwrap();
    assert_eq!(public, batch.public_inputs());
    verify(&vk, &proof, &public).unwrap();

    // With flags, and the other names of the files.
    let named = ["--zkey", "s3m1.zkey", "--wtns", "batch.wtns", "--proof", "p.json", "--public", "q.json"];
    run(&[&["prove", "--gnark", "for-gnark"], &named[..]].concat());
    let proof = json::read_proof(&read_json(&at("p.json"))).unwrap();
    verify(&vk, &proof, &public).unwrap();
    let of_gnark = |name: &str| std::fs::read(at("for-gnark").join(name)).unwrap();
    assert_eq!(gnark::read_proof(&of_gnark("proof.bin")).unwrap(), proof);
    assert_eq!(gnark::read_public_inputs(&of_gnark("public.bin")).unwrap(), public);
    assert_eq!(gnark::read_verifying_key(&of_gnark("vk.bin")).unwrap(), key.parts.vk);

    // The circuit that was written is the one that the program has, and the key is for it.
    run(&["keys", "import-zkey", "s3m1.zkey", "--circuit", "s3m1", "--out", "one.pmkey"]);
    run(&["keys", "import-zkey", "s3m1.zkey", "--r1cs", "s3m1.r1cs", "--out", "two.pmkey"]);
    assert_eq!(std::fs::read(at("one.pmkey")).unwrap(), std::fs::read(at("two.pmkey")).unwrap());
    let circuit = r1cs::read(&std::fs::read(at("s3m1.r1cs")).unwrap()).unwrap();
    let imported = prover::Key::open(&at("one.pmkey"), Some(circuit.digest())).unwrap();
    assert!(!imported.origin().is_safe(), "nobody contributed to it");
    run(&["keys", "export-verifier", "one.pmkey", "--gnark", "vk.bin"]);
    assert_eq!(std::fs::read(at("vk.bin")).unwrap(), of_gnark("vk.bin"));

    let refused = |arguments: &[&str]| refusal(folder.path(), arguments);
    let again = refused(&["keys", "import-zkey", "s3m1.zkey", "--circuit", "s3m1", "--out", "one.pmkey"]);
    assert!(again.contains("exists already"), "{again}");
    let other = refused(&["keys", "import-zkey", "s3m1.zkey", "--circuit", "s14m2", "--out", "x.pmkey"]);
    assert!(other.contains("PM-IDEN3-004"), "{other}");
    let missing = refused(&["prove", "none.zkey", "batch.wtns", "a.json", "b.json"]);
    assert!(missing.contains("PM-IDEN3-001") && missing.contains("none.zkey"), "{missing}");
    let swapped = refused(&["prove", "batch.wtns", "s3m1.zkey", "a.json", "b.json"]);
    assert!(swapped.contains("PM-IDEN3-002"), "{swapped}");
    let mut values = witness.values().to_vec();
    values[9] += Fr::from(1);
    std::fs::write(at("false.wtns"), wtns::write(&Witness::from_values(4, values))).unwrap();
    let false_one = refused(&["prove", "s3m1.zkey", "false.wtns", "a.json", "b.json"]);
    assert!(false_one.contains("does not satisfy"), "{false_one}");
    assert!(!at("a.json").exists());
}

/// x·x = y, fifty times over.
struct Squares;

impl Circuit<Fr> for Squares {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut x = cs.alloc_input(|| "x", || Ok(Fr::from(2)))?;
        for _ in 0..50 {
            let y = cs.alloc(|| "y", || Ok(Fr::from(4)))?;
            cs.enforce(|| "square", |lc| lc + x, |lc| lc + x, |lc| lc + y);
            x = y;
        }
        Ok(())
    }
}

#[test]
fn the_ceremony_of_a_circuit_begins_with_powers_of_tau() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let circuit = r1cs::write(&Matrices::synthesize(Squares).unwrap()).unwrap();
    std::fs::write(at("squares.r1cs"), &circuit).unwrap();
    std::fs::write(at("7.ptau"), ptau::write_dev(7, &DevTrapdoor::from_seed("tests")).unwrap()).unwrap();
    let import = ["keys", "import-ptau", "7.ptau", "--r1cs", "squares.r1cs", "--out", "first.zkey"];
    done(folder.path(), &import);
    let first = zkey::read(&std::fs::read(at("first.zkey")).unwrap(), zkey::Checks::Group).unwrap();
    assert_eq!(first.contributions, 0);

    let refused = |arguments: &[&str]| refusal(folder.path(), arguments);
    let unfinished =
        refused(&["keys", "import-zkey", "first.zkey", "--r1cs", "squares.r1cs", "--out", "x.pmkey"]);
    assert!(unfinished.contains("PM-VK-004"), "{unfinished}");
    let again = refused(&import);
    assert!(again.contains("exists already"), "{again}");
    let small = refused(&["keys", "import-ptau", "7.ptau", "--circuit", "s3m1", "--out", "x.zkey"]);
    assert!(small.contains("PM-IDEN3-005"), "{small}");
    let other = refused(&["keys", "import-ptau", "squares.r1cs", "--circuit", "s3m1", "--out", "x.zkey"]);
    assert!(other.contains("PM-IDEN3-002"), "{other}");
    assert!(!at("x.zkey").exists() && !at("x.pmkey").exists());
}
