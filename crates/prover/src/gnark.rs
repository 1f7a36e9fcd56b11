//! Verifying keys, proofs and public inputs in gnark's binary format, so that Go programs verify our proofs and we verify theirs.
//!
//! The form without point compression, what gnark's `WriteRawTo` writes and its `ReadFrom` reads: numbers and coordinates
//! big-endian, of Fq2 the second coordinate first, infinity as zeros, slices with their length (u32) before them.
//!
//! | file | contents |
//! |---|---|
//! | verifying key | alpha, beta in G1, beta, gamma in G2, delta in G1, delta in G2, the points of the inputs, two empty lists of commitments |
//! | proof | A, B, C, an empty list of commitments and its proof, which is infinity |
//! | public witness | number of public and of secret values, the values |
//!
//! Invariant: what is read has the checks of its type; circuits with gnark's commitments, whose proofs have another equation, are
//! refused.
//!
//! Source: the behaviour of gnark 0.15.0 and gnark-crypto 0.22.0.

use bn254::raw::{is_valid_g1, is_valid_g2};
use bn254::{Fq, Fq2, Fr, G1Affine, G2Affine, fq_from_be_bytes, fr_from_be_bytes, fr_to_be_bytes};

use crate::proof::{Proof, ProofError};
use crate::verifying_key::{VerifyingKey, VerifyingKeyError, g1_words, g2_words};

/// The two highest bits of a point, which gnark keeps for the kind of its encoding.
const KIND_OF_POINT: u8 = 0b1100_0000;

/// Why bytes are not what gnark writes, or not of a kind that is supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GnarkError {
    /// Another length or number.
    #[error("PM-GNARK-001: this is not a {kind} of gnark: {reason}; write it again with WriteRawTo")]
    Malformed {
        /// What it should be.
        kind: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// gnark's extension of Groth16.
    #[error(
        "PM-GNARK-002: the circuit uses gnark's commitments, which are not Groth16; make it without them"
    )]
    Commitments,
    /// The points do not make a proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The points do not make a key.
    #[error(transparent)]
    VerifyingKey(#[from] VerifyingKeyError),
}

/// A verifying key.
pub fn write_verifying_key(key: &VerifyingKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_g1(&mut bytes, &[key.alpha_g1, key.beta_g1]);
    put_g2(&mut bytes, &[key.beta_g2, key.gamma_g2]);
    put_g1(&mut bytes, &[key.delta_g1]);
    put_g2(&mut bytes, &[key.delta_g2]);
    bytes.extend((key.ic.len() as u32).to_be_bytes());
    put_g1(&mut bytes, &key.ic);
    bytes.extend([0; 8]);
    bytes
}

/// Reads a verifying key and validates it.
///
/// # Errors
/// [`GnarkError`].
pub fn read_verifying_key(bytes: &[u8]) -> Result<VerifyingKey, GnarkError> {
    let mut reader = Reader { kind: "verifying key", bytes };
    let (alpha_g1, beta_g1) = (reader.g1()?, reader.g1()?);
    let (beta_g2, gamma_g2) = (reader.g2()?, reader.g2()?);
    let (delta_g1, delta_g2) = (reader.g1()?, reader.g2()?);
    let count = reader.u32()? as usize;
    if count == 0 || count > reader.bytes.len() / 64 {
        return Err(reader.malformed("it has more points than bytes, or none"));
    }
    let ic = (0..count).map(|_| reader.g1()).collect::<Result<_, _>>()?;
    if reader.u32()? != 0 || reader.u32()? != 0 {
        return Err(GnarkError::Commitments);
    }
    reader.end()?;
    let key = VerifyingKey { alpha_g1, beta_g1, beta_g2, gamma_g2, delta_g1, delta_g2, ic };
    key.validate()?;
    Ok(key)
}

/// A proof.
pub fn write_proof(proof: &Proof) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_g1(&mut bytes, &[*proof.a()]);
    put_g2(&mut bytes, &[*proof.b()]);
    put_g1(&mut bytes, &[*proof.c()]);
    bytes.extend([0; 4 + 64]);
    bytes
}

