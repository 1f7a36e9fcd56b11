//! An interpreter of PTX (PTX ISA 9.0) for the integer programs of this crate.
//!
//! Invariant: what it does not know is an error that names the instruction; nothing is skipped or guessed.
//!
//! - `program`: a program with resolved registers, labels and places.
//! - `parse`, `lower`, `words`: text to program: declarations, instructions, and the words of both.
//! - `alu`: what arithmetic instructions compute.
//! - `memory`: allocations that know which bytes were written, and by which thread each word was touched.
//! - `thread`: one thread until it ends or waits at a barrier.
//! - `card`: memory, and launches of blocks of threads.
//! - `fault`: what can go wrong while a kernel runs.

mod alu;
mod card;
mod fault;
mod lower;
mod memory;
mod parse;
mod program;
mod thread;
mod words;

pub use card::{Arguments, Card, Executed};
pub use fault::Trouble;
pub use program::Module;
