use super::*;
use crate::Fr;
use group::{Curve, prime::PrimeCurveAffine};

/// [r]P by double and add.
fn times_r(point: &G2Affine) -> G2 {
    let r_minus_one: [u8; 32] = (-Fr::ONE).to_repr().into();
    let limbs = limbs_of(&r_minus_one);
    let almost = (0..256).rev().fold(G2::identity(), |acc, bit| {
        let doubled = acc.double();
        if (limbs[bit / 64] >> (bit % 64)) & 1 == 1 { doubled + point } else { doubled }
    });
    almost + point
}

#[test]
fn the_endomorphism_test_agrees_with_multiplication_by_r() {
    let generator = G2Affine::generator();
    let mut inside = vec![G2Affine::identity(), generator, -generator];
    inside.extend((2..20_u64).map(|k| (generator * Fr::from(k * k + 1)).to_affine()));
    for point in &inside {
        assert!(is_in_g2(point));
        assert!(bool::from(times_r(point).is_identity()));
    }
    let outside: Vec<_> = (0..40).filter_map(twist_point_outside_g2).collect();
    assert!(outside.len() > 5);
    for (point, good) in outside.iter().zip(inside.iter().cycle()) {
        assert!(!bool::from(times_r(point).is_identity()));
        let mixed = (G2::from(*point) + good).to_affine();
        assert!(!is_in_g2(&mixed));
    }
}

#[test]
fn a_point_off_the_twist_is_refused() {
    let mut point = G2Affine::generator();
    point.y += Fq2::one();
    assert!(!is_in_g2(&point));
}
