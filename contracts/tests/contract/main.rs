//! The contract's promises, one file each, kept on npm's anvil and on the workspace's dev chain.
//!
//! [`mill`] is a deployed contract with circuits whose secrets are known, [`rpc`] the chain it is on.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

/// Makes two tests of a function: the same on each chain.
macro_rules! on_both_chains {
    ($scenario:ident) => {
        mod $scenario {
            #[test]
            fn on_anvil() {
                super::$scenario(testbed::chain::Backend::Anvil);
            }

            #[test]
            fn on_devchain() {
                super::$scenario(testbed::chain::Backend::DevChain);
            }
        }
    };
}

mod batch;
mod batches;
mod construction;
mod deposit;
mod forced;
mod gas;
mod mill;
mod payment;
mod poseidon;
mod proof;
mod properties;
mod queue_prefix;
mod records;
mod rpc;
mod vectors;
