//! Our prover and its peers in the same call: the same work, the same threads, in turns.
//!
//! ```text
//! cargo run --release -p proofmill-benches --bin peers -- --quick
//! cargo run --release -p proofmill-benches --bin peers -- --works prove --sizes 20 --rounds 5 --json
//! cargo run --release -p proofmill-benches --bin peers -- --works batch --sizes s14m2 --who proofmill,rapidsnark
//! ```
//!
//! Every prover runs in a process of its own ([`child`]), so that processor time and peak memory are its own. Rounds are
//! interleaved: each prover does the work once, then each does it again; medians are printed, and how many times as long as
//! ours a peer takes.
//!
//! | who | what |
//! |---|---|
//! | `proofmill` | this project, with the best instructions of this processor |
//! | `proofmill-no-ifma` | the same with IFMA forced off: the best that is left |
//! | `proofmill-avx2`, `proofmill-portable` | the same with AVX2 at most, and with the assembly of halo2curves |
//! | `halo2curves`, `bellman`, `arkworks` | the crates, in the versions of `Cargo.lock` |
//! | `gnark` | `benches/peers/gnark`, built with `go build -o gnark-peer .`, by `PROOFMILL_GNARK_PEER` or `gnark-peer` in PATH |
//! | `rapidsnark` | its `prover`, by `PROOFMILL_RAPIDSNARK` or `rapidsnark` in PATH |
//! | `constantine` | its shared library, by `PROOFMILL_CONSTANTINE`; for `msm-g2` compare processor times, or pass `--threads 1` |
//!
//! | work | sizes | what |
//! |---|---|---|
//! | `msm-g1`, `msm-g2` | log2 | sums of distinct points times random scalars |
//! | `ntt` | log2 | a transform of random elements; the order of the result is each prover's own |
//! | `prove` | log2 | x -> x^2 + 7, 2^size - 8 times: every variable is a full-size element and stands in A, B and C |
//! | `batch` | `s3m1` … `s1020m4` | a full batch of the protocol, from the same `.zkey` and `.wtns`; rapidsnark reads them for each proof, the others once |

mod child;
mod dense;
mod files;
mod peer;
mod peers;
mod program;
mod report;
mod size;

use circuits::shape::Shape;
use clap::Parser;
use eyre::bail;

use crate::peer::{DOES_NOT, Peer};
use crate::report::Report;
use crate::size::Size::{self, Circuit, Log};

#[derive(Parser)]
pub struct Args {
    /// Sizes that end within ten minutes on two cores
    #[arg(long)]
    quick: bool,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// msm-g1, msm-g2, ntt, prove, batch
    #[arg(long, value_delimiter = ',')]
    works: Vec<String>,
    /// log2 of the sizes, for all works but batch, and names of circuits for batch
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<Size>,
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
type Plan = [(&'static str, &'static [Size]); 5];
const QUICK: Plan = [
    ("msm-g1", &[Log(16), Log(18), Log(20)]),
    ("msm-g2", &[Log(16), Log(18)]),
    ("ntt", &[Log(16), Log(18), Log(20)]),
    ("prove", &[Log(16), Log(18)]),
    ("batch", &[Circuit(Shape::S3M1), Circuit(Shape::S14M2)]),
];
const FULL: Plan = [
    ("msm-g1", &[Log(12), Log(14), Log(16), Log(18), Log(20), Log(22)]),
    ("msm-g2", &[Log(12), Log(14), Log(16), Log(18), Log(20), Log(22)]),
    ("ntt", &[Log(12), Log(14), Log(16), Log(18), Log(20), Log(22), Log(24)]),
    ("prove", &[Log(16), Log(18), Log(20)]),
    ("batch", &[Circuit(Shape::S14M2), Circuit(Shape::S60M4)]),
];
const QUICK_ROUNDS: usize = 3;
const FULL_ROUNDS: usize = 5;

fn main() -> eyre::Result<()> {
    let args = Args::parse();
    if let Some(who) = &args.serve {
        return child::serve(who);
    }
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let rounds = args.rounds.unwrap_or(if args.quick { QUICK_ROUNDS } else { FULL_ROUNDS }).max(1);
    let plan = if args.quick { QUICK } else { FULL };
    if let Some(unknown) = args.works.iter().find(|wanted| plan.iter().all(|(work, _)| work != wanted)) {
        bail!("there is no work {unknown}; works are {}", plan.map(|(work, _)| work).join(", "));
    }
    let folder = tempfile::tempdir()?;
    let (mut peers, missing) = Peer::start_all(&args.who, threads, folder.path())?;
    let mut report = Report::new(args.json, threads, rounds);
    report.begin(&peers, &missing);
    for (work, sizes) in plan {
        if !args.works.is_empty() && !args.works.iter().any(|wanted| wanted == work) {
            continue;
        }
        let sizes = if args.sizes.is_empty() { sizes } else { &args.sizes[..] };
        for size in sizes.iter().filter(|size| size.fits(work)) {
            compare(&mut peers, work, *size, rounds, &mut report)?;
        }
    }
    Ok(())
}

/// One work of one size, by everybody who does it.
fn compare(
    peers: &mut [Peer],
    work: &str,
    size: Size,
    rounds: usize,
    report: &mut Report,
) -> eyre::Result<()> {
    let mut able = Vec::new();
    for peer in peers {
        match peer.prepare(work, size) {
            Ok(()) => able.push((peer, Vec::new())),
            Err(reason) if reason.starts_with(DOES_NOT) => {}
            Err(reason) => bail!("{} cannot prepare {work} {size}: {reason}", peer.name()),
        }
    }
    for _ in 0..rounds {
        for (peer, runs) in &mut able {
            match peer.run() {
                Ok(run) => runs.push(run),
                Err(reason) => bail!("{} failed at {work} {size}: {reason}", peer.name()),
            }
        }
    }
    report.compared(work, size, &able);
    for (peer, _) in able {
        peer.forget()?;
    }
    Ok(())
}
