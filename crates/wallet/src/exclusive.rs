//! Whether another draft may be signed beside requests that were refused.
//!
//! A refusal is the coordinator's word. Every slot is signed for on its own, so an operator that lies can execute any slot of
//! any request as long as its signature is good and its leaf is there; only that a leaf is spent once holds for certain. So all
//! requests and the draft together can move, leaf by leaf, the largest slot that was signed for it.
//!
//! Invariant: that is never more than the draft itself moves. Slots that a final root of L1 shows to be neither executed nor
//! executable count nothing. A leaf that is merely not shown proves nothing: it may have paid already.
//!
//! Pure. The caller brings the proofs.

use client::api::Draft;

use crate::request::Request;

/// A slot that was signed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub index: u64,
    /// The leaf's coins.
    pub low: u64,
    pub high: u64,
    /// The last coin that it moves.
    pub split: u64,
}

impl Slot {
    fn leaf(&self) -> (u64, u64, u64) {
        (self.index, self.low, self.high)
    }

    /// Whether a proof of what lies at its place after a final batch shows that it was not executed and never will be.
    pub fn is_dead(&self, low: u64, high: u64, batch: u32, valid_until: u32) -> bool {
        let whole = (low, high) == (self.low, self.high);
        // Another slot took fewer coins of the leaf. A place is written once, so neither these coins nor the whole leaf come back.
        let less_was_taken = high == self.high && self.low < low && low <= self.split;
        whole && batch >= valid_until || less_was_taken
    }
}

pub fn slots(request: &Request) -> impl Iterator<Item = Slot> + '_ {
    let leaves = request.leaves.iter().zip(&request.signed.slots);
    leaves.map(|(&(index, low, high), slot)| Slot { index, low, high, split: slot.high })
}

/// The slots of a request that could move coins beyond those of the draft: all must be dead before the draft is signed.
pub fn beyond(request: &Request, draft: &Draft) -> Vec<Slot> {
    let spends = || {
        let of = |spend: &client::api::DraftSpend| Slot {
            index: spend.index,
            low: spend.low,
            high: spend.high,
            split: spend.split,
        };
        draft.spends.iter().map(of)
    };
    let covered =
        |slot: &Slot| spends().any(|other| other.leaf() == slot.leaf() && other.split >= slot.split);
    slots(request).filter(|slot| !covered(slot)).collect()
}

#[cfg(test)]
mod tests {
    use bn254::Fr;
    use client::api::{DraftSpend, Kind};
    use proptest::prelude::*;

    use super::*;
    use crate::{promise::Signed, request::Order};

    fn draft(slots: &[Slot]) -> Draft {
        let key = circuits::baby_jubjub::Point { x: Fr::from(0), y: Fr::from(1) };
        let spend = |&Slot { index, low, high, split }: &Slot| DraftSpend {
            index,
            low,
            high,
            split,
            key,
            leaf: Fr::from(0),
            message: Fr::from(0),
        };
        Draft {
            kind: Kind::Send,
            sender: [1; 20],
            recipient: Some([2; 20]),
            recipient_account: Fr::from(3),
            recipient_entry: None,
            amount: 5,
            domain: Fr::from(4),
            valid_until: 9,
            spends: slots.iter().map(spend).collect(),
        }
    }

    fn request(slots: &[Slot]) -> Request {
        let order = Order {
            recipient: Some([2; 20]),
            wei: 5,
            allow_vault: false,
            yes_burn: false,
            idempotency_key: None,
        };
        let draft = draft(slots);
        let signed = Signed::of(&draft, [4; 32], 5, (3, 64), 7);
        Request::new(&order, "k", &draft, signed, "body".into())
    }

    const fn slot(index: u64, low: u64, high: u64, split: u64) -> Slot {
        Slot { index, low, high, split }
    }

    #[test]
    fn only_slots_of_the_same_leaves_that_move_no_more_are_covered() {
        let first = request(&[slot(1, 1, 10, 10), slot(2, 11, 20, 15)]);
        assert_eq!(beyond(&first, &draft(&[slot(1, 1, 10, 10), slot(2, 11, 20, 15)])), []);
        // One leaf in common is not enough: the slot of the other one can be executed beside the draft.
        let beside = draft(&[slot(1, 1, 10, 10), slot(3, 21, 30, 25)]);
        assert_eq!(beyond(&first, &beside), [slot(2, 11, 20, 15)]);
        // Nor is it where less of it is moved.
        let less = draft(&[slot(1, 1, 10, 5), slot(2, 11, 20, 20)]);
        assert_eq!(beyond(&first, &less), [slot(1, 1, 10, 10)]);
        // The same place with other coins is another leaf.
        assert_eq!(beyond(&first, &draft(&[slot(1, 1, 10, 10), slot(2, 12, 20, 16)])), [slot(2, 11, 20, 15)]);
    }

    #[test]
    fn a_slot_is_dead_only_by_what_lies_at_its_place() {
        let it = slot(2, 11, 20, 15);
        assert!(!it.is_dead(11, 20, 8, 9), "its leaf is there and its time is not over");
        assert!(it.is_dead(11, 20, 9, 9), "its leaf is there after its time");
        assert!(it.is_dead(13, 20, 3, 9), "another slot took two coins");
        assert!(it.is_dead(15, 20, 3, 9));
        assert!(!it.is_dead(16, 20, 99, 9), "it may be this slot that took five");
        assert!(!it.is_dead(17, 20, 99, 9), "or it took five, and another one more");
        assert!(!it.is_dead(10, 20, 99, 9), "spending one coin makes the leaf that was signed for");
        assert!(!it.is_dead(13, 19, 99, 9), "a leaf that cannot follow from it");
    }

    /// Slots of leaves at places 0..4, each of ten coins.
    fn some() -> impl Strategy<Value = Vec<Slot>> {
        proptest::collection::btree_map(0u64..4, 0u64..10, 1..4).prop_map(|chosen| {
            let of = |(index, moved): (u64, u64)| {
                slot(index, 10 * index + 1, 10 * index + 10, 10 * index + 1 + moved)
            };
            chosen.into_iter().map(of).collect()
        })
    }

    proptest! {
        /// By brute force: of each leaf any one of the slots is executed, or none.
        #[test]
        fn what_is_covered_never_moves_more_than_the_draft(first in some(), second in some()) {
            let moved = |slot: &Slot| slot.split - slot.low + 1;
            let most: u64 = (0..4)
                .map(|index| first.iter().chain(&second).filter(|slot| slot.index == index).map(moved).max().unwrap_or(0))
                .sum();
            let drafted: u64 = second.iter().map(moved).sum();
            prop_assert_eq!(beyond(&request(&first), &draft(&second)).is_empty(), most <= drafted);
        }
    }
}
