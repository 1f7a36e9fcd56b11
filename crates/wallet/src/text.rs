//! Serde of what JSON numbers and arrays would spoil: numbers as decimal text, addresses and bytes as hex.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

use client::api::codec::hex_text;

pub use client::api::codec::decimal;

pub mod bytes {
    use super::*;

    pub fn serialize<T: AsRef<[u8]>, S: Serializer>(bytes: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex_text(bytes.as_ref()))
    }

    pub fn deserialize<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("expected 0x and hex digits"))?;
        let bytes = hex::decode(digits).map_err(D::Error::custom)?;
        T::try_from(bytes).map_err(|_| D::Error::custom("wrong number of bytes"))
    }
}
