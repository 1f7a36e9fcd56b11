//! probe.cu: field arithmetic.

use bn254::raw::{self, Limbs};
use bn254::{Field, Fq, Fq2, Fr};

use crate::machine::{Arguments, Card, Executed};
use crate::samples::{fq_samples, fq2_samples, fr_samples, pairs};
use crate::toolkit::unit;

/// The operations of `FieldOp` in probe.cuh.
#[derive(Clone, Copy, Debug)]
enum Op {
    Add,
    Sub,
    Mul,
    Neg,
    Square,
    Inverse,
    ToInteger,
    FromInteger,
}

/// The result of `ProbeField<F>` on each pair; `None` without a compiler.
fn probe<F: Limbs>(field: &str, op: Op, a: &[F], b: &[F]) -> Option<(Vec<F>, Executed)> {
    let unit = unit("probe")?;
    let mut card = Card::default();
    let (left, right, out) = (card.upload(a), card.upload(b), card.room::<F>(a.len()));
    // op, a, b, out
    let arguments = Arguments::default().u32(op as u32).pointer(left).pointer(right).pointer(out);
    let executed = card.launch_items(&unit.module, &["10ProbeField", field], arguments, a.len() as u32);
    Some((card.download(out), executed))
}

fn agrees<F: Limbs + Field>(field: &str, samples: &[F]) {
    let (a, b) = pairs(samples, 4);
    let compare = |op: Op, a: &[F], b: &[F], expected: &dyn Fn(F, F) -> F| {
        let Some((found, _)) = probe(field, op, a, b) else { return };
        for ((a, b), found) in a.iter().zip(b).zip(found) {
            assert!(found == expected(*a, *b), "{op:?} of {a:?} and {b:?} gives {found:?}");
        }
    };
    compare(Op::Add, &a, &b, &|a, b| a + b);
    compare(Op::Sub, &a, &b, &|a, b| a - b);
    compare(Op::Mul, &a, &b, &|a, b| a * b);
    compare(Op::Neg, &a, &b, &|a, _| -a);
    compare(Op::Square, &a, &b, &|a, _| a.square());
    let some: Vec<F> = samples.iter().step_by(29).copied().collect();
    assert!(some.contains(&F::ZERO));
    compare(Op::Inverse, &some, &some, &|a, _| a.invert().unwrap_or(F::ZERO));
}

#[test]
fn fq_agrees_with_the_processor() {
    agrees::<Fq>("8FqParams", &fq_samples(1));
}

#[test]
fn fr_agrees_with_the_processor() {
    agrees::<Fr>("8FrParams", &fr_samples(2));
}

#[test]
fn fq2_agrees_with_the_processor() {
    agrees::<Fq2>("3Fq2E", &fq2_samples(3));
}

#[test]
fn integers_and_montgomery_form_are_converted_both_ways() {
    let samples = fr_samples(4);
    let Some((integers, _)) = probe("8FrParams", Op::ToInteger, &samples, &samples) else { return };
    for (value, integer) in samples.iter().zip(&integers) {
        assert_eq!(raw::as_bytes(&[*integer]), bn254::fr_to_le_bytes(value), "{value:?}");
    }
    let back = probe("8FrParams", Op::FromInteger, &integers, &integers).unwrap().0;
    assert!(back == samples);
}

#[test]
fn a_product_takes_the_multiplications_that_its_words_need() {
    let of = |len: usize| probe("8FqParams", Op::Mul, &vec![Fq::from(7); len], &vec![Fq::from(9); len]);
    let (Some((_, two)), Some((_, one))) = (of(2), of(1)) else { return };
    let multiplications = two.multiplications - one.multiplications;
    println!(
        "a product of Fq with its loads and stores: {} instructions, {multiplications} multiplications",
        two.instructions - one.instructions
    );
    // Eight words by eight words, for the operands and for the modulus; each product is one wide multiplication or
    // two halves. Then the factor of each row, and what finds the addresses.
    assert!((2 * 64 + 8..=4 * 64 + 8 + 4).contains(&multiplications), "{multiplications} multiplications");
}
