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
    assert!(!imported.origin().is_safe());
    // The key is from a public seed. No number that stands in its file makes it safe.
    let mut patched = std::fs::read(at("s3m1.zkey")).unwrap();
    let count = patched.len() - 4;
    patched[count] = 3;
    std::fs::write(at("patched.zkey"), patched).unwrap();
    let import = ["keys", "import-zkey", "patched.zkey", "--circuit", "s3m1", "--out", "patched.pmkey"];
    let said = proofmill(folder.path(), &import);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("UNSAFE") && text.contains("contributions  3"), "{text}");
    let info = proofmill(folder.path(), &["keys", "info", "patched.pmkey", "--json"]);
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["safe"], false);
    assert!(info["origin"].as_str().unwrap().contains("UNSAFE"), "{info}");
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

/// A circuit without constraints, and a key of snarkjs for it: small, so that a proof takes no time.
fn data(name: &str) -> String {
    format!("{}/../crates/prover/tests/suite/data/snarkjs/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn files_in(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn nothing_is_written_over_what_is_read_and_no_two_outputs_into_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::copy(data("nocons_1.zkey"), at("key.zkey")).unwrap();
    std::fs::copy(data("nocons.wtns"), at("witness.wtns")).unwrap();
    std::fs::write(at("old.json"), "precious").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("old.json", at("link.json")).unwrap();
    let before = files_in(folder.path());
    for (proof, public) in [
        ("old.json", "old.json"),
        ("old.json", "./old.json"),
        #[cfg(unix)]
        ("old.json", "link.json"),
        ("new.json", "new.json"),
        ("witness.wtns", "new.json"),
        ("new.json", "key.zkey"),
    ] {
        let text = refusal(folder.path(), &["prove", "key.zkey", "witness.wtns", proof, public]);
        assert!(text.contains("one file"), "{proof} {public}: {text}");
    }
    let text = refusal(folder.path(), &["prove", "key.zkey", "witness.wtns", "nowhere/a.json", "b.json"]);
    assert!(text.contains("PM-IDEN3-001") && text.contains("nowhere"), "{text}");
    let gnark = ["prove", "key.zkey", "witness.wtns", "for/vk.bin", "b.json", "--gnark", "for"];
    assert!(refusal(folder.path(), &gnark).contains("one file"));
    assert_eq!(files_in(folder.path()), before, "nothing came and nothing went");
    assert_eq!(std::fs::read_to_string(at("old.json")).unwrap(), "precious");

    // A link is written through, a device as it is, and no temporary file stays.
    #[cfg(unix)]
    {
        done(folder.path(), &["prove", "key.zkey", "witness.wtns", "link.json", "/dev/null"]);
        assert!(std::fs::symlink_metadata(at("link.json")).unwrap().is_symlink());
        json::read_proof(&read_json(&at("old.json"))).unwrap();
        assert_eq!(files_in(folder.path()), before);
    }
    let key = zkey::read(&std::fs::read(at("key.zkey")).unwrap(), zkey::Checks::Group).unwrap();
    let circuit = r1cs::read(&std::fs::read(data("nocons.r1cs")).unwrap()).unwrap();
    let mut parts = key.for_circuit(&circuit).unwrap();
    parts.origin = prover::Origin::UnsafeDev { seed: "tests".to_owned() };
    parts.write(&at("key.pmkey")).unwrap();
    let text = refusal(folder.path(), &["keys", "export-verifier", "key.pmkey", "--gnark", "key.pmkey"]);
    assert!(text.contains("one file"), "{text}");
}

#[test]
fn a_witness_may_come_through_a_pipe() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let witness = std::fs::read(data("nocons.wtns")).unwrap();
    let prove = |from: &str, bytes: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proofmill"));
        command.args(["prove", &data("nocons_1.zkey"), from, "proof.json", "public.json"]);
        let piped = std::process::Stdio::piped;
        command.current_dir(folder.path()).stdin(piped()).stderr(piped());
        let mut process = command.spawn().unwrap();
        // One that refuses early does not read to the end.
        let _ = process.stdin.take().unwrap().write_all(bytes);
        process.wait_with_output().unwrap()
    };
    let vk = json::read_verifying_key(&read_json(data("nocons.vk.json").as_ref())).unwrap();
    for from in [
        "-",
        #[cfg(unix)]
        "/dev/stdin",
    ] {
        let output = prove(from, &witness);
        assert!(output.status.success(), "{from}: {}", String::from_utf8_lossy(&output.stderr));
        json::read_proof(&read_json(&folder.path().join("proof.json"))).unwrap();
        assert!(json::read_public(&read_json(&folder.path().join("public.json"))).unwrap().is_empty());
    }
    assert_eq!(vk.ic.len(), 1);
    let endless = prove("-", &vec![0; 1 << 20]);
    let text = String::from_utf8_lossy(&endless.stderr);
    assert!(!endless.status.success() && text.contains("more than"), "{text}");
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
