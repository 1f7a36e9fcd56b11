//! What a running kernel can do wrong.

use thiserror::Error;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    #[error("{bytes} bytes at {address:#x} are outside of every allocation")]
    OutOfBounds { address: u64, bytes: u32 },
    #[error("{bytes} bytes at {address:#x} are not aligned")]
    Unaligned { address: u64, bytes: u32 },
    #[error("{bytes} bytes at {address:#x} are read and nobody wrote them")]
    Unwritten { address: u64, bytes: u32 },
    #[error(
        "the word at {address:#x} was touched by thread {other} without a barrier between, and one of the two writes"
    )]
    Race { address: u64, other: u32 },
    #[error("not all threads of the block are at the same barrier")]
    Barrier,
    #[error("the carry flag has no value here")]
    Carry,
    #[error("a thread does not end")]
    Endless,
}

/// What is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("block {block}, thread {thread}, line {line} of the PTX, in {function}: {trouble}")]
pub struct Fault {
    pub trouble: Trouble,
    pub block: u32,
    pub thread: u32,
    pub line: u32,
    pub function: String,
}
