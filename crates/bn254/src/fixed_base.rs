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
mod tests {
    use super::*;
    use ff::{Field, PrimeField};
    use group::Curve;
    use group::prime::PrimeCurveAffine;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Zeros, small ones, ones whose highest addition is a doubling, and random ones, more than a chunk of them.
    fn scalars(places: u32, random: usize) -> Vec<Fr> {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let half = Fr::TWO_INV - Fr::ONE;
        let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2), -Fr::from(2), half, half + Fr::ONE];
        scalars.extend((0..40).map(|bit| Fr::from(1 << bit)));
        scalars.extend((0..40).map(|bit| Fr::from((1 << bit) - 1)));
        let highest = Fr::from(2).pow_vartime([u64::from(odd::places(places)[places as usize - 1].bit)]);
        for digit in 0..200 {
            scalars.extend([
                highest.double() * Fr::from(2 * digit + 1),
                -highest.double() * Fr::from(2 * digit + 1),
            ]);
        }
        scalars.extend((0..random).map(|_| Fr::random(&mut rng)));
        scalars
    }

    fn check<C: FixedBaseCurve>(base: C, places: u32, random: usize) {
        let scalars = scalars(places, random);
        let base = (base * Fr::from(5)).to_affine();
        let expected: Vec<C> = scalars.iter().map(|scalar| (base * scalar).to_affine()).collect();
        for isa in Isa::available() {
            let multiples = FixedBase { tables: Tables::new(base, places, isa) };
            let finished = AtomicU64::new(0);
            let mut points = vec![base];
            multiples.append_multiples(&scalars, &mut points, |n| {
                finished.fetch_add(n, Ordering::Relaxed);
            });
            assert_eq!(finished.into_inner(), scalars.len() as u64);
            assert_eq!(points.remove(0), base);
            assert_eq!(points.len(), scalars.len());
            for ((point, expected), scalar) in points.iter().zip(&expected).zip(&scalars) {
                assert_eq!(point, expected, "{isa}, {places} places, {scalar:?}");
            }
            assert!(multiples.multiples(&[], |_| ()).is_empty());
        }
    }

    #[test]
    fn multiples_agree_with_scalar_multiplication_on_every_instruction_set_at_every_width() {
        for places in [odd::FEWEST + 5, 32, 51, 85, 127, odd::MOST] {
            check(G1Affine::generator(), places, 700);
        }
        check(G2Affine::generator(), odd::FEWEST + 8, 100);
        check(G2Affine::generator(), 127, 0);
    }

    #[test]
    fn the_largest_tables_have_every_row() {
        let scalars = scalars(odd::FEWEST, 3000);
        let multiples = FixedBase { tables: Tables::new(G1Affine::generator(), odd::FEWEST, Isa::detect()) };
        for (point, scalar) in multiples.multiples(&scalars, |_| ()).iter().zip(&scalars) {
            assert_eq!(*point, (G1Affine::generator() * scalar).to_affine(), "{scalar:?}");
        }
    }

    #[test]
    fn multiples_of_infinity_are_infinity() {
        check(G1Affine::identity(), 64, 0);
    }

    #[test]
    fn few_multiples_have_small_tables_and_many_have_large_ones() {
        let scalars = scalars(64, 0);
        let mut bytes = 0;
        for count in [0, 1, 100, 5000, 1 << 15] {
            let multiples = FixedBase::new(G1Affine::generator(), count);
            assert!(multiples.tables.rows().len() >= bytes);
            bytes = multiples.tables.rows().len();
            for (point, scalar) in multiples.multiples(&scalars, |_| ()).iter().zip(&scalars) {
                assert_eq!(*point, (G1Affine::generator() * scalar).to_affine());
            }
        }
    }
}
