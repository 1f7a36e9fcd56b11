//! The kernels against halo2curves, and both kinds of words against each other.

use ff::Field;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::InstructionSet;
use super::coordinate::Coordinate;
use super::eight::Words;
use super::field52::Q;
use super::lanes::{Emulated, Lanes};
use crate::isa::Isa;
use crate::{Fq, Fq2, dispatch};

/// 0, ±1, ±2, and elements whose Montgomery form has the largest and the smallest limbs.
fn edges() -> Vec<Fq> {
    let p = <Q as super::field52::Modulus>::WORDS;
    let mut edges: Vec<Fq> = [0, 1, 2].iter().flat_map(|n| [Fq::from(*n), -Fq::from(*n)]).collect();
    edges.extend([
        Fq([p[0] - 1, p[1], p[2], p[3]]),
        Fq([1, 0, 0, 0]),
        Fq([u64::MAX, u64::MAX, u64::MAX, p[3] - 1]),
    ]);
    edges.extend([Fq([0, 0, 0, p[3]]), Fq([(1 << 52) - 1, 0, 0, 0]), Fq([1 << 52, 0, 0, 0])]);
    edges
}

fn random_or_edge(rng: &mut ChaCha20Rng, edges: &[Fq]) -> Fq {
    match rng.next_u32() as usize % (3 * edges.len()) {
        which if which < edges.len() => edges[which],
        _ => Fq::random(rng),
    }
}

/// A field element made of elements of Fq.
trait Element: Words {
    fn draw(rng: &mut ChaCha20Rng, edges: &[Fq]) -> Self;
}

impl Element for Fq {
    fn draw(rng: &mut ChaCha20Rng, edges: &[Fq]) -> Self {
        random_or_edge(rng, edges)
    }
}

impl Element for Fq2 {
    fn draw(rng: &mut ChaCha20Rng, edges: &[Fq]) -> Self {
        Fq2::new(random_or_edge(rng, edges), random_or_edge(rng, edges))
    }
}

/// Eight elements as a vector, and back. The second coordinate is not used.
fn vector<E: Element, F: Coordinate>(elements: &[E; 8]) -> F {
    let rows: [[E; 2]; 8] = elements.map(|element| [element, E::ZERO]);
    // SAFETY: rows of two elements have 2 * WORDS words; the tests run what the processor has.
    unsafe { F::gather(&std::array::from_fn(|i| rows[i].as_ptr().cast())).0.import() }
}

fn elements<E: Element, F: Coordinate>(vector: F) -> [E; 8] {
    let mut rows = [[E::ZERO; 2]; 8];
    let targets = rows.each_mut().map(|row| row.as_mut_ptr().cast());
    // SAFETY: as above.
    unsafe { F::scatter(vector.export(), F::zero(), &targets) };
    rows.map(|row| row[0])
}

fn arithmetic_agrees<E: Element, F: Coordinate>(rounds: u64) {
    let edges = edges();
    let mut rng = ChaCha20Rng::seed_from_u64(rounds);
    for _ in 0..rounds {
        let mut draw = || -> [E; 8] { std::array::from_fn(|_| E::draw(&mut rng, &edges)) };
        let (a, b, c, d) = (draw(), draw(), draw(), draw());
        let (va, vb, vc, vd): (F, F, F, F) = (vector(&a), vector(&b), vector(&c), vector(&d));
        let check = |what: &str, got: F, expected: &dyn Fn(usize) -> E| {
            assert_eq!(elements::<E, F>(got), std::array::from_fn(expected), "{what}");
        };
        check("round trip", va, &|i| a[i]);
        check("product", F::mul(&[va], &[vb])[0], &|i| a[i] * b[i]);
        let products = F::mul(&[va, vb], &[vc, vd]);
        check("first of two", products[0], &|i| a[i] * c[i]);
        check("second of two", products[1], &|i| b[i] * d[i]);
        check("square", F::sqr(&[va, vb])[1], &|i| b[i].square());
        // The widest of what may be multiplied.
        check("of a difference", F::mul(&[va.minus(vb)], &[vc])[0], &|i| (a[i] - b[i]) * c[i]);
        check("of a sum", F::mul(&[va.plus(vb)], &[vc])[0], &|i| (a[i] + b[i]) * c[i]);
        let sign = (rounds as u8).wrapping_mul(37);
        let signed = |i: usize, x: E| if sign >> i & 1 == 1 { -x } else { x };
        check("signed", F::mul(&[va.signed_minus(sign, vb)], &[vc])[0], &|i| (signed(i, a[i]) - b[i]) * c[i]);
        check("thrice", va.thrice(), &|i| a[i] + a[i] + a[i]);
        check("third x", F::third_x(F::sqr(&[va])[0], vb.minus(vc), vc), &|i| a[i].square() - b[i] - c[i]);
        check("third y", F::third_y(F::mul(&[va], &[vb])[0], vc), &|i| a[i] * b[i] - c[i]);
        check("blend", va.blend(sign, vb), &|i| if sign >> i & 1 == 1 { b[i] } else { a[i] });
        check("swap", va.swap::<1>().swap::<4>(), &|i| a[i ^ 5]);
        let zeros = (0..8).fold(0, |mask, i| mask | (u8::from(a[i] == b[i]) << i));
        assert_eq!(va.minus(vb).zeros(), zeros);
        assert_eq!(va.minus(va).zeros(), u8::MAX);
        let common = [a[0]; 8];
        if a[0] != E::ZERO {
            let inverse: E = a[0].invert().unwrap();
            check("inverse", vector::<E, F>(&common).invert_common(), &|_| inverse);
        }
    }
}

