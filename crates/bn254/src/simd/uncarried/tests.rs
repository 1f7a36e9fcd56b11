use super::*;
use crate::simd::field52::{Q, R, to_limbs};
use crate::simd::lanes::Emulated;
use proptest::prelude::*;

/// a − b, unless that is negative.
fn minus(a: [u64; 5], b: [u64; 5]) -> Option<[u64; 5]> {
    let (mut out, mut borrow) = ([0; 5], 0_i128);
    for i in 0..5 {
        let limb = i128::from(a[i]) - i128::from(b[i]) + borrow;
        out[i] = (limb & i128::from(MASK52)) as u64;
        borrow = limb >> 52;
    }
    (borrow == 0).then_some(out)
}

fn remainder<M: Modulus>(mut value: [u64; 5]) -> [u64; 5] {
    while let Some(less) = minus(value, to_limbs(M::WORDS)) {
        value = less;
    }
    value
}

fn check<M: Modulus>(value: [u64; 5]) {
    // SAFETY: the emulation needs no instructions.
    let lanes = unsafe { Field52::<Emulated, M>::splat(&value) };
    let reduced = Uncarried::from(lanes).reduced().limbs.map(|limb| limb.store()[3]);
    let mut bound = to_limbs(M::WORDS);
    bound[0] += 1 << 20;
    bound[3] += 1 << 13;
    assert!(minus(bound, reduced).is_some(), "{value:x?} gives {reduced:x?}");
    assert_eq!(remainder::<M>(reduced), remainder::<M>(value));
    let canonical = Uncarried::from(lanes).canonical().limbs.map(|limb| limb.store()[5]);
    assert_eq!(canonical, remainder::<M>(value));
}

#[test]
fn multiples_of_the_modulus_and_their_neighbours_are_reduced() {
    let mut value = [0; 5];
    for _ in 0..64 {
        for (delta, down) in [(0, true), (1, true), (0, false), (1, false), (5, false)] {
            let mut near = value;
            if down {
                near = minus(near, [delta, 0, 0, 0, 0]).unwrap_or(near);
            } else {
                near[0] += delta;
            }
            near = carry(near);
            check::<R>(near);
            check::<Q>(near);
        }
        let p = to_limbs(R::WORDS);
        value = carry(std::array::from_fn(|i| value[i] + p[i]));
    }
}

fn carry(mut value: [u64; 5]) -> [u64; 5] {
    for i in 0..4 {
        value[i + 1] += value[i] >> 52;
        value[i] &= MASK52;
    }
    value
}

proptest! {
    #[test]
    fn any_value_below_64_p_is_reduced(limbs: [u64; 5]) {
        let mut value = limbs.map(|limb| limb & MASK52);
        // 64·p is a little above 2^259.
        value[4] >>= 1;
        check::<R>(value);
        check::<Q>(value);
    }
}
