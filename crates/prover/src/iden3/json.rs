//! `proof.json`, `public.json` and `verification_key.json`, as snarkjs and rapidsnark write and read them: numbers are decimal
//! strings, points are projective with z = 1.

use bn254::{Fq, Fq2, Fr, G1Affine, G2Affine, PrimeField, fq_from_be_bytes, fr_from_le_bytes};
use serde_json::{Value, json};

use super::Iden3Error;
use crate::key::KeyError;
use crate::proof::Proof;
use crate::verifying_key::{PublicKey, VerifyingKey};

/// Digits of the largest 256-bit number.
const MOST_DIGITS: usize = 78;

/// A proof.
pub fn write_proof(proof: &Proof) -> Value {
    json!({
        "pi_a": g1(proof.a()),
        "pi_b": g2(proof.b()),
        "pi_c": g1(proof.c()),
        "protocol": "groth16",
        "curve": "bn128",
    })
}

/// Public inputs, the constant one not among them.
pub fn write_public(inputs: &[Fr]) -> Value {
    inputs.iter().map(|input| decimal(input.to_repr().as_ref())).collect::<Vec<_>>().into()
}

/// A verifying key.
pub fn write_verifying_key(vk: &VerifyingKey) -> Value {
    json!({
        "protocol": "groth16",
        "curve": "bn128",
        "nPublic": vk.ic.len() - 1,
        "vk_alpha_1": g1(&vk.alpha_g1),
        "vk_beta_2": g2(&vk.beta_g2),
        "vk_gamma_2": g2(&vk.gamma_g2),
        "vk_delta_2": g2(&vk.delta_g2),
        "IC": vk.ic.iter().map(g1).collect::<Vec<_>>(),
    })
}

/// Reads a proof.
///
/// # Errors
/// [`Iden3Error::Malformed`], also when its points are not valid.
pub fn read_proof(value: &Value) -> Result<Proof, Iden3Error> {
    const WRONG: Iden3Error =
        Iden3Error::Malformed { kind: "proof.json", reason: "it is not a Groth16 proof with valid points" };
    let point = |name: &str| value.get(name).and_then(read_g1);
    let b = value.get("pi_b").and_then(read_g2);
    let (Some(a), Some(b), Some(c)) = (point("pi_a"), b, point("pi_c")) else { return Err(WRONG) };
    Proof::new(a, b, c).map_err(|_| WRONG)
}

/// Reads public inputs.
///
/// # Errors
/// [`Iden3Error::Malformed`].
pub fn read_public(value: &Value) -> Result<Vec<Fr>, Iden3Error> {
    let number = |value: &Value| fr_from_le_bytes(&from_decimal(value.as_str()?)?).ok();
    let inputs = value.as_array().and_then(|values| values.iter().map(number).collect());
    inputs.ok_or(Iden3Error::Malformed {
        kind: "public.json",
        reason: "it is not a list of decimal numbers below the modulus",
    })
}

/// Reads a verifying key and validates it.
///
/// # Errors
/// [`Iden3Error::Malformed`], and [`Iden3Error::Key`] for one that is not fit for use.
pub fn read_verifying_key(value: &Value) -> Result<PublicKey, Iden3Error> {
    let g2 = |name: &str| value.get(name).and_then(read_g2);
    let read = || {
        let ic = value.get("IC")?.as_array()?.iter().map(read_g1).collect::<Option<Vec<_>>>()?;
        Some(PublicKey {
            alpha: value.get("vk_alpha_1").and_then(read_g1)?,
            beta: g2("vk_beta_2")?,
            gamma: g2("vk_gamma_2")?,
            delta: g2("vk_delta_2")?,
            ic,
        })
    };
    let key = read().ok_or(Iden3Error::Malformed {
        kind: "verification_key.json",
        reason: "a point is missing or is no pair of numbers below the modulus",
    })?;
    key.validate().and_then(|()| key.check_secrets()).map_err(KeyError::VerifyingKey)?;
    Ok(key)
}

fn g1(point: &G1Affine) -> Value {
    let number = |value: &Fq| decimal(value.to_repr().as_ref());
    json!([number(&point.x), number(&point.y), "1"])
}

fn g2(point: &G2Affine) -> Value {
    let number = |value: &Fq| decimal(value.to_repr().as_ref());
    let pair = |value: &Fq2| json!([number(value.c0()), number(value.c1())]);
    json!([pair(&point.x), pair(&point.y), ["1", "0"]])
}

fn read_g1(value: &Value) -> Option<G1Affine> {
    let [x, y, z] = value.as_array()?.as_slice() else { return None };
    (z.as_str()? == "1").then_some(())?;
    Some(G1Affine { x: read_fq(x)?, y: read_fq(y)? })
}

fn read_g2(value: &Value) -> Option<G2Affine> {
    let pair = |value: &Value| {
        let [c0, c1] = value.as_array()?.as_slice() else { return None };
        Some(Fq2::new(read_fq(c0)?, read_fq(c1)?))
    };
    let [x, y, z] = value.as_array()?.as_slice() else { return None };
    (*z == json!(["1", "0"])).then_some(())?;
    Some(G2Affine { x: pair(x)?, y: pair(y)? })
}

fn read_fq(value: &Value) -> Option<Fq> {
    let mut bytes = from_decimal(value.as_str()?)?;
    bytes.reverse();
    fq_from_be_bytes(&bytes).ok()
}

/// Little-endian bytes as a decimal number.
fn decimal(bytes: &[u8]) -> String {
    let mut rest = bytes.to_vec();
    let mut digits = Vec::new();
    while rest.iter().any(|byte| *byte != 0) {
        let mut remainder = 0_u32;
        for byte in rest.iter_mut().rev() {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 10) as u8;
            remainder = value % 10;
        }
        digits.push(b'0' + remainder as u8);
    }
    if digits.is_empty() {
        digits.push(b'0');
    }
    digits.iter().rev().copied().map(char::from).collect()
}

/// A decimal number below 2^256 as little-endian bytes.
fn from_decimal(text: &str) -> Option<[u8; 32]> {
    if text.is_empty() || text.len() > MOST_DIGITS {
        return None;
    }
    let mut bytes = [0; 32];
    for digit in text.chars() {
        let mut carry = digit.to_digit(10)?;
        for byte in &mut bytes {
            let value = 10 * u32::from(*byte) + carry;
            *byte = value as u8;
            carry = value >> 8;
        }
        if carry > 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_decimal() {
        assert_eq!(decimal(&[0; 32]), "0");
        assert_eq!(decimal(&[1, 2]), "513");
        let largest = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        assert_eq!(decimal(&[255; 32]), largest);
        assert_eq!(from_decimal(largest), Some([255; 32]));
        for wrong in ["", "-1", "1a", " 1", &largest.replace("935", "936"), &"0".repeat(79)] {
            assert_eq!(from_decimal(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn numbers_survive_the_way_through_decimal(bytes: [u8; 32]) {
            prop_assert_eq!(from_decimal(&decimal(&bytes)), Some(bytes));
        }
    }
}
