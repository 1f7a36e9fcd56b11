//! The key that signs transactions.
//!
//! Invariant: the key's bytes are in no log line, error or `Debug` output, and a key that everybody knows signs nothing
//! on a real chain.

use std::fmt;

use ethers::{
    signers::{LocalWallet, Signer},
    types::{H256, transaction::eip2718::TypedTransaction},
    utils::keccak256,
};
use protocol::{
    Address,
    l1::{ChainError, Hash32},
};

/// The chains on which keys may be used that everybody knows.
pub const DEV_CHAIN_IDS: [u64; 2] = [31_337, 1_337];

/// The accounts of the mnemonic "test test test test test test test test test test test junk", which every development
/// chain funds. A test derives them again.
const KNOWN_ADDRESSES: [&str; 20] = [
    "f39fd6e51aad88f6f4ce6ab8827279cfffb92266",
    "70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
    "90f79bf6eb2c4f870365e785982e1f101e93b906",
    "15d34aaf54267db7d7c367839aaf71a00a2c6a65",
    "9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
    "976ea74026e726554db657fa54763abd0c3a0aa9",
    "14dc79964da2c08b23698b3d3cc7ca32193d9955",
    "23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f",
    "a0ee7a142d267c1f36714e4a8f75612f20a79720",
    "bcd4042de499d14e55001ccbb24a551f3b954096",
    "71be63f3384f5fb98995898a86b02fb2426c5788",
    "fabb0ac9d68b0b445fb7357272ff202c5651694a",
    "1cbd3b2770909d4e10f157cabc84c7264073c9ec",
    "df3e18d64bc6a983f673ab319ccae4f1a57c7097",
    "cd3b766ccdd6ae721141f452c550ca635964ce71",
    "2546bcd3c84621e976d8185a91a922ae77ecec30",
    "bda5747bfd65f08deb54cb465eb87d40e51b197e",
    "dd2fd4581271e230360230f9337d5c0430bf44c0",
    "8626f6940e2eb28930efb4cef49b2d1f2c9c1199",
];

/// A secp256k1 key of an Ethereum account.
#[derive(Clone)]
pub struct AccountKey(LocalWallet);

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountKey(of 0x{}, redacted)", hex::encode(self.address()))
    }
}

impl AccountKey {
    /// # Errors
    /// `Signing` for 0 and for numbers from the group order on.
    pub fn from_bytes(key: &[u8; 32]) -> Result<Self, ChainError> {
        LocalWallet::from_bytes(key)
            .map(Self)
            .map_err(|_| ChainError::Signing("the 32 bytes are not a secp256k1 key".into()))
    }

    /// From 64 hex digits, with or without `0x`.
    ///
    /// # Errors
    /// `Signing` where these are not a key; the text is not quoted.
    pub fn from_hex(text: &str) -> Result<Self, ChainError> {
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let mut key = [0u8; 32];
        hex::decode_to_slice(digits, &mut key)
            .map_err(|_| ChainError::Signing("a key is 64 hexadecimal digits".into()))?;
        let parsed = Self::from_bytes(&key);
        key.fill(0);
        parsed
    }

    pub fn address(&self) -> Address {
        self.0.address().0
    }

    /// # Errors
    /// `Signing` where everybody knows this key and the chain is not a development chain.
    pub fn check_chain(&self, chain_id: u64) -> Result<(), ChainError> {
        check_chain(&self.address(), chain_id)
    }

    /// The signature of a hash, with v = 27 + parity.
    #[cfg(feature = "testing")]
    pub(crate) fn sign_hash(&self, hash: Hash32) -> Result<ethers::types::Signature, ChainError> {
        self.0.sign_hash(H256(hash)).map_err(|_| ChainError::Signing("the hash cannot be signed".into()))
    }

    /// The signed bytes and their hash. The chain id must be in `tx`.
    pub(super) fn sign(&self, tx: &TypedTransaction) -> Result<(Vec<u8>, Hash32), ChainError> {
        let signature = self
            .0
            .sign_transaction_sync(tx)
            .map_err(|_| ChainError::Signing("the transaction cannot be signed".into()))?;
        let raw = tx.rlp_signed(&signature).to_vec();
        let hash = H256(keccak256(&raw)).0;
        Ok((raw, hash))
    }
}

/// Whoever holds the key of the account.
pub(super) fn check_chain(address: &Address, chain_id: u64) -> Result<(), ChainError> {
    let address = hex::encode(address);
    if KNOWN_ADDRESSES.contains(&address.as_str()) && !DEV_CHAIN_IDS.contains(&chain_id) {
        return Err(ChainError::Signing(format!(
            "the key of 0x{address} is published with every development chain, so anybody can spend with it: \
             refused on chain {chain_id}, allowed on 31337 and 1337; use a key of your own"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ethers::signers::{MnemonicBuilder, coins_bip39::English};

    use super::*;

    const SECRET: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn every_account_of_the_development_mnemonic_is_refused_on_a_real_chain() {
        let phrase = "test test test test test test test test test test test junk";
        for index in 0..KNOWN_ADDRESSES.len() as u32 {
            let wallet =
                MnemonicBuilder::<English>::default().phrase(phrase).index(index).unwrap().build().unwrap();
            let key = AccountKey(wallet);
            assert_eq!(hex::encode(key.address()), KNOWN_ADDRESSES[index as usize]);
            for chain_id in DEV_CHAIN_IDS {
                assert_eq!(key.check_chain(chain_id), Ok(()));
            }
            for chain_id in [1, 17_000, 11_155_111, 31_338] {
                assert!(matches!(key.check_chain(chain_id), Err(ChainError::Signing(_))));
            }
        }
    }

    #[test]
    fn a_key_of_ones_own_is_allowed_everywhere() {
        assert_eq!(AccountKey::from_bytes(&[7; 32]).unwrap().check_chain(1), Ok(()));
    }

    #[test]
    fn no_output_shows_the_key() {
        let key = AccountKey::from_hex(SECRET).unwrap();
        assert_eq!(format!("{key:?}"), "AccountKey(of 0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266, redacted)");
        for wrong in [&SECRET[..62], &format!("{SECRET}00"), &SECRET.replace('a', "g"), &"f".repeat(64)] {
            let error = AccountKey::from_hex(wrong).unwrap_err().to_string();
            assert!(!error.contains(&wrong[..8]), "{error}");
        }
        assert!(AccountKey::from_bytes(&[0; 32]).is_err());
    }

    #[test]
    fn a_key_reads_the_same_with_and_without_0x() {
        let bare = AccountKey::from_hex(SECRET).unwrap();
        assert_eq!(AccountKey::from_hex(&format!(" 0x{SECRET}\n")).unwrap().address(), bare.address());
    }
}
