//! Butterflies over tiles: a few layers of a transform on elements that stay in the nearest caches.
//!
//! A tile is a number of rows of sixteen elements each, as two vectors: one has the elements at even places of a row, the
//! other those at odd ones. In layers that pair elements at least a row apart all lanes share their twiddle factor. What is
//! left, distances 8, 4, 2 and 1, is done on groups of eight rows in another order (*leaves*): vector j has element j of each of the
//! eight rows, so that lanes differ in their factors, and pairs are vectors again.
//!
//! Twiddle factors are in Montgomery form with 2^260, elements in that with 2^256 before and after their multiplication.
//!
//! Invariants (with r the modulus): *scatter* takes values below 6·r and each of its layers adds at most 2·r: 14 layers stay
//! below 34·r, where products, loose below 2·r, are still exact. *Gather* takes and gives values below 3·r.
//!
//! Two layers go together (radix 4), so that values are read and written half as often. Source: Cooley and Tukey, "An algorithm
//! for the machine calculation of complex Fourier series", 1965; Gentleman and Sande, "Fast Fourier transforms: for fun and
//! profit", 1966; delayed reduction as in Harvey, "Faster arithmetic for number-theoretic transforms", 2014.

use crate::Fr;
use crate::simd::field52::{Field52, R};
use crate::simd::lanes::Lanes;
use crate::simd::uncarried::Uncarried;

/// Elements of a row.
pub const ROW: usize = 16;
/// Vectors of a row.
const WIDTH: usize = 2;
/// Vectors of a group of eight rows.
const GROUP: usize = 16;
/// Bits that a block of leaves spans: eight rows.
pub const LEAST_LOG: u32 = 7;

type Element<L> = Field52<L, R>;
/// Eight elements in the middle of a transform.
pub type Value<L> = Uncarried<L, R>;

/// Rows of sixteen elements, `stride` elements apart.
///
/// # Safety
/// Of everything here: the processor has the instructions of `L`; the rows of all arguments can be read and written and nobody
/// else does; the tables have the factors of all layers, and one entry more.
#[derive(Clone, Copy)]
pub struct Rows {
    /// The first element of the first row.
    pub first: *mut Fr,
    /// Elements from one row to the next.
    pub stride: usize,
    /// How many rows, a power of two.
    pub count: usize,
}

impl Rows {
    /// Where the eight pairs of elements of a row begin.
    #[inline(always)]
    fn pairs(&self, row: usize) -> [*mut u64; 8] {
        let mut pairs = [self.first.wrapping_add(row * self.stride).cast::<u64>(); 8];
        let mut pair = 0;
        while pair < 8 {
            pairs[pair] = pairs[pair].wrapping_add(8 * pair);
            pair += 1;
        }
        pairs
    }

    /// Where elements `2 * pair` and the next of eight rows begin.
    #[inline(always)]
    fn leaves(&self, row: usize, pair: usize) -> [*mut u64; 8] {
        let mut rows = [self.first.wrapping_add(row * self.stride + 2 * pair).cast::<u64>(); 8];
        let mut i = 0;
        while i < 8 {
            rows[i] = rows[i].wrapping_add(4 * i * self.stride);
            i += 1;
        }
        rows
    }
}

/// The factors of a block and its sub-blocks.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// Twiddle factors of every layer: entry b is for block b.
    pub table: &'a [Fr],
    /// The number of this block in its layer.
    pub block: usize,
}

