//! Whole proofs of full batches of payments, real witnesses, every one verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use circuits::{batch::gadget, shape::Shape};
use clap::Args;
use cuda::CudaBackend;
use eyre::ensure;
use gpu_worker::card::{Card, Monitor, Settings as CardSettings};
use gpu_worker::{Circuit, key_path, matrices};
use proofmill_benches::full_batch;
use prover::{Backend, Cancel, CpuBackend, DevTrapdoor, NoProgress, Prover, Timings, Witness, generate};
use serde_json::{Value, json};
use wire::WorkerId;

use crate::report::{self, median, rounded};

#[derive(Args)]
pub struct Keys {
    /// Where the keys are kept
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, value_delimiter = ',', value_parser = crate::shapes, default_value = "s14m2,s60m4,s252m4,s1020m4")]
    circuits: Vec<Shape>,
}

pub fn keys(options: &Keys) -> eyre::Result<()> {
    std::fs::create_dir_all(&options.dir)?;
    for shape in &options.circuits {
        let path = key_path(&options.dir, *shape);
        if path.exists() {
            eprintln!("  {shape}: there already");
            continue;
        }
        let start = Instant::now();
        let matrices = matrices(*shape)?;
        generate(&matrices, &DevTrapdoor::from_seed("proofmill benchmark"), &NoProgress)?.write(&path)?;
        report::emit(&json!({
            "work": "key", "size": matrices.domain_log(), "who": "cpu", "circuit": shape.name(),
            "median_ms": rounded(start.elapsed().as_secs_f64() * 1e3),
        }));
    }
    Ok(())
}

#[derive(Args)]
pub struct Options {
    /// Where `keys` put the keys
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, value_parser = crate::shapes)]
    circuit: Shape,
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Also prove on the processor, once
    #[arg(long)]
    cpu: bool,
}

pub fn run(backend: CudaBackend, options: &Options) -> eyre::Result<()> {
    report::emit(&report::card(&backend));
    let circuit = load(options.circuit, &options.dir)?;
    let (witness, witness_ms) = witness(options.circuit)?;
    let meter = watch(&backend);
    let backend = Arc::new(backend);

    let start = Instant::now();
    let prover = prover(&circuit, Arc::clone(&backend) as _)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let icicle = crate::kernels::open_icicle();
    let peer = match icicle {
        Ok(peer) => Some(self::prover(&circuit, Arc::new(peer))?),
        Err(reason) => {
            report::emit(&json!({ "work": "peer", "who": "icicle", "missing": reason }));
            None
        }
    };
    limits(&backend, &circuit, &witness)?;
    one_by_one(&prover, peer.as_ref(), &circuit, &witness, options, load_ms, witness_ms)?;
    pipelined(&prover, &circuit, &witness, options, meter.as_ref().map(|(_, card)| card))?;
    if options.cpu {
        let prover = self::prover(&circuit, Arc::new(CpuBackend::new()))?;
        let start = Instant::now();
        prover.prove(&witness, &Cancel::new())?;
        report::emit(&line(&circuit, "prove", "cpu", start.elapsed().as_secs_f64() * 1e3));
    }
    Ok(())
}

fn load(shape: Shape, dir: &Path) -> eyre::Result<Circuit> {
    let path = key_path(dir, shape);
    ensure!(path.exists(), "{} is missing; run the stage `keys` first", path.display());
    Ok(Circuit::load(shape, dir)?)
}

fn prover(circuit: &Circuit, backend: Arc<dyn Backend>) -> eyre::Result<Prover> {
    Ok(Prover::new(backend, Arc::clone(&circuit.key), Arc::clone(&circuit.matrices))?)
}

/// The card through NVML; without it there is no energy to report.
fn watch(backend: &CudaBackend) -> Option<(Monitor, Card)> {
    let device = backend.device()?;
    let id = WorkerId::parse("bench").ok()?;
    match Monitor::start(id, CardSettings::for_device(&device)) {
        Ok(monitor) => {
            let card = monitor.card();
            Some((monitor, card))
        }
        Err(error) => {
            eprintln!("  no energy: {error}");
            None
        }
    }
}

fn line(circuit: &Circuit, work: &str, who: &str, median_ms: f64) -> Value {
    let payments = circuit.shape.slots();
    json!({
        "work": work, "size": circuit.key.domain_log(), "who": who, "circuit": circuit.shape.name(),
        "median_ms": rounded(median_ms), "payments_per_second": rounded(payments as f64 / median_ms * 1e3),
    })
}

