//! A key file is taken only when it is whole, of this circuit, and fit for use.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use crate::common::{Mixed, key_of};
use bn254::{CurveAffine, Fq, G1Affine, G2Affine, PrimeCurveAffine};
use proptest::prelude::*;
use prover::iden3::{Iden3Error, json};
use prover::key::Origin;
use prover::{
    DevTrapdoor, Key, KeyError, KeyParts, Matrices, NoProgress, VerifyingKey, VerifyingKeyError, generate,
};

fn written(folder: &Path, parts: &KeyParts) -> std::path::PathBuf {
    let path = folder.join("mixed.pmkey");
    parts.write(&path).unwrap();
    path
}

fn code(error: &dyn std::error::Error) -> String {
    error.to_string().chars().take_while(|c| *c != ':').collect()
}

#[test]
fn a_written_key_opens_unchanged_and_says_that_it_is_unsafe() {
    let folder = tempfile::tempdir().unwrap();
    let (matrices, parts) = key_of(Mixed::shape());
    let key = Key::open(&written(folder.path(), &parts), Some(matrices.digest())).unwrap();
    assert_eq!(key.origin(), &Origin::UnsafeDev { seed: "tests".into() });
    assert!(!key.origin().is_safe());
    assert_eq!((key.inputs(), key.aux(), key.constraints()), (3, 65, 67));
    assert_eq!(key.domain_log(), matrices.domain_log());
    assert_eq!(key.verifying_key(), &parts.vk);
    assert_eq!((key.a_columns(), key.a()), (&parts.a_columns[..], &parts.a[..]));
    assert_eq!((key.b_columns(), key.b1(), key.b2()), (&parts.b_columns[..], &parts.b1[..], &parts.b2[..]));
    assert_eq!((key.l(), key.h()), (&parts.l[..], &parts.h[..]));
    key.check_points().unwrap();
    // No temporary file is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn one_seed_gives_one_key_and_another_seed_another() {
    let matrices = Matrices::synthesize(Mixed::shape()).unwrap();
    let [first, again, other] =
        ["a", "a", "b"].map(|seed| generate(&matrices, &DevTrapdoor::from_seed(seed), &NoProgress).unwrap());
    assert_eq!(first, again);
    assert_ne!(first.vk.digest(), other.vk.digest());
}

#[test]
fn the_key_of_another_circuit_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (_, parts) = key_of(Mixed::shape());
    let other = Matrices::synthesize(Mixed { tweak: 1, ..Mixed::shape() }).unwrap();
    let error = Key::open(&written(folder.path(), &parts), Some(other.digest())).unwrap_err();
    assert!(matches!(error, KeyError::OtherCircuit { .. }));
    assert_eq!(code(&error), "PM-KEY-007");
}

#[test]
fn every_single_damaged_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (matrices, parts) = key_of(Mixed::shape());
    let path = written(folder.path(), &parts);
    let good = fs::read(&path).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    // Every byte of the header and of the first sections, then a stride that is prime to all sizes.
    let places = (0..2600).chain((2600..good.len()).step_by(97)).chain(good.len() - 70..good.len());
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        let error = Key::open(&path, Some(matrices.digest())).expect_err(&format!("byte {at}"));
        seen.insert(match &error {
            KeyError::CorruptSection(section) => format!("PM-KEY-006 {section}"),
            other => code(other),
        });
    }
    let sections = ["verifying key", "A columns", "A", "B columns", "B1", "B2", "L", "H"];
    for expected in sections.map(|name| format!("PM-KEY-006 {name}")) {
        assert!(seen.contains(&expected), "{expected} not among {seen:?}");
    }
    for expected in ["PM-KEY-002", "PM-KEY-003", "PM-KEY-005"] {
        assert!(seen.contains(expected), "{expected} not among {seen:?}");
    }
    fs::write(&path, &good).unwrap();
    Key::open(&path, Some(matrices.digest())).unwrap();
}

proptest! {
    #[test]
    fn a_forged_header_with_a_right_checksum_is_refused_too(
        at in prop_oneof![8_usize..128, 384_usize..992],
        value in any::<u64>(),
        width in 1_usize..8,
    ) {
        static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let folder = tempfile::tempdir().unwrap();
            fs::read(written(folder.path(), &key_of(Mixed::shape()).1)).unwrap()
        });
        let mut bad = GOOD.clone();
        let end = (at + width).min(992);
        bad[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        prop_assume!(bad != *GOOD);
        let sum = blake3::hash(&bad[..992]);
        bad[992..1024].copy_from_slice(sum.as_bytes());
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bad).unwrap();
        let circuit = GOOD[64..96].try_into().unwrap();
        // Another number of constraints in the same domain tells nothing wrong that is used: provers take it of the matrices,
        // which the digest binds.
        let constraints = u64::from_le_bytes(GOOD[40..48].try_into().unwrap());
        if let Ok(key) = Key::open(file.path(), Some(circuit)) {
            prop_assert_ne!(key.constraints() as u64, constraints);
        }
    }
}

