//! The loops over many points, compiled for the instructions that they use.
//!
//! The arithmetic below is `inline(always)`: it takes on the instructions of the function that it ends up in. [`Kernels`] is
//! where that happens; what calls it is ordinary code.

use super::affine::{self, CHAINS, Points, Scratch, Source, vectors};
use super::coordinate::{Coordinate, Pair};
use super::eight::{Eight, Words};
use super::field52::{Field52, Q};
#[cfg(any(test, feature = "emulation"))]
use super::{lanes::Emulated, outlined::Outlined};
use crate::isa::for_each_vector_isa;

/// Loops over points with this kind of coordinate.
///
/// # Safety
/// Of every method: the processor has the instructions of the implementation.
pub trait Kernels: Coordinate {
    /// `points[i] += source[i]` for the first `sums` lanes; false, with the points as they were, when one is a point and itself
    /// or its negative. Not for infinity on either side, which it does not notice.
    ///
    /// # Safety
    /// There are `sums` summands in the source and [`vectors`]`(sums)` vectors of points.
    unsafe fn add<S: Source<Self>>(
        points: &mut [Points<Self>],
        sums: usize,
        source: &S,
        scratch: &mut Scratch<Self>,
    ) -> bool {
        // SAFETY: the caller promises what the halves ask for.
        unsafe {
            let product = Self::differences(points, sums, source, scratch);
            Self::finish(points, sums, &product, scratch)
        }
    }

    /// As [`Kernels::add`], for any points; whether infinity is among the sums.
    ///
    /// # Safety
    /// As for [`Kernels::add`].
    unsafe fn add_complete<S: Source<Self>>(
        points: &mut [Points<Self>],
        sums: usize,
        source: &S,
        scratch: &mut Scratch<Self>,
    ) -> bool {
        // SAFETY: the caller promises what the halves ask for.
        unsafe {
            let product = Self::denominators(points, sums, source, scratch);
            Self::finish_complete(points, sums, &product, scratch)
        }
    }

    /// See [`affine::differences`].
    ///
    /// # Safety
    /// See [`affine::differences`].
    #[doc(hidden)]
    unsafe fn differences<S: Source<Self>>(
        points: &[Points<Self>],
        sums: usize,
        source: &S,
        scratch: &mut Scratch<Self>,
    ) -> [Self; CHAINS];

    /// See [`affine::finish`].
    ///
    /// # Safety
    /// See [`affine::finish`].
    #[doc(hidden)]
    unsafe fn finish(
        points: &mut [Points<Self>],
        sums: usize,
        product: &[Self; CHAINS],
        scratch: &Scratch<Self>,
    ) -> bool;

    /// See [`affine::denominators`].
    ///
    /// # Safety
    /// See [`affine::denominators`].
    #[doc(hidden)]
    unsafe fn denominators<S: Source<Self>>(
        points: &[Points<Self>],
        sums: usize,
        source: &S,
        scratch: &mut Scratch<Self>,
    ) -> [Self; CHAINS];

    /// See [`affine::finish_complete`].
    ///
    /// # Safety
    /// See [`affine::finish_complete`].
    #[doc(hidden)]
    unsafe fn finish_complete(
        points: &mut [Points<Self>],
        sums: usize,
        product: &[Self; CHAINS],
        scratch: &Scratch<Self>,
    ) -> bool;

    /// Sets the first `count` lanes of `points`, which get [`vectors`]`(count)` vectors, to the points of a source.
    ///
    /// # Safety
    /// The source has so many.
    unsafe fn load<S: Source<Self>>(points: &mut Vec<Points<Self>>, count: usize, source: &S);

    /// Writes the first `count` lanes of `points` to packed rows: lane i to row `to[i]` of `rows`, which has `2 * WORDS` words a
    /// row.
    ///
    /// # Safety
    /// There are so many points and rows.
    unsafe fn store(points: &[Points<Self>], count: usize, rows: &mut [u64], to: &[u32]);

    /// Packed rows from the Montgomery form of halo2curves to that of this implementation, in place.
    ///
    /// # Safety
    /// The rows hold canonical coordinates.
    unsafe fn import_rows(rows: &mut [u64]);

