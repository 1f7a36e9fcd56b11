//! Points laid out once for many sums.
//!
//! A point is a row of packed words (x, then y), 64 bytes in G1 and 128 in G2, in the Montgomery form of the kernels that will
//! read it. Rows are read in random order, so they lie in huge pages where the system gives them.

use rayon::prelude::*;

use crate::bit_order::bit_reversed;
use crate::isa::Isa;
use crate::pages::Pages;
use crate::raw::{as_bytes, as_bytes_mut};
use crate::simd::SimdCurve;

/// Rows that one task converts.
const CHUNK: usize = 1 << 12;

/// Points of one curve, ready for sums, and which scalar of a list each of them takes. Points at infinity are left out.
pub struct Bases<C> {
    rows: Pages<u64>,
    columns: Columns,
    /// Rows.
    count: usize,
    /// Scalars of a list.
    scalars: usize,
    isa: Isa,
    curve: std::marker::PhantomData<C>,
}

/// The scalar that a row takes.
pub(super) enum Columns {
    /// Row i takes the scalar so many places later.
    From(usize),
    /// Each its own.
    List(Vec<u32>),
}

impl<C: SimdCurve> Bases<C> {
    /// Point i takes scalar i. Copies and converts the points: a few nanoseconds each.
    ///
    /// # Panics
    /// From 2^31 points on (as everything that makes bases).
    pub fn new(points: &[C]) -> Self {
        Self::with_isa(points, Isa::detect())
    }

    /// As [`Bases::new`], for another instruction set than the best of this processor.
    ///
    /// # Panics
    /// Also when the instruction set is not available.
    pub fn with_isa(points: &[C], isa: Isa) -> Self {
        Self::arranged(points, isa, points.len(), |row| (row, row))
    }

    /// Point i takes scalar `first + i`.
    ///
    /// # Panics
    /// Also when there are fewer scalars.
    pub fn after(first: usize, points: &[C]) -> Self {
        Self::arranged(points, Isa::detect(), first + points.len(), |row| (row, first + row))
    }

    /// Point i takes scalar `columns[i]` of so many; columns that ascend make faster sums.
    ///
    /// # Panics
    /// Also when there is not one column per point or a column is out of range.
    pub fn of_columns(points: &[C], columns: &[u32], scalars: usize) -> Self {
        assert_eq!(points.len(), columns.len(), "one column per point");
        assert!(columns.iter().all(|column| (*column as usize) < scalars), "columns name scalars");
        Self::arranged(points, Isa::detect(), scalars, |row| (row, columns[row] as usize))
    }

    /// The point at the bit-reversed place of i takes scalar i.
    ///
    /// # Panics
    /// Also when the number of points is not a power of two.
    pub fn bit_reversed(points: &[C]) -> Self {
        let log = points.len().trailing_zeros();
        assert!(points.len().is_power_of_two(), "a power of two");
        Self::arranged(points, Isa::detect(), points.len(), |row| (bit_reversed(row, log), row))
    }

    /// Row i has point `order(i).0` and takes scalar `order(i).1`.
    fn arranged(
        points: &[C],
        isa: Isa,
        scalars: usize,
        order: impl Fn(usize) -> (usize, usize) + Sync,
    ) -> Self {
        assert!(points.len() < 1 << 31 && scalars < 1 << 31, "at most 2^31 points");
        isa.check();
        let places = 0..points.len();
        let is_finite = |place: usize| !bool::from(points[order(place).0].is_identity());
        let finite: Option<Vec<usize>> = (!places.clone().into_par_iter().all(is_finite))
            .then(|| places.clone().into_par_iter().filter(|place| is_finite(*place)).collect());
        let order = |row: usize| order(finite.as_ref().map_or(row, |finite| finite[row]));
        let count = finite.as_ref().map_or(points.len(), Vec::len);

        let first = if count > 0 { order(0).1 } else { 0 };
        let in_order = (0..count).into_par_iter().all(|row| order(row).1 == first + row);
        let columns = if in_order {
            Columns::From(first)
        } else {
            Columns::List((0..count).into_par_iter().map(|row| order(row).1 as u32).collect())
        };
        let mut rows = Pages::zeroed(count * C::ROW);
        rows.par_chunks_mut(CHUNK * C::ROW).enumerate().for_each(|(chunk, rows)| {
            for (row, words) in rows.chunks_exact_mut(C::ROW).enumerate() {
                let point = &points[order(chunk * CHUNK + row).0];
                as_bytes_mut(words).copy_from_slice(as_bytes(std::slice::from_ref(point)));
            }
            C::import_rows(isa, rows);
        });
        Self { rows, columns, count, scalars, isa, curve: std::marker::PhantomData }
    }

    /// Number of points, those at infinity not counted.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Scalars that a sum needs.
    pub fn scalars(&self) -> usize {
        self.scalars
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let columns = if let Columns::List(list) = &self.columns { 4 * list.len() } else { 0 };
        self.count * C::ROW * 8 + columns
    }

    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }
}

#[cfg(test)]
mod tests;
