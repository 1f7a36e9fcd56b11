//! Many multiples of one point: window tables and batched affine additions, for key generation.
//!
//! A scalar is cut into signed digits of `window` bits; a table holds digit * 2^(window*k) * base for every digit and
//! place, so a multiple costs one addition per place. All scalars of a chunk walk through the places together: an
//! affine addition needs 1/(x2 - x1), and one field inversion serves the whole chunk.

use ff::Field;
use group::{Curve, Group};
use halo2curves::CurveAffine;
use rayon::prelude::*;

use crate::{Fr, G1Affine, G2Affine, fr_to_le_bytes};

/// Scalars that share one inversion.
const CHUNK: usize = 512;
/// Bits of a canonical scalar, and one more for the carry of the signed digits.
const SCALAR_BITS: usize = 255;

/// Affine points whose coordinates can be read and set without checks. Infinity is (0, 0).
pub trait AffinePoint: CurveAffine<ScalarExt = Fr> {
    /// The coordinates.
    fn xy(&self) -> (Self::Base, Self::Base);
    /// The point with these coordinates; the caller knows that it is on the curve.
    fn from_xy_unchecked(x: Self::Base, y: Self::Base) -> Self;
}

macro_rules! affine_point {
    ($point:ident) => {
        impl AffinePoint for $point {
            fn xy(&self) -> (Self::Base, Self::Base) {
                (self.x, self.y)
            }
            fn from_xy_unchecked(x: Self::Base, y: Self::Base) -> Self {
                Self { x, y }
            }
        }
    };
}

affine_point!(G1Affine);
affine_point!(G2Affine);

/// The window table of one base point.
pub struct FixedBase<C> {
    window: usize,
    /// For place k, `places[k][d - 1]` is d * 2^(window*k) * base, for d in 1..=2^(window-1).
    places: Vec<Vec<C>>,
}

impl<C: AffinePoint> FixedBase<C> {
    /// A table for about `count` multiples of `base`: the more, the wider its windows.
    pub fn new(base: C, count: usize) -> Self {
        // A table of width w costs 2^(w-1) additions per place, each multiple one: wide pays from count ~ 2^w on.
        let window = (usize::BITS - count.leading_zeros()).clamp(4, 16).saturating_sub(2).max(3) as usize;
        let mut bases = Vec::with_capacity(SCALAR_BITS.div_ceil(window));
        let mut current = base.to_curve();
        for _ in 0..SCALAR_BITS.div_ceil(window) {
            bases.push(current);
            for _ in 0..window {
                current = current.double();
            }
        }
        let places = bases
            .into_par_iter()
            .map(|base| {
                let affine = base.to_affine();
                let mut multiples = Vec::with_capacity(1 << (window - 1));
                let mut multiple = C::CurveExt::identity();
                for _ in 0..1_usize << (window - 1) {
                    multiple += affine;
                    multiples.push(multiple);
                }
                let mut normalised = vec![C::identity(); multiples.len()];
                C::CurveExt::batch_normalize(&multiples, &mut normalised);
                normalised
            })
            .collect();
        Self { window, places }
    }

    /// scalar * base for each scalar. `done` is told how many multiples were finished since its last call.
    pub fn multiples(&self, scalars: &[Fr], done: impl Fn(u64) + Sync) -> Vec<C> {
        let mut points = vec![C::identity(); scalars.len()];
        points.par_chunks_mut(CHUNK).zip(scalars.par_chunks(CHUNK)).for_each(|(points, scalars)| {
            self.multiples_of_chunk(scalars, points);
            done(scalars.len() as u64);
        });
        points
    }

    fn multiples_of_chunk(&self, scalars: &[Fr], sums: &mut [C]) {
        let mut remaining: Vec<ScalarDigits> = scalars.iter().map(ScalarDigits::new).collect();
        let mut additions = Additions::with_capacity(scalars.len());
        for place in &self.places {
            for (at, digits) in remaining.iter_mut().enumerate() {
                let digit = digits.next(self.window);
                if digit == 0 {
                    continue;
                }
                let point = place[digit.unsigned_abs() as usize - 1];
                additions.push(sums, at, if digit < 0 { -point } else { point });
            }
            additions.apply(sums);
        }
    }
}

