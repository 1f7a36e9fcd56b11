//! A folder that one process uses at a time.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use fs4::fs_std::FileExt;

use super::StoreError;

/// A child that its process has just forked holds a copy of the lock until it executes its program: a lock that was given
/// back a moment ago can still look taken.
const PATIENCE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);

/// Held as long as it lives: the operating system lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "the open file is the lock")] fs::File);

impl FolderLock {
    /// Makes the folder if need be, and locks it by a file of this name in it.
    ///
    /// # Errors
    /// `Locked` if another process has it, `Unusable`.
    pub fn take(folder: &Path, name: &str) -> Result<Self, StoreError> {
        let unusable = |error: std::io::Error| StoreError::folder(format!("{}: {error}", folder.display()));
        fs::create_dir_all(folder).map_err(unusable)?;
        let lock = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(name))
            .map_err(unusable)?;
        let asked = Instant::now();
        while !FileExt::try_lock_exclusive(&lock).map_err(unusable)? {
            if asked.elapsed() >= PATIENCE {
                return Err(StoreError::Locked(folder.display().to_string()));
            }
            std::thread::sleep(POLL);
        }
        Ok(Self(lock))
    }
}
