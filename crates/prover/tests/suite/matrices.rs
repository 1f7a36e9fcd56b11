//! The constraint system as matrices, its digest, and witnesses.

use crate::common::{Chain, Mixed, witness_of};
use bellman::gadgets::test::TestConstraintSystem;
use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::{Field, Fr};
use proptest::prelude::*;
use prover::{Matrices, Witness, WitnessCs};

#[test]
fn equal_variables_are_merged_and_zeros_dropped() {
    struct Repeats;
    impl Circuit<Fr> for Repeats {
        fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
            let x = cs.alloc(|| "x", || Ok(Fr::ONE))?;
            let y = cs.alloc_input(|| "y", || Ok(Fr::ONE))?;
            cs.enforce(
                || "row",
                |lc| lc + x + y + x + CS::one() - y + (Fr::from(5), x),
                |lc| lc + (Fr::ZERO, x) + y,
                |lc| lc + x - x,
            );
            Ok(())
        }
    }
    let matrices = Matrices::synthesize(Repeats).unwrap();
    let table = matrices.coefficient_table();
    let row = |matrix: &prover::matrices::SparseMatrix| {
        let (columns, coefficients) = matrix.row(0);
        columns.iter().zip(coefficients).map(|(c, i)| (*c, table[*i as usize])).collect::<Vec<_>>()
    };
    // Columns: one, y, x.
    assert_eq!(row(matrices.a()), [(0, Fr::ONE), (2, Fr::from(7))]);
    assert_eq!(row(matrices.b()), [(1, Fr::ONE)]);
    assert_eq!(row(matrices.c()), []);
    assert_eq!((matrices.inputs(), matrices.aux(), matrices.constraints(), matrices.rows()), (2, 1, 1, 3));
}

#[test]
fn the_digest_is_the_one_of_the_documented_format() {
    // Computed with Python from the documentation of `prover::matrices`:
    //   h = lambda *p: hashlib.blake2b(b"".join(p), digest_size=32).digest()
    //   m = lambda rows: h(b"proofmill.matrix.v1", *[struct.pack("<I", len(r)) + b"".join(
    //       struct.pack("<I", c) + v.to_bytes(32, "little") for c, v in r) for r in rows])
    //   h(b"proofmill.r1cs.v1", struct.pack("<QQQ", 2, 2, 2), m([[(2, 1)], [(3, 1)]]),
    //     m([[(2, 1)], [(3, 1)]]), m([[(0, r - 7), (3, 1)], [(0, r - 7), (1, 1)]])).hex()
    let matrices = Matrices::synthesize(Chain::shape(2)).unwrap();
    let hex: String = matrices.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "94e4f42fc17dc49a551988925a6aae3a548aa1ad90ccee3f6cdbc14e2411a94d");
}

#[test]
fn the_digest_changes_with_any_coefficient_and_with_nothing_else() {
    let digest = |circuit: Mixed| Matrices::synthesize(circuit).unwrap().digest();
    assert_eq!(digest(Mixed::shape()), digest(Mixed::new(5)));
    assert_ne!(digest(Mixed::shape()), digest(Mixed { tweak: 1, ..Mixed::shape() }));
    assert_ne!(
        Matrices::synthesize(Chain::shape(8)).unwrap().digest(),
        Matrices::synthesize(Chain::shape(9)).unwrap().digest()
    );
}

#[test]
fn witness_only_synthesis_equals_full_synthesis() {
    let mut full = TestConstraintSystem::<Fr>::new();
    Chain::new(6, 11).synthesize(&mut ScopedNames { inner: &mut full, count: 0 }).unwrap();
    let witness = WitnessCs::synthesize(Chain::new(6, 11)).unwrap();
    assert!(full.is_satisfied());
    for (i, value) in witness.aux().iter().enumerate() {
        assert_eq!(full.get(&format!("{}", i)), *value);
    }
    assert!(full.verify(&witness.inputs()[1..]));
}

/// Gives every variable and constraint of a circuit a name of its own: private variables are numbered.
struct ScopedNames<'a> {
    inner: &'a mut TestConstraintSystem<Fr>,
    count: usize,
}

impl ConstraintSystem<Fr> for ScopedNames<'_> {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _: A, f: F) -> Result<bellman::Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Fr, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.count += 1;
        self.inner.alloc(|| format!("{}", self.count - 1), f)
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, f: F) -> Result<bellman::Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Fr, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.inner.alloc_input(|| format!("input after {}", self.count), f)
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(bellman::LinearCombination<Fr>) -> bellman::LinearCombination<Fr>,
        LB: FnOnce(bellman::LinearCombination<Fr>) -> bellman::LinearCombination<Fr>,
        LC: FnOnce(bellman::LinearCombination<Fr>) -> bellman::LinearCombination<Fr>,
    {
        let number = self.inner.num_constraints();
        self.inner.enforce(|| format!("row {number}"), a, b, c);
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

#[test]
fn a_satisfied_witness_passes_and_one_of_another_shape_does_not() {
    let matrices = Matrices::synthesize(Mixed::shape()).unwrap();
    assert_eq!(matrices.is_satisfied(&witness_of(Mixed::new(77))), Ok(()));
    assert_eq!(matrices.is_satisfied(&witness_of(Chain::new(5, 2))), Err(0));
    assert_eq!(matrices.is_satisfied(&Witness::new(vec![], vec![])), Err(0));
}

proptest! {
    #[test]
    fn a_witness_wrong_in_one_place_breaks_the_constraint_that_uses_it(step in 0_usize..40, by in 1_u64..) {
        let matrices = Matrices::synthesize(Chain::shape(40)).unwrap();
        let good = witness_of(Chain::new(40, 9));
        let mut aux = good.aux().to_vec();
        aux[step] += Fr::from(by);
        let bad = Witness::new(good.inputs().to_vec(), aux);
        // Variable `step` is the result of row step - 1 and the operand of row step.
        prop_assert_eq!(matrices.is_satisfied(&bad), Err(step.saturating_sub(1)));
    }
}
