//! Writing key files, and the bytes behind a [`super::Key`].

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bn254::raw;
use memmap2::Mmap;

use super::header::{ALIGNMENT, Header, verifying_key_bytes};
use super::{KeyError, KeyParts};
use crate::files::Output;

/// One alignment unit of a key in memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line([u8; ALIGNMENT]);

/// The bytes of a key file, aligned to 64.
pub(super) enum Storage {
    Mapped { map: Mmap, path: PathBuf },
    Memory { lines: Vec<Line>, len: usize },
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if matches!(self, Self::Mapped { .. }) { "mapped" } else { "in memory" };
        write!(f, "{} bytes, {kind}", self.bytes().len())
    }
}

impl Storage {
    pub(super) fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is read-only. Key files are never changed in place: they are written under another name and
        // renamed, so a mapped file keeps its contents even while a new one takes its name. Someone who truncates a
        // file by hand while it is in use gets a crash, as with any mapped file.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self::Mapped { map, path: path.to_owned() })
    }

    pub(super) fn from_parts(parts: &KeyParts) -> Result<Self, KeyError> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        parts.write_to(&mut bytes).map_err(|error| error.into_key_error(Path::new("memory")))?;
        let len = bytes.len();
        let lines = bytes
            .chunks(ALIGNMENT)
            .map(|chunk| {
                let mut line = Line([0; ALIGNMENT]);
                line.0[..chunk.len()].copy_from_slice(chunk);
                line
            })
            .collect();
        Ok(Self::Memory { lines, len })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped { map, .. } => map,
            // SAFETY: `Line` is 64 bytes without padding, and the lines hold at least `len` initialised bytes.
            Self::Memory { lines, len } => unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), *len) },
        }
    }
}

/// A failure to write, of the destination or of the key itself.
enum WriteError {
    Io(io::Error),
    Key(KeyError),
}

impl WriteError {
    fn into_key_error(self, path: &Path) -> KeyError {
        match self {
            Self::Io(source) => KeyError::Io { path: path.to_owned(), source },
            Self::Key(error) => error,
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl KeyParts {
    /// Writes the key file. After a crash there is either no file of this name, or the one before, or the whole new one.
    ///
    /// # Errors
    /// [`KeyError::Io`], and [`KeyError::Malformed`] when the origin does not fit.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        let write = || {
            let mut output = Output::begin(path)?;
            self.write_to(&mut output)?;
            Ok(output.commit()?)
        };
        write().map_err(|error: WriteError| error.into_key_error(path))
    }

    fn write_to(&self, out: &mut impl Write) -> Result<(), WriteError> {
        let vk = verifying_key_bytes(&self.vk);
        let contents = [
            vk.as_slice(),
            raw::as_bytes(&self.a_columns),
            raw::as_bytes(&self.a),
            raw::as_bytes(&self.b_columns),
            raw::as_bytes(&self.b1),
            raw::as_bytes(&self.b2),
            raw::as_bytes(&self.l),
            raw::as_bytes(&self.h),
        ];
        let header = Header::for_parts(self, &contents);
        let header_bytes = header.to_bytes().map_err(WriteError::Key)?;
        out.write_all(&header_bytes)?;
        let mut end = header_bytes.len();
        for bytes in contents {
            let padding = end.next_multiple_of(ALIGNMENT) - end;
            out.write_all(&[0; ALIGNMENT][..padding])?;
            out.write_all(bytes)?;
            end += padding + bytes.len();
        }
        Ok(())
    }
}
