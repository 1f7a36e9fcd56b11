//! `.zkey`: a Groth16 proving key with the matrices A and B, as snarkjs writes it.
//!
//! | section | contents |
//! |---|---|
//! | 1 | the proof system, 1 for Groth16 |
//! | 2 | both fields, numbers of variables and public inputs, size of the domain, the verifying key but for its inputs |
//! | 3 | points of the public inputs, the constant one first |
//! | 4 | the terms of A and B: matrix, row, variable, coefficient times 2^512, with the implied rows of the inputs |
//! | 5, 6, 7 | A, B in G1 and B in G2 for every variable, infinity where it does not occur |
//! | 8 | L for the private variables |
//! | 9 | H on the odd coset |
//! | 10 | hash of the circuit and the contributions of the ceremony |
//!
//! Points are affine, in Montgomery form with 2^256 and little-endian, as in memory here. The domain is in the order of
//! [`Generator::Five`]. H has the same basis as in our keys: see [`crate::key`].

use blake2::Digest;
use bn254::ntt::Generator;
use bn254::raw::{self, Limbs};
use bn254::simd::field52::{Modulus, Q, R};
use bn254::{CurveAffine, Field, Fr, G1Affine, G2Affine, PrimeField};
use rayon::prelude::*;

use super::Iden3Error;
use super::binfile::{BinFile, Reader, Writer};
use crate::hash::tagged;
use crate::key::{Key, KeyError, KeyParts, Origin};
use crate::matrices::{Matrices, RowBuilder, domain_log};
use crate::verifying_key::VerifyingKey;

const KIND: &str = "zkey";
const VERSION: u32 = 1;
const GROTH16: u32 = 1;
/// Bytes of a term in section 4.
const TERM: usize = 44;

/// What a `.zkey` holds.
#[derive(Debug)]
pub struct Zkey {
    /// A and B; a `.zkey` does not have C.
    pub matrices: Matrices,
    /// The key, of the circuit with these matrices.
    pub parts: KeyParts,
    /// Contributions to its ceremony, by the file's own account.
    pub contributions: u32,
}

/// What is checked of the points of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// That they are on their curves. Enough to prove: a proof is checked before it leaves, the subgroup included.
    Curve,
    /// Also that they are in the groups of order r, which takes tens of microseconds for each point in G2.
    Group,
}

impl Zkey {
    /// The key for the whole circuit, C included, of which the file has only A and B. Its verifying key is validated: a file that was
    /// read may be of a ceremony that goes on.
    ///
    /// # Errors
    /// [`Iden3Error::OtherCircuit`], and [`Iden3Error::Key`] for a key that is not fit for use.
    pub fn for_circuit(self, matrices: &Matrices) -> Result<KeyParts, Iden3Error> {
        if matrices.without_c().digest() != self.matrices.digest() {
            return Err(Iden3Error::OtherCircuit("the key is not of this circuit"));
        }
        self.parts.vk.validate().map_err(KeyError::VerifyingKey)?;
        Ok(KeyParts { circuit: matrices.digest(), ..self.parts })
    }
}

