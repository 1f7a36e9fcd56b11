//! Batches that are final, with all it takes to settle them again: a reorganisation may go deeper than what counts as final.

use std::collections::BTreeMap;

use bn254::Fr;
use protocol::l1::Receipt;
use serde::{Deserialize, Serialize};

use super::{Flight, Settlement, Submission};

/// Final batches for which the ledger, the tree and settlement keep how things were before them. It bounds what is kept, and
/// with it how deep a reorganisation is followed unattended.
pub const KEPT_FINAL: u32 = 512;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Landed {
    /// The last final batches, with the receipts by which they were final.
    submissions: BTreeMap<u32, Submission>,
    /// By nonce: the transactions of those.
    flights: BTreeMap<u64, Flight>,
}

impl Landed {
    pub fn add(&mut self, batch_no: u32, submission: Submission, flights: BTreeMap<u64, Flight>) {
        self.submissions.insert(batch_no, submission);
        self.flights.extend(flights);
        let forgotten = batch_no.saturating_sub(KEPT_FINAL);
        while self.submissions.first_key_value().is_some_and(|(batch_no, _)| *batch_no <= forgotten) {
            self.submissions.pop_first();
        }
        while self.flights.first_key_value().is_some_and(|(_, flight)| flight.last <= forgotten) {
            self.flights.pop_first();
        }
    }

    /// The root on which a final batch was built.
    pub fn root_before(&self, batch_no: u32) -> Option<Fr> {
        self.submissions.get(&batch_no).map(|submission| submission.old_root)
    }

    pub fn receipt(&self, batch_no: u32) -> Option<&Receipt> {
        self.submissions.get(&batch_no)?.mined.as_ref()
    }

    /// When transactions were sent is not recorded.
    #[cfg(feature = "sim")]
    pub fn forget_times(&mut self) {
        self.flights.values_mut().for_each(|flight| (flight.signed_at, flight.sent_at) = (0, 0));
    }
}

impl Settlement {
    /// From batch `first` on nothing is final any more: everything is as it was when they were sent. Transactions that follow
    /// on from `first` are sent again at once; what lies behind a gap starts over.
    pub(super) fn settle_again(&mut self, first: u32, at: u64) {
        let Some(root) = self.landed.root_before(first) else { return };
        self.finalised = first.checked_sub(1).filter(|before| *before > 0).map(|before| (before, root));
        for (batch_no, submission) in self.landed.submissions.split_off(&first) {
            self.submissions.insert(batch_no, Submission { mined: None, ..submission });
        }
        self.flights.extend(self.landed.flights.extract_if(.., |_, flight| flight.last >= first));
        let mut due = first;
        let mut stranded = Vec::new();
        for (nonce, flight) in &mut self.flights {
            if flight.first == due {
                due = flight.last + 1;
                (flight.signed_at, flight.sent_at) = (at, 0);
            } else {
                stranded.push(*nonce);
            }
        }
        for nonce in stranded {
            let fees = self.flights.remove(&nonce).and_then(|flight| flight.txs.last().map(|tx| tx.fees));
            self.given_up.extend(fees.map(|fees| (nonce, fees)));
        }
        // What else the key had signed before them may be gone too: only the node knows which nonce is next.
        self.unused_from = 0;
        self.held_at = None;
    }
}
