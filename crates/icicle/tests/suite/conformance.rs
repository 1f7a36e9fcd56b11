//! ICICLE's answers against those of the `bn254` crate, for the fake and for a real build.

use std::path::Path;
use std::sync::Arc;

use bn254::{Curve, Domain, Field, Fr, G1, G1Affine, G2, G2Affine, PrimeCurveAffine, msm_g1, msm_g2};
use icicle::IcicleBackend;
use prover::{Backend, Cancel, CpuBackend, Prover};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::child::Child;
use crate::circuit::{key_of, witness_of};

#[test]
fn the_fake_agrees_with_the_processor() {
    let outcome = Child::new("conformance").run();
    assert!(outcome.is_clean(), "{}", outcome.all());
}

#[test]
fn the_fake_agrees_when_sums_are_chunked() {
    for chunk in ["29", "64"] {
        let outcome = Child::new("prove").with("CHUNK", chunk).run();
        assert!(outcome.is_clean(), "{}", outcome.all());
        assert_eq!(outcome.said("proof"), ["well"]);
    }
}

#[test]
fn a_real_icicle_agrees_with_the_processor_where_there_is_one() {
    let Some(folder) = std::env::var_os("ICICLE_FRONTEND_INSTALL_DIR") else {
        println!("NOT RUN: set ICICLE_FRONTEND_INSTALL_DIR to test against a real ICICLE");
        return;
    };
    let outcome = Child::new("conformance").folder(Some(Path::new(&folder))).with("LARGE", "1").run();
    assert!(outcome.ended_well(), "{}", outcome.all());
    println!("the ICICLE in {} agrees", folder.display());
}

/// Sums, transforms and proofs, of every size at which something begins or ends; large ones too if `LARGE` is set, which
/// the fake is too slow for.
pub fn everything_agrees(backend: Arc<IcicleBackend>) {
    let sizes = [0, 1, 2, 31, 32, 33, 63, 65, 127, 128, 129, 513];
    for (seed, len) in sizes.into_iter().enumerate() {
        sums_agree(&backend, seed as u64, len);
    }
    for log in 0..=12 {
        transforms_agree(&backend, log);
    }
    // Up and down: the table of roots grows and stays.
    for slots in [1, 40, 2, 70, 9] {
        proofs_agree(&backend, slots);
    }
    if std::env::var_os("LARGE").is_some() {
        // Beyond the borders of the windows.
        for len in [2047, 2049, 65_537] {
            large_sum_agrees(&backend, len);
        }
        transforms_agree(&backend, 16);
        proofs_agree(&backend, 1500);
    }
}

fn large_sum_agrees(backend: &IcicleBackend, len: usize) {
    let mut rng = ChaCha20Rng::seed_from_u64(len as u64);
    let pool: Vec<G1Affine> =
        (0..200).map(|_| (G1::generator() * Fr::random(&mut rng)).to_affine()).collect();
    let points: Vec<G1Affine> = pool.into_iter().cycle().take(len).collect();
    let scalars: Vec<Fr> =
        (0..len).map(|i| if i % 3 == 0 { Fr::ONE } else { Fr::random(&mut rng) }).collect();
    assert_eq!(backend.msm_g1(&points, &scalars), Ok(msm_g1(&points, &scalars)), "G1, {len}");
}

fn sums_agree(backend: &IcicleBackend, seed: u64, len: usize) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let multiples: Vec<Fr> = (0..len).map(|_| Fr::random(&mut rng)).collect();
    let mut points: Vec<G1Affine> = multiples.iter().map(|m| (G1::generator() * m).to_affine()).collect();
    // Infinity, a repeated point, and a point next to its opposite.
    for i in (0..len).step_by(5) {
        match i % 3 {
            0 => points[i] = G1Affine::identity(),
            1 => points[i] = points[i / 2],
            _ => points[i] = -points[i - 1],
        }
    }
    let random: Vec<Fr> = (0..len).map(|_| Fr::random(&mut rng)).collect();
    let mixed: Vec<Fr> =
        random.iter().enumerate().map(|(i, s)| [Fr::ZERO, Fr::ONE, -Fr::ONE, *s][i * i % 4]).collect();
    let largest = vec![-Fr::ONE; len];
    for scalars in [random, mixed, largest, vec![Fr::ZERO; len], vec![Fr::ONE; len]] {
        assert_eq!(backend.msm_g1(&points, &scalars), Ok(msm_g1(&points, &scalars)), "G1, {len}");
    }
    if len > 130 {
        return;
    }
    let mut points: Vec<G2Affine> = multiples.iter().map(|m| (G2::generator() * m).to_affine()).collect();
    for i in (0..len).step_by(5) {
        points[i] = if i % 2 == 0 { G2Affine::identity() } else { -points[i - 1] };
    }
    let random: Vec<Fr> = (0..len).map(|_| Fr::random(&mut rng)).collect();
    for scalars in [random, vec![-Fr::ONE; len], vec![Fr::ZERO; len], vec![Fr::ONE; len]] {
        assert_eq!(backend.msm_g2(&points, &scalars), Ok(msm_g2(&points, &scalars)), "G2, {len}");
    }
}

fn transforms_agree(backend: &IcicleBackend, log: u32) {
    let domain = Domain::new(log).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(log));
    let random = (0..domain.size()).map(|_| Fr::random(&mut rng)).collect();
    for values in
        [random, vec![Fr::ZERO; domain.size()], vec![Fr::ONE; domain.size()], vec![-Fr::ONE; domain.size()]]
    {
        let mut expected = values.clone();
        domain.shift_to_coset(&mut expected);
        assert_eq!(backend.shift_to_coset(&values), Ok(expected), "2^{log}");
    }
}

fn proofs_agree(backend: &Arc<IcicleBackend>, slots: usize) {
    let (key, matrices) = key_of(slots);
    let cpu = CpuBackend::new();
    let ours = backend.prepare(Arc::clone(&key), Arc::clone(&matrices)).unwrap();
    let theirs = cpu.prepare(Arc::clone(&key), Arc::clone(&matrices)).unwrap();
    for start in [0, 1, 77] {
        let witness = witness_of(slots, start);
        let (sums, timings) = backend.prove(ours, &witness, &Cancel::new()).unwrap();
        assert_eq!(sums, cpu.prove(theirs, &witness, &Cancel::new()).unwrap().0, "{slots} slots");
        assert!(timings.total >= timings.msm_h && !timings.msm_b2.is_zero());
    }
    backend.release(ours);
    let prover = Prover::new(Arc::clone(backend) as Arc<dyn Backend>, key, matrices).unwrap();
    prover.prove(&witness_of(slots, 5), &Cancel::new()).unwrap();
}