/// What the card's rate of multiplications alone would take for each stage: how far the stages are from the arithmetic limit.
fn limits(backend: &CudaBackend, circuit: &Circuit, witness: &Witness) -> eyre::Result<()> {
    let rate = backend.context().multiplication_rate(1 << 20, 1 << 10)?;
    let key = backend.prepare(Arc::clone(&circuit.key), Arc::clone(&circuit.matrices));
    let (counts, info) = key.and_then(|key| {
        let counted = backend.count(key, witness).map(|counts| (counts, backend.key_info(key)));
        backend.release(key);
        counted
    })?;
    let ms = |count: u64| rounded(count as f64 / rate * 1e3);
    let total = counts.sparse
        + counts.ntt
        + counts.msm_a
        + counts.msm_b1
        + counts.msm_b2
        + counts.msm_l
        + counts.msm_h;
    let mut report = line(circuit, "arithmetic-limit", "cuda", total as f64 / rate * 1e3);
    merge(
        &mut report,
        json!({
            "key_on_card_mib": info.map(|info| info.bytes >> 20), "copies": info.map(|info| info.copies.to_string()),
            "multiplications_per_second": rate.round(), "multiplications": total, "sparse_ms": ms(counts.sparse),
            "ntt_ms": ms(counts.ntt), "msm_a_ms": ms(counts.msm_a), "msm_b1_ms": ms(counts.msm_b1),
            "msm_b2_ms": ms(counts.msm_b2), "msm_l_ms": ms(counts.msm_l), "msm_h_ms": ms(counts.msm_h),
        }),
    );
    report::emit(&report);
    Ok(())
}

/// Proof after proof, transfers included; the peer in turn.
fn one_by_one(
    ours: &Prover,
    peer: Option<&Prover>,
    circuit: &Circuit,
    witness: &Arc<Witness>,
    options: &Options,
    load_ms: f64,
    witness_ms: f64,
) -> eyre::Result<()> {
    let (mut wall, mut staged, mut card, mut theirs) = (vec![], vec![], vec![], vec![]);
    let mut last = Timings::default();
    ours.prove(witness, &Cancel::new())?;
    for _ in 0..options.rounds.max(1) {
        let start = Instant::now();
        let place = ours.stage(Arc::clone(witness))?;
        staged.push(start.elapsed().as_secs_f64() * 1e3);
        let proven = ours.prove_staged(place, &Cancel::new())?;
        wall.push(start.elapsed().as_secs_f64() * 1e3);
        card.push(proven.timings.total.as_secs_f64() * 1e3);
        last = proven.timings;
        if let Some(peer) = peer {
            let start = Instant::now();
            peer.prove(witness, &Cancel::new())?;
            theirs.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let ours = median(&mut wall);
    let ms = |time: std::time::Duration| rounded(time.as_secs_f64() * 1e3);
    let mut report = line(circuit, "prove", "cuda", ours);
    let details = json!({
        "card_ms": rounded(median(&mut card)), "upload_ms": rounded(median(&mut staged)),
        "sparse_ms": ms(last.sparse), "ntt_ms": ms(last.ntt), "msm_a_ms": ms(last.msm_a), "msm_b1_ms": ms(last.msm_b1),
        "msm_b2_ms": ms(last.msm_b2), "msm_l_ms": ms(last.msm_l), "msm_h_ms": ms(last.msm_h),
        "key_load_ms": rounded(load_ms), "witness_cpu_ms": rounded(witness_ms), "rounds": options.rounds, "verified": true,
    });
    merge(&mut report, details);
    report::emit(&report);
    if !theirs.is_empty() {
        let theirs = median(&mut theirs);
        let mut report = line(circuit, "prove", "icicle", theirs);
        merge(&mut report, json!({ "over_ours": rounded(theirs / ours) }));
        report::emit(&report);
    }
    Ok(())
}

/// As a worker proves: the next witness goes up while the card computes.
fn pipelined(
    prover: &Prover,
    circuit: &Circuit,
    witness: &Arc<Witness>,
    options: &Options,
    card: Option<&Card>,
) -> eyre::Result<()> {
    let rounds = options.rounds.max(2);
    let meter = card.map(Card::meter);
    let start = Instant::now();
    let mut place = prover.stage(Arc::clone(witness))?;
    for round in 0..rounds {
        place = std::thread::scope(|scope| -> eyre::Result<_> {
            let next = scope.spawn(|| (round + 1 < rounds).then(|| prover.stage(Arc::clone(witness))));
            prover.prove_staged(place, &Cancel::new())?;
            let next = next.join().map_err(|_| eyre::eyre!("the upload panicked"))?;
            next.unwrap_or_else(|| prover.stage(Arc::clone(witness))).map_err(Into::into)
        })?;
    }
    let per_proof = start.elapsed().as_secs_f64() * 1e3 / rounds as f64;
    let millijoules = meter.and_then(gpu_worker::card::EnergyMeter::stop);
    let mut report = line(circuit, "prove-pipelined", "cuda", per_proof);
    let joules = millijoules.map(|total| total as f64 / 1e3 / rounds as f64);
    let payments = circuit.shape.slots() as f64;
    merge(
        &mut report,
        json!({
            "joules_per_proof": joules.map(rounded),
            "joules_per_payment": joules.map(|joules| rounded(joules / payments)),
            "rounds": rounds, "verified": true,
        }),
    );
    report::emit(&report);
    Ok(())
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

/// The witness of a batch with a send in every slot, and how long it took.
fn witness(shape: Shape) -> eyre::Result<(Arc<Witness>, f64)> {
    let batch = full_batch(shape)?;
    let start = Instant::now();
    let (inputs, aux) = gadget::witness(&batch);
    Ok((Arc::new(Witness::new(inputs, aux)), start.elapsed().as_secs_f64() * 1e3))
}
