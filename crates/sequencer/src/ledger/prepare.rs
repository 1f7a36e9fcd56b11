//! What a holder has to sign to pay an amount.

use std::collections::{BTreeMap, BTreeSet};

use bn254::Fr;
use circuits::{
    baby_jubjub::Point,
    message::{Message, SignedKind},
};
use protocol::{Address, Draft, DraftSpend, PrepareSend, PrepareWithdraw};

use super::{
    Leaf, Ledger, Limits,
    accept::LAST_SEND_PLACE,
    directory::{Registered, vault},
    select::{Shortage, select},
};
use crate::rejection::Rejection;

/// What a draft depends on beside the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    pub domain: Fr,
    pub open_batch: u32,
    pub open_start: u64,
    /// Batches for which a draft is valid by default.
    pub valid_for: u32,
}

/// What a draft is made from: the ledger, or a view of it.
pub trait Book {
    /// Whether an address ever held coins or has an entry.
    fn knows(&self, address: &Address) -> bool;
    fn leaves(&self, owner: &Address) -> Vec<(u64, Leaf)>;
    fn registered(&self, owner: &Address) -> Option<Registered>;
    /// The key that opens an account, if its owner registered it.
    fn key_of(&self, account: &Fr) -> Option<Point>;

    /// # Errors
    /// A refusal for the first rule that is broken.
    fn prepare_send(&self, ask: &PrepareSend, limits: &Limits, at: &Outlook) -> Result<Draft, Rejection> {
        if ask.amount == 0 {
            return Err(Rejection::AmountZero);
        }
        if ask.amount < limits.min_amount {
            return Err(Rejection::AmountTooSmall { least: limits.min_amount });
        }
        if ask.recipient == [0; 20] {
            return Err(Rejection::RecipientZero);
        }
        if at.open_start > LAST_SEND_PLACE {
            return Err(Rejection::TreeFull);
        }
        let registered = self.registered(&ask.recipient);
        if registered.is_none() && !ask.allow_vault {
            return Err(Rejection::RecipientNotRegistered);
        }
        let account =
            registered.as_ref().map_or_else(|| vault(&ask.recipient), |registered| registered.account);
        let mut draft =
            self.draft(SignedKind::Send, ask.sender, ask.amount, account, ask.valid_until, limits, at)?;
        draft.recipient = Some(ask.recipient);
        draft.recipient_entry = registered.map(|registered| registered.entry);
        Ok(draft)
    }

    /// # Errors
    /// A refusal for the first rule that is broken.
    fn prepare_withdraw(
        &self,
        ask: &PrepareWithdraw,
        limits: &Limits,
        at: &Outlook,
    ) -> Result<Draft, Rejection> {
        if ask.amount == 0 {
            return Err(Rejection::AmountZero);
        }
        if ask.sender == [0; 20] {
            return Err(Rejection::OwnerZero);
        }
        self.draft(SignedKind::Withdraw, ask.sender, ask.amount, Fr::default(), ask.valid_until, limits, at)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a draft, each of its own type")]
    fn draft(
        &self,
        kind: SignedKind,
        sender: Address,
        amount: u64,
        recipient_account: Fr,
        valid_until: Option<u32>,
        limits: &Limits,
        at: &Outlook,
    ) -> Result<Draft, Rejection> {
        if !self.knows(&sender) {
            return Err(Rejection::UnknownSender);
        }
        let valid_until = valid_until.unwrap_or_else(|| at.open_batch.saturating_add(at.valid_for));
        if valid_until < at.open_batch {
            return Err(Rejection::Expired { valid_until, batch_no: at.open_batch });
        }
        let mut spendable = BTreeSet::new();
        let mut locked = 0u64;
        let leaves: BTreeMap<u64, Leaf> = self.leaves(&sender).into_iter().collect();
        for (index, leaf) in &leaves {
            if self.key_of(&leaf.account).is_some() {
                spendable.insert((leaf.range.amount(), *index));
            } else {
                locked += leaf.range.amount();
            }
        }
        let picked = select(&spendable, amount, limits.max_leaves).map_err(|shortage| match shortage {
            Shortage::Balance { available } => Rejection::InsufficientBalance { amount, available, locked },
            Shortage::Leaves { largest } => {
                Rejection::TooManyLeaves { most_leaves: limits.max_leaves, largest }
            }
        })?;
        let spends = picked
            .into_iter()
            .filter_map(|picked| {
                let leaf = leaves.get(&picked.index)?;
                let split = leaf.range.low() + picked.amount - 1;
                let hash = leaf.held().hash();
                let message = Message {
                    domain: at.domain,
                    leaf: hash,
                    index: picked.index,
                    split,
                    kind,
                    valid_until,
                    recipient: recipient_account,
                };
                Some(DraftSpend {
                    index: picked.index,
                    range: leaf.range,
                    split,
                    key: self.key_of(&leaf.account)?,
                    leaf: hash,
                    message: message.hash(),
                })
            })
            .collect();
        Ok(Draft {
            kind,
            sender,
            recipient: None,
            recipient_account,
            recipient_entry: None,
            amount,
            domain: at.domain,
            valid_until,
            spends,
        })
    }
}

impl Book for Ledger {
    fn knows(&self, address: &Address) -> bool {
        Ledger::knows(self, address)
    }

    fn leaves(&self, owner: &Address) -> Vec<(u64, Leaf)> {
        self.leaves_of(owner).map(|(index, leaf)| (index, *leaf)).collect()
    }

    fn registered(&self, owner: &Address) -> Option<Registered> {
        self.directory.entry(owner).cloned()
    }

    fn key_of(&self, account: &Fr) -> Option<Point> {
        self.directory.key_of(account)
    }
}
