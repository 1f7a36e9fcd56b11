//! Digits, buckets, parts and reductions: sums of every size class against the processor.

use bn254::{Curve, CurveAffine, Field, Fr, G1, G1Affine, G2Affine, msm_g1, msm_g2};
use cuda::kernels::CardPoint;
use proptest::prelude::*;

use crate::card::context;
use crate::samples::{elements, fr_samples, points, witness_scalars};

#[test]
fn digits_are_balanced_and_add_up_to_the_scalar() {
    let card = context();
    let scalars = fr_samples(5);
    for window_bits in 2..=24 {
        let half = 1_i64 << (window_bits - 1);
        for (scalar, digits) in scalars.iter().zip(card.digits(&scalars, window_bits).unwrap()) {
            let mut sum = Fr::ZERO;
            for digit in digits.iter().rev() {
                assert!(
                    i64::from(digit.unsigned_abs()) <= half,
                    "{digit} with windows of {window_bits} bits"
                );
                let size = Fr::from(u64::from(digit.unsigned_abs()));
                sum = sum * Fr::from(1 << window_bits) + if *digit < 0 { -size } else { size };
            }
            assert_eq!(sum, *scalar, "windows of {window_bits} bits");
        }
    }
}

#[test]
fn small_scalars_of_either_sign_have_one_digit() {
    let card = context();
    let scalars = [Fr::ONE, -Fr::ONE, Fr::from(100), -Fr::from(100)];
    for digits in card.digits(&scalars, 12).unwrap() {
        assert_eq!(digits.iter().filter(|digit| **digit != 0).count(), 1, "{digits:?}");
    }
}

fn check_g1(points: &[G1Affine], scalars: &[Fr], window_bits: u32, copies: u32) {
    let found = context().bases(points, window_bits, copies).unwrap().sum(scalars).unwrap().value;
    let expected = msm_g1(points, scalars).to_affine();
    assert_eq!(found, expected, "{} points, windows of {window_bits} bits, {copies} copies", points.len());
}

#[test]
fn sums_of_awkward_sizes_agree_in_g1() {
    for len in [0, 1, 2, 3, 31, 32, 33, 63, 65, 127, 129, 255, 257, 1023, 1025] {
        let points = points::<G1Affine>(len, len as u64);
        check_g1(&points, &witness_scalars(len, len as u64 + 1), 0, 0);
        check_g1(&points, &elements(len, len as u64 + 2), 0, 1);
    }
}

#[test]
fn sums_of_awkward_sizes_agree_in_g2() {
    let card = context();
    for len in [0, 1, 2, 31, 33, 257] {
        let points = points::<G2Affine>(len, len as u64);
        for (scalars, copies) in [(witness_scalars(len, 1), 0), (elements(len, 2), 1)] {
            let found = card.bases(&points, 0, copies).unwrap().sum(&scalars).unwrap().value;
            assert_eq!(found, msm_g2(&points, &scalars).to_affine(), "{len} points, {copies} copies");
        }
    }
}

#[test]
fn every_window_and_number_of_copies_gives_the_same_sum() {
    let points = points::<G1Affine>(70, 3);
    let scalars: Vec<Fr> = elements::<Fr>(1000, 4).split_off(930);
    for window_bits in [2, 3, 5, 8, 11, 13, 16] {
        for copies in [1, 2, 3, 7, 64] {
            check_g1(&points, &scalars, window_bits, copies);
        }
    }
}

#[test]
fn one_scalar_for_all_points_fills_one_bucket_over_many_chunks() {
    for scalar in [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(77), Fr::from(0xdead_beef_u64)] {
        let points = points::<G1Affine>(3000, 8);
        check_g1(&points, &vec![scalar; points.len()], 0, 0);
    }
}

#[test]
fn one_point_repeated_and_opposite_points_are_added_correctly() {
    for len in [33_usize, 700, 1201] {
        let generator = G1Affine::generator();
        check_g1(&vec![generator; len], &vec![-Fr::ONE; len], 0, 0);
        let alternating: Vec<_> = (0..len).map(|i| if i % 2 == 0 { generator } else { -generator }).collect();
        check_g1(&alternating, &vec![Fr::from(5); len], 0, 0);
    }
    let infinity = vec![G1Affine::default(); 100];
    check_g1(&infinity, &elements(100, 1), 0, 0);
}

#[test]
fn a_larger_sum_agrees_with_many_modules_and_with_one() {
    let points = points::<G1Affine>(20_000, 12);
    let scalars = witness_scalars(20_000, 13);
    check_g1(&points, &scalars, 0, 1);
    check_g1(&points, &scalars, 0, 0);
}

#[test]
fn the_same_input_gives_the_same_sum_every_time() {
    let points = points::<G1Affine>(2000, 21);
    let scalars = witness_scalars(2000, 22);
    let bases = context().bases(&points, 0, 0).unwrap();
    let expected = msm_g1(&points, &scalars).to_affine();
    for _ in 0..20 {
        assert_eq!(bases.sum(&scalars).unwrap().value, expected);
    }
}

fn linear<C: CurveAffine<ScalarExt = Fr> + CardPoint>(seed: u64, len: usize, window_bits: u32, copies: u32)
where
    C::Curve: Curve<AffineRepr = C>,
{
    let points = points::<C>(len, seed);
    let (a, b) = (witness_scalars(len, seed + 1), elements::<Fr>(len, seed + 2));
    let both: Vec<Fr> = a.iter().zip(&b).map(|(a, b)| *a + b).collect();
    let bases = context().bases(&points, window_bits, copies).unwrap();
    let sum = |scalars: &[Fr]| bases.sum(scalars).unwrap().value;
    assert_eq!((sum(&a).to_curve() + sum(&b)).to_affine(), sum(&both));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sums_are_linear_in_the_scalars(
        seed in any::<u64>(), len in 0_usize..150, window_bits in 2_u32..=12, copies in 1_u32..=30,
    ) {
        linear::<G1Affine>(seed, len, window_bits, copies);
        linear::<G2Affine>(seed, len.min(20), window_bits, copies);
    }
}

#[test]
fn a_window_that_does_not_exist_is_refused() {
    let card = context();
    for window_bits in [1, 25] {
        let error = card.bases(&[G1::generator().to_affine()], window_bits, 0).err().unwrap();
        assert!(error.to_string().contains("2..24"), "{error}");
    }
}
