//! secp256k1 signatures as Ethereum uses them: 65 bytes r ‖ s ‖ v, s in the lower half of the group order.
//!
//! The curve is `k256`; nothing outside this file sees it.

use std::{fmt, fs, io::Write, path::Path};

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use sha3::{Digest, Keccak256};
use zeroize::Zeroizing;

use crate::Address;

/// r ‖ s ‖ v with v 27 or 28.
pub type Signature65 = [u8; 65];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EcdsaError {
    #[error("PM-SIG-001: a signature has 65 bytes (r, s, v), this one has {0}; send all of them")]
    Length(usize),
    #[error("PM-SIG-002: r, s or v of the signature is out of range; sign again")]
    OutOfRange,
    #[error(
        "PM-SIG-003: s of the signature lies in the upper half; send the same signature with n - s and the other v"
    )]
    HighS,
    #[error("PM-SIG-004: no key can have made this signature; sign again")]
    NoKey,
}

#[derive(Debug, thiserror::Error)]
pub enum OperatorKeyError {
    #[error("PM-OPKEY-001: the key is not 64 hexadecimal digits of a number between 1 and the group order")]
    Invalid,
    #[error("PM-OPKEY-002: {path} cannot be used: {source}")]
    File { path: String, source: std::io::Error },
    #[error("PM-OPKEY-003: {path} can be read by other users; run `chmod 600 {path}`")]
    Exposed { path: String },
    #[error("PM-OPKEY-004: the environment variable {0} is not set; set it or give a key file")]
    NotSet(String),
}

pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// The operator's key. Wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct OperatorKey {
    key: SigningKey,
    address: Address,
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperatorKey(0x{})", hex::encode(self.address))
    }
}

impl OperatorKey {
    /// # Errors
    /// `Invalid` for zero or a number at or above the group order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, OperatorKeyError> {
        let key = SigningKey::from_slice(secret).map_err(|_| OperatorKeyError::Invalid)?;
        let address = address_of(key.verifying_key());
        Ok(Self { key, address })
    }

    /// 64 hexadecimal digits, with or without `0x`, white space around them ignored.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn from_hex(text: &str) -> Result<Self, OperatorKeyError> {
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let mut secret = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(digits, secret.as_mut_slice()).map_err(|_| OperatorKeyError::Invalid)?;
        Self::from_bytes(&secret)
    }

    /// # Errors
    /// `File`, `Exposed` if others may read it, `Invalid`.
    pub fn from_file(path: &Path) -> Result<Self, OperatorKeyError> {
        let failed = |source| OperatorKeyError::File { path: path.display().to_string(), source };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
                return Err(OperatorKeyError::Exposed { path: path.display().to_string() });
            }
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        Self::from_hex(&text)
    }

    /// # Errors
    /// `NotSet`, `Invalid`.
    pub fn from_env(variable: &str) -> Result<Self, OperatorKeyError> {
        let text = std::env::var(variable).map_err(|_| OperatorKeyError::NotSet(variable.to_owned()))?;
        Self::from_hex(&Zeroizing::new(text))
    }

    /// A fresh key from the operating system's randomness.
    pub fn random() -> Self {
        let key = SigningKey::random(&mut rand_core::OsRng);
        let address = address_of(key.verifying_key());
        Self { key, address }
    }

    /// Writes the key to a new file that only its owner can read.
    ///
    /// # Errors
    /// `File`, also when the file exists.
    pub fn create_file(&self, path: &Path) -> Result<(), OperatorKeyError> {
        let failed = |source| OperatorKeyError::File { path: path.display().to_string(), source };
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let secret = Zeroizing::new(<[u8; 32]>::from(self.key.to_bytes()));
        let text = Zeroizing::new(format!("0x{}\n", hex::encode(secret.as_slice())));
        let mut file = options.open(path).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
    }

    pub fn address(&self) -> Address {
        self.address
    }
}

