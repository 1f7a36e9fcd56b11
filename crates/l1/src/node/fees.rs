//! EIP-1559 fees from the fees of recent blocks.

use ethers::types::U256;
use protocol::l1::{ChainError, Fees};
use serde::Deserialize;

const GWEI: u128 = 1_000_000_000;

/// Recent blocks looked at.
pub(super) const BLOCKS: u64 = 10;
/// The priority fee taken of each block: more gas of the block paid less than this share of it, in percent.
pub(super) const PERCENTILE: f64 = 60.0;

/// Bounds of what is offered, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeLimits {
    /// Offered where recent blocks were empty or free.
    pub min_priority: u128,
    pub max_priority: u128,
    /// Above this base fee transactions wait.
    pub max_fee: u128,
}

impl Default for FeeLimits {
    fn default() -> Self {
        Self { min_priority: GWEI / 20, max_priority: 10 * GWEI, max_fee: 500 * GWEI }
    }
}

/// The part of `eth_feeHistory` that counts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeeHistory {
    /// One more than there are blocks: the last is of the next block.
    base_fee_per_gas: Vec<U256>,
    /// All zero for an empty block.
    reward: Option<Vec<Vec<U256>>>,
}

/// The median of the blocks' priority fees, and room for a base fee that doubles (six full blocks, EIP-1559: 1.125^6 = 2.03).
///
/// # Errors
/// `Unexpected` where the chain has no base fee.
pub(super) fn fees(history: &FeeHistory, limits: &FeeLimits) -> Result<Fees, ChainError> {
    let wei = |x: &U256| u128::try_from(*x).unwrap_or(u128::MAX);
    let base = history.base_fee_per_gas.last().map(wei).ok_or_else(|| {
        ChainError::Unexpected("eth_feeHistory names no base fee: a chain with EIP-1559 is needed".into())
    })?;
    let mut priorities: Vec<u128> = history
        .reward
        .iter()
        .flatten()
        .filter_map(|block| block.first())
        .map(wei)
        .filter(|&fee| fee > 0)
        .collect();
    priorities.sort_unstable();
    let median = priorities.get(priorities.len() / 2).copied().unwrap_or(0);
    // Not `clamp`, which panics where an operator sets the bounds crosswise.
    let priority = median.max(limits.min_priority).min(limits.max_priority);
    let max_fee = base.saturating_mul(2).saturating_add(priority).min(limits.max_fee);
    Ok(Fees { max_fee, max_priority: priority.min(max_fee) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(base: &[u128], reward: &[u128]) -> FeeHistory {
        FeeHistory {
            base_fee_per_gas: base.iter().map(|&x| x.into()).collect(),
            reward: Some(reward.iter().map(|&x| vec![x.into()]).collect()),
        }
    }

    #[test]
    fn the_base_fee_may_double_and_the_priority_fee_is_the_median() {
        let history = history(&[GWEI, 3 * GWEI], &[GWEI, 0, 9 * GWEI, 2 * GWEI]);
        let fees = fees(&history, &FeeLimits::default()).unwrap();
        assert_eq!(fees, Fees { max_fee: 8 * GWEI, max_priority: 2 * GWEI });
    }

    #[test]
    fn empty_blocks_give_the_floor_and_greedy_ones_the_cap() {
        let limits = FeeLimits::default();
        let floor = fees(&history(&[7], &[0, 0]), &limits).unwrap();
        assert_eq!(floor, Fees { max_fee: GWEI / 20 + 14, max_priority: GWEI / 20 });
        let none = FeeHistory { base_fee_per_gas: vec![7.into()], reward: None };
        assert_eq!(fees(&none, &limits).unwrap(), floor);
        let cap = fees(&history(&[GWEI], &[900 * GWEI]), &limits).unwrap();
        assert_eq!(cap, Fees { max_fee: 12 * GWEI, max_priority: 10 * GWEI });
    }

    #[test]
    fn nothing_is_offered_above_the_cap_and_the_priority_never_exceeds_the_whole() {
        let limits = FeeLimits { max_fee: GWEI, ..FeeLimits::default() };
        let capped = fees(&history(&[u128::MAX], &[3 * GWEI]), &limits).unwrap();
        assert_eq!(capped, Fees { max_fee: GWEI, max_priority: GWEI });
    }

    #[test]
    fn a_chain_without_base_fees_is_an_error() {
        assert!(matches!(fees(&history(&[], &[]), &FeeLimits::default()), Err(ChainError::Unexpected(_))));
    }
}