impl Layers<'_> {
    /// The factor of sub-block `at` of as many as `blocks`, in every lane.
    ///
    /// # Safety
    /// See [`Rows`].
    #[inline(always)]
    unsafe fn factor<L: Lanes>(&self, blocks: usize, at: usize) -> Element<L> {
        let words = &self.table[self.block * blocks + at].0;
        // SAFETY: the caller promises the instructions.
        unsafe {
            Element::from_packed([
                L::splat(words[0]),
                L::splat(words[1]),
                L::splat(words[2]),
                L::splat(words[3]),
            ])
        }
    }

    /// The factor of sub-block `at` of as many as `blocks`, and those of its halves.
    ///
    /// # Safety
    /// See [`Rows`].
    #[inline(always)]
    unsafe fn factors<L: Lanes>(&self, blocks: usize, at: usize) -> (Element<L>, [Element<L>; 2]) {
        // SAFETY: the caller promises what the function asks for.
        unsafe {
            let halves = [self.factor(2 * blocks, 2 * at), self.factor(2 * blocks, 2 * at + 1)];
            (self.factor(blocks, at), halves)
        }
    }

    /// For eight sub-blocks from `first` on, of as many as `blocks`, the factors of their own sub-blocks 2·`pair` and 2·`pair` + 1 of
    /// `2^depth` each, or of the sub-blocks themselves (and something) for depth 0.
    ///
    /// # Safety
    /// See [`Rows`].
    #[inline(always)]
    unsafe fn pair_of_factors<L: Lanes>(&self, first: usize, depth: u32, pair: usize) -> [Element<L>; 2] {
        let start = (first << depth) + 2 * pair;
        let entries = &self.table[start..start + (7 << depth) + 2];
        let mut rows = [entries.as_ptr().cast::<u64>(); 8];
        let mut i = 0;
        while i < 8 {
            rows[i] = rows[i].wrapping_add((4 * i) << depth);
            i += 1;
        }
        // SAFETY: the slice above has two entries for each row; the caller promises the instructions.
        let w = unsafe { L::gather(&rows) };
        [Element::from_packed([w[0], w[1], w[2], w[3]]), Element::from_packed([w[4], w[5], w[6], w[7]])]
    }
}

/// The factors of the four layers of a group of leaves: 1, 2, 4 and 8 vectors.
struct LeafFactors<L> {
    eights: Element<L>,
    fours: [Element<L>; 2],
    twos: [[Element<L>; 2]; 2],
    ones: [[Element<L>; 2]; 4],
}

impl<L: Lanes> LeafFactors<L> {
    /// For the eight rows from number `first` on in the layer whose blocks are rows.
    ///
    /// # Safety
    /// See [`Rows`].
    #[inline(always)]
    unsafe fn load(layers: &Layers<'_>, first: usize) -> Self {
        // SAFETY: the caller promises what the function asks for.
        unsafe {
            Self {
                eights: layers.pair_of_factors(first, 0, 0)[0],
                fours: layers.pair_of_factors(first, 1, 0),
                twos: [layers.pair_of_factors(first, 2, 0), layers.pair_of_factors(first, 2, 1)],
                ones: [
                    layers.pair_of_factors(first, 3, 0),
                    layers.pair_of_factors(first, 3, 1),
                    layers.pair_of_factors(first, 3, 2),
                    layers.pair_of_factors(first, 3, 3),
                ],
            }
        }
    }
}

/// Two layers of a scatter: `upper` is the factor of the first, `lower` are those of its halves.
#[inline(always)]
fn scatter_four<L: Lanes>(a: [Value<L>; 4], upper: Element<L>, lower: [Element<L>; 2]) -> [Value<L>; 4] {
    let [p2, p3] = Element::mul(&[a[2].carried(), a[3].carried()], &[upper, upper]);
    let (p2, p3) = (p2.into(), p3.into());
    let (b0, b1) = (a[0].plus(p2), a[1].plus(p3));
    let (b2, b3) = (a[0].minus::<2>(p2), a[1].minus::<2>(p3));
    let [p1, p3] = Element::mul(&[b1.carried(), b3.carried()], &lower);
    let (p1, p3) = (p1.into(), p3.into());
    [b0.plus(p1), b0.minus::<2>(p1), b2.plus(p3), b2.minus::<2>(p3)]
}

/// Two layers of a gather.
#[inline(always)]
fn gather_four<L: Lanes>(a: [Value<L>; 4], upper: Element<L>, lower: [Element<L>; 2]) -> [Value<L>; 4] {
    let (d1, d3) = (a[0].minus::<3>(a[1]), a[2].minus::<3>(a[3]));
    let (b0, b2) = (a[0].plus(a[1]), a[2].plus(a[3]));
    let [b1, b3] = Element::mul(&[d1.carried(), d3.carried()], &lower);
    let (b1, b3) = (Value::from(b1), Value::from(b3));
    let (d2, d3) = (b0.minus::<6>(b2), b1.minus::<2>(b3));
    let [c2, c3] = Element::mul(&[d2.carried(), d3.carried()], &[upper, upper]);
    [b0.plus(b2).reduced().into(), b1.plus(b3), c2.into(), c3.into()]
}

