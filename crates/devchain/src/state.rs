//! Accounts, code and storage at the head, and what is needed to go back.
//!
//! Invariant: for every block whose [`Undo`] is kept, applying the undos of the blocks above it, newest first,
//! to the head's state gives that block's state. Only the first value a block overwrites is recorded, so an undo is
//! the block's effect and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use revm::DatabaseRef;
use revm::primitives::{Address, B256, KECCAK_EMPTY, U256, keccak256};
use revm::state::{AccountInfo, Bytecode, EvmState};

use crate::types::Block;

/// Balance, nonce and code of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Wei.
    pub balance: U256,
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// keccak256 of the code.
    pub code_hash: B256,
}

impl Account {
    /// An account without code that sent nothing.
    #[must_use]
    pub fn with_balance(balance: U256) -> Self {
        Self { balance, nonce: 0, code_hash: KECCAK_EMPTY }
    }
}

/// What one block overwrote: the values before it.
#[derive(Clone, Debug, Default)]
pub struct Undo {
    accounts: BTreeMap<Address, Option<Account>>,
    slots: BTreeMap<(Address, U256), U256>,
}

/// The state at the head.
#[derive(Clone, Debug, Default)]
pub struct State {
    accounts: HashMap<Address, Account>,
    storage: HashMap<Address, HashMap<U256, U256>>,
    /// Code by hash. Never removed: blocks that are gone may come back.
    codes: HashMap<B256, Bytecode>,
}

impl State {
    /// The account, if it exists.
    #[must_use]
    pub fn account(&self, address: Address) -> Option<Account> {
        self.accounts.get(&address).copied()
    }

    fn slot(&self, address: Address, key: U256) -> U256 {
        self.storage.get(&address).and_then(|slots| slots.get(&key)).copied().unwrap_or_default()
    }

    /// Replaces an account, noting in `undo` what it was.
    pub fn set_account(&mut self, address: Address, account: Option<Account>, undo: &mut Undo) {
        let before = match account {
            Some(account) => self.accounts.insert(address, account),
            None => self.accounts.remove(&address),
        };
        undo.accounts.entry(address).or_insert(before);
    }

    fn set_slot(&mut self, address: Address, key: U256, value: U256, undo: &mut Undo) {
        let before = self.slot(address, key);
        self.put_slot(address, key, value);
        undo.slots.entry((address, key)).or_insert(before);
    }

    fn put_slot(&mut self, address: Address, key: U256, value: U256) {
        let slots = self.storage.entry(address).or_default();
        if value.is_zero() {
            slots.remove(&key);
        } else {
            slots.insert(key, value);
        }
        if slots.is_empty() {
            self.storage.remove(&address);
        }
    }

    /// Applies what a transaction changed.
    pub fn commit(&mut self, changes: EvmState, undo: &mut Undo) {
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            if account.is_selfdestructed() || account.is_empty() {
                // Since EIP-6780 only what was created in the same transaction is destroyed: it had no storage before.
                self.set_account(address, None, undo);
                continue;
            }
            if let Some(code) = account.info.code.as_ref().filter(|code| !code.is_empty()) {
                self.codes.entry(account.info.code_hash).or_insert_with(|| code.clone());
            }
            let AccountInfo { balance, nonce, code_hash, .. } = account.info;
            self.set_account(address, Some(Account { balance, nonce, code_hash }), undo);
            for (key, slot) in account.storage {
                if slot.is_changed() {
                    self.set_slot(address, key, slot.present_value, undo);
                }
            }
        }
    }

    /// Goes back to the state before the block that left `undo`.
    pub fn revert(&mut self, undo: &Undo) {
        for (address, before) in &undo.accounts {
            match before {
                Some(account) => self.accounts.insert(*address, *account),
                None => self.accounts.remove(address),
            };
        }
        for ((address, key), before) in &undo.slots {
            self.put_slot(*address, *key, *before);
        }
    }

    /// keccak256 of the parent's commitment and everything that `undo` says was touched, with its present value.
    #[must_use]
    pub fn commitment(&self, parent: B256, undo: &Undo) -> B256 {
        let mut bytes = parent.to_vec();
        for address in undo.accounts.keys() {
            bytes.extend_from_slice(address.as_slice());
            match self.account(*address) {
                Some(account) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&account.balance.to_be_bytes::<32>());
                    bytes.extend_from_slice(&account.nonce.to_be_bytes());
                    bytes.extend_from_slice(account.code_hash.as_slice());
                }
                None => bytes.push(0),
            }
        }
        // The count separates the two lists: without it an account could read as a slot.
        bytes.extend_from_slice(&(undo.accounts.len() as u64).to_be_bytes());
        for (address, key) in undo.slots.keys() {
            bytes.extend_from_slice(address.as_slice());
            bytes.extend_from_slice(&key.to_be_bytes::<32>());
            bytes.extend_from_slice(&self.slot(*address, *key).to_be_bytes::<32>());
        }
        keccak256(&bytes)
    }
}

/// Read access to the state after some block.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// State at the head.
    pub head: &'a State,
    /// Undos of the blocks above the one that is looked at, oldest first.
    pub above: &'a [Arc<Undo>],
    /// The chain's blocks, for BLOCKHASH.
    pub blocks: &'a [Arc<Block>],
}

impl View<'_> {
    /// The account after this block.
    #[must_use]
    pub fn account(&self, address: Address) -> Option<Account> {
        let overwritten = self.above.iter().find_map(|undo| undo.accounts.get(&address));
        overwritten.copied().unwrap_or_else(|| self.head.account(address))
    }

    /// A storage slot after this block.
    #[must_use]
    pub fn slot(&self, address: Address, key: U256) -> U256 {
        let overwritten = self.above.iter().find_map(|undo| undo.slots.get(&(address, key)));
        overwritten.copied().unwrap_or_else(|| self.head.slot(address, key))
    }

    /// Code by its hash, empty if unknown.
    #[must_use]
    pub fn code(&self, hash: B256) -> Bytecode {
        self.head.codes.get(&hash).cloned().unwrap_or_default()
    }
}

impl DatabaseRef for View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.account(address).map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: None,
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.code(code_hash))
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, Infallible> {
        Ok(self.slot(address, key))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        let block = usize::try_from(number).ok().and_then(|number| self.blocks.get(number));
        Ok(block.map_or(B256::ZERO, |block| block.hash))
    }
}
