//! Prime field arithmetic in radix 2^52, eight elements at a time.
//!
//! An element is five 52-bit limbs, least significant first, in Montgomery form with R = 2^260. Reduction is lazy; with p
//! the modulus, which lies between 2^253 and 2^254, three ranges occur:
//! - *canonical*: below p;
//! - *loose*: below 5/2·p, what multiplications and [`Field52::reduced`] give and what is kept in memory;
//! - *wide*: below 11·p, a difference or a sum on its way into a multiplication.
//!
//! Invariant: between functions the limbs are below 2^52. A product of a and b needs a·b ≤ 84·p², since 2^260 > 84·p.
//!
//! Nothing here branches on values or indexes memory by them, except [`Field52::zeros`] and what is built on it; it is
//! meant for public points and for witnesses on a prover's own machine, not as a defence against who measures it.
//!
//! Source: Montgomery multiplication by operand scanning as in Gueron and Krasnov, "Accelerating big integer arithmetic
//! using Intel IFMA extensions", ARITH 2016; replacing the lowest limb by a multiple of 1/2^52 modulo p, and the table of
//! multiples for partial reduction, are folklore.

#![expect(
    clippy::needless_range_loop,
    reason = "limbs are counted in the papers too, and iterators hide what goes where"
)]

use std::marker::PhantomData;

use super::lanes::{Lanes, MASK52};
use super::modulus::Constants;
pub use super::modulus::{Modulus, Q, R, to_limbs};

/// Eight elements of the field with modulus `M`.
#[derive(Clone, Copy)]
pub struct Field52<L, M> {
    pub(super) limbs: [L; 5],
    modulus: PhantomData<M>,
}

/// A 256-bit value in each lane as 64-bit words: how elements lie in memory.
pub type Packed<L> = [L; 4];

#[expect(
    clippy::should_implement_trait,
    reason = "bounds, which operators do not show, are part of the names' contract"
)]
impl<L: Lanes, M: Modulus> Field52<L, M> {
    #[inline(always)]
    pub(super) fn new(limbs: [L; 5]) -> Self {
        Self { limbs, modulus: PhantomData }
    }

