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
    let module = unit("probe")?;
    let mut card = Card::default();
    let (left, right, out) = (card.upload(a), card.upload(b), card.room::<F>(a.len()));
    // op, a, b, out
    let arguments = Arguments::default().u32(op as u32).pointer(left).pointer(right).pointer(out);
    let executed = card.launch_items(&module, &["10ProbeField", field], arguments, a.len() as u32);
    Some((card.download(out), executed))
}

fn agrees<F: Limbs + Field>(field: &str, samples: &[F]) {
    let (a, b) = pairs(samples, 2);
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
    let sample = [Fq::from(7)];
    let Some((_, product)) = probe("8FqParams", Op::Mul, &sample, &sample) else { return };
    let Some((_, sum)) = probe("8FqParams", Op::Add, &sample, &sample) else { return };
    println!("a product of Fq with its loads and stores: {product:?}; a sum: {sum:?}");
    // Eight rows of a low and a high half for each of eight words, for the operand and for the modulus, and the factor of each row.
    // Two halves of one product may be one wide multiplication.
    let extra = product.multiplications - sum.multiplications;
    assert!((8 * 8 + 8 * 8 + 8..=2 * (8 * 8 + 8 * 8) + 8).contains(&extra), "{extra} multiplications");
}
