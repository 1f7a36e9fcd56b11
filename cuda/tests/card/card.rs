//! The card under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cuda::{Context, Library, library::VARIABLE};

/// The library that `cuda/build.sh host` makes, built once per run of the tests.
pub fn host_library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("host");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.sh");
        let built = Command::new(script).arg("host").env("OUT", &out).output().unwrap();
        assert!(
            built.status.success(),
            "cuda/build.sh host failed (it needs g++):\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        out.join("libproofmill_cuda_host.so")
    })
}

pub fn is_real() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

pub fn library() -> Arc<Library> {
    let path = if is_real() { None } else { Some(host_library()) };
    Library::load(path).unwrap()
}

pub fn context() -> Arc<Context> {
    Context::open(library(), 0).unwrap()
}

/// Tests that change the simulated card hold this, and those that must not see it changed.
pub fn exclusive() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}
