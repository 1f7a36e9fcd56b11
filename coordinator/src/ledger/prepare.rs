//! What a holder has to sign to pay an amount.

use std::collections::BTreeSet;

use bn254::Fr;
use circuits::message::{Message, SignedKind};

use super::{
    Ledger, Limits,
    accept::LAST_SEND_PLACE,
    directory::vault,
    select::{Shortage, select},
};
use crate::{
    refusal,
    service::{Address, Draft, DraftSpend, PrepareSend, PrepareWithdraw, UserError},
};

/// What a draft depends on beside the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    pub domain: Fr,
    pub open_batch: u32,
    pub open_start: u64,
    /// Batches for which a draft is valid by default.
    pub valid_for: u32,
}

impl Ledger {
    /// # Errors
    /// A refusal for the first rule that is broken.
    pub fn prepare_send(&self, ask: &PrepareSend, limits: &Limits, at: &Outlook) -> Result<Draft, UserError> {
        if ask.amount == 0 {
            return Err(refusal::amount_zero());
        }
        if ask.amount < limits.min_amount {
            return Err(refusal::amount_too_small(limits.min_amount));
        }
        if ask.recipient == [0; 20] {
            return Err(refusal::recipient_zero());
        }
        if at.open_start > LAST_SEND_PLACE {
            return Err(refusal::tree_full());
        }
        let registered = self.directory.entry(&ask.recipient);
        if registered.is_none() && !ask.allow_vault {
            return Err(refusal::recipient_not_registered());
        }
        let account = registered.map_or_else(|| vault(&ask.recipient), |registered| registered.account);
        let mut draft =
            self.draft(SignedKind::Send, ask.sender, ask.amount, account, ask.valid_until, limits, at)?;
        draft.recipient = Some(ask.recipient);
        draft.recipient_entry = registered.map(|registered| registered.entry.clone());
        Ok(draft)
    }

    /// # Errors
    /// A refusal for the first rule that is broken.
    pub fn prepare_withdraw(
        &self,
        ask: &PrepareWithdraw,
        limits: &Limits,
        at: &Outlook,
    ) -> Result<Draft, UserError> {
        if ask.amount == 0 {
            return Err(refusal::amount_zero());
        }
        if ask.sender == [0; 20] {
            return Err(refusal::owner_zero());
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
    ) -> Result<Draft, UserError> {
        if !self.knows(&sender) {
            return Err(refusal::unknown_sender());
        }
        let valid_until = valid_until.unwrap_or_else(|| at.open_batch.saturating_add(at.valid_for));
        if valid_until < at.open_batch {
            return Err(refusal::expired(valid_until, at.open_batch));
        }
        let mut spendable = BTreeSet::new();
        let mut locked = 0u64;
        for (index, leaf) in self.leaves_of(&sender) {
            if self.directory.key_of(&leaf.account).is_some() {
                spendable.insert((leaf.range.amount(), index));
            } else {
                locked += leaf.range.amount();
            }
        }
        let picked = select(&spendable, amount, limits.max_leaves).map_err(|shortage| match shortage {
            Shortage::Balance { available } => refusal::insufficient_balance(amount, available, locked),
            Shortage::Leaves { largest } => refusal::too_many_leaves(limits.max_leaves, largest),
        })?;
        let spends = picked
            .into_iter()
            .filter_map(|picked| {
                let leaf = self.leaf(picked.index)?;
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
                    key: self.directory.key_of(&leaf.account)?,
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