    /// The same limbs in every lane.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    pub unsafe fn splat(limbs: &[u64; 5]) -> Self {
        // SAFETY: the caller promises the instructions.
        let splat = |i: usize| unsafe { L::splat(limbs[i]) };
        Self::new([splat(0), splat(1), splat(2), splat(3), splat(4)])
    }

    #[inline(always)]
    pub(super) fn multiple(k: usize, of: L) -> [L; 5] {
        let _shows_the_instructions = of;
        // SAFETY: there is a value of `L`.
        let splat = |i: usize| unsafe { L::splat(Constants::<M>::MULTIPLES[k][i]) };
        [splat(0), splat(1), splat(2), splat(3), splat(4)]
    }

    /// See [`Constants::FOLD`].
    #[inline(always)]
    fn fold(of: L) -> [L; 5] {
        let _shows_the_instructions = of;
        // SAFETY: there is a value of `L`.
        let splat = |i: usize| unsafe { L::splat(Constants::<M>::FOLD[i]) };
        [splat(0), splat(1), splat(2), splat(3), splat(4)]
    }

    /// Limbs of canonical or larger values of less than 256 bits.
    #[inline(always)]
    pub fn from_packed(w: Packed<L>) -> Self {
        // SAFETY: there is a value of `L`.
        let mask = unsafe { L::splat(MASK52) };
        Self::new([
            w[0].and(mask),
            w[0].shr_into::<52>(w[1]).and(mask),
            w[1].shr_into::<40>(w[2]).and(mask),
            w[2].shr_into::<28>(w[3]).and(mask),
            w[3].shr::<16>(),
        ])
    }

    /// The value in 64-bit words, canonical if `self` is.
    #[inline(always)]
    pub fn to_packed(self) -> Packed<L> {
        let l = self.limbs;
        [
            l[0].or(l[1].shl::<52>()),
            l[1].shr::<12>().or(l[2].shl::<40>()),
            l[2].shr::<24>().or(l[3].shl::<28>()),
            l[3].shr::<36>().or(l[4].shl::<16>()),
        ]
    }

    /// Limbs that may be negative or too large, of a value that is neither, as 52-bit limbs.
    #[inline(always)]
    pub(super) fn carried(mut l: [L; 5]) -> [L; 5] {
        // SAFETY: there is a value of `L`.
        let mask = unsafe { L::splat(MASK52) };
        for i in 0..4 {
            l[i + 1] = l[i + 1].add(l[i].sar::<52>());
            l[i] = l[i].and(mask);
        }
        l
    }

    /// a·b/R of `K` pairs at once, so that their latencies overlap: two have room in 32 registers. Loose, for a·b ≤ 84·p².
    #[inline(always)]
    pub fn mul<const K: usize>(a: &[Self; K], b: &[Self; K]) -> [Self; K] {
        if let Some(products) = L::mul(a, b) {
            return products;
        }
        // SAFETY: there is a value of `L`.
        let zero = unsafe { L::splat(0) };
        let mut t = [[zero; 10]; K];
        for i in 0..5 {
            for k in 0..K {
                for j in 0..5 {
                    t[k][i + j] = t[k][i + j].madd_low(a[k].limbs[i], b[k].limbs[j]);
                }
                for j in 0..5 {
                    t[k][i + j + 1] = t[k][i + j + 1].madd_high(a[k].limbs[i], b[k].limbs[j]);
                }
            }
        }
        Self::montgomery(t)
    }

    /// a·a/R. Loose, for a² ≤ 84·p².
    #[inline(always)]
    pub fn sqr<const K: usize>(a: &[Self; K]) -> [Self; K] {
        if let Some(squares) = L::sqr(a) {
            return squares;
        }
        // SAFETY: there is a value of `L`.
        let zero = unsafe { L::splat(0) };
        let mut t = [[zero; 10]; K];
        for k in 0..K {
            let a = &a[k].limbs;
            for i in 0..4 {
                for j in i + 1..5 {
                    t[k][i + j] = t[k][i + j].madd_low(a[i], a[j]);
                    t[k][i + j + 1] = t[k][i + j + 1].madd_high(a[i], a[j]);
                }
            }
            for i in 1..9 {
                t[k][i] = t[k][i].add(t[k][i]);
            }
            for i in 0..5 {
                t[k][2 * i] = t[k][2 * i].madd_low(a[i], a[i]);
                t[k][2 * i + 1] = t[k][2 * i + 1].madd_high(a[i], a[i]);
            }
        }
        Self::montgomery(t)
    }

    /// `sum` + a·b, in limbs that are not carried.
    #[inline(always)]
    pub(super) fn product_onto(mut sum: [L; 10], a: Self, b: Self) -> [L; 10] {
        if let Some(sum) = L::product_onto(&sum, &a.limbs, &b.limbs) {
            return sum;
        }
        for i in 0..5 {
            for j in 0..5 {
                sum[i + j] = sum[i + j].madd_low(a.limbs[i], b.limbs[j]);
                sum[i + j + 1] = sum[i + j + 1].madd_high(a.limbs[i], b.limbs[j]);
            }
        }
        sum
    }

    /// t/R of values between 0 and 84·p², whose limbs are not carried and may be negative. Loose.
    ///
    /// Four of the five limbs need no quotient digit: with f the constant [`Constants::FOLD`], 2^52·f is 1 modulo p, so that a
    /// lowest limb l = 2^52·h + m can be replaced by h + m·f one limb higher. That makes a reduction wait for half as many
    /// multiplications. What is left is below t/2^208 + 2^52·p/7, and below t/R + p/7 + p after the last, ordinary step.
    #[inline(always)]
    pub(super) fn montgomery<const K: usize>(mut t: [[L; 10]; K]) -> [Self; K] {
        if let Some(reduced) = L::montgomery(&t) {
            return reduced;
        }
        // SAFETY: there is a value of `L`.
        let (zero, mask, inverse) =
            unsafe { (L::splat(0), L::splat(MASK52), L::splat(Constants::<M>::MINUS_INVERSE)) };
        let (p, fold) = (Self::multiple(1, zero), Self::fold(zero));
        for i in 0..4 {
            for k in 0..K {
                let low = t[k][i];
                for j in 0..5 {
                    t[k][i + j + 1] = t[k][i + j + 1].madd_low(low, fold[j]);
                }
                t[k][i + 1] = t[k][i + 1].add(low.sar::<52>());
                for j in 0..5 {
                    t[k][i + j + 2] = t[k][i + j + 2].madd_high(low, fold[j]);
                }
            }
        }
        let mut reduced = [Self::new(p); K];
        for k in 0..K {
            let q = zero.madd_low(t[k][4], inverse);
            // With q·p the limb becomes a multiple of 2^52, the next one: its low product need not be computed. The sign is kept.
            t[k][5] = t[k][5].add(t[k][4].add(mask).sar::<52>());
            for j in 1..5 {
                t[k][4 + j] = t[k][4 + j].madd_low(q, p[j]);
            }
            for j in 0..5 {
                t[k][5 + j] = t[k][5 + j].madd_high(q, p[j]);
            }
            reduced[k] = Self::new(Self::carried([t[k][5], t[k][6], t[k][7], t[k][8], t[k][9]]));
        }
        reduced
    }

    /// 28·p², limb by limb.
    #[inline(always)]
    pub(super) fn lift(of: L) -> [L; 10] {
        let mut lift = [of; 10];
        for i in 0..10 {
            // SAFETY: there is a value of `L`.
            lift[i] = unsafe { L::splat(Constants::<M>::LIFT[i]) };
        }
        lift
    }

    /// a + b, below the sum of the bounds.
    #[inline(always)]
    pub fn add(self, other: Self) -> Self {
        let (a, b) = (self.limbs, other.limbs);
        let mut sum = a;
        for i in 0..5 {
            sum[i] = a[i].add(b[i]);
        }
        Self::new(Self::carried(sum))
    }

    /// 3·a, loose; for a below 3·p.
    #[inline(always)]
    pub fn thrice(self) -> Self {
        let mut l = self.limbs;
        for i in 0..5 {
            l[i] = l[i].add(l[i]).add(l[i]);
        }
        Self::reduced(l)
    }

    /// a − b + `LIFT`·p, for b ≤ `LIFT`·p; below the bound of a plus `LIFT`·p.
    #[inline(always)]
    pub fn sub<const LIFT: usize>(self, other: Self) -> Self {
        Self::new(Self::carried(self.difference::<LIFT>(other)))
    }

    /// As [`Field52::sub`], loose: for a − b + `LIFT`·p between p/4 and 10·p.
    #[inline(always)]
    pub fn sub_reduced<const LIFT: usize>(self, other: Self) -> Self {
        Self::reduced(self.difference::<LIFT>(other))
    }

    #[inline(always)]
    fn difference<const LIFT: usize>(self, other: Self) -> [L; 5] {
        let (a, b) = (self.limbs, other.limbs);
        let mut l = Self::multiple(LIFT, a[0]);
        for i in 0..5 {
            l[i] = l[i].add(a[i].sub(b[i]));
        }
        l
    }

    /// a − b − 2·c + `LIFT`·p, loose: for a value between p/4 and 10·p.
    #[inline(always)]
    pub fn sub_double<const LIFT: usize>(self, b: Self, c: Self) -> Self {
        let mut l = self.difference::<LIFT>(b);
        for i in 0..5 {
            l[i] = l[i].sub(c.limbs[i].add(c.limbs[i]));
        }
        Self::reduced(l)
    }

    /// (±a) − b + `LIFT`·p, minus in the lanes of `mask`; for a + b ≤ `LIFT`·p.
    #[inline(always)]
    pub fn signed_sub<const LIFT: usize>(self, mask: u8, other: Self) -> Self {
        let mut l = Self::multiple(LIFT, other.limbs[0]);
        for i in 0..5 {
            l[i] = l[i].add(self.limbs[i].negate_where(mask).sub(other.limbs[i]));
        }
        Self::new(Self::carried(l))
    }

    /// The lanes in which a canonical value is above a constant.
    #[inline(always)]
    pub fn above(self, constant: &[u64; 5]) -> u8 {
        // SAFETY: there is a value of `L`.
        let constant = unsafe { Self::splat(constant) };
        let mut l = self.limbs;
        for i in 0..5 {
            l[i] = constant.limbs[i].sub(l[i]);
        }
        Self::carried(l)[4].negatives()
    }

    /// −a in the lanes of `mask`, a elsewhere; for canonical a, and at most p.
    #[inline(always)]
    pub fn negate_where(self, mask: u8) -> Self {
        let p = Self::multiple(1, self.limbs[0]);
        let mut negative = p;
        for i in 0..5 {
            negative[i] = p[i].sub(self.limbs[i]);
        }
        self.blend(mask, Self::new(Self::carried(negative)))
    }

    /// Takes the largest multiple of p away that the highest limb shows to be in a value up to 10·p, whose limbs need not be
    /// carried, though where some are negative it must be above p/4: at most 2^254 + p remain, which is loose.
    ///
    /// The highest limb may be wrong by the few carries that it has not got. That is 2^-40 of p: too little to matter,
    /// since no i·2^254 lies so near to a multiple of p, and a value above p/4 does not look negative.
    #[inline(always)]
    fn reduced(mut l: [L; 5]) -> Self {
        let which = l[4].shr::<46>();
        for i in 0..5 {
            // SAFETY: there is a value of `L`.
            let table = unsafe { L::load(&Constants::<M>::FLOORS[i]) };
            l[i] = l[i].sub(which.look_up(table));
        }
        Self::new(Self::carried(l))
    }

    /// The canonical representative of a value up to 10·p.
    #[inline(always)]
    pub fn canonical(self) -> Self {
        Self::reduced(self.limbs).below_modulus().below_modulus()
    }

    /// a − p where that is not negative, a elsewhere.
    #[inline(always)]
    pub(super) fn below_modulus(self) -> Self {
        let p = Self::multiple(1, self.limbs[0]);
        let mut less = p;
        for i in 0..5 {
            less[i] = self.limbs[i].sub(p[i]);
        }
        let less = Self::carried(less);
        Self::new(less).blend(less[4].negatives(), self)
    }

    /// The lanes in which a value up to 10·p is zero modulo p.
    #[inline(always)]
    pub fn zeros(self) -> u8 {
        let l = self.canonical().limbs;
        l[0].or(l[1]).or(l[2]).or(l[3]).or(l[4]).zeros()
    }

    /// `other` in the lanes of `mask`, `self` in the others.
    #[inline(always)]
    pub fn blend(self, mask: u8, other: Self) -> Self {
        let mut l = self.limbs;
        for i in 0..5 {
            l[i] = l[i].blend(mask, other.limbs[i]);
        }
        Self::new(l)
    }

    /// Lane i gets what lane `i ^ BIT` has.
    #[inline(always)]
    pub fn swap<const BIT: usize>(self) -> Self {
        let mut l = self.limbs;
        for i in 0..5 {
            l[i] = l[i].swap::<BIT>();
        }
        Self::new(l)
    }
}
