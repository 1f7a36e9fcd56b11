//! The kernels one at a time, on one core and from its cache, for whoever measures them: `benches/kernels.rs` by the clock,
//! `src/bin/cycles.rs` by the processor's counters.

use bn254::fixed_base::{FixedBase, FixedBaseCurve};
use bn254::ntt::Generator;
use bn254::raw;
use bn254::simd::SimdCurve;
use bn254::simd::affine::{CHAINS, Points, Scratch};
use bn254::simd::kernels::{Kernels, Round, Vectors};
#[cfg(target_arch = "x86_64")]
use bn254::simd::{InstructionSet, avx512::Ifma, coordinate::Coordinate};
use bn254::{Domain, Field, Fq, Fq2, Fr, G1Affine, G2Affine, Isa, PrimeCurveAffine, dispatch};
use circuits::poseidon;
use rand_core::OsRng;

/// Products of a run, one after the other.
const PRODUCTS: usize = 1_000;
/// Sums of a batch: what they take fits the second level of the cache.
const SUMS: usize = 512;
/// log2 of the size of a transform.
const TRANSFORM: u32 = 14;
/// Hashes of a run.
const HASHES: usize = 20;

/// Something small that is measured.
pub struct Kernel {
    /// What it does.
    pub work: &'static str,
    /// By what means.
    pub how: String,
    /// How many of what it does are in a run.
    pub elements: u64,
    run: Box<dyn FnMut()>,
}

impl Kernel {
    fn new(work: &'static str, how: impl Into<String>, elements: usize, run: impl FnMut() + 'static) -> Self {
        Self { work, how: how.into(), elements: elements as u64, run: Box::new(run) }
    }

    pub fn run(&mut self) {
        (self.run)();
    }
}

/// Makes the calling thread the only one that transforms run on.
///
/// # Errors
/// If there are threads already.
pub fn on_this_thread() -> eyre::Result<()> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?)
}

/// Everything that this processor runs.
///
/// # Errors
/// If there is no domain of the transform's size.
pub fn all() -> eyre::Result<Vec<Kernel>> {
    let mut kernels = vec![];
    kernels.extend(products::<Fq, G1Affine>("Fq product"));
    kernels.extend(products::<Fq2, G2Affine>("Fq2 product"));
    kernels.extend(additions::<G1Affine>("G1 addition"));
    kernels.extend(additions::<G2Affine>("G2 addition"));
    kernels.push(Kernel::new("Poseidon", "P5", HASHES, {
        // P5 is the one whose results nobody remembers.
        let mut state = random();
        move || (0..HASHES).for_each(|_| state[0] = poseidon::hash5(state))
    }));
    for isa in instruction_sets() {
        let domain = Domain::with_isa(TRANSFORM, Generator::Five, isa)?;
        let mut values: Vec<Fr> = (0..domain.size()).map(|_| Fr::random(OsRng)).collect();
        kernels.push(Kernel::new("NTT 2^14", format!("{isa:?}"), domain.size(), move || {
            domain.ntt_to_reversed(&mut values);
        }));
    }
    Ok(kernels)
}

/// Those that are fast; the other is there for tests.
fn instruction_sets() -> impl Iterator<Item = Isa> {
    Isa::available().into_iter().filter(|isa| *isa != Isa::Emulated)
}

fn random<F: Field, const N: usize>() -> [F; N] {
    std::array::from_fn(|_| F::random(OsRng))
}

/// Products that wait for each other, of one or several at a time.
fn products<E: Field, C: SimdCurve>(work: &'static str) -> Vec<Kernel> {
    let mut kernels = vec![scalar_products::<E, 1>(work), scalar_products::<E, 4>(work)];
    #[cfg(target_arch = "x86_64")]
    if Isa::Ifma.is_available() {
        kernels.extend([
            vector_products::<E, C, 1>(work),
            vector_products::<E, C, 2>(work),
            vector_products::<E, C, 4>(work),
        ]);
    }
    kernels
}

