//! Serde of the scalars: decimal strings and 0x-hex.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// `0x` and lower-case digits.
pub fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn from_hex<E: Error>(text: &str) -> Result<Vec<u8>, E> {
    let digits = text.strip_prefix("0x").ok_or_else(|| E::custom("expected 0x and hexadecimal digits"))?;
    hex::decode(digits).map_err(E::custom)
}

/// A `BigInt` as any unsigned integer.
pub mod decimal {
    use super::*;

    pub fn serialize<T: ToString, S: Serializer>(number: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&number.to_string())
    }

    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: std::str::FromStr<Err = std::num::ParseIntError>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A nullable `BigInt`.
pub mod decimal_option {
    use super::*;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// `Bytes`.
pub mod bytes {
    use super::*;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex_text(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        from_hex(&String::deserialize(deserializer)?)
    }
}

/// Nullable `Bytes`.
pub mod bytes_option {
    use super::*;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| from_hex(&text)).transpose()
    }
}

/// `Address` and `Bytes32` as arrays of bytes.
pub mod array {
    use super::*;

    pub fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex_text(bytes))
    }

    pub fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let bytes = from_hex(&String::deserialize(deserializer)?)?;
        bytes.try_into().map_err(|_| D::Error::custom(format!("expected {N} bytes")))
    }
}

/// Nullable `Address` and `Bytes32`.
pub mod array_option {
    use super::*;

    pub fn serialize<const N: usize, S: Serializer>(
        bytes: &Option<[u8; N]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&hex_text(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; N]>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let bytes = from_hex(&text)?;
        bytes.try_into().map(Some).map_err(|_| D::Error::custom(format!("expected {N} bytes")))
    }
}
