//! The scalars of the schema. Each has exactly one output form, and refuses input that could be read in two ways.

use std::str::FromStr;

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use bn254::{EncodingError, Fr};
use num_bigint::BigUint;
use protocol::checksummed;

/// What a value of a scalar looks like, for the error message of a refused one.
pub fn hint(scalar: &str) -> Option<&'static str> {
    match scalar {
        "Address" => {
            Some("send 0x and 40 hexadecimal digits; in mixed case the EIP-55 checksum must be right")
        }
        "Bytes" => Some("send 0x and an even number of hexadecimal digits, at most 8192"),
        "Bytes32" => Some("send 0x and 64 hexadecimal digits"),
        "BigInt" => {
            Some("send a string of at most 78 decimal digits, without sign, separator or leading zero")
        }
        _ => None,
    }
}

fn refuse<T: async_graphql::InputType>(scalar: &str) -> InputValueError<T> {
    InputValueError::custom(format!("not a value of {scalar}: {}", hint(scalar).unwrap_or_default()))
}

/// The value of a scalar written as a string.
fn parse_string<T: FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// The text is not a value of the scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAScalar;

fn parse_hex(text: &str) -> Result<Vec<u8>, NotAScalar> {
    hex::decode(text.strip_prefix("0x").ok_or(NotAScalar)?).map_err(|_| NotAScalar)
}

/// An Ethereum address: `0x` and 40 hexadecimal digits, given out with its EIP-55 checksum. In one case it is taken
/// as it is; in mixed case the checksum must be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub protocol::Address);

impl FromStr for Address {
    type Err = NotAScalar;

    fn from_str(text: &str) -> Result<Self, NotAScalar> {
        let bytes: protocol::Address = parse_hex(text)?.try_into().map_err(|_| NotAScalar)?;
        let digits = &text[2..];
        let one_case = !digits.bytes().any(|b| b.is_ascii_uppercase())
            || !digits.bytes().any(|b| b.is_ascii_lowercase());
        if one_case || checksummed(&bytes) == text { Ok(Self(bytes)) } else { Err(NotAScalar) }
    }
}

#[Scalar(name = "Address", specified_by_url = "https://eips.ethereum.org/EIPS/eip-55")]
impl ScalarType for Address {
    fn parse(value: Value) -> InputValueResult<Self> {
        parse_string(&value).ok_or_else(|| refuse("Address"))
    }

    fn is_valid(value: &Value) -> bool {
        parse_string::<Self>(value).is_some()
    }

    fn to_value(&self) -> Value {
        Value::String(checksummed(&self.0))
    }
}

/// Bytes: `0x` and two hexadecimal digits each, at most 4096 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

const MAX_BYTES: usize = 4096;

impl FromStr for Bytes {
    type Err = NotAScalar;

    fn from_str(text: &str) -> Result<Self, NotAScalar> {
        let bytes = parse_hex(text)?;
        if bytes.len() <= MAX_BYTES { Ok(Self(bytes)) } else { Err(NotAScalar) }
    }
}

#[Scalar(name = "Bytes")]
impl ScalarType for Bytes {
    fn parse(value: Value) -> InputValueResult<Self> {
        parse_string(&value).ok_or_else(|| refuse("Bytes"))
    }

    fn is_valid(value: &Value) -> bool {
        parse_string::<Self>(value).is_some()
    }

    fn to_value(&self) -> Value {
        Value::String(format!("0x{}", hex::encode(&self.0)))
    }
}

/// 32 bytes: `0x` and 64 hexadecimal digits. A field element is its canonical big-endian form and must be below the
/// order of the BN254 scalar field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes32(pub [u8; 32]);

impl Bytes32 {
    /// The field element that these big-endian bytes write.
    ///
    /// # Errors
    /// `NotCanonical` at or above r.
    pub fn to_field(self) -> Result<Fr, EncodingError> {
        bn254::fr_from_be_bytes(&self.0)
    }
}

impl From<&Fr> for Bytes32 {
    fn from(element: &Fr) -> Self {
        Self(bn254::fr_to_be_bytes(element))
    }
}

impl From<Fr> for Bytes32 {
    fn from(element: Fr) -> Self {
        Self::from(&element)
    }
}

