//! Is what the card computes right, and is it right every time?
//!
//! First every kernel against the processor at sizes that fill a card, then the same sums many times over: a race in a kernel
//! shows as a result that differs once in a while.

use std::sync::Arc;

use bn254::{Curve, Domain, Field, Fq, Fq2, Fr, G1Affine, G2Affine, msm_g1, msm_g2};
use clap::Args;
use cuda::kernels::{CardField, CurveOp, FieldOp, TransformKind};
use cuda::{Context, CudaBackend};
use eyre::ensure;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::json;

use crate::inputs::{Scalars, points};
use crate::report;

#[derive(Args)]
pub struct Options {
    /// Repeats of each sum that looks for races
    #[arg(long, default_value_t = 200)]
    repeats: usize,
    /// log2 of the largest size
    #[arg(long, default_value_t = 16)]
    max_log: u32,
}

pub fn run(backend: &CudaBackend, options: &Options) -> eyre::Result<()> {
    report::emit(&report::card(backend));
    let context = backend.context();
    let size = 1 << options.max_log;
    fields::<Fq>(context, "Fq", size)?;
    fields::<Fr>(context, "Fr", size)?;
    fields::<Fq2>(context, "Fq2", size)?;
    curves(context, size.min(1 << 14))?;
    sums(context, options.max_log)?;
    transforms(context, options.max_log + 4)?;
    for scalars in [Scalars::Bits, Scalars::Witness] {
        repeats(context, scalars, options)?;
    }
    report::emit(&json!({ "work": "check", "size": options.max_log, "who": "cuda", "passed": true }));
    Ok(())
}

fn passed(what: &str) {
    eprintln!("  right: {what}");
}

fn fields<F: CardField + Field>(context: &Context, name: &str, size: usize) -> eyre::Result<()> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut a: Vec<F> = (0..size).map(|_| F::random(&mut rng)).collect();
    let mut b: Vec<F> = (0..size).map(|_| F::random(&mut rng)).collect();
    let edges = [F::ZERO, F::ONE, -F::ONE, F::ONE.double()];
    for (i, edge) in edges.iter().enumerate() {
        a[i] = *edge;
        b[2 * i] = *edge;
    }
    let operations: [(FieldOp, fn(F, F) -> F); 5] = [
        (FieldOp::Add, |a, b| a + b),
        (FieldOp::Sub, |a, b| a - b),
        (FieldOp::Mul, |a, b| a * b),
        (FieldOp::Neg, |a, _| -a),
        (FieldOp::Square, |a, _| a.square()),
    ];
    for (op, expected) in operations {
        let found = context.field_op(op, &a, &b)?;
        let wrong = (0..size).find(|i| found[*i] != expected(a[*i], b[*i]));
        ensure!(wrong.is_none(), "{op:?} in {name} is wrong at element {wrong:?}");
    }
    let few = &a[..size.min(1 << 12)];
    let inverses = context.field_op(FieldOp::Inverse, few, few)?;
    let right = few.iter().zip(inverses).all(|(a, inverse)| a.invert().unwrap_or(F::ZERO) == inverse);
    ensure!(right, "inverses in {name} are wrong");
    passed(&format!("operations in {name}, {size} elements"));
    Ok(())
}

fn curves(context: &Context, size: usize) -> eyre::Result<()> {
    let a = points::<G1Affine>(size, 2);
    // Every fourth pair equal, every fourth opposite.
    let b: Vec<G1Affine> = (0..size)
        .map(|i| match i % 4 {
            0 => a[i],
            1 => -a[i],
            _ => a[i / 2],
        })
        .collect();
    for op in [CurveOp::Add, CurveOp::AddGeneral] {
        let found = context.curve_op(op, &a, &b)?;
        let wrong = (0..size).find(|i| found[*i] != (a[*i] + b[*i]).to_affine());
        ensure!(wrong.is_none(), "{op:?} in G1 is wrong at pair {wrong:?}");
    }
    let few = points::<G2Affine>(size / 8, 3);
    let found = context.curve_op(CurveOp::Times256, &few, &few)?;
    let right = few.iter().zip(found).all(|(p, found)| (p * Fr::from(256)).to_affine() == found);
    ensure!(right, "doublings in G2 are wrong");
    passed(&format!("additions and doublings, {size} pairs"));
    Ok(())
}

fn sums(context: &Arc<Context>, max_log: u32) -> eyre::Result<()> {
    let edges = [0, 1, 31, 33, 1000];
    let powers = (5..=max_log).step_by(3).flat_map(|log| [(1 << log) - 1, 1 << log, (1 << log) + 1]);
    for len in edges.into_iter().chain(powers) {
        let (g1, g2) = (points::<G1Affine>(len, 4), points::<G2Affine>(len / 4, 5));
        for scalars in [Scalars::Random, Scalars::Witness, Scalars::Bits] {
            for copies in [0, 1] {
                let s = scalars.make(len, 6);
                let found = context.bases(&g1, 0, copies)?.sum(&s)?.value;
                ensure!(found == msm_g1(&g1, &s).to_affine(), "a sum of {len} points of G1 is wrong");
                let s = scalars.make(len / 4, 7);
                let found = context.bases(&g2, 0, copies)?.sum(&s)?.value;
                ensure!(found == msm_g2(&g2, &s).to_affine(), "a sum of {} points of G2 is wrong", len / 4);
            }
        }
    }
    passed(&format!("sums in G1 and G2 up to 2^{max_log} + 1 points"));
    Ok(())
}

fn transforms(context: &Context, max_log: u32) -> eyre::Result<()> {
    for log in 0..=max_log {
        let domain = Domain::new(log)?;
        let values = Scalars::Random.make(domain.size(), 8);
        let (mut found, mut wanted) = (values.clone(), values);
        context.transform(TransformKind::ToCoset, &domain, &mut found)?;
        domain.shift_to_coset(&mut wanted);
        ensure!(found == wanted, "a transform of 2^{log} elements is wrong");
    }
    passed(&format!("transforms up to 2^{max_log} elements"));
    Ok(())
}

fn repeats(context: &Arc<Context>, scalars: Scalars, options: &Options) -> eyre::Result<()> {
    let len = 1 << options.max_log;
    let (g1, g2) = (points::<G1Affine>(len, 9), points::<G2Affine>(len / 8, 10));
    let (s1, s2) = (scalars.make(len, 11), scalars.make(len / 8, 12));
    let (bases1, bases2) = (context.bases(&g1, 0, 0)?, context.bases(&g2, 0, 0)?);
    let (wanted1, wanted2) = (msm_g1(&g1, &s1).to_affine(), msm_g2(&g2, &s2).to_affine());
    let mut wrong = 0;
    for _ in 0..options.repeats {
        wrong += usize::from(bases1.sum(&s1)?.value != wanted1);
        wrong += usize::from(bases2.sum(&s2)?.value != wanted2);
    }
    ensure!(wrong == 0, "{wrong} of {} equal sums differ: there is a race", 2 * options.repeats);
    passed(&format!("{} repeats of sums with {} scalars", 2 * options.repeats, scalars.name()));
    Ok(())
}
