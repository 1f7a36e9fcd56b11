//! Multi-scalar multiplication: sum of scalar_i * point_i in G1 and G2.
//!
//! Pippenger's bucket method with signed digits. Every addition is batch-affine and vectorised where the processor allows:
//!
//! | module | purpose |
//! |---|---|
//! | [`bases`] | points laid out once for many sums |
//! | `digits` | scalars as signed digits |
//! | `plan` | the width of the digits, by a cost model |
//! | `buckets` | the sums of the buckets of one place |
//!
//! The work is cut into shares (place of the digits, range of buckets, range of points) that know nothing of each other; threads
//! take them from a counter, of several sums one after the other ([`sum_all`]), which may share their scalars' digits. Zeros have no digits and cost nothing but their recoding; small scalars, of either sign, have few.
//!
//! Invariant: the result does not depend on the instruction set, the number of threads or the order in which shares are taken.
//! Running time and memory access depend on the scalars: nothing here is constant-time.
//!
//! Source: Pippenger, "On the evaluation of powers and related problems", FOCS 1976.

pub mod bases;
mod buckets;
mod digits;
mod plan;

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use group::Group;

pub use bases::Bases;
pub use digits::Digits;

use crate::parallel::for_each_dynamic;
use crate::simd::SimdCurve;
use crate::simd::kernels::Kernels;
use crate::{Fr, G1, G1Affine, G2, G2Affine, dispatch};
use buckets::{PartSum, Worker};
use digits::BLOCK;
use plan::{PART, Plan, Share};

/// A curve with multi-scalar multiplication.
pub trait MsmCurve: SimdCurve {
    /// Works out one share of a sum.
    #[doc(hidden)]
    fn work_share(sum: &Sum<'_, Self>, share: usize, workers: &mut Workers);
}

impl MsmCurve for G1Affine {
    fn work_share(sum: &Sum<'_, Self>, share: usize, workers: &mut Workers) {
        sum.work_share(share, workers);
    }
}

impl MsmCurve for G2Affine {
    fn work_share(sum: &Sum<'_, Self>, share: usize, workers: &mut Workers) {
        sum.work_share(share, workers);
    }
}

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

/// Who watches sums and may end them. Asked before and told after every share, of which each thread takes about ten in a sum.
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
    /// Sum of the points times their scalars.
    ///
    /// # Errors
    /// [`Cancelled`] when `control` says so.
    ///
    /// # Panics
    /// When there are not [`Bases::scalars`] of them.
    pub fn msm(&self, scalars: &[Fr], control: &dyn Control) -> Result<C::CurveExt, Cancelled> {
        let digits = Digits::new(scalars, self.len());
        let sum = Sum::new(self, &digits);
        sum_all(&[&sum], control)?;
        Ok(sum.result())
    }
}

/// A sum that is to be, or has been, worked out by [`sum_all`].
pub struct Sum<'a, C: MsmCurve> {
    bases: &'a Bases<C>,
    digits: &'a Digits,
    plan: Plan,
    shares: Vec<Share>,
    sums: Mutex<Vec<(Share, Vec<PartSum<C::CurveExt>>)>>,
    nanoseconds: AtomicU64,
}

impl<'a, C: MsmCurve> Sum<'a, C> {
    /// The sum of the points times their scalars, which may be shared with other sums.
    ///
    /// # Panics
    /// When there is not a scalar for each column of the bases.
    pub fn new(bases: &'a Bases<C>, digits: &'a Digits) -> Self {
        assert_eq!(bases.scalars(), digits.count(), "the scalars of these bases");
        let plan = Plan { width: digits.width(), threads: rayon::current_num_threads() };
        let shares = if bases.is_empty() { Vec::new() } else { plan.shares(bases.len().div_ceil(BLOCK)) };
        let sums = Mutex::new(Vec::with_capacity(shares.len()));
        Self { bases, digits, plan, shares, sums, nanoseconds: AtomicU64::new(0) }
    }

    /// The sum.
    ///
    /// # Panics
    /// When [`sum_all`] has not finished it.
    pub fn result(self) -> C::CurveExt {
        let sums = self.sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(sums.len(), self.shares.len(), "a sum that is finished");
        combine(&self.plan, sums.into_iter())
    }

    /// Time that threads have spent on it, all taken together.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    fn work_share(&self, share: usize, workers: &mut Workers) {
        let share = self.shares[share];
        // SAFETY: the instruction set was checked when these bases were made.
        unsafe { dispatch!(self.bases.isa(), L => self.do_share::<C::Coordinate<L>>(share, workers)) }
    }

    /// # Safety
    /// The processor has the instructions of `F`, in whose form the rows are.
    unsafe fn do_share<F: Kernels>(&self, share: Share, workers: &mut Workers) {
        // SAFETY: the caller promises the instructions.
        let worker = workers.get(|| unsafe { Worker::<F>::new() });
        let start = Instant::now();
        let sum = worker.sum::<C>(self.bases, self.digits, share);
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).push((share, sum));
    }
}

/// A sum of any curve, for [`sum_all`].
pub trait Work: Sync {
    /// Shares that it is cut into.
    fn shares(&self) -> usize;

    /// Works one of them out.
    fn work(&self, share: usize, workers: &mut Workers);
}

impl<C: MsmCurve> Work for Sum<'_, C> {
    fn shares(&self) -> usize {
        self.shares.len()
    }

    fn work(&self, share: usize, workers: &mut Workers) {
        C::work_share(self, share, workers);
    }
}

/// The memory of a thread: a worker for each kind of coordinate that it has met.
#[derive(Default)]
pub struct Workers(Vec<Box<dyn Any>>);

impl Workers {
    fn get<W: 'static>(&mut self, new: impl FnOnce() -> W) -> &mut W {
        let known = self.0.iter().position(|worker| worker.is::<W>());
        let place = known.unwrap_or_else(|| {
            self.0.push(Box::new(new()));
            self.0.len() - 1
        });
        match self.0[place].downcast_mut() {
            Some(worker) => worker,
            None => unreachable!("the worker at this place is of this kind"),
        }
    }
}

/// Works sums out on all threads, one after the other: threads go on to the next without waiting for each other.
///
/// # Errors
/// [`Cancelled`] when `control` says so; the sums are of no use then.
pub fn sum_all(works: &[&dyn Work], control: &dyn Control) -> Result<(), Cancelled> {
    let all: usize = works.iter().map(|work| work.shares()).sum();
    let (done, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    for_each_dynamic(all, Workers::default, |workers, mut share| {
        if control.is_cancelled() {
            stopped.store(true, Ordering::Relaxed);
            return;
        }
        for work in works {
            if share < work.shares() {
                work.work(share, workers);
                break;
            }
            share -= work.shares();
        }
        control.progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
    });
    if stopped.into_inner() { Err(Cancelled) } else { Ok(()) }
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
mod tests;