/// Reads a key and checks it.
///
/// # Errors
/// [`Iden3Error::Malformed`], [`Iden3Error::Unsupported`].
pub fn read(bytes: &[u8], checks: Checks) -> Result<Zkey, Iden3Error> {
    let file = BinFile::parse(KIND, VERSION, bytes)?;
    if file.section(1)?.u32()? != GROTH16 {
        return Err(Iden3Error::Unsupported("the key is for another proof system"));
    }
    let (header, mut vk) = Header::read(file.section(2)?)?;
    vk.ic = points(&file, 3, header.inputs, checks)?;
    let (a_columns, a) = finite(points::<G1Affine>(&file, 5, header.variables, checks)?);
    let (b_columns, b1) = finite(points::<G1Affine>(&file, 6, header.variables, checks)?);
    let (b2_columns, b2) = finite(points::<G2Affine>(&file, 7, header.variables, checks)?);
    if b_columns != b2_columns {
        return Err(file.malformed("B has other variables in G2 than in G1"));
    }
    let l = points(&file, 8, header.variables - header.inputs, checks)?;
    let h = points(&file, 9, header.domain, checks)?;
    // Now that there is a point for every row and variable, memory for as many of them is no more than the file is long.
    let matrices = read_matrices(file.section(4)?, &header)?;
    let (contributions, origin) = read_origin(file.section(10)?)?;
    let parts = KeyParts {
        origin,
        circuit: matrices.digest(),
        inputs: header.inputs,
        aux: header.variables - header.inputs,
        constraints: matrices.constraints(),
        generator: Generator::Five,
        vk,
        a_columns,
        a,
        b_columns,
        b1,
        b2,
        l,
        h,
    };
    Ok(Zkey { matrices, parts, contributions })
}

/// The numbers of section 2.
struct Header {
    variables: usize,
    inputs: usize,
    domain: usize,
}

impl Header {
    fn read(mut reader: Reader<'_>) -> Result<(Self, VerifyingKey), Iden3Error> {
        reader.field(Q::WORDS)?;
        reader.scalar_field()?;
        let (variables, public, domain) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if public >= variables || variables >= 1 << 31 {
            return Err(reader.malformed("it has too many variables, or more public inputs than variables"));
        }
        if !domain.is_power_of_two() || domain >= 1 << 28 {
            return Err(reader.malformed("the size of its domain is not a power of two below 2^28"));
        }
        let (alpha_g1, beta_g1, beta_g2) = (reader.point()?, reader.point()?, reader.point()?);
        let (gamma_g2, delta_g1, delta_g2) = (reader.point()?, reader.point()?, reader.point()?);
        reader.end()?;
        let vk = VerifyingKey { alpha_g1, beta_g1, beta_g2, gamma_g2, delta_g1, delta_g2, ic: Vec::new() };
        let header =
            Self { variables: variables as usize, inputs: public as usize + 1, domain: domain as usize };
        Ok((header, vk))
    }
}

/// Points of either group, checked.
trait CheckedPoint: CurveAffine + Limbs {
    fn is_valid(&self, checks: Checks) -> bool;
}

impl CheckedPoint for G1Affine {
    fn is_valid(&self, _: Checks) -> bool {
        raw::is_valid_g1(self)
    }
}

impl CheckedPoint for G2Affine {
    fn is_valid(&self, checks: Checks) -> bool {
        match checks {
            Checks::Curve => raw::is_on_twist(self),
            Checks::Group => raw::is_valid_g2(self),
        }
    }
}

fn points<P: CheckedPoint>(
    file: &BinFile<'_>,
    section: u32,
    count: usize,
    checks: Checks,
) -> Result<Vec<P>, Iden3Error> {
    let points: Vec<P> = file.section(section)?.points(count)?;
    if points.par_iter().all(|point| point.is_valid(checks)) {
        Ok(points)
    } else {
        Err(file.malformed("a point is not on its curve or not in its group"))
    }
}

/// The points that are not infinity, and their places.
fn finite<P: CurveAffine>(points: Vec<P>) -> (Vec<u32>, Vec<P>) {
    let is_finite = |(_, point): &(usize, P)| !bool::from(point.is_identity());
    points.into_iter().enumerate().filter(is_finite).map(|(place, point)| (place as u32, point)).unzip()
}

/// 2^-256, which takes one of the two powers of 2^256 out of a coefficient; the other is Montgomery form.
fn montgomery_inverse() -> Fr {
    Fr::TWO_INV.pow_vartime([256])
}

