//! Matrices through files, and files that are damaged.

use crate::common::{Chain, Mixed, witness_of};
use bellman::Circuit;
use bn254::Fr;
use proptest::prelude::*;
use prover::{Matrices, MatricesError};

fn file_of<C: Circuit<Fr>>(shape: C) -> Vec<u8> {
    let mut bytes = Vec::new();
    Matrices::synthesize(shape).unwrap().write_to(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Matrices, MatricesError> {
    Matrices::read_from(bytes, bytes.len() as u64)
}

#[test]
fn matrices_survive_the_way_through_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("matrices");
    let original = Matrices::synthesize(Mixed::shape()).unwrap();
    original.write(&path).unwrap();
    let copy = Matrices::open(&path).unwrap();
    assert_eq!(copy.digest(), original.digest());
    assert_eq!((copy.inputs(), copy.aux()), (original.inputs(), original.aux()));
    assert_eq!((copy.a(), copy.b(), copy.c()), (original.a(), original.b(), original.c()));
    assert_eq!(copy.coefficient_table(), original.coefficient_table());
    assert_eq!(copy.is_satisfied(&witness_of(Mixed::new(9))), Ok(()));
    let missing = Matrices::open(&folder.path().join("none")).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
}

#[test]
fn sizes_that_no_file_could_have_are_refused_before_memory_is_taken() {
    let good = file_of(Chain::shape(4));
    for at in (16..72).step_by(8) {
        for size in [u64::MAX, u64::MAX / 8, 1 << 40, 0] {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&size.to_le_bytes());
            assert!(read(&bytes).is_err(), "{size} at {at}");
        }
    }
}

#[test]
fn each_broken_rule_is_named() {
    let good = file_of(Chain::shape(4));
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        read(&bytes).unwrap_err().to_string()
    };
    // Chain(4): the table has 1, -1, -7; A has 4 rows of one term each.
    let (table, row_ends) = (104, 104 + 3 * 32);
    let (columns, coefficients) = (row_ends + 4 * 8, row_ends + 4 * 8 + 4 * 4);
    for (error, words) in [
        (with(0, b"P0"), "PM-MATRICES-002"),
        (with(8, &[2]), "PM-MATRICES-002"),
        (with(table, &[2]), "begin with 1"),
        (with(table + 64, &[0xff; 32]), "below the modulus"),
        (with(row_ends, &5_u64.to_le_bytes()), "end in order"),
        (with(columns, &6_u32.to_le_bytes()), "what is not there"),
        (with(coefficients, &3_u32.to_le_bytes()), "what is not there"),
        (with(coefficients, &2_u32.to_le_bytes()), "PM-MATRICES-005"),
        (with(72, &[0; 32]), "PM-MATRICES-005"),
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

proptest! {
    #[test]
    fn a_file_cut_short_or_continued_is_refused(cut in any::<prop::sample::Index>(), more in 1_usize..100) {
        let good = file_of(Mixed::shape());
        prop_assert!(read(&good[..cut.index(good.len())]).is_err());
        let longer = [good, vec![0; more]].concat();
        prop_assert!(read(&longer).is_err());
    }

    #[test]
    fn any_changed_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = file_of(Mixed::shape());
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(read(&bytes).is_err());
    }
}
