//! Ethereum addresses.

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
