//! The test vectors of `docs/vectors`: those of other implementations hold here, and those written here are up to date. And the
//! golden digests of all circuits, in `circuits.json` beside this file.

use std::{fs, path::Path};

use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    batch::{BatchInput, Prepared, gadget::BatchCircuit},
    eddsa::{PrivateKey, Signature, verify},
    poseidon,
    shape::Shape,
};
use prover::matrices::Matrices;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

#[path = "../examples/write_vectors/cases.rs"]
#[allow(dead_code)]
mod cases;

#[derive(Deserialize)]
struct File<T> {
    cases: Vec<T>,
}

#[derive(Deserialize)]
struct Poseidon {
    #[serde(with = "bn254::serde_fr_vec")]
    inputs: Vec<Fr>,
    #[serde(with = "bn254::serde_fr")]
    digest: Fr,
}

#[derive(Deserialize)]
struct Eddsa {
    /// Nothing where the vector is about a key without a secret.
    private_key: Option<String>,
    #[serde(with = "bn254::serde_fr")]
    message: Fr,
    public_key: Point,
    signature: Signature,
    /// The code of the error, nothing if the signature is good.
    refused: Option<String>,
}

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let file: File<T> = serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!file.cases.is_empty(), "{name} has no cases");
    file.cases
}

#[test]
fn poseidon_is_circomlib_s_in_every_width() {
    let mut widths = Vec::new();
    for case in read::<Poseidon>("poseidon.json") {
        let digest = match case.inputs[..] {
            [a, b] => poseidon::hash2(a, b),
            [a, b, c, d] => poseidon::hash4([a, b, c, d]),
            [a, b, c, d, e] => poseidon::hash5([a, b, c, d, e]),
            _ => poseidon::hash12(case.inputs.clone().try_into().unwrap()),
        };
        assert_eq!(digest, case.digest, "{:?}", case.inputs);
        widths.push(case.inputs.len());
    }
    widths.dedup();
    assert_eq!(widths, [2, 4, 5, 12]);
}

#[test]
fn signatures_are_zk_kit_s_bit_by_bit_and_refusals_have_their_codes() {
    let mut codes = Vec::new();
    for case in read::<Eddsa>("eddsa.json") {
        if let Some(secret) = &case.private_key {
            let secret = hex::decode(secret.trim_start_matches("0x")).unwrap();
            let key = PrivateKey::new(secret.try_into().unwrap());
            assert_eq!(key.public(), case.public_key);
            assert_eq!(key.sign(&case.message), case.signature);
        }
        let outcome = verify(&case.public_key, &case.message, &case.signature);
        match case.refused {
            None => assert_eq!(outcome, Ok(())),
            Some(code) => {
                assert!(outcome.unwrap_err().to_string().starts_with(&code), "{code}: {outcome:?}");
                codes.push(code);
            }
        }
    }
    codes.sort();
    codes.dedup();
    let all: Vec<String> = (1..=6).map(|i| format!("PM-EDDSA-00{i}")).collect();
    assert_eq!(codes, all, "every refusal has a vector");
}

#[test]
fn the_files_written_here_are_up_to_date() {
    for (name, contents) in cases::files().unwrap() {
        // Not assert_eq: a difference would print two whole files.
        assert!(
            text(name) == cases::pretty(&contents).unwrap(),
            "{name} differs; run `cargo run --release -p proofmill-circuits --example write_vectors` and read the diff"
        );
    }
}

#[test]
fn every_batch_reads_back_and_is_accepted_with_the_same_words() {
    for case in read::<Value>("batch_s3m1.json") {
        let name = &case["name"];
        let input: BatchInput = serde_json::from_value(case["input"].clone()).unwrap();
        let batch = Prepared::new(input).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(batch.check_signatures(), Ok(()), "{name}");
        let words: Vec<String> = batch.public_data.words().iter().map(bn254::fr_to_hex).collect();
        assert_eq!(serde_json::json!(words), case["d"], "{name}");
        let inputs = batch.public_inputs().map(|word| Value::from(bn254::fr_to_hex(&word)));
        assert_eq!(inputs, [case["h"].clone(), case["c"].clone(), case["e"].clone()], "{name}");
    }
}

/// What keys, the contract and the workers know a circuit by.
fn identity(shape: Shape) -> Value {
    let circuit = Matrices::synthesize(BatchCircuit(&Prepared::blank(shape)));
    let matrices = circuit.unwrap_or_else(|error| panic!("{shape}: {error}"));
    serde_json::json!({
        "circuit": shape.name(),
        "constraints": matrices.constraints(),
        "private_variables": matrices.aux(),
        "digest": format!("0x{}", hex::encode(matrices.digest())),
    })
}

fn circuits_are_what_they_were(shapes: &[Shape]) {
    let golden: Vec<Value> =
        serde_json::from_str(include_str!("circuits.json")).expect("circuits.json is JSON");
    let names: Vec<&Value> = golden.iter().map(|circuit| &circuit["circuit"]).collect();
    assert_eq!(
        names,
        ["s3m1", "s14m2", "s4m60", "s60m4", "s252m4", "s1020m4"],
        "every circuit has a golden digest"
    );
    assert_eq!(names.len(), Shape::ALL.len());
    for shape in shapes {
        let identity = identity(*shape);
        println!("{identity}");
        assert!(
            golden.contains(&identity),
            "{shape} is another circuit: {identity}. No key made before fits it; if that is meant, change circuits.json"
        );
    }
}

#[test]
fn the_small_circuits_have_their_golden_digests() {
    circuits_are_what_they_were(&[Shape::S3M1, Shape::S14M2, Shape::S4M60]);
}

#[test]
#[ignore = "minutes, and 4 GB of memory; scripts/mutate-circuits runs it"]
fn the_large_circuits_have_their_golden_digests() {
    circuits_are_what_they_were(&[Shape::S60M4, Shape::S252M4, Shape::S1020M4]);
}
