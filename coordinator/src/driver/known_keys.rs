//! Keys and payees that were seen lately, with what is the same in each of their operations: hashes and a check that need
//! not be made again for a holder who pays often.
//!
//! A memory of pure functions: what is in it changes no answer. It is bounded; who was not seen for long is forgotten.

use std::num::NonZeroUsize;

use bn254::Fr;
use circuits::{baby_jubjub::Point, eddsa::SignatureError};
use lru::LruCache;
use parking_lot::{Mutex, MutexGuard};
use protocol::Address;
use sequencer::ledger::{KeyHashes, KnownKey, directory::vault};

/// About 20 MB in all.
const MOST: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

pub struct KnownKeys {
    keys: Mutex<LruCache<(Address, [Fr; 2]), KnownKey>>,
    vaults: Mutex<LruCache<Address, Fr>>,
}

fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock()
}

impl Default for KnownKeys {
    fn default() -> Self {
        Self { keys: Mutex::new(LruCache::new(MOST)), vaults: Mutex::new(LruCache::new(MOST)) }
    }
}

#[cfg(test)]
impl KnownKeys {
    pub fn len(&self) -> usize {
        lock(&self.keys).len()
    }
}

impl KeyHashes for KnownKeys {
    fn key(&self, owner: &Address, key: &Point) -> Result<KnownKey, SignatureError> {
        let name = (*owner, [key.x, key.y]);
        if let Some(known) = lock(&self.keys).get(&name) {
            return Ok(*known);
        }
        // Hashed without the lock: others verify meanwhile.
        let known = KnownKey::new(owner, key)?;
        lock(&self.keys).put(name, known);
        Ok(known)
    }

    fn vault(&self, owner: &Address) -> Fr {
        if let Some(known) = lock(&self.vaults).get(owner) {
            return *known;
        }
        let vault = vault(owner);
        lock(&self.vaults).put(*owner, vault);
        vault
    }
}

#[cfg(test)]
mod tests {
    use circuits::{
        eddsa::PrivateKey,
        leaf::{account, key_hash},
    };

    use super::*;

    #[test]
    fn a_key_is_remembered_for_its_owner_only_and_a_bad_one_never() {
        let keys = KnownKeys::default();
        let key = PrivateKey::new([3; 32]).public();
        for owner in [[1; 20], [2; 20], [1; 20]] {
            assert_eq!(keys.key(&owner, &key).unwrap().account, account(&owner, &key_hash(&key)));
        }
        assert_eq!(keys.len(), 2);
        for _ in 0..2 {
            assert_eq!(keys.key(&[1; 20], &Point::IDENTITY).unwrap_err(), SignatureError::KeyOfSmallOrder);
        }
        assert_eq!(keys.len(), 2);
    }

    #[test]
    fn a_vault_is_the_account_without_a_key_the_first_time_and_later() {
        let keys = KnownKeys::default();
        for owner in [[1; 20], [2; 20], [1; 20]] {
            assert_eq!(keys.vault(&owner), account(&owner, &Fr::from(0)));
        }
    }
}
