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
    /// Anybody can forge proofs for such a key: see decision D11.
    #[error(
        "PM-VK-004: {0} equals {1} or its negative, so proofs can be forged; the ceremony was never finished, do not use the key"
    )]
    Degenerate(&'static str, &'static str),
    /// delta in G1 and in G2 are not the same multiple of the generators, and likewise for beta.
    #[error("PM-VK-005: {0} differs between G1 and G2; make the key again")]
    Inconsistent(&'static str),
    /// The key lacks even the point of the constant one.
    #[error("PM-VK-006: the key has no input points; make the key again")]
    NoInputs,
    /// A secret is 1 or -1, which everybody knows.
    #[error(
        "PM-VK-007: {0} is the generator or its negative, so its secret is known; nobody contributed to the ceremony, do not \
         use the key"
    )]
    KnownSecret(&'static str),
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
        for (name, point) in g1 {
            check_g1(name, &point)?;
        }
        self.public().validate()?;
        if !same_multiple(&self.beta_g1, &self.beta_g2) {
            return Err(VerifyingKeyError::Inconsistent("beta"));
        }
        if !same_multiple(&self.delta_g1, &self.delta_g2) {
            return Err(VerifyingKeyError::Inconsistent("delta"));
        }
        self.public().check_secrets()
    }

    /// The parts that verifying needs.
    pub fn public(&self) -> PublicKey {
        PublicKey {
            alpha: self.alpha_g1,
            beta: self.beta_g2,
            gamma: self.gamma_g2,
            delta: self.delta_g2,
            ic: self.ic.clone(),
        }
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
        digest_of_words(&self.to_evm_words())
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

/// The parts of a verifying key that verifying needs. Those that only provers need, beta and delta in G1, are not among them, as in
/// snarkjs's `verification_key.json` and in contracts.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicKey {
    /// alpha in G1.
    pub alpha: G1Affine,
    /// beta in G2.
    pub beta: G2Affine,
    /// gamma in G2.
    pub gamma: G2Affine,
    /// delta in G2.
    pub delta: G2Affine,
    /// One point per public input, that of the constant one first.
    pub ic: Vec<G1Affine>,
}

impl PublicKey {
    /// Checks every point, and that beta, gamma and delta have three different x coordinates. With delta = ±gamma the equation is
    /// free in C; with beta = ±gamma or beta = ±delta the points of the key alone make a "proof".
    pub(crate) fn validate(&self) -> Result<(), VerifyingKeyError> {
        check_g1("alpha in G1", &self.alpha)?;
        for point in &self.ic {
            check_g1("an input point", point)?;
        }
        let g2 = [("beta in G2", self.beta), ("gamma in G2", self.gamma), ("delta in G2", self.delta)];
        for (name, point) in g2 {
            check_g2(name, &point)?;
        }
        if self.ic.is_empty() {
            return Err(VerifyingKeyError::NoInputs);
        }
        let pairs = [
            (("delta", self.delta), ("gamma", self.gamma)),
            (("delta", self.delta), ("beta", self.beta)),
            (("beta", self.beta), ("gamma", self.gamma)),
        ];
        match pairs.into_iter().find(|((_, first), (_, second))| first.x == second.x) {
            Some(((first, _), (second, _))) => Err(VerifyingKeyError::Degenerate(first, second)),
            None => Ok(()),
        }
    }

    /// Checks that alpha, beta and delta are no generators. gamma may be one: snarkjs always takes 1 for it.
    pub(crate) fn check_secrets(&self) -> Result<(), VerifyingKeyError> {
        let generator = G2Affine::generator();
        let known = if self.alpha.x == G1Affine::generator().x {
            Some("alpha")
        } else {
            let secrets = [("beta", self.beta), ("delta", self.delta)];
            secrets.into_iter().find(|(_, point)| point.x == generator.x).map(|(name, _)| name)
        };
        known.map_or(Ok(()), |name| Err(VerifyingKeyError::KnownSecret(name)))
    }
}

/// The digest of the verifying key with these words, of the key that a contract has for one.
pub fn digest_of_words(words: &[[u8; 32]]) -> [u8; 32] {
    let mut hasher = tagged("proofmill.vk.v1");
    for word in words {
        hasher.update(word);
    }
    hasher.finalize().into()
}

fn check_g1(name: &'static str, point: &G1Affine) -> Result<(), VerifyingKeyError> {
    if bool::from(point.is_identity()) {
        return Err(VerifyingKeyError::Infinity(name));
    }
    if bn254::raw::is_valid_g1(point) { Ok(()) } else { Err(VerifyingKeyError::NotOnCurve(name)) }
}

fn check_g2(name: &'static str, point: &G2Affine) -> Result<(), VerifyingKeyError> {
    if bool::from(PrimeCurveAffine::is_identity(point)) {
        return Err(VerifyingKeyError::Infinity(name));
    }
    if !bool::from(point.is_on_curve()) {
        return Err(VerifyingKeyError::NotOnCurve(name));
    }
    if is_in_g2(point) { Ok(()) } else { Err(VerifyingKeyError::OutsideSubgroup(name)) }
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
