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
mod tests;
