//! Field arithmetic, instruction by instruction the one of the card.

use bn254::{Field, Fq, Fq2, Fr};
use cuda::kernels::{CardField, FieldOp};

use crate::card::context;
use crate::samples::{fq_samples, fq2_samples, fr_samples, pairs};

fn agrees<F: CardField + Field>(samples: &[F], shifts: usize) {
    let card = context();
    let (a, b) = pairs(samples, shifts);
    let compare = |op: FieldOp, expected: &dyn Fn(F, F) -> F| {
        let found = card.field_op(op, &a, &b).unwrap();
        for i in 0..a.len() {
            assert!(
                found[i] == expected(a[i], b[i]),
                "{op:?} of {:?} and {:?} gives {:?}",
                a[i],
                b[i],
                found[i]
            );
        }
    };
    compare(FieldOp::Add, &|a, b| a + b);
    compare(FieldOp::Sub, &|a, b| a - b);
    compare(FieldOp::Mul, &|a, b| a * b);
    compare(FieldOp::Neg, &|a, _| -a);
    compare(FieldOp::Square, &|a, _| a.square());
    let found = card.field_op(FieldOp::Inverse, samples, samples).unwrap();
    for (a, inverse) in samples.iter().zip(found) {
        assert!(inverse == a.invert().unwrap_or(F::ZERO), "1/{a:?} gives {inverse:?}");
    }
}

#[test]
fn fq_agrees_with_the_processor_at_its_edges_and_at_random() {
    agrees::<Fq>(&fq_samples(1), 12);
}

#[test]
fn fr_agrees_with_the_processor_at_its_edges_and_at_random() {
    agrees::<Fr>(&fr_samples(2), 12);
}

#[test]
fn fq2_agrees_with_the_processor_at_its_edges_and_at_random() {
    agrees::<Fq2>(&fq2_samples(3), 4);
}

#[test]
fn integers_and_montgomery_form_are_converted_both_ways() {
    let samples = fr_samples(4);
    let card = context();
    let integers = card.field_op(FieldOp::ToInteger, &samples, &samples).unwrap();
    for (value, integer) in samples.iter().zip(&integers) {
        assert_eq!(bn254::raw::as_bytes(&[*integer]), bn254::fr_to_le_bytes(value), "{value:?}");
    }
    assert_eq!(card.field_op(FieldOp::FromInteger, &integers, &integers).unwrap(), samples);
}

#[test]
fn operands_of_different_lengths_are_refused() {
    let card = context();
    let error = card.field_op(FieldOp::Add, &[Fr::ONE; 2], &[Fr::ONE; 3]).unwrap_err();
    assert!(error.to_string().contains("2 and 3"), "{error}");
}
