//! EdDSA with Poseidon over Baby Jubjub, bit-compatible with `@zk-kit/eddsa-poseidon`, and stricter in verification.
//!
//! `verify` accepts exactly what the circuit can prove: A and R8 on the curve, 8·A not the identity, S < l, and
//! `S·Base8 = R8 + h·8A` with `h = P5(R8.x, R8.y, A.x, A.y, M)` taken as an integer below r.

use bn254::Fr;
use ff::{Field, PrimeField};
use num_bigint::BigUint;
use serde::{Deserialize, Serialize};

use crate::{
    baby_jubjub::{
        Extended, LADDER_STEPS, Point, Prepared, Projective, base8, fixed_base, fr_from_biguint,
        fr_to_biguint, order,
    },
    blake512, poseidon,
};

pub mod gadget;

/// The 32-byte secret from which the signing scalar and the nonces are expanded (BLAKE-512, as zk-kit does).
#[derive(Clone)]
pub struct PrivateKey([u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub r8: Point,
    /// S, below l.
    #[serde(with = "bn254::serde_fr")]
    pub s: Fr,
}

/// Why a signature or a key is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("PM-EDDSA-001: the public key is not a point of Baby Jubjub; derive it again from your wallet")]
    KeyNotOnCurve,
    #[error(
        "PM-EDDSA-002: the public key has small order, nobody can sign with it; derive it again from your wallet"
    )]
    KeyOfSmallOrder,
    #[error("PM-EDDSA-003: R8 of the signature is not a point of Baby Jubjub; sign again")]
    NonceNotOnCurve,
    #[error("PM-EDDSA-004: S of the signature is not below the group order; sign again")]
    ScalarTooLarge,
    #[error(
        "PM-EDDSA-005: the signature does not match this message and key; sign the message you compute yourself"
    )]
    Mismatch,
    #[error(
        "PM-EDDSA-006: the public key has a known relation to a constant of the circuit; use a key derived from a wallet"
    )]
    KeyNotProvable,
}

impl PrivateKey {
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The clamped scalar (a multiple of 8 below 2^255) and the nonce half of the expansion.
    fn expand(&self) -> (BigUint, [u8; 32]) {
        let digest = blake512::hash(&self.0);
        let mut scalar = [0u8; 32];
        scalar.copy_from_slice(&digest[..32]);
        scalar[0] &= 0xf8;
        scalar[31] &= 0x7f;
        scalar[31] |= 0x40;
        let mut nonce = [0u8; 32];
        nonce.copy_from_slice(&digest[32..]);
        (BigUint::from_bytes_le(&scalar), nonce)
    }

    pub fn public(&self) -> Point {
        let (scalar, _) = self.expand();
        base8().mul(&((scalar >> 3u32) % order()))
    }

    /// Signs a field element. Deterministic; not constant time.
    pub fn sign(&self, message: &Fr) -> Signature {
        let (scalar, nonce) = self.expand();
        let mut seed = nonce.to_vec();
        seed.extend_from_slice(message.to_repr().as_ref());
        let r = BigUint::from_bytes_le(&blake512::hash(&seed)) % order();
        let r8 = base8().mul(&r);
        let h = challenge(&r8, &self.public(), message);
        let s = (r + fr_to_biguint(&h) * scalar) % order();
        Signature { r8, s: fr_from_biguint(&s) }
    }
}

/// h = P5(R8.x, R8.y, A.x, A.y, M).
pub fn challenge(r8: &Point, key: &Point, message: &Fr) -> Fr {
    poseidon::hash5([r8.x, r8.y, key.x, key.y, *message])
}

/// Checks that a key may own coins: on the curve and not of small order.
///
/// # Errors
/// `KeyNotOnCurve` or `KeyOfSmallOrder`.
pub fn check_key(key: &Point) -> Result<(), SignatureError> {
    CheckedKey::new(key).map(|_| ())
}

/// Verifies a signature with the same steps as the circuit.
///
/// # Errors
/// One `SignatureError` for each thing that the circuit would refuse.
pub fn verify(key: &Point, message: &Fr, signature: &Signature) -> Result<(), SignatureError> {
    CheckedKey::new(key)?.verify(message, signature)
}

/// A key that may own coins, with what each verification needs of it.
#[derive(Clone, Copy, Debug)]
pub struct CheckedKey {
    key: Point,
    /// 8·key.
    key8: Point,
}

