//! `wallet`: what a holder does from the command line.
//!
//! Invariants: nothing is signed that the wallet did not compute itself; nothing is sent that is not on the disk; nothing the
//! coordinator says is believed that L1 or a signature can show; the same command again never pays twice.
//!
//! | part | purpose |
//! |---|---|
//! | [`session`] | a holder with a coordinator and a node |
//! | [`pay`], [`request`], [`exclusive`] | payments and withdrawals; signed bodies; which may stand beside each other |
//! | [`resume`] | requests that earlier commands left open |
//! | [`promise`], [`settled`] | promises compared field by field; what became of them |
//! | [`journal`] | L1 transactions |
//! | [`account`], [`proofs`] | what the coordinator says, compared with L1; ownership proofs |
//! | [`pin`] | which contract is trusted |
//! | [`file`], [`folder`] | the wallet file; the folder beside it |
//! | [`wait`], [`show`] | waiting; printing |
//! | [`address`], [`amount`], [`text`] | addresses, amounts, JSON |

mod account;
mod address;
mod amount;
mod commands;
mod error;
mod exclusive;
mod file;
mod folder;
mod journal;
mod pay;
mod pin;
mod promise;
mod proofs;
mod request;
mod resume;
mod session;
mod settled;
mod show;
mod text;
mod wait;

use std::{path::PathBuf, time::Duration};

use address::address_argument;
use amount::{Amount, parse_amount};
use clap::{Args, Subcommand};
use file::default_path;
use protocol::Address;

use crate::tls::Trust;

pub use address::parse_address;
pub use commands::run;
pub use folder::Folder;
pub use session::Session;

#[derive(Args)]
pub struct Options {
    /// The wallet file; what was signed and promised is in the folder beside it
    #[arg(long, global = true, default_value_os_t = default_path())]
    wallet: PathBuf,
    /// The coordinator, instead of the one that the wallet file names
    #[arg(long, global = true, env = "PROOFMILL_API")]
    api: Option<String>,
    /// The Ethereum node, instead of the one that the wallet file names
    #[arg(long, global = true, env = "PROOFMILL_RPC")]
    rpc: Option<String>,
    #[command(flatten)]
    trust: Trust,
    /// Seconds to ask again where nobody answers, and to wait for a receipt
    #[arg(long, global = true, default_value_t = 300)]
    patience: u64,
    #[command(subcommand)]
    command: Command,
}

/// Whether to wait until what was begun can be used.
#[derive(Args, Clone, Copy)]
struct Waiting {
    /// Wait until it can be used; the default on a terminal
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return as soon as it is accepted
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait for that
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
}

impl Waiting {
    /// How long; nothing: not at all.
    fn limit(self) -> Option<Duration> {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        (self.wait || terminal && !self.no_wait).then(|| Duration::from_secs(self.timeout))
    }
}

#[derive(Subcommand)]
enum Command {
    /// Make a wallet with a fresh key, or with the key in PROOFMILL_WALLET_KEY; needs --api and --rpc
    New {
        /// The contract, from somebody you trust; without it the coordinator names it
        #[arg(long, value_parser = address_argument)]
        contract: Option<Address>,
    },
    /// Print the address
    Address,
    /// Balances in three states, coins, and what can be collected on L1
    Balance,
    /// Deposit ETH from L1: 0.5, 0.5eth, 5gwei
    Deposit {
        #[arg(value_parser = parse_amount)]
        amount: Amount,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Publish the key by which others can pay this address
    Register,
    /// Pay an address: 0.1, 0.1eth, 5gwei, all
    Send {
        #[arg(value_parser = address_argument)]
        to: Address,
        #[arg(value_parser = parse_amount)]
        amount: Amount,
        /// Pay even if the recipient has no key yet: only L1 can unlock these coins
        #[arg(long)]
        allow_vault: bool,
        /// Repeat a call safely by giving the same key again
        #[arg(long)]
        idempotency_key: Option<String>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Withdraw to this address on L1; collect it when its batch is on L1
    Withdraw {
        #[arg(value_parser = parse_amount)]
        amount: Amount,
        /// Withdraw although the fee takes most of it
        #[arg(long)]
        yes_burn: bool,
        #[arg(long)]
        idempotency_key: Option<String>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Collect what the contract has credited
    Collect,
    /// The newest operations of this address
    History {
        /// How many
        #[arg(long, short = 'n', default_value_t = 20)]
        newest: usize,
    },
    /// One operation, or all that is open
    Status {
        /// 0x and 64 hex digits, as `send` and `history` print it
        operation: Option<String>,
    },
    /// The operator's promises that are not settled yet
    Promises,
    /// Send requests without an answer again, byte for byte: that never pays twice
    Resume,
    /// Drop a transaction that will never be mined because another one has its nonce, or a payment that was not accepted
    Forget {
        /// Of the transaction or the operation, as `status` prints it
        hash: String,
        /// Drop a payment whose signature is still good: if it is executed after all, the next command pays a second time
        #[arg(long)]
        anyway: bool,
    },
    /// Write the ownership proof of each coin to a file: with it nobody is needed to show what you own
    ExportProof {
        /// Where to
        #[arg(long, default_value_os_t = proofs::default_out())]
        out: PathBuf,
    },
    /// Make the contract demand that a leaf leaves; the operator must do it before the deadline
    ForceExit {
        /// The leaf's index, as `balance` shows it
        index: u64,
        /// Pay the fee although the leaf is not this wallet's
        #[arg(long)]
        anyway: bool,
    },
    /// Make the contract demand that a leaf of this address goes under its present key
    ForceRekey {
        /// The leaf's index, as `balance` shows it
        index: u64,
        /// Pay the fee although the leaf is not this wallet's
        #[arg(long)]
        anyway: bool,
    },
    /// Make published entries void and take a new key; leaves under the old one must be re-keyed by force
    BumpKeyEpoch {
        /// Yes, a new key
        #[arg(long)]
        yes: bool,
    },
}
