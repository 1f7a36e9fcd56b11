//! The wallet file: an Ethereum key and where its coins are. Mode 0600; the key can come from the environment instead.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use coordinator::service::Address;
use eyre::{Context, bail, eyre};
use serde::{Deserialize, Serialize};

/// Overrides the key of the wallet file.
pub const KEY_VARIABLE: &str = "PROOFMILL_WALLET_KEY";

#[derive(Serialize, Deserialize)]
pub struct WalletFile {
    pub version: u32,
    /// 64 hex digits.
    private_key: String,
    pub rpc_url: String,
    pub api_url: String,
    pub contract: String,
}

impl WalletFile {
    pub fn new(private_key: &[u8; 32], rpc_url: String, api_url: String, contract: String) -> Self {
        Self { version: 1, private_key: hex::encode(private_key), rpc_url, api_url, contract }
    }

    pub fn read(path: &Path) -> eyre::Result<Self> {
        let text = fs::read_to_string(path).wrap_err_with(|| {
            format!("cannot read the wallet {}; make one with `proofmill wallet new`", path.display())
        })?;
        let mut file: Self = serde_json::from_str(&text)
            .wrap_err_with(|| format!("{} is not a wallet file", path.display()))?;
        if file.version != 1 {
            bail!("{} is of version {}, this program reads version 1", path.display(), file.version);
        }
        if let Ok(key) = std::env::var(KEY_VARIABLE) {
            file.private_key = key;
        }
        Ok(file)
    }

    /// Writes a new file and refuses to replace one: a lost key is lost money.
    pub fn create(&self, path: &Path) -> eyre::Result<()> {
        write_private(path, serde_json::to_string_pretty(self)?.as_bytes())
            .wrap_err("an existing wallet is never replaced")
    }

    pub fn key_hex(&self) -> &str {
        &self.private_key
    }

    pub fn contract(&self) -> eyre::Result<Address> {
        parse_address(&self.contract)
    }
}

/// Writes a new file that only its owner can read, durably, and never replaces one.
pub fn write_private(path: &Path, bytes: &[u8]) -> eyre::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).wrap_err_with(|| format!("cannot make {}", path.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

/// 20 bytes of hex.
pub fn parse_address(text: &str) -> eyre::Result<Address> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut address = [0u8; 20];
    hex::decode_to_slice(digits, &mut address)
        .map_err(|_| eyre!("'{text}' is not an address; write 0x and 40 hex digits"))?;
    Ok(address)
}

/// Where the wallet is when nobody says.
pub fn default_path() -> PathBuf {
    PathBuf::from("proofmill-wallet.json")
}

/// An amount of ETH as wei, from decimal text such as `0.25`.
pub fn parse_eth(text: &str) -> Result<u128, String> {
    let explain = || format!("'{text}' is not an amount of ETH; write for example 0.25");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 18 || (whole.is_empty() && fraction.is_empty()) {
        return Err(explain());
    }
    let digits = format!("{whole}{fraction:0<18}");
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(explain());
    }
    digits.parse().map_err(|_| explain())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_eth_are_read_exactly_or_refused() {
        assert_eq!(parse_eth("0.25"), Ok(250_000_000_000_000_000));
        assert_eq!(parse_eth("2"), Ok(2_000_000_000_000_000_000));
        assert_eq!(parse_eth(".000000001"), Ok(1_000_000_000));
        for bad in ["", ".", "1,5", "-1", "1e18", "0.0000000000000000001", "0x10"] {
            assert!(parse_eth(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wallet_file_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.json");
        let wallet =
            WalletFile::new(&[1; 32], "http://a".into(), "http://b".into(), format!("0x{}", "11".repeat(20)));
        wallet.create(&path).unwrap();
        assert!(wallet.create(&path).is_err());
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(WalletFile::read(&path).unwrap().contract().unwrap(), [0x11; 20]);
    }
}
