//! Keys that are made in several goes: what is finished lies in a work file, and whoever is interrupted goes on from there.

use std::path::{Path, PathBuf};

use bn254::ntt::Generator;

use super::store::{self, Found, Store};
use super::{KeygenError, Queries, make};
use crate::dev::DevTrapdoor;
use crate::key::KeyParts;
use crate::matrices::Matrices;
use crate::progress::Progress;

/// A key that is being made, and its work file.
///
/// ```text
/// open(work file) ──> generate ──> write the key ──> finish: remove the work file
/// ```
///
/// The work file takes as much space as the key. The key does not depend on how often the work was interrupted, or where.
pub struct Resumable<'a> {
    generator: Generator,
    matrices: &'a Matrices,
    trapdoor: &'a DevTrapdoor,
    store: Option<Store>,
    found: Found,
    path: PathBuf,
}

impl<'a> Resumable<'a> {
    /// Opens the work file of a key and looks what is finished, or begins one.
    ///
    /// # Errors
    /// [`KeygenError::WorkFile`].
    pub fn open(
        path: &Path,
        generator: Generator,
        matrices: &'a Matrices,
        trapdoor: &'a DevTrapdoor,
    ) -> Result<Self, KeygenError> {
        let header = store::header(generator, &matrices.digest(), trapdoor);
        let (store, found) =
            Store::open(path, header).map_err(|error| KeygenError::work_file(path, &error))?;
        Ok(Self { generator, matrices, trapdoor, store, found, path: path.to_owned() })
    }

    /// What lay there.
    pub fn found(&self) -> Found {
        self.found
    }

    /// Makes the rest of the key.
    ///
    /// # Errors
    /// [`KeygenError`]. The work file stays, unless there is nothing in it.
    pub fn generate(&mut self, progress: &dyn Progress) -> Result<KeyParts, KeygenError> {
        let queries = Queries { store: self.store.as_mut(), progress };
        let made = make(self.generator, self.matrices, self.trapdoor, queries);
        if made.is_err()
            && let Some(unused) = self.store.take_if(|store| store.is_unused())
        {
            // The error of the key is the one to tell.
            let _ = unused.remove();
        }
        made
    }

    /// Removes the work file: once the key is written.
    ///
    /// # Errors
    /// [`KeygenError::WorkFile`].
    pub fn finish(self) -> Result<(), KeygenError> {
        let Some(store) = self.store else { return Ok(()) };
        store.remove().map_err(|error| KeygenError::work_file(self.path, &error))
    }
}
