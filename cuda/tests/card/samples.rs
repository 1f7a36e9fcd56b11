//! Inputs that find mistakes: the edges of the fields, and what witnesses are full of.

use bn254::raw::{self, Limbs};
use bn254::{CurveAffine, Field, Fq, Fq2, Fr};
use group::Curve;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// 0, 1, -1, 2, the inverse of 2, small ones, powers of two and their neighbours, then random ones.
pub fn elements<F: Field + From<u64>>(len: usize, seed: u64) -> Vec<F> {
    let half = F::from(2).invert().unwrap();
    let mut values = vec![F::ZERO, F::ONE, -F::ONE, F::from(2), half, -half, F::from(u64::MAX), -F::from(2)];
    let mut power = F::ONE;
    for _ in 0..256 {
        values.extend([power, power - F::ONE, -power]);
        power = power.double();
    }
    let mut rng = rng(seed);
    while values.len() < len {
        values.push(F::random(&mut rng));
    }
    values.truncate(len);
    values
}

/// Elements whose limbs are extreme: all ones below the modulus, single bits, the modulus less little.
pub fn raw_elements<F: Limbs + Field>(modulus: [u64; 4]) -> Vec<F> {
    let mut limbs = vec![[0, 0, 0, 0], [u64::MAX, u64::MAX, u64::MAX, modulus[3] - 1]];
    for less in 1..4 {
        limbs.push([modulus[0] - less, modulus[1], modulus[2], modulus[3]]);
    }
    for bit in 0..253 {
        let mut value = [0; 4];
        value[bit / 64] = 1 << (bit % 64);
        limbs.push(value);
        value[bit / 64] = value[bit / 64].wrapping_sub(1) | value[bit / 64];
        limbs.push(value);
    }
    for mask in 0..16_u32 {
        let word = |i: u32| if mask >> i & 1 == 1 { u64::MAX } else { 0 };
        limbs.push([word(0), word(1), word(2), if mask >> 3 & 1 == 1 { modulus[3] - 1 } else { 0 }]);
    }
    limbs.iter().map(|limbs| raw::from_bytes::<F>(limb_bytes(limbs)).unwrap()[0]).collect()
}

fn limb_bytes(limbs: &[u64; 4]) -> &[u8] {
    // SAFETY: integers have no padding.
    unsafe { std::slice::from_raw_parts(limbs.as_ptr().cast(), 32) }
}

pub const Q: [u64; 4] =
    [0x3c20_8c16_d87c_fd47, 0x9781_6a91_6871_ca8d, 0xb850_45b6_8181_585d, 0x3064_4e72_e131_a029];
pub const R: [u64; 4] =
    [0x43e1_f593_f000_0001, 0x2833_e848_79b9_7091, 0xb850_45b6_8181_585d, 0x3064_4e72_e131_a029];

pub fn fq_samples(seed: u64) -> Vec<Fq> {
    let mut values = raw_elements::<Fq>(Q);
    values.extend(elements::<Fq>(1500, seed));
    values
}

pub fn fr_samples(seed: u64) -> Vec<Fr> {
    let mut values = raw_elements::<Fr>(R);
    values.extend(elements::<Fr>(1500, seed));
    values
}

pub fn fq2_samples(seed: u64) -> Vec<Fq2> {
    let parts = fq_samples(seed);
    (0..parts.len()).map(|i| Fq2::new(parts[i], parts[i * 7 % parts.len()])).collect()
}

/// Every ordered pair once the samples are shifted against each other in `shifts` ways.
pub fn pairs<T: Copy>(samples: &[T], shifts: usize) -> (Vec<T>, Vec<T>) {
    let len = samples.len();
    let mut left = Vec::new();
    let mut right = Vec::new();
    for shift in 0..shifts {
        left.extend_from_slice(samples);
        right.extend((0..len).map(|i| samples[(i * (2 * shift + 1) + shift * 37) % len]));
    }
    (left, right)
}

/// Points with repetitions, opposites and infinity among them.
pub fn points<C: CurveAffine<ScalarExt = Fr>>(len: usize, seed: u64) -> Vec<C> {
    let mut rng = rng(seed);
    let pool: Vec<C> = (0..8).map(|_| (C::generator() * Fr::random(&mut rng)).to_affine()).collect();
    // Sums of two of the pool and a growing multiple: all different, and cheap.
    let mut walk = C::generator() * Fr::random(&mut rng);
    (0..len)
        .map(|i| {
            walk += pool[i % 8];
            match rng.next_u32() % 8 {
                0 => pool[i % 8],
                1 => pool[i % 8].neg(),
                2 => C::identity(),
                _ => walk.to_affine(),
            }
        })
        .collect()
}

/// Mostly 0 and 1, as a witness has them, some small, -1, r - small, and full-sized ones.
pub fn witness_scalars(len: usize, seed: u64) -> Vec<Fr> {
    let mut rng = rng(seed);
    (0..len)
        .map(|_| match rng.next_u32() % 16 {
            0..=4 => Fr::ZERO,
            5..=8 => Fr::ONE,
            9 => -Fr::ONE,
            10 => Fr::from(u64::from(rng.next_u32() % 300)),
            11 => -Fr::from(u64::from(rng.next_u32())),
            _ => Fr::random(&mut rng),
        })
        .collect()
}