#[test]
fn a_seed_that_takes_in_its_padding_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &key_of(Mixed::shape()).1);
    let mut bad = fs::read(&path).unwrap();
    bad[52] += 1;
    let sum = blake3::hash(&bad[..992]);
    bad[992..1024].copy_from_slice(sum.as_bytes());
    fs::write(&path, &bad).unwrap();
    assert_eq!(code(&Key::open(&path, None).unwrap_err()), "PM-KEY-008");
}

#[test]
fn a_file_that_is_cut_or_continued_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (matrices, parts) = key_of(Mixed::shape());
    let path = written(folder.path(), &parts);
    let good = fs::read(&path).unwrap();
    for len in (0..1100).chain((1100..good.len()).step_by(331)).chain([good.len() - 1]) {
        fs::write(&path, &good[..len]).unwrap();
        let error = Key::open(&path, Some(matrices.digest())).expect_err(&format!("{len} bytes"));
        assert!(matches!(error, KeyError::Length { .. }), "{len} bytes: {error}");
    }
    let mut longer = good.clone();
    longer.push(0);
    fs::write(&path, &longer).unwrap();
    assert_eq!(code(&Key::open(&path, None).unwrap_err()), "PM-KEY-004");
    assert_eq!(code(&Key::open(&folder.path().join("none"), None).unwrap_err()), "PM-KEY-001");
}

#[test]
fn keys_with_bad_points_are_refused_although_their_checksums_are_right() {
    let (_, parts) = key_of(Mixed::shape());
    let refused = |change: &dyn Fn(&mut KeyParts)| {
        let mut bad = parts.clone();
        change(&mut bad);
        match Key::from_parts(&bad).unwrap_err() {
            KeyError::VerifyingKey(error) => error,
            other => panic!("{other}"),
        }
    };
    let outside = (0..20).find_map(bn254::subgroup::twist_point_outside_g2).unwrap();
    assert_eq!(
        refused(&|key| key.vk.delta_g2 = key.vk.gamma_g2),
        VerifyingKeyError::Degenerate("delta", "gamma")
    );
    assert_eq!(refused(&|key| key.vk.gamma_g2 = outside), VerifyingKeyError::OutsideSubgroup("gamma in G2"));
    assert_eq!(
        refused(&|key| key.vk.alpha_g1.x += Fq::from(1)),
        VerifyingKeyError::NotOnCurve("alpha in G1")
    );
    assert_eq!(
        refused(&|key| key.vk.ic[1] = G1Affine::identity()),
        VerifyingKeyError::Infinity("an input point")
    );
    assert_eq!(
        refused(&|key| key.vk.beta_g2 = G2Affine::generator()),
        VerifyingKeyError::Inconsistent("beta")
    );
    assert_eq!(
        refused(&|key| key.vk.delta_g1 = G1Affine::generator()),
        VerifyingKeyError::Inconsistent("delta")
    );
}

/// Keys that anybody can forge proofs for, and what is wrong with each. Their points are in their groups and agree in G1 and G2.
pub fn forgeable_keys() -> Vec<(VerifyingKey, VerifyingKeyError)> {
    let vk = key_of(Mixed::shape()).1.vk;
    let with_beta = |(g1, g2): (G1Affine, G2Affine)| VerifyingKey { beta_g1: g1, beta_g2: g2, ..vk.clone() };
    let with_delta =
        |(g1, g2): (G1Affine, G2Affine)| VerifyingKey { delta_g1: g1, delta_g2: g2, ..vk.clone() };
    let seed = DevTrapdoor::from_seed("tests");
    let gamma_g1 = bn254::Curve::to_affine(&(G1Affine::generator() * seed.gamma));
    let [beta, gamma, delta, one] = [
        (vk.beta_g1, vk.beta_g2),
        (gamma_g1, vk.gamma_g2),
        (vk.delta_g1, vk.delta_g2),
        (G1Affine::generator(), G2Affine::generator()),
    ];
    let minus = |(g1, g2): (G1Affine, G2Affine)| (-g1, -g2);
    let mut keys = Vec::new();
    for same in [beta, minus(beta)] {
        keys.push((with_delta(same), VerifyingKeyError::Degenerate("delta", "beta")));
    }
    for same in [gamma, minus(gamma)] {
        keys.push((with_delta(same), VerifyingKeyError::Degenerate("delta", "gamma")));
        keys.push((with_beta(same), VerifyingKeyError::Degenerate("beta", "gamma")));
    }
    for same in [delta, minus(delta)] {
        keys.push((with_beta(same), VerifyingKeyError::Degenerate("delta", "beta")));
    }
    for known in [one, minus(one)] {
        keys.push((with_delta(known), VerifyingKeyError::KnownSecret("delta")));
        keys.push((with_beta(known), VerifyingKeyError::KnownSecret("beta")));
        let alpha = VerifyingKey { alpha_g1: known.0, ..vk.clone() };
        keys.push((alpha, VerifyingKeyError::KnownSecret("alpha")));
    }
    keys
}

