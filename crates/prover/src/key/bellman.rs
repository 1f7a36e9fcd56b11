//! Keys to and from bellman's `Parameters`.
//!
//! Only the H query differs: bellman has \[tau^i * Z(tau) / delta\] for i < n - 1 and multiplies it with the coefficients
//! of the quotient h, while a [`Key`] has the basis of the odd coset and multiplies with values of A*B - C = -2h. With
//! x_j the points of the coset and T_i bellman's points, T_i = sum_j -2 * x_j^i * H_j, and back
//! H_j = -1/(2n) * sum_i x_j^-i * T_i, where T_(n-1), which bellman lacks, is never needed since deg h <= n - 2.
//! Both are transforms whose elements are points, about n/2 * log n scalar multiplications: fine for exchange, slow for
//! large keys.

use std::sync::Arc;

use bellman::groth16::Parameters;
use bn254::ntt::Generator;
use bn254::{Bn256, Curve, Domain, Field, Fr, G1, G1Affine, Group, PrimeField};
use rayon::prelude::*;

use super::{Key, KeyError, KeyParts, Origin};
use crate::matrices::Matrices;
use crate::verifying_key::VerifyingKey;

impl Key {
    /// The key as bellman's `Parameters`: its `create_proof` makes proofs with them.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when the domain is too large for the field or not in bellman's order.
    pub fn to_bellman_parameters(&self) -> Result<Parameters<Bn256>, KeyError> {
        if self.generator() != Generator::Seven {
            return Err(KeyError::Malformed("its domain is not in the order of bellman's"));
        }
        let domain = domain(self.domain_log())?;
        let mut points: Vec<G1> = self.h().iter().map(G1::from).collect();
        point_transform(&mut points, domain.root());
        let mut factor = -Fr::from(2);
        for point in &mut points {
            *point *= factor;
            factor *= domain.coset_shift();
        }
        points.pop();
        Ok(Parameters {
            vk: self.verifying_key().to_bellman(),
            h: Arc::new(normalised(&points)),
            l: Arc::new(self.l().to_vec()),
            a: Arc::new(self.a().to_vec()),
            b_g1: Arc::new(self.b1().to_vec()),
            b_g2: Arc::new(self.b2().to_vec()),
        })
    }
}

impl KeyParts {
    /// A key from bellman's `Parameters` of the circuit of `matrices`.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when the parameters do not have the sizes of the circuit.
    pub fn from_bellman_parameters(
        parameters: &Parameters<Bn256>,
        matrices: &Matrices,
        origin: Origin,
    ) -> Result<Self, KeyError> {
        let domain = domain(matrices.domain_log())?;
        let used = |matrix: &crate::matrices::SparseMatrix, inputs_too: bool| {
            let mut used = vec![false; matrices.variables()];
            used[..matrices.inputs()].fill(inputs_too);
            for column in matrix.columns() {
                used[*column as usize] = true;
            }
            (0..matrices.variables() as u32).filter(|column| used[*column as usize]).collect::<Vec<_>>()
        };
        let (a_columns, b_columns) = (used(matrices.a(), true), used(matrices.b(), false));
        let fits = parameters.a.len() == a_columns.len()
            && parameters.b_g1.len() == b_columns.len()
            && parameters.b_g2.len() == b_columns.len()
            && parameters.l.len() == matrices.aux()
            && parameters.h.len() + 1 == domain.size()
            && parameters.vk.ic.len() == matrices.inputs();
        if !fits {
            return Err(KeyError::Malformed("the parameters belong to another circuit"));
        }
        let shift_inverse = domain.coset_shift().invert().unwrap_or(Fr::ZERO);
        let mut factor = -(Fr::TWO_INV * domain.size_inverse());
        let mut points = Vec::with_capacity(domain.size());
        for point in parameters.h.iter() {
            points.push(*point * factor);
            factor *= shift_inverse;
        }
        points.push(G1::identity());
        point_transform(&mut points, domain.root().invert().unwrap_or(Fr::ZERO));
        Ok(Self {
            origin,
            circuit: matrices.digest(),
            inputs: matrices.inputs(),
            aux: matrices.aux(),
            constraints: matrices.constraints(),
            generator: Generator::Seven,
            vk: VerifyingKey::from_bellman(&parameters.vk),
            a_columns,
            a: parameters.a.to_vec(),
            b_columns,
            b1: parameters.b_g1.to_vec(),
            b2: parameters.b_g2.to_vec(),
            l: parameters.l.to_vec(),
            h: normalised(&points),
        })
    }
}

fn domain(log: u32) -> Result<Domain, KeyError> {
    Domain::new(log).map_err(|_| KeyError::Malformed("the domain is too large"))
}

fn normalised(points: &[G1]) -> Vec<G1Affine> {
    let mut affine = vec![G1Affine::default(); points.len()];
    G1::batch_normalize(points, &mut affine);
    affine
}

/// points\[i\] becomes sum_j root^(i*j) * points\[j\]; the number of points is a power of two.
fn point_transform(points: &mut [G1], root: Fr) {
    let size = points.len();
    let log = size.trailing_zeros();
    for i in 0..size {
        let j = if log == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - log) };
        if i < j {
            points.swap(i, j);
        }
    }
    for level in 0..log {
        let half = 1_usize << level;
        let step = root.pow_vartime([(size / (2 * half)) as u64]);
        points.par_chunks_mut(2 * half).for_each(|block| {
            let (low, high) = block.split_at_mut(half);
            low.par_iter_mut().zip(high).enumerate().for_each(|(i, (low, high))| {
                let product = if i == 0 { *high } else { *high * step.pow_vartime([i as u64]) };
                *high = *low - product;
                *low += product;
            });
        });
    }
}
