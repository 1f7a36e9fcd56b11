//! Groth16 keys and proofs as words: G1 (x, y), G2 (x.c1, x.c0, y.c1, y.c0), the point at infinity all zero (EIP-196, EIP-197).

use bn254::{CurveAffine, Fq, Fq2, G1Affine, G2Affine, PrimeField};
use ethers::types::U256;

use crate::contract::types::Word;

/// A Groth16 verification key with three public inputs, in the order (h, c, e).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    /// alpha in G1.
    pub alpha: G1Affine,
    /// beta in G2.
    pub beta: G2Affine,
    /// gamma in G2.
    pub gamma: G2Affine,
    /// delta in G2; the contract refuses +-gamma and +-beta.
    pub delta: G2Affine,
    /// Points of the constant 1, h, c, e.
    pub ic: [G1Affine; 4],
}

/// A proof as the contract takes it: A, B, C.
pub fn proof_words(a: &G1Affine, b: &G2Affine, c: &G1Affine) -> [Word; 8] {
    let ([ax, ay], [bx1, bx0, by1, by0], [cx, cy]) = (g1_words(a), g2_words(b), g1_words(c));
    [ax, ay, bx1, bx0, by1, by0, cx, cy]
}

/// (x, y); zeros for the point at infinity.
pub fn g1_words(point: &G1Affine) -> [Word; 2] {
    match Option::<halo2curves::Coordinates<G1Affine>>::from(point.coordinates()) {
        Some(at) => [fq_word(at.x()), fq_word(at.y())],
        None => [[0; 32]; 2],
    }
}

/// (x.c1, x.c0, y.c1, y.c0); zeros for the point at infinity.
pub fn g2_words(point: &G2Affine) -> [Word; 4] {
    match Option::<halo2curves::Coordinates<G2Affine>>::from(point.coordinates()) {
        Some(at) => {
            let ([x0, x1], [y0, y1]) = (fq2_words(at.x()), fq2_words(at.y()));
            [x1, x0, y1, y0]
        }
        None => [[0; 32]; 4],
    }
}

pub(crate) fn u256s<const N: usize>(words: &[Word; N]) -> [U256; N] {
    words.map(|word| U256::from_big_endian(&word))
}

fn fq_word(x: &Fq) -> Word {
    let mut word = [0u8; 32];
    for (to, from) in word.iter_mut().rev().zip(x.to_repr().as_ref()) {
        *to = *from;
    }
    word
}

fn fq2_words(x: &Fq2) -> [Word; 2] {
    [fq_word(x.c0()), fq_word(x.c1())]
}
