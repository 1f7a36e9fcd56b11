//! The beginning of a circuit's ceremony: the first `.zkey` of a circuit, from the powers of tau.
//!
//! Invariant: the file has, byte for byte, the sections that `snarkjs groth16 setup` writes for the same `.r1cs` and `.ptau`, so
//! that `snarkjs zkey verify` accepts it and everything that is contributed to it. gamma and delta are the generators: until
//! someone contributes anybody can forge proofs, and [`crate::VerifyingKey::validate`] refuses the key.
//!
//! Every polynomial is taken in the Lagrange basis, where its values are the entries of a column of A, B or C.

use blake2::{Blake2b512, Digest};
use bn254::{Curve, CurveAffine, Fr, G1Affine, G2Affine, Group, PrimeCurveAffine, msm_serial};
use rayon::prelude::*;

use super::Iden3Error;
use super::ptau::{Powers, Ptau};
use super::zkey::{Sections, encode};
use crate::matrices::{COEFFICIENT_MINUS_ONE, COEFFICIENT_ONE, Matrices, SparseMatrix};
use crate::progress::Progress;
use crate::verifying_key::{VerifyingKey, g1_words, g2_words};

/// Variables whose points share one inversion.
const CHUNK: usize = 256;
/// snarkjs hashes so many points of H at a time, and always all of them: for larger domains one more than there are.
const HASH_CHUNK: usize = 1 << 14;

/// The first `.zkey` of a circuit, without contributions.
///
/// # Errors
/// [`Iden3Error::TooFewPowers`], [`Iden3Error::NotPrepared`], [`Iden3Error::Malformed`] for a `.ptau` that is not what it should
/// be; [`Iden3Error::Unsupported`] when C is not known.
pub fn initial_key(
    ptau: &Ptau<'_>,
    matrices: &Matrices,
    progress: &dyn Progress,
) -> Result<Vec<u8>, Iden3Error> {
    if !matrices.c_is_known() {
        return Err(Iden3Error::Unsupported("these matrices come from a key and lack C"));
    }
    let log = matrices.domain_log();
    let n = 1_usize << log;
    if n > HASH_CHUNK && log == ptau.power() {
        // The hash of such a circuit takes in what stands in the file behind the powers.
        return Err(Iden3Error::TooFewPowers { power: log, needed: log + 1 });
    }
    let powers = ptau.for_domain(log, progress)?;
    let (inputs, table) = (matrices.inputs(), matrices.coefficient_table());
    let [a, b, c] =
        [matrices.a(), matrices.b(), matrices.c()].map(|matrix| Columns::new(matrix, matrices.variables()));
    let implied = |points: &[G1Affine], variable: usize| {
        let row = matrices.constraints() + variable;
        if variable < inputs { points[row] } else { G1Affine::identity() }
    };
    let columns = |stage, work: &(dyn Fn(usize) -> bn254::G1 + Sync)| {
        all_variables(matrices.variables(), stage, progress, work)
    };
    let a_points = columns("A in G1", &|v| a.sum(v, &powers.tau_g1, table) + implied(&powers.tau_g1, v));
    let b1_points = columns("B in G1", &|v| b.sum(v, &powers.tau_g1, table));
    let combined = columns("L in G1", &|v| {
        a.sum(v, &powers.beta_tau, table)
            + b.sum(v, &powers.alpha_tau, table)
            + c.sum(v, &powers.tau_g1, table)
            + implied(&powers.beta_tau, v)
    });
    let b2_points: Vec<G2Affine> =
        all_variables(matrices.variables(), "B in G2", progress, &|v| b.sum(v, &powers.tau_g2, table));
    let (ic, l) = combined.split_at(inputs);
    let vk = VerifyingKey {
        alpha_g1: powers.alpha_g1,
        beta_g1: powers.beta_g1,
        beta_g2: powers.beta_g2,
        gamma_g2: G2Affine::generator(),
        delta_g1: G1Affine::generator(),
        delta_g2: G2Affine::generator(),
        ic: ic.to_vec(),
    };
    let mut sections = Sections {
        vk: &vk,
        a: &a_points,
        b1: &b1_points,
        b2: &b2_points,
        l,
        h: &powers.odd,
        circuit_hash: [0; 64],
    };
    sections.circuit_hash = circuit_hash(&sections, &powers, n);
    Ok(encode(&sections, matrices))
}

/// A matrix by columns: rows and coefficients of the terms of each variable.
struct Columns {
    /// Where each column ends in `terms`.
    ends: Vec<usize>,
    terms: Vec<(u32, u32)>,
}

