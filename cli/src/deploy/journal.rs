//! The transactions of a deployment, kept before they are sent.
//!
//! Invariant: all of them have one nonce, so that at most one can be mined, and the contract's address is known.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use eyre::{WrapErr, ensure, eyre};
use protocol::{
    Address,
    l1::{Fees, SignedTx},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ui::hex;

const VERSION: u32 = 1;
/// A deployment with all circuits has 60 kB; it may be signed anew a few times.
const MOST_BYTES: u64 = 8 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    version: u32,
    pub chain_id: u64,
    deployer: String,
    pub nonce: u64,
    /// SHA-256 of the creation code with its arguments.
    code: String,
    transactions: Vec<Transaction>,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transaction {
    hash: String,
    raw: String,
    fees: Fees,
    /// The node said that it takes it not, and why. It is kept, since a node that lies may have it all the same.
    #[serde(default)]
    refused: bool,
}

impl Journal {
    /// The journal of a deployment file.
    pub fn path_beside(deployment: &Path) -> PathBuf {
        deployment.with_extension("journal")
    }

    /// One without transactions, not written yet.
    pub fn begin(path: PathBuf, chain_id: u64, deployer: &Address, nonce: u64, code: &[u8]) -> Self {
        let (deployer, code) = (hex(deployer), hex(&Sha256::digest(code)));
        Self { version: VERSION, chain_id, deployer, nonce, code, transactions: Vec::new(), path }
    }

    /// The journal that an interrupted deployment has left; nothing without one.
    ///
    /// # Errors
    /// If it cannot be read, or is of another deployment than this one.
    pub fn find(path: &Path, chain_id: u64, deployer: &Address, code: &[u8]) -> eyre::Result<Option<Self>> {
        let file = path.display();
        let length = match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            found => found.wrap_err_with(|| format!("cannot read {file}"))?.len(),
        };
        let damaged = || {
            format!(
                "{file} holds a deployment that was begun and cannot be read; look up what the account has sent before you \
                 move it away"
            )
        };
        ensure!(length <= MOST_BYTES, damaged());
        let mut journal: Self = serde_json::from_slice(&fs::read(path)?).wrap_err_with(damaged)?;
        ensure!(journal.version == VERSION && !journal.transactions.is_empty(), damaged());
        let this = Self::begin(path.to_owned(), chain_id, deployer, journal.nonce, code);
        ensure!(
            (journal.chain_id, &journal.deployer) == (chain_id, &this.deployer),
            "{file} holds a deployment from {} on chain {}, which may still be mined; finish it with that key and node, or \
             pass another --out",
            journal.deployer,
            journal.chain_id
        );
        ensure!(
            journal.code == this.code,
            "{file} holds a deployment with other settings or keys, which may still be mined; finish it with those, or pass \
             another --out to deploy one more contract"
        );
        journal.path = path.to_owned();
        Ok(Some(journal))
    }

    /// Adds a transaction and writes the journal, durably.
    ///
    /// # Errors
    /// If it cannot be written: then the transaction must not be sent.
    pub fn add(&mut self, tx: &SignedTx) -> eyre::Result<()> {
        let (hash, raw) = (hex(&tx.hash), hex(&tx.raw));
        // The same fees give the same transaction.
        self.transactions.retain(|known| known.hash != hash);
        self.transactions.push(Transaction { hash, raw, fees: tx.fees, refused: false });
        self.write().wrap_err("nothing was sent")
    }

    /// Notes that the node took the last transaction not.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn refused(&mut self) -> eyre::Result<()> {
        if let Some(last) = self.transactions.last_mut() {
            last.refused = true;
        }
        self.write()
    }

    /// Fees of the last transaction that may be in a pool.
    pub fn last_fees(&self) -> Option<Fees> {
        self.transactions.iter().rev().find(|tx| !tx.refused).map(|tx| tx.fees)
    }

    fn write(&self) -> eyre::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let temporary = self.path.with_extension("journal.tmp");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().wrap_err_with(|| format!("cannot write {}", self.path.display()))
    }

    /// Oldest first.
    ///
    /// # Errors
    /// If the file was changed by hand.
    pub fn transactions(&self) -> eyre::Result<Vec<SignedTx>> {
        let bytes = |text: &str| hex::decode(text.trim_start_matches("0x"));
        let tx = |tx: &Transaction| {
            let hash = bytes(&tx.hash).ok()?.try_into().ok()?;
            Some(SignedTx { raw: bytes(&tx.raw).ok()?, hash, nonce: self.nonce, fees: tx.fees })
        };
        let all = self.transactions.iter().map(tx).collect::<Option<_>>();
        all.ok_or_else(|| eyre!("{} is damaged: a transaction is not hexadecimal", self.path.display()))
    }

    /// The deployment is done, or can never be.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn remove(&self) -> eyre::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).wrap_err_with(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_found_by_its_own_deployment_and_refuses_every_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = Journal::path_beside(&folder.path().join("deployment.toml"));
        assert!(Journal::find(&path, 1, &[1; 20], b"code").unwrap().is_none());
        let mut journal = Journal::begin(path.clone(), 1, &[1; 20], 5, b"code");
        let tx = |fee: u128| SignedTx {
            raw: vec![2, 3, fee as u8],
            hash: [fee as u8; 32],
            nonce: 5,
            fees: Fees { max_fee: fee, max_priority: 1 },
        };
        journal.add(&tx(10)).unwrap();
        assert_eq!(journal.last_fees(), Some(tx(10).fees));
        journal.refused().unwrap();
        assert_eq!(journal.last_fees(), None, "the next one may pay less");
        journal.add(&tx(20)).unwrap();
        journal.add(&tx(20)).unwrap();
        let found = Journal::find(&path, 1, &[1; 20], b"code").unwrap().unwrap();
        assert_eq!(found.transactions().unwrap(), [tx(10), tx(20)]);
        for (chain, deployer, code) in [
            (2, [1; 20], b"code".as_slice()),
            (1, [2; 20], b"code".as_slice()),
            (1, [1; 20], b"other".as_slice()),
        ] {
            let refused = Journal::find(&path, chain, &deployer, code).unwrap_err().to_string();
            assert!(refused.contains("may still be mined"), "{refused}");
        }
        found.remove().unwrap();
        assert!(Journal::find(&path, 1, &[1; 20], b"code").unwrap().is_none());
        fs::write(&path, "{").unwrap();
        assert!(Journal::find(&path, 1, &[1; 20], b"code").is_err());
    }
}
