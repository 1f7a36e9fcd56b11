//! The bellman constraint system that records constraints as sparse rows.

use std::collections::HashMap;
use std::sync::OnceLock;

use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use bn254::{Field, Fr, PrimeField};

use super::{Matrices, SparseMatrix};

/// Marks a private variable while the number of inputs is not known yet; such columns sort behind all inputs.
const AUX_FLAG: u32 = 1 << 31;

/// Every coefficient once.
struct CoefficientTable {
    values: Vec<Fr>,
    /// By the limbs. The coefficients of a file are a stranger's choice: with a hash that can be computed beforehand, a file of
    /// coefficients that collide takes a time that grows with its square, so it is the keyed one of the standard library.
    indices: HashMap<[u64; 4], u32>,
}

impl CoefficientTable {
    fn new() -> Self {
        let mut table = Self { values: Vec::new(), indices: HashMap::default() };
        table.index_of(Fr::ONE);
        table.index_of(-Fr::ONE);
        table
    }

    fn index_of(&mut self, value: Fr) -> u32 {
        *self.indices.entry(value.0).or_insert_with(|| {
            self.values.push(value);
            self.values.len() as u32 - 1
        })
    }
}

pub(super) struct MatrixBuilder {
    inputs: u32,
    aux: u32,
    a: SparseMatrix,
    b: SparseMatrix,
    c: SparseMatrix,
    table: CoefficientTable,
    terms: Vec<(u32, Fr)>,
    too_large: bool,
}

impl MatrixBuilder {
    pub(super) fn new() -> Self {
        Self {
            inputs: 1,
            aux: 0,
            a: SparseMatrix::default(),
            b: SparseMatrix::default(),
            c: SparseMatrix::default(),
            table: CoefficientTable::new(),
            terms: Vec::new(),
            too_large: false,
        }
    }

    pub(super) fn finish(mut self) -> Result<Matrices, SynthesisError> {
        let inputs = self.inputs;
        let rows = self.a.row_ends.len() + inputs as usize;
        if self.too_large || rows > 1 << (Fr::S - 1) {
            return Err(SynthesisError::PolynomialDegreeTooLarge);
        }
        for matrix in [&mut self.a, &mut self.b, &mut self.c] {
            for column in &mut matrix.columns {
                if *column & AUX_FLAG != 0 {
                    *column = (*column & !AUX_FLAG) + inputs;
                }
            }
            matrix.columns.shrink_to_fit();
            matrix.coefficients.shrink_to_fit();
            matrix.row_ends.shrink_to_fit();
        }
        Ok(Matrices {
            inputs: inputs as usize,
            aux: self.aux as usize,
            a: self.a,
            b: self.b,
            c: self.c,
            c_known: true,
            table: self.table.values,
            digest: OnceLock::new(),
        })
    }

    fn take_number(counter: &mut u32, other: u32) -> Result<usize, SynthesisError> {
        // Columns are numbered in u32 and the top bit marks private variables, so both kinds together stay below 2^31.
        if *counter + other >= AUX_FLAG - 1 {
            return Err(SynthesisError::PolynomialDegreeTooLarge);
        }
        *counter += 1;
        Ok(*counter as usize - 1)
    }
}

/// Appends a linear combination as a row.
fn push_row(
    matrix: &mut SparseMatrix,
    table: &mut CoefficientTable,
    terms: &mut Vec<(u32, Fr)>,
    combination: &LinearCombination<Fr>,
) {
    terms.clear();
    terms.extend(combination.as_ref().iter().map(|(variable, coefficient)| {
        let column = match variable.get_unchecked() {
            Index::Input(i) => i as u32,
            Index::Aux(i) => i as u32 | AUX_FLAG,
        };
        (column, *coefficient)
    }));
    push_terms(matrix, table, terms);
}

/// Appends terms as a row: merged, without zeros, columns ascending.
fn push_terms(matrix: &mut SparseMatrix, table: &mut CoefficientTable, terms: &mut Vec<(u32, Fr)>) {
    if !terms.is_sorted_by(|first, second| first.0 < second.0) {
        terms.sort_unstable_by_key(|(column, _)| *column);
        terms.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
    }
    for (column, coefficient) in terms.iter().filter(|(_, coefficient)| *coefficient != Fr::ZERO) {
        matrix.columns.push(*column);
        matrix.coefficients.push(table.index_of(*coefficient));
    }
    matrix.row_ends.push(matrix.columns.len() as u64);
}

/// Makes matrices row by row, for constraints that come from elsewhere than a circuit.
pub struct RowBuilder {
    inputs: usize,
    aux: usize,
    sides: [SparseMatrix; 3],
    table: CoefficientTable,
}

impl RowBuilder {
    /// For so many inputs (the constant one among them) and private variables; `None` when these are too many or none.
    pub fn new(inputs: u32, aux: u32) -> Option<Self> {
        let fits = inputs > 0 && inputs.checked_add(aux)? < AUX_FLAG;
        fits.then(|| Self {
            inputs: inputs as usize,
            aux: aux as usize,
            sides: Default::default(),
            table: CoefficientTable::new(),
        })
    }

    /// Appends a row to A (side 0), B (1) or C (2). Terms may come in any order and repeat; they are sorted in place.
    ///
    /// # Panics
    /// For another side.
    pub fn push(&mut self, side: usize, terms: &mut Vec<(u32, Fr)>) {
        debug_assert!(terms.iter().all(|term| (term.0 as usize) < self.inputs + self.aux));
        push_terms(&mut self.sides[side], &mut self.table, terms);
    }

    /// The matrices, if all three have as many rows, and not more than there can be.
    pub fn finish(self) -> Option<Matrices> {
        self.build(true)
    }

    /// As [`RowBuilder::finish`] where only A and B are known.
    pub fn finish_without_c(mut self) -> Option<Matrices> {
        self.sides[2] =
            SparseMatrix { row_ends: vec![0; self.sides[0].row_count()], ..SparseMatrix::default() };
        self.build(false)
    }

    fn build(self, c_known: bool) -> Option<Matrices> {
        let [a, b, c] = self.sides;
        let rows = a.row_count();
        let fits = b.row_count() == rows && c.row_count() == rows && rows + self.inputs <= 1 << (Fr::S - 1);
        fits.then(|| Matrices {
            inputs: self.inputs,
            aux: self.aux,
            a,
            b,
            c,
            c_known,
            table: self.table.values,
            digest: OnceLock::new(),
        })
    }
}

impl ConstraintSystem<Fr> for MatrixBuilder {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Fr, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let number = Self::take_number(&mut self.aux, self.inputs)?;
        Ok(Variable::new_unchecked(Index::Aux(number)))
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Fr, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let number = Self::take_number(&mut self.inputs, self.aux)?;
        Ok(Variable::new_unchecked(Index::Input(number)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
        LB: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
        LC: FnOnce(LinearCombination<Fr>) -> LinearCombination<Fr>,
    {
        if self.a.row_ends.len() >= 1 << (Fr::S - 1) {
            self.too_large = true;
            return;
        }
        let (table, terms) = (&mut self.table, &mut self.terms);
        push_row(&mut self.a, table, terms, &a(LinearCombination::zero()));
        push_row(&mut self.b, table, terms, &b(LinearCombination::zero()));
        push_row(&mut self.c, table, terms, &c(LinearCombination::zero()));
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
