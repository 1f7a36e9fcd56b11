//! Many multiples of one point: window tables and batched affine additions, for key generation.
//!
//! | module | purpose |
//! |---|---|
//! | `odd` | scalars as odd signed digits |
//! | `tables` | the odd multiples of the point at every place |
//!
//! A scalar has one digit at every place and a table has a row for every digit, so a multiple costs one addition per place. The
//! multiples of a chunk are made side by side: at each place one batch adds the row of its digit to every sum, on the kernels of
//! [`crate::simd`].
//!
//! Invariant: the result is scalar·base, whatever the instruction set, the number of threads and the width of the digits. Running time and
//! memory access depend on the scalars: nothing here is constant-time.

mod odd;
mod tables;

use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use crate::isa::Isa;
use crate::parallel::for_each_dynamic;
use crate::raw;
use crate::simd::SimdCurve;
use crate::simd::affine::{Points, Scratch, vectors};
use crate::simd::kernels::{Kernels, Round};
use crate::{Fr, G1Affine, G2Affine, dispatch};
use tables::Tables;

/// Bytes of packed rows that are added to in one batch, so that the sums and what the batch keeps stay in a second-level cache.
const CHUNK_BYTES: usize = 1 << 17;
/// Smaller batches pay more for their inversion than other threads that have nothing to do are worth.
const LEAST: usize = 256;
/// Chunks that every thread should find.
const CHUNKS_PER_THREAD: usize = 4;

/// A curve with fixed-base multiplication.
pub trait FixedBaseCurve: SimdCurve {
    /// The tables of a base point for so many places.
    #[doc(hidden)]
    fn tables(base: Self, places: u32, isa: Isa) -> Tables<Self>;

    /// Appends multiples of a base point; `done` is told how many were finished since its last call.
    #[doc(hidden)]
    fn append_multiples(
        tables: &Tables<Self>,
        scalars: &[Fr],
        points: &mut Vec<Self>,
        done: &(dyn Fn(u64) + Sync),
    );
}

macro_rules! fixed_base_curve {
    ($curve:ty) => {
        impl FixedBaseCurve for $curve {
            fn tables(base: Self, places: u32, isa: Isa) -> Tables<Self> {
                Tables::new(base, places, isa)
            }

            fn append_multiples(
                tables: &Tables<Self>,
                scalars: &[Fr],
                points: &mut Vec<Self>,
                done: &(dyn Fn(u64) + Sync),
            ) {
                append_multiples(tables, scalars, points, done);
            }
        }
    };
}

fixed_base_curve!(G1Affine);
fixed_base_curve!(G2Affine);

/// The tables of one base point.
pub struct FixedBase<C> {
    tables: Tables<C>,
}

impl<C: FixedBaseCurve> FixedBase<C> {
    /// Tables for about `count` multiples of `base`, whose order is r (or which is infinity): the more, the wider the digits.
    pub fn new(base: C, count: usize) -> Self {
        Self::with_isa(base, count, Isa::detect())
    }

    /// As [`FixedBase::new`], for another instruction set than the best of this processor.
    ///
    /// # Panics
    /// When the instruction set is not available.
    pub fn with_isa(base: C, count: usize, isa: Isa) -> Self {
        Self { tables: C::tables(base, tables::cheapest::<C>(count), isa) }
    }

    /// scalar * base for each scalar. `done` is told how many multiples were finished since its last call.
    pub fn multiples(&self, scalars: &[Fr], done: impl Fn(u64) + Sync) -> Vec<C> {
        let mut points = Vec::with_capacity(scalars.len());
        self.append_multiples(scalars, &mut points, done);
        points
    }

    /// As [`FixedBase::multiples`], after the points that are there already.
    pub fn append_multiples(&self, scalars: &[Fr], points: &mut Vec<C>, done: impl Fn(u64) + Sync) {
        C::append_multiples(&self.tables, scalars, points, &done);
    }
}

/// As [`FixedBase::append_multiples`].
fn append_multiples<C: SimdCurve>(
    tables: &Tables<C>,
    scalars: &[Fr],
    points: &mut Vec<C>,
    done: &(dyn Fn(u64) + Sync),
) {
    // SAFETY: the instruction set was checked when the tables were made.
    unsafe { dispatch!(tables.isa(), L => append_on::<C, C::Coordinate<L>>(tables, scalars, points, done)) }
}