    /// The other way.
    ///
    /// # Safety
    /// As for [`Kernels::import_rows`].
    unsafe fn export_rows(rows: &mut [u64]);
}

#[inline(always)]
unsafe fn load<F: Coordinate, S: Source<F>>(points: &mut Vec<Points<F>>, count: usize, source: &S) {
    points.clear();
    let mut at = 0;
    while at < vectors(count) {
        let active = affine::active_lanes(count, at);
        source.prefetch(at + affine::AHEAD);
        // SAFETY: the caller promises the instructions and the points.
        let (mut eight, negative) = unsafe { source.fetch(at, active) };
        if negative != 0 {
            eight.y = eight.y.negate_where(negative);
        }
        points.push(eight);
        at += 1;
    }
}

#[inline(always)]
unsafe fn store<F: Coordinate>(points: &[Points<F>], count: usize, rows: &mut [u64], to: &[u32]) {
    let width = 2 * F::WORDS;
    let mut unused = [0_u64; 16];
    let mut at = 0;
    while at * 8 < count {
        let mut targets = [unused.as_mut_ptr(); 8];
        for lane in 0..8.min(count - at * 8) {
            let row = to[at * 8 + lane] as usize * width;
            targets[lane] = rows[row..row + width].as_mut_ptr();
        }
        // SAFETY: each target has the words of a row; the caller promises the instructions.
        unsafe { F::scatter(points[at].x, points[at].y, &targets) };
        at += 1;
    }
}

#[inline(always)]
unsafe fn convert_rows<F: Coordinate>(rows: &mut [u64], convert: impl Fn(F) -> F) {
    let width = 2 * F::WORDS;
    let mut spare = [0_u64; 16];
    for eight in rows.chunks_mut(8 * width) {
        let mut targets = [spare.as_mut_ptr(); 8];
        for (target, row) in targets.iter_mut().zip(eight.chunks_exact_mut(width)) {
            *target = row.as_mut_ptr();
        }
        let sources = targets.map(<*mut u64>::cast_const);
        // SAFETY: each target has the words of a row; the caller promises the instructions.
        unsafe {
            let (x, y) = F::gather(&sources);
            F::scatter(convert(x), convert(y), &targets);
        }
    }
}

