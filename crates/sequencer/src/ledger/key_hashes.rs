//! What is the same in each operation of a holder: hashes of its key, and the check that the key may own coins. Where holders pay
//! often, a caller remembers them.

use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    eddsa::{CheckedKey, SignatureError},
    leaf::{account, key_hash},
};
use protocol::Address;

use super::directory::vault;

#[derive(Clone, Copy, Debug)]
pub struct KnownKey {
    pub key: CheckedKey,
    /// The account of the owner with this key.
    pub account: Fr,
}

impl KnownKey {
    /// # Errors
    /// For a key that may not own coins.
    pub fn new(owner: &Address, key: &Point) -> Result<Self, SignatureError> {
        Ok(Self { key: CheckedKey::new(key)?, account: account(owner, &key_hash(key)) })
    }
}

/// Pure functions: an implementation may remember answers, and changes none.
pub trait KeyHashes {
    /// # Errors
    /// For a key that may not own coins.
    fn key(&self, owner: &Address, key: &Point) -> Result<KnownKey, SignatureError>;

    /// The owner's account without a key.
    fn vault(&self, owner: &Address) -> Fr;
}

/// Computes each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unremembered;

impl KeyHashes for Unremembered {
    fn key(&self, owner: &Address, key: &Point) -> Result<KnownKey, SignatureError> {
        KnownKey::new(owner, key)
    }

    fn vault(&self, owner: &Address) -> Fr {
        vault(owner)
    }
}
