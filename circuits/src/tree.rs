//! The state tree: 4-ary, depth 18, nodes `P4(c0, c1, c2, c3)`, places 0..2^36 of which none is used twice.
//!
//! Level 0 holds the leaves, level 18 the root. Digit k of an index (two bits, least significant first) says which
//! child of its parent the node on level k is.

use std::sync::LazyLock;

use bn254::Fr;
use ff::Field;

use crate::poseidon;

pub mod gadget;

pub const ARITY: usize = 4;
/// Levels of nodes above the leaves.
pub const DEPTH: usize = 18;
/// Places of the tree.
pub const CAPACITY: u64 = 1 << (2 * DEPTH);

/// The three siblings on one level, in child order with the node itself left out.
pub type Siblings = [Fr; ARITY - 1];

/// Z(k): the root of an empty subtree of k levels.
///
/// # Panics
/// If `level` is above `DEPTH`.
pub fn empty_root(level: usize) -> Fr {
    static ZEROS: LazyLock<Vec<Fr>> = LazyLock::new(|| {
        std::iter::successors(Some(Fr::ZERO), |z| Some(poseidon::hash4([*z; ARITY])))
            .take(DEPTH + 1)
            .collect()
    });
    ZEROS[level]
}

/// The digit of `index` on `level`.
pub fn digit(index: u64, level: usize) -> usize {
    (index >> (2 * level)) as usize & (ARITY - 1)
}

/// The four children of a node from one child, its place and its siblings.
pub fn children(digit: usize, node: Fr, siblings: &Siblings) -> [Fr; ARITY] {
    let mut others = siblings.iter();
    std::array::from_fn(|i| if i == digit { node } else { others.next().copied().unwrap_or(Fr::ZERO) })
}

/// The root above `node` on `level` of the path of `index` (an index of a leaf), going up one level per sibling triple.
pub fn root_from(node: Fr, level: usize, index: u64, siblings: &[Siblings]) -> Fr {
    siblings
        .iter()
        .enumerate()
        .fold(node, |node, (i, siblings)| poseidon::hash4(children(digit(index, level + i), node, siblings)))
}

/// The root of a full subtree over `leaves`, whose number is a power of 4.
pub fn subtree_root(leaves: &[Fr]) -> Fr {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level.chunks_exact(ARITY).map(|c| poseidon::hash4([c[0], c[1], c[2], c[3]])).collect();
    }
    level.first().copied().unwrap_or(Fr::ZERO)
}

/// A list of sibling triples as one list of field elements.
pub mod serde_siblings {
    use bn254::{Fr, serde_fr_vec};
    use serde::{Deserializer, Serializer, de::Error};

    use super::{ARITY, Siblings};

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(path: &[Siblings], serializer: S) -> Result<S::Ok, S::Error> {
        serde_fr_vec::serialize(path.as_flattened(), serializer)
    }

    /// # Errors
    /// Those of the deserializer, and a length that is not a multiple of three.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Siblings>, D::Error> {
        let flat: Vec<Fr> = serde_fr_vec::deserialize(deserializer)?;
        let (path, rest) = flat.as_chunks::<{ ARITY - 1 }>();
        if rest.is_empty() {
            Ok(path.to_vec())
        } else {
            Err(D::Error::custom("a path has three siblings a level"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_root_of_the_subtree() {
        let leaves: Vec<Fr> = (1..=16).map(Fr::from).collect();
        let level1: Vec<Fr> = leaves.chunks(4).map(|c| poseidon::hash4([c[0], c[1], c[2], c[3]])).collect();
        let index = 6u64;
        let siblings = [[leaves[4], leaves[5], leaves[7]], [level1[0], level1[2], level1[3]]];
        assert_eq!(root_from(leaves[6], 0, index, &siblings), subtree_root(&leaves));
        assert_ne!(root_from(leaves[6], 0, 5, &siblings), subtree_root(&leaves));
    }

    #[test]
    fn an_empty_tree_has_the_empty_root() {
        assert_eq!(subtree_root(&[Fr::ZERO; 64]), empty_root(3));
    }
}
