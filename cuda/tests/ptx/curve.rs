//! probe.cu: additions and doublings with all their exceptional cases.

use bn254::raw::Limbs;
use bn254::{CurveAffine, Fr, G1Affine, G2Affine};
use group::Curve;

use crate::machine::{Arguments, Card};
use crate::samples::points;
use crate::toolkit::unit;

/// The operations of `CurveOp` in probe.cuh.
#[derive(Clone, Copy, Debug)]
enum Op {
    Add,
    Sub,
    AddGeneral,
    Double,
    Times256,
}

/// Pairs with each case among them: both at infinity, one of them, equal, opposite, different.
fn cases<C: CurveAffine<ScalarExt = Fr>>(different: usize) -> (Vec<C>, Vec<C>) {
    let all = points::<C>(different, 5);
    let p: Vec<C> = all.into_iter().filter(|point| *point != C::identity()).collect();
    let zero = C::identity();
    let mut pairs = vec![(zero, zero), (p[0], zero), (zero, p[0]), (p[0], p[0]), (p[0], p[0].neg())];
    // a + b where one is the double of the other, or its negative.
    let double = (p[1] + p[1]).to_affine();
    pairs.extend([(double, p[1]), (p[1], double), (double.neg(), p[1]), (p[1], double.neg())]);
    pairs.extend(p.windows(2).map(|pair| (pair[0], pair[1])));
    pairs.into_iter().unzip()
}

fn agrees<C: CurveAffine<ScalarExt = Fr> + Limbs>(kernel: &str, different: usize) {
    let Some(unit) = unit("probe") else { return };
    let (a, b) = cases::<C>(different);
    let compare = |op: Op, expected: &dyn Fn(C, C) -> C::Curve| {
        let mut card = Card::default();
        let (left, right, out) = (card.upload(&a), card.upload(&b), card.room::<C>(a.len()));
        // op, a, b, out
        let arguments = Arguments::default().u32(op as u32).pointer(left).pointer(right).pointer(out);
        card.launch_items(&unit.module, &["10ProbeCurve", kernel], arguments, a.len() as u32);
        for ((a, b), found) in a.iter().zip(&b).zip(card.download::<C>(out)) {
            assert!(found == expected(*a, *b).to_affine(), "{op:?} of {a:?} and {b:?} gives {found:?}");
        }
    };
    compare(Op::Add, &|a, b| a + b);
    compare(Op::Sub, &|a, b| a - b);
    compare(Op::AddGeneral, &|a, b| a + b);
    compare(Op::Double, &|a, _| a + a);
    compare(Op::Times256, &|a, _| a * Fr::from(256));
}

#[test]
fn g1_agrees_with_the_processor_in_every_case() {
    agrees::<G1Affine>("8FqParams", 300);
}

#[test]
fn g2_agrees_with_the_processor_in_every_case() {
    agrees::<G2Affine>("3Fq2E", 60);
}