/// Signed digits of a canonical scalar, least significant first.
struct ScalarDigits {
    limbs: [u64; 4],
    carry: i64,
}

impl ScalarDigits {
    fn new(scalar: &Fr) -> Self {
        let bytes = fr_to_le_bytes(scalar);
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            *limb = bytes.iter().rev().fold(0, |acc, byte| (acc << 8) | u64::from(*byte));
        }
        Self { limbs, carry: 0 }
    }

    /// The next digit, in -2^(window-1) ..= 2^(window-1).
    fn next(&mut self, window: usize) -> i64 {
        let low = (self.limbs[0] & ((1 << window) - 1)) as i64 + self.carry;
        for i in 0..4 {
            let above = if i < 3 { self.limbs[i + 1] << (64 - window) } else { 0 };
            self.limbs[i] = (self.limbs[i] >> window) | above;
        }
        self.carry = i64::from(low > 1 << (window - 1));
        low - (self.carry << window)
    }
}

/// Affine additions waiting for their common inversion.
struct Additions<C: AffinePoint> {
    waiting: Vec<(usize, C)>,
    /// x2 - x1 of each, never zero.
    denominators: Vec<C::Base>,
    /// For each the product of the denominators before it.
    products: Vec<C::Base>,
}

impl<C: AffinePoint> Additions<C> {
    fn with_capacity(len: usize) -> Self {
        Self {
            waiting: Vec::with_capacity(len),
            denominators: Vec::with_capacity(len),
            products: Vec::with_capacity(len),
        }
    }

    /// Adds `point` to `sums[at]`, at once when one of the special cases holds, else with the next [`Self::apply`].
    fn push(&mut self, sums: &mut [C], at: usize, point: C) {
        let sum = sums[at];
        if bool::from(sum.is_identity()) {
            sums[at] = point;
            return;
        }
        let difference = point.xy().0 - sum.xy().0;
        if difference == C::Base::ZERO {
            sums[at] = (sum.to_curve() + point).to_affine();
            return;
        }
        self.waiting.push((at, point));
        self.denominators.push(difference);
    }

    fn apply(&mut self, sums: &mut [C]) {
        let mut product = C::Base::ONE;
        self.products.clear();
        for denominator in &self.denominators {
            self.products.push(product);
            product *= denominator;
        }
        // The product of non-zero differences has an inverse.
        let mut inverse = product.invert().unwrap_or(C::Base::ZERO);
        for (((at, point), denominator), before) in
            self.waiting.drain(..).zip(&self.denominators).zip(&self.products).rev()
        {
            let reciprocal = inverse * before;
            inverse *= denominator;
            let ((x1, y1), (x2, y2)) = (sums[at].xy(), point.xy());
            let slope = (y2 - y1) * reciprocal;
            let x3 = slope.square() - x1 - x2;
            sums[at] = C::from_xy_unchecked(x3, slope * (x1 - x3) - y1);
        }
        self.denominators.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn check<C: AffinePoint>(count_hint: usize) {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let base = (C::generator() * Fr::from(5)).to_affine();
        let mut scalars: Vec<Fr> = (0..600).map(|_| Fr::random(&mut rng)).collect();
        scalars.extend([Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2), -Fr::from(2)]);
        scalars.extend((0..40).map(|bit| Fr::from(1 << bit)));
        scalars.extend((0..40).map(|bit| Fr::from((1 << bit) - 1)));
        let table = FixedBase::new(base, count_hint);
        let finished = std::sync::atomic::AtomicU64::new(0);
        let points = table.multiples(&scalars, |n| {
            finished.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(finished.into_inner(), scalars.len() as u64);
        for (point, scalar) in points.iter().zip(&scalars) {
            assert_eq!(*point, (base * scalar).to_affine());
        }
        assert!(table.multiples(&[], |_| ()).is_empty());
    }

    #[test]
    fn multiples_agree_with_scalar_multiplication_at_every_window_width() {
        for count in [0, 1, 100, 5000, 1 << 15] {
            check::<G1Affine>(count);
        }
        check::<G2Affine>(1000);
    }
}
