//! arkworks, without the assembly that needs flags of the compiler.

mod batch;

use ark_bn254::{Bn254, Fr, G1Projective, G2Projective};
use ark_ec::{CurveGroup, VariableBaseMSM};
use ark_ff::{Field, UniformRand};
use ark_groth16::{Groth16, prepare_verifying_key};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use ark_snark::SNARK;
use ark_std::rand::{SeedableRng, rngs::StdRng};
use eyre::{OptionExt, bail};

use crate::child::{Prover, Work};
use crate::dense;
use crate::size::Size;

/// Its setup takes too long above.
const LARGEST_PROOF: u32 = 16;

pub struct Arkworks;

impl Prover for Arkworks {
    fn version(&self) -> String {
        "0.6, parallel".to_owned()
    }

    fn prepare(&mut self, work: &str, size: Size) -> eyre::Result<Work> {
        let mut rng = StdRng::seed_from_u64(1);
        Ok(match (work, size) {
            ("msm-g1", Size::Log(log)) => msm::<G1Projective>(log, &mut rng),
            ("msm-g2", Size::Log(log)) => msm::<G2Projective>(log, &mut rng),
            ("ntt", Size::Log(log)) => {
                let domain = Radix2EvaluationDomain::<Fr>::new(1 << log).ok_or_eyre("a domain")?;
                let mut values: Vec<Fr> = (0..1 << log).map(|_| Fr::rand(&mut rng)).collect();
                Work::here(move || {
                    domain.fft_in_place(&mut values);
                    Ok(())
                })
            }
            ("prove", Size::Log(log @ 0..=LARGEST_PROOF)) => prove(log, &mut rng)?,
            ("batch", Size::Circuit(shape)) => batch::batch(shape)?,
            _ => bail!("does no {work} of this size"),
        })
    }
}

fn msm<G>(size: u32, rng: &mut StdRng) -> Work
where
    G: CurveGroup<ScalarField = Fr> + VariableBaseMSM<MulBase = <G as CurveGroup>::Affine>,
{
    let first = G::generator() * Fr::rand(rng);
    let mut next = first;
    let points: Vec<G> = (0..1 << size)
        .map(|_| {
            next += G::generator();
            next
        })
        .collect();
    let points = G::normalize_batch(&points);
    let scalars: Vec<Fr> = (0..1 << size).map(|_| Fr::rand(rng)).collect();
    Work::here(move || {
        std::hint::black_box(G::msm_unchecked(&points, &scalars));
        Ok(())
    })
}

#[derive(Clone)]
struct Chain {
    steps: usize,
    start: Fr,
}

impl ConstraintSynthesizer<Fr> for Chain {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let seven = Fr::from(7);
        let mut value = self.start;
        let mut x = cs.new_witness_variable(|| Ok(value))?;
        for step in 1..=self.steps {
            value = value.square() + seven;
            let next = if step == self.steps {
                cs.new_input_variable(|| Ok(value))?
            } else {
                cs.new_witness_variable(|| Ok(value))?
            };
            cs.enforce_r1cs_constraint(
                || LinearCombination::from(x),
                || LinearCombination::from(x),
                || LinearCombination::from(next) - (seven, Variable::One),
            )?;
            x = next;
        }
        Ok(())
    }
}

fn prove(size: u32, rng: &mut StdRng) -> eyre::Result<Work> {
    let steps = dense::steps(size);
    let start = Fr::from(3);
    let circuit = Chain { steps, start };
    let (key, vk) = Groth16::<Bn254>::circuit_specific_setup(circuit.clone(), rng)?;
    let end = (0..steps).fold(start, |x, _| x.square() + Fr::from(7));
    let proof = Groth16::<Bn254>::prove(&key, circuit.clone(), rng)?;
    if !Groth16::<Bn254>::verify_proof(&prepare_verifying_key(&vk), &proof, &[end])? {
        bail!("its proof does not verify");
    }
    let mut rng = StdRng::seed_from_u64(2);
    Ok(Work::here(move || {
        Groth16::<Bn254>::prove(&key, circuit.clone(), &mut rng)?;
        Ok(())
    }))
}
