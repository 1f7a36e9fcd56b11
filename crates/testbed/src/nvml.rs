//! Cards out of a text file, behind a library that the real `nvml-wrapper` loads; a C compiler builds it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, sync::Mutex};

use tempfile::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/nvml/fake.c");
const LIBRARY: &str = "libnvidia-ml.so.1";

/// A fake NVML with files of its own, so that tests do not share cards.
#[derive(Debug)]
pub struct Fake {
    folder: TempDir,
    values: Mutex<BTreeMap<String, String>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    pub fn new() -> Self {
        Self::built_with(&[])
    }

    /// `-DOLD_DRIVER` leaves out what the drivers of old lack.
    pub fn built_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut build = Command::new(compiler);
        build.args(["-shared", "-fPIC", "-Wall", "-Werror", "-Wno-format-truncation", "-o"]);
        build.arg(folder.path().join(LIBRARY)).arg(SOURCE).args(flags).arg("-ldl");
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let fake = Self { folder, values: Mutex::default() };
        fake.set(&[("driver", "580.95.05"), ("cards", "0")]);
        fake
    }

    pub fn library(&self) -> PathBuf {
        self.folder.path().join(LIBRARY)
    }

    /// Changes values; `-` takes one away.
    pub fn set(&self, changes: &[(&str, &str)]) {
        let mut values = self.values.lock().unwrap();
        for (key, value) in changes {
            match *value {
                "-" => values.remove(*key),
                value => values.insert((*key).to_owned(), value.to_owned()),
            };
        }
        let text: String = values.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        // Renamed when whole: the library may read at any moment.
        let fresh = self.folder.path().join("values.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.folder.path().join("values")).unwrap();
    }

    /// Changes values of one card.
    pub fn card(&self, number: u32, changes: &[(&str, &str)]) {
        let keyed: Vec<(String, &str)> =
            changes.iter().map(|(key, value)| (format!("{number}.{key}"), *value)).collect();
        let keyed: Vec<(&str, &str)> = keyed.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        self.set(&keyed);
    }

    /// A healthy card that tells everything; cards are added in the order of their numbers.
    pub fn add(&self, number: u32) {
        let uuid = uuid(number);
        let bus = format!("0000000{number}:17:00.0");
        self.card(
            number,
            &[
                ("name", "NVIDIA H200"),
                ("uuid", &uuid),
                ("bus", &bus),
                ("mig", "0"),
                ("memory_total", "150000000000"),
                ("memory_free", "100000000000"),
                ("busy", "97"),
                ("memory_busy", "41"),
                ("power", "412000"),
                ("power_limit", "700000"),
                ("energy", "5000000"),
                ("temperature", "54"),
                ("slowdown", "90"),
                ("sm_clock", "1830"),
                ("sm_clock_max", "1980"),
                ("memory_clock", "3201"),
                ("memory_clock_max", "3201"),
                ("throttle", "0x4"),
                ("state", "0"),
                ("corrected", "2"),
                ("uncorrected", "0"),
                ("retirement_pending", "0"),
                ("remapped", "0"),
                ("remap_pending", "0"),
                ("remap_failed", "0"),
                ("pcie_received", "1200"),
                ("pcie_sent", "300"),
                ("pcie_generation", "5"),
                ("pcie_generation_max", "5"),
                ("pcie_width", "16"),
                ("pcie_width_max", "16"),
                ("pcie_replays", "0"),
            ],
        );
        self.set(&[("cards", &(number + 1).to_string())]);
    }
}

pub fn uuid(number: u32) -> String {
    format!("GPU-{number}1111111-2222-3333-4444-555555555555")
}
