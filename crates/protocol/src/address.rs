//! Ethereum addresses, and their text with the checksum of EIP-55.

use crate::ecdsa::keccak256;

/// A 20-byte Ethereum address.
pub type Address = [u8; 20];

/// The address with its EIP-55 checksum.
pub fn checksummed(address: &Address) -> String {
    let lower = hex::encode(address);
    let digest = hex::encode(keccak256(lower.as_bytes()));
    let digits = lower.chars().zip(digest.bytes());
    let cased = digits.map(|(digit, hash)| if hash >= b'8' { digit.to_ascii_uppercase() } else { digit });
    format!("0x{}", cased.collect::<String>())
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is not 40 hex digits.
    #[error("'{0}' is not an address; write 0x and 40 hex digits")]
    Digits(String),
    /// It is in mixed case, and not in that of its checksum.
    #[error(
        "'{0}' has a wrong checksum (EIP-55): a digit is wrong, or its case; copy the address again, or write it in lower case"
    )]
    Checksum(String),
}

/// Reads `0x` and 40 hex digits. In mixed case the checksum must be right: one wrong digit is another person.
///
/// # Errors
/// See [`AddressError`].
pub fn parse_address(text: &str) -> Result<Address, AddressError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut address = [0u8; 20];
    hex::decode_to_slice(digits, &mut address).map_err(|_| AddressError::Digits(text.to_owned()))?;
    let one_case = !digits.bytes().any(|digit| digit.is_ascii_uppercase())
        || !digits.bytes().any(|digit| digit.is_ascii_lowercase());
    if one_case || checksummed(&address).trim_start_matches("0x") == digits {
        return Ok(address);
    }
    Err(AddressError::Checksum(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_mixed_case_must_have_its_checksum() {
        let right = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        let address = parse_address(right).unwrap();
        assert_eq!(checksummed(&address), right);
        for text in [right.to_lowercase(), right[2..].to_owned(), format!("0x{}", right[2..].to_uppercase())]
        {
            assert_eq!(parse_address(&text).unwrap(), address, "{text}");
        }
        for at in 2..right.len() {
            let mut wrong = right.to_owned().into_bytes();
            wrong[at] = if wrong[at] == b'1' { b'2' } else { b'1' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(parse_address(&wrong).unwrap_err().to_string().contains("checksum"), "{wrong}");
        }
        for text in ["", "0x", "0x12", &right[..41], "0xzz"] {
            assert!(parse_address(text).unwrap_err().to_string().contains("40 hex digits"), "{text}");
        }
    }
}