fn scalar_products<E: Field, const K: usize>(work: &'static str) -> Kernel {
    let (mut state, by) = (random::<E, K>(), random::<E, K>());
    Kernel::new(work, format!("halo2curves, {K} in flight"), PRODUCTS * K, move || {
        for _ in 0..PRODUCTS {
            for (value, by) in state.iter_mut().zip(&by) {
                *value *= by;
            }
        }
        std::hint::black_box(&mut state);
    })
}

/// # Panics
/// When the processor lacks AVX-512 IFMA.
#[cfg(target_arch = "x86_64")]
fn vector_products<E: Field, C: SimdCurve, const K: usize>(work: &'static str) -> Kernel {
    assert!(Isa::Ifma.is_available(), "this processor has no AVX-512 IFMA");
    let vectors = || -> [C::Coordinate<Ifma>; K] {
        let rows: [[E; 2]; 8] = std::array::from_fn(|_| random());
        // SAFETY: rows of two elements have 2 * WORDS words; the processor has the instructions.
        std::array::from_fn(|_| unsafe {
            <C::Coordinate<Ifma>>::gather(&std::array::from_fn(|i| rows[i].as_ptr().cast())).0
        })
    };
    let (mut state, by) = (vectors(), vectors());
    Kernel::new(work, format!("IFMA, {K} x 8 in flight"), PRODUCTS * K * 8, move || {
        // SAFETY: the processor has the instructions.
        unsafe {
            Ifma::run(
                #[inline(always)]
                || {
                    for _ in 0..PRODUCTS {
                        state = <C::Coordinate<Ifma>>::mul(&state, &by);
                    }
                },
            );
        }
        std::hint::black_box(&mut state);
    })
}

/// Batch-affine additions, of points from rows and from vectors.
fn additions<C: FixedBaseCurve>(work: &'static str) -> Vec<Kernel> {
    let mut kernels = vec![];
    for isa in instruction_sets() {
        // SAFETY: the instruction set is available.
        kernels.extend(unsafe { dispatch!(isa, L => additions_by::<C, C::Coordinate<L>>(work, isa)) });
    }
    kernels
}

/// # Safety
/// The processor has the instructions of `K`.
unsafe fn additions_by<C: FixedBaseCurve, K: Kernels>(work: &'static str, isa: Isa) -> [Kernel; 2] {
    let scalars: Vec<Fr> = (0..2 * SUMS).map(|_| Fr::random(OsRng)).collect();
    let generator = <C as PrimeCurveAffine>::generator();
    let of_rows: Vec<C> = FixedBase::new(generator, scalars.len()).multiples(&scalars, |_| ());
    let (limbs, _) = raw::as_bytes(&of_rows).as_chunks::<8>();
    let mut rows: Vec<u64> = limbs.iter().map(|limb| u64::from_le_bytes(*limb)).collect();
    // The first half of the rows begins sums, the other is added to them.
    const { assert!(SUMS.is_multiple_of(8 * CHAINS), "whole vectors") };
    let first: Vec<u32> = (0..SUMS as u32).collect();
    let second: Vec<u32> = first.iter().map(|row| SUMS as u32 + row).collect();
    let (mut points, mut others): (Vec<Points<K>>, Vec<Points<K>>) = (vec![], vec![]);
    // SAFETY: the rows are of curve points, and every entry names one; the caller promises the instructions.
    unsafe {
        K::import_rows(&mut rows);
        K::load(&mut points, SUMS, &Round::new(&rows, &first));
        K::load(&mut others, SUMS, &Round::new(&rows, &second));
    }
    let (mut sums, mut scratch) = (points.clone(), Scratch::default());
    let from_rows = Kernel::new(work, format!("{isa:?}, from rows"), SUMS, move || {
        // SAFETY: as above. P + Q, P + 2Q and so on have no special case that anybody would live to see.
        unsafe { K::add(&mut sums, SUMS, &Round::new(&rows, &second), &mut scratch) };
    });
    let (mut sums, mut scratch) = (points, Scratch::default());
    let from_vectors = Kernel::new(work, format!("{isa:?}, from vectors"), SUMS, move || {
        // SAFETY: as above.
        unsafe { K::add(&mut sums, SUMS, &Vectors(&others), &mut scratch) };
    });
    [from_rows, from_vectors]
}
