//! What a wallet does with its keys, and what it refuses to sign.
//!
//! Invariant: nothing is signed that the holder did not compute itself. Of a draft the wallet believes only what it can
//! check: the domain from chain id and contract, the leaves from its own account, the recipient from an entry that the
//! recipient signed and whose epoch L1 confirms; and it signs the M that it computed from these.

use std::collections::BTreeSet;

use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    eddsa::{PrivateKey, SignatureError, check_key},
    leaf::{account, key_hash},
    public_data::domain,
};
use ff::Field;
use protocol::{
    Address,
    ecdsa::{EcdsaError, OperatorKey},
    eip712::{self, SigningDomain, TypedMessage},
    spend_key::{self, SpendKeyError},
};

use crate::api::{DirectoryEntry, Draft, InconsistentDraft, Kind, RegisterKey, Submit};

/// Keys of earlier epochs that are still recognised.
const OLDER_KEYS: usize = 8;

/// What in a draft is not what the holder wants, or not true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PM-WALLET-001: {0}; nothing was signed")]
pub struct DraftError(String);

/// Why a holder does not sign.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error(transparent)]
    Inconsistent(#[from] InconsistentDraft),
    /// A directory entry's key.
    #[error(transparent)]
    Key(#[from] SignatureError),
    /// A directory entry's signature.
    #[error(transparent)]
    Signature(#[from] EcdsaError),
}

/// Refuses a draft unless something holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(DraftError(format!($($why)+)).into());
        }
    };
}

/// An Ethereum key and the spending key derived from its signature.
pub struct Holder {
    ethereum: OperatorKey,
    spend: PrivateKey,
    pub key: Point,
    pub key_epoch: u32,
    deployment: SigningDomain,
}

/// What the holder wants to happen, to compare a draft with.
pub struct Intent {
    pub kind: Kind,
    pub recipient: Option<Address>,
    pub coins: u64,
    pub allow_vault: bool,
    /// The recipient's key epoch as L1 says it.
    pub recipient_epoch: u32,
    /// The last batch for which the holder wants its signature to be good.
    pub valid_until: u32,
}

impl Holder {
    /// Derives the spending key from two signatures of the same typed message, which must agree.
    ///
    /// # Errors
    /// If the two signatures give different keys.
    pub fn new(
        ethereum: OperatorKey,
        deployment: SigningDomain,
        key_epoch: u32,
    ) -> Result<Self, SpendKeyError> {
        let message = eip712::SpendKey { owner: ethereum.address(), key_epoch };
        let [first, second] = [0, 1].map(|_| message.sign(&deployment, &ethereum));
        let spend = spend_key::derive_checked(&first, &second)?;
        Ok(Self { key: spend.public(), spend, ethereum, key_epoch, deployment })
    }

    pub fn address(&self) -> Address {
        self.ethereum.address()
    }

    pub fn deployment(&self) -> SigningDomain {
        self.deployment
    }

    pub fn key_hash(&self) -> Fr {
        key_hash(&self.key)
    }

    /// Hashes of all keys under which leaves of this address can lie: the present one, none (a vault), older epochs.
    pub fn key_hashes(&self) -> Vec<Fr> {
        let older = (0..self.key_epoch).rev().take(OLDER_KEYS).filter_map(|epoch| {
            let earlier = Self::new(self.ethereum.clone(), self.deployment, epoch).ok()?;
            Some(earlier.key_hash())
        });
        [self.key_hash(), Fr::ZERO].into_iter().chain(older).collect()
    }

    /// Under the present key.
    pub fn account(&self) -> Fr {
        account(&self.address(), &self.key_hash())
    }

    /// The request that publishes the entry by which others can pay this address.
    pub fn registration(&self, idempotency_key: &str) -> RegisterKey {
        let DirectoryEntry { owner, key, key_epoch, signature } = self.directory_entry();
        RegisterKey { idempotency_key: idempotency_key.to_owned(), owner, key, key_epoch, signature }
    }

