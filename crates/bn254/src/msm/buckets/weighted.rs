//! The weighted sum Σ b·Bᵦ of buckets, in segments that run side by side.
//!
//! Segment s walks its rows from the last to the first with two sums: of the rows, and of these sums. What is left is as many
//! points as there are segments, which are summed with weights in the same way.

use group::Group;
use halo2curves::CurveAffine;

use super::{PartSum, Worker};
use crate::raw::{Limbs, as_bytes, as_bytes_mut};
use crate::simd::affine::{Source, vectors};
use crate::simd::kernels::{Both, Kernels, Round, Vectors};

/// Segments of a weighted sum, and the fewest buckets in one.
const SEGMENTS: usize = 256;
const SEGMENT_LENGTH: usize = 8;
/// So few points are added one by one.
const FEW: usize = 32;

impl<F: Kernels> Worker<F> {
    /// Σ (i + 1)·rowᵢ and Σ rowᵢ, of a number of rows that is a power of two.
    pub(super) fn weighted_sum<C>(&mut self, rows: &[u64], infinite: bool) -> PartSum<C::CurveExt>
    where
        C: CurveAffine + Limbs,
    {
        let count = rows.len() / Self::ROW;
        if count <= FEW {
            return plain_weighted_sum(&self.points_of::<C>(rows));
        }
        // A multiple of what a batch is cut into.
        let segments = (count / SEGMENT_LENGTH).clamp(FEW, SEGMENTS);
        let length = count / segments;
        // Segment s walks its rows from the last to the first: running sum, and sum of the running sums, which is one step behind.
        let downwards: Vec<u32> = (0..length)
            .rev()
            .flat_map(|at| (0..segments).map(move |segment| (segment * length + at) as u32))
            .collect();
        let round = |number: usize| Round::new(rows, &downwards[number * segments..]);
        let half = vectors(segments);
        let mut infinite = infinite;
        // SAFETY: whoever made this worker promised the instructions; there are `length` rounds of whole vectors, and `points` are two
        // halves of `segments` lanes.
        unsafe {
            F::load(&mut self.points, segments, &round(0));
            for number in 1..length {
                let sums = if number == 1 { segments } else { 2 * segments };
                self.previous.clear();
                self.previous.extend_from_slice(&self.points[..half]);
                if number == 1 {
                    // The sum of one running sum.
                    self.points.extend_from_within(..half);
                }
                let previous = std::mem::take(&mut self.previous);
                let source = Both { first: (round(number), half), second: Vectors(&previous) };
                infinite = self.add(sums, &source, infinite);
                self.previous = previous;
            }
            let (running, totals) = self.points.split_at(half);
            self.previous.clear();
            self.previous.extend_from_slice(running);
            let totals = totals.to_vec();
            self.points.clear();
            self.points.extend_from_slice(&totals);
            let previous = std::mem::take(&mut self.previous);
            infinite = self.add(segments, &Vectors(&previous), infinite);
            self.previous = previous;

            let mut width = half;
            while width * 8 > FEW {
                width /= 2;
                let upper = self.points[width..2 * width].to_vec();
                infinite = self.add(width * 8, &Vectors(&upper), infinite);
            }
            let identity: Vec<u32> = (0..segments as u32).collect();
            let mut totals = vec![0; width * 8 * Self::ROW];
            F::store(&self.points, width * 8, &mut totals, &identity);
            let mut runnings = vec![0; segments * Self::ROW];
            F::store(&self.previous, segments, &mut runnings, &identity);

            let total = plain_weighted_sum(&self.points_of::<C>(&totals)).plain;
            let of_segments = self.weighted_sum::<C>(&runnings, true);
            // Segment s begins at row s·length, and counts from one.
            let mut above = of_segments.weighted - of_segments.plain;
            for _ in 0..length.trailing_zeros() {
                above = above.double();
            }
            PartSum { weighted: total + above, plain: of_segments.plain }
        }
    }

    /// Adds to the first lanes; whether infinity may be among the points afterwards.
    ///
    /// # Safety
    /// As for [`Kernels::add`].
    unsafe fn add<S>(&mut self, sums: usize, source: &S, infinite: bool) -> bool
    where
        S: Source<F>,
    {
        // SAFETY: the caller promises what the functions ask for.
        unsafe {
            if !infinite && F::add(&mut self.points, sums, source, &mut self.scratch) {
                return false;
            }
            F::add_complete(&mut self.points, sums, source, &mut self.scratch);
        }
        true
    }

    /// Packed rows as points of halo2curves.
    fn points_of<C: CurveAffine + Limbs>(&self, rows: &[u64]) -> Vec<C> {
        let mut rows = rows.to_vec();
        // SAFETY: whoever made this worker promised the instructions; rows are canonical.
        unsafe { F::export_rows(&mut rows) };
        let mut points = vec![C::identity(); rows.len() / Self::ROW];
        as_bytes_mut(&mut points).copy_from_slice(as_bytes(&rows));
        points
    }
}

/// Σ (i + 1)·pointᵢ and Σ pointᵢ.
fn plain_weighted_sum<C: CurveAffine>(points: &[C]) -> PartSum<C::CurveExt> {
    let (mut weighted, mut plain) = (C::CurveExt::identity(), C::CurveExt::identity());
    for point in points.iter().rev() {
        plain += *point;
        weighted += plain;
    }
    PartSum { weighted, plain }
}
