//! What a wallet keeps and does: it signs, sends, waits for answers, and remembers. It prints nothing and links no server.
//!
//! Invariants: nothing is signed that the wallet did not compute itself; nothing is sent that is not on the disk; nothing the
//! coordinator says is believed that L1 or a signature can show; the same order again never pays twice.
//!
//! | module | purpose |
//! |---|---|
//! | [`session`] | a holder with a coordinator and a node |
//! | `pay`, [`request`], `exclusive` | payments and withdrawals; signed bodies; which may stand beside each other |
//! | `resume` | requests that earlier commands left open |
//! | [`promise`], `settled` | promises compared field by field; what became of them |
//! | [`journal`] | L1 transactions |
//! | [`account`], [`proofs`] | what the coordinator says, compared with L1; ownership proofs |
//! | `progress` | how far deposits and batches are |
//! | [`pin`] | which contract is trusted |
//! | [`mod@file`], [`folder`] | the wallet file; the folder beside it |
//! | [`amount`], [`error`], `text` | amounts as people write them; refusals; JSON |
//!
//! `pay`, `exclusive`, `resume`, `settled` and `progress` are parts of [`Session`].

pub mod account;
pub mod amount;
pub mod error;
mod exclusive;
pub mod file;
pub mod folder;
pub mod journal;
mod pay;
pub mod pin;
mod progress;
pub mod promise;
pub mod proofs;
pub mod request;
mod resume;
pub mod session;
mod settled;
mod text;

pub use error::WalletError;
pub use folder::Folder;
pub use session::Session;