/// Signs a digest (RFC 6979, so the same digest has the same signature); s in the lower half.
pub fn sign(digest: &[u8; 32], key: &OperatorKey) -> Signature65 {
    // Fails only for r = 0 or s = 0, which no digest is known to give.
    let (signature, recovery) = match key.key.sign_prehash_recoverable(digest) {
        Ok(signed) => signed,
        Err(error) => unreachable!("a digest of 32 bytes can be signed: {error}"),
    };
    let mut bytes = [0u8; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = 27 + recovery.to_byte();
    bytes
}

/// The address whose key signed the digest. v may be 0, 1, 27 or 28.
///
/// # Errors
/// `EcdsaError` for each way in which the bytes are not a signature in the one form that is accepted.
pub fn recover(digest: &[u8; 32], signature: &[u8]) -> Result<Address, EcdsaError> {
    let (rs, v) = parse(signature)?;
    if rs.normalize_s().is_some() {
        return Err(EcdsaError::HighS);
    }
    let key = VerifyingKey::recover_from_prehash(digest, &rs, v).map_err(|_| EcdsaError::NoKey)?;
    Ok(address_of(&key))
}

/// r ‖ s with s in the lower half: the part of a signature that does not depend on the wallet's habits.
///
/// # Errors
/// `Length`, `OutOfRange`.
pub(crate) fn low_s(signature: &[u8]) -> Result<Zeroizing<[u8; 64]>, EcdsaError> {
    let (rs, _) = parse(signature)?;
    let rs = rs.normalize_s().unwrap_or(rs);
    Ok(Zeroizing::new(rs.to_bytes().into()))
}

fn parse(signature: &[u8]) -> Result<(Signature, RecoveryId), EcdsaError> {
    let signature: &Signature65 = signature.try_into().map_err(|_| EcdsaError::Length(signature.len()))?;
    let v = match signature[64] {
        v @ (0 | 1) => v,
        v @ (27 | 28) => v - 27,
        _ => return Err(EcdsaError::OutOfRange),
    };
    let v = RecoveryId::from_byte(v).ok_or(EcdsaError::OutOfRange)?;
    let rs = Signature::from_slice(&signature[..64]).map_err(|_| EcdsaError::OutOfRange)?;
    Ok((rs, v))
}

fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_encoded_point(false);
    // 0x04 ‖ x ‖ y; the address is the last 20 bytes of the hash of x ‖ y.
    let hash = keccak256(&point.as_bytes()[1..]);
    let mut address = [0u8; 20];
    address.copy_from_slice(&hash[12..]);
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> OperatorKey {
        OperatorKey::from_hex("0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318").unwrap()
    }

    #[test]
    fn a_signature_recovers_to_its_signer_and_no_other_digest_does() {
        let digest = keccak256(b"digest");
        let signature = sign(&digest, &key());
        assert_eq!(recover(&digest, &signature), Ok(key().address()));
        assert_ne!(recover(&keccak256(b"other"), &signature), Ok(key().address()));
        let mut short_v = signature;
        short_v[64] -= 27;
        assert_eq!(recover(&digest, &short_v), Ok(key().address()));
    }

    #[test]
    fn the_other_form_of_a_signature_is_refused() {
        let digest = keccak256(b"digest");
        let signature = sign(&digest, &key());
        let s = num_bigint::BigUint::from_bytes_be(&signature[32..64]);
        let n = num_bigint::BigUint::parse_bytes(
            b"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
            16,
        )
        .unwrap();
        let mut other = signature;
        other[32..64].copy_from_slice(&(n - s).to_bytes_be());
        other[64] = 27 + 28 - signature[64];
        assert_eq!(recover(&digest, &other), Err(EcdsaError::HighS));
        assert_eq!(low_s(&other).unwrap(), low_s(&signature).unwrap());
    }

    #[test]
    fn damaged_signatures_have_errors_of_their_own() {
        let digest = keccak256(b"digest");
        let signature = sign(&digest, &key());
        assert_eq!(recover(&digest, &signature[..64]), Err(EcdsaError::Length(64)));
        let mut v = signature;
        v[64] = 29;
        assert_eq!(recover(&digest, &v), Err(EcdsaError::OutOfRange));
        let mut zero_r = signature;
        zero_r[..32].fill(0);
        assert_eq!(recover(&digest, &zero_r), Err(EcdsaError::OutOfRange));
        let mut large_s = signature;
        large_s[32..64].fill(0xff);
        assert_eq!(recover(&digest, &large_s), Err(EcdsaError::OutOfRange));
    }

    #[test]
    fn a_key_file_is_private_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.key");
        let key = OperatorKey::random();
        key.create_file(&path).unwrap();
        assert_eq!(OperatorKey::from_file(&path).unwrap().address(), key.address());
        assert!(matches!(key.create_file(&path), Err(OperatorKeyError::File { .. })), "never overwritten");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(OperatorKey::from_file(&path), Err(OperatorKeyError::Exposed { .. })));
        }
    }

    #[test]
    fn a_bad_key_is_refused_and_a_good_one_is_never_printed() {
        for bad in ["", "0x", "12", &"0".repeat(64), &"f".repeat(64), &"g".repeat(64)] {
            assert!(matches!(OperatorKey::from_hex(bad), Err(OperatorKeyError::Invalid)), "{bad}");
        }
        let printed = format!("{:?}", key());
        assert_eq!(printed, "OperatorKey(0x2c7536e3605d9c16a7a3d7b1898e529396a65c23)");
    }
}
