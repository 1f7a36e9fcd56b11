//! The keys that people can be paid to, as their owners signed them.
//!
//! Every key ever registered stays known, so that coins paid to an older key can still be drafted for spending; only the
//! newest entry of an owner is paid.

use std::collections::HashMap;

use bn254::{Fr, PrimeField};
use circuits::{
    baby_jubjub::Point,
    leaf::{account, key_hash},
};
use protocol::{Address, DirectoryEntry};
use serde::{Deserialize, Serialize};

/// An entry with the hashes that follow from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    pub entry: DirectoryEntry,
    pub key_hash: Fr,
    pub account: Fr,
}

impl Registered {
    pub fn new(entry: DirectoryEntry) -> Self {
        let key_hash = key_hash(&entry.key);
        let account = account(&entry.owner, &key_hash);
        Self { entry, key_hash, account }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Directory {
    entries: HashMap<Address, Registered>,
    /// Every key of an owner, by the account it makes.
    keys: HashMap<[u8; 32], (Fr, Point)>,
}

/// The account of an owner that only L1 can open: no key has the hash 0.
pub fn vault(owner: &Address) -> Fr {
    account(owner, &Fr::default())
}

impl Directory {
    pub fn entry(&self, owner: &Address) -> Option<&Registered> {
        self.entries.get(owner)
    }

    pub fn insert(&mut self, registered: Registered) {
        let key = (registered.key_hash, registered.entry.key);
        self.keys.insert(bytes(&registered.account), key);
        self.entries.insert(registered.entry.owner, registered);
    }

    /// The newest entry of each owner.
    pub fn entries(&self) -> impl Iterator<Item = &Registered> {
        self.entries.values()
    }

    /// Every key with its hash, by the account that it makes.
    pub fn keys(&self) -> impl Iterator<Item = (&[u8; 32], &(Fr, Point))> {
        self.keys.iter()
    }

    /// The key that opens an account, if its owner registered it.
    pub fn key_of(&self, account: &Fr) -> Option<Point> {
        self.keys.get(&bytes(account)).map(|(_, key)| *key)
    }

    /// The key hash behind an account of `owner`: a registered one or the vault's 0.
    pub fn key_hash_of(&self, owner: &Address, account: &Fr) -> Option<Fr> {
        let registered = self.keys.get(&bytes(account)).map(|(key_hash, _)| *key_hash);
        registered.or_else(|| (*account == vault(owner)).then(Fr::default))
    }
}

/// An account as a key of maps.
pub fn bytes(word: &Fr) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(word.to_repr().as_ref());
    bytes
}