/// One layer of a scatter.
#[inline(always)]
fn scatter_two<L: Lanes>(low: Value<L>, high: Value<L>, factor: Element<L>) -> (Value<L>, Value<L>) {
    let [product] = Element::mul(&[high.carried()], &[factor]);
    let product = product.into();
    (low.plus(product), low.minus::<2>(product))
}

/// One layer of a gather.
#[inline(always)]
fn gather_two<L: Lanes>(low: Value<L>, high: Value<L>, factor: Element<L>) -> (Value<L>, Value<L>) {
    let [product] = Element::mul(&[low.minus::<3>(high).carried()], &[factor]);
    (low.plus(high).reduced().into(), product.into())
}

/// The layers of a scatter that pair rows.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn scatter_rows<L: Lanes>(tile: &mut [Value<L>], layers: &Layers<'_>) {
    let mut length = tile.len();
    while length >= 4 * WIDTH {
        let (blocks, quarter) = (tile.len() / length, length / 4);
        for (number, part) in tile.chunks_exact_mut(length).enumerate() {
            // SAFETY: the caller promises the instructions and the factors, here and below.
            let (upper, lower) = unsafe { layers.factors(blocks, number) };
            let (a, rest) = part.split_at_mut(quarter);
            let (b, rest) = rest.split_at_mut(quarter);
            let (c, d) = rest.split_at_mut(quarter);
            for at in 0..quarter {
                [a[at], b[at], c[at], d[at]] = scatter_four([a[at], b[at], c[at], d[at]], upper, lower);
            }
        }
        length = quarter;
    }
    if length == 2 * WIDTH {
        let blocks = tile.len() / length;
        for (number, part) in tile.chunks_exact_mut(length).enumerate() {
            // SAFETY: see above.
            let factor = unsafe { layers.factor(blocks, number) };
            for at in 0..WIDTH {
                (part[at], part[at + WIDTH]) = scatter_two(part[at], part[at + WIDTH], factor);
            }
        }
    }
}

/// The layers of a gather that pair rows.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn gather_rows<L: Lanes>(tile: &mut [Value<L>], layers: &Layers<'_>) {
    let mut length = WIDTH;
    if !(tile.len() / WIDTH).trailing_zeros().is_multiple_of(2) {
        length = 2 * WIDTH;
        let blocks = tile.len() / length;
        for (number, part) in tile.chunks_exact_mut(length).enumerate() {
            // SAFETY: the caller promises the instructions and the factors, here and below.
            let factor = unsafe { layers.factor(blocks, number) };
            for at in 0..WIDTH {
                (part[at], part[at + WIDTH]) = gather_two(part[at], part[at + WIDTH], factor);
            }
        }
    }
    while length < tile.len() {
        let quarter = length;
        length *= 4;
        let blocks = tile.len() / length;
        for (number, part) in tile.chunks_exact_mut(length).enumerate() {
            // SAFETY: see above.
            let (upper, lower) = unsafe { layers.factors(blocks, number) };
            let (a, rest) = part.split_at_mut(quarter);
            let (b, rest) = rest.split_at_mut(quarter);
            let (c, d) = rest.split_at_mut(quarter);
            for at in 0..quarter {
                [a[at], b[at], c[at], d[at]] = gather_four([a[at], b[at], c[at], d[at]], upper, lower);
            }
        }
    }
}

/// Even and odd elements of rows to leaves, and back.
#[inline(always)]
fn turn<L: Lanes>(group: &mut [Value<L>]) {
    let mut halves = [[group[0]; 8]; 2];
    for i in 0..8 {
        halves[0][i] = group[2 * i];
        halves[1][i] = group[2 * i + 1];
    }
    for (half, values) in halves.iter().enumerate() {
        let turned = Value::transposed(*values);
        for i in 0..8 {
            group[2 * i + half] = turned[i];
        }
    }
}

/// The last four layers of a scatter, rows first: leaves afterwards.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn scatter_leaves<L: Lanes>(tile: &mut [Value<L>], layers: &Layers<'_>) {
    let first = layers.block * (tile.len() / WIDTH);
    for (number, group) in tile.chunks_exact_mut(GROUP).enumerate() {
        turn(group);
        // SAFETY: the caller promises the instructions and the factors.
        let factors = unsafe { LeafFactors::load(layers, first + 8 * number) };
        for j in 0..4 {
            let four = [group[j], group[j + 4], group[j + 8], group[j + 12]];
            [group[j], group[j + 4], group[j + 8], group[j + 12]] =
                scatter_four(four, factors.eights, factors.fours);
        }
        for q in 0..4 {
            let at = 4 * q;
            let four = [group[at], group[at + 1], group[at + 2], group[at + 3]];
            [group[at], group[at + 1], group[at + 2], group[at + 3]] =
                scatter_four(four, factors.twos[q / 2][q % 2], factors.ones[q]);
        }
    }
}

