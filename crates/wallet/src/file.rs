//! The wallet file: an Ethereum key, and the deployment where its coins are. Mode 0600.
//!
//! Version 2 pins the deployment: chain id and the hash of the contract's code. Version 1 is still read.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use client::api::codec::hex_text;
use eyre::{Context, bail, eyre};
use protocol::{Address, checksummed, ecdsa::OperatorKey, parse_address};
use serde::{Deserialize, Serialize};

use crate::error::WalletError;

/// The key of a new wallet; never instead of an existing one's.
pub const KEY_VARIABLE: &str = "PROOFMILL_WALLET_KEY";

/// A wallet file as it is read and written.
#[derive(Serialize, Deserialize)]
pub struct WalletFile {
    /// The format: 1 or 2.
    pub version: u32,
    /// 64 hex digits.
    private_key: String,
    /// The Ethereum node.
    pub rpc_url: String,
    /// The coordinator.
    pub api_url: String,
    /// The contract's address.
    pub contract: String,
    /// The chain; files of version 1 do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<u64>,
    /// Keccak-256 of the contract's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code_hash: Option<String>,
}

/// Where the coins are.
pub struct Deployment {
    /// The contract.
    pub contract: Address,
    /// The chain that it is on.
    pub chain_id: u64,
    /// Keccak-256 of its code.
    pub code_hash: [u8; 32],
}

impl WalletFile {
    /// A file of the present version, which is not written yet.
    pub fn new(private_key: &[u8; 32], rpc_url: String, api_url: String, at: &Deployment) -> Self {
        Self {
            version: 2,
            private_key: hex::encode(private_key),
            rpc_url,
            api_url,
            contract: checksummed(&at.contract),
            chain_id: Some(at.chain_id),
            code_hash: Some(hex_text(&at.code_hash)),
        }
    }

    /// Reads a file, and compares its key with the one in the environment if there is one.
    ///
    /// # Errors
    /// `OtherKey` where they differ; if it cannot be read, or is no wallet file of a known version.
    pub fn read(path: &Path) -> eyre::Result<Self> {
        let text = fs::read_to_string(path).wrap_err_with(|| {
            format!("cannot read the wallet {}; make one with `proofmill wallet new`", path.display())
        })?;
        let file: Self = serde_json::from_str(&text)
            .wrap_err_with(|| format!("{} is not a wallet file", path.display()))?;
        if !(1..=2).contains(&file.version) {
            bail!("{} is of version {}, this program reads versions 1 and 2", path.display(), file.version);
        }
        if let Some(key) = key_of_variable()? {
            let (variable, owner) = (OperatorKey::from_bytes(&key)?.address(), file.address()?);
            if variable != owner {
                bail!(WalletError::OtherKey { variable, file: path.to_owned(), owner });
            }
        }
        Ok(file)
    }

    /// Writes a new file and refuses to replace one: a lost key is lost money.
    ///
    /// # Errors
    /// If there is a file, or it is not surely on the disk.
    pub fn create(&self, path: &Path) -> eyre::Result<()> {
        write_private(path, serde_json::to_string_pretty(self)?.as_bytes())
            .wrap_err("an existing wallet is never replaced")
    }

    /// The key as 64 hex digits.
    pub fn key_hex(&self) -> &str {
        &self.private_key
    }

    /// The account of the key.
    ///
    /// # Errors
    /// If the file holds no key.
    pub fn address(&self) -> eyre::Result<Address> {
        Ok(OperatorKey::from_hex(&self.private_key)?.address())
    }

    /// The contract's address.
    ///
    /// # Errors
    /// If the file holds none.
    pub fn contract(&self) -> eyre::Result<Address> {
        Ok(parse_address(&self.contract)?)
    }

    /// Keccak-256 of the contract's code; nothing in files of version 1.
    ///
    /// # Errors
    /// If the file holds something else.
    pub fn code_hash(&self) -> eyre::Result<Option<[u8; 32]>> {
        let Some(text) = &self.code_hash else { return Ok(None) };
        let mut hash = [0; 32];
        hex::decode_to_slice(text.trim_start_matches("0x"), &mut hash)
            .map_err(|_| eyre!("the wallet file's code hash is not 64 hex digits"))?;
        Ok(Some(hash))
    }
}

/// The key in the environment, if there is one.
///
/// # Errors
/// If it is not 64 hex digits.
pub fn key_of_variable() -> eyre::Result<Option<[u8; 32]>> {
    let Ok(text) = std::env::var(KEY_VARIABLE) else { return Ok(None) };
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut key)
        .map_err(|_| eyre!("{KEY_VARIABLE} is not 64 hex digits"))?;
    Ok(Some(key))
}

/// Writes a new file that only its owner can read, durably, and never replaces one.
fn write_private(path: &Path, bytes: &[u8]) -> eyre::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).wrap_err_with(|| format!("cannot make {}", path.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    crate::folder::sync_parent(path)?;
    Ok(())
}

/// Where the wallet is when nobody says.
pub fn default_path() -> PathBuf {
    PathBuf::from("proofmill-wallet.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_file_is_private_never_replaced_and_names_its_deployment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.json");
        let at = Deployment { contract: [0x11; 20], chain_id: 5, code_hash: [9; 32] };
        let wallet = WalletFile::new(&[1; 32], "http://a".into(), "http://b".into(), &at);
        wallet.create(&path).unwrap();
        assert!(wallet.create(&path).is_err());
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        let read = WalletFile::read(&path).unwrap();
        assert_eq!((read.contract().unwrap(), read.chain_id), ([0x11; 20], Some(5)));
        assert_eq!(read.code_hash().unwrap(), Some([9; 32]));
    }

    #[test]
    fn a_wallet_of_version_1_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.json");
        let (key, contract) = ("01".repeat(32), format!("0x{}", "11".repeat(20)));
        let text = format!(
            r#"{{"version":1,"private_key":"{key}","rpc_url":"a","api_url":"b","contract":"{contract}"}}"#
        );
        fs::write(&path, text).unwrap();
        let read = WalletFile::read(&path).unwrap();
        assert_eq!((read.chain_id, read.code_hash().unwrap()), (None, None));
    }
}
