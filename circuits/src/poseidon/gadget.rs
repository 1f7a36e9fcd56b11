//! Poseidon as constraints: three per S-box, nothing else.
//!
//! Every S-box input is a fixed linear form over the outputs of earlier S-boxes. Those forms are computed once per
//! width; a textbook gadget would grow them by repetition, since bellman never merges equal variables.

use std::sync::LazyLock;

use bn254::Fr;
use ff::Field;

use super::{FULL_ROUNDS, parameters, pow5, trace};
use crate::r1cs::{Builder, Num, Site, site};

/// constant + Σ coefficient·output of S-box.
#[derive(Clone)]
struct Form {
    constant: Fr,
    terms: Vec<(usize, Fr)>,
}

struct Layout {
    /// Constants added to the inputs before the first S-boxes.
    first_constants: Vec<Fr>,
    /// The input of each S-box after the first round, over the outputs of S-boxes in order of allocation.
    inputs: Vec<Form>,
    digest: Form,
}

impl Form {
    fn value(&self, outputs: &[Num]) -> Fr {
        self.terms.iter().fold(self.constant, |sum, (i, c)| sum + outputs[*i].value * c)
    }

    fn combine(row: &[Fr], lanes: &[Form]) -> Form {
        let mut constant = Fr::ZERO;
        let mut dense: Vec<Fr> = Vec::new();
        for (coefficient, lane) in row.iter().zip(lanes) {
            constant += *coefficient * lane.constant;
            for (i, c) in &lane.terms {
                if dense.len() <= *i {
                    dense.resize(i + 1, Fr::ZERO);
                }
                dense[*i] += *coefficient * c;
            }
        }
        let terms = dense.into_iter().enumerate().filter(|(_, c)| *c != Fr::ZERO).collect();
        Form { constant, terms }
    }
}

impl Layout {
    fn new(width: usize) -> Self {
        let p = parameters(width);
        let first = &p.plain_constants[0];
        // The capacity lane starts at 0, so its first S-box is a constant and takes no variable.
        let mut lanes = vec![Form { constant: pow5(first[0]), terms: Vec::new() }];
        lanes.extend((0..width - 1).map(|i| Form { constant: Fr::ZERO, terms: vec![(i, Fr::ONE)] }));
        let mut allocated = width - 1;
        let mut inputs = Vec::new();
        let mix =
            |lanes: &[Form]| -> Vec<Form> { p.mds.iter().map(|row| Form::combine(row, lanes)).collect() };
        lanes = mix(&lanes);
        let half = FULL_ROUNDS / 2;
        for (round, constants) in p.plain_constants.iter().enumerate().skip(1) {
            let full = round < half || round >= half + p.partial_rounds;
            for (lane, constant) in lanes.iter_mut().zip(constants) {
                lane.constant += constant;
            }
            for lane in lanes.iter_mut().take(if full { width } else { 1 }) {
                inputs.push(lane.clone());
                *lane = Form { constant: Fr::ZERO, terms: vec![(allocated, Fr::ONE)] };
                allocated += 1;
            }
            lanes = mix(&lanes);
        }
        Layout { first_constants: first[1..].to_vec(), inputs, digest: lanes.swap_remove(0) }
    }
}

fn layout(width: usize) -> &'static Layout {
    static LAYOUTS: [LazyLock<Layout>; 4] = [
        LazyLock::new(|| Layout::new(3)),
        LazyLock::new(|| Layout::new(5)),
        LazyLock::new(|| Layout::new(6)),
        LazyLock::new(|| Layout::new(13)),
    ];
    &LAYOUTS[match width {
        3 => 0,
        5 => 1,
        6 => 2,
        _ => 3,
    }]
}

/// Poseidon of 2, 4, 5 or 12 numbers: 240, 297, 321 or 504 constraints.
pub fn hash<B: Builder>(b: &mut B, site: Site, inputs: &[&Num]) -> Num {
    b.enter(site);
    let width = inputs.len() + 1;
    let layout = layout(width);
    let values: Vec<Fr> = inputs.iter().map(|x| x.value).collect();
    let (sbox_inputs, digest) = trace(&values);
    let mut outputs: Vec<Num> = Vec::with_capacity(sbox_inputs.len());

    let evaluate = |form: &Form, value: Fr, outputs: &[Num]| Num {
        value,
        constant: form.constant,
        // An output is a variable, or nothing where only values count.
        terms: form
            .terms
            .iter()
            .flat_map(|(i, c)| outputs[*i].terms.iter().map(|term| (term.0, *c)))
            .collect(),
    };
    // Behind an S-box whose output an adversary chose, the trace is not what follows from it.
    let mut off_trace = false;
    let value_of = |form: &Form, traced: Fr, outputs: &[Num], off_trace: bool| {
        if B::ADVERSARIAL && off_trace { form.value(outputs) } else { traced }
    };
    // The trace starts with the constant S-box of the capacity lane.
    for (i, x) in sbox_inputs.iter().skip(1).enumerate() {
        let later = i.checked_sub(inputs.len()).map(|later| &layout.inputs[later]);
        let value = later.map_or(*x, |form| value_of(form, *x, &outputs, off_trace));
        let output = sbox(b, value, || match later {
            None => inputs[i].add_constant(layout.first_constants[i]),
            Some(form) => evaluate(form, value, &outputs),
        });
        off_trace |= B::ADVERSARIAL && output.value != pow5(*x);
        outputs.push(output);
    }
    b.leave();
    evaluate(&layout.digest, value_of(&layout.digest, digest, &outputs, off_trace), &outputs)
}

/// x⁵ in three constraints.
fn sbox<B: Builder>(b: &mut B, value: Fr, input: impl Fn() -> Num) -> Num {
    let x2: Num = b.alloc(site!("x²"), value.square()).into();
    let x4: Num = b.alloc(site!("x⁴"), x2.value.square()).into();
    let x5: Num = b.alloc(site!("x⁵"), x4.value * value).into();
    b.enforce(site!("x²"), || {
        let x = input();
        [x.clone(), x, x2.clone()]
    });
    b.enforce(site!("x⁴"), || [x2.clone(), x2.clone(), x4.clone()]);
    b.enforce(site!("x⁵"), || [x4.clone(), input(), x5.clone()]);
    x5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        poseidon,
        testing::{Checker, random_fr},
    };

    #[test]
    fn the_gadget_agrees_with_the_native_hash_and_has_the_expected_size() {
        let x = random_fr(5, 12);
        let native = [
            (2, poseidon::hash2(x[0], x[1]), 240),
            (4, poseidon::hash4([x[0], x[1], x[2], x[3]]), 297),
            (5, poseidon::hash5([x[0], x[1], x[2], x[3], x[4]]), 321),
            (12, poseidon::hash12(x.clone().try_into().unwrap()), 504),
        ];
        for (n, digest, constraints) in native {
            let mut b = Checker::new();
            let nums: Vec<Num> = x[..n].iter().map(|x| b.alloc(site!("input"), *x).into()).collect();
            let out = hash(&mut b, site!("hash"), &nums.iter().collect::<Vec<_>>());
            assert_eq!(out.value, digest);
            assert_eq!(b.evaluate(&out), digest);
            assert_eq!(b.first_violation(), None);
            assert_eq!(b.constraints(), constraints);
        }
    }
}
