//! Proving keys from a development trapdoor.
//!
//! | module | purpose |
//! |---|---|
//! | `scalars` | the discrete logarithms of the queries |
//! | `resumable` | keys that are made in several goes |
//! | `store` | the work file of such a key |
//!
//! Each query is a vector of scalars times a fixed base.

mod resumable;
mod scalars;
mod store;

use std::io;
use std::path::PathBuf;

use bn254::fixed_base::{FixedBase, FixedBaseCurve};
use bn254::ntt::{DomainTooLarge, Generator};
use bn254::{Curve, Domain, Field, Fr, G1Affine, G2Affine};

use crate::dev::DevTrapdoor;
use crate::key::{KeyParts, MAX_ORIGIN_BYTES, Origin};
use crate::matrices::Matrices;
use crate::progress::Progress;
use crate::verifying_key::VerifyingKey;
pub use resumable::Resumable;
use scalars::{QueryScalars, without_zeros};
pub use store::Found;
use store::Store;

/// Why no key could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeygenError {
    /// The circuit has too many rows.
    #[error(transparent)]
    Domain(#[from] DomainTooLarge),
    /// A private variable occurs in no constraint.
    #[error(
        "PM-KEYGEN-001: private variable {0} occurs in no constraint; constrain it or do not allocate it"
    )]
    UnconstrainedVariable(usize),
    /// The secrets of the trapdoor do not make a key: one is zero, two of beta, gamma and delta are the same up to sign, or tau is in the
    /// domain.
    #[error("PM-KEYGEN-002: this seed gives a degenerate key; choose another seed")]
    DegenerateTrapdoor,
    /// The seed does not fit a key file.
    #[error("PM-KEYGEN-003: the seed is longer than {MAX_ORIGIN_BYTES} bytes; choose a shorter one")]
    SeedTooLong,
    /// The work file cannot be read or written.
    #[error(
        "PM-KEYGEN-004: the work file {path}: {reason}; check the permissions and the free space, or remove the file"
    )]
    WorkFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl KeygenError {
    fn work_file(path: impl Into<PathBuf>, error: &io::Error) -> Self {
        Self::WorkFile { path: path.into(), reason: error.to_string() }
    }
}

/// Makes the proving key of a circuit from a development trapdoor, in bellman's order of the domain. The key is marked UNSAFE.
///
/// # Errors
/// [`KeygenError`].
pub fn generate(
    matrices: &Matrices,
    trapdoor: &DevTrapdoor,
    progress: &dyn Progress,
) -> Result<KeyParts, KeygenError> {
    generate_for(Generator::Seven, matrices, trapdoor, progress)
}

/// As [`generate`], for the order of either generator: keys that go to iden3's programs need [`Generator::Five`].
///
/// # Errors
/// [`KeygenError`].
pub fn generate_for(
    generator: Generator,
    matrices: &Matrices,
    trapdoor: &DevTrapdoor,
    progress: &dyn Progress,
) -> Result<KeyParts, KeygenError> {
    make(generator, matrices, trapdoor, Queries { store: None, progress })
}

fn make(
    generator: Generator,
    matrices: &Matrices,
    trapdoor: &DevTrapdoor,
    mut queries: Queries,
) -> Result<KeyParts, KeygenError> {
    if trapdoor.seed().len() > MAX_ORIGIN_BYTES {
        return Err(KeygenError::SeedTooLong);
    }
    let domain = Domain::with_generator(matrices.domain_log(), generator)?;
    let secrets = [trapdoor.tau, trapdoor.alpha, trapdoor.beta, trapdoor.gamma, trapdoor.delta];
    let DevTrapdoor { beta, gamma, delta, .. } = *trapdoor;
    let same = |(first, second): (Fr, Fr)| first == second || first == -second;
    if secrets.contains(&Fr::ZERO) || [(beta, gamma), (beta, delta), (gamma, delta)].into_iter().any(same) {
        return Err(KeygenError::DegenerateTrapdoor);
    }
    let scalars = QueryScalars::evaluate(matrices, trapdoor, &domain)?;
    let inputs = matrices.inputs();

    let (a_columns, a) = without_zeros(&scalars.a);
    let (b_columns, b) = without_zeros(&scalars.b);
    let (ic, l) = scalars.combined.split_at(inputs);
    if let Some(variable) = l.iter().position(|value| *value == Fr::ZERO) {
        return Err(KeygenError::UnconstrainedVariable(variable));
    }

    let g1_count = a.len() + b.len() + scalars.combined.len() + scalars.h.len();
    let g1 = FixedBase::new(G1Affine::generator(), g1_count);
    let vk_g1 = g1.multiples(&[trapdoor.alpha, trapdoor.beta, trapdoor.delta], |_| ());
    let ic = g1.multiples(ic, |_| ());
    let a = queries.make("A in G1", &g1, &a)?;
    let b1 = queries.make("B in G1", &g1, &b)?;
    let l = queries.make("L in G1", &g1, l)?;
    let h = queries.make("H in G1", &g1, &scalars.h)?;
    drop(g1);
    let g2 = FixedBase::new(G2Affine::generator(), b.len());
    let b2 = queries.make("B in G2", &g2, &b)?;
    let multiple_of_g2 = |secret: Fr| (G2Affine::generator() * secret).to_affine();

    Ok(KeyParts {
        origin: Origin::UnsafeDev { seed: trapdoor.seed().to_owned() },
        circuit: matrices.digest(),
        inputs,
        aux: matrices.aux(),
        constraints: matrices.constraints(),
        generator,
        vk: VerifyingKey {
            alpha_g1: vk_g1[0],
            beta_g1: vk_g1[1],
            delta_g1: vk_g1[2],
            beta_g2: multiple_of_g2(trapdoor.beta),
            gamma_g2: multiple_of_g2(trapdoor.gamma),
            delta_g2: multiple_of_g2(trapdoor.delta),
            ic,
        },
        a_columns,
        a,
        b_columns,
        b1,
        b2,
        l,
        h,
    })
}

/// Makes queries one after the other: always in the same order, which the chunks of a work file have too.
struct Queries<'a> {
    store: Option<&'a mut Store>,
    progress: &'a dyn Progress,
}

impl Queries<'_> {
    /// scalar * base for each scalar.
    fn make<C: FixedBaseCurve>(
        &mut self,
        stage: &'static str,
        base: &FixedBase<C>,
        scalars: &[Fr],
    ) -> Result<Vec<C>, KeygenError> {
        let progress = self.progress;
        progress.begin(stage, scalars.len() as u64);
        let mut points = Vec::with_capacity(scalars.len());
        let Some(store) = self.store.as_deref_mut() else {
            base.append_multiples(scalars, &mut points, |done| progress.advance(done));
            return Ok(points);
        };
        for scalars in scalars.chunks(store::CHUNK) {
            let first = points.len();
            let error = |store: &Store, error| KeygenError::work_file(store.path(), &error);
            if store.take(scalars.len(), &mut points).map_err(|e| error(store, e))? {
                progress.advance(scalars.len() as u64);
                continue;
            }
            base.append_multiples(scalars, &mut points, |done| progress.advance(done));
            store.keep(&points[first..]).map_err(|e| error(store, e))?;
        }
        Ok(points)
    }
}
