//! Proofs of random circuits: made and verified here, verified by arkworks, and refused for another public input by both.
//!
//! Circuit, witness and key are drawn from the seed; the blinding is the operating system's, as always.

use std::sync::Arc;

use ark_bn254::Bn254;
use ark_groth16::{Groth16, prepare_verifying_key};
use bn254::ntt::Generator;
use bn254::{Field, Fr};
use proofmill_benches::ark;
use prover::{
    Cancel, CpuBackend, DevTrapdoor, Key, Matrices, NoProgress, Prover, generate_for, synthesize_witness,
    verify,
};
use rand_core::RngCore;
use rayon::ThreadPoolBuilder;

use crate::circuit::Drawn;
use crate::operands;

/// Threads of each proof: more than one, so that they take shares from each other, and few, since there are as many proofs at a
/// time as cores.
const THREADS: usize = 2;

/// # Errors
/// What is wrong, or could not be done.
pub fn check(seed: u64, number: u64) -> Result<(), String> {
    let pool = ThreadPoolBuilder::new().num_threads(THREADS).build().map_err(|error| error.to_string())?;
    pool.install(|| prove(seed, number)).map_err(|error| format!("{error:#}"))
}

fn prove(seed: u64, number: u64) -> eyre::Result<()> {
    let rng = &mut operands::rng(seed, number);
    let circuit = Drawn::new(rng);
    let (matrices, witness) = (Matrices::synthesize(&circuit)?, synthesize_witness(&circuit)?);
    if let Err(row) = matrices.is_satisfied(&witness) {
        eyre::bail!("the witness does not satisfy row {row}");
    }
    let generator = if rng.next_u32().is_multiple_of(2) { Generator::Five } else { Generator::Seven };
    let trapdoor = DevTrapdoor::from_seed(&format!("soak {seed} {number}"));
    let parts = generate_for(generator, &matrices, &trapdoor, &NoProgress)?;
    let key = Arc::new(Key::from_parts(&parts)?);
    let prover = Prover::new(Arc::new(CpuBackend::new()), key, Arc::new(matrices))?;
    let proof = prover.prove(&witness, &Cancel::new())?.proof;

    let public = witness.public_inputs();
    let mut other = public.to_vec();
    let changed = rng.next_u32() as usize % other.len();
    other[changed] += if rng.next_u32().is_multiple_of(2) { Fr::ONE } else { Fr::random(rng) };
    let of_arkworks = prepare_verifying_key(&ark::verifying_key(&parts.vk));
    for (inputs, holds) in [(public, true), (&other[..], false)] {
        if verify(prover.verifying_key(), &proof, inputs).is_ok() != holds {
            eyre::bail!("our verifier should say {holds} for the inputs {inputs:?}");
        }
        let theirs: Vec<_> = inputs.iter().map(ark::fr).collect();
        if Groth16::<Bn254>::verify_proof(&of_arkworks, &ark::proof(&proof), &theirs)? != holds {
            eyre::bail!("arkworks should say {holds} for the inputs {inputs:?}");
        }
    }
    Ok(())
}
