//! What was promised lately: bounded, so that it fits a small file, and enough to say what a lost database held.

use std::{collections::VecDeque, fmt};

use protocol::{Address, OperationId};
use sequencer::state::event::{Accepted, Event, Stamped};
use serde::{Deserialize, Serialize};

/// Operations that are kept.
const MOST: usize = 20_000;

/// An operation that was promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promised {
    /// The number of its event.
    pub sequence: u64,
    pub id: OperationId,
    pub batch_no: u32,
    pub sender: Address,
    pub recipient: Option<Address>,
    /// Coins.
    pub amount: u64,
    /// Unix seconds.
    pub deadline: u64,
}

impl Promised {
    /// What an event promises, if anything.
    pub fn of(sequence: u64, stamped: &Stamped) -> Option<Self> {
        let Event::Accepted(accepted) = &stamped.event else { return None };
        Some(Self {
            sequence,
            id: accepted.id,
            batch_no: accepted.batch_no,
            sender: accepted.sender,
            recipient: accepted.recipient,
            amount: moved(accepted),
            deadline: accepted.deadline,
        })
    }
}

/// Coins that leave their leaves.
fn moved(accepted: &Accepted) -> u64 {
    let coins = accepted.spends.iter().filter_map(|spend| spend.range.split_at(spend.split));
    coins.map(|(moved, _)| moved.amount()).sum()
}

impl fmt::Display for Promised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, amount, batch_no, sender, recipient, deadline, .. } = self;
        write!(f, "{id}: {amount} coins from 0x{}", hex::encode(sender))?;
        match recipient {
            Some(recipient) => write!(f, " to 0x{}", hex::encode(recipient))?,
            None => write!(f, " to L1")?,
        }
        write!(f, ", batch {batch_no}, deadline {deadline}")
    }
}

/// The last operations that were promised, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent(VecDeque<Promised>);

impl Recent {
    pub fn push(&mut self, promised: Promised) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(promised);
    }

    /// Those behind an event.
    pub fn after(&self, sequence: u64) -> Vec<Promised> {
        self.0.iter().filter(|promised| promised.sequence > sequence).cloned().collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Promised> {
        self.0.iter()
    }

    pub fn last(&self) -> Option<&Promised> {
        self.0.back()
    }
}
