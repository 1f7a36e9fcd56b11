//! The mark in the data directory: a file that is appended to, with what was promised lately.
//!
//! A record is its length, its bytes and their checksum; one write and one `fdatasync` take a whole round. What a death left
//! half written at the end was promised to nobody and is cut off. The file is written anew, under another name that then
//! replaces it, when it has grown.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{HighWater, Mark, MarkError, Promised, Recent};

const MAGIC: &[u8; 8] = b"PMMARK1\n";
/// Bytes of a BLAKE3 that a record ends with.
const CHECKSUM: usize = 8;
/// No record is longer.
const LONGEST: usize = 4_096;
/// The file is written anew when it has grown to this.
const GROWN: u64 = 8 << 20;

#[derive(Serialize, Deserialize)]
enum Record {
    Promised(Promised),
    /// Everything before it is durable in the database.
    Mark(HighWater),
}

/// Used by one thread. The data directory is locked by its owner.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    mark: Option<HighWater>,
    recent: Recent,
}

impl Journal {
    /// Opens or makes the journal of a deployment in a folder.
    ///
    /// # Errors
    /// `MarkError::File`.
    pub fn open(folder: &Path, deployment: &str) -> Result<Self, MarkError> {
        // One folder may serve several deployments, one after the other: the mark of one says nothing about another.
        let name = blake3::hash(deployment.as_bytes()).to_hex();
        let path = folder.join(format!("promised-{}.log", &name[..16]));
        let opened = || -> io::Result<Self> {
            fs::create_dir_all(folder)?;
            if !path.exists() {
                write_whole(&path, MAGIC)?;
            }
            let bytes = fs::read(&path)?;
            let Some(records) = bytes.strip_prefix(MAGIC.as_slice()) else {
                return Err(io::Error::other("it is not a high-water mark"));
            };
            let (mut mark, mut recent, mut kept, mut whole) = (None, Recent::default(), 0, 0);
            let mut waiting = Vec::new();
            while let Some((record, rest)) = next(&records[kept..]) {
                kept = records.len() - rest;
                match record {
                    Record::Promised(promised) => waiting.push(promised),
                    Record::Mark(reached) => {
                        waiting.drain(..).for_each(|promised| recent.push(promised));
                        mark = Some(reached);
                        whole = kept;
                    }
                }
            }
            if whole < records.len() {
                tracing::warn!(path = %path.display(), bytes = records.len() - whole, "the end of the high-water mark was not written whole");
            }
            let length = (MAGIC.len() + whole) as u64;
            let file = File::options().append(true).open(&path)?;
            file.set_len(length)?;
            file.sync_all()?;
            Ok(Self { path: path.clone(), file, length, mark, recent })
        };
        opened().map_err(|error| unusable(&path, &error))
    }

    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Writes a list for people beside it; its path.
    pub fn list(&self, promised: &[Promised]) -> Option<String> {
        let path = self.path.with_file_name("missing-promises.txt");
        let lines: String = promised.iter().map(|promised| format!("{promised}\n")).collect();
        let written = fs::write(&path, lines);
        written
            .inspect_err(|error| tracing::warn!(%error, "the list of missing promises is not written"))
            .ok()?;
        Some(path.display().to_string())
    }

    /// Raises the mark over a round and what it promised: durable when it returns.
    ///
    /// # Errors
    /// `MarkError::File`: the mark is where it was.
    pub fn note(&mut self, promised: &[Promised], to: &HighWater) -> Result<(), MarkError> {
        if self.mark.is_some_and(|mark| mark.sequence >= to.sequence) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for promised in promised {
            push(&mut bytes, &Record::Promised(promised.clone()));
        }
        push(&mut bytes, &Record::Mark(*to));
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What is half there must not stand before the next record.
            let _ = self.file.set_len(self.length);
            return Err(unusable(&self.path, &error));
        }
        self.length += bytes.len() as u64;
        self.mark = Some(*to);
        promised.iter().for_each(|promised| self.recent.push(promised.clone()));
        if self.length > GROWN {
            let recent = self.recent.clone();
            self.adopt(to, &recent)?;
        }
        Ok(())
    }

    /// The mark and what was promised lately, whatever was there before.
    ///
    /// # Errors
    /// `MarkError::File`.
    pub fn adopt(&mut self, mark: &HighWater, recent: &Recent) -> Result<(), MarkError> {
        let mut bytes = MAGIC.to_vec();
        for promised in recent.iter() {
            push(&mut bytes, &Record::Promised(promised.clone()));
        }
        push(&mut bytes, &Record::Mark(*mark));
        let written =
            write_whole(&self.path, &bytes).and_then(|()| File::options().append(true).open(&self.path));
        self.file = written.map_err(|error| unusable(&self.path, &error))?;
        (self.length, self.mark) = (bytes.len() as u64, Some(*mark));
        self.recent = recent.clone();
        Ok(())
    }
}

impl Mark for Journal {
    fn place(&self) -> String {
        format!("the data directory ({})", self.path.display())
    }

    fn read(&mut self) -> Result<Option<HighWater>, MarkError> {
        Ok(self.mark)
    }

    fn raise(&mut self, to: &HighWater) -> Result<(), MarkError> {
        self.note(&[], to)
    }

    fn reset(&mut self, to: &HighWater) -> Result<(), MarkError> {
        self.adopt(to, &Recent::default())
    }
}

fn unusable(path: &Path, error: &io::Error) -> MarkError {
    MarkError::File { file: path.display().to_string(), problem: error.to_string() }
}

/// A file that is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn push(bytes: &mut Vec<u8>, record: &Record) {
    // Encoding into memory cannot fail; a record without bytes would be cut off at the next start.
    let body = postcard::to_stdvec(record).unwrap_or_default();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(&body);
    bytes.extend(&blake3::hash(&body).as_bytes()[..CHECKSUM]);
}

/// The first record, and how many bytes lie behind it; nothing if it is not whole.
fn next(bytes: &[u8]) -> Option<(Record, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > LONGEST {
        return None;
    }
    let (body, rest) = rest.split_at_checked(length)?;
    let (checksum, rest) = rest.split_first_chunk::<CHECKSUM>()?;
    if blake3::hash(body).as_bytes()[..CHECKSUM] != *checksum {
        return None;
    }
    Some((postcard::from_bytes(body).ok()?, rest.len()))
}
