//! The contract's promises, one file each; `BACKEND` of the including test program says on which chain.

mod deposit;
