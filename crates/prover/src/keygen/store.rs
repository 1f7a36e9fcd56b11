//! The work file of a key that is being made: the points that are finished, so that whoever is interrupted goes on from there.
//!
//! # File, version 1
//! Little-endian. A header of 112 bytes, then chunks of points in the order in which they are made.
//!
//! | at | bytes | header |
//! |---|---|---|
//! | 0 | 8 | magic `PMPART\r\n` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | generator of the domain: 7 (bellman) or 5 (iden3) |
//! | 16 | 32 | digest of the circuit |
//! | 48 | 32 | BLAKE3 of the secrets tau, alpha, beta, gamma, delta (32 bytes each, canonical) and the seed |
//! | 80 | 32 | BLAKE3 of the 80 bytes before |
//!
//! A chunk is the length of its points in bytes (8), the points as [`bn254::raw`] has them, and the BLAKE3 (32) of the header, the
//! number of the chunk (8), the length and the points.
//!
//! Invariant: a chunk that is taken over was written whole, as this chunk of this key. What follows the first one that is not is cut
//! off. One process writes at a time: the file is locked while it is in use. Chunks are no secret: the seed of a key that is made this
//! way is public.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bn254::ntt::Generator;
use bn254::raw::{self, Limbs};
use bn254::{fr_to_le_bytes, simd::SimdCurve};

use crate::dev::DevTrapdoor;
use crate::matrices::CircuitDigest;

/// Points of a chunk, but for the last of each query: enough for every thread, and a fraction of a second.
pub(super) const CHUNK: usize = 1 << 16;

const HEADER: usize = 112;
const MAGIC: &[u8; 8] = b"PMPART\r\n";
const VERSION: u32 = 1;
const CHECKSUM: usize = 32;
/// The longest chunk: points of G2. A longer one is damaged, and need not be read.
const LONGEST: u64 = (CHUNK * 128) as u64;
/// What a power cut may cost. A process that is killed loses only the chunk that it was at.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// What lay where the work file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or nothing that was finished.
    Nothing,
    /// So many bytes of points of this key, which need not be made again.
    Begun(u64),
    /// The work on another key, or another kind of file. It was replaced.
    Other,
    /// Another process has locked the file, or it cannot be locked. It is left alone, and work cannot be resumed.
    Locked,
}

/// The first bytes of the work file of a key.
pub(super) fn header(generator: Generator, circuit: &CircuitDigest, trapdoor: &DevTrapdoor) -> [u8; HEADER] {
    let mut secrets = blake3::Hasher::new();
    for secret in [trapdoor.tau, trapdoor.alpha, trapdoor.beta, trapdoor.gamma, trapdoor.delta] {
        secrets.update(&fr_to_le_bytes(&secret));
    }
    secrets.update(trapdoor.seed().as_bytes());
    let generator: u32 = match generator {
        Generator::Seven => 7,
        Generator::Five => 5,
    };
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&generator.to_le_bytes());
    header[16..48].copy_from_slice(circuit);
    header[48..80].copy_from_slice(secrets.finalize().as_bytes());
    let checksum = blake3::hash(&header[..80]);
    header[80..].copy_from_slice(checksum.as_bytes());
    header
}

/// An open work file.
pub(super) struct Store {
    file: File,
    path: PathBuf,
    header: [u8; HEADER],
    /// Lengths of the chunks that were found and not taken yet.
    found: VecDeque<u64>,
    /// Where the next chunk begins, and its number.
    position: u64,
    number: u64,
    synced: Instant,
}

impl Store {
    /// Opens or makes the work file of a key; `None` when another process has it.
    pub fn open(path: &Path, header: [u8; HEADER]) -> io::Result<(Option<Self>, Found)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        if file.try_lock().is_err() {
            return Ok((None, Found::Locked));
        }
        let len = file.metadata()?.len();
        let mut there = Vec::with_capacity(HEADER);
        (&mut file).take(HEADER as u64).read_to_end(&mut there)?;
        let (mut lengths, mut end) = (VecDeque::new(), HEADER as u64);
        let found = if there == header {
            let mut buffer = Vec::new();
            while let Some(length) =
                next_chunk(&mut file, len - end, &header, lengths.len() as u64, &mut buffer)?
            {
                lengths.push_back(length);
                end += 8 + length + CHECKSUM as u64;
            }
            if lengths.is_empty() { Found::Nothing } else { Found::Begun(lengths.iter().sum()) }
        } else if header.starts_with(&there) {
            // Killed before the header was whole.
            Found::Nothing
        } else {
            Found::Other
        };
        file.set_len(if lengths.is_empty() { 0 } else { end })?;
        if lengths.is_empty() {
            file.rewind()?;
            file.write_all(&header)?;
        }
        let position = HEADER as u64;
        let store = Self {
            file,
            path: path.to_owned(),
            header,
            found: lengths,
            position,
            number: 0,
            synced: Instant::now(),
        };
        Ok((Some(store), found))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends the next `count` points, if they were found; whether they were.
    pub fn take<C: SimdCurve>(&mut self, count: usize, points: &mut Vec<C>) -> io::Result<bool> {
        let Some(length) = self.found.pop_front() else { return Ok(false) };
        if length != (count * size_of::<C>()) as u64 {
            // The checksum binds it to this key: only a program that cuts keys in other chunks has written it.
            self.found.clear();
            self.file.set_len(self.position)?;
            return Ok(false);
        }
        let first = points.len();
        points.resize(first + count, C::identity());
        self.file.seek(SeekFrom::Start(self.position + 8))?;
        self.file.read_exact(raw::as_bytes_mut(&mut points[first..]))?;
        self.passed(length);
        Ok(true)
    }

    /// Writes the next points.
    pub fn keep<T: Limbs>(&mut self, points: &[T]) -> io::Result<()> {
        let points = raw::as_bytes(points);
        let length = points.len() as u64;
        self.file.seek(SeekFrom::Start(self.position))?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(points)?;
        self.file.write_all(&checksum(&self.header, self.number, points))?;
        self.passed(length);
        if self.synced.elapsed() >= SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    /// Whether no chunk was taken or written.
    pub fn is_unused(&self) -> bool {
        self.number == 0 && self.found.is_empty()
    }

    /// Removes the file.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    fn passed(&mut self, length: u64) {
        self.position += 8 + length + CHECKSUM as u64;
        self.number += 1;
    }
}

/// Reads a chunk of which at most `left` bytes are there; the length of its points, or `None` when it is not whole.
fn next_chunk(
    file: &mut File,
    left: u64,
    header: &[u8; HEADER],
    number: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<u64>> {
    if left < 8 {
        return Ok(None);
    }
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length == 0 || length > LONGEST || left - 8 < length + CHECKSUM as u64 {
        return Ok(None);
    }
    buffer.clear();
    file.take(length).read_to_end(buffer)?;
    let mut expected = [0; CHECKSUM];
    file.read_exact(&mut expected)?;
    Ok((checksum(header, number, buffer) == expected).then_some(length))
}

fn checksum(header: &[u8; HEADER], number: u64, points: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header);
    hasher.update(&number.to_le_bytes());
    hasher.update(&(points.len() as u64).to_le_bytes());
    hasher.update(points);
    *hasher.finalize().as_bytes()
}
