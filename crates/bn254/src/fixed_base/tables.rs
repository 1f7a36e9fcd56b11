//! The odd multiples of a point at every place of the digits, as packed rows.
//!
//! Row i of a place has (2i + 1)·2^bit·base. Their number doubles at every step, in which one batch adds the same point to all that
//! there are: m odd multiples, and each of them plus 2m times the point, are 2m odd multiples.

use rayon::prelude::*;

use super::odd::{FEWEST, MOST, Place, places};
use crate::isa::Isa;
use crate::pages::Pages;
use crate::raw;
use crate::simd::SimdCurve;
use crate::simd::affine::{Points, Scratch, vectors};
use crate::simd::kernels::{Kernels, Round};
use crate::{Curve, Group, dispatch};

/// Sums of one batch.
const BATCH: usize = 1 << 11;
/// What a row costs in additions: one to make it, reading what is added and writing the sum.
const ROW_COST: f64 = 1.5;
/// What a batch costs before its first addition, in additions: its inversion.
const BATCH_COST: f64 = 300.0;
/// Tables up to this many bytes stay in the cache that cores share.
const CACHE_BYTES: usize = 24 << 20;
/// Chunks of multiples have about so many, for the cost of their inversions.
const CHUNK: f64 = 2048.0;

/// The cheapest number of places for so many multiples, by what all additions and inversions cost.
pub(super) fn cheapest<C: SimdCurve>(count: usize) -> u32 {
    let mut best = (f64::INFINITY, MOST);
    for number in FEWEST..=MOST {
        let places = places(number);
        let rows: usize = places.iter().map(Place::rows).sum();
        if rows * C::ROW * 8 > CACHE_BYTES {
            continue;
        }
        let steps: u32 = places.iter().map(|place| place.width - 1).sum();
        let additions = f64::from(number - 1) * count as f64 + rows as f64 * ROW_COST;
        let batches = f64::from(number - 1) * (count as f64 / CHUNK).ceil() + f64::from(steps);
        let cost = additions + batches * BATCH_COST;
        if cost < best.0 {
            best = (cost, number);
        }
    }
    best.1
}

/// The rows of all places.
pub struct Tables<C> {
    places: Vec<Place>,
    rows: Pages<u64>,
    isa: Isa,
    curve: std::marker::PhantomData<C>,
}

impl<C: SimdCurve> Tables<C> {
    /// The tables of a base for so many places.
    ///
    /// # Panics
    /// When the instruction set is not available.
    pub fn new(base: C, count: u32, isa: Isa) -> Self {
        isa.check();
        let places = places(count);
        let doubles = doubles(base, &places, isa);
        let mut rows = Pages::zeroed(places.iter().map(Place::rows).sum::<usize>() * C::ROW);
        let mut rest = &mut *rows;
        let mut tables = Vec::with_capacity(places.len());
        for place in &places {
            let table;
            (table, rest) = rest.split_at_mut(place.rows() * C::ROW);
            tables.push((table, &doubles[place.bit as usize * C::ROW..]));
        }
        // SAFETY: the instruction set was checked, and the rows of `doubles` are in its form.
        tables.into_par_iter().with_max_len(1).for_each(|(table, doubles)| unsafe {
            dispatch!(isa, L => fill::<C::Coordinate<L>>(table, doubles))
        });
        Self { places, rows, isa, curve: std::marker::PhantomData }
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }
}

/// Rows of 2^i·base for every i that the places need.
fn doubles<C: SimdCurve>(base: C, places: &[Place], isa: Isa) -> Vec<u64> {
    let bits = places.iter().map(|place| place.width as usize).sum();
    let mut doubles = vec![base.to_curve()];
    for i in 1..bits {
        doubles.push(doubles[i - 1].double());
    }
    let mut points = vec![C::identity(); bits];
    C::CurveExt::batch_normalize(&doubles, &mut points);
    let mut rows = vec![0; bits * C::ROW];
    raw::as_bytes_mut(&mut rows).copy_from_slice(raw::as_bytes(&points));
    C::import_rows(isa, &mut rows);
    rows
}

/// Fills the table of a place whose point is the first of `doubles`.
///
/// # Safety
/// The processor has the instructions of `F`, in whose form the rows are.
unsafe fn fill<F: Kernels>(table: &mut [u64], doubles: &[u64]) {
    let row = 2 * F::WORDS;
    table[..row].copy_from_slice(&doubles[..row]);
    let numbers: Vec<u32> = (0..BATCH as u32).collect();
    let (same, mut sums, mut scratch) = (vec![0; BATCH], Vec::<Points<F>>::new(), Scratch::default());
    let (count, mut have, mut step) = (table.len() / row, 1, 1);
    while have < count {
        let (made, new) = table.split_at_mut(have * row);
        let summand = Round::new(&doubles[step * row..], &same);
        for (made, new) in made.chunks(BATCH * row).zip(new.chunks_mut(BATCH * row)) {
            let sums_here = made.len() / row;
            // Lanes beyond the sums have the last row.
            let rows = |sum: u32| sum.min(sums_here as u32 - 1);
            let entries: Vec<u32> = (0..8 * vectors(sums_here) as u32).map(rows).collect();
            // SAFETY: the caller promises the instructions; there are so many rows, old and new, and so many times the summand.
            unsafe {
                F::load(&mut sums, sums_here, &Round::new(made, &entries));
                // No odd multiple is an even one or its negative. Infinity has all of its sums noticed.
                if !F::add(&mut sums, sums_here, &summand, &mut scratch) {
                    F::add_complete(&mut sums, sums_here, &summand, &mut scratch);
                }
                F::store(&sums, sums_here, new, &numbers);
            }
        }
        have *= 2;
        step += 1;
    }
}
