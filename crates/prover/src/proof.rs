//! Proofs and their verification.
//!
//! Invariant: the points of a [`Proof`] are on their curves, in the groups of order r, and none is infinity. Every way
//! to make one checks that, so a proof from a worker cannot smuggle in a point that halo2curves would decode but the
//! EVM would refuse.

use bellman::groth16;
use bn254::{
    Bn256, CurveAffine, EncodingError, Fq2, Fr, G1Affine, G2Affine, PrimeCurveAffine, fq_from_be_bytes,
    is_in_g2,
};

use crate::verifying_key::{VerifyingKey, VerifyingKeyError, g1_words, g2_words};

/// Why something is not a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A coordinate is at or above q.
    #[error("PM-PROOF-001: a coordinate of {0} is not below the field modulus; ask for the proof again")]
    NotCanonical(&'static str),
    /// A point is not on its curve.
    #[error("PM-PROOF-002: {0} is not on the curve; ask for the proof again")]
    NotOnCurve(&'static str),
    /// B is not in the subgroup.
    #[error("PM-PROOF-003: B is outside the subgroup of order r; ask for the proof again")]
    OutsideSubgroup,
    /// A point is infinity.
    #[error("PM-PROOF-004: {0} is the point at infinity; ask for the proof again")]
    Infinity(&'static str),
    /// Not 256 bytes.
    #[error("PM-PROOF-005: a proof has 256 bytes, these are {0}; send all eight words")]
    WrongLength(usize),
}

/// Why a proof does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The key is of a circuit with another number of public inputs.
    #[error("PM-VERIFY-001: the key takes {expected} public inputs, got {got}; use the key of this circuit")]
    WrongInputCount {
        /// Public inputs of the key.
        expected: usize,
        /// Public inputs given.
        got: usize,
    },
    /// The equation does not hold.
    #[error("PM-VERIFY-002: the proof does not hold for these public inputs; refuse it")]
    Invalid,
}

/// A Groth16 proof with valid points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    a: G1Affine,
    b: G2Affine,
    c: G1Affine,
}

impl Proof {
    /// A proof of these points.
    ///
    /// # Errors
    /// [`ProofError`] for a point that is infinity, off its curve or outside the subgroup.
    pub fn new(a: G1Affine, b: G2Affine, c: G1Affine) -> Result<Self, ProofError> {
        for (name, point) in [("A", &a), ("C", &c)] {
            if bool::from(PrimeCurveAffine::is_identity(point)) {
                return Err(ProofError::Infinity(name));
            }
            if !bool::from(point.is_on_curve()) {
                return Err(ProofError::NotOnCurve(name));
            }
        }
        if bool::from(PrimeCurveAffine::is_identity(&b)) {
            return Err(ProofError::Infinity("B"));
        }
        if !bool::from(b.is_on_curve()) {
            return Err(ProofError::NotOnCurve("B"));
        }
        if !is_in_g2(&b) {
            return Err(ProofError::OutsideSubgroup);
        }
        Ok(Self { a, b, c })
    }

    /// A.
    pub fn a(&self) -> &G1Affine {
        &self.a
    }

    /// B.
    pub fn b(&self) -> &G2Affine {
        &self.b
    }

    /// C.
    pub fn c(&self) -> &G1Affine {
        &self.c
    }

    /// The words a contract takes, big-endian, in the order of EIP-197: A.x, A.y, B.x.c1, B.x.c0, B.y.c1, B.y.c0, C.x,
    /// C.y.
    pub fn to_evm_words(&self) -> [[u8; 32]; 8] {
        let [ax, ay] = g1_words(&self.a);
        let [bx1, bx0, by1, by0] = g2_words(&self.b);
        let [cx, cy] = g1_words(&self.c);
        [ax, ay, bx1, bx0, by1, by0, cx, cy]
    }

    /// The words of [`Self::to_evm_words`] one after the other.
    pub fn to_bytes(&self) -> [u8; 256] {
        let mut bytes = [0; 256];
        for (place, word) in bytes.chunks_exact_mut(32).zip(self.to_evm_words()) {
            place.copy_from_slice(&word);
        }
        bytes
    }

    /// Reads the words of [`Self::to_evm_words`].
    ///
    /// # Errors
    /// [`ProofError`] unless every coordinate is below q and the points are valid.
    pub fn from_evm_words(words: &[[u8; 32]; 8]) -> Result<Self, ProofError> {
        let read =
            |name, word| fq_from_be_bytes(word).map_err(|_: EncodingError| ProofError::NotCanonical(name));
        let [ax, ay, bx1, bx0, by1, by0, cx, cy] = words;
        let fq2 = |c0, c1| Ok(Fq2::new(read("B", c0)?, read("B", c1)?));
        let g1 = |name, x, y| Ok(G1Affine { x: read(name, x)?, y: read(name, y)? });
        Self::new(g1("A", ax, ay)?, G2Affine { x: fq2(bx0, bx1)?, y: fq2(by0, by1)? }, g1("C", cx, cy)?)
    }

    /// Reads 256 bytes of [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`ProofError`] for another length or unless every coordinate is below q and the points are valid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        let bytes: &[u8; 256] = bytes.try_into().map_err(|_| ProofError::WrongLength(bytes.len()))?;
        let mut words = [[0; 32]; 8];
        for (word, part) in words.iter_mut().zip(bytes.chunks_exact(32)) {
            word.copy_from_slice(part);
        }
        Self::from_evm_words(&words)
    }

    /// The proof as bellman has it.
    pub fn to_bellman(&self) -> groth16::Proof<Bn256> {
        groth16::Proof { a: self.a, b: self.b, c: self.c }
    }

    /// A proof from bellman, which may have been read from anywhere.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_bellman(proof: &groth16::Proof<Bn256>) -> Result<Self, ProofError> {
        Self::new(proof.a, proof.b, proof.c)
    }
}

/// A validated verifying key, ready to verify many proofs.
pub struct PreparedVerifyingKey {
    prepared: groth16::PreparedVerifyingKey<Bn256>,
    public_inputs: usize,
}

impl std::fmt::Debug for PreparedVerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PreparedVerifyingKey({} public inputs)", self.public_inputs)
    }
}

impl PreparedVerifyingKey {
    /// Validates the key and does the part of verification that no proof changes.
    ///
    /// # Errors
    /// [`VerifyingKeyError`] for a key that is not fit for use.
    pub fn new(key: &VerifyingKey) -> Result<Self, VerifyingKeyError> {
        key.validate()?;
        let prepared = groth16::prepare_verifying_key(&key.to_bellman());
        Ok(Self { prepared, public_inputs: key.ic.len() - 1 })
    }

    /// Number of public inputs, the constant one not counted.
    pub fn public_inputs(&self) -> usize {
        self.public_inputs
    }

    /// The key as bellman takes it.
    pub fn as_bellman(&self) -> &groth16::PreparedVerifyingKey<Bn256> {
        &self.prepared
    }
}

/// Verifies a proof for its public inputs (the constant one not among them).
///
/// # Errors
/// [`VerifyError`].
pub fn verify(key: &PreparedVerifyingKey, proof: &Proof, public_inputs: &[Fr]) -> Result<(), VerifyError> {
    if public_inputs.len() != key.public_inputs {
        return Err(VerifyError::WrongInputCount { expected: key.public_inputs, got: public_inputs.len() });
    }
    groth16::verify_proof(&key.prepared, &proof.to_bellman(), public_inputs).map_err(|_| VerifyError::Invalid)
}