impl Columns {
    fn new(matrix: &SparseMatrix, variables: usize) -> Self {
        let mut ends = vec![0_usize; variables];
        for row in 0..matrix.row_count() {
            for column in matrix.row(row).0 {
                ends[*column as usize] += 1;
            }
        }
        let mut count = 0;
        for end in &mut ends {
            // For now where the column begins; it moves to the end as terms are put there.
            (*end, count) = (count, count + *end);
        }
        let mut terms = vec![(0, 0); count];
        for row in 0..matrix.row_count() {
            let (columns, coefficients) = matrix.row(row);
            for (column, coefficient) in columns.iter().zip(coefficients) {
                let end = &mut ends[*column as usize];
                terms[*end] = (row as u32, *coefficient);
                *end += 1;
            }
        }
        Self { ends, terms }
    }

    /// Sum of coefficient·point of its row over the terms of a variable.
    fn sum<C: CurveAffine<ScalarExt = Fr>>(&self, variable: usize, points: &[C], table: &[Fr]) -> C::Curve {
        let start = variable.checked_sub(1).map_or(0, |before| self.ends[before]);
        let (mut ones, mut scalars, mut bases) = (C::Curve::identity(), Vec::new(), Vec::new());
        for (row, coefficient) in &self.terms[start..self.ends[variable]] {
            let point = points[*row as usize];
            match *coefficient {
                COEFFICIENT_ONE => ones += point,
                COEFFICIENT_MINUS_ONE => ones -= point,
                index => {
                    scalars.push(table[index as usize]);
                    bases.push(point);
                }
            }
        }
        let mut sum = C::Curve::identity();
        msm_serial(&scalars, &bases, &mut sum);
        sum + ones
    }
}

/// A point for every variable, on all cores.
fn all_variables<C>(
    variables: usize,
    stage: &'static str,
    progress: &dyn Progress,
    sum: &(dyn Fn(usize) -> C::Curve + Sync),
) -> Vec<C>
where
    C: CurveAffine,
    C::Curve: Curve<AffineRepr = C>,
{
    progress.begin(stage, variables as u64);
    let mut points = vec![C::identity(); variables];
    points.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, points)| {
        let sums: Vec<C::Curve> = (0..points.len()).map(|i| sum(chunk * CHUNK + i)).collect();
        C::Curve::batch_normalize(&sums, points);
        progress.advance(points.len() as u64);
    });
    points
}

/// What snarkjs calls the hash of the circuit: everything in the key that contributions do not change.
fn circuit_hash(sections: &Sections<'_>, powers: &Powers, n: usize) -> [u8; 64] {
    let mut hasher = PointHasher(Blake2b512::new());
    let vk = sections.vk;
    hasher.g1(&[vk.alpha_g1, vk.beta_g1]);
    hasher.g2(&[vk.beta_g2, vk.gamma_g2]);
    hasher.g1(&[vk.delta_g1]);
    hasher.g2(&[vk.delta_g2]);
    hasher.counted(&vk.ic);
    // tau^(i+n) − tau^i, from which H can be made too.
    hasher.count(n - 1);
    let hashed = if n > HASH_CHUNK { n } else { n - 1 };
    let differences: Vec<bn254::G1> = (0..hashed)
        .into_par_iter()
        .map(|i| powers.monomials[i + n].to_curve() - powers.monomials[i])
        .collect();
    let mut affine = vec![G1Affine::identity(); hashed];
    bn254::G1::batch_normalize(&differences, &mut affine);
    hasher.g1(&affine);
    hasher.counted(sections.l);
    hasher.counted(sections.a);
    hasher.counted(sections.b1);
    hasher.count(sections.b2.len());
    hasher.g2(sections.b2);
    hasher.0.finalize().into()
}

/// Hashes points uncompressed and big-endian, infinity as zeros.
struct PointHasher(Blake2b512);

impl PointHasher {
    fn count(&mut self, count: usize) {
        self.0.update((count as u32).to_be_bytes());
    }

    fn g1(&mut self, points: &[G1Affine]) {
        points.iter().flat_map(g1_words).for_each(|word| self.0.update(word));
    }

    fn g2(&mut self, points: &[G2Affine]) {
        points.iter().flat_map(g2_words).for_each(|word| self.0.update(word));
    }

    fn counted(&mut self, points: &[G1Affine]) {
        self.count(points.len());
        self.g1(points);
    }
}
