//! What must survive a restart, in records that tell their story without the state around them.

use std::ops::RangeInclusive;

use protocol::l1::{Fees, Receipt, SignedTx};
use serde::{Deserialize, Serialize};

/// Where the call of a transaction was tried (the third gate) before it was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tried {
    /// On the latest block: the contract stands where the first batch begins.
    Latest,
    /// On what is pending: transactions of ours go before it.
    Pending,
    /// Not again: the same call with the same nonce was tried when its first transaction was signed.
    Before,
}

/// The batches `batch_no..=last` go in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettlementRecord {
    /// The gates were passed (each proof under the pinned key, the contract's root, the call tried), the transaction is
    /// signed, and it is sent only after this.
    Signed {
        batch_no: u32,
        last: u32,
        tx: SignedTx,
        gas_limit: u64,
        tried: Tried,
        /// Fees of the transaction with the same nonce that this one replaces.
        replaces: Option<Fees>,
    },
    Mined {
        batch_no: u32,
        receipt: Receipt,
        /// Where it stood before a reorganisation moved it.
        was: Option<Receipt>,
    },
    /// A reorganisation dropped the transaction, seen when the chain's head was `head`. Where the batches were final, they are
    /// not any more: then it names all final batches from the first that is gone, whatever transactions they were in.
    Dropped {
        batch_no: u32,
        last: u32,
        was: Receipt,
        head: u64,
    },
    /// The contract refused the transaction in a block.
    Reverted {
        batch_no: u32,
        last: u32,
        receipt: Receipt,
    },
    /// The transaction can do its work no more: its nonce went to another one, or it follows one that failed.
    Displaced {
        batch_no: u32,
        last: u32,
        nonce: u64,
    },
    Finalised {
        batch_no: u32,
    },
    /// A gate refused, and nothing was signed; or no pool took the first transaction of its nonce, and none has it.
    Refused {
        batch_no: u32,
        last: u32,
        reason: String,
    },
    /// The fees cannot rise any more; the transaction is sent again as it is.
    AtCap {
        batch_no: u32,
        last: u32,
        fees: Fees,
    },
}

impl SettlementRecord {
    /// The first batch it is about.
    pub fn batch_no(&self) -> u32 {
        *self.batches().start()
    }

    pub fn batches(&self) -> RangeInclusive<u32> {
        match self {
            Self::Signed { batch_no, last, .. }
            | Self::Dropped { batch_no, last, .. }
            | Self::Reverted { batch_no, last, .. }
            | Self::Displaced { batch_no, last, .. }
            | Self::Refused { batch_no, last, .. }
            | Self::AtCap { batch_no, last, .. } => *batch_no..=*last,
            Self::Mined { batch_no, .. } | Self::Finalised { batch_no } => *batch_no..=*batch_no,
        }
    }
}

/// How many blocks a reorganisation replaced at least, where what stood in block `mined` is gone and the head is `head`.
pub fn least_depth(mined: u64, head: u64) -> u64 {
    head.saturating_add(1).saturating_sub(mined).max(1)
}
