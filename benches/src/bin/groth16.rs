//! Key generation, witness, proof and verification of a circuit of the protocol, with bellman's prover as the peer: both
//! prove the same batch with the same key, in turn, in one run.
//!
//! ```text
//! cargo run --release -p proofmill-benches --bin bench-groth16 -- s3m1 --rounds 5 --peer
//! ```
//!
//! Prints JSON: medians in milliseconds, peak memory in MiB (Linux), how busy the threads are, and peer/ours as a ratio.

use std::{sync::Arc, time::Instant};

use bellman::groth16::{create_random_proof, prepare_verifying_key, verify_proof};
use circuits::{
    batch::{
        Prepared,
        gadget::{BatchCircuit, witness},
    },
    shape::Shape,
};
use clap::Parser;
use proofmill_benches::full_batch;
use prover::{
    Cancel, CpuBackend, DevTrapdoor, Key, Matrices, NoProgress, Prover, Timings, Witness, generate, verify,
};
use rand_core::OsRng;
use serde_json::json;

#[derive(Parser)]
struct Args {
    shape: Shape,
    /// Proofs; the median is printed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Also prove with bellman's own prover
    #[arg(long)]
    peer: bool,
}

fn main() -> eyre::Result<()> {
    let args = Args::parse();
    let (matrices, synthesis_ms) = timed(|| Matrices::synthesize(BatchCircuit(&Prepared::blank(args.shape))));
    let matrices = Arc::new(matrices?);
    let trapdoor = DevTrapdoor::from_seed("proofmill benchmark");
    let (parts, keygen_ms) = timed(|| generate(&matrices, &trapdoor, &NoProgress));
    let parts = parts?;
    let key = Arc::new(Key::from_parts(&parts)?);
    drop(parts);
    let memory_after_keygen = peak_memory_mib();

    let batch = full_batch(args.shape)?;
    let prover = Prover::new(Arc::new(CpuBackend::new()), Arc::clone(&key), Arc::clone(&matrices))?;
    let peer = if args.peer { Some(key.to_bellman_parameters()?) } else { None };
    let (mut witness_ms, mut prove_ms, mut verify_ms, mut peer_ms) = (vec![], vec![], vec![], vec![]);
    let (mut stages, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds.max(1) {
        let (values, ms) = timed(|| witness(&batch));
        witness_ms.push(ms);
        let (inputs, aux) = values;
        let values = Witness::new(inputs, aux);
        let (proven, ms) = timed(|| prover.prove(&values, &Cancel::new()));
        prove_ms.push(ms);
        let proven = proven?;
        stages.push(format!("{:?}", proven.timings));
        busy.push(busy_in_sums(&proven.timings));
        let (verified, ms) = timed(|| verify(prover.verifying_key(), &proven.proof, &batch.public_inputs()));
        verify_ms.push(ms);
        verified?;
        if let Some(parameters) = &peer {
            let (proof, ms) = timed(|| create_random_proof(BatchCircuit(&batch), parameters, &mut OsRng));
            peer_ms.push(ms);
            verify_proof(&prepare_verifying_key(&parameters.vk), &proof?, &batch.public_inputs())?;
        }
    }
    let ours = median(&mut prove_ms);
    let with_witness = ours + median(&mut witness_ms);
    let peer = (!peer_ms.is_empty()).then(|| median(&mut peer_ms));
    let report = json!({
        "circuit": args.shape.name(),
        "threads": std::thread::available_parallelism().map_or(0, usize::from),
        "constraints": matrices.constraints(),
        "constraints_per_payment": matrices.constraints() / args.shape.slots(),
        "domain_log": matrices.domain_log(),
        "matrices_ms": synthesis_ms.round(),
        "key_ms": keygen_ms.round(),
        "key_peak_memory_mib": memory_after_keygen,
        "witness_ms": median(&mut witness_ms).round(),
        "prove_ms": ours.round(),
        "verify_ms": (median(&mut verify_ms) * 100.0).round() / 100.0,
        "peak_memory_mib": peak_memory_mib(),
        "bellman_prove_ms": peer.map(f64::round),
        "bellman_over_ours": peer.map(|peer| (peer / with_witness * 100.0).round() / 100.0),
        "threads_busy_in_sums": (median(&mut busy) * 1000.0).round() / 1000.0,
        "rounds": args.rounds,
        "stages_of_the_last_round": stages.last(),
    });
    println!("{report:#}");
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let out = work();
    (out, start.elapsed().as_secs_f64() * 1000.0)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How much of the threads' time from the end of the transforms to the end of the sums is spent in sums: the rest is waiting, cutting
/// scalars into digits, and adding up what the shares give.
fn busy_in_sums(times: &Timings) -> f64 {
    let sums = times.msm_a + times.msm_b1 + times.msm_b2 + times.msm_l + times.msm_h;
    sums.as_secs_f64() / (times.total - times.sparse - times.ntt).as_secs_f64()
}

/// The process's high-water mark, where the kernel tells it.
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
