//! Random constraint systems with values that satisfy them.

use bellman::{Circuit, ConstraintSystem, LinearCombination, SynthesisError, Variable};
use bn254::{Field, Fr};
use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

use crate::operands::Element;

/// log2 of the number of rows, at least and at most.
const LOGS: (u32, u32) = (4, 12);
/// Terms of a combination at most.
const MOST_TERMS: u32 = 4;

type Terms = Vec<(Fr, usize)>;

/// Every row defines one more variable by a product: A·B = ±new + rest.
pub struct Drawn {
    /// Values that no row defines: the first variables, after the constant one.
    free: Vec<Assigned>,
    rows: Vec<Row>,
}

struct Row {
    a: Terms,
    b: Terms,
    rest: Terms,
    /// Of the new variable in C, 1 or −1.
    sign: Fr,
    new: Assigned,
}

#[derive(Clone, Copy)]
struct Assigned {
    value: Fr,
    is_public: bool,
}

impl Drawn {
    pub fn new(rng: &mut ChaCha8Rng) -> Self {
        let log = LOGS.0 + rng.next_u32() % (LOGS.1 - LOGS.0 + 1);
        // Between this power of two and the one below it, since the inputs take rows too.
        let count = (1 << log) - rng.next_u32() as usize % (1 << (log - 1));
        let free = 1 + rng.next_u32() as usize % 8;
        // The first is public: without a public input there is nothing to change in one.
        let free: Vec<Assigned> = (0..free)
            .map(|i| Assigned { value: Fr::draw(rng), is_public: i == 0 || one_in(rng, 8) })
            .collect();
        // None: any. Few ones make rows that are alike.
        let few: Vec<Fr> = (0..rng.next_u32() % 4).map(|_| Fr::draw(rng)).collect();
        let terms = |rng: &mut ChaCha8Rng, variables, first| terms(rng, variables, first, &few);
        let mut values = vec![Fr::ONE];
        values.extend(free.iter().map(|variable| variable.value));
        let mut rows = Vec::with_capacity(count);
        for row in 0..count {
            // Every free variable occurs somewhere.
            let first = (row < free.len()).then_some(row + 1);
            let (a, b) = (terms(rng, values.len(), first), terms(rng, values.len(), None));
            let rest = if one_in(rng, 3) { terms(rng, values.len(), None) } else { Terms::new() };
            let sign = if one_in(rng, 2) { Fr::ONE } else { -Fr::ONE };
            let value = sign * (value_of(&a, &values) * value_of(&b, &values) - value_of(&rest, &values));
            values.push(value);
            rows.push(Row { a, b, rest, sign, new: Assigned { value, is_public: one_in(rng, 64) } });
        }
        Self { free, rows }
    }
}

fn one_in(rng: &mut ChaCha8Rng, of: u32) -> bool {
    rng.next_u32().is_multiple_of(of)
}

/// A combination of some of the variables, each at most once; with `first`, if it is given, among them. The coefficients are some of
/// the few, if there are any.
fn terms(rng: &mut ChaCha8Rng, variables: usize, first: Option<usize>, few: &[Fr]) -> Terms {
    let mut terms: Terms = first.map(|first| (Fr::ONE, first)).into_iter().collect();
    for _ in 0..rng.next_u32() % (MOST_TERMS + 1) {
        // Mostly one of the latest, so that the values depend on many rows.
        let near = one_in(rng, 2);
        let back = rng.next_u32() as usize % if near { variables.min(8) } else { variables };
        let column = variables - 1 - back;
        if terms.iter().all(|term| term.1 != column) {
            let coefficient =
                if few.is_empty() { Fr::draw(rng) } else { few[rng.next_u32() as usize % few.len()] };
            terms.push((coefficient, column));
        }
    }
    terms
}

fn value_of(terms: &Terms, values: &[Fr]) -> Fr {
    terms.iter().map(|(coefficient, column)| *coefficient * values[*column]).sum()
}

impl Circuit<Fr> for &Drawn {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let alloc = |cs: &mut CS, variable: Assigned| {
            let value = || Ok(variable.value);
            if variable.is_public {
                cs.alloc_input(|| "public", value)
            } else {
                cs.alloc(|| "private", value)
            }
        };
        let mut variables = vec![CS::one()];
        for variable in &self.free {
            variables.push(alloc(cs, *variable)?);
        }
        for row in &self.rows {
            let new = alloc(cs, row.new)?;
            cs.enforce(
                || "row",
                |lc| combined(lc, &row.a, &variables),
                |lc| combined(lc, &row.b, &variables),
                |lc| combined(lc, &row.rest, &variables) + (row.sign, new),
            );
            variables.push(new);
        }
        Ok(())
    }
}

fn combined(lc: LinearCombination<Fr>, terms: &Terms, variables: &[Variable]) -> LinearCombination<Fr> {
    terms.iter().fold(lc, |lc, (coefficient, column)| lc + (*coefficient, variables[*column]))
}
