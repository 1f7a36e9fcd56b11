//! Operands: random, or at the edges of what the kernels take.

use bn254::raw::Limbs;
use bn254::simd::field52::{Modulus, Q, R};
use bn254::{Field, Fq, Fq2, Fr};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Of one check.
pub fn rng(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// A field whose elements the kernels take.
pub trait Element: Field + Limbs {
    /// A random element, or one at an edge.
    fn draw(rng: &mut ChaCha8Rng) -> Self;
}

/// 0, 1, −1 and their neighbours, as values and as limbs of the Montgomery form, and limbs of all ones or all zeros.
fn edge(modulus: [u64; 4], rng: &mut ChaCha8Rng) -> [u64; 4] {
    let [p0, p1, p2, p3] = modulus;
    let ones = u64::MAX;
    let edges = [
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [2, 0, 0, 0],
        [p0 - 1, p1, p2, p3],
        [p0 - 2, p1, p2, p3],
        [ones, p1 - 1, p2, p3],
        [ones, ones, p2 - 1, p3],
        [ones, ones, ones, p3 - 1],
        [ones, ones, ones, p3 >> 1],
        [ones, 0, ones, 0],
        [0, ones, 0, p3 - 1],
        [0, 0, 0, p3],
        [(1 << 52) - 1, 0, 0, 0],
        [1 << 52, 0, 0, 0],
        [p0, p1, p2, p3 >> 1],
        [0, 0, 0, 1 << 61],
    ];
    edges[rng.next_u32() as usize % edges.len()]
}

/// A small number or its negative, limbs at an edge, or, more often than not, a random element.
macro_rules! draw {
    ($rng:expr, $modulus:ty) => {
        match $rng.next_u32() % 12 {
            0 => Self::from($rng.next_u64() % 4),
            1 => -Self::from($rng.next_u64() % 4),
            2..=4 => Self(edge(<$modulus>::WORDS, $rng)),
            _ => Self::random($rng),
        }
    };
}

impl Element for Fq {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        draw!(rng, Q)
    }
}

impl Element for Fr {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        draw!(rng, R)
    }
}

impl Element for Fq2 {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        Self::new(Fq::draw(rng), Fq::draw(rng))
    }
}
