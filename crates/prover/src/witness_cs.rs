//! Witness-only synthesis: run a bellman circuit for its values and skip its constraints.
//!
//! A circuit is turned into matrices once; every later proof needs only the assignment. [`WitnessCs`] records what
//! `alloc` and `alloc_input` compute, in the order in which they are called, and drops every `enforce` without running
//! its closures. Invariant: the assignment equals that of a full synthesis, since bellman gives a circuit no way to see
//! what a constraint did.

use bellman::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use bn254::{Field, Fr};

/// A bellman constraint system that keeps values only.
///
/// `inputs[0]` is the constant one, as in every bellman constraint system.
#[derive(Clone, Debug)]
pub struct WitnessCs {
    inputs: Vec<Fr>,
    aux: Vec<Fr>,
}

impl Default for WitnessCs {
    fn default() -> Self {
        Self::new()
    }
}

impl WitnessCs {
    /// An empty assignment: the input ONE and nothing else.
    pub fn new() -> Self {
        Self::with_capacity(0, 0)
    }

    /// As [`WitnessCs::new`], with room for `inputs` public inputs (ONE not counted) and `aux` private variables.
    pub fn with_capacity(inputs: usize, aux: usize) -> Self {
        let mut all_inputs = Vec::with_capacity(inputs + 1);
        all_inputs.push(Fr::ONE);
        Self { inputs: all_inputs, aux: Vec::with_capacity(aux) }
    }

    /// Runs `circuit` and returns its assignment.
    ///
    /// # Errors
    /// Whatever the circuit itself returns, such as [`SynthesisError::AssignmentMissing`].
    pub fn synthesize<C: Circuit<Fr>>(circuit: C) -> Result<Self, SynthesisError> {
        let mut cs = Self::new();
        circuit.synthesize(&mut cs)?;
        Ok(cs)
    }

    /// The public inputs, ONE first.
    pub fn inputs(&self) -> &[Fr] {
        &self.inputs
    }

    /// The private variables in the order of their allocation.
    pub fn aux(&self) -> &[Fr] {
        &self.aux
    }

    /// The value of a variable of this system, or `None` when it was never allocated here.
    pub fn value(&self, variable: Variable) -> Option<Fr> {
        match variable.get_unchecked() {
            Index::Input(i) => self.inputs.get(i).copied(),
            Index::Aux(i) => self.aux.get(i).copied(),
        }
    }

    /// `(inputs with ONE first, aux)`.
    pub fn into_parts(self) -> (Vec<Fr>, Vec<Fr>) {
        (self.inputs, self.aux)
    }

    /// Appends the private variables of `other`, a part of the same circuit that was synthesised on its own.
    ///
    /// This is how independent parts of a witness are made in parallel and put together in circuit order. Variables
    /// of `other` are meaningless afterwards, and its public inputs (ONE included) are dropped.
    pub fn append_aux(&mut self, other: Self) {
        self.aux.extend(other.aux);
    }
}

impl ConstraintSystem<Fr> for WitnessCs {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _: A, f: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Fr, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.aux.push(f()?);
        Ok(Variable::new_unchecked(Index::Aux(self.aux.len() - 1)))
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, f: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Fr, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.inputs.push(f()?);
        Ok(Variable::new_unchecked(Index::Input(self.inputs.len() - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, _: LA, _: LB, _: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
        LB: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
        LC: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
    {
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cube {
        root: Option<Fr>,
    }

    impl Circuit<Fr> for Cube {
        fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
            let value = self.root.ok_or(SynthesisError::AssignmentMissing);
            let x = cs.alloc(|| "x", || self.root.ok_or(SynthesisError::AssignmentMissing))?;
            let mut ns = cs.namespace(|| "square");
            let square =
                ns.alloc(|| "x2", || self.root.map(|x| x * x).ok_or(SynthesisError::AssignmentMissing))?;
            ns.enforce(|| "x*x", |lc| lc + x, |lc| lc + x, |lc| lc + square);
            drop(ns);
            let cube = cs.alloc_input(|| "x3", || value.map(|x| x * x * x))?;
            cs.enforce(|| "closures are not run", |_| panic!("ran"), |lc| lc + x, |lc| lc + cube);
            Ok(())
        }
    }

    #[test]
    fn values_are_kept_in_allocation_order_with_one_first() {
        let x = Fr::from(5);
        let cs = WitnessCs::synthesize(Cube { root: Some(x) }).unwrap();
        assert_eq!(cs.inputs(), &[Fr::ONE, Fr::from(125)]);
        assert_eq!(cs.aux(), &[x, Fr::from(25)]);
        assert_eq!(cs.value(WitnessCs::one()), Some(Fr::ONE));
        assert_eq!(cs.value(Variable::new_unchecked(Index::Aux(2))), None);
        assert_eq!(cs.into_parts(), (vec![Fr::ONE, Fr::from(125)], vec![x, Fr::from(25)]));
    }

    #[test]
    fn a_missing_assignment_is_an_error_not_a_zero() {
        let missing = WitnessCs::synthesize(Cube { root: None });
        assert!(matches!(missing, Err(SynthesisError::AssignmentMissing)));
    }
}
