//! Compiles the fake ICICLE, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fake");

/// Folders with fakes.
pub struct Fakes {
    /// All that is needed, with a CUDA backend beside it.
    pub good: PathBuf,
    /// As before 3.1.
    pub old: PathBuf,
    /// Built without G2.
    pub without_g2: PathBuf,
    /// Without the library of the curve.
    pub without_curve: PathBuf,
    /// Only `libcuda.so.1`.
    pub driver: PathBuf,
    /// A `libcuda.so.1` that does not load, as on a machine without a card.
    pub no_driver: PathBuf,
    /// Nothing.
    pub empty: PathBuf,
}

pub fn fakes() -> &'static Fakes {
    static FAKES: OnceLock<Fakes> = OnceLock::new();
    FAKES.get_or_init(build)
}

fn build() -> Fakes {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("icicle-fake");
    let folder = |name: &str| {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let fakes = Fakes {
        good: folder("good"),
        old: folder("old"),
        without_g2: folder("without-g2"),
        without_curve: folder("without-curve"),
        driver: folder("driver"),
        no_driver: folder("no-driver"),
        empty: folder("empty"),
    };
    let (device, field, curve) =
        ("libicicle_device.so", "libicicle_field_bn254.so", "libicicle_curve_bn254.so");
    compile("device.cpp", &[], &fakes.good.join(device));
    compile("field.cpp", &[], &fakes.good.join(field));
    compile("curve.cpp", &[], &fakes.good.join(curve));
    compile("field.cpp", &["-DFAKE_OLD"], &fakes.old.join(field));
    compile("curve.cpp", &["-DFAKE_WITHOUT_G2"], &fakes.without_g2.join(curve));
    compile("driver.cpp", &[], &fakes.driver.join("libcuda.so.1"));
    let copies: [(&Path, &[&str]); 3] = [
        (&fakes.old, &[device, curve]),
        (&fakes.without_g2, &[device, field]),
        (&fakes.without_curve, &[device, field]),
    ];
    for (to, files) in copies {
        for file in files {
            fs::copy(fakes.good.join(file), to.join(file)).unwrap();
        }
    }
    fs::write(fakes.no_driver.join("libcuda.so.1"), "not a library").unwrap();
    fs::create_dir_all(fakes.good.join("backend")).unwrap();
    fs::write(fakes.good.join("backend/libicicle_backend_cuda_device.so"), "the fake looks for the name")
        .unwrap();
    fakes
}

/// Compiles a source unless its output is newer than every source.
fn compile(source: &str, flags: &[&str], output: &Path) {
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let newest = fs::read_dir(SOURCES).unwrap().filter_map(|entry| changed(&entry.unwrap().path())).max();
    if changed(output).is_some_and(|built| Some(built) > newest) {
        return;
    }
    let part = output.with_extension("part");
    let status = Command::new("g++")
        .args(["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(&part)
        .args(flags)
        .arg(Path::new(SOURCES).join(source))
        .status()
        .expect("these tests compile a fake ICICLE and need g++");
    assert!(status.success(), "{source} does not compile");
    fs::rename(part, output).unwrap();
}
