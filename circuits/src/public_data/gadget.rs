//! The commitment and the evaluation as constraints.
//!
//! The running power advances past a slot's record only if the slot shows one, so that the sum equals the contract's
//! plain evaluation over the compact list.

use super::{CHUNK, RECORD_WORDS};
use crate::{
    poseidon,
    r1cs::{Builder, Num, enforce_equal, hint, mul, site},
};

/// A slot's three words and whether it shows them. Invariant: all words are 0 where `shown` is 0.
#[derive(Clone)]
pub struct SlotRecord {
    pub words: [Num; RECORD_WORDS],
    pub shown: Num,
}

/// Forces h and e to be the commitment to and the evaluation at c of `fixed` (head and mints) followed by the records.
pub fn bind<B: Builder>(b: &mut B, [h, c, e]: [&Num; 3], fixed: &[Num], records: &[SlotRecord]) {
    let words: Vec<&Num> = fixed.iter().chain(records.iter().flat_map(|r| &r.words)).collect();
    let zero = Num::zero();
    let mut state = Num::zero();
    for chunk in words.chunks(CHUNK) {
        let mut inputs = vec![&state];
        inputs.extend(chunk);
        inputs.resize(CHUNK + 1, &zero);
        state = poseidon::gadget::hash(b, site!("commitment"), &inputs);
    }
    enforce_equal(b, site!("h"), &state, h);

    let mut sum = Num::zero();
    let mut power = Num::one();
    for (i, word) in fixed.iter().enumerate() {
        // c⁰ and c¹ need no product.
        let part = if i == 0 { word.clone() } else { mul(b, site!("head term"), &power, word) };
        sum = sum.add(&part);
        power = if i == 0 { c.clone() } else { mul(b, site!("head power"), &power, c) };
    }
    let c2 = mul(b, site!("c²"), c, c);
    let c3 = mul(b, site!("c³"), &c2, c);
    for record in records {
        let [w0, w1, w2] = &record.words;
        let second = mul(b, site!("second word"), w1, c);
        let third = mul(b, site!("third word"), w2, &c2);
        let part = mul(b, site!("record term"), &power, &w0.add(&second).add(&third));
        sum = sum.add(&part);
        let past = mul(b, site!("power past the record"), &power, &c3);
        let next =
            hint(b, site!("next power"), power.value + record.shown.value * (past.value - power.value));
        b.enforce(site!("next power"), || [record.shown.clone(), past.sub(&power), next.sub(&power)]);
        power = next;
    }
    enforce_equal(b, site!("e"), &sum, e);
}
