//! Batch-affine addition: many sums of two points with one field inversion.
//!
//! The sum of P₁ and P₂ has the slope s = (y₂ − y₁)/(x₂ − x₁), x₃ = s² − x₁ − x₂, y₃ = s·(x₁ − x₃) − y₁. The divisions of a
//! batch share one inversion (Montgomery's trick): 5 multiplications and a squaring for each sum. The batch is cut into
//! [`CHAINS`] interleaved products, so that multiplications that wait for each other leave room for others.
//!
//! The plain addition takes sums without a special case and notices when there is one: then some x₂ − x₁ is zero, and so is
//! the product of all. The complete one takes every sum, at about twice the cost. Infinity is (0, 0), which is not on the curves.
//!
//! Either is in two halves: on the way there through a batch ([`differences`], [`denominators`]) the second summands are read and
//! the denominators multiplied; on the way back ([`finish`], [`finish_complete`]) the sums are made. Only the first half depends
//! on where the summands come from, and is compiled for each kind of [`Source`]; most of the arithmetic is in the second.
//!
//! Source: Montgomery, "Speeding the Pollard and elliptic curve methods of factorization", 1987, section 10.3.1.

use super::coordinate::Coordinate;

/// Independent products in a batch.
pub const CHAINS: usize = 2;
/// Vectors between asking for memory and reading it.
pub(super) const AHEAD: usize = 8;

/// Eight points with loose coordinates.
#[derive(Clone, Copy)]
pub struct Points<F> {
    /// x of each.
    pub x: F,
    /// y of each.
    pub y: F,
}

/// Where the second summands come from.
pub trait Source<F: Coordinate> {
    /// Eight points for vector `at`, and the lanes in which their negatives are meant. Lanes outside of `active` may hold any
    /// point. Where a lane is to be negated, its y is canonical.
    ///
    /// # Safety
    /// The processor has the instructions of `F`; the first `at * 8 + active.count_ones()` summands exist.
    unsafe fn fetch(&self, at: usize, active: u8) -> (Points<F>, u8);

    /// Asks for the memory of a vector that comes later; it need not exist.
    #[inline(always)]
    fn prefetch(&self, _at: usize) {}
}

/// Memory for a batch.
pub struct Scratch<F> {
    steps: Vec<Step<F>>,
}

/// What the way back through a batch needs of a vector.
#[derive(Clone, Copy)]
struct Step<F> {
    /// The product of all differences of the chain before this one.
    prefix: F,
    /// x₂ − x₁, wide; in a complete addition x₂.
    x: F,
    /// y₂ − y₁, wide; in a complete addition y₂.
    y: F,
}

impl<F> Default for Scratch<F> {
    fn default() -> Self {
        Self { steps: Vec::new() }
    }
}

impl<F> Scratch<F> {
    fn reserve(&mut self, vectors: usize) {
        self.steps.clear();
        self.steps.reserve(vectors);
    }
}

/// Vectors that a batch of so many sums takes, a multiple of [`CHAINS`].
pub fn vectors(sums: usize) -> usize {
    sums.div_ceil(8 * CHAINS) * CHAINS
}

/// Lanes of vector `at` in use when the first `sums` lanes are.
#[inline(always)]
pub(super) fn active_lanes(sums: usize, at: usize) -> u8 {
    match sums.saturating_sub(at * 8) {
        left @ 0..8 => (1 << left) - 1,
        _ => u8::MAX,
    }
}

/// The first half of an addition: the products of the chains.
///
/// # Safety
/// The processor has the instructions of `F`; there are `sums` summands in the source and [`vectors`]`(sums)` vectors of points.
#[inline(always)]
pub unsafe fn differences<F: Coordinate, S: Source<F>>(
    points: &[Points<F>],
    sums: usize,
    source: &S,
    scratch: &mut Scratch<F>,
) -> [F; CHAINS] {
    let vectors = vectors(sums);
    let points = &points[..vectors];
    scratch.reserve(vectors);
    // SAFETY: the caller promises the instructions.
    let one = unsafe { F::one() };
    let mut product = [one; CHAINS];
    let steps = scratch.steps.spare_capacity_mut();
    let mut at = 0;
    while at < vectors {
        let mut differences = [one; CHAINS];
        for k in 0..CHAINS {
            source.prefetch(at + k + AHEAD);
            let active = active_lanes(sums, at + k);
            // SAFETY: the caller promises the instructions and the summands.
            let (other, negative) = unsafe { source.fetch(at + k, active) };
            let mine = &points[at + k];
            let mut difference = other.x.minus(mine.x);
            if active != u8::MAX {
                difference = one.blend(active, difference);
            }
            differences[k] = difference;
            steps[at + k].write(Step {
                prefix: product[k],
                x: difference,
                y: other.y.signed_minus(negative, mine.y),
            });
        }
        product = F::mul(&product, &differences);
        at += CHAINS;
    }
    // SAFETY: the loop wrote all of them.
    unsafe { scratch.steps.set_len(vectors) };
    product
}

