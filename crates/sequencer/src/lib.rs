//! Orders operations: who holds which coins, what a batch holds, who proves it, and how it becomes final.
//!
//! Invariant: nothing here reads a clock, opens a file or a connection, starts a thread, draws a number or logs. Time comes in as an
//! argument, and what follows goes out as events and effects, so that the same log gives the same state on every machine.
//! Data goes one way: ledger → batch → job → proof → settlement → final.
//!
//! | module | purpose |
//! |---|---|
//! | [`ledger`] | who holds which coins, and whether an operation is acceptable |
//! | [`tree`] | the state, proven and final trees |
//! | [`batcher`] | the open batch |
//! | [`farm`] | who proves what |
//! | [`settlement`] | from a proven batch to a final one |
//! | [`state`] | the cores as one, moved by the event log |
//! | [`rejection`] | every reason for which a request is turned down |
//! | [`rules`] | what they go by |
//! | [`parallel`] | work that the caller may run on several threads |
//! | [`layered`] | a map whose old part comes from a snapshot |
//! | `testkit` | holders and a state without a driver, for tests |

pub mod batcher;
pub mod farm;
pub mod layered;
pub mod ledger;
pub mod parallel;
pub mod rejection;
pub mod rules;
pub mod settlement;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testkit;
pub mod tree;