#[test]
fn keys_that_anybody_can_forge_proofs_for_are_refused_by_every_reader() {
    let (_, parts) = key_of(Mixed::shape());
    let folder = tempfile::tempdir().unwrap();
    for (vk, expected) in forgeable_keys() {
        assert_eq!(vk.validate(), Err(expected.clone()));
        assert!(["PM-VK-004", "PM-VK-007"].contains(&code(&expected).as_str()));
        let bad = KeyParts { vk: vk.clone(), ..parts.clone() };
        let opened = Key::open(&written(folder.path(), &bad), None).unwrap_err();
        assert!(matches!(opened, KeyError::VerifyingKey(error) if error == expected));
        let of_gnark = prover::gnark::read_verifying_key(&prover::gnark::write_verifying_key(&vk));
        assert_eq!(of_gnark, Err(prover::gnark::GnarkError::VerifyingKey(expected.clone())));
        let of_snarkjs = json::read_verifying_key(&json::write_verifying_key(&vk)).unwrap_err();
        assert!(matches!(of_snarkjs, Iden3Error::Key(KeyError::VerifyingKey(error)) if error == expected));
    }
    let (good, good_json) = (&parts.vk, json::write_verifying_key(&parts.vk));
    assert_eq!(json::read_verifying_key(&good_json).unwrap(), good.public());
    let mut nothing = good_json.clone();
    nothing["IC"] = serde_json::json!([]);
    assert_eq!(code(&json::read_verifying_key(&nothing).unwrap_err()), "PM-KEY-009");
    let mut infinite = good_json;
    infinite["IC"][0] = serde_json::json!(["0", "0", "1"]);
    assert!(json::read_verifying_key(&infinite).unwrap_err().to_string().contains("PM-VK-001"));
}

#[test]
fn checking_all_points_finds_what_checksums_cannot() {
    let (_, parts) = key_of(Mixed::shape());
    let outside = (0..20).find_map(bn254::subgroup::twist_point_outside_g2).unwrap();
    assert!(bool::from(outside.is_on_curve()));
    let mut bad = parts.clone();
    bad.b2[3] = outside;
    let key = Key::from_parts(&bad).unwrap();
    assert!(matches!(key.check_points(), Err(KeyError::InvalidPoint("B2"))));
    let mut bad = parts;
    bad.h[0].y += Fq::from(1);
    assert!(matches!(Key::from_parts(&bad).unwrap().check_points(), Err(KeyError::InvalidPoint("H"))));
}

#[test]
fn bellmans_parameters_come_back_as_a_key_that_proves() {
    use prover::{Cancel, CpuBackend, Prover};
    use std::sync::Arc;
    let (matrices, parts) = key_of(Mixed::shape());
    let parameters = Key::from_parts(&parts).unwrap().to_bellman_parameters().unwrap();
    let origin = Origin::UnsafeImported { transcript: [7; 32] };
    let back = KeyParts::from_bellman_parameters(&parameters, &matrices, origin.clone()).unwrap();
    assert_eq!((&back.a_columns, &back.b_columns), (&parts.a_columns, &parts.b_columns));
    let folder = tempfile::tempdir().unwrap();
    let key = Key::open(&written(folder.path(), &back), Some(matrices.digest())).unwrap();
    assert_eq!(key.origin(), &origin);
    assert!(!key.origin().is_safe(), "nobody verified a transcript");
    let prover = Prover::new(Arc::new(CpuBackend::new()), Arc::new(key), matrices).unwrap();
    prover.prove(&crate::common::witness_of(Mixed::new(99)), &Cancel::new()).unwrap();

    let other = Matrices::synthesize(crate::common::Chain::shape(5)).unwrap();
    let error = KeyParts::from_bellman_parameters(&parameters, &other, origin).unwrap_err();
    assert_eq!(code(&error), "PM-KEY-008");
}
