//! EdDSA-Poseidon verification as constraints. `gate` switches the equation off (no-op and forced slots); every other
//! condition is enforced always, so a slot without a signature carries `dummy()`.

use std::sync::LazyLock;

use bn254::Fr;
use ff::{Field, PrimeField};

use super::Signature;
use crate::{
    baby_jubjub::{
        ORDER_BITS, Point, base8,
        gadget::{EdwardsPoint, fixed_base_mul, variable_base_mul},
        order,
    },
    poseidon,
    r1cs::{Builder, Num, hint, site, to_bits_at_most},
};

/// A key and a signature that satisfy all conditions but the equation.
pub fn dummy() -> (Point, Signature) {
    (base8(), Signature { r8: Point::IDENTITY, s: Fr::ZERO })
}

/// l − 1, least significant bit first.
fn max_scalar() -> &'static [bool] {
    static BITS: LazyLock<Vec<bool>> = LazyLock::new(|| {
        let max = order() - 1u32;
        (0..ORDER_BITS as u64).map(|i| max.bit(i)).collect()
    });
    &BITS
}

/// r − 1, least significant bit first.
fn max_field_element() -> &'static [bool] {
    static BITS: LazyLock<Vec<bool>> = LazyLock::new(|| {
        let repr = (-Fr::ONE).to_repr();
        let bytes: &[u8] = repr.as_ref();
        (0..Fr::NUM_BITS as usize).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect()
    });
    &BITS
}

/// Enforces that `signature` is one of `key` over `message` wherever `gate` is 1. The key must be on the curve.
pub fn verify<B: Builder>(b: &mut B, gate: &Num, key: &EdwardsPoint, message: &Num, signature: &Signature) {
    b.enter(site!("signature"));
    let r8 = EdwardsPoint::hint(b, site!("R8"), &signature.r8);
    let s = hint(b, site!("S"), signature.s);
    let s_bits = to_bits_at_most(b, site!("S"), &s, max_scalar());
    let h = poseidon::gadget::hash(b, site!("challenge"), &[&r8.x, &r8.y, &key.x, &key.y, message]);
    let h_bits = to_bits_at_most(b, site!("h"), &h, max_field_element());
    // 8A has odd order; the conversion to Montgomery form in the ladder has no solution for the identity.
    let key8 = (0..3).fold(key.clone(), |point, _| point.double(b, site!("8A")));
    let left = fixed_base_mul(b, site!("S·Base8"), &s_bits);
    let right = variable_base_mul(b, site!("h·8A"), &key8, &h_bits).add(b, site!("right side"), &r8);
    left.enforce_equal_if(b, site!("equation"), gate, &right);
    b.leave();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baby_jubjub::{fr_from_biguint, order},
        eddsa::PrivateKey,
        testing::{Checker, random_fr},
    };

    fn check(gate: u64, key: &Point, message: Fr, signature: &Signature) -> (Option<usize>, usize) {
        let mut b = Checker::new();
        let gate = hint(&mut b, site!("gate"), Fr::from(gate));
        let message = hint(&mut b, site!("message"), message);
        let key = EdwardsPoint::hint(&mut b, site!("key"), key);
        verify(&mut b, &gate, &key, &message, signature);
        (b.first_violation(), b.constraints())
    }

    #[test]
    fn the_gadget_accepts_what_the_native_function_accepts() {
        for (i, message) in random_fr(7, 4).into_iter().enumerate() {
            let private = PrivateKey::new([i as u8; 32]);
            let signature = private.sign(&message);
            let (violation, constraints) = check(1, &private.public(), message, &signature);
            assert_eq!(violation, None);
            assert!(constraints <= 3_400, "{constraints}");
            assert!(check(1, &private.public(), message + Fr::ONE, &signature).0.is_some());
        }
    }

    #[test]
    fn the_dummy_passes_only_where_the_gate_is_shut() {
        let (key, signature) = dummy();
        assert_eq!(check(0, &key, Fr::from(5), &signature).0, None);
        assert!(check(1, &key, Fr::from(5), &signature).0.is_some());
    }

    #[test]
    fn s_at_or_above_l_is_refused() {
        let private = PrivateKey::new([1; 32]);
        let signature = private.sign(&Fr::ONE);
        for s in [fr_from_biguint(order()), signature.s + fr_from_biguint(order())] {
            assert!(check(0, &private.public(), Fr::ONE, &Signature { s, ..signature }).0.is_some());
        }
    }

    #[test]
    fn off_curve_and_low_order_points_are_refused_even_with_the_gate_shut() {
        let private = PrivateKey::new([1; 32]);
        let signature = private.sign(&Fr::ONE);
        let off = Point { x: Fr::ONE, y: Fr::ONE };
        for key in [off, Point::IDENTITY, Point { x: Fr::ZERO, y: -Fr::ONE }] {
            assert!(check(0, &key, Fr::ONE, &signature).0.is_some());
        }
        assert!(check(0, &private.public(), Fr::ONE, &Signature { r8: off, ..signature }).0.is_some());
    }
}
