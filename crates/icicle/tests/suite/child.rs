//! Scenarios in processes of their own.

use std::env;
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use icicle::{IcicleBackend, Kind, Settings};
use prover::{Backend, BackendError, Cancel, Prover};

use crate::circuit::{key_of, witness_of};
use crate::{conformance, fake::fakes, proofs};

/// A process that runs one scenario.
pub struct Child(Command);

impl Child {
    /// With the good fake as explicit folder, on the processor.
    pub fn new(scenario: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "child::runs_a_scenario", "--ignored", "--nocapture"]);
        command.env("SCENARIO", scenario).env("FOLDER", &fakes().good);
        for variable in ["ICICLE_FRONTEND_INSTALL_DIR", "ICICLE_INSTALL_DIR", "ICICLE_BACKEND_INSTALL_DIR"] {
            command.env_remove(variable);
        }
        Self(command)
    }

    /// On the fake card, with a driver.
    pub fn cuda(self) -> Self {
        self.with("KIND", "cuda").driver(&fakes().driver)
    }

    pub fn driver(self, folder: &Path) -> Self {
        self.with("LD_LIBRARY_PATH", folder.to_str().unwrap())
    }

    pub fn folder(mut self, folder: Option<&Path>) -> Self {
        match folder {
            Some(folder) => self.0.env("FOLDER", folder),
            None => self.0.env_remove("FOLDER"),
        };
        self
    }

    pub fn misbehaving(self, how: &str) -> Self {
        self.with("ICICLE_FAKE", how)
    }

    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.0.env(variable, value);
        self
    }

    pub fn run(mut self) -> Outcome {
        Outcome(self.0.output().unwrap())
    }
}

/// What a scenario left behind.
pub struct Outcome(Output);

impl Outcome {
    /// What it said under this heading, in order.
    pub fn said(&self, heading: &str) -> Vec<String> {
        let prefix = format!("{heading}: ");
        // The harness prints the name of the test on the line of the first output.
        self.stdout()
            .lines()
            .filter_map(|line| line.split_once(&prefix))
            .filter(|(before, _)| before.is_empty() || before.starts_with("test "))
            .map(|(_, said)| said.to_owned())
            .collect()
    }

    /// That the process ended by itself, did its work and broke no rule of ICICLE.
    pub fn is_clean(&self) -> bool {
        self.ended_well() && self.said("report") == [""]
    }

    pub fn ended_well(&self) -> bool {
        self.0.status.success() && self.stdout().contains("1 passed")
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.0.status.signal()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Everything, for messages of assertions.
    pub fn all(&self) -> String {
        format!("{:?}\n{}\n{}", self.0.status, self.stdout(), self.stderr())
    }
}

pub fn settings() -> Settings {
    Settings {
        library: env::var_os("FOLDER").map(PathBuf::from),
        device: env::var("DEVICE").map_or(0, |device| device.parse().unwrap()),
        kind: if env::var("KIND").is_ok_and(|kind| kind == "cuda") { Kind::Cuda } else { Kind::Cpu },
        chunk: env::var("CHUNK").ok().map(|chunk| chunk.parse::<NonZeroUsize>().unwrap()),
    }
}

fn open() -> Option<Arc<IcicleBackend>> {
    match IcicleBackend::open(&settings()) {
        Ok(backend) => {
            println!("open: well");
            Some(Arc::new(backend))
        }
        Err(
            BackendError::Device { backend: "icicle", reason }
            | BackendError::Lost { backend: "icicle", reason },
        ) => {
            println!("open: {reason}");
            None
        }
        Err(other) => panic!("another kind of error: {other}"),
    }
}

/// Proves `PROOFS` times with a circuit of `SLOTS` slots, whatever happens.
fn prove() {
    let number = |variable, usual| env::var(variable).map_or(usual, |value| value.parse().unwrap());
    let (slots, count) = (number("SLOTS", 9), number("PROOFS", 1));
    let Some(backend) = open() else { return };
    if let Some(device) = backend.device() {
        println!("device: {} {} {}", device.name, device.uuid, device.versions);
    }
    let (key, matrices) = key_of(slots);
    match Prover::new(Arc::clone(&backend) as Arc<dyn Backend>, key, matrices) {
        Ok(prover) => {
            println!("prepare: well");
            for start in 0..count as u64 {
                match prover.prove(&witness_of(slots, start), &Cancel::new()) {
                    Ok(_) => println!("proof: well"),
                    Err(error) => println!("proof: {error}"),
                }
            }
        }
        Err(error) => println!("prepare: {error}"),
    }
}

/// What the fake has to say of its caller.
fn report() {
    let Some(folder) = env::var_os("FOLDER").map(PathBuf::from) else { return };
    // SAFETY: the fake of this repository, loaded already.
    unsafe {
        let Ok(library) = libloading::Library::new(folder.join("libicicle_device.so")) else { return };
        let Ok(report) = library.get::<unsafe extern "C" fn(*mut u8, usize)>(b"fake_report") else { return };
        let mut text = vec![0_u8; 1024];
        report(text.as_mut_ptr(), text.len());
        let end = text.iter().position(|byte| *byte == 0).unwrap();
        println!("report: {}", String::from_utf8_lossy(&text[..end]));
    }
}

#[test]
#[ignore = "other tests start it in a process of its own"]
fn runs_a_scenario() {
    match env::var("SCENARIO").unwrap().as_str() {
        "prove" => prove(),
        "conformance" => conformance::everything_agrees(open().unwrap()),
        "refusals" => proofs::refusals(open().unwrap()),
        "staging" => proofs::staging(open().unwrap()),
        "two at once" => proofs::two_at_once(),
        other => panic!("no scenario {other}"),
    }
    report();
}
