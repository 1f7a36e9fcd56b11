//! Our keys and proofs as arkworks has them. Both keep the limbs of the Montgomery form with 2^256, so that elements only change
//! their type.

use ark_bn254::{Bn254, Fq as ArkFq, Fq2 as ArkFq2, Fr as ArkFr, G1Affine as ArkG1, G2Affine as ArkG2};
use ark_ec::AffineRepr;
use ark_ff::BigInt;
use ark_groth16::{Proof as ArkProof, ProvingKey, VerifyingKey as ArkVerifyingKey};
use bn254::{Fq, Fq2, Fr, G1Affine, G2Affine, PrimeCurveAffine};
use prover::{KeyParts, Proof, VerifyingKey};

pub fn fr(value: &Fr) -> ArkFr {
    ArkFr::new_unchecked(BigInt(value.0))
}

fn fq(value: &Fq) -> ArkFq {
    ArkFq::new_unchecked(BigInt(value.0))
}

fn g1(point: &G1Affine) -> ArkG1 {
    let finite = !bool::from(point.is_identity());
    if finite { ArkG1::new_unchecked(fq(&point.x), fq(&point.y)) } else { ArkG1::zero() }
}

fn g2(point: &G2Affine) -> ArkG2 {
    let fq2 = |value: &Fq2| ArkFq2::new(fq(value.c0()), fq(value.c1()));
    let finite = !bool::from(point.is_identity());
    if finite { ArkG2::new_unchecked(fq2(&point.x), fq2(&point.y)) } else { ArkG2::zero() }
}

pub fn proof(proof: &Proof) -> ArkProof<Bn254> {
    ArkProof { a: g1(proof.a()), b: g2(proof.b()), c: g1(proof.c()) }
}

pub fn verifying_key(key: &VerifyingKey) -> ArkVerifyingKey<Bn254> {
    ArkVerifyingKey {
        alpha_g1: g1(&key.alpha_g1),
        beta_g2: g2(&key.beta_g2),
        gamma_g2: g2(&key.gamma_g2),
        delta_g2: g2(&key.delta_g2),
        gamma_abc_g1: key.ic.iter().map(g1).collect(),
    }
}

/// With a point for every variable, infinity where a matrix does not name it.
pub fn proving_key(parts: &KeyParts) -> ProvingKey<Bn254> {
    let variables = parts.inputs + parts.aux;
    let mut key = ProvingKey {
        vk: verifying_key(&parts.vk),
        beta_g1: g1(&parts.vk.beta_g1),
        delta_g1: g1(&parts.vk.delta_g1),
        a_query: vec![ArkG1::zero(); variables],
        b_g1_query: vec![ArkG1::zero(); variables],
        b_g2_query: vec![ArkG2::zero(); variables],
        h_query: parts.h.iter().map(g1).collect(),
        l_query: parts.l.iter().map(g1).collect(),
    };
    for (column, point) in parts.a_columns.iter().zip(&parts.a) {
        key.a_query[*column as usize] = g1(point);
    }
    for ((column, of_g1), of_g2) in parts.b_columns.iter().zip(&parts.b1).zip(&parts.b2) {
        key.b_g1_query[*column as usize] = g1(of_g1);
        key.b_g2_query[*column as usize] = g2(of_g2);
    }
    key
}
