//! The contract's promises, one file each; `BACKEND` of the including test program says on which chain.

mod batch;
mod batches;
mod construction;
mod deposit;
mod forced;
mod gas;
mod payment;
mod poseidon;
mod proof;
mod properties;
mod queue_prefix;
mod records;
mod vectors;
