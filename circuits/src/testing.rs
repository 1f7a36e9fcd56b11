//! Builders for tests: one that keeps every constraint and checks it, one of an adversary, and random numbers from a seed.

pub mod adversary;

use bellman::{Index, Variable};
use bn254::Fr;
use ff::Field;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use crate::r1cs::{Builder, Num, Site, Var};

pub fn random_fr(seed: u64, n: usize) -> Vec<Fr> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    (0..n).map(|_| Fr::random(&mut rng)).collect()
}

/// Evaluates each constraint, term by term, over the assigned variables as it is added.
#[derive(Default)]
pub struct Checker {
    values: Vec<Fr>,
    constraints: usize,
    violation: Option<usize>,
}

impl Checker {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn constraints(&self) -> usize {
        self.constraints
    }

    pub fn first_violation(&self) -> Option<usize> {
        self.violation
    }

    pub fn evaluate(&self, num: &Num) -> Fr {
        num.terms.iter().fold(num.constant, |sum, (variable, coefficient)| {
            let Index::Aux(i) = variable.get_unchecked() else { panic!("the checker has no inputs") };
            sum + self.values[i] * coefficient
        })
    }
}

impl Builder for Checker {
    fn alloc(&mut self, _site: Site, value: Fr) -> Var {
        let index = self.values.len();
        self.values.push(value);
        Var { value, variable: Some(Variable::new_unchecked(Index::Aux(index))) }
    }

    fn enforce(&mut self, _site: Site, constraint: impl FnOnce() -> [Num; 3]) {
        let [a, b, c] = constraint().map(|side| self.evaluate(&side));
        if self.violation.is_none() && a * b != c {
            self.violation = Some(self.constraints);
        }
        self.constraints += 1;
    }
}