/// Reads a proof.
///
/// # Errors
/// [`GnarkError`].
pub fn read_proof(bytes: &[u8]) -> Result<Proof, GnarkError> {
    let mut reader = Reader { kind: "proof", bytes };
    let (a, b, c) = (reader.g1()?, reader.g2()?, reader.g1()?);
    if reader.u32()? != 0 {
        return Err(GnarkError::Commitments);
    }
    if reader.g1()? != G1Affine::default() {
        return Err(reader.malformed("it proves commitments that it does not have"));
    }
    reader.end()?;
    Ok(Proof::new(a, b, c)?)
}

/// Public inputs, the constant one not among them.
pub fn write_public_inputs(inputs: &[Fr]) -> Vec<u8> {
    let count = (inputs.len() as u32).to_be_bytes();
    let mut bytes = [count, [0; 4], count].concat();
    inputs.iter().for_each(|input| bytes.extend(fr_to_be_bytes(input)));
    bytes
}

/// Reads a witness without secret values.
///
/// # Errors
/// [`GnarkError::Malformed`].
pub fn read_public_inputs(bytes: &[u8]) -> Result<Vec<Fr>, GnarkError> {
    let mut reader = Reader { kind: "public witness", bytes };
    let (public, secret, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
    if secret != 0 || public != count {
        return Err(reader.malformed("it has secret values, or another number of values than it says"));
    }
    if count as usize != reader.bytes.len() / 32 {
        return Err(reader.malformed("it has another number of values than it says"));
    }
    let inputs = (0..count).map(|_| reader.scalar()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(inputs)
}

fn put_g1(bytes: &mut Vec<u8>, points: &[G1Affine]) {
    bytes.extend(points.iter().flat_map(g1_words).flatten());
}

fn put_g2(bytes: &mut Vec<u8>, points: &[G2Affine]) {
    bytes.extend(points.iter().flat_map(g2_words).flatten());
}

/// What is left of a file.
struct Reader<'a> {
    kind: &'static str,
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn malformed(&self, reason: &'static str) -> GnarkError {
        GnarkError::Malformed { kind: self.kind, reason }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GnarkError> {
        let (array, rest) =
            self.bytes.split_first_chunk().ok_or_else(|| self.malformed("it ends too early"))?;
        self.bytes = rest;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, GnarkError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn scalar(&mut self) -> Result<Fr, GnarkError> {
        let bytes = self.array()?;
        fr_from_be_bytes(&bytes).map_err(|_| self.malformed("a number is not below the modulus"))
    }

    fn coordinate(&mut self) -> Result<Fq, GnarkError> {
        let bytes: [u8; 32] = self.array()?;
        fq_from_be_bytes(&bytes).map_err(|_| {
            let compressed = bytes[0] & KIND_OF_POINT != 0;
            self.malformed(if compressed {
                "its points are compressed"
            } else {
                "a coordinate is not below the modulus"
            })
        })
    }

    /// A point in the group, infinity included.
    fn g1(&mut self) -> Result<G1Affine, GnarkError> {
        let point = G1Affine { x: self.coordinate()?, y: self.coordinate()? };
        if is_valid_g1(&point) { Ok(point) } else { Err(self.malformed("a point is not on its curve")) }
    }

    /// A point in the group, infinity included.
    fn g2(&mut self) -> Result<G2Affine, GnarkError> {
        let mut fq2 = || Ok::<_, GnarkError>((self.coordinate()?, self.coordinate()?));
        let ((x1, x0), (y1, y0)) = (fq2()?, fq2()?);
        let point = G2Affine { x: Fq2::new(x0, x1), y: Fq2::new(y0, y1) };
        if is_valid_g2(&point) { Ok(point) } else { Err(self.malformed("a point is not in its group")) }
    }

    fn end(&self) -> Result<(), GnarkError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.malformed("there are bytes too many")) }
    }
}
