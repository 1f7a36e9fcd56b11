//! `wallet`: the options of a holder's commands, and what these print. What a wallet keeps and does is the crate `wallet`.
//!
//! | module | purpose |
//! |---|---|
//! | `commands` | each command: connect, ask the parts, tell the user |
//! | `show` | what is printed and changes nothing |
//! | `wait` | waiting until what was begun can be used |

mod commands;
mod show;
mod wait;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use protocol::{Address, parse_address};
use wallet::{
    amount::{Amount, parse_amount},
    file::default_path,
    proofs,
};

use crate::tls::Trust;

pub use commands::run;

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
        #[arg(long, value_parser = parse_address)]
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
        #[arg(value_parser = parse_address)]
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
