//! Batch-affine additions against halo2curves: sums of distinct points, and those of a point with itself, its negative and
//! infinity.

use bn254::fixed_base::{FixedBase, FixedBaseCurve};
use bn254::raw;
use bn254::simd::affine::{Scratch, vectors};
use bn254::simd::kernels::{Kernels, NEGATIVE, Round};
use bn254::{Curve, Fr, G1Affine, G2Affine, Group, Isa, PrimeCurveAffine, dispatch};
use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

use crate::operands::{self, Element};

/// Points of a pool: few enough that sums of equal and opposite ones are drawn, besides those that are asked for.
const POOL: u32 = 256;
/// Sums of a check: fills several vectors, and mostly not the last one.
const MOST_SUMS: u32 = 60;
/// Numbers of the random generator that pools are drawn from, apart from those of checks.
const OF_POOL: u64 = u64::MAX;

pub struct Points {
    g1: Pool<G1Affine>,
    g2: Pool<G2Affine>,
}

impl Points {
    pub fn new(seed: u64) -> Self {
        let rng = &mut operands::rng(seed, OF_POOL);
        Self { g1: Pool::new(rng), g2: Pool::new(rng) }
    }

    /// # Errors
    /// What is wrong, and the operands.
    pub fn check_g1(&self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        self.g1.check(rng)
    }

    /// # Errors
    /// What is wrong, and the operands.
    pub fn check_g2(&self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        self.g2.check(rng)
    }
}

/// Points that sums are drawn from, as they are and as rows in the form of each instruction set.
struct Pool<C> {
    points: Vec<C>,
    rows: Vec<(Isa, Vec<u64>)>,
}

/// Two entries of the pool, of which the second may be meant negatively.
type Pair = (u32, u32);

impl<C: FixedBaseCurve> Pool<C> {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        let scalars: Vec<Fr> = (0..POOL).map(|_| Fr::draw(rng)).collect();
        let mut points =
            FixedBase::new(<C as PrimeCurveAffine>::generator(), scalars.len()).multiples(&scalars, |_| ());
        // Zero is drawn too, but the edge of all edges is not left to chance.
        points[0] = <C as PrimeCurveAffine>::identity();
        let (limbs, _) = raw::as_bytes(&points).as_chunks::<8>();
        let limbs: Vec<u64> = limbs.iter().map(|limb| u64::from_le_bytes(*limb)).collect();
        let rows = Isa::available().into_iter().map(|isa| {
            let mut rows = limbs.clone();
            C::import_rows(isa, &mut rows);
            (isa, rows)
        });
        Self { rows: rows.collect(), points }
    }

    fn check(&self, rng: &mut ChaCha8Rng) -> Result<(), String> {
        // Half of the batches have no special case, since only then the fast addition takes them.
        let special = rng.next_u32().is_multiple_of(2);
        let pairs: Vec<Pair> = (0..1 + rng.next_u32() % MOST_SUMS).map(|_| self.draw(rng, special)).collect();
        let sums: Vec<C::CurveExt> =
            pairs.iter().map(|pair| self.first(*pair) + self.second(*pair)).collect();
        let mut expected = vec![C::identity(); sums.len()];
        C::CurveExt::batch_normalize(&sums, &mut expected);
        let infinite = expected.iter().any(|sum| bool::from(sum.is_identity()));
        let is_plain = pairs.iter().all(|pair| !self.is_special(*pair));
        let with_infinity = pairs.iter().any(|(first, second)| {
            let of_pool = |entry: &u32| self.points[(entry & !NEGATIVE) as usize];
            bool::from(of_pool(first).is_identity() | of_pool(second).is_identity())
        });
        for (isa, rows) in &self.rows {
            // SAFETY: the instruction sets are available.
            let [complete, fast] =
                unsafe { dispatch!(*isa, L => sums_of::<C, C::Coordinate<L>>(rows, &pairs)) };
            let wrong = |what: &str, got: &Sums<C>| {
                let of_pool: Vec<(C, C)> = pairs
                    .iter()
                    .map(|pair| (self.first(*pair).to_affine(), self.second(*pair).to_affine()))
                    .collect();
                Err(format!("{what} on {isa} are {got:?} and should be {expected:?}; operands {of_pool:?}"))
            };
            if complete.sums != expected || complete.flag != infinite {
                return wrong("complete sums", &complete);
            }
            // Infinity is what the fast addition does not notice.
            if with_infinity {
                continue;
            }
            let unchanged: Vec<C> = pairs.iter().map(|pair| self.first(*pair).to_affine()).collect();
            if fast.flag != is_plain || fast.sums != if is_plain { &expected[..] } else { &unchanged } {
                return wrong("fast sums", &fast);
            }
        }
        Ok(())
    }

    fn draw(&self, rng: &mut ChaCha8Rng, special: bool) -> Pair {
        loop {
            let sign = if rng.next_u32().is_multiple_of(2) { NEGATIVE } else { 0 };
            let (first, second) = (rng.next_u32() % POOL, rng.next_u32() % POOL);
            let pair = match rng.next_u32() % 8 {
                _ if !special => (first, second | sign),
                0 => (first, first),
                1 => (first, first | NEGATIVE),
                2 => (0, second | sign),
                3 => (first, sign),
                _ => (first, second | sign),
            };
            if special || !self.is_special(pair) {
                return pair;
            }
        }
    }

    fn first(&self, (first, _): Pair) -> C::CurveExt {
        self.points[first as usize].to_curve()
    }

    fn second(&self, (_, second): Pair) -> C::CurveExt {
        let point = self.points[(second & !NEGATIVE) as usize].to_curve();
        if second & NEGATIVE == 0 { point } else { -point }
    }

    /// Whether the slope of the line through both is not (y₂ − y₁)/(x₂ − x₁).
    fn is_special(&self, pair: Pair) -> bool {
        let (first, second) = (self.first(pair), self.second(pair));
        bool::from(first.is_identity() | second.is_identity()) || first == second || first == -second
    }
}