/// The first four layers of a gather, leaves first: rows afterwards.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn gather_leaves<L: Lanes>(tile: &mut [Value<L>], layers: &Layers<'_>) {
    let first = layers.block * (tile.len() / WIDTH);
    for (number, group) in tile.chunks_exact_mut(GROUP).enumerate() {
        // SAFETY: the caller promises the instructions and the factors.
        let factors = unsafe { LeafFactors::load(layers, first + 8 * number) };
        for q in 0..4 {
            let at = 4 * q;
            let four = [group[at], group[at + 1], group[at + 2], group[at + 3]];
            [group[at], group[at + 1], group[at + 2], group[at + 3]] =
                gather_four(four, factors.twos[q / 2][q % 2], factors.ones[q]);
        }
        for j in 0..4 {
            let four = [group[j], group[j + 4], group[j + 8], group[j + 12]];
            [group[j], group[j + 4], group[j + 8], group[j + 12]] =
                gather_four(four, factors.eights, factors.fours);
        }
        turn(group);
    }
}

/// Reads rows.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn read_rows<L: Lanes>(tile: &mut Vec<Value<L>>, rows: &Rows) {
    tile.clear();
    for row in 0..rows.count {
        // SAFETY: the caller promises the instructions and the rows.
        let w = unsafe { L::gather(&rows.pairs(row).map(<*mut u64>::cast_const)) };
        tile.push(Element::from_packed([w[0], w[1], w[2], w[3]]).into());
        tile.push(Element::from_packed([w[4], w[5], w[6], w[7]]).into());
    }
}

/// Writes rows.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn write_rows<L: Lanes>(tile: &[Value<L>], rows: &Rows) {
    for row in 0..rows.count {
        let even = tile[2 * row].canonical().to_packed();
        let odd = tile[2 * row + 1].canonical().to_packed();
        let words = [even[0], even[1], even[2], even[3], odd[0], odd[1], odd[2], odd[3]];
        // SAFETY: the caller promises the rows.
        unsafe { L::scatter(words, &rows.pairs(row)) };
    }
}

/// Reads leaves.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn read_leaves<L: Lanes>(tile: &mut Vec<Value<L>>, rows: &Rows) {
    tile.clear();
    for group in 0..rows.count / 8 {
        for pair in 0..8 {
            // SAFETY: the caller promises the instructions and the rows.
            let w = unsafe { L::gather(&rows.leaves(8 * group, pair).map(<*mut u64>::cast_const)) };
            tile.push(Element::from_packed([w[0], w[1], w[2], w[3]]).into());
            tile.push(Element::from_packed([w[4], w[5], w[6], w[7]]).into());
        }
    }
}

/// Writes leaves.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn write_leaves<L: Lanes>(tile: &[Value<L>], rows: &Rows) {
    for group in 0..rows.count / 8 {
        for pair in 0..8 {
            let at = GROUP * group + 2 * pair;
            let even = tile[at].canonical().to_packed();
            let odd = tile[at + 1].canonical().to_packed();
            let words = [even[0], even[1], even[2], even[3], odd[0], odd[1], odd[2], odd[3]];
            // SAFETY: the caller promises the rows.
            unsafe { L::scatter(words, &rows.leaves(8 * group, pair)) };
        }
    }
}

/// The product of the first two blocks of leaves less the third times `scale`, over the first. A product of two elements in
/// Montgomery form with 2^256 loses 2^4, so what is left is (a·b/16 − c·`scale`), `scale` in the form with 2^260.
///
/// # Safety
/// See [`Rows`].
#[inline(always)]
pub unsafe fn subtract_product<L: Lanes>(a: &mut [Value<L>], b: &[Value<L>], c: &[Value<L>], scale: &Fr) {
    // SAFETY: the caller promises the instructions.
    let scale = unsafe { Layers { table: std::slice::from_ref(scale), block: 0 }.factor(1, 0) };
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        let [product, less] = Element::mul(&[a.reduced(), c.carried()], &[b.reduced(), scale]);
        *a = Value::from(product).minus::<2>(less.into());
    }
}
