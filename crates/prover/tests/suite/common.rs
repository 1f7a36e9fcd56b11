//! Circuits that the tests prove.

use std::sync::Arc;

use bellman::{Circuit, ConstraintSystem, LinearCombination, SynthesisError, Variable};
use bn254::{Field, Fr};
use prover::{
    CpuBackend, DevTrapdoor, Key, KeyParts, Matrices, NoProgress, Prover, Witness, generate,
    synthesize_witness,
};

/// `steps` times x -> x^2 + 7, the result public: every variable is a full field element in A, B and C.
#[derive(Clone, Copy)]
pub struct Chain {
    pub steps: usize,
    pub start: Option<Fr>,
}

impl Chain {
    pub fn new(steps: usize, start: u64) -> Self {
        Self { steps, start: Some(Fr::from(start)) }
    }

    pub fn shape(steps: usize) -> Self {
        Self { steps, start: None }
    }
}

impl Circuit<Fr> for Chain {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut value = self.start;
        let missing = SynthesisError::AssignmentMissing;
        let mut x = cs.alloc(|| "start", || value.ok_or(missing))?;
        for step in 0..self.steps {
            value = value.map(|x| x.square() + Fr::from(7));
            let assigned = || value.ok_or(SynthesisError::AssignmentMissing);
            let next = if step + 1 == self.steps {
                cs.alloc_input(|| "end", assigned)?
            } else {
                cs.alloc(|| "next", assigned)?
            };
            cs.enforce(|| "step", |lc| lc + x, |lc| lc + x, |lc| lc + next - (Fr::from(7), CS::one()));
            x = next;
        }
        Ok(())
    }
}

/// A circuit with what real ones have: bits, variables that A or B never see, repeated variables in one combination,
/// inputs between private variables, empty sides, several public inputs.
#[derive(Clone, Copy)]
pub struct Mixed {
    pub number: Option<u64>,
    /// Added to the coefficient of one term, to make another circuit.
    pub tweak: u64,
}

impl Mixed {
    pub fn new(number: u64) -> Self {
        Self { number: Some(number), tweak: 0 }
    }

    pub fn shape() -> Self {
        Self { number: None, tweak: 0 }
    }
}

impl Circuit<Fr> for Mixed {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let value = |f: &dyn Fn(u64) -> Fr| self.number.map(f).ok_or(SynthesisError::AssignmentMissing);
        let mut bits: Vec<Variable> = Vec::new();
        let mut sum = LinearCombination::zero();
        for i in 0..64 {
            let bit =
                cs.namespace(|| format!("bit {i}")).alloc(|| "bit", || value(&|n| Fr::from((n >> i) & 1)))?;
            cs.enforce(|| "boolean", |lc| lc + bit, |lc| lc + CS::one() - bit, |lc| lc);
            // Two halves of the same term: they must be merged.
            let half = Fr::from(1 << i) * Fr::from(2).invert().unwrap();
            sum = sum + (half, bit) + (half, bit);
            bits.push(bit);
        }
        let number = cs.alloc_input(|| "number", || value(&Fr::from))?;
        cs.enforce(|| "sum of bits", |_| sum, |lc| lc + CS::one(), |lc| lc + number);
        let square = cs.alloc(|| "square", || value(&|n| Fr::from(n).square()))?;
        cs.enforce(|| "square", |lc| lc + number, |lc| lc + number, |lc| lc + square);
        let cube =
            cs.alloc_input(|| "cube", || value(&|n| Fr::from(n).square() * Fr::from(n + 2 * (n & 1))))?;
        cs.enforce(
            || "cube and more",
            |lc| lc + square,
            |lc| lc + number + bits[0] + (Fr::from(1 + self.tweak), bits[0]),
            |lc| lc + cube,
        );
        Ok(())
    }
}

pub fn key_of<C: Circuit<Fr>>(shape: C) -> (Arc<Matrices>, KeyParts) {
    let matrices = Matrices::synthesize(shape).unwrap();
    let parts = generate(&matrices, &DevTrapdoor::from_seed("tests"), &NoProgress).unwrap();
    (Arc::new(matrices), parts)
}

pub fn prover_of<C: Circuit<Fr>>(shape: C) -> Prover {
    let (matrices, parts) = key_of(shape);
    let key = Arc::new(Key::from_parts(&parts).unwrap());
    Prover::new(Arc::new(CpuBackend::new()), key, matrices).unwrap()
}

pub fn witness_of<C: Circuit<Fr>>(circuit: C) -> Witness {
    synthesize_witness(circuit).unwrap()
}
