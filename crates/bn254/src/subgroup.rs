//! Membership of G2 points in the subgroup of order r.
//!
//! The twist E'(Fq2) has a cofactor, and halo2curves' decoders accept every point of it. Points that come from outside
//! pass [`is_in_g2`] before use. G1 has cofactor one: every point of the curve is in the group.
//!
//! The test is that of Dai, He, Koshelev, Peng and Zhao, "Fast subgroup membership testings for G1, G2 and GT on
//! pairing-friendly curves" (2022): for BN curves with parameter x, P has order r exactly when
//! `[x+1]P + psi([x]P) + psi^2([x]P) = psi^3([2x]P)`, where psi is the untwist-Frobenius-twist endomorphism.
//! halo2curves' `is_torsion_free` computes the same but prints a line per bit of x, so it is not used.

use std::sync::LazyLock;

use ff::{Field, PrimeField};
use group::Group;
use halo2curves::CurveAffine;

use crate::{Fq, Fq2, G2, G2Affine};

/// The BN parameter of BN254.
const BN_X: u64 = 4_965_661_367_192_848_881;

/// xi^((q-1)/3) and xi^((q-1)/2) with xi = 9 + u: what conjugated affine coordinates are multiplied by in psi.
static PSI_FACTORS: LazyLock<(Fq2, Fq2)> = LazyLock::new(|| {
    let xi = Fq2::new(Fq::from(9), Fq::ONE);
    let q_minus_one: [u8; 32] = (-Fq::ONE).to_repr().into();
    let q_minus_one = limbs_of(&q_minus_one);
    (xi.pow_vartime(divided(q_minus_one, 3)), xi.pow_vartime(divided(q_minus_one, 2)))
});

fn limbs_of(bytes: &[u8; 32]) -> [u64; 4] {
    let mut limbs = [0; 4];
    for (i, byte) in bytes.iter().enumerate() {
        limbs[i / 8] |= u64::from(*byte) << (8 * (i % 8));
    }
    limbs
}

/// Exact or truncated division of a 256-bit number by a small one.
fn divided(mut limbs: [u64; 4], divisor: u64) -> [u64; 4] {
    let mut remainder = 0_u128;
    for limb in limbs.iter_mut().rev() {
        let value = (remainder << 64) | u128::from(*limb);
        *limb = (value / u128::from(divisor)) as u64;
        remainder = value % u128::from(divisor);
    }
    limbs
}

fn psi(mut point: G2) -> G2 {
    let (x, y) = *PSI_FACTORS;
    point.x.conjugate();
    point.y.conjugate();
    point.z.conjugate();
    point.x *= x;
    point.y *= y;
    point
}

fn times_x(point: &G2) -> G2 {
    (0..63).rev().fold(G2::identity(), |acc, bit| {
        let doubled = acc.double();
        if (BN_X >> bit) & 1 == 1 { doubled + point } else { doubled }
    })
}

/// Whether an affine point lies on the twist and in the subgroup of order r (infinity does).
pub fn is_in_g2(point: &G2Affine) -> bool {
    if !bool::from(point.is_on_curve()) {
        return false;
    }
    let point = G2::from(*point);
    let xp = times_x(&point);
    let psi1 = psi(xp);
    let psi2 = psi(psi1);
    let psi3 = psi(psi2);
    bool::from((xp + point + psi1 + psi2 - psi3.double()).is_identity())
}

/// A point of the twist outside the subgroup, found from `seed`: for tests of everything that must refuse one.
///
/// Returns `None` when the x coordinate of this seed has no point on the twist (about half of them).
pub fn twist_point_outside_g2(seed: u64) -> Option<G2Affine> {
    let x = Fq2::new(Fq::from(seed), Fq::ONE);
    let y: Option<Fq2> = (x.square() * x + G2Affine::b()).sqrt().into();
    let point: Option<G2Affine> = G2Affine::from_xy(x, y?).into();
    point.filter(|point| !is_in_g2(point))
}

#[cfg(test)]
mod tests;
