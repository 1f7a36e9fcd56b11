//! A wallet's Baby Jubjub key, derived from its owner's signature over `eip712::SpendKey`: HKDF-SHA256 (RFC 5869, no
//! salt) over r ‖ s with s in the lower half, v dropped, info `"proofmill spend key v1"`, 32 bytes.
//!
//! A wallet whose ECDSA is not deterministic would derive another key each time and lose its coins. So a wallet signs
//! twice before it uses a key for the first time, and [`derive_checked`] refuses two signatures that differ.

use circuits::eddsa::PrivateKey;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ecdsa::{EcdsaError, low_s};

const INFO: &[u8] = b"proofmill spend key v1";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpendKeyError {
    #[error(transparent)]
    Signature(#[from] EcdsaError),
    #[error(
        "PM-SPENDKEY-001: the wallet signed the same message in two ways, so it could not derive this key again; use a wallet with deterministic signatures (RFC 6979)"
    )]
    NotDeterministic,
}

/// The 32-byte secret of the key.
///
/// # Errors
/// `SpendKeyError::Signature` if the bytes are not a signature.
pub fn derive_secret(signature: &[u8]) -> Result<Zeroizing<[u8; 32]>, SpendKeyError> {
    let material = low_s(signature)?;
    let mut secret = Zeroizing::new([0u8; 32]);
    match Hkdf::<Sha256>::new(None, material.as_slice()).expand(INFO, secret.as_mut_slice()) {
        Ok(()) => Ok(secret),
        Err(error) => unreachable!("HKDF-SHA256 gives up to 8160 bytes: {error}"),
    }
}

/// The signing key.
///
/// # Errors
/// `SpendKeyError::Signature` if the bytes are not a signature.
pub fn derive(signature: &[u8]) -> Result<PrivateKey, SpendKeyError> {
    Ok(PrivateKey::new(*derive_secret(signature)?))
}

/// The signing key, from two signatures over the same message.
///
/// # Errors
/// `SpendKeyError::Signature` if the bytes are not signatures, `NotDeterministic` if they give different keys.
pub fn derive_checked(first: &[u8], second: &[u8]) -> Result<PrivateKey, SpendKeyError> {
    let secret = derive_secret(first)?;
    if secret == derive_secret(second)? {
        Ok(PrivateKey::new(*secret))
    } else {
        Err(SpendKeyError::NotDeterministic)
    }
}
