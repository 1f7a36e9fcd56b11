//! Canonical bytes, hex and serde of field elements.
//!
//! Invariant: one element has exactly one encoding of each kind. A number at or above the modulus is refused, never
//! reduced, so two different byte strings cannot mean the same element.

use ff::PrimeField;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Fq, Fr};

/// Why bytes or text are not a field element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// The number is at or above the modulus.
    #[error("PM-FIELD-001: the number is not below the field modulus; send the reduced value")]
    NotCanonical,
    /// The text is not hexadecimal.
    #[error("PM-FIELD-002: expected 0x and up to 64 hexadecimal digits")]
    BadHex,
    /// A list has another length than its type.
    #[error("PM-FIELD-003: expected {expected} field elements, got {got}")]
    WrongLength {
        /// Elements the type holds.
        expected: usize,
        /// Elements that came.
        got: usize,
    },
}

fn reversed(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes.reverse();
    bytes
}

macro_rules! byte_codec {
    ($field:ty, $from_le:ident, $from_be:ident, $to_le:ident, $to_be:ident) => {
        /// The element whose canonical form is these 32 little-endian bytes.
        ///
        /// # Errors
        /// [`EncodingError::NotCanonical`] at or above the modulus.
        pub fn $from_le(bytes: &[u8; 32]) -> Result<$field, EncodingError> {
            Option::from(<$field>::from_repr((*bytes).into())).ok_or(EncodingError::NotCanonical)
        }

        /// The element whose canonical form is these 32 big-endian bytes (an EVM word).
        ///
        /// # Errors
        /// [`EncodingError::NotCanonical`] at or above the modulus.
        pub fn $from_be(bytes: &[u8; 32]) -> Result<$field, EncodingError> {
            $from_le(&reversed(*bytes))
        }

        /// The canonical form as 32 little-endian bytes.
        pub fn $to_le(value: &$field) -> [u8; 32] {
            value.to_repr().into()
        }

        /// The canonical form as 32 big-endian bytes (an EVM word).
        pub fn $to_be(value: &$field) -> [u8; 32] {
            reversed($to_le(value))
        }
    };
}

byte_codec!(Fr, fr_from_le_bytes, fr_from_be_bytes, fr_to_le_bytes, fr_to_be_bytes);
byte_codec!(Fq, fq_from_le_bytes, fq_from_be_bytes, fq_to_le_bytes, fq_to_be_bytes);

/// The element of this value.
pub fn fr_from_u64(value: u64) -> Fr {
    Fr::from(value)
}

/// The element of this value.
pub fn fr_from_u128(value: u128) -> Fr {
    Fr::from_u128(value)
}

/// Parses `0x` (optional) and 1 to 64 hexadecimal digits, most significant first.
///
/// # Errors
/// [`EncodingError::BadHex`] for other text, [`EncodingError::NotCanonical`] at or above the modulus.
pub fn fr_from_hex(text: &str) -> Result<Fr, EncodingError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 64 {
        return Err(EncodingError::BadHex);
    }
    let mut bytes = [0_u8; 32];
    for (place, digit) in digits.bytes().rev().enumerate() {
        let value = (digit as char).to_digit(16).ok_or(EncodingError::BadHex)? as u8;
        bytes[place / 2] |= value << (4 * (place % 2));
    }
    fr_from_le_bytes(&bytes)
}

/// `0x` and 64 lower-case hexadecimal digits, most significant first.
pub fn fr_to_hex(value: &Fr) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(66);
    text.push_str("0x");
    for byte in fr_to_be_bytes(value) {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// An `Fr` that serde can write: 32 big-endian bytes without a length in binary formats, `0x` and 64 digits in
/// human-readable ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SerdeFr(pub Fr);

impl Serialize for SerdeFr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&fr_to_hex(&self.0))
        } else {
            fr_to_be_bytes(&self.0).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for SerdeFr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            if text.len() != 66 || !text.starts_with("0x") {
                return Err(de::Error::custom(EncodingError::BadHex));
            }
            fr_from_hex(&text).map(Self).map_err(de::Error::custom)
        } else {
            let bytes = <[u8; 32]>::deserialize(deserializer)?;
            fr_from_be_bytes(&bytes).map(Self).map_err(de::Error::custom)
        }
    }
}

/// `#[serde(with = "bn254::serde_fr")]` for an `Fr`.
pub mod serde_fr {
    use super::{Deserialize, Deserializer, Fr, SerdeFr, Serialize, Serializer};

    /// As [`SerdeFr`].
    pub fn serialize<S: Serializer>(value: &Fr, serializer: S) -> Result<S::Ok, S::Error> {
        SerdeFr(*value).serialize(serializer)
    }

    /// As [`SerdeFr`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fr, D::Error> {
        SerdeFr::deserialize(deserializer).map(|value| value.0)
    }
}

/// `#[serde(with = "bn254::serde_fr_vec")]` for a `Vec<Fr>`.
pub mod serde_fr_vec {
    use super::{Deserialize, Deserializer, Fr, SerdeFr, Serializer};

    /// A sequence of [`SerdeFr`].
    pub fn serialize<S: Serializer>(values: &[Fr], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| SerdeFr(*value)))
    }

    /// A sequence of [`SerdeFr`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Fr>, D::Error> {
        let values = Vec::<SerdeFr>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|value| value.0).collect())
    }
}

