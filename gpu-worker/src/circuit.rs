//! The circuits a worker can prove: their matrices and keys, checked against each other and held on the backend.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use circuits::{
    batch::{Prepared, gadget::BatchCircuit},
    shape::Shape,
};
use prover::{Backend, Key, KeyError, Matrices, ProveError, Prover};
use wire::CircuitSupport;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("PM-WORKER-001: the constraints of {shape} cannot be made: {reason}")]
    Synthesis { shape: Shape, reason: String },
    #[error("{path}: {source}")]
    Key { path: PathBuf, source: KeyError },
    #[error(
        "PM-WORKER-002: {shape} needs {needed} MiB, this worker may use {limit} MiB; raise its memory limit or leave the circuit out"
    )]
    Memory { shape: Shape, needed: u64, limit: u64 },
    #[error("the backend does not take the key of {shape}: {source}")]
    Backend { shape: Shape, source: ProveError },
}

/// The file of a circuit's key.
pub fn key_path(folder: &Path, shape: Shape) -> PathBuf {
    folder.join(format!("{shape}.pmkey"))
}

/// The constraints of a circuit.
///
/// # Errors
/// `LoadError::Synthesis`.
pub fn matrices(shape: Shape) -> Result<Matrices, LoadError> {
    Matrices::synthesize(BatchCircuit(&Prepared::blank(shape)))
        .map_err(|error| LoadError::Synthesis { shape, reason: error.to_string() })
}

/// A circuit with its key, before any backend holds it. Cheap to share between a coordinator and a worker in one process.
#[derive(Clone)]
pub struct Circuit {
    pub shape: Shape,
    pub key: Arc<Key>,
    pub matrices: Arc<Matrices>,
}

impl Circuit {
    /// Synthesises the circuit and opens its key, which must be of exactly this circuit.
    ///
    /// # Errors
    /// `Synthesis`, `Key`.
    pub fn load(shape: Shape, keys_dir: &Path) -> Result<Self, LoadError> {
        let matrices = matrices(shape)?;
        let path = key_path(keys_dir, shape);
        let key =
            Key::open(&path, Some(matrices.digest())).map_err(|source| LoadError::Key { path, source })?;
        Ok(Self { shape, key: Arc::new(key), matrices: Arc::new(matrices) })
    }

    /// Bytes of key and matrices.
    pub fn resident_memory(&self) -> u64 {
        self.key.file_len() + self.matrices.size_in_bytes() as u64
    }

    /// Bytes that a proof takes besides, with the next witness made meanwhile: eight words per variable (two witnesses,
    /// their copies in the order of the queries and as integers) and twelve per element of the domain (the transforms
    /// and their results), plus buckets and stacks. `s3m1` on the CPU backend: 57 MiB, measured 40.
    pub fn working_memory(&self) -> u64 {
        let words = 8 * self.matrices.variables() as u64 + (12 << self.matrices.domain_log());
        (16 << 20) + 32 * words
    }

    /// # Errors
    /// `Memory` if a proof would not fit `limit` bytes.
    pub(crate) fn check_memory(&self, limit: u64) -> Result<(), LoadError> {
        let needed = self.resident_memory().saturating_add(self.working_memory());
        if needed > limit {
            return Err(LoadError::Memory { shape: self.shape, needed: needed >> 20, limit: limit >> 20 });
        }
        Ok(())
    }

    /// What a worker registers for it.
    pub fn support(&self) -> CircuitSupport {
        CircuitSupport {
            shape: self.shape,
            digest: self.key.circuit(),
            verifying_key: self.key.verifying_key().digest(),
        }
    }

    pub(crate) fn prover(&self, backend: &Arc<dyn Backend>) -> Result<Prover, LoadError> {
        Prover::new(Arc::clone(backend), Arc::clone(&self.key), Arc::clone(&self.matrices))
            .map_err(|source| LoadError::Backend { shape: self.shape, source })
    }
}
