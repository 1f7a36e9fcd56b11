//! A disk of a few megabytes that can be filled and emptied: a tmpfs. Only root may mount one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Unmounted and removed when it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Nothing where this process may not mount.
    ///
    /// # Errors
    /// `io::Error` if no folder can be made.
    pub fn mount(megabytes: u32) -> io::Result<Option<Self>> {
        let folder = tempfile::Builder::new().prefix("pm-disk-").tempdir()?;
        let size = format!("size={megabytes}m,mode=0777");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        Ok(mounted.is_ok_and(|output| output.status.success()).then_some(Self { folder }))
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Takes all that is left.
    ///
    /// # Errors
    /// `io::Error` other than that the disk is full.
    pub fn fill(&self) -> io::Result<()> {
        use io::Write;

        let mut file = fs::File::create(self.ballast())?;
        // Ever smaller pieces, down to a page.
        for size in [1 << 20, 1 << 16, 1 << 12] {
            let piece = vec![7; size];
            loop {
                match file.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// `io::Error`.
    pub fn empty(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still have files there. What fails leaves a few megabytes behind.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}
