//! Witnesses in shared files: two slots, used again and again, so that one fills while the other is read.
//!
//! In memory (`/dev/shm`) where there is room, else in the folder for temporary files. The files are private to the
//! user. They are written and read, not mapped: a full file system is an error then, not a signal that kills.
//!
//! A file holds the limbs of the values as they lie in memory ([`bn254::raw`]); what is read is checked to be below the
//! modulus. The files go with the worker; if the worker is killed, its child removes them.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use bn254::{Fr, raw};
use parking_lot::{Condvar, Mutex};
use prover::Witness;
use rayon::prelude::*;
use tempfile::NamedTempFile;

/// Slots of one worker.
const SLOTS: usize = 2;
/// Values that one task writes or reads: 1 MiB.
const CHUNK: usize = 1 << 15;
const VALUE: usize = size_of::<Fr>();

/// r, least significant limb first.
const R: [u64; 4] =
    [0x43e1_f593_f000_0001, 0x2833_e848_79b9_7091, 0xb850_45b6_8181_585d, 0x3064_4e72_e131_a029];

/// A slot in memory, where there is such a file system.
const MEMORY: &str = "/dev/shm";

/// A file that only this user can read, removed when dropped.
pub fn private_file(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix("proofmill-").tempfile_in(folder)
}

/// The slots of a worker.
pub struct Slots {
    free: Mutex<Vec<Option<NamedTempFile>>>,
    freed: Condvar,
}

impl Slots {
    pub fn new() -> Self {
        Self { free: Mutex::new((0..SLOTS).map(|_| None).collect()), freed: Condvar::new() }
    }

    /// Waits for a free slot and puts the witness there.
    ///
    /// # Errors
    /// When no file system has room.
    pub fn fill(&self, witness: &Witness) -> io::Result<Filled<'_>> {
        let mut free = self.free.lock();
        let slot = loop {
            match free.pop() {
                Some(slot) => break slot,
                None => self.freed.wait(&mut free),
            }
        };
        drop(free);
        // From here on the slot is given back whatever happens.
        let mut filled = Filled { slots: self, slot };
        filled.put(witness.values())?;
        Ok(filled)
    }
}

/// A slot with a witness in it; free again when dropped.
pub struct Filled<'a> {
    slots: &'a Slots,
    slot: Option<NamedTempFile>,
}

impl Filled<'_> {
    pub fn path(&self) -> &Path {
        self.slot.as_ref().map_or(Path::new(""), NamedTempFile::path)
    }

    fn put(&mut self, values: &[Fr]) -> io::Result<()> {
        if self.slot.is_none() {
            self.slot = private_file(Path::new(MEMORY)).ok();
        }
        match self.slot.as_ref().map(|slot| write(slot.as_file(), values)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::warn!("no room for a witness in memory; using the folder for temporary files");
            }
            Some(result) => return result,
            None => {}
        }
        self.slot = None;
        let slot = private_file(&std::env::temp_dir())?;
        write(slot.as_file(), values)?;
        self.slot = Some(slot);
        Ok(())
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        self.slots.free.lock().push(self.slot.take());
        self.slots.freed.notify_one();
    }
}

fn write(file: &File, values: &[Fr]) -> io::Result<()> {
    values.par_chunks(CHUNK).enumerate().try_for_each(|(number, chunk)| {
        file.write_all_at(raw::as_bytes(chunk), (number * CHUNK * VALUE) as u64)
    })
}

/// The witness in a file. The caller has checked that so many values are expected.
///
/// # Errors
/// A sentence that says what is wrong with the file.
pub fn read(path: &Path, inputs: usize, aux: usize) -> Result<Witness, String> {
    let of_file = |error: io::Error| format!("the witness file {} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(of_file)?;
    let (count, length) = (inputs + aux, file.metadata().map_err(of_file)?.len());
    if length < (count * VALUE) as u64 {
        return Err(format!("the witness file has {length} bytes and should have {}", count * VALUE));
    }
    let mut values = vec![Fr::default(); count];
    values.par_chunks_mut(CHUNK).enumerate().try_for_each(|(number, chunk)| {
        let mut bytes = vec![0; chunk.len() * VALUE];
        file.read_exact_at(&mut bytes, (number * CHUNK * VALUE) as u64).map_err(of_file)?;
        for (value, limbs) in chunk.iter_mut().zip(bytes.as_chunks::<8>().0.as_chunks::<4>().0) {
            let limbs = limbs.map(u64::from_le_bytes);
            if limbs.iter().rev().ge(R.iter().rev()) {
                return Err("the witness file has a value that is not below the modulus".to_owned());
            }
            value.0 = limbs;
        }
        Ok(())
    })?;
    Ok(Witness::from_values(inputs, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn254::{Field, PrimeField};
    use std::os::unix::fs::PermissionsExt;

    fn witness(count: u64) -> Witness {
        Witness::new(vec![Fr::ONE], (1..count).map(|n| -Fr::from(n)).collect())
    }

    #[test]
    fn witnesses_survive_the_way_through_a_slot_that_is_used_again() {
        let slots = Slots::new();
        for count in [1, 100_000, 7] {
            let (witness, filled) = (witness(count), slots.fill(&witness(count)).unwrap());
            let mode = std::fs::metadata(filled.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(read(filled.path(), 1, count as usize - 1).unwrap() == witness);
        }
        let (first, second) = (slots.fill(&witness(2)).unwrap(), slots.fill(&witness(3)).unwrap());
        assert_ne!(first.path(), second.path());
    }

    #[test]
    fn a_file_that_is_no_witness_is_refused() {
        let hex: String = R.iter().rev().map(|limb| format!("{limb:016x}")).collect();
        assert_eq!(Fr::MODULUS, format!("0x{hex}"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        assert!(read(&path, 1, 1).unwrap_err().contains("cannot be read"));
        std::fs::write(&path, [0; 63]).unwrap();
        assert!(read(&path, 1, 1).unwrap_err().contains("63 bytes"));
        let r: Vec<u8> = R.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        std::fs::write(&path, &r).unwrap();
        assert!(read(&path, 1, 0).unwrap_err().contains("modulus"));
        std::fs::write(&path, [0xff; 32]).unwrap();
        assert!(read(&path, 1, 0).is_err());
    }
}