/// # Safety
/// The processor has the instructions of `F`, in whose form the tables are.
unsafe fn append_on<C: SimdCurve, F: Kernels>(
    tables: &Tables<C>,
    scalars: &[Fr],
    points: &mut Vec<C>,
    done: &(dyn Fn(u64) + Sync),
) {
    let wanted = CHUNKS_PER_THREAD * rayon::current_num_threads();
    let chunk = scalars.len().div_ceil(wanted).clamp(LEAST, CHUNK_BYTES / (8 * C::ROW));
    let before = points.len();
    points.reserve(scalars.len());
    // Written by the threads that make them: so much fresh memory takes long to touch.
    let targets: Vec<_> =
        points.spare_capacity_mut()[..scalars.len()].chunks_mut(chunk).map(Mutex::new).collect();
    let scratch = || Sums::<F>::new(chunk, tables.places().len());
    for_each_dynamic(targets.len(), scratch, |sums, number| {
        let first = number * chunk;
        let scalars = &scalars[first..scalars.len().min(first + chunk)];
        // SAFETY: the caller promises the instructions.
        unsafe { sums.add_up(tables, scalars) };
        let mut target = targets[number].lock().unwrap_or_else(PoisonError::into_inner);
        sums.write_to(&mut target);
        done(scalars.len() as u64);
    });
    drop(targets);
    // SAFETY: every chunk was written, each to its end.
    unsafe { points.set_len(before + scalars.len()) };
}

/// Memory of a thread that makes multiples.
struct Sums<F> {
    sums: Vec<Points<F>>,
    scratch: Scratch<F>,
    /// The rows that the scalars take, place after place, each filled up to whole vectors.
    entries: Vec<u32>,
    /// 0, 1, 2, …
    numbers: Vec<u32>,
    /// The results.
    rows: Vec<u64>,
}

impl<F: Kernels> Sums<F> {
    fn new(chunk: usize, places: usize) -> Self {
        Self {
            sums: Vec::new(),
            scratch: Scratch::default(),
            entries: vec![0; 8 * vectors(chunk) * places],
            numbers: (0..chunk as u32).collect(),
            rows: Vec::new(),
        }
    }

    /// Leaves the multiples of a chunk in `rows`.
    ///
    /// # Safety
    /// The processor has the instructions of `F`, in whose form the tables are.
    unsafe fn add_up<C: SimdCurve>(&mut self, tables: &Tables<C>, scalars: &[Fr]) {
        let (count, places) = (scalars.len(), tables.places());
        let stride = 8 * vectors(count);
        for (at, scalar) in scalars.iter().enumerate() {
            odd::write_entries(scalar, places, &mut self.entries[at..places.len() * stride], stride);
        }
        let numbers = &self.numbers[..count];
        self.rows.resize(count * C::ROW, 0);
        // SAFETY: the caller promises the instructions; there is an entry for every scalar and place, each names a row of the tables,
        // and there are as many results as numbers.
        unsafe {
            F::load(&mut self.sums, count, &Round::new(tables.rows(), &self.entries));
            for place in 1..places.len() {
                let digits = Round::new(tables.rows(), &self.entries[place * stride..]);
                // Special cases are sums with infinity, when that is the base, and those of the highest place with zeros and some
                // other scalars. In none of them is a difference of x that `add` does not notice.
                if !F::add(&mut self.sums, count, &digits, &mut self.scratch) {
                    F::add_complete(&mut self.sums, count, &digits, &mut self.scratch);
                }
            }
            F::store(&self.sums, count, &mut self.rows, numbers);
            F::export_rows(&mut self.rows);
        }
    }

    fn write_to<C: SimdCurve>(&self, points: &mut [MaybeUninit<C>]) {
        let made = raw::from_bytes(raw::as_bytes(&self.rows)).unwrap_or_default();
        assert_eq!(made.len(), points.len(), "a row for each point");
        for (point, made) in points.iter_mut().zip(made) {
            point.write(*made);
        }
    }
}

#[cfg(test)]
mod tests;