/// The second half: `points[i] += source[i]` for the first `sums` lanes; false, with the points as they were, when one is a
/// point and itself or its negative. Not for infinity on either side, which it does not notice.
///
/// # Safety
/// The processor has the instructions of `F`; `product` is what [`differences`] gave for the same sums, and nothing has changed
/// the points and the scratch since.
#[inline(always)]
pub unsafe fn finish<F: Coordinate>(
    points: &mut [Points<F>],
    sums: usize,
    product: &[F; CHAINS],
    scratch: &Scratch<F>,
) -> bool {
    let Some(mut inverse) = invert_all(product) else { return false };
    let mut at = vectors(sums);
    let (points, steps) = (&mut points[..at], &scratch.steps[..at]);
    // SAFETY: the caller promises the instructions.
    let one = unsafe { F::one() };
    while at > 0 {
        at -= CHAINS;
        let (mut before, mut dx, mut dy) = ([one; CHAINS], [one; CHAINS], [one; CHAINS]);
        let (mut x, mut y) = ([one; CHAINS], [one; CHAINS]);
        for k in 0..CHAINS {
            let step = &steps[at + k];
            (before[k], dx[k], dy[k]) = (step.prefix, step.x, step.y);
            x[k] = points[at + k].x;
            y[k] = points[at + k].y;
        }
        let quotient = F::mul(&inverse, &before);
        inverse = F::mul(&inverse, &dx);
        let slope = F::mul(&dy, &quotient);
        let square = F::sqr(&slope);
        let (mut third, mut step) = ([one; CHAINS], [one; CHAINS]);
        for k in 0..CHAINS {
            third[k] = F::third_x(square[k], dx[k], x[k]);
            step[k] = x[k].minus(third[k]);
        }
        let rise = F::mul(&slope, &step);
        for k in 0..CHAINS {
            let sum = Points { x: third[k], y: F::third_y(rise[k], y[k]) };
            let active = active_lanes(sums, at + k);
            points[at + k] = if active == u8::MAX { sum } else { points[at + k].blend(active, sum) };
        }
    }
    true
}

/// The first half of a complete addition: the products of the chains.
///
/// # Safety
/// As for [`differences`].
#[inline(always)]
pub unsafe fn denominators<F: Coordinate, S: Source<F>>(
    points: &[Points<F>],
    sums: usize,
    source: &S,
    scratch: &mut Scratch<F>,
) -> [F; CHAINS] {
    let vectors = vectors(sums);
    scratch.reserve(vectors);
    // SAFETY: the caller promises the instructions.
    let one = unsafe { F::one() };
    let mut product = [one; CHAINS];
    let mut at = 0;
    while at < vectors {
        let mut denominators = [one; CHAINS];
        for k in 0..CHAINS {
            let active = active_lanes(sums, at + k);
            // SAFETY: the caller promises the instructions and the summands.
            let (mut other, negative) = unsafe { source.fetch(at + k, active) };
            if negative != 0 {
                other.y = other.y.negate_where(negative);
            }
            denominators[k] = one
                .blend(active, Case::of(&points[at + k], &other).denominator(&points[at + k], &other, one));
            scratch.steps.push(Step { prefix: product[k], x: other.x, y: other.y });
        }
        product = F::mul(&product, &denominators);
        at += CHAINS;
    }
    product
}