    /// The entry by which others can pay this address.
    pub fn directory_entry(&self) -> DirectoryEntry {
        let entry =
            eip712::DirectoryEntry { owner: self.address(), key: self.key, key_epoch: self.key_epoch };
        DirectoryEntry {
            owner: self.address(),
            key: self.key,
            key_epoch: self.key_epoch,
            signature: entry.sign(&self.deployment, &self.ethereum).to_vec(),
        }
    }

    /// Checks that an entry was signed by its owner and its key can own coins.
    ///
    /// # Errors
    /// For an entry of somebody else, of another epoch, or with a bad key.
    pub fn check_entry(
        &self,
        entry: &DirectoryEntry,
        owner: &Address,
        key_epoch: u32,
    ) -> Result<(), HolderError> {
        ensure!(entry.owner == *owner, "the directory entry is another owner's");
        ensure!(
            entry.key_epoch == key_epoch,
            "the directory entry is of key epoch {}, L1 says {key_epoch}: it was revoked; ask the recipient to register again",
            entry.key_epoch
        );
        check_key(&entry.key)?;
        let message =
            eip712::DirectoryEntry { owner: entry.owner, key: entry.key, key_epoch: entry.key_epoch };
        let signer = message.recover(&self.deployment, &entry.signature)?;
        ensure!(signer == entry.owner, "the directory entry is not signed by its owner");
        Ok(())
    }

    /// Signs a draft if it is what the holder wants.
    ///
    /// # Errors
    /// For each thing in the draft that the holder did not ask for or cannot check.
    pub fn sign(&self, draft: &Draft, intent: &Intent, idempotency_key: &str) -> Result<Submit, HolderError> {
        let own_domain = domain(self.deployment.chain_id, &self.deployment.contract);
        ensure!(draft.domain == own_domain, "the draft is for another chain or contract");
        ensure!(draft.kind == intent.kind, "the draft is of another kind than asked for");
        ensure!(draft.sender == self.address(), "the draft spends another sender's coins");
        ensure!(
            draft.valid_until <= intent.valid_until,
            "the draft would stay valid until batch {}, longer than batch {} that was asked for",
            draft.valid_until,
            intent.valid_until
        );
        ensure!(
            draft.recipient_account == self.recipient_account(draft, intent)?,
            "the draft pays another account than the recipient's"
        );
        for spend in &draft.spends {
            ensure!(spend.key == self.key, "leaf {} is not held by this wallet's key", spend.index);
        }
        let places: BTreeSet<u64> = draft.spends.iter().map(|spend| spend.index).collect();
        ensure!(places.len() == draft.spends.len(), "the draft spends a leaf twice");
        // The messages are computed from what was checked above and the ranges, indices and splits signed over.
        let messages = draft.messages()?;
        let moved: u128 = draft.spends.iter().map(|spend| u128::from(spend.split - spend.low) + 1).sum();
        ensure!(
            moved == u128::from(intent.coins),
            "the draft moves {moved} coins instead of {}",
            intent.coins
        );
        let signatures: Vec<_> = messages.iter().map(|message| self.spend.sign(&message.hash())).collect();
        Ok(draft.signed(idempotency_key, &signatures))
    }

