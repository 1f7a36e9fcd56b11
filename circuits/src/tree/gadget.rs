//! Merkle paths as constraints: the old and the new node climb together, so that each level costs two hashes and a few
//! products.

use bn254::Fr;

use super::{ARITY, Siblings, children};
use crate::{
    poseidon,
    r1cs::{Builder, Num, Site, enforce_product, hint, mul, site},
};

/// A digit of an index: its two bits and, for each child, whether it is that child.
#[derive(Clone)]
pub struct Digit {
    pub bits: [Num; 2],
    pub selectors: [Num; ARITY],
}

impl Digit {
    /// From two numbers already forced to be bits; one constraint.
    pub fn new<B: Builder>(b: &mut B, site: Site, low: &Num, high: &Num) -> Self {
        let both = mul(b, site, low, high);
        let selectors =
            [Num::one().sub(low).sub(high).add(&both), low.sub(&both), high.sub(&both), both.clone()];
        Self { bits: [low.clone(), high.clone()], selectors }
    }

    pub(crate) fn value(&self) -> usize {
        self.selectors.iter().position(|s| s.value != Fr::from(0)).unwrap_or(0)
    }
}

/// Climbs one level per digit from `(old, new)` at the same place; returns the two nodes above. 600 constraints a level.
pub fn climb<B: Builder>(
    b: &mut B,
    site: Site,
    mut old: Num,
    mut new: Num,
    digits: &[Digit],
    siblings: &[Siblings],
) -> (Num, Num) {
    b.enter(site);
    for (digit, siblings) in digits.iter().zip(siblings) {
        let nodes = children(digit.value(), old.value, siblings).map(|node| hint(b, site!("node"), node));
        enforce_selected(b, digit, &nodes, &old);
        let difference = new.sub(&old);
        let mut rest = difference.clone();
        let mut moved: Vec<Num> = Vec::with_capacity(ARITY);
        for (node, selector) in nodes.iter().zip(&digit.selectors).skip(1) {
            let change = mul(b, site!("change of a child"), selector, &difference);
            rest = rest.sub(&change);
            moved.push(node.add(&change));
        }
        let first = nodes[0].add(&rest);
        old = poseidon::gadget::hash(b, site!("old parent"), &[&nodes[0], &nodes[1], &nodes[2], &nodes[3]]);
        new = poseidon::gadget::hash(b, site!("new parent"), &[&first, &moved[0], &moved[1], &moved[2]]);
    }
    b.leave();
    (old, new)
}

/// Forces the child that the digit names to be `node`; three constraints.
fn enforce_selected<B: Builder>(b: &mut B, digit: &Digit, nodes: &[Num; ARITY], node: &Num) {
    let [low, high] = &digit.bits;
    let even = mul(b, site!("even child"), low, &nodes[1].sub(&nodes[0])).add(&nodes[0]);
    let odd = mul(b, site!("odd child"), low, &nodes[3].sub(&nodes[2])).add(&nodes[2]);
    enforce_product(b, site!("named child"), high, &odd.sub(&even), &node.sub(&even));
}

/// One selector for each of 4^k places from k digits, most significant last; at most 4/3·4^k constraints.
pub fn one_hot<B: Builder>(b: &mut B, site: Site, digits: &[Digit]) -> Vec<Num> {
    let Some((last, others)) = digits.split_last() else { return vec![Num::one()] };
    let mut selectors = last.selectors.to_vec();
    for digit in others.iter().rev() {
        let mut finer = Vec::with_capacity(selectors.len() * ARITY);
        for prefix in &selectors {
            for selector in &digit.selectors {
                finer.push(mul(b, site, prefix, selector));
            }
        }
        selectors = finer;
    }
    selectors
}

/// Σ selector·node, one constraint a node.
pub fn select<B: Builder>(b: &mut B, site: Site, selectors: &[Num], nodes: &[Num]) -> Num {
    let mut sum = Num::zero();
    for (selector, node) in selectors.iter().zip(nodes) {
        let part = mul(b, site, selector, node);
        sum = sum.add(&part);
    }
    sum
}

/// Adds `difference` to the selected node, one constraint a node. The new nodes are variables of their own, so that
/// linear combinations do not grow from slot to slot.
pub fn update<B: Builder>(
    b: &mut B,
    site: Site,
    selectors: &[Num],
    nodes: &[Num],
    difference: &Num,
) -> Vec<Num> {
    selectors
        .iter()
        .zip(nodes)
        .map(|(selector, node)| {
            let new = hint(b, site, node.value + selector.value * difference.value);
            enforce_product(b, site, selector, difference, &new.sub(node));
            new
        })
        .collect()
}

/// The root over a power of 4 of nodes.
pub fn root<B: Builder>(b: &mut B, site: Site, nodes: &[Num]) -> Num {
    let mut level = nodes.to_vec();
    while level.len() > 1 {
        level = level
            .chunks_exact(ARITY)
            .map(|c| poseidon::gadget::hash(b, site, &[&c[0], &c[1], &c[2], &c[3]]))
            .collect();
    }
    level.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{Checker, random_fr},
        tree::{digit, root_from},
    };

    #[test]
    fn the_climb_agrees_with_the_native_path() {
        let x = random_fr(3, 2 + 3 * 3);
        let siblings: Vec<Siblings> = x[2..].chunks(3).map(|c| [c[0], c[1], c[2]]).collect();
        for index in [0u64, 27, 63, 38] {
            let mut b = Checker::new();
            let digits: Vec<Digit> = (0..3)
                .map(|level| {
                    let d = digit(index, level);
                    let low = crate::r1cs::boolean(&mut b, site!("low"), d & 1 == 1);
                    let high = crate::r1cs::boolean(&mut b, site!("high"), d & 2 == 2);
                    Digit::new(&mut b, site!("digit"), &low, &high)
                })
                .collect();
            let (old, new) = (hint(&mut b, site!("old"), x[0]), hint(&mut b, site!("new"), x[1]));
            let (old, new) = climb(&mut b, site!("path"), old, new, &digits, &siblings);
            assert_eq!(old.value, root_from(x[0], 0, index, &siblings));
            assert_eq!(new.value, root_from(x[1], 0, index, &siblings));
            let selectors = one_hot(&mut b, site!("selector"), &digits);
            let hot: Vec<usize> = (0..64).filter(|i| selectors[*i].value != Fr::from(0)).collect();
            assert_eq!(hot, vec![index as usize]);
            assert_eq!(b.first_violation(), None);
            assert_eq!(b.evaluate(&new), new.value);
        }
    }
}
