//! Prints the size of every circuit, one JSON object a line.
//!
//! ```sh
//! cargo run --release -p proofmill-circuits --example sizes            # all six
//! cargo run --release -p proofmill-circuits --example sizes -- s3m1    # some
//! ```
//! `domain_log2` is that of the rows of Groth16: the constraints and one implied row for each public input and the
//! constant one. `constraints_per_payment` is the share of a slot when every slot is used, mints and frame included.

use bellman::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use bn254::Fr;
use circuits::{
    batch::{Prepared, carried_level, gadget::BatchCircuit},
    shape::Shape,
    tree::DEPTH,
};

/// Counts and forgets.
struct Counter {
    inputs: usize,
    private: usize,
    constraints: usize,
}

impl ConstraintSystem<Fr> for Counter {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Fr, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.private += 1;
        Ok(Variable::new_unchecked(Index::Aux(self.private - 1)))
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Fr, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.inputs += 1;
        Ok(Variable::new_unchecked(Index::Input(self.inputs - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, _: LA, _: LB, _: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
        LB: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
        LC: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
    {
        self.constraints += 1;
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut shapes: Vec<Shape> =
        std::env::args().skip(1).map(|name| name.parse()).collect::<Result<_, _>>()?;
    if shapes.is_empty() {
        shapes = Shape::ALL.to_vec();
    }
    for shape in shapes {
        // The constant one is the first input.
        let mut size = Counter { inputs: 1, private: 0, constraints: 0 };
        BatchCircuit(&Prepared::blank(shape)).synthesize(&mut size)?;
        let rows = size.constraints + size.inputs;
        let line = serde_json::json!({
            "circuit": shape.name(),
            "number": shape.number(),
            "slots": shape.slots(),
            "mint_places": shape.mint_places(),
            "forced_slots": shape.forced_slots(),
            "subtree_levels": shape.subtree_levels(),
            "carried_levels": DEPTH - carried_level(shape),
            "public_inputs": size.inputs - 1,
            "private_variables": size.private,
            "constraints": size.constraints,
            "constraints_per_payment": size.constraints.div_ceil(shape.slots()),
            "domain_log2": rows.next_power_of_two().ilog2(),
        });
        println!("{line}");
    }
    Ok(())
}
