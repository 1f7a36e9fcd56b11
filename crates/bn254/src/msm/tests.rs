use super::*;
use crate::CurveAffine;
use ff::Field;
use group::Curve;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

fn naive<C: CurveAffine<ScalarExt = Fr>>(points: &[C], scalars: &[Fr]) -> C::Curve {
    points.iter().zip(scalars).fold(C::Curve::identity(), |sum, (point, scalar)| sum + *point * *scalar)
}

/// Points with repetitions, negatives and infinity among them; scalars with 0, 1, -1 and small ones among them.
fn awkward<C: CurveAffine<ScalarExt = Fr>>(len: usize, seed: u64) -> (Vec<C>, Vec<Fr>) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let pool: Vec<C> = (0..8).map(|_| (C::generator() * Fr::random(&mut rng)).to_affine()).collect();
    let points = (0..len)
        .map(|i| match rng.next_u32() % 6 {
            0 => pool[i % 8],
            1 => pool[i % 8].neg(),
            2 => C::identity(),
            _ => (C::generator() * Fr::random(&mut rng)).to_affine(),
        })
        .collect();
    let scalars = (0..len)
        .map(|_| match rng.next_u32() % 8 {
            0 => Fr::ZERO,
            1 => Fr::ONE,
            2 => -Fr::ONE,
            3 => Fr::from(u64::from(rng.next_u32() % 5)),
            4 => Fr::from(77),
            _ => Fr::random(&mut rng),
        })
        .collect();
    (points, scalars)
}

#[test]
fn awkward_inputs_of_every_size_class_agree_with_the_plain_sum() {
    for (seed, len) in [0, 1, 2, 3, 31, 32, 33, 200, 1100, 5000].into_iter().enumerate() {
        let (points, scalars) = awkward::<G1Affine>(len, seed as u64);
        assert_eq!(msm_g1(&points, &scalars), naive(&points, &scalars), "G1, {len}");
    }
    for (seed, len) in [0, 1, 31, 33, 300].into_iter().enumerate() {
        let (points, scalars) = awkward::<G2Affine>(len, seed as u64);
        assert_eq!(msm_g2(&points, &scalars), naive(&points, &scalars), "G2, {len}");
    }
}

fn check_instruction_sets<C: MsmCurve>(lens: &[usize], widths: &[u32]) {
    for (seed, len) in lens.iter().enumerate() {
        let (points, scalars) = awkward::<C>(*len, seed as u64 + 50);
        let expected = naive(&points, &scalars);
        for isa in crate::isa::Isa::available() {
            let bases = Bases::with_isa(&points, isa);
            for width in widths {
                let digits = Digits::with_width(&scalars, *width);
                let sum = Sum::new(&bases, &digits);
                sum_all(&[&sum], &NoControl).unwrap();
                assert_eq!(sum.result(), expected, "{isa}, {len} points, width {width}");
            }
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_the_plain_sum_at_every_width() {
    check_instruction_sets::<G1Affine>(&[1, 7, 500, 5000], &[2, 4, 7, 11, 13, 16]);
    check_instruction_sets::<G2Affine>(&[1, 300], &[3, 8, 12]);
}

#[test]
fn one_point_repeated_with_one_scalar_fills_one_bucket_correctly() {
    for len in [33, 3000, 30_000] {
        let point = G1Affine::generator();
        for scalar in [Fr::ONE, -Fr::ONE, Fr::from(0xdead_beef), Fr::from(2)] {
            let sum = msm_g1(&vec![point; len], &vec![scalar; len]);
            assert_eq!(sum, point * (scalar * Fr::from(len as u64)));
            let alternating: Vec<_> = (0..len).map(|i| if i % 2 == 0 { point } else { -point }).collect();
            let expected = if len % 2 == 0 { G1::identity() } else { point * scalar };
            assert_eq!(msm_g1(&alternating, &vec![scalar; len]), expected);
        }
    }
}