/// The second half, for any points: whether infinity is among the sums.
///
/// # Safety
/// As for [`finish`], with [`denominators`].
#[inline(always)]
pub unsafe fn finish_complete<F: Coordinate>(
    points: &mut [Points<F>],
    sums: usize,
    product: &[F; CHAINS],
    scratch: &Scratch<F>,
) -> bool {
    let mut inverse = match invert_all(product) {
        Some(inverse) => inverse,
        None => unreachable!("no denominator of a complete addition is zero"),
    };
    // SAFETY: the caller promises the instructions.
    let (zero, one) = unsafe { (F::zero(), F::one()) };
    let mut at = vectors(sums);
    let (points, steps) = (&mut points[..at], &scratch.steps[..at]);
    let mut infinite = 0;
    while at > 0 {
        at -= CHAINS;
        let (mut before, mut denominators) = ([one; CHAINS], [one; CHAINS]);
        let (mut others, mut cases) = ([Points { x: one, y: one }; CHAINS], [Case::default(); CHAINS]);
        for k in 0..CHAINS {
            let Step { prefix, x, y } = steps[at + k];
            others[k] = Points { x, y };
            cases[k] = Case::of(&points[at + k], &others[k]);
            let denominator = cases[k].denominator(&points[at + k], &others[k], one);
            (before[k], denominators[k]) = (prefix, one.blend(active_lanes(sums, at + k), denominator));
        }
        let quotient = F::mul(&inverse, &before);
        inverse = F::mul(&inverse, &denominators);
        for k in 0..CHAINS {
            let active = active_lanes(sums, at + k);
            let mine = points[at + k];
            let sum = cases[k].sum(&mine, &others[k], quotient[k], zero);
            points[at + k] = mine.blend(active, sum);
            infinite |= active & sum.infinities();
        }
    }
    infinite != 0
}

impl<F: Coordinate> Points<F> {
    /// `other` in the lanes of `mask`, `self` in the others.
    #[inline(always)]
    pub fn blend(self, mask: u8, other: Self) -> Self {
        Self { x: self.x.blend(mask, other.x), y: self.y.blend(mask, other.y) }
    }

    /// The lanes that hold infinity.
    #[inline(always)]
    pub fn infinities(&self) -> u8 {
        self.x.zeros() & self.y.zeros()
    }
}

/// Which kind of sum the lanes of two vectors of points have.
#[derive(Clone, Copy, Default)]
struct Case {
    one_infinite: u8,
    other_infinite: u8,
    doubled: u8,
    opposite: u8,
}

impl Case {
    #[inline(always)]
    fn of<F: Coordinate>(one: &Points<F>, other: &Points<F>) -> Self {
        let (one_infinite, other_infinite) = (one.infinities(), other.infinities());
        let same_x = other.x.minus(one.x).zeros() & !one_infinite & !other_infinite;
        let opposite = same_x & other.y.plus(one.y).zeros();
        Self { one_infinite, other_infinite, doubled: same_x & !opposite, opposite }
    }

    /// Never zero.
    #[inline(always)]
    fn denominator<F: Coordinate>(self, one: &Points<F>, other: &Points<F>, unit: F) -> F {
        let trivial = self.one_infinite | self.other_infinite | self.opposite;
        let difference = other.x.minus(one.x);
        difference.blend(self.doubled, one.y.plus(one.y)).blend(trivial, unit)
    }

    /// From the inverse of the denominator.
    #[inline(always)]
    fn sum<F: Coordinate>(self, one: &Points<F>, other: &Points<F>, quotient: F, zero: F) -> Points<F> {
        let square = F::sqr(&[one.x])[0];
        // The tangent has the slope 3x²/2y: 3·x² is x² times the quotient, three times.
        let tangent = F::mul(&[quotient], &[square])[0];
        let chord = F::mul(&[other.y.minus(one.y)], &[quotient])[0];
        let slope = chord.blend(self.doubled, tangent.thrice());
        let x = F::third_x(F::sqr(&[slope])[0], other.x.minus(one.x), one.x);
        let y = F::third_y(F::mul(&[slope], &[one.x.minus(x)])[0], one.y);
        Points { x, y }
            .blend(self.one_infinite, *other)
            .blend(self.other_infinite, *one)
            .blend(self.opposite, Points { x: zero, y: zero })
    }
}

/// Inverses of the products, unless one of them is zero in some lane. One inversion, of the product over chains and lanes.
#[inline(always)]
fn invert_all<F: Coordinate>(products: &[F; CHAINS]) -> Option<[F; CHAINS]> {
    let [a, b] = *products;
    let [all] = F::mul(&[a], &[b]);
    let pairs = F::mul(&[all], &[all.swap::<1>()])[0];
    let quads = F::mul(&[pairs], &[pairs.swap::<2>()])[0];
    let total = F::mul(&[quads], &[quads.swap::<4>()])[0];
    if total.zeros() != 0 {
        return None;
    }
    // From the top down: the inverse of a product, times one of its factors, is the inverse of the other.
    let inverse = total.invert_common();
    let inverse = F::mul(&[inverse], &[quads.swap::<4>()])[0];
    let inverse = F::mul(&[inverse], &[pairs.swap::<2>()])[0];
    let inverse = F::mul(&[inverse], &[all.swap::<1>()])[0];
    Some(F::mul(&[inverse, inverse], &[b, a]))
}
