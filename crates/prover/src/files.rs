//! Reading files that may be pipes, and writing files that are there whole or not at all.
//!
//! Invariant: an [`Output`] leaves what was there untouched until [`Output::commit`], and gives it back if that fails.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;

/// Files this process began to write.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// The bytes of a file.
#[derive(Debug)]
pub enum Input {
    /// A regular file, mapped.
    Mapped(Mmap),
    /// What came through a pipe.
    Read(Vec<u8>),
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Read(bytes) => bytes,
        }
    }
}

impl Input {
    /// Maps a regular file; reads anything else, such as a pipe, but not more than `limit` bytes. `-` is standard input.
    ///
    /// # Errors
    /// Those of the system, and [`io::ErrorKind::FileTooLarge`] over the limit.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::read(io::stdin().lock(), limit);
        }
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Self::read(file, limit);
        }
        // SAFETY: the map is read-only. Someone who truncates the file while it is read gets a crash, as with any mapped file.
        Ok(Self::Mapped(unsafe { Mmap::map(&file)? }))
    }

    fn read(from: impl Read, limit: u64) -> io::Result<Self> {
        let mut bytes = Vec::new();
        from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("more than {limit} bytes came, which is more than it can be");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(Self::Read(bytes))
    }
}

/// A file that is being written: under a temporary name in its folder, so that a folder that is missing or full, or may not be written
/// to, shows before the work and not after it. Devices and pipes are written in place.
#[derive(Debug)]
pub struct Output {
    writer: BufWriter<File>,
    /// Where the file is until it is whole, and where it goes then.
    rename: Option<(PathBuf, PathBuf)>,
}

impl Output {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of the system.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let there = fs::metadata(path);
        let is_special = there.as_ref().is_ok_and(|there| !there.is_file());
        if is_special || ["/dev", "/proc"].into_iter().any(|folder| path.starts_with(folder)) {
            return Ok(Self {
                writer: BufWriter::new(File::options().write(true).open(path)?),
                rename: None,
            });
        }
        // A link stays a link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut name = OsString::from(".");
        name.push(path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?);
        // Unlike any other writer's, in this process or another.
        name.push(format!(".{}.{}.tmp", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary)?;
        let output =
            Self { writer: BufWriter::with_capacity(1 << 20, file), rename: Some((temporary, path)) };
        if let Ok(there) = there {
            output.writer.get_ref().set_permissions(there.permissions())?;
        }
        Ok(output)
    }

    /// Puts the file in its place: synced, then renamed. After a crash there is no file of this name, or the one before, or the whole
    /// new one.
    ///
    /// # Errors
    /// Those of the system; what was there is still there.
    pub fn commit(mut self) -> io::Result<()> {
        self.writer.flush()?;
        let Some((temporary, path)) = &self.rename else { return Ok(()) };
        self.writer.get_ref().sync_all()?;
        fs::rename(temporary, path)?;
        let path = path.clone();
        // Nothing of that name is left to remove.
        self.rename = None;
        sync_folder(&path)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.rename {
            // What went wrong before is what the user must see, not that the temporary file stayed.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Makes a rename durable (folders cannot be synced on Windows, where this does nothing).
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Whether two names, of which either may be of nothing yet, are of one file: writing to one would destroy the other.
pub fn is_same(one: &Path, other: &Path) -> bool {
    match (Identity::of(one), Identity::of(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

#[derive(PartialEq)]
enum Identity {
    #[cfg(unix)]
    There(u64, u64),
    Path(PathBuf),
}

impl Identity {
    /// Nothing for devices and pipes, which can be named as often as one likes.
    fn of(path: &Path) -> Option<Self> {
        if let Ok(there) = fs::metadata(path) {
            if !there.is_file() {
                return None;
            }
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt;
                return Some(Self::There(there.dev(), there.ino()));
            }
            #[cfg(not(unix))]
            return fs::canonicalize(path).ok().map(Self::Path);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(Self::Path(
            fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()).join(path.file_name()?),
        ))
    }
}
