//! Multi-scalar multiplication: sum of scalar_i * point_i in G1 and G2.
//!
//! Pippenger's bucket method with signed digits. Every addition is batch-affine and vectorised where the processor allows:
//!
//! | module | purpose |
//! |---|---|
//! | [`engine`] | which kernels run |
//! | [`bases`] | points laid out once for many sums |
//! | `digits` | scalars as signed digits |
//! | `plan` | the width of the digits, by a cost model |
//! | `buckets` | the sums of the buckets of one place |
//!
//! The work is cut into shares (place of the digits, range of buckets, range of scalars) that know nothing of each other; threads
//! take them from a counter. Zeros have no digits and cost nothing but their recoding; small scalars, of either sign, have few.
//!
//! Invariant: the result does not depend on the engine, the number of threads or the order in which shares are taken.
//! Running time and memory access depend on the scalars: nothing here is constant-time.
//!
//! Source: Pippenger, "On the evaluation of powers and related problems", FOCS 1976.

pub mod bases;
mod buckets;
mod digits;
pub mod engine;
mod plan;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use group::Group;

pub use bases::Bases;
pub use engine::{Engine, MsmCurve};

use crate::simd::kernels::Kernels;
use crate::{Fr, G1, G1Affine, G2, G2Affine};
use buckets::{PART, PartSum, Share, Worker};
use digits::Digits;
use plan::Plan;

/// Below so many points the simple method is as fast.
const FEW: usize = 128;

/// Sum of `scalars[i] * points[i]` in G1. Points at infinity and repeated points are fine.
///
/// # Panics
/// When the lengths differ.
pub fn msm_g1(points: &[G1Affine], scalars: &[Fr]) -> G1 {
    msm(points, scalars)
}

/// Sum of `scalars[i] * points[i]` in G2. Points at infinity and repeated points are fine.
///
/// # Panics
/// When the lengths differ.
pub fn msm_g2(points: &[G2Affine], scalars: &[Fr]) -> G2 {
    msm(points, scalars)
}

fn msm<C: MsmCurve>(points: &[C], scalars: &[Fr]) -> C::CurveExt {
    assert_eq!(points.len(), scalars.len(), "one scalar per point");
    if points.len() < FEW {
        let products = points.iter().zip(scalars).map(|(point, scalar)| *point * *scalar);
        return products.fold(C::CurveExt::identity(), |sum, product| sum + product);
    }
    match Bases::new(points).msm(scalars, &NoControl) {
        Ok(sum) => sum,
        Err(Cancelled) => unreachable!("nobody can cancel"),
    }
}

/// Somebody asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PM-MSM-001: the sum was cancelled")]
pub struct Cancelled;

/// Who watches a sum and may end it. Asked before and told after every share, of which each thread takes about ten.
pub trait Control: Sync {
    /// Whether to stop.
    fn is_cancelled(&self) -> bool;
    /// `done` of `all` shares are finished.
    fn progress(&self, done: usize, all: usize);
}

/// Nobody watches.
pub struct NoControl;

impl Control for NoControl {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _done: usize, _all: usize) {}
}

impl<C: MsmCurve> Bases<C> {
    /// Sum of `scalars[i]` times point i.
    ///
    /// # Errors
    /// [`Cancelled`] when `control` says so.
    ///
    /// # Panics
    /// When there is not one scalar for each point.
    pub fn msm(&self, scalars: &[Fr], control: &dyn Control) -> Result<C::CurveExt, Cancelled> {
        assert_eq!(self.len(), scalars.len(), "one scalar per point");
        if self.is_empty() {
            return Ok(C::CurveExt::identity());
        }
        let plan = Plan::new(scalars.len(), rayon::current_num_threads());
        self.msm_with(&plan, scalars, control)
    }

    fn msm_with(&self, plan: &Plan, scalars: &[Fr], control: &dyn Control) -> Result<C::CurveExt, Cancelled> {
        let mut digits = Digits::new(scalars, plan.width);
        digits.clear(self.infinities());
        // SAFETY: the engine was checked when these bases were made.
        unsafe {
            match self.engine() {
                Engine::Ifma => self.sum_shares::<C::Ifma>(plan, &digits, control),
                Engine::Portable => self.sum_shares::<C::Portable>(plan, &digits, control),
                Engine::Emulated => self.sum_shares::<C::Emulated>(plan, &digits, control),
            }
        }
    }

    /// # Safety
    /// The processor has the instructions of `F`, in whose form the rows are.
    unsafe fn sum_shares<F: Kernels>(
        &self,
        plan: &Plan,
        digits: &Digits,
        control: &dyn Control,
    ) -> Result<C::CurveExt, Cancelled> {
        let shares = plan.shares(digits.blocks());
        let (next, done, stopped) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let sums = Mutex::new(Vec::with_capacity(shares.len()));
        let work = || {
            // SAFETY: the caller promises the instructions.
            let mut worker = unsafe { Worker::<F>::new() };
            let mut mine = Vec::new();
            while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                if control.is_cancelled() {
                    stopped.store(true, Ordering::Relaxed);
                    return;
                }
                mine.push((*share, worker.sum::<C>(self.rows(), digits, *share)));
                control.progress(done.fetch_add(1, Ordering::Relaxed) + 1, shares.len());
            }
            // Once per thread, when its work is done.
            sums.lock().unwrap_or_else(PoisonError::into_inner).extend(mine);
        };
        rayon::scope(|scope| (0..rayon::current_num_threads()).for_each(|_| scope.spawn(|_| work())));
        if stopped.into_inner() {
            return Err(Cancelled);
        }
        let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(combine(plan, sums.into_iter()))
    }
}

