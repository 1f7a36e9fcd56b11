//! Multi-scalar multiplication: sum of scalar_i * point_i in G1 and G2.
//!
//! Witnesses are full of zeros and ones (selectors, bits, padding). [`msm_g1`] and [`msm_g2`] drop the zeros, add up the
//! points of the ones, and give only what remains to the bucket method.

use ff::Field;
use group::Group;
use halo2curves::CurveAffine;
use halo2curves::msm::msm_best;
use rayon::prelude::*;

use crate::{Fr, G1, G1Affine, G2, G2Affine};

/// Scalars that one task looks at.
const CHUNK: usize = 1 << 12;

/// Sum of `scalars[i] * points[i]` in G1. Points at infinity and repeated points are fine.
///
/// # Panics
/// When the lengths differ.
pub fn msm_g1(points: &[G1Affine], scalars: &[Fr]) -> G1 {
    msm(points, scalars)
}

/// Sum of `scalars[i] * points[i]` in G2. Points at infinity and repeated points are fine.
///
/// # Panics
/// When the lengths differ.
pub fn msm_g2(points: &[G2Affine], scalars: &[Fr]) -> G2 {
    msm(points, scalars)
}

struct Split<C: CurveAffine> {
    sum_of_ones: C::Curve,
    scalars: Vec<Fr>,
    points: Vec<C>,
}

fn msm<C: CurveAffine<ScalarExt = Fr>>(points: &[C], scalars: &[Fr]) -> C::Curve {
    assert_eq!(points.len(), scalars.len(), "one scalar per point");
    let parts: Vec<Split<C>> = points
        .par_chunks(CHUNK)
        .zip(scalars.par_chunks(CHUNK))
        .map(|(points, scalars)| {
            let mut split =
                Split { sum_of_ones: C::Curve::identity(), scalars: Vec::new(), points: Vec::new() };
            for (point, scalar) in points.iter().zip(scalars) {
                if bool::from(point.is_identity()) || *scalar == Fr::ZERO {
                    continue;
                }
                if *scalar == Fr::ONE {
                    split.sum_of_ones += *point;
                } else {
                    split.scalars.push(*scalar);
                    split.points.push(*point);
                }
            }
            split
        })
        .collect();
    let ones = parts.iter().fold(C::Curve::identity(), |sum, part| sum + part.sum_of_ones);
    let remaining = parts.iter().map(|part| part.scalars.len()).sum();
    if remaining == 0 {
        return ones;
    }
    let mut rest_points = Vec::with_capacity(remaining);
    let mut rest_scalars = Vec::with_capacity(remaining);
    for part in parts {
        rest_points.extend(part.points);
        rest_scalars.extend(part.scalars);
    }
    ones + msm_best(&rest_scalars, &rest_points)
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
