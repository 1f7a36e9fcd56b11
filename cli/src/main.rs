//! The binary `proofmill`: parses arguments, wires the parts together, prints.
//!
//! | module | commands |
//! |---|---|
//! | `demo` | `demo`: everything in one process, and a script of real payments |
//! | `deploy` | `deploy`: the contract, its settings explained, and the deployment file
//! | `node` | `coordinator`, and the assembly that the demo shares with it |
//! | `worker` | `worker`, and the `prove-child` that it starts |
//! | `circuit`, `keys` | `circuit info`, `keys setup-dev`, `keys info`, `keys export-verifier` |
//! | `iden3` | `prove`, `keys import-zkey`, `export-zkey`, `export-r1cs`: files of circom, snarkjs and rapidsnark |
//! | `logging` | where logs and spans go |
//! | `redis` | the flags that say where a farm's Redis is |
//! | `tls` | the flag that says whose certificates are trusted |
//! | `wallet` | `wallet new`, `balance`, `deposit`, `send`, `withdraw`, `collect`, `status`, `resume`, `export-proof`, `force-exit`, … |
//! | `ops` | `ops status`, `explain`, `requeue`, `drain`, `pause`, `resume` |
//! | `doctor` | `doctor`: what this machine and the services it should reach look like |

#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod ui;

mod circuit;
mod demo;
mod deploy;
mod doctor;
#[cfg(test)]
mod documented;
mod iden3;
mod keys;
mod logging;
mod node;
mod ops;
mod redis;
mod tls;
mod wallet;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A payment validium with its own proving farm.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything in one process, and a script of real payments
    Demo(demo::Options),
    /// Deploy the contract, with recommended settings explained
    Deploy(deploy::Options),
    /// The coordinator over an Ethereum node, with its API
    Coordinator(Box<node::Options>),
    /// A proving process that takes jobs from a coordinator
    Worker(worker::Options),
    /// Proves for a worker, which starts this itself
    #[command(hide = true)]
    ProveChild(worker::ChildOptions),
    /// What a circuit is made of
    #[command(subcommand)]
    Circuit(circuit::Command),
    /// Proving and verifying keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Prove any circuit from files of snarkjs, as rapidsnark does: KEY.zkey WITNESS.wtns PROOF.json PUBLIC.json
    Prove(iden3::Options),
    /// Hold, pay and withdraw coins
    Wallet(wallet::Options),
    /// Look into a running coordinator and steer it
    Ops(ops::Options),
    /// What this machine has and what it can reach
    Doctor(doctor::Options),
}

impl Command {
    /// What is logged unless `PROOFMILL_LOG` says otherwise: a service tells of its work, a command only of trouble.
    fn log_filter(&self) -> &'static str {
        match self {
            Self::Coordinator(_) | Self::Worker(_) => logging::OF_A_SERVICE,
            _ => logging::OF_A_COMMAND,
        }
    }
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let _logging = match logging::init(command.log_filter()) {
        Ok(logging) => logging,
        Err(error) => {
            say_error!("error: {}", sentence(&error));
            return ExitCode::FAILURE;
        }
    };
    match bn254::cpu::check().map_err(Into::into).and_then(|()| run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error!("error: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, without those that an outer one quotes already.
fn sentence(error: &eyre::Report) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = in_words(cause);
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The standard library says what its types cannot do, not what was wrong with a value.
fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    use std::num::{IntErrorKind, ParseIntError, TryFromIntError};

    if error.is::<TryFromIntError>() {
        return "a number is too large".to_owned();
    }
    match error.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => "a number is too large".to_owned(),
        Some(_) => "that is not a number".to_owned(),
        None => error.to_string(),
    }
}

fn run(command: Command) -> eyre::Result<()> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match command {
        Command::Demo(options) => runtime()?.block_on(demo::run(options)),
        Command::Deploy(options) => runtime()?.block_on(deploy::run(options)),
        Command::Coordinator(options) => runtime()?.block_on(node::run(*options)),
        Command::Worker(options) => runtime()?.block_on(worker::run(options)),
        Command::ProveChild(options) => worker::prove_child(&options),
        Command::Circuit(command) => circuit::run(command),
        Command::Keys(command) => keys::run(command),
        Command::Prove(options) => iden3::prove(&options),
        Command::Wallet(options) => runtime()?.block_on(wallet::run(options)),
        Command::Ops(options) => runtime()?.block_on(ops::run(options)),
        Command::Doctor(options) => runtime()?.block_on(doctor::run(options)),
    }
}

/// Waits for Ctrl-C or a request to terminate.
async fn stop_signal() -> eyre::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_are_told_in_words() {
        let narrow = eyre::Report::from(u8::try_from(300).unwrap_err());
        assert_eq!(sentence(&narrow), "a number is too large");
        assert_eq!(sentence(&narrow.wrap_err("the amount")), "the amount: a number is too large");
        let parsed = eyre::Report::from("".parse::<u64>().unwrap_err());
        assert_eq!(sentence(&parsed), "that is not a number");
    }

    #[test]
    fn a_cause_that_is_quoted_already_is_not_said_twice() {
        let quoted = eyre::eyre!("disk full").wrap_err("cannot write k: disk full");
        assert_eq!(sentence(&quoted), "cannot write k: disk full");
        let new = eyre::eyre!("disk full").wrap_err("cannot write k");
        assert_eq!(sentence(&new), "cannot write k: disk full");
    }
}