/// Σ over places of 2^(c·place) times the sum of its parts.
fn combine<P: Group>(plan: &Plan, sums: impl Iterator<Item = (Share, Vec<PartSum<P>>)>) -> P {
    let parts = plan.most_buckets().div_ceil(PART);
    let none = PartSum { weighted: P::identity(), plain: P::identity() };
    let mut of = vec![vec![none; parts]; plan.places()];
    for (share, sums) in sums {
        for (part, sum) in of[share.place][share.first / PART..].iter_mut().zip(sums) {
            part.weighted += sum.weighted;
            part.plain += sum.plain;
        }
    }
    of.iter().rev().fold(P::identity(), |sum, parts| {
        let higher = (0..plan.width).fold(sum, |sum, _| sum.double());
        // Part p counts its buckets from one, but they begin at p·PART.
        let (mut running, mut above) = (P::identity(), P::identity());
        for part in parts[1..].iter().rev() {
            running += part.plain;
            above += running;
        }
        let above = (0..PART.trailing_zeros()).fold(above, |above, _| above.double());
        parts.iter().fold(higher + above, |sum, part| sum + part.weighted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CurveAffine;
    use ff::Field;
    use group::Curve;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};

    fn naive<C: CurveAffine<ScalarExt = Fr>>(points: &[C], scalars: &[Fr]) -> C::Curve {
        points.iter().zip(scalars).fold(C::Curve::identity(), |sum, (point, scalar)| sum + *point * *scalar)
    }

    /// Points with repetitions, negatives and infinity among them; scalars with 0, 1, -1 and small ones among them.
    fn awkward<C: CurveAffine<ScalarExt = Fr>>(len: usize, seed: u64) -> (Vec<C>, Vec<Fr>) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let pool: Vec<C> = (0..8).map(|_| (C::generator() * Fr::random(&mut rng)).to_affine()).collect();
        let points = (0..len)
            .map(|i| match rng.next_u32() % 6 {
                0 => pool[i % 8],
                1 => pool[i % 8].neg(),
                2 => C::identity(),
                _ => (C::generator() * Fr::random(&mut rng)).to_affine(),
            })
            .collect();
        let scalars = (0..len)
            .map(|_| match rng.next_u32() % 8 {
                0 => Fr::ZERO,
                1 => Fr::ONE,
                2 => -Fr::ONE,
                3 => Fr::from(u64::from(rng.next_u32() % 5)),
                4 => Fr::from(77),
                _ => Fr::random(&mut rng),
            })
            .collect();
        (points, scalars)
    }

    #[test]
    fn awkward_inputs_of_every_size_class_agree_with_the_plain_sum() {
        for (seed, len) in [0, 1, 2, 3, 31, 32, 33, 200, 1100, 5000].into_iter().enumerate() {
            let (points, scalars) = awkward::<G1Affine>(len, seed as u64);
            assert_eq!(msm_g1(&points, &scalars), naive(&points, &scalars), "G1, {len}");
        }
        for (seed, len) in [0, 1, 31, 33, 300].into_iter().enumerate() {
            let (points, scalars) = awkward::<G2Affine>(len, seed as u64);
            assert_eq!(msm_g2(&points, &scalars), naive(&points, &scalars), "G2, {len}");
        }
    }

    fn check_engines<C: MsmCurve>(lens: &[usize], widths: &[u32]) {
        for (seed, len) in lens.iter().enumerate() {
            let (points, scalars) = awkward::<C>(*len, seed as u64 + 50);
            let expected = naive(&points, &scalars);
            for engine in Engine::all() {
                let bases = Bases::with_engine(&points, engine);
                for width in widths {
                    let plan = Plan { width: *width, threads: 3 };
                    let sum = bases.msm_with(&plan, &scalars, &NoControl).unwrap();
                    assert_eq!(sum, expected, "{engine:?}, {len} points, width {width}");
                }
            }
        }
    }

    #[test]
    fn every_engine_agrees_with_the_plain_sum_at_every_width() {
        check_engines::<G1Affine>(&[1, 7, 500, 5000], &[2, 4, 7, 11, 13, 16]);
        check_engines::<G2Affine>(&[1, 300], &[3, 8, 12]);
    }

    #[test]
    fn one_point_repeated_with_one_scalar_fills_one_bucket_correctly() {
        for len in [33, 3000, 30_000] {
            let point = G1Affine::generator();
            for scalar in [Fr::ONE, -Fr::ONE, Fr::from(0xdead_beef), Fr::from(2)] {
                let sum = msm_g1(&vec![point; len], &vec![scalar; len]);
                assert_eq!(sum, point * (scalar * Fr::from(len as u64)));
                let alternating: Vec<_> = (0..len).map(|i| if i % 2 == 0 { point } else { -point }).collect();
                let expected = if len % 2 == 0 { G1::identity() } else { point * scalar };
                assert_eq!(msm_g1(&alternating, &vec![scalar; len]), expected);
            }
        }
    }
}
