//! MSM and NTT over sizes, ours and ICICLE's in turn.

use std::time::Instant;

use bn254::{Domain, Fr, G1Affine, G2Affine};
use clap::Args;
use cuda::CudaBackend;
use cuda::kernels::{CardPoint, TransformKind};
use icicle::IcicleBackend;
use serde_json::json;

use crate::inputs::{Scalars, points};
use crate::report::{self, median, rounded};

#[derive(Args)]
pub struct Options {
    /// log2 of the smallest size
    #[arg(long, default_value_t = 10)]
    min_log: u32,
    /// log2 of the largest size
    #[arg(long, default_value_t = 24)]
    max_log: u32,
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

/// The peer, or why it is not measured.
pub fn open_icicle() -> Result<IcicleBackend, String> {
    IcicleBackend::open(&icicle::Settings::default()).map_err(|error| error.to_string())
}

pub fn run(backend: &CudaBackend, options: &Options) -> eyre::Result<()> {
    report::emit(&report::card(backend));
    let icicle = open_icicle();
    if let Err(reason) = &icicle {
        report::emit(&json!({ "work": "peer", "who": "icicle", "missing": reason }));
    }
    let icicle = icicle.ok();
    for log in options.min_log..=options.max_log {
        msm::<G1Affine>(backend, "msm-g1", log, options.rounds, |points, scalars| {
            icicle.as_ref().map(|peer| timed(|| peer.msm_g1(points, scalars).map(drop)))
        })?;
        msm::<G2Affine>(backend, "msm-g2", log, options.rounds, |points, scalars| {
            icicle.as_ref().map(|peer| timed(|| peer.msm_g2(points, scalars).map(drop)))
        })?;
        ntt(backend, icicle.as_ref(), log, options.rounds)?;
    }
    Ok(())
}

type PeerTime = Option<Result<f64, prover::BackendError>>;

/// Milliseconds of work that may fail.
fn timed<E>(work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    work().map(|()| start.elapsed().as_secs_f64() * 1e3)
}

fn msm<P>(
    backend: &CudaBackend,
    work: &str,
    log: u32,
    rounds: usize,
    peer: impl Fn(&[P], &[Fr]) -> PeerTime,
) -> eyre::Result<()>
where
    P: CardPoint + bn254::CurveAffine<ScalarExt = Fr>,
{
    let points = points::<P>(1 << log, 1);
    for (scalars, copies) in [(Scalars::Random, 0), (Scalars::Witness, 0), (Scalars::Random, 1)] {
        let bases = backend.context().bases(&points, 0, copies)?;
        let values = scalars.make(1 << log, 2);
        bases.sum(&values)?;
        let mut times = vec![];
        for _ in 0..rounds {
            times.push(f64::from(bases.sum(&values)?.milliseconds));
        }
        report::emit(&json!({
            "work": work, "size": log, "who": "cuda", "scalars": scalars.name(),
            "copies": if copies == 0 { "all" } else { "1" },
            "median_ms": rounded(median(&mut times)), "rounds": rounds,
        }));
    }
    against_peer(backend, work, log, rounds, &points, peer)
}

/// From memory to memory, points and scalars copied each time: what both libraries do for a sum of their own.
fn against_peer<P: CardPoint>(
    backend: &CudaBackend,
    work: &str,
    log: u32,
    rounds: usize,
    points: &[P],
    peer: impl Fn(&[P], &[Fr]) -> PeerTime,
) -> eyre::Result<()> {
    let values = Scalars::Random.make(1 << log, 4);
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..rounds {
        let Some(time) = peer(points, &values) else { return Ok(()) };
        theirs.push(time?);
        ours.push(timed(|| backend.context().bases(points, 0, 1)?.sum(&values).map(drop))?);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let work = format!("{work}-whole");
    report::emit(
        &json!({ "work": work, "size": log, "who": "cuda", "median_ms": rounded(ours), "rounds": rounds }),
    );
    report::emit(&json!({
        "work": work, "size": log, "who": "icicle", "median_ms": rounded(theirs), "over_ours": rounded(theirs / ours),
    }));
    Ok(())
}

fn ntt(backend: &CudaBackend, peer: Option<&IcicleBackend>, log: u32, rounds: usize) -> eyre::Result<()> {
    let domain = Domain::new(log)?;
    let values = Scalars::Random.make(1 << log, 3);
    let (mut scatter, mut coset, mut whole, mut theirs) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        let mut work = values.clone();
        scatter.push(f64::from(backend.context().transform(TransformKind::Scatter, &domain, &mut work)?));
        let mut work = values.clone();
        let start = Instant::now();
        coset.push(f64::from(backend.context().transform(TransformKind::ToCoset, &domain, &mut work)?));
        whole.push(start.elapsed().as_secs_f64() * 1e3);
        if let Some(peer) = peer {
            theirs.push(timed(|| peer.shift_to_coset(&values).map(drop))?);
        }
    }
    for (work, times) in [("ntt", &mut scatter), ("ntt-to-coset", &mut coset)] {
        let time = rounded(median(times));
        report::emit(
            &json!({ "work": work, "size": log, "who": "cuda", "median_ms": time, "rounds": rounds }),
        );
    }
    if !theirs.is_empty() {
        // From memory to memory; our time contains the tables of the domain, which a key makes once.
        let (ours, theirs) = (median(&mut whole), median(&mut theirs));
        let work = "ntt-to-coset-whole";
        report::emit(
            &json!({ "work": work, "size": log, "who": "cuda", "median_ms": rounded(ours), "rounds": rounds }),
        );
        report::emit(&json!({
            "work": work, "size": log, "who": "icicle", "median_ms": rounded(theirs), "over_ours": rounded(theirs / ours),
        }));
    }
    Ok(())
}
