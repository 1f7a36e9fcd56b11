//! Our prover and its peers in the same call: the same work, the same threads, in turns.
//!
//! ```text
//! cargo run --release -p proofmill-benches --bin peers -- --quick
//! cargo run --release -p proofmill-benches --bin peers -- --works prove --sizes 20 --rounds 5 --json
//! ```
//!
//! Every prover runs in a process of its own ([`child`]), so that processor time and peak memory are its own. Rounds are
//! interleaved: each prover does the work once, then each does it again; medians are printed, and how many times as long as
//! ours a peer takes.
//!
//! | who | what |
//! |---|---|
//! | `proofmill` | this project, with the best instructions of this processor |
//! | `proofmill-portable` | the same without AVX-512 IFMA |
//! | `halo2curves`, `bellman`, `arkworks` | the crates, in the versions of `Cargo.lock` |
//! | `gnark` | `benches/peers/gnark`, built with `go build -o gnark-peer .`, by `PROOFMILL_GNARK_PEER` or `gnark-peer` in PATH |
//! | `rapidsnark` | its `prover`, by `PROOFMILL_RAPIDSNARK` or `rapidsnark` in PATH |
//!
//! The circuit of `prove` is x -> x^2 + 7, 2^size - 8 times: every variable is a full-size element and stands in A, B and C.

mod child;
mod dense;
mod peer;
mod peers;
mod report;

use clap::Parser;
use eyre::bail;

use crate::peer::Peer;
use crate::report::Report;

#[derive(Parser)]
pub struct Args {
    /// Sizes that end within ten minutes on two cores
    #[arg(long)]
    quick: bool,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// msm-g1, msm-g2, ntt, prove
    #[arg(long, value_delimiter = ',')]
    works: Vec<String>,
    /// log2 of the sizes, for all works
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<u32>,
    /// Only these provers
    #[arg(long, value_delimiter = ',')]
    who: Vec<String>,
    #[arg(long)]
    rounds: Option<usize>,
    /// All that the machine has by default
    #[arg(long)]
    threads: Option<usize>,
    /// Serves as a peer on standard input and output
    #[arg(long, hide = true)]
    serve: Option<String>,
}

/// Works and their sizes.
const QUICK: [(&str, &[u32]); 4] =
    [("msm-g1", &[16, 18, 20]), ("msm-g2", &[16, 18]), ("ntt", &[16, 18, 20]), ("prove", &[16, 18])];
const FULL: [(&str, &[u32]); 4] = [
    ("msm-g1", &[12, 14, 16, 18, 20, 22]),
    ("msm-g2", &[12, 14, 16, 18, 20]),
    ("ntt", &[12, 14, 16, 18, 20, 22, 24]),
    ("prove", &[16, 18, 20]),
];
/// How a prover says that it is for other works, or for smaller sizes.
const DOES_NOT: &str = "does no ";
const QUICK_ROUNDS: usize = 3;
const FULL_ROUNDS: usize = 5;

fn main() -> eyre::Result<()> {
    let args = Args::parse();
    if let Some(who) = &args.serve {
        return child::serve(who);
    }
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let rounds = args.rounds.unwrap_or(if args.quick { QUICK_ROUNDS } else { FULL_ROUNDS }).max(1);
    let (mut peers, missing) = Peer::start_all(&args.who, threads)?;
    let mut report = Report::new(args.json, threads, rounds);
    report.begin(&peers, &missing);
    for (work, sizes) in if args.quick { QUICK } else { FULL } {
        if !args.works.is_empty() && !args.works.iter().any(|wanted| wanted == work) {
            continue;
        }
        for size in if args.sizes.is_empty() { sizes } else { &args.sizes[..] } {
            compare(&mut peers, work, *size, rounds, &mut report)?;
        }
    }
    Ok(())
}

/// One work of one size, by everybody who does it.
fn compare(
    peers: &mut [Peer],
    work: &str,
    size: u32,
    rounds: usize,
    report: &mut Report,
) -> eyre::Result<()> {
    let mut able = Vec::new();
    for peer in peers {
        match peer.prepare(work, size) {
            Ok(()) => able.push((peer, Vec::new())),
            Err(reason) if reason.starts_with(DOES_NOT) => {}
            Err(reason) => bail!("{} cannot prepare {work} 2^{size}: {reason}", peer.name()),
        }
    }
    for _ in 0..rounds {
        for (peer, runs) in &mut able {
            match peer.run() {
                Ok(run) => runs.push(run),
                Err(reason) => bail!("{} failed at {work} 2^{size}: {reason}", peer.name()),
            }
        }
    }
    report.compared(work, size, &able);
    for (peer, _) in able {
        peer.forget()?;
    }
    Ok(())
}
