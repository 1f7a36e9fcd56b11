//! The points of one query on the device, and sums over them that leave no bucket crowded.
//!
//! A witness is full of zeros, ones, bits and values that idle slots repeat: the buckets of such digits are where
//! ICICLE's special path for large buckets frees memory too early, and where a sum without that path crawls. Splitting
//! off zeros and ones on the host would still leave the repeated values, and holes in the points that lie on the device.
//! So a [`Mask`] of random values is added to every scalar, and what it adds to the sum, computed once per key, is taken
//! off again: sum (z + m) P - sum m P. All digits are then as uniform as those of random scalars, whatever the witness.

use std::rc::Rc;

use bn254::{Field, Fr};
use rand_core::OsRng;
use rayon::prelude::*;

use crate::Error;
use crate::curve::Curve;
use crate::session::{Buffer, Session};

/// Points that are converted at once on their way to the device.
const UPLOAD_CHUNK: usize = 1 << 16;

/// log2 of the values that share the second part of their mask.
const LOW_LOG: usize = 12;

/// Random values by position: the sum of an entry of each of two tables, which is as good as random for the digits of
/// a sum and takes no memory to speak of.
pub(crate) struct Mask {
    low: Vec<Fr>,
    high: Vec<Fr>,
}

impl Mask {
    /// For up to `len` values.
    pub(crate) fn new(len: usize) -> Self {
        let random = |count| (0..count).map(|_| Fr::random(OsRng)).collect();
        Self { low: random(1 << LOW_LOG), high: random((len >> LOW_LOG) + 1) }
    }

    fn at(&self, position: usize) -> Fr {
        self.low[position % (1 << LOW_LOG)] + self.high[position >> LOW_LOG]
    }

    /// The masks of these positions.
    pub(crate) fn gather(&self, positions: &[u32]) -> Vec<Fr> {
        positions.par_iter().with_min_len(1 << 10).map(|position| self.at(*position as usize)).collect()
    }

    /// `values[position] + mask` for each of these positions.
    pub(crate) fn apply(&self, values: &[Fr], positions: &[u32]) -> Vec<Fr> {
        let masked = |position: &u32| values[*position as usize] + self.at(*position as usize);
        positions.par_iter().with_min_len(1 << 10).map(masked).collect()
    }
}

/// Points on the device.
pub(crate) struct Points<C: Curve>(Buffer<C::Bytes>);

impl<C: Curve> Points<C> {
    pub(crate) fn upload(session: &Rc<Session>, points: &[C::Affine]) -> Result<Self, Error> {
        let mut buffer = Buffer::new(session, points.len())?;
        for (chunk, points) in points.chunks(UPLOAD_CHUNK).enumerate() {
            buffer.write(chunk * UPLOAD_CHUNK, &C::all_bytes(points))?;
        }
        Ok(Self(buffer))
    }

    /// Sum of `scalars[i] * points[i]`; the scalars should look random.
    pub(crate) fn sum(&self, session: &Session, scalars: &Buffer<Fr>) -> Result<C::Sum, Error> {
        session.msm::<C>(&self.0, scalars)
    }
}

/// Points on the device whose scalars come masked.
pub(crate) struct Query<C: Curve> {
    points: Points<C>,
    /// What the mask adds to every sum.
    excess: C::Sum,
}

impl<C: Curve> Query<C> {
    /// Uploads the points; `masks` are those of their scalars.
    ///
    /// # Errors
    /// [`Error::Unsteady`] when the excess comes out differently the second time: a wrong one would spoil every proof.
    pub(crate) fn new(
        session: &Rc<Session>,
        points: &[C::Affine],
        masks: &Buffer<Fr>,
    ) -> Result<Self, Error> {
        let points = Points::upload(session, points)?;
        let excess = points.sum(session, masks)?;
        if points.sum(session, masks)? != excess {
            return Err(Error::Unsteady);
        }
        Ok(Self { points, excess })
    }

    /// The sum for scalars to which the masks were added.
    pub(crate) fn sum(&self, session: &Session, masked: &Buffer<Fr>) -> Result<C::Sum, Error> {
        Ok(self.points.sum(session, masked)? - self.excess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_all_positions_differ_and_hide_a_witness_of_zeros() {
        let positions: Vec<u32> = (0..10_000).collect();
        let mask = Mask::new(positions.len());
        let masked = mask.apply(&vec![Fr::ZERO; positions.len()], &positions);
        assert_eq!(masked, mask.gather(&positions));
        let mut sorted = masked;
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), positions.len());
    }
}
