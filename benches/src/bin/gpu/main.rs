//! The card's half of the benchmarks and of the checks that only a card can do. `benches/gpu/run.sh` drives it; by hand:
//!
//! ```text
//! bench-gpu info
//! bench-gpu keys --dir DIR --circuits s14m2,s60m4
//! bench-gpu check [--repeats 200] [--max-log 16]
//! bench-gpu kernels --min-log 10 --max-log 24
//! bench-gpu prove --dir DIR --circuit s60m4 --rounds 10
//! bench-gpu table FILE…       bench-gpu plot FILE… > plot.svg
//! ```
//!
//! Every measurement is one JSON object on one line of standard output, `{"work", "size", "who", "median_ms", …}`; what a person
//! should know meanwhile goes to standard error. The peer (ICICLE, where it is installed) is measured in the same run, in turn.

mod check;
mod inputs;
mod kernels;
mod plot;
mod prove;
mod report;
mod table;

use std::path::PathBuf;

use circuits::shape::Shape;
use clap::{Parser, Subcommand};
use cuda::{CudaBackend, Settings};

#[derive(Parser)]
struct Args {
    /// The library or its folder; otherwise as `proofmill worker` finds it
    #[arg(long, global = true)]
    library: Option<PathBuf>,
    /// Number of the card
    #[arg(long, global = true, default_value_t = 0)]
    device: u32,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The card, its driver, and which peers are here
    Info,
    /// Development keys of circuits, kept in a folder; those that are there stay
    Keys(prove::Keys),
    /// Every kernel against the processor, then repeats that look for races
    Check(check::Options),
    /// MSM and NTT over sizes
    Kernels(kernels::Options),
    /// Whole proofs of real batches, verified
    Prove(prove::Options),
    /// A table of measurements
    Table { files: Vec<PathBuf> },
    /// A plot of measurements as SVG on standard output
    Plot { files: Vec<PathBuf> },
}

fn main() -> eyre::Result<()> {
    let args = Args::parse();
    let settings = Settings { library: args.library, device: args.device, ..Settings::default() };
    let open = || CudaBackend::open(&settings).map_err(eyre::Report::from);
    match args.command {
        Command::Info => report::info(&open()?),
        Command::Keys(options) => prove::keys(&options),
        Command::Check(options) => check::run(&open()?, &options),
        Command::Kernels(options) => kernels::run(&open()?, &options),
        Command::Prove(options) => prove::run(open()?, &options),
        Command::Table { files } => table::print(&report::read(&files)?),
        Command::Plot { files } => plot::print(&report::read(&files)?),
    }
}

/// Circuits of the protocol as they are named on the command line.
fn shapes(text: &str) -> Result<Shape, String> {
    text.parse().map_err(|error| format!("{error}"))
}
