//! Proving in a process of its own, so that a broken device context, a C++ exception or a crash inside a driver costs a
//! request and never the worker.
//!
//! ```text
//! worker: ChildBackend (a prover::Backend) ── frames on stdin/stdout ──> child: serve ── prover::Backend
//!                       └── witnesses, keys, matrices ── files ──────────────┘
//! ```
//!
//! | file | purpose |
//! |---|---|
//! | `protocol` | the frames |
//! | `slots` | witnesses in shared files |
//! | `server` | the child's side: one thread reads, one stages, one proves |
//! | `self_test` | a proof with a known answer, before a child says that it is ready |
//! | `link` | the worker's side of one running child, from its start to the reason of its end |
//! | `backend` | the `Backend` over children, one after the other: start, prepare again, back off |
//!
//! Invariants: a request ends with an answer or with the way the child ended, never later than its deadline. A child
//! ends when its worker does. Neither side believes the other: numbers, lengths and field elements are checked when they
//! arrive, and a proof counts only once it verifies in the worker.
//!
//! Known issue: when worker and child are killed at the same instant, a witness stays in `/dev/shm` or in the folder for
//! temporary files, readable by its user only.

mod backend;
mod link;
pub mod protocol;
mod self_test;
mod server;
mod slots;

pub use backend::ChildBackend;
pub use link::{Backoff, Deadlines, Settings};
pub use server::{run, serve};