/// A term of section 4: matrix, row, column and coefficient.
fn read_term(reader: &mut Reader<'_>, inverse: &Fr) -> Result<(u32, u32, u32, Fr), Iden3Error> {
    let (matrix, row, column) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let limbs = std::array::from_fn::<_, 4, _>(|_| reader.u64());
    let mut value = Fr::ZERO;
    for (limb, read) in value.0.iter_mut().zip(limbs) {
        *limb = read?;
    }
    if !value.0.iter().rev().lt(R::WORDS.iter().rev()) {
        return Err(reader.malformed("a coefficient is not below the modulus"));
    }
    Ok((matrix, row, column, value * inverse))
}

fn read_matrices(mut reader: Reader<'_>, header: &Header) -> Result<Matrices, Iden3Error> {
    let count = reader.u32()? as usize;
    if count.checked_mul(TERM) != Some(reader.remaining().len()) {
        return Err(reader.malformed("it has another number of coefficients than it says"));
    }
    let inverse = montgomery_inverse();
    let mut terms = [Vec::new(), Vec::new()];
    for _ in 0..count {
        let (matrix, row, column, value) = read_term(&mut reader, &inverse)?;
        let known = row as usize <= header.domain && (column as usize) < header.variables;
        let Some(terms) = terms.get_mut(matrix as usize).filter(|_| known) else {
            return Err(reader.malformed("a coefficient is of a matrix, row or variable that is not there"));
        };
        terms.push((row, column, value));
    }
    // The last rows say input * 0 = 0 for each input; we do without them.
    let rows = terms[0].iter().map(|term| term.0 as usize + 1).max().unwrap_or(0);
    let Some(constraints) = rows.checked_sub(header.inputs) else {
        return Err(reader.malformed("the rows of the public inputs are missing"));
    };
    let implied = |term: &(u32, u32, Fr)| term.0 as usize >= constraints;
    let mut inputs: Vec<(u32, u32, Fr)> = terms[0].iter().copied().filter(implied).collect();
    inputs.sort_unstable_by_key(|term| term.0);
    let expected = (0..header.inputs as u32).map(|input| (constraints as u32 + input, input, Fr::ONE));
    if !inputs.into_iter().eq(expected) || terms[1].iter().any(implied) {
        return Err(reader.malformed("the rows of the public inputs are not what they should be"));
    }
    if 1 << domain_log(rows) != header.domain {
        return Err(reader.malformed("its domain does not fit its constraints"));
    }
    let (inputs, aux) = (header.inputs as u32, (header.variables - header.inputs) as u32);
    let mut builder = RowBuilder::new(inputs, aux)
        .ok_or(Iden3Error::Unsupported("the circuit has too many variables for this program"))?;
    for (side, mut terms) in terms.into_iter().enumerate() {
        terms.retain(|term| !implied(term));
        // Stable, for files whose rows are in order already.
        terms.sort_by_key(|term| term.0);
        let (mut rest, mut row_terms) = (terms.as_slice(), Vec::new());
        for row in 0..constraints as u32 {
            let (of_row, others) = rest.split_at(rest.partition_point(|term| term.0 <= row));
            rest = others;
            row_terms.clear();
            row_terms.extend(of_row.iter().map(|term| (term.1, term.2)));
            builder.push(side, &mut row_terms);
        }
    }
    builder
        .finish_without_c()
        .ok_or(Iden3Error::Unsupported("the circuit has too many constraints for this program"))
}

/// The number of contributions and the hash of the transcript, of which nothing is verified: the key is unsafe whatever they say.
fn read_origin(reader: Reader<'_>) -> Result<(u32, Origin), Iden3Error> {
    let mut hasher = tagged("proofmill.zkey.v1");
    hasher.update(reader.remaining());
    let mut reader = reader;
    let _circuit_hash: [u8; 64] = reader.array()?;
    Ok((reader.u32()?, Origin::UnsafeImported { transcript: hasher.finalize().into() }))
}

