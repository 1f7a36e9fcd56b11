//! The assignment of all variables of a circuit.

use bellman::{Circuit, SynthesisError};
use bn254::Fr;

use crate::witness_cs::WitnessCs;

/// Values of the public inputs (constant one first) and of the private variables.
///
/// Secret: the `Debug` form shows sizes only.
#[derive(Clone, PartialEq, Eq)]
pub struct Witness {
    inputs: usize,
    values: Vec<Fr>,
}

impl Witness {
    /// A witness of `inputs` (the constant one first) and private values.
    pub fn new(mut inputs: Vec<Fr>, aux: Vec<Fr>) -> Self {
        let count = inputs.len();
        inputs.extend(aux);
        Self { inputs: count, values: inputs }
    }

    /// A witness whose first `inputs` values are the public inputs, the constant one first. Takes the values as they are:
    /// a large witness is not copied.
    ///
    /// # Panics
    /// When there are fewer values.
    pub fn from_values(inputs: usize, values: Vec<Fr>) -> Self {
        assert!(inputs <= values.len(), "at least the public inputs");
        Self { inputs, values }
    }

    /// The public inputs with the constant one.
    pub fn inputs(&self) -> &[Fr] {
        &self.values[..self.inputs]
    }

    /// The public inputs as a verifier takes them: without the constant one.
    pub fn public_inputs(&self) -> &[Fr] {
        self.inputs().get(1..).unwrap_or_default()
    }

    /// The private values.
    pub fn aux(&self) -> &[Fr] {
        &self.values[self.inputs..]
    }

    /// Inputs, then private values: the vector z of the constraint system.
    pub fn values(&self) -> &[Fr] {
        &self.values
    }
}

impl From<WitnessCs> for Witness {
    fn from(cs: WitnessCs) -> Self {
        let (inputs, aux) = cs.into_parts();
        Self::new(inputs, aux)
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Witness({} inputs, {} private values)", self.inputs, self.values.len() - self.inputs)
    }
}

/// Runs a circuit for its values only.
///
/// # Errors
/// Whatever the circuit returns, such as [`SynthesisError::AssignmentMissing`].
pub fn synthesize_witness<C: Circuit<Fr>>(circuit: C) -> Result<Witness, SynthesisError> {
    WitnessCs::synthesize(circuit).map(Witness::from)
}