/// What an addition gave.
#[derive(Debug)]
struct Sums<C> {
    sums: Vec<C>,
    /// What it returned.
    flag: bool,
}

/// By [`Kernels::add_complete`], and by [`Kernels::add`].
///
/// # Safety
/// The processor has the instructions of `K`; the rows are in its form.
unsafe fn sums_of<C: FixedBaseCurve, K: Kernels>(rows: &[u64], pairs: &[Pair]) -> [Sums<C>; 2] {
    let round = |entry: fn(&Pair) -> u32| -> Vec<u32> {
        // Whole vectors: what is added up ends with entries of any row.
        pairs.iter().map(entry).chain(std::iter::repeat(0)).take(8 * vectors(pairs.len())).collect()
    };
    let (first, second) = (round(|pair| pair.0), round(|pair| pair.1));
    let (first, second) = (Round::new(rows, &first), Round::new(rows, &second));
    let to: Vec<u32> = (0..pairs.len() as u32).collect();
    [true, false].map(|complete| {
        let (mut points, mut scratch) = (Vec::new(), Scratch::default());
        let mut sums = vec![C::identity(); pairs.len()];
        let mut words = vec![0; pairs.len() * C::ROW];
        // SAFETY: there are whole vectors of entries, which name rows of the pool, and a row for each result; the caller promises
        // the rest.
        let flag = unsafe {
            K::load(&mut points, pairs.len(), &first);
            let flag = if complete {
                K::add_complete(&mut points, pairs.len(), &second, &mut scratch)
            } else {
                K::add(&mut points, pairs.len(), &second, &mut scratch)
            };
            K::store(&points, pairs.len(), &mut words, &to);
            K::export_rows(&mut words);
            flag
        };
        raw::as_bytes_mut(&mut sums).copy_from_slice(raw::as_bytes(&words));
        Sums { sums, flag }
    })
}