/// The file of a key, without contributions: for provers that read this format. The matrices are of the key's circuit.
///
/// # Errors
/// [`Iden3Error::OtherCircuit`]; [`Iden3Error::Unsupported`] for a key in bellman's order of the domain.
pub fn write(key: &Key, matrices: &Matrices) -> Result<Vec<u8>, Iden3Error> {
    if key.circuit() != matrices.digest() {
        return Err(Iden3Error::OtherCircuit("the key is not of this circuit"));
    }
    if key.generator() != Generator::Five {
        return Err(Iden3Error::Unsupported(
            "the key is in bellman's order of the domain; make it for iden3's",
        ));
    }
    let variables = key.variables();
    Ok(encode(
        &Sections {
            vk: key.verifying_key(),
            a: &spread(key.a(), key.a_columns(), variables),
            b1: &spread(key.b1(), key.b_columns(), variables),
            b2: &spread(key.b2(), key.b_columns(), variables),
            l: key.l(),
            h: key.h(),
            circuit_hash: [0; 64],
        },
        matrices,
    ))
}

/// The points of a file: of A and B one for every variable.
pub(super) struct Sections<'a> {
    pub vk: &'a VerifyingKey,
    pub a: &'a [G1Affine],
    pub b1: &'a [G1Affine],
    pub b2: &'a [G2Affine],
    pub l: &'a [G1Affine],
    pub h: &'a [G1Affine],
    /// Only programs that check ceremonies look at it.
    pub circuit_hash: [u8; 64],
}

/// A file without contributions.
pub(super) fn encode(sections: &Sections<'_>, matrices: &Matrices) -> Vec<u8> {
    let Sections { vk, a, b1, b2, l, h, circuit_hash } = sections;
    let mut file = Writer::new(KIND, VERSION);
    file.section(1).u32(GROTH16);
    file.section(2)
        .field(Q::WORDS)
        .scalar_field()
        .u32(matrices.variables() as u32)
        .u32(matrices.inputs() as u32 - 1)
        .u32(1 << matrices.domain_log())
        .put(raw::as_bytes(&[vk.alpha_g1, vk.beta_g1]))
        .put(raw::as_bytes(&[vk.beta_g2, vk.gamma_g2]))
        .put(raw::as_bytes(&[vk.delta_g1]))
        .put(raw::as_bytes(&[vk.delta_g2]));
    file.section(3).put(raw::as_bytes(&vk.ic));
    write_matrices(&mut file, matrices);
    file.section(5).put(raw::as_bytes(a));
    file.section(6).put(raw::as_bytes(b1));
    file.section(7).put(raw::as_bytes(b2));
    file.section(8).put(raw::as_bytes(l));
    file.section(9).put(raw::as_bytes(h));
    file.section(10).put(circuit_hash).u32(0);
    file.finish()
}

fn write_matrices(file: &mut Writer, matrices: &Matrices) {
    // 2^256, on top of the one of Montgomery form.
    let factor = Fr::from(2).pow_vartime([256]);
    let table: Vec<Fr> = matrices.table().iter().map(|value| factor * value).collect();
    let terms = matrices.a().terms() + matrices.b().terms() + matrices.inputs();
    file.section(4).u32(terms as u32);
    for row in 0..matrices.constraints() {
        for (side, matrix) in [matrices.a(), matrices.b()].into_iter().enumerate() {
            let (columns, coefficients) = matrix.row(row);
            for (column, coefficient) in columns.iter().zip(coefficients) {
                let value = raw::as_bytes(std::slice::from_ref(&table[*coefficient as usize]));
                file.u32(side as u32).u32(row as u32).u32(*column).put(value);
            }
        }
    }
    for input in 0..matrices.inputs() {
        let row = matrices.constraints() + input;
        file.u32(0).u32(row as u32).u32(input as u32).put(raw::as_bytes(&[factor]));
    }
}

/// Points at their columns, infinity elsewhere.
fn spread<P: CurveAffine>(points: &[P], columns: &[u32], variables: usize) -> Vec<P> {
    let mut spread = vec![P::identity(); variables];
    for (point, column) in points.iter().zip(columns) {
        spread[*column as usize] = *point;
    }
    spread
}
