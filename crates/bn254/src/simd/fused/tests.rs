//! Products by doubles: emulated ones on every processor, and each kind of words that uses them, against those by halves of 104
//! bits. All kinds of words give the same words.

use proptest::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::isa::Isa;
use crate::simd::field52::{Field52, Modulus, Q, R};
use crate::simd::fused::{self, Fused};
use crate::simd::lanes::{Emulated, Lanes, MASK52};
use crate::simd::modulus::Constants;

fn words(of: [u64; 8]) -> Emulated {
    // SAFETY: the emulation needs no instructions.
    unsafe { Emulated::load(&of) }
}

fn zip(a: [f64; 8], b: [f64; 8], f: impl Fn(f64, f64) -> f64) -> [f64; 8] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Fused for Emulated {
    type Doubles = [f64; 8];

    unsafe fn splat(word: u64) -> Self {
        words([word; 8])
    }

    fn doubles(self) -> [f64; 8] {
        self.store().map(f64::from_bits)
    }

    fn bits(doubles: [f64; 8]) -> Self {
        words(doubles.map(f64::to_bits))
    }

    fn fma(a: [f64; 8], b: [f64; 8], c: [f64; 8]) -> [f64; 8] {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    fn difference(a: [f64; 8], b: [f64; 8]) -> [f64; 8] {
        zip(a, b, |a, b| a - b)
    }

    fn larger(a: [f64; 8], b: [f64; 8]) -> [f64; 8] {
        zip(a, b, f64::max)
    }

    fn plus(self, other: Self) -> Self {
        self.add(other)
    }

    fn minus(self, other: Self) -> Self {
        self.sub(other)
    }

    fn both(self, other: Self) -> Self {
        self.and(other)
    }

    fn either(self, other: Self) -> Self {
        self.or(other)
    }

    fn above52(self) -> Self {
        self.shr::<52>()
    }
}

/// Limbs where roundings, ties and carries change.
fn limb() -> impl Strategy<Value = u64> {
    let half = 1_u64 << 51;
    let edges = [0, 1, 2, half - 1, half, half + 1, MASK52 - 1, MASK52, 1 << 26, (1 << 26) - 1];
    prop_oneof![proptest::sample::select(edges.to_vec()), 0..=MASK52]
}

/// A value below 9·p, of which any two may be multiplied.
fn value() -> impl Strategy<Value = [u64; 5]> {
    // The highest limb of p, rounded down.
    let top = Q::WORDS[3] >> 16;
    let highest = prop_oneof![Just(0), Just(9 * top - 1), 0..9 * top];
    (limb(), limb(), limb(), limb(), highest).prop_map(|(a, b, c, d, e)| [a, b, c, d, e])
}

type Values = [[u64; 5]; 8];

fn lanes<L: Lanes>(values: &Values) -> [L; 5] {
    // SAFETY: the tests run what the processor has.
    std::array::from_fn(|limb| unsafe { L::load(&values.map(|value| value[limb])) })
}

fn stored<L: Lanes, const N: usize>(limbs: [L; N]) -> [[u64; 8]; N] {
    limbs.map(L::store)
}

/// Moves something from each column to the next, which leaves the value and makes columns negative.
fn stirred<L: Lanes>(mut columns: [L; 10], spoon: &[i8; 9]) -> [L; 10] {
    for (i, much) in spoon.iter().enumerate() {
        // SAFETY: there is a value of `L`.
        let much = unsafe { L::splat(i64::from(*much).cast_unsigned()) };
        columns[i] = columns[i].add(much.shl::<52>());
        columns[i + 1] = columns[i + 1].sub(much);
    }
    columns
}

/// Product, square, second product of two, and the reduction of a stirred product.
fn all<L: Lanes, M: Modulus>(a: &Values, b: &Values, spoon: &[i8; 9]) -> [[[u64; 8]; 5]; 4] {
    let (a, b) = (Field52::<L, M>::new(lanes(a)), Field52::<L, M>::new(lanes(b)));
    let zero = a.limbs[0].sub(a.limbs[0]);
    let columns = stirred(Field52::<L, M>::product_onto([zero; 10], a, b), spoon);
    [
        stored(Field52::mul(&[a], &[b])[0].limbs),
        stored(Field52::sqr(&[a])[0].limbs),
        stored(Field52::mul(&[a, b], &[a, a])[1].limbs),
        stored(Field52::<L, M>::montgomery([columns])[0].limbs),
    ]
}

fn emulated<M: Modulus>(a: &Values, b: &Values, spoon: &[i8; 9]) -> [[[u64; 8]; 5]; 4] {
    let (a, b) = (lanes::<Emulated>(a), lanes::<Emulated>(b));
    let columns = stirred(fused::product_onto([words([0; 8]); 10], &a, &b), spoon);
    // SAFETY: the emulation needs no instructions.
    let (mul, sqr) = unsafe { (fused::mul::<M, _, 2>(&[a, b], &[b, a]), fused::sqr::<M, _, 1>(&[a])) };
    let [reduced] = fused::montgomery::<M, _, 1>([columns]);
    [stored(mul[0]), stored(sqr[0]), stored(mul[1]), stored(reduced)]
}

/// The canonical representatives, of loose values.
fn canonical<M: Modulus>(values: [[[u64; 8]; 5]; 4]) -> [[[u64; 8]; 5]; 4] {
    values.map(|limbs| {
        let highest = limbs[4].iter().max();
        assert!(highest < Some(&(Constants::<M>::MULTIPLES[5][4] / 2)), "below 5/2·p");
        stored(Field52::<Emulated, M>::new(limbs.map(words)).canonical().limbs)
    })
}

fn check<M: Modulus>(a: &Values, b: &Values, spoon: &[i8; 9]) {
    // Quotient digits are others than those of products by halves, and so may be the multiple of p that is left.
    let expected = emulated::<M>(a, b, spoon);
    assert_eq!(canonical::<M>(expected), canonical::<M>(all::<Emulated, M>(a, b, spoon)));
    #[cfg(target_arch = "x86_64")]
    {
        if Isa::Avx512.is_available() {
            assert_eq!(all::<crate::simd::avx512::Avx512<false>, M>(a, b, spoon), expected);
        }
        if Isa::Avx2.is_available() {
            assert_eq!(all::<crate::simd::avx2::Avx2, M>(a, b, spoon), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn products_are_what_products_by_halves_are(
        a in proptest::array::uniform8(value()),
        b in proptest::array::uniform8(value()),
        spoon: [i8; 9],
    ) {
        check::<Q>(&a, &b, &spoon);
        check::<R>(&a, &b, &spoon);
    }

    #[test]
    fn the_halves_make_up_the_product(a in limb(), b in limb()) {
        let (low, high) = fused::halves(words([a; 8]), words([b; 8]));
        let product = u128::from(a) * u128::from(b);
        prop_assert_eq!(low.store(), [product as u64 & MASK52; 8]);
        prop_assert_eq!(high.store(), [(product >> 52) as u64; 8]);
    }
}
