//! NVIDIA's compiler, and the PTX that it makes of the kernels.
//!
//! PTX is kept in the target folder under a name that depends on the compiler and on all sources, so it is made
//! again when one of them changes.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use crate::machine::Module;

/// 1 where a missing compiler is a failure.
const REQUIRED: &str = "PROOFMILL_REQUIRE_NVCC";
/// The flags of build.sh, for the oldest architecture: its PTX has the fewest instructions.
const FLAGS: [&str; 7] = [
    "-std=c++17",
    "-O3",
    "--expt-relaxed-constexpr",
    "-ptx",
    "-arch=compute_80",
    // Code for the host that a kernel calls is left out of the kernel, with nothing but a warning.
    "-Werror",
    "cross-execution-space-call",
];

/// The compiler, looked for as `cuda/build.sh` does.
fn nvcc() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nvcc")).find(|file| file.is_file());
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda/toolkit/nvidia/cu13/bin/nvcc");
    let chosen =
        set("NVCC").or_else(|| Some(set("CUDA_HOME")?.join("bin/nvcc"))).or(on_path).unwrap_or(fetched);
    chosen.is_file().then_some(chosen)
}

/// What the compiler made of a source.
pub struct Unit {
    pub text: String,
    pub module: Module,
}

/// The program of kernels/`name`.cu, made once per run; `None` without a compiler, which is said.
pub fn unit(name: &'static str) -> Option<Arc<Unit>> {
    static MADE: Mutex<BTreeMap<&str, Arc<OnceLock<Arc<Unit>>>>> = Mutex::new(BTreeMap::new());
    let Some(nvcc) = nvcc() else {
        missing();
        return None;
    };
    let cell = {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(made.entry(name).or_default())
    };
    let made = cell.get_or_init(|| {
        let text = std::fs::read_to_string(compiled(&nvcc, name)).unwrap();
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{name}.ptx, {error}"));
        Arc::new(Unit { text, module })
    });
    Some(Arc::clone(made))
}

fn missing() {
    static SAID: Once = Once::new();
    let how = "run 'cuda/build.sh toolkit', or set NVCC to the compiler of a CUDA toolkit";
    assert!(std::env::var(REQUIRED).as_deref() != Ok("1"), "there is no nvcc: {how}");
    SAID.call_once(|| {
        // Not by eprintln!, which the harness keeps to itself when a test passes.
        let message =
            format!("\n*** NOT TESTED: there is no nvcc, so no kernel's PTX was run; {how} ***\n\n");
        std::io::stderr().write_all(message.as_bytes()).unwrap();
    });
}

fn compiled(nvcc: &Path, unit: &str) -> PathBuf {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut sources: Vec<PathBuf> =
        std::fs::read_dir(&kernels).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.sort();
    let mut state = DefaultHasher::new();
    let version = Command::new(nvcc).arg("--version").output().unwrap();
    (version.stdout, FLAGS).hash(&mut state);
    // Headers are of every unit.
    let is_of_unit = |path: &&PathBuf| {
        path.extension().is_some_and(|e| e == "cuh") || path.ends_with(format!("{unit}.cu"))
    };
    for source in sources.iter().filter(is_of_unit) {
        (source.file_name(), std::fs::read(source).unwrap()).hash(&mut state);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ptx");
    std::fs::create_dir_all(&folder).unwrap();
    let ptx = folder.join(format!("{unit}-{:016x}.ptx", state.finish()));
    if !ptx.is_file() {
        let part = folder.join(format!("{unit}-{}.part", std::process::id()));
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned());
        let made = Command::new(nvcc)
            .args(["-ccbin", &compiler])
            .args(FLAGS)
            .arg(kernels.join(format!("{unit}.cu")))
            .arg("-o")
            .arg(&part)
            .output()
            .unwrap();
        assert!(made.status.success(), "nvcc failed:\n{}", String::from_utf8_lossy(&made.stderr));
        std::fs::rename(&part, &ptx).unwrap();
    }
    ptx
}