/// `#[serde(with = "bn254::serde_fr_array")]` for a `[Fr; N]`.
pub mod serde_fr_array {
    use super::{Deserializer, EncodingError, Fr, SerdeFr, Serializer, de};
    use serde::ser::SerializeTuple;

    /// A tuple of `N` [`SerdeFr`]: no length in binary formats.
    pub fn serialize<S: Serializer, const N: usize>(
        values: &[Fr; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(N)?;
        for value in values {
            tuple.serialize_element(&SerdeFr(*value))?;
        }
        tuple.end()
    }

    /// A tuple of `N` [`SerdeFr`].
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[Fr; N], D::Error> {
        struct Visitor<const N: usize>;
        impl<'de, const N: usize> de::Visitor<'de> for Visitor<N> {
            type Value = [Fr; N];

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{N} field elements")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut values = [Fr::default(); N];
                for (got, value) in values.iter_mut().enumerate() {
                    *value = seq
                        .next_element::<SerdeFr>()?
                        .ok_or_else(|| de::Error::custom(EncodingError::WrongLength { expected: N, got }))?
                        .0;
                }
                Ok(values)
            }
        }
        deserializer.deserialize_tuple(N, Visitor::<N>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::Field;
    use proptest::prelude::*;

    const R: [u8; 32] = [
        0x30, 0x64, 0x4e, 0x72, 0xe1, 0x31, 0xa0, 0x29, 0xb8, 0x50, 0x45, 0xb6, 0x81, 0x81, 0x58, 0x5d, 0x28,
        0x33, 0xe8, 0x48, 0x79, 0xb9, 0x70, 0x91, 0x43, 0xe1, 0xf5, 0x93, 0xf0, 0x00, 0x00, 0x01,
    ];

    #[test]
    fn the_modulus_is_refused_and_one_below_it_is_minus_one() {
        assert_eq!(fr_from_be_bytes(&R), Err(EncodingError::NotCanonical));
        let mut below = R;
        below[31] = 0;
        assert_eq!(fr_from_be_bytes(&below), Ok(-Fr::ONE));
        assert_eq!(fr_from_be_bytes(&[0xff; 32]), Err(EncodingError::NotCanonical));
        // q > r: the same number is an element of Fq.
        assert!(fq_from_be_bytes(&R).is_ok());
        assert_eq!(fq_from_le_bytes(&[0xff; 32]), Err(EncodingError::NotCanonical));
    }

    #[test]
    fn hex_is_read_leniently_and_written_in_one_way() {
        assert_eq!(fr_from_hex("0x2a"), Ok(Fr::from(42)));
        assert_eq!(fr_from_hex("2A"), Ok(Fr::from(42)));
        for bad in
            ["", "0x", "0xg1", "-1", "0x00000000000000000000000000000000000000000000000000000000000000001"]
        {
            assert_eq!(fr_from_hex(bad), Err(EncodingError::BadHex), "{bad}");
        }
        assert_eq!(fr_to_hex(&Fr::from(42)), format!("0x{:064x}", 42));
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        #[serde(with = "serde_fr")]
        one: Fr,
        #[serde(with = "serde_fr_vec")]
        many: Vec<Fr>,
        #[serde(with = "serde_fr_array")]
        three: [Fr; 3],
    }

    #[test]
    fn serde_is_compact_in_binary_and_hex_in_json() {
        let sample =
            Sample { one: -Fr::ONE, many: vec![Fr::from(2); 5], three: [Fr::ONE, Fr::ZERO, Fr::from(7)] };
        let binary = postcard::to_stdvec(&sample).unwrap();
        assert_eq!(binary.len(), 32 * 9 + 1);
        assert_eq!(postcard::from_bytes::<Sample>(&binary).unwrap(), sample);
        let json = serde_json::to_string(&sample).unwrap();
        assert!(json.contains("\"0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000000\""));
        assert_eq!(serde_json::from_str::<Sample>(&json).unwrap(), sample);
        let short = json.replace(&format!(",\"0x{:064x}\"]}}", 7), "]}");
        assert_ne!(short, json);
        assert!(serde_json::from_str::<Sample>(&short).unwrap_err().to_string().contains("PM-FIELD-003"));
        let mut too_big = binary;
        too_big[..32].fill(0xff);
        assert!(postcard::from_bytes::<Sample>(&too_big).is_err());
    }

    proptest! {
        #[test]
        fn encodings_round_trip(wide in any::<[u8; 32]>()) {
            let mut bytes = wide;
            bytes[31] &= 0x1f;
            let fr = fr_from_le_bytes(&bytes).unwrap();
            prop_assert_eq!(fr_to_le_bytes(&fr), bytes);
            prop_assert_eq!(fr_from_be_bytes(&fr_to_be_bytes(&fr)), Ok(fr));
            prop_assert_eq!(fr_from_hex(&fr_to_hex(&fr)), Ok(fr));
            let fq = fq_from_le_bytes(&bytes).unwrap();
            prop_assert_eq!(fq_from_be_bytes(&fq_to_be_bytes(&fq)), Ok(fq));
        }

        #[test]
        fn small_numbers_are_themselves(value in any::<u128>()) {
            let mut bytes = [0_u8; 32];
            bytes[..16].copy_from_slice(&value.to_le_bytes());
            prop_assert_eq!(fr_to_le_bytes(&fr_from_u128(value)), bytes);
        }
    }
}
