//! Additions and doublings with all their exceptional cases.

use bn254::{CurveAffine, Fr, G1Affine, G2Affine};
use cuda::kernels::{CardPoint, CurveOp};
use group::Curve;

use crate::card::context;
use crate::samples::points;

/// Pairs with each case among them: both at infinity, one, equal, opposite, different.
fn cases<C: CurveAffine<ScalarExt = Fr>>(len: usize, seed: u64) -> (Vec<C>, Vec<C>) {
    let left = points::<C>(len, seed);
    let right = (0..len)
        .map(|i| match i % 6 {
            0 => left[i],
            1 => left[i].neg(),
            2 => C::identity(),
            _ => left[i * 5 % len],
        })
        .collect();
    (left, right)
}

fn agrees<C: CurveAffine<ScalarExt = Fr> + CardPoint>(len: usize) {
    let card = context();
    let (a, b) = cases::<C>(len, 9);
    let compare = |op: CurveOp, expected: &dyn Fn(C, C) -> C::Curve| {
        let found = card.curve_op(op, &a, &b).unwrap();
        for i in 0..len {
            let expected = expected(a[i], b[i]).to_affine();
            assert!(found[i] == expected, "{op:?} of {:?} and {:?} gives {:?}", a[i], b[i], found[i]);
        }
    };
    compare(CurveOp::Add, &|a, b| a + b);
    compare(CurveOp::Sub, &|a, b| a - b);
    compare(CurveOp::AddGeneral, &|a, b| a + b);
    compare(CurveOp::Double, &|a, _| a + a);
    compare(CurveOp::Times256, &|a, _| a * Fr::from(256));
}

#[test]
fn g1_agrees_with_the_processor_in_every_case() {
    agrees::<G1Affine>(600);
}

#[test]
fn g2_agrees_with_the_processor_in_every_case() {
    agrees::<G2Affine>(300);
}
