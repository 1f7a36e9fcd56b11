//! Constantine's multi-scalar multiplications, from its shared library.
//!
//! Its C interface takes points and scalars as halo2curves keeps them: limbs of the Montgomery form with 2^256, least significant
//! first. In G1 it sums with a pool of threads; in G2 the interface has only the sum on one thread.

use std::ffi::{c_int, c_void};
use std::rc::Rc;

use bn254::{CurveExt, Field, Fq, Fq2, Fr, G1Affine, G2Affine, msm_g1, msm_g2, raw};
use eyre::{Context, OptionExt, bail};
use libloading::Library;

use crate::child::{Prover, Work};
use crate::dense;
use crate::size::Size;

/// Names the shared library.
pub const LIBRARY: &str = "PROOFMILL_CONSTANTINE";

type NewPool = unsafe extern "C" fn(c_int) -> *mut c_void;
type EndPool = unsafe extern "C" fn(*mut c_void);
/// Pool, sum in Jacobian coordinates, scalars, points, how many.
type ParallelSum = unsafe extern "C" fn(*const c_void, *mut Jacobian<Fq>, *const Fr, *const G1Affine, usize);
/// The same without a pool.
type SerialSum = unsafe extern "C" fn(*mut Jacobian<Fq2>, *const Fr, *const G2Affine, usize);

#[derive(Clone, Copy)]
#[repr(C)]
struct Jacobian<F> {
    x: F,
    y: F,
    z: F,
}

pub struct Constantine(Rc<Loaded>);

/// The library and its threads. Constantine asks that the thread that made a pool uses it: this one is never sent to another.
struct Loaded {
    pool: *mut c_void,
    end_pool: EndPool,
    in_g1: ParallelSum,
    in_g2: SerialSum,
    /// What the pointers above point into.
    _library: Library,
}

impl Constantine {
    /// # Errors
    /// If there is no library, or not the functions that it should have.
    pub fn load() -> eyre::Result<Self> {
        let path = std::env::var_os(LIBRARY).ok_or_eyre("no library is named")?;
        // SAFETY: loading runs what the library does when it is loaded; whoever sets the variable trusts it.
        let library = unsafe { Library::new(&path) }.wrap_err("the library does not load")?;
        // SAFETY: the types are those of the library's C headers.
        let (new_pool, end_pool, in_g1, in_g2) = unsafe {
            (
                *library.get::<NewPool>(b"ctt_threadpool_new\0")?,
                *library.get::<EndPool>(b"ctt_threadpool_shutdown\0")?,
                *library.get::<ParallelSum>(
                    b"ctt_bn254_snarks_g1_jac_multi_scalar_mul_fr_coefs_vartime_parallel\0",
                )?,
                *library.get::<SerialSum>(b"ctt_bn254_snarks_g2_jac_multi_scalar_mul_fr_coefs_vartime\0")?,
            )
        };
        if !raw::layout_is_as_documented() {
            bail!("points do not lie in memory as Constantine takes them");
        }
        // SAFETY: any number of threads is fine.
        let pool = unsafe { new_pool(c_int::try_from(rayon::current_num_threads())?) };
        if pool.is_null() {
            bail!("it makes no threads");
        }
        Ok(Self(Rc::new(Loaded { pool, end_pool, in_g1, in_g2, _library: library })))
    }
}

impl Loaded {
    fn sum_in_g1(&self, scalars: &[Fr], points: &[G1Affine]) -> Jacobian<Fq> {
        assert_eq!(scalars.len(), points.len(), "one scalar per point");
        let mut sum = Jacobian { x: Fq::ONE, y: Fq::ONE, z: Fq::ZERO };
        // SAFETY: the pool is alive and of this thread; there are as many scalars as points.
        unsafe { (self.in_g1)(self.pool, &raw mut sum, scalars.as_ptr(), points.as_ptr(), points.len()) };
        sum
    }

    fn sum_in_g2(&self, scalars: &[Fr], points: &[G2Affine]) -> Jacobian<Fq2> {
        assert_eq!(scalars.len(), points.len(), "one scalar per point");
        let mut sum = Jacobian { x: Fq2::ONE, y: Fq2::ONE, z: Fq2::ZERO };
        // SAFETY: there are as many scalars as points.
        unsafe { (self.in_g2)(&raw mut sum, scalars.as_ptr(), points.as_ptr(), points.len()) };
        sum
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the pool is alive, and nobody uses it after this.
        unsafe { (self.end_pool)(self.pool) };
    }
}

impl Prover for Constantine {
    fn version(&self) -> String {
        "as installed; msm-g2 on one thread, which is all that its C interface has".to_owned()
    }

    fn prepare(&mut self, work: &str, size: Size) -> eyre::Result<Work> {
        let loaded = Rc::clone(&self.0);
        Ok(match (work, size) {
            ("msm-g1", Size::Log(log)) => {
                let (points, scalars) = (dense::points::<G1Affine>(log), dense::random(log));
                check(loaded.sum_in_g1(&scalars, &points), msm_g1(&points, &scalars))?;
                Work::here(move || {
                    std::hint::black_box(loaded.sum_in_g1(&scalars, &points));
                    Ok(())
                })
            }
            ("msm-g2", Size::Log(log)) => {
                let (points, scalars) = (dense::points::<G2Affine>(log), dense::random(log));
                check(loaded.sum_in_g2(&scalars, &points), msm_g2(&points, &scalars))?;
                Work::here(move || {
                    std::hint::black_box(loaded.sum_in_g2(&scalars, &points));
                    Ok(())
                })
            }
            _ => bail!("does no {work}"),
        })
    }
}

/// Whether it is the point that we get: a wrong binding is measured by nobody.
fn check<C: CurveExt>(theirs: Jacobian<C::Base>, ours: C) -> eyre::Result<()> {
    match C::new_jacobian(theirs.x, theirs.y, theirs.z).into_option() {
        Some(theirs) if theirs == ours => Ok(()),
        Some(_) => bail!("its sum is not ours"),
        None => bail!("its sum is not on the curve"),
    }
}
