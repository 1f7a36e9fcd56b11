//! rapidsnark's command line, on a key and a witness that we write. Reading the files is part of its time.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use bn254::Fr;
use eyre::{Context, OptionExt, bail};
use prover::iden3::json;
use prover::{Matrices, PreparedVerifyingKey, synthesize_witness, verify};
use tempfile::TempDir;

use crate::child::{Prover, Work};
use crate::dense::{self, Dense};
use crate::files::Files;
use crate::program::{self, Usage};
use crate::size::Size;

/// Names the program.
pub const PROGRAM: &str = "PROOFMILL_RAPIDSNARK";

pub struct Rapidsnark;

impl Prover for Rapidsnark {
    fn version(&self) -> String {
        "as installed; a process for each proof".to_owned()
    }

    fn prepare(&mut self, work: &str, size: Size) -> eyre::Result<Work> {
        let folder = tempfile::tempdir()?;
        let files = match (work, size) {
            ("prove", Size::Log(log)) => {
                let circuit = || Dense { steps: dense::steps(log), start: Fr::from(3) };
                let matrices = Matrices::synthesize(circuit())?;
                Files::make(folder.path(), &matrices, &synthesize_witness(circuit())?)?
            }
            ("batch", Size::Circuit(shape)) => Files::of(shape)?,
            _ => bail!("does no {work}"),
        };
        let program = PathBuf::from(std::env::var_os(PROGRAM).ok_or_eyre("no rapidsnark")?);
        let proving = Proving { program, files, folder };
        proving.run()?;
        proving.check()?;
        Ok(Work::elsewhere(move || proving.run()))
    }
}

/// A command line, and where its proof goes.
struct Proving {
    program: PathBuf,
    files: Files,
    folder: TempDir,
}

impl Proving {
    fn proof(&self) -> PathBuf {
        self.folder.path().join("proof.json")
    }

    fn public(&self) -> PathBuf {
        self.folder.path().join("public.json")
    }

    fn run(&self) -> eyre::Result<Usage> {
        let files = [&self.files.key, &self.files.witness, &self.proof(), &self.public()];
        program::run(Command::new(&self.program).args(files).stdout(Stdio::null()))
    }

    /// Whether the proof that it wrote holds, for the inputs of the witness.
    fn check(&self) -> eyre::Result<()> {
        let (key, witness) = self.files.read()?;
        let proof = json::read_proof(&serde_json::from_reader(File::open(self.proof())?)?)?;
        let public = json::read_public(&serde_json::from_slice(&fs::read(self.public())?)?)?;
        if public != witness.public_inputs() {
            bail!("it proves other public inputs");
        }
        verify(&PreparedVerifyingKey::new(&key.parts.vk)?, &proof, &public)
            .wrap_err("its proof does not verify")
    }
}
