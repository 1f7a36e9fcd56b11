//! What a request carries through the tasks that answer it, whichever crate they belong to.
//!
//! Invariant: both live in the task and nowhere else, so work that belongs to no request has neither.
//!
//! | module | purpose |
//! |---|---|
//! | [`cost`] | the processor time that it took |
//! | [`trace`] | its id, from the request to the transaction on L1 |

pub mod cost;
pub mod trace;
