//! The commands for files of snarkjs and rapidsnark, with the built binary and a batch circuit of the protocol.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::Path;
use std::process::{Command, Output};

use bn254::Fr;
use circuits::batch::{Prepared, gadget::witness};
use circuits::fixture::Fixture;
use circuits::shape::Shape;
use prover::iden3::{json, r1cs, wtns, zkey};
use prover::{PreparedVerifyingKey, Witness, verify};

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
    run(&[&["prove"], &named[..]].concat());
    verify(&vk, &json::read_proof(&read_json(&at("p.json"))).unwrap(), &public).unwrap();

    // The circuit that was written is the one that the program has, and the key is for it.
    run(&["keys", "import-zkey", "s3m1.zkey", "--circuit", "s3m1", "--out", "one.pmkey"]);
    run(&["keys", "import-zkey", "s3m1.zkey", "--r1cs", "s3m1.r1cs", "--out", "two.pmkey"]);
    assert_eq!(std::fs::read(at("one.pmkey")).unwrap(), std::fs::read(at("two.pmkey")).unwrap());
    let circuit = r1cs::read(&std::fs::read(at("s3m1.r1cs")).unwrap()).unwrap();
    let imported = prover::Key::open(&at("one.pmkey"), Some(circuit.digest())).unwrap();
    assert!(!imported.origin().is_safe(), "nobody contributed to it");

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
