//! The deployment file: which contract, on which chain, with which circuits and keys. `deploy` writes it, `coordinator` takes
//! it.

use std::{fs, path::Path};

use circuits::shape::Shape;
use eyre::{WrapErr, ensure};
use protocol::{Address, parse_address};
use serde::{Deserialize, Serialize};

use super::toml_file;

/// The layout of the file.
const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    version: u32,
    pub chain_id: u64,
    contract: String,
    pub first_block: u64,
    operator: String,
    transaction: String,
    pub circuits: Vec<Circuit>,
}

/// A circuit that the contract was deployed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circuit {
    pub name: Shape,
    /// Of its matrices.
    digest: String,
    /// Digest of the verifying key on L1.
    verifying_key: String,
    /// The key comes from a public seed.
    unsafe_key: bool,
}

impl Circuit {
    pub fn new(name: Shape, digest: &[u8; 32], verifying_key: &[u8; 32], unsafe_key: bool) -> Self {
        let hex = crate::ui::hex;
        Self { name, digest: hex(digest), verifying_key: hex(verifying_key), unsafe_key }
    }
}

impl Deployment {
    pub fn new(
        chain_id: u64,
        contract: &Address,
        first_block: u64,
        operator: &Address,
        transaction: &[u8; 32],
        circuits: Vec<Circuit>,
    ) -> Self {
        let hex = crate::ui::hex;
        Self {
            version: VERSION,
            chain_id,
            contract: hex(contract),
            first_block,
            operator: hex(operator),
            transaction: hex(transaction),
            circuits,
        }
    }

    /// # Errors
    /// If the file cannot be read, is of another version, or is damaged.
    pub fn read(path: &Path) -> eyre::Result<Self> {
        let read: Self =
            toml_file::read(path).wrap_err("the deployment file, which `proofmill deploy` writes")?;
        let file = path.display();
        ensure!(
            read.version == VERSION,
            "{file} is of version {}, this program reads version {VERSION}",
            read.version
        );
        ensure!(!read.circuits.is_empty(), "{file} names no circuit");
        for account in [&read.contract, &read.operator] {
            parse_address(account).wrap_err_with(|| format!("in {file}"))?;
        }
        Ok(read)
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> eyre::Result<()> {
        let text = format!(
            "# A Proofmill contract. `proofmill coordinator --deployment FILE` takes this file.\n{}",
            toml::to_string(self)?
        );
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, text)
            .and_then(|()| fs::File::open(&temporary)?.sync_all())
            .and_then(|()| fs::rename(&temporary, path))
            .wrap_err_with(|| format!("cannot write {}", path.display()))
    }

    /// Whether a key with these digests is the one of this circuit.
    pub fn has(&self, shape: Shape, digest: &[u8; 32], verifying_key: &[u8; 32]) -> bool {
        let (digest, verifying_key) = (crate::ui::hex(digest), crate::ui::hex(verifying_key));
        self.circuits.iter().any(|circuit| {
            (circuit.name, &circuit.digest, &circuit.verifying_key) == (shape, &digest, &verifying_key)
        })
    }

    pub fn contract(&self) -> eyre::Result<Address> {
        Ok(parse_address(&self.contract)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_file_reads_back_and_a_foreign_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deployment.toml");
        let shape: Shape = "s3m1".parse().unwrap();
        let circuits = vec![Circuit::new(shape, &[3; 32], &[4; 32], true)];
        let written = Deployment::new(31_337, &[1; 20], 7, &[2; 20], &[5; 32], circuits);
        written.write(&path).unwrap();
        let read = Deployment::read(&path).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.contract().unwrap(), [1; 20]);
        assert!(read.has(shape, &[3; 32], &[4; 32]) && !read.has(shape, &[3; 32], &[5; 32]));

        let text = fs::read_to_string(&path).unwrap();
        let said = |text: &str| {
            fs::write(&path, text).unwrap();
            format!("{:#}", Deployment::read(&path).unwrap_err())
        };
        assert!(said(&text.replace("version = 1", "version = 2")).contains("version 2"));
        assert!(said(&text.replace("first_block", "frist_block")).contains("frist_block"));
        assert!(said(&text.replace(&"01".repeat(20), "01")).contains("0x01"));
        assert!(said(&text.replace("s3m1", "s5m5")).contains("s5m5"));
        assert!(said("").contains("version"));
    }
}
