//! The verifying key, its digest and its form for contracts.

use bellman::groth16;
use blake2::Digest;
use bn254::{Bn256, CurveAffine, Fq, G1Affine, G2Affine, PrimeCurveAffine, fq_to_be_bytes, is_in_g2};

use crate::hash::tagged;

/// Why a verifying key is not fit for use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyingKeyError {
    /// A point is infinity.
    #[error("PM-VK-001: {0} is the point at infinity; make the key again")]
    Infinity(&'static str),
    /// A point does not lie on its curve.
    #[error("PM-VK-002: {0} is not on the curve; make the key again")]
    NotOnCurve(&'static str),
    /// A G2 point lies outside the subgroup.
    #[error("PM-VK-003: {0} is outside the subgroup of order r; make the key again")]
    OutsideSubgroup(&'static str),
    /// Anybody can forge proofs for such a key.
    #[error(
        "PM-VK-004: delta equals gamma, so proofs can be forged; the ceremony was never finished, do not use the key"
    )]
    DeltaIsGamma,
    /// delta in G1 and in G2 are not the same multiple of the generators, and likewise for beta.
    #[error("PM-VK-005: {0} differs between G1 and G2; make the key again")]
    Inconsistent(&'static str),
    /// The key lacks even the point of the constant one.
    #[error("PM-VK-006: the key has no input points; make the key again")]
    NoInputs,
}

/// A Groth16 verifying key: e(A, B) = e(alpha, beta) * e(IC(x), gamma) * e(C, delta).
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyingKey {
    /// alpha times the generator of G1.
    pub alpha_g1: G1Affine,
    /// beta times the generator of G1, which only provers need.
    pub beta_g1: G1Affine,
    /// beta times the generator of G2.
    pub beta_g2: G2Affine,
    /// gamma times the generator of G2.
    pub gamma_g2: G2Affine,
    /// delta times the generator of G1, which only provers need.
    pub delta_g1: G1Affine,
    /// delta times the generator of G2.
    pub delta_g2: G2Affine,
    /// One point per public input, that of the constant one first.
    pub ic: Vec<G1Affine>,
}

impl VerifyingKey {
    /// Checks every point and that the key is not degenerate.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), VerifyingKeyError> {
        let g1 =
            [("alpha in G1", self.alpha_g1), ("beta in G1", self.beta_g1), ("delta in G1", self.delta_g1)];
        let inputs = self.ic.iter().map(|point| ("an input point", *point));
        for (name, point) in g1.into_iter().chain(inputs) {
            if bool::from(point.is_identity()) {
                return Err(VerifyingKeyError::Infinity(name));
            }
            if !bn254::raw::is_valid_g1(&point) {
                return Err(VerifyingKeyError::NotOnCurve(name));
            }
        }
        let g2 =
            [("beta in G2", self.beta_g2), ("gamma in G2", self.gamma_g2), ("delta in G2", self.delta_g2)];
        for (name, point) in g2 {
            if bool::from(PrimeCurveAffine::is_identity(&point)) {
                return Err(VerifyingKeyError::Infinity(name));
            }
            if !bool::from(point.is_on_curve()) {
                return Err(VerifyingKeyError::NotOnCurve(name));
            }
            if !is_in_g2(&point) {
                return Err(VerifyingKeyError::OutsideSubgroup(name));
            }
        }
        if self.ic.is_empty() {
            return Err(VerifyingKeyError::NoInputs);
        }
        if self.delta_g2 == self.gamma_g2 {
            return Err(VerifyingKeyError::DeltaIsGamma);
        }
        if !same_multiple(&self.beta_g1, &self.beta_g2) {
            return Err(VerifyingKeyError::Inconsistent("beta"));
        }
        if !same_multiple(&self.delta_g1, &self.delta_g2) {
            return Err(VerifyingKeyError::Inconsistent("delta"));
        }
        Ok(())
    }

    /// What a contract needs, as big-endian words: alpha (x, y), then beta, gamma, delta in G2 (x.c1, x.c0, y.c1, y.c0
    /// each, as EIP-197 orders them), then (x, y) of every input point.
    pub fn to_evm_words(&self) -> Vec<[u8; 32]> {
        let mut words = Vec::with_capacity(14 + 2 * self.ic.len());
        words.extend(g1_words(&self.alpha_g1));
        for point in [&self.beta_g2, &self.gamma_g2, &self.delta_g2] {
            words.extend(g2_words(point));
        }
        words.extend(self.ic.iter().flat_map(g1_words));
        words
    }

    /// BLAKE2b-256 of `"proofmill.vk.v1"` and the words of [`Self::to_evm_words`].
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = tagged("proofmill.vk.v1");
        for word in self.to_evm_words() {
            hasher.update(word);
        }
        hasher.finalize().into()
    }

    /// The key as bellman has it.
    pub fn to_bellman(&self) -> groth16::VerifyingKey<Bn256> {
        groth16::VerifyingKey {
            alpha_g1: self.alpha_g1,
            beta_g1: self.beta_g1,
            beta_g2: self.beta_g2,
            gamma_g2: self.gamma_g2,
            delta_g1: self.delta_g1,
            delta_g2: self.delta_g2,
            ic: self.ic.clone(),
        }
    }

    /// A key from bellman, not validated.
    pub fn from_bellman(key: &groth16::VerifyingKey<Bn256>) -> Self {
        Self {
            alpha_g1: key.alpha_g1,
            beta_g1: key.beta_g1,
            beta_g2: key.beta_g2,
            gamma_g2: key.gamma_g2,
            delta_g1: key.delta_g1,
            delta_g2: key.delta_g2,
            ic: key.ic.clone(),
        }
    }
}

/// Whether two points are the same multiple of their generators.
fn same_multiple(g1: &G1Affine, g2: &G2Affine) -> bool {
    <Bn256 as bn254::Engine>::pairing(g1, &G2Affine::generator())
        == <Bn256 as bn254::Engine>::pairing(&G1Affine::generator(), g2)
}

/// (x, y) as big-endian words.
pub(crate) fn g1_words(point: &G1Affine) -> [[u8; 32]; 2] {
    [&point.x, &point.y].map(|value: &Fq| fq_to_be_bytes(value))
}

/// (x.c1, x.c0, y.c1, y.c0) as big-endian words.
pub(crate) fn g2_words(point: &G2Affine) -> [[u8; 32]; 4] {
    [point.x.c1(), point.x.c0(), point.y.c1(), point.y.c0()].map(fq_to_be_bytes)
}