#[test]
fn arithmetic_agrees_with_halo2curves_on_every_instruction_set() {
    for isa in Isa::available() {
        let rounds = if isa == Isa::Emulated { 2_000 } else { 20_000 };
        dispatch!(isa, L => {
            arithmetic_agrees::<Fq, <L as InstructionSet>::G1>(rounds);
            arithmetic_agrees::<Fq2, <L as InstructionSet>::G2>(rounds / 3);
        });
    }
}

/// Every operation of the words, as one list of words.
fn operations<L: Lanes>(a: [u64; 8], b: [u64; 8], c: [u64; 8], mask: u8, by: u32) -> Vec<[u64; 8]> {
    // SAFETY: the tests run what the processor has.
    let (va, vb, vc) = unsafe { (L::load(&a), L::load(&b), L::load(&c)) };
    let rows = [&a, &b, &c, &a, &b, &c, &b, &a].map(|row| row.as_ptr());
    let mut written = [[0; 8]; 8];
    // SAFETY: rows of eight words.
    let (gathered, four) = unsafe {
        let gathered = L::gather(&rows);
        L::scatter(gathered, &written.each_mut().map(|row| row.as_mut_ptr()));
        (gathered, L::gather_four(&rows.map(|row| row.wrapping_add(3))))
    };
    let flags = [va.zeros(), va.negatives(), va.sub(va).zeros()].map(u64::from);
    let mut all = vec![
        va.madd_low(vb, vc),
        va.madd_high(vb, vc),
        va.add(vb),
        va.sub(vb),
        va.and(vb),
        va.or(vb),
        va.shr::<52>(),
        va.sar::<52>(),
        va.shl::<28>(),
        va.shr_into::<40>(vb),
        va.shr_by(by),
        va.shl_by(by),
        va.look_up(vb),
        va.swap::<1>(),
        va.swap::<2>(),
        va.swap::<4>(),
        va.blend(mask, vb),
        va.negate_where(mask),
    ];
    all.extend(gathered);
    all.extend(four);
    all.extend(L::transposed([va, vb, vc, vb, va, vc, va, vb]));
    let mut words: Vec<[u64; 8]> = all.into_iter().map(L::store).collect();
    words.extend(written);
    words.push(va.low_halves().map(u64::from));
    words.push([flags[0], flags[1], flags[2], 0, 0, 0, 0, 0]);
    words
}

#[test]
fn emulated_words_are_what_their_documentation_says() {
    let (a, b) = ([5; 8], [(1 << 52) - 1; 8]);
    let words = operations::<Emulated>(a, b, b, 0b101, 64);
    // (2^52 - 1)^2 = 2^104 - 2^53 + 1.
    assert_eq!((words[0], words[1]), ([5 + 1; 8], [5 + (1 << 52) - 2; 8]));
    assert_eq!((words[10], words[11]), ([0; 8], [0; 8]));
    assert_eq!(words[17][..3], [5_u64.wrapping_neg(), 5, 5_u64.wrapping_neg()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn all_kinds_of_words_agree(a: [u64; 8], b: [u64; 8], c: [u64; 8], mask: u8, by in 0_u32..70) {
        let expected = operations::<Emulated>(a, b, c, mask, by);
        for isa in Isa::available() {
            dispatch!(
                isa,
                L => prop_assert_eq!(&operations::<L>(a, b, c, mask, by), &expected, "{}", isa),
                Portable => {}
            );
        }
    }
}