macro_rules! kernels {
    ($(#[$feature:meta])? [$($generic:tt)*] $kind:ty) => {
        impl<$($generic)*> Kernels for $kind {
            $(#[$feature])?
            unsafe fn differences<S: Source<Self>>(
                points: &[Points<Self>],
                sums: usize,
                source: &S,
                scratch: &mut Scratch<Self>,
            ) -> [Self; CHAINS] {
                // SAFETY: the caller promises what the function asks for, here and below.
                unsafe { affine::differences(points, sums, source, scratch) }
            }

            $(#[$feature])?
            unsafe fn finish(
                points: &mut [Points<Self>],
                sums: usize,
                product: &[Self; CHAINS],
                scratch: &Scratch<Self>,
            ) -> bool {
                // SAFETY: see `differences`.
                unsafe { affine::finish(points, sums, product, scratch) }
            }

            $(#[$feature])?
            unsafe fn denominators<S: Source<Self>>(
                points: &[Points<Self>],
                sums: usize,
                source: &S,
                scratch: &mut Scratch<Self>,
            ) -> [Self; CHAINS] {
                // SAFETY: see `differences`.
                unsafe { affine::denominators(points, sums, source, scratch) }
            }

            $(#[$feature])?
            unsafe fn finish_complete(
                points: &mut [Points<Self>],
                sums: usize,
                product: &[Self; CHAINS],
                scratch: &Scratch<Self>,
            ) -> bool {
                // SAFETY: see `differences`.
                unsafe { affine::finish_complete(points, sums, product, scratch) }
            }

            $(#[$feature])?
            unsafe fn load<S: Source<Self>>(points: &mut Vec<Points<Self>>, count: usize, source: &S) {
                // SAFETY: see `differences`.
                unsafe { load(points, count, source) }
            }

            $(#[$feature])?
            unsafe fn store(points: &[Points<Self>], count: usize, rows: &mut [u64], to: &[u32]) {
                // SAFETY: see `differences`.
                unsafe { store(points, count, rows, to) }
            }

            $(#[$feature])?
            unsafe fn import_rows(rows: &mut [u64]) {
                // SAFETY: see `differences`.
                unsafe { convert_rows::<Self>(rows, #[inline(always)] |x| x.import()) }
            }

            $(#[$feature])?
            unsafe fn export_rows(rows: &mut [u64]) {
                // SAFETY: see `differences`.
                unsafe { convert_rows::<Self>(rows, #[inline(always)] |x| x.export()) }
            }
        }
    };
}

macro_rules! kernels_of_lanes {
    ($(#[$feature:meta])? $lanes:ty) => {
        kernels!($(#[$feature])? [] Field52<$lanes, Q>);
        kernels!($(#[$feature])? [] Pair<$lanes>);
    };
}

for_each_vector_isa!(kernels_of_lanes);
#[cfg(any(test, feature = "emulation"))]
kernels!([] Outlined<Field52<Emulated, Q>>);
#[cfg(any(test, feature = "emulation"))]
kernels!([] Outlined<Pair<Emulated>>);
kernels!([F: Words] Eight<F>);

/// The bit of an entry that asks for the negative.
pub const NEGATIVE: u32 = 1 << 31;

/// Rows of a table, gathered through a list of entries: lane i of vector v is entry `8·v + i`, whose highest bit asks for the negative
/// and whose other bits are the row.
pub struct Round<'a> {
    rows: &'a [u64],
    entries: &'a [u32],
}

impl<'a> Round<'a> {
    /// Whole vectors of entries, as many as [`vectors`] says: what is added up ends with entries of any row.
    pub fn new(rows: &'a [u64], entries: &'a [u32]) -> Self {
        Self { rows, entries }
    }
}

impl<F: Coordinate> Source<F> for Round<'_> {
    #[inline(always)]
    unsafe fn fetch(&self, at: usize, _active: u8) -> (Points<F>, u8) {
        let width = 2 * F::WORDS;
        // SAFETY: the caller promises that there is this vector of entries.
        let entries = unsafe { &*self.entries.as_ptr().add(at * 8).cast::<[u32; 8]>() };
        let mut rows = [self.rows.as_ptr(); 8];
        for (row, entry) in rows.iter_mut().zip(entries) {
            *row = row.wrapping_add((entry & !NEGATIVE) as usize * width);
        }
        // SAFETY: entries name rows of the table; the caller promises the instructions.
        let (x, y) = unsafe { F::gather(&rows) };
        (Points { x, y }, F::signs(entries))
    }

    #[inline(always)]
    fn prefetch(&self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(entries) = self.entries.get(at * 8..at * 8 + 8) {
            for entry in entries {
                let row = self.rows.as_ptr().wrapping_add((entry & !NEGATIVE) as usize * 2 * F::WORDS);
                // SAFETY: a prefetch does not touch what the program can see, whatever the address.
                unsafe {
                    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                    _mm_prefetch::<_MM_HINT_T0>(row.cast());
                    if F::WORDS == 8 {
                        _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(8).cast());
                    }
                }
            }
        }
    }
}

/// Points that are vectors already.
pub struct Vectors<'a, F>(pub &'a [Points<F>]);

impl<F: Coordinate> Source<F> for Vectors<'_, F> {
    #[inline(always)]
    unsafe fn fetch(&self, at: usize, _active: u8) -> (Points<F>, u8) {
        (self.0[at], 0)
    }
}

/// One source, and from vector `first.1` on another.
pub struct Both<A, B> {
    /// The first, and how many vectors it has.
    pub first: (A, usize),
    /// The other.
    pub second: B,
}

impl<F: Coordinate, A: Source<F>, B: Source<F>> Source<F> for Both<A, B> {
    #[inline(always)]
    unsafe fn fetch(&self, at: usize, active: u8) -> (Points<F>, u8) {
        // SAFETY: the caller promises the points of both.
        unsafe {
            if at < self.first.1 {
                self.first.0.fetch(at, active)
            } else {
                self.second.fetch(at - self.first.1, active)
            }
        }
    }

    #[inline(always)]
    fn prefetch(&self, at: usize) {
        if at < self.first.1 {
            self.first.0.prefetch(at);
        }
    }
}
