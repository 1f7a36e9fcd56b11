//! Transforms of every size up to three passes against the processor's.

use bn254::{Domain, Field, Fr};
use cuda::kernels::TransformKind;

use crate::card::context;
use crate::samples::elements;

/// Up to 2^17: one, two and three passes, the last of uneven depths.
const LOGS: std::ops::RangeInclusive<u32> = 0..=17;

fn polynomials(log: u32, batch: usize) -> Vec<Fr> {
    // From the far end, where the elements are random.
    let len = batch << log;
    elements::<Fr>(len + 800, u64::from(log)).split_off(800)
}

fn bit_reverse(values: &mut [Fr]) {
    let log = values.len().trailing_zeros();
    for i in 0..values.len() {
        let j = if log == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - log) };
        if i < j {
            values.swap(i, j);
        }
    }
}

#[test]
fn transforms_of_all_kinds_agree_with_the_processor() {
    let card = context();
    for log in LOGS {
        let domain = Domain::new(log).unwrap();
        let original = polynomials(log, 1);
        let run = |kind: TransformKind, expected: &dyn Fn(&mut [Fr])| {
            let (mut found, mut wanted) = (original.clone(), original.clone());
            card.transform(kind, &domain, &mut found).unwrap();
            expected(&mut wanted);
            assert!(found == wanted, "{kind:?} of 2^{log}");
        };
        run(TransformKind::Scatter, &|values| {
            domain.ntt(values);
            bit_reverse(values);
        });
        run(TransformKind::Gather, &|values| domain.ntt_from_reversed(values));
        run(TransformKind::ToCoset, &|values| domain.shift_to_coset(values));
        run(TransformKind::InverseScatter, &|values| domain.intt_to_reversed_unscaled(values));
        run(TransformKind::InverseGather, &|values| {
            bit_reverse(values);
            domain.intt(values);
            let size = Fr::from(1 << log);
            values.iter_mut().for_each(|value| *value *= size);
        });
    }
}

#[test]
fn polynomials_of_a_batch_do_not_meet() {
    let card = context();
    for (log, batch) in [(0, 5), (1, 3), (2, 7), (7, 3), (8, 3), (9, 2), (11, 3)] {
        let domain = Domain::new(log).unwrap();
        let mut found = polynomials(log, batch);
        let mut wanted = found.clone();
        card.transform(TransformKind::ToCoset, &domain, &mut found).unwrap();
        wanted.chunks_mut(domain.size()).for_each(|values| domain.shift_to_coset(values));
        assert!(found == wanted, "{batch} polynomials of 2^{log}");
    }
}

#[test]
fn the_quotient_on_the_coset_agrees_with_the_processor() {
    let card = context();
    for log in [0, 1, 2, 3, 5, 8, 9, 12] {
        let domain = Domain::new(log).unwrap();
        let values = polynomials(log, 3);
        let parts: Vec<&[Fr]> = values.chunks(domain.size()).collect();
        let found = card.quotient(&domain, [parts[0], parts[1], parts[2]]).unwrap().value;
        let mut on_coset = values.clone();
        on_coset.chunks_mut(domain.size()).for_each(|values| domain.shift_to_coset(values));
        let size = domain.size();
        for i in 0..size {
            let wanted = on_coset[i] * on_coset[size + i] - on_coset[2 * size + i];
            assert_eq!(found[i], wanted, "2^{log}, place {i}");
        }
    }
}

#[test]
fn there_and_back_is_the_identity_times_the_size() {
    let card = context();
    let domain = Domain::new(13).unwrap();
    let original = polynomials(13, 2);
    let mut values = original.clone();
    card.transform(TransformKind::InverseScatter, &domain, &mut values).unwrap();
    card.transform(TransformKind::Gather, &domain, &mut values).unwrap();
    let size = Fr::from(1 << 13);
    assert!(values.iter().zip(&original).all(|(found, wanted)| *found == *wanted * size));
    assert!(values.iter().any(|value| *value != Fr::ZERO));
}

#[test]
fn values_that_are_no_whole_polynomials_are_refused() {
    let domain = Domain::new(3).unwrap();
    let error = context().transform(TransformKind::ToCoset, &domain, &mut [Fr::ONE; 9]).unwrap_err();
    assert!(error.to_string().contains("whole polynomials"), "{error}");
}
