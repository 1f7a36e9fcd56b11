//! Coin selection: the fewest leaves, then a small change.
//!
//! The largest leaves first give the smallest possible number k. With k minimal, any k − 1 of them fall short, so the
//! change is smaller than every leaf taken and it does not matter which is split. Then each leaf is exchanged for the
//! smallest one that still leaves enough: for k = 1 that is the best change there is, for more leaves (where the best is a
//! subset sum) a good one, in O(k log n).

use std::collections::BTreeSet;

/// A leaf to spend and how many of its coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    pub index: u64,
    pub amount: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// All leaves together hold only this much.
    Balance { available: u64 },
    /// Enough coins, but the most leaves allowed hold only this much.
    Leaves { largest: u64 },
}

/// Picks leaves among `(amount, index)` that pay exactly `amount`; all but the last are spent whole.
///
/// # Errors
/// `Shortage` with what could be paid instead.
pub fn select(leaves: &BTreeSet<(u64, u64)>, amount: u64, most: usize) -> Result<Vec<Picked>, Shortage> {
    let mut picked: Vec<(u64, u64)> = Vec::new();
    let mut sum = 0u64;
    for leaf in leaves.iter().rev() {
        if sum >= amount || picked.len() == most {
            break;
        }
        sum = sum.saturating_add(leaf.0);
        picked.push(*leaf);
    }
    if sum < amount {
        let available = leaves.iter().fold(0u64, |sum, leaf| sum.saturating_add(leaf.0));
        return Err(if available < amount {
            Shortage::Balance { available }
        } else {
            Shortage::Leaves { largest: sum }
        });
    }
    for at in (0..picked.len()).rev() {
        let needed = amount.saturating_sub(sum - picked[at].0);
        let smaller = leaves.range((needed, 0)..picked[at]).find(|leaf| !picked.contains(leaf));
        if let Some(smaller) = smaller {
            sum = sum - picked[at].0 + smaller.0;
            picked[at] = *smaller;
        }
    }
    // The smallest leaf is split.
    picked.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = amount;
    Ok(picked
        .into_iter()
        .map(|(size, index)| {
            let amount = size.min(left);
            left -= amount;
            Picked { index, amount }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(amounts: &[u64]) -> BTreeSet<(u64, u64)> {
        amounts.iter().enumerate().map(|(i, amount)| (*amount, i as u64)).collect()
    }

    #[test]
    fn one_leaf_that_suffices_is_the_smallest_such() {
        assert_eq!(select(&set(&[100, 7, 9, 50]), 8, 4), Ok(vec![Picked { index: 2, amount: 8 }]));
    }

    #[test]
    fn shortage_says_what_could_be_paid() {
        let leaves = set(&[5, 5, 5, 4]);
        assert_eq!(select(&leaves, 20, 4), Err(Shortage::Balance { available: 19 }));
        assert_eq!(select(&leaves, 11, 2), Err(Shortage::Leaves { largest: 10 }));
        assert!(select(&leaves, 10, 2).is_ok());
    }

    proptest! {
        #[test]
        fn a_selection_pays_exactly_with_as_few_leaves_as_possible(
            amounts in proptest::collection::vec(1u64..50, 1..9),
            amount in 1u64..200,
            most in 1usize..9,
        ) {
            let least = (0u32..1 << amounts.len())
                .filter(|mask| {
                    let chosen = amounts.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1);
                    chosen.map(|(_, a)| a).sum::<u64>() >= amount
                })
                .map(u32::count_ones)
                .min();
            match select(&set(&amounts), amount, most) {
                Ok(picked) => {
                    prop_assert_eq!(picked.iter().map(|p| p.amount).sum::<u64>(), amount);
                    prop_assert_eq!(Some(picked.len() as u32), least);
                    let mut seen = BTreeSet::new();
                    for (at, p) in picked.iter().enumerate() {
                        prop_assert!(seen.insert(p.index));
                        let size = amounts[p.index as usize];
                        prop_assert!(p.amount >= 1 && p.amount <= size);
                        prop_assert!(at + 1 == picked.len() || p.amount == size);
                    }
                }
                Err(Shortage::Balance { available }) => {
                    prop_assert!(available < amount && available == amounts.iter().sum::<u64>());
                }
                Err(Shortage::Leaves { largest }) => {
                    prop_assert!(largest < amount && least.is_some_and(|least| least as usize > most));
                }
            }
        }
    }
}
