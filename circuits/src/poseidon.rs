//! Poseidon over the BN254 scalar field, compatible with circomlib: S-box x⁵, 8 full rounds, the capacity lane first,
//! the digest is lane 0.
//!
//! `P2`, `P4`, `P5` and `P12` are the widths the protocol uses; each is a different permutation, so they never collide
//! by construction of their inputs. The native function uses the sparse form of the partial rounds (Poseidon paper,
//! appendix B); the gadget uses the plain form, whose S-box inputs are the same values.
//!
//! Source: Grassi et al., "Poseidon", <https://eprint.iacr.org/2019/458>.

mod constants;
pub mod gadget;
#[cfg(feature = "memo")]
mod memo;

use std::sync::LazyLock;

use bn254::{Fr, inner_product};
use ff::Field;

pub(crate) use constants::Parameters;

static T3: LazyLock<Parameters> = LazyLock::new(|| Parameters::generate(3));
static T5: LazyLock<Parameters> = LazyLock::new(|| Parameters::generate(5));
static T6: LazyLock<Parameters> = LazyLock::new(|| Parameters::generate(6));
static T13: LazyLock<Parameters> = LazyLock::new(|| Parameters::generate(13));

/// Number of full rounds for every width.
pub(crate) const FULL_ROUNDS: usize = 8;

/// P2: the hash of leaves, accounts and key hashes.
pub fn hash2(a: Fr, b: Fr) -> Fr {
    remembered([a, b], |[a, b]| permute(&T3, [Fr::ZERO, a, b], |_| {}))
}

/// P4: the hash of tree nodes and messages.
pub fn hash4(x: [Fr; 4]) -> Fr {
    remembered(x, |[a, b, c, d]| permute(&T5, [Fr::ZERO, a, b, c, d], |_| {}))
}

/// P5: the challenge of EdDSA.
pub fn hash5(x: [Fr; 5]) -> Fr {
    permute(&T6, [Fr::ZERO, x[0], x[1], x[2], x[3], x[4]], |_| {})
}

/// P12: one step of the chain that commits to the public data.
pub fn hash12(x: [Fr; 12]) -> Fr {
    remembered(x, |x| {
        let mut state = [Fr::ZERO; 13];
        state[1..].copy_from_slice(&x);
        permute(&T13, state, |_| {})
    })
}

#[cfg(feature = "memo")]
pub use memo::remember_digests;
#[cfg(feature = "memo")]
use memo::remembered;

/// Without the feature `memo` nothing is remembered.
#[cfg(not(feature = "memo"))]
#[inline]
fn remembered<const N: usize>(x: [Fr; N], hash: impl FnOnce([Fr; N]) -> Fr) -> Fr {
    hash(x)
}

/// The parameters of the permutation with `inputs` inputs.
pub(crate) fn parameters(width: usize) -> &'static Parameters {
    match width {
        3 => &T3,
        5 => &T5,
        6 => &T6,
        13 => &T13,
        other => unreachable!("the protocol has no Poseidon of width {other}"),
    }
}

fn pow5(x: Fr) -> Fr {
    let x2 = x.square();
    x2.square() * x
}

/// A row of a matrix of this width.
fn row<const T: usize>(row: &[Fr]) -> &[Fr; T] {
    let Some(row) = row.first_chunk() else { unreachable!("a row has an element for each lane") };
    row
}

fn mix<const T: usize>(m: &[Vec<Fr>], state: &[Fr; T]) -> [Fr; T] {
    std::array::from_fn(|i| inner_product(row(&m[i]), state))
}

fn full_round<const T: usize>(
    mut state: [Fr; T],
    constants: &[Fr],
    matrix: &[Vec<Fr>],
    record: &mut impl FnMut(Fr),
) -> [Fr; T] {
    for (lane, c) in state.iter_mut().zip(constants) {
        *lane += c;
        record(*lane);
        *lane = pow5(*lane);
    }
    mix(matrix, &state)
}

/// Runs the permutation and returns lane 0. `record` sees the input of every S-box, in order, so that the gadget's
/// witness needs no second implementation.
fn permute<const T: usize>(p: &Parameters, mut state: [Fr; T], mut record: impl FnMut(Fr)) -> Fr {
    debug_assert_eq!(p.width, T);
    let half = FULL_ROUNDS / 2;
    for r in 0..half {
        let matrix = if r + 1 == half { &p.pre_sparse } else { &p.mds };
        state = full_round(state, &p.full_constants[r], matrix, &mut record);
    }
    for round in &p.partial {
        let x = state[0] + round.constant;
        record(x);
        let y = pow5(x);
        state[0] = y;
        let lane0 = inner_product(row(&round.row), &state);
        for (lane, column) in state.iter_mut().zip(&round.column).skip(1) {
            *lane += *column * y;
        }
        state[0] = lane0;
    }
    for constants in &p.full_constants[half..] {
        state = full_round(state, constants, &p.mds, &mut record);
    }
    state[0]
}

/// The inputs of all S-boxes of the permutation over `inputs`, and its digest.
pub(crate) fn trace(inputs: &[Fr]) -> (Vec<Fr>, Fr) {
    let mut seen = Vec::new();
    let mut record = |x| seen.push(x);
    let digest = match *inputs {
        [a, b] => permute(&T3, [Fr::ZERO, a, b], &mut record),
        [a, b, c, d] => permute(&T5, [Fr::ZERO, a, b, c, d], &mut record),
        [a, b, c, d, e] => permute(&T6, [Fr::ZERO, a, b, c, d, e], &mut record),
        _ => {
            let mut state = [Fr::ZERO; 13];
            state[1..].copy_from_slice(inputs);
            permute(&T13, state, &mut record)
        }
    };
    (seen, digest)
}

#[cfg(test)]
mod tests {
    use ark_ff::{BigInteger, PrimeField as ArkPrimeField};
    use ff::PrimeField;
    use light_poseidon::{Poseidon, PoseidonHasher};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::random_fr;

    fn oracle(inputs: &[Fr]) -> Fr {
        let ark: Vec<ark_bn254::Fr> =
            inputs.iter().map(|x| ark_bn254::Fr::from_le_bytes_mod_order(x.to_repr().as_ref())).collect();
        let digest = Poseidon::<ark_bn254::Fr>::new_circom(inputs.len()).unwrap().hash(&ark).unwrap();
        let mut repr = [0u8; 32];
        repr.copy_from_slice(&digest.into_bigint().to_bytes_le());
        Fr::from_repr(repr.into()).unwrap()
    }

    #[test]
    fn the_hash_of_one_and_two_is_the_known_circomlib_value() {
        let expected = "7853200120776062878684798364095072458815029376092732009249414926327459813530";
        assert_eq!(hash2(Fr::from(1), Fr::from(2)), Fr::from_str_vartime(expected).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_width_agrees_with_light_poseidon(seed: u64) {
            let x: Vec<Fr> = random_fr(seed, 12);
            prop_assert_eq!(hash2(x[0], x[1]), oracle(&x[..2]));
            prop_assert_eq!(hash4([x[0], x[1], x[2], x[3]]), oracle(&x[..4]));
            prop_assert_eq!(hash5([x[0], x[1], x[2], x[3], x[4]]), oracle(&x[..5]));
            prop_assert_eq!(hash12(x.clone().try_into().unwrap()), oracle(&x));
        }
    }
}