impl FromStr for Bytes32 {
    type Err = NotAScalar;

    fn from_str(text: &str) -> Result<Self, NotAScalar> {
        Ok(Self(parse_hex(text)?.try_into().map_err(|_| NotAScalar)?))
    }
}

#[Scalar(name = "Bytes32")]
impl ScalarType for Bytes32 {
    fn parse(value: Value) -> InputValueResult<Self> {
        parse_string(&value).ok_or_else(|| refuse("Bytes32"))
    }

    fn is_valid(value: &Value) -> bool {
        parse_string::<Self>(value).is_some()
    }

    fn to_value(&self) -> Value {
        Value::String(format!("0x{}", hex::encode(self.0)))
    }
}

/// A whole number from 0 to 2^256 - 1 as a string of decimal digits, because JSON numbers lose digits above 2^53.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigInt(pub BigUint);

impl BigInt {
    pub fn as_u64(&self) -> Option<u64> {
        u64::try_from(&self.0).ok()
    }
}

impl<T: Into<BigUint>> From<T> for BigInt {
    fn from(number: T) -> Self {
        Self(number.into())
    }
}

impl FromStr for BigInt {
    type Err = NotAScalar;

    fn from_str(text: &str) -> Result<Self, NotAScalar> {
        let digits_only = !text.is_empty() && text.len() <= 78 && text.bytes().all(|b| b.is_ascii_digit());
        if !digits_only || (text.len() > 1 && text.starts_with('0')) {
            return Err(NotAScalar);
        }
        let number: BigUint = text.parse().map_err(|_| NotAScalar)?;
        if number.bits() <= 256 { Ok(Self(number)) } else { Err(NotAScalar) }
    }
}

#[Scalar(name = "BigInt")]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        parse_string(&value).ok_or_else(|| refuse("BigInt"))
    }

    fn is_valid(value: &Value) -> bool {
        parse_string::<Self>(value).is_some()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From EIP-55 itself.
    const CHECKSUMMED: [&str; 4] = [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn an_address_is_read_in_one_case_or_with_its_checksum_and_written_with_it() {
        for text in CHECKSUMMED {
            let address: Address = text.parse().unwrap();
            assert_eq!(checksummed(&address.0), text);
            let upper = format!("0x{}", text[2..].to_uppercase());
            for other_case in [text.to_lowercase(), upper] {
                assert_eq!(other_case.parse(), Ok(address));
            }
        }
    }

    #[test]
    fn an_address_with_a_wrong_checksum_is_refused() {
        let wrong = CHECKSUMMED[0].replacen('B', "b", 1);
        assert_ne!(wrong, CHECKSUMMED[0]);
        assert_eq!(wrong.parse::<Address>(), Err(NotAScalar));
    }

    #[test]
    fn malformed_scalars_are_refused() {
        for text in ["", "0x", "0x12", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xé", "0xzz"] {
            assert_eq!(text.parse::<Address>(), Err(NotAScalar), "{text}");
            assert_eq!(text.parse::<Bytes32>(), Err(NotAScalar), "{text}");
        }
        for text in ["", "-1", "+1", "01", "1.0", "1e3", "0x10", "1_000", &"9".repeat(78)] {
            assert_eq!(text.parse::<BigInt>(), Err(NotAScalar), "{text}");
        }
        assert_eq!("0x123".parse::<Bytes>(), Err(NotAScalar));
        assert_eq!(format!("0x{}", "00".repeat(MAX_BYTES + 1)).parse::<Bytes>(), Err(NotAScalar));
    }

    #[test]
    fn numbers_up_to_a_word_are_read_and_written_alike() {
        let max = (BigUint::from(1u32) << 256u32) - 1u32;
        for number in [BigUint::ZERO, BigUint::from(u64::MAX), max] {
            let text = number.to_string();
            assert_eq!(text.parse(), Ok(BigInt(number)));
        }
    }

    #[test]
    fn a_field_element_at_or_above_r_is_refused() {
        assert_eq!(Bytes32([0xff; 32]).to_field(), Err(EncodingError::NotCanonical));
        let largest = -Fr::from(1);
        assert_eq!(Bytes32::from(&largest).to_field(), Ok(largest));
    }
}