impl CheckedKey {
    /// # Errors
    /// `KeyNotOnCurve` or `KeyOfSmallOrder`.
    pub fn new(key: &Point) -> Result<Self, SignatureError> {
        if !key.is_on_curve() {
            return Err(SignatureError::KeyNotOnCurve);
        }
        let key8 = key.mul_by_cofactor();
        if key8 == Point::IDENTITY {
            return Err(SignatureError::KeyOfSmallOrder);
        }
        Ok(Self { key: *key, key8 })
    }

    /// Verifies a signature with the same steps as the circuit.
    ///
    /// # Errors
    /// One `SignatureError` for each thing that the circuit would refuse.
    pub fn verify(&self, message: &Fr, signature: &Signature) -> Result<(), SignatureError> {
        if !signature.r8.is_on_curve() {
            return Err(SignatureError::NonceNotOnCurve);
        }
        if !scalar_is_canonical(&signature.s) {
            return Err(SignatureError::ScalarTooLarge);
        }
        let h = challenge(&signature.r8, &self.key, message);
        let product = ladder(&self.key8, &h).ok_or(SignatureError::KeyNotProvable)?;
        let right = product.add_last(&Prepared::from(&signature.r8));
        let left = fixed_base().mul(&signature.s);
        if left.x * right.z == right.x * left.z && left.y * right.z == right.y * left.z {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }
}

/// Whether S < l.
fn scalar_is_canonical(s: &Fr) -> bool {
    let repr = s.to_repr();
    let limit = order().to_bytes_le();
    let bytes: &[u8] = repr.as_ref();
    bytes.iter().rev().cmp(limit.iter().rev()) == std::cmp::Ordering::Less && limit.len() == bytes.len()
}

/// `2^253·T0 + h·key8` by the ladder of the circuit, or nothing if a step would add a point to ± itself or the accumulator is
/// the identity at any time, which the Montgomery form does not have. Both happen only for keys built from a relation with T0.
fn ladder(key8: &Point, h: &Fr) -> Option<Extended> {
    let repr = h.to_repr();
    let bytes: &[u8] = repr.as_ref();
    let bit = |i: usize| bytes[i / 8] >> (i % 8) & 1 == 1;
    let (positive, negative) = (Prepared::from(key8), Prepared::from(key8).neg());
    let signed = |i: usize| if bit(i) { &positive } else { &negative };
    // ±key8 share their y: one comparison finds both.
    let unprovable = |acc: &Projective| acc.y == key8.y * acc.z || acc.x == Fr::ZERO;
    let mut acc = Extended::from(&fixed_base().ladder_start).add_last(&positive);
    for i in (2..=LADDER_STEPS).rev() {
        if unprovable(&acc) {
            return None;
        }
        acc = acc.double().add_last(signed(i));
    }
    if unprovable(&acc) {
        return None;
    }
    let acc = acc.double().add(signed(1));
    if acc.x == Fr::ZERO {
        return None;
    }
    Some(if bit(0) { acc } else { acc.add(&negative) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baby_jubjub::{
            gadget::{EdwardsPoint, variable_base_mul},
            start_scalar,
        },
        r1cs::{Num, boolean, site},
        testing::{Checker, random_fr},
    };

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::new([seed; 32])
    }

    #[test]
    fn a_signature_verifies_and_any_change_is_refused() {
        let [message, other] = random_fr(1, 2)[..] else { unreachable!() };
        let public = key(1).public();
        let signature = key(1).sign(&message);
        assert_eq!(verify(&public, &message, &signature), Ok(()));
        assert_eq!(verify(&public, &other, &signature), Err(SignatureError::Mismatch));
        assert_eq!(verify(&key(2).public(), &message, &signature), Err(SignatureError::Mismatch));
        let moved = Signature { s: signature.s + Fr::ONE, ..signature };
        assert_eq!(verify(&public, &message, &moved), Err(SignatureError::Mismatch));
    }

    #[test]
    fn the_ladder_is_the_scalar_multiple_plus_its_offset() {
        let key8 = key(3).public().mul_by_cofactor();
        for h in random_fr(2, 4).into_iter().chain([Fr::ZERO, Fr::ONE, -Fr::ONE]) {
            let expected = key8
                .mul(&fr_to_biguint(&h))
                .add(&fixed_base().ladder_start.mul(&(BigUint::from(1u32) << LADDER_STEPS)));
            assert_eq!(ladder(&key8, &h).unwrap().to_affine(), expected);
        }
    }

    /// Whether the circuit's ladder has a witness, and what it ends in.
    fn ladder_of_the_circuit(key8: &Point, h: &Fr) -> Option<Point> {
        let mut b = Checker::new();
        let point = EdwardsPoint::hint(&mut b, site!("key"), key8);
        let integer = fr_to_biguint(h);
        let bits: Vec<Num> =
            (0..=LADDER_STEPS).map(|i| boolean(&mut b, site!("bit"), integer.bit(i as u64))).collect();
        let end = variable_base_mul(&mut b, site!("ladder"), &point, &bits);
        b.first_violation().is_none().then_some(Point { x: end.x.value, y: end.y.value })
    }

    #[test]
    fn the_native_ladder_and_the_circuit_refuse_the_same_keys_at_every_step() {
        let inverse = |x: BigUint| (x % order()).modpow(&(order() - 2u32), order());
        let agree = |key8: &Point, h: &Fr| {
            let native = ladder(key8, h).map(Extended::to_affine);
            assert_eq!(native, ladder_of_the_circuit(key8, h));
            native
        };
        for h in random_fr(3, 2) {
            assert!(agree(&key(7).public().mul_by_cofactor(), &h).is_some());
            // After step i the accumulator is 2^(254 − i)·T0 + c·8A with c = 2·(h >> i) + 1, for i = 254 that is the start.
            for i in [254, 253, 252, 100, 3, 2, 1] {
                let offset = (start_scalar() << (254 - i)) % order();
                let c: BigUint = (fr_to_biguint(&h) >> i) * 2u32 + 1u32;
                // 8A such that it is the identity, 8A or −8A then.
                for multiple in [c.clone(), c.clone() - 1u32, c + 1u32] {
                    if multiple == BigUint::ZERO {
                        continue;
                    }
                    let key8 = base8().mul(&(&offset * inverse(multiple) % order())).neg();
                    // After the last step nothing is added to the accumulator any more but by the complete law.
                    let last_step = i == 1;
                    let outcome = agree(&key8, &h);
                    assert!(outcome.is_none() || last_step, "{h:?} {i}");
                }
            }
        }
    }

    #[test]
    fn a_scalar_of_s_plus_l_is_refused() {
        let message = Fr::from(9);
        let signature = key(4).sign(&message);
        let raised = Signature { s: signature.s + fr_from_biguint(order()), ..signature };
        assert_eq!(verify(&key(4).public(), &message, &raised), Err(SignatureError::ScalarTooLarge));
        let at_order = Signature { s: fr_from_biguint(order()), ..signature };
        assert_eq!(verify(&key(4).public(), &message, &at_order), Err(SignatureError::ScalarTooLarge));
    }

    #[test]
    fn keys_off_the_curve_or_of_small_order_are_refused() {
        let signature = key(5).sign(&Fr::ONE);
        let off = Point { x: Fr::ONE, y: Fr::ONE };
        assert_eq!(verify(&off, &Fr::ONE, &signature), Err(SignatureError::KeyNotOnCurve));
        for small in [Point::IDENTITY, Point { x: Fr::ZERO, y: -Fr::ONE }] {
            assert_eq!(verify(&small, &Fr::ONE, &signature), Err(SignatureError::KeyOfSmallOrder));
        }
        let bad_nonce = Signature { r8: off, ..signature };
        assert_eq!(verify(&key(5).public(), &Fr::ONE, &bad_nonce), Err(SignatureError::NonceNotOnCurve));
    }

    #[test]
    fn a_key_built_from_the_ladder_start_is_refused_and_not_mis_proved() {
        // With 8A = −T0, the first accumulator is the identity, with 8A = T0 it is 2·8A: neither may reach 0/0.
        let eighth = fr_to_biguint(&fr_from_biguint(&BigUint::from(8u32).modpow(&(order() - 2u32), order())));
        let evil = fixed_base().ladder_start.neg().mul(&eighth);
        let mut refused = false;
        for i in 0..64u64 {
            let signature = key(6).sign(&Fr::from(i));
            let outcome = verify(&evil, &Fr::from(i), &signature);
            assert!(outcome.is_err());
            refused |= outcome == Err(SignatureError::KeyNotProvable);
        }
        assert!(refused, "after one step the accumulator is ±8A");
    }
}
