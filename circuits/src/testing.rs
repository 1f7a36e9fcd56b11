//! Builders for tests: one that keeps every constraint and checks it, and random numbers from a seed.

use bellman::{Index, Variable};
use bn254::Fr;
use ff::Field;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use crate::r1cs::{Builder, Num, Var};

pub fn random_fr(seed: u64, n: usize) -> Vec<Fr> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    (0..n).map(|_| Fr::random(&mut rng)).collect()
}

/// Evaluates each constraint over the assigned variables as it is added.
#[derive(Default)]
pub struct Checker {
    values: Vec<Fr>,
    /// Which variables are prover-chosen.
    hints: Vec<usize>,
    constraints: usize,
    violation: Option<usize>,
    /// Adds to the value of one variable.
    tamper: Option<(usize, Fr)>,
}

impl Checker {
    pub fn new() -> Self {
        Self::default()
    }

    /// A checker in which the prover adds `delta` to variable number `index` and goes on honestly from there.
    pub fn tampering(index: usize, delta: Fr) -> Self {
        Self { tamper: Some((index, delta)), ..Self::default() }
    }

    pub fn constraints(&self) -> usize {
        self.constraints
    }

    pub fn value(&self, variable: usize) -> Fr {
        self.values[variable]
    }

    pub fn hints(&self) -> &[usize] {
        &self.hints
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
    fn alloc(&mut self, value: Fr) -> Var {
        let index = self.values.len();
        self.values.push(value);
        Var { value, variable: Some(Variable::new_unchecked(Index::Aux(index))) }
    }

    fn hint(&mut self, value: Fr) -> Var {
        let index = self.values.len();
        self.hints.push(index);
        match self.tamper {
            Some((target, delta)) if target == index => self.alloc(value + delta),
            _ => self.alloc(value),
        }
    }

    fn enforce(&mut self, constraint: impl FnOnce() -> [Num; 3]) {
        let sides = constraint();
        let [a, b, c] = match self.tamper {
            // With honest values the linear combinations themselves are under test; with a tampered one speed counts.
            None => sides.map(|side| self.evaluate(&side)),
            Some(_) => sides.map(|side| side.value),
        };
        if self.violation.is_none() && a * b != c {
            self.violation = Some(self.constraints);
        }
        self.constraints += 1;
    }
}
