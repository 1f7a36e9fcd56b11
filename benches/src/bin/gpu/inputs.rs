//! Points and scalars in quantity, made on all cores.

use bn254::{CurveAffine, Field, Fr};
use group::Curve;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

const CHUNK: usize = 1 << 12;

/// Different points: walks of fixed steps from random starts.
pub fn points<C: CurveAffine<ScalarExt = Fr>>(len: usize, seed: u64) -> Vec<C> {
    let mut points = vec![C::identity(); len];
    points.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, points)| {
        let mut rng = ChaCha20Rng::seed_from_u64(seed ^ (chunk as u64) << 20);
        let step = (C::generator() * Fr::random(&mut rng)).to_affine();
        let mut walk = C::generator() * Fr::random(&mut rng);
        let places: Vec<C::Curve> = points
            .iter()
            .map(|_| {
                walk += step;
                walk
            })
            .collect();
        C::Curve::batch_normalize(&places, points);
    });
    points
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalars {
    /// Full-sized.
    Random,
    /// As in a witness of the batch circuits: half 0 and 1, some small, the rest full-sized.
    Witness,
    /// 0 and 1 only.
    Bits,
}

impl Scalars {
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Witness => "witness-like",
            Self::Bits => "bits",
        }
    }

    pub fn make(self, len: usize, seed: u64) -> Vec<Fr> {
        let mut scalars = vec![Fr::ZERO; len];
        scalars.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, scalars)| {
            let mut rng = ChaCha20Rng::seed_from_u64(seed ^ (chunk as u64) << 20);
            for scalar in scalars {
                let die = rng.next_u32() % 16;
                *scalar = match self {
                    Self::Bits if die < 8 => Fr::ZERO,
                    Self::Bits => Fr::ONE,
                    Self::Witness if die < 4 => Fr::ZERO,
                    Self::Witness if die < 8 => Fr::ONE,
                    Self::Witness if die < 9 => Fr::from(u64::from(rng.next_u32())),
                    _ => Fr::random(&mut rng),
                };
            }
        });
        scalars
    }
}