    fn recipient_account(&self, draft: &Draft, intent: &Intent) -> Result<Fr, HolderError> {
        let Some(recipient) = intent.recipient else {
            ensure!(draft.recipient.is_none(), "the draft of a withdrawal names a recipient");
            return Ok(Fr::ZERO);
        };
        ensure!(draft.recipient == Some(recipient), "the draft pays another address than asked for");
        match &draft.recipient_entry {
            Some(entry) => {
                self.check_entry(entry, &recipient, intent.recipient_epoch)?;
                Ok(account(&recipient, &key_hash(&entry.key)))
            }
            None => {
                ensure!(
                    intent.allow_vault,
                    "the draft names no key of the recipient: coins sent now could be unlocked on L1 only; pass \
                     --allow-vault if that is wanted"
                );
                Ok(account(&recipient, &Fr::ZERO))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DraftSpend;
    use circuits::{
        leaf::{CoinRange, leaf},
        message::{Message, SignedKind},
    };

    fn holder(seed: u8) -> Holder {
        let deployment = SigningDomain { chain_id: 31337, contract: [7; 20] };
        Holder::new(OperatorKey::from_bytes(&[seed; 32]).unwrap(), deployment, 0).unwrap()
    }

    /// Makes the shown message fit the draft again, as a consistent liar would.
    fn fit(draft: &mut Draft, alice: &Holder) {
        for spend in &mut draft.spends {
            let range = CoinRange::new(spend.low, spend.high).unwrap();
            spend.leaf = leaf(&alice.account(), &range);
            spend.message = Message {
                domain: draft.domain,
                leaf: spend.leaf,
                index: spend.index,
                split: spend.split,
                kind: match draft.kind {
                    Kind::Send => SignedKind::Send,
                    Kind::Withdraw => SignedKind::Withdraw,
                },
                valid_until: draft.valid_until,
                recipient: draft.recipient_account,
            }
            .hash();
        }
    }

    /// A draft by an honest coordinator: 10 of the coins 1..=100 from Alice to Bob.
    fn honest() -> (Holder, Draft, Intent) {
        let (alice, bob) = (holder(1), holder(2));
        let mut draft = Draft {
            kind: Kind::Send,
            sender: alice.address(),
            recipient: Some(bob.address()),
            recipient_account: bob.account(),
            recipient_entry: Some(bob.directory_entry()),
            amount: 10,
            domain: domain(31337, &[7; 20]),
            valid_until: 9,
            spends: vec![DraftSpend {
                index: 3,
                low: 1,
                high: 100,
                split: 10,
                key: alice.key,
                leaf: Fr::ZERO,
                message: Fr::ZERO,
            }],
        };
        fit(&mut draft, &alice);
        let intent = Intent {
            kind: Kind::Send,
            recipient: Some(bob.address()),
            coins: 10,
            allow_vault: false,
            recipient_epoch: 0,
            valid_until: 20,
        };
        (alice, draft, intent)
    }

    #[test]
    fn an_honest_draft_is_signed_with_signatures_that_verify() {
        let (alice, draft, intent) = honest();
        assert_eq!(alice.sign(&draft, &intent, "k").unwrap().spends.len(), 1);
    }

    #[test]
    fn a_lying_coordinator_gets_no_signature() {
        let mallory = holder(3);
        type Lie<'a> = (&'a str, &'a dyn Fn(&mut Draft));
        let lies: [Lie; 12] = [
            ("chain", &|d| d.domain += Fr::ONE),
            ("kind", &|d| d.kind = Kind::Withdraw),
            ("valid", &|d| d.valid_until = 21),
            ("account", &|d| d.recipient_account = mallory.account()),
            ("owner", &|d| d.recipient_entry = Some(mallory.directory_entry())),
            ("not signed by its owner", &|d| {
                if let Some(entry) = &mut d.recipient_entry {
                    entry.key = mallory.key;
                }
            }),
            ("allow-vault", &|d| d.recipient_entry = None),
            ("key", &|d| d.spends[0].key = mallory.key),
            ("moves 11 coins", &|d| d.spends[0].split = 11),
            ("spends a leaf twice", &|d| d.spends.push(d.spends[0].clone())),
            ("moves 20 coins", &|d| {
                d.spends.push(d.spends[0].clone());
                d.spends[1].index += 1;
            }),
            ("sender", &|d| d.sender = mallory.address()),
        ];
        for (word, lie) in lies {
            let (alice, mut draft, intent) = honest();
            lie(&mut draft);
            fit(&mut draft, &alice);
            let refusal = alice.sign(&draft, &intent, "k").unwrap_err().to_string();
            assert!(refusal.contains(word) && refusal.starts_with("PM-WALLET-001"), "{word}: {refusal}");
        }
    }

    #[test]
    fn a_message_that_is_not_what_the_wallet_computes_is_refused() {
        let (alice, mut draft, intent) = honest();
        draft.spends[0].message += Fr::ONE;
        assert!(alice.sign(&draft, &intent, "k").is_err());
    }

    #[test]
    fn a_revoked_entry_is_refused() {
        let (alice, draft, mut intent) = honest();
        intent.recipient_epoch = 1;
        assert!(alice.sign(&draft, &intent, "k").unwrap_err().to_string().contains("revoked"));
    }
}
