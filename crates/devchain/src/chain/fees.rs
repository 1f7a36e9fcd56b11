//! EIP-1559: the base fee from block to block, and what `eth_feeHistory` tells.

use super::Chain;
use crate::types::{Block, Header};

/// Base fee of the first block, in wei per gas (as EIP-1559).
pub const INITIAL_BASE_FEE: u64 = 1_000_000_000;
/// Tip that is suggested, in wei per gas. Blocks are rarely full, so any would do.
pub const SUGGESTED_TIP: u64 = 1_000_000_000;
/// Gas limit over gas target.
const ELASTICITY: u64 = 2;
/// The base fee moves by at most one part in this many.
const CHANGE_DENOMINATOR: u128 = 8;
/// Blocks in one answer of `eth_feeHistory`.
const MAX_FEE_BLOCKS: u64 = 1_024;

/// Fees of some blocks in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct FeeHistory {
    /// Number of the first.
    pub oldest: u64,
    /// Base fee of each, and of the block after the last.
    pub base_fees: Vec<u64>,
    /// Part of the gas limit used by each.
    pub gas_used_ratios: Vec<f64>,
    /// Tips at the asked percentiles of the gas used, for each.
    pub rewards: Vec<Vec<u128>>,
}

/// Base fee of the block after `parent` (EIP-1559, "base fee per gas").
pub(super) fn next_base_fee(parent: &Header) -> u64 {
    let target = u128::from(parent.gas_limit / ELASTICITY).max(1);
    let (base, used) = (u128::from(parent.base_fee), u128::from(parent.gas_used));
    let next = if used > target {
        base + (base * (used - target) / target / CHANGE_DENOMINATOR).max(1)
    } else {
        base - base * (target - used) / target / CHANGE_DENOMINATOR
    };
    u64::try_from(next).unwrap_or(u64::MAX)
}

impl Chain {
    /// Base fee of the next block in wei per gas.
    #[must_use]
    pub fn next_base_fee(&self) -> u64 {
        next_base_fee(&self.head().header)
    }

    /// Fees of up to `count` blocks that end with block `newest`; `percentiles` are from 0 to 100.
    #[must_use]
    pub fn fee_history(&self, count: u64, newest: u64, percentiles: &[f64]) -> FeeHistory {
        let newest = newest.min(self.head().header.number);
        let count = count.min(MAX_FEE_BLOCKS).min(newest + 1);
        let oldest = newest + 1 - count;
        let blocks = &self.core.blocks[oldest as usize..=newest as usize];
        let blocks = &blocks[..count as usize];
        let after = self.core.blocks.get(newest as usize + 1);
        let after = after.map_or_else(|| self.next_base_fee(), |block| block.header.base_fee);
        FeeHistory {
            oldest,
            base_fees: blocks.iter().map(|block| block.header.base_fee).chain([after]).collect(),
            gas_used_ratios: blocks.iter().map(|block| ratio(block)).collect(),
            rewards: blocks.iter().map(|block| rewards(block, percentiles)).collect(),
        }
    }
}

fn ratio(block: &Block) -> f64 {
    block.header.gas_used as f64 / block.header.gas_limit.max(1) as f64
}

/// Tips at percentiles of the gas used, cheapest first; zeros for an empty block.
fn rewards(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let base = u128::from(block.header.base_fee);
    let mut tips: Vec<_> = block
        .receipts
        .iter()
        .map(|receipt| (receipt.effective_gas_price.saturating_sub(base), receipt.gas_used))
        .collect();
    tips.sort_unstable();
    let at = |percentile: &f64| {
        let wanted = block.header.gas_used as f64 * percentile / 100.0;
        let mut sum = 0;
        let reached = tips.iter().find(|(_, gas)| {
            sum += gas;
            sum as f64 >= wanted
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}
