//! rapidsnark's command line, on a key and a witness that we write. Reading the files is part of its time.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use bn254::Fr;
use bn254::ntt::Generator;
use eyre::{OptionExt, bail};
use prover::iden3::{wtns, zkey};
use prover::{DevTrapdoor, Key, Matrices, NoProgress, generate_for, synthesize_witness};

use crate::child::{Prover, Work};
use crate::dense::{self, Dense};

pub struct Rapidsnark;

impl Prover for Rapidsnark {
    fn version(&self) -> String {
        "as installed; a process for each proof".to_owned()
    }

    fn works_elsewhere(&self) -> bool {
        true
    }

    fn prepare(&mut self, work: &str, size: u32) -> eyre::Result<Work> {
        if work != "prove" {
            bail!("does no {work}");
        }
        let program = PathBuf::from(std::env::var_os("PROOFMILL_RAPIDSNARK").ok_or_eyre("no rapidsnark")?);
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let circuit = || Dense { steps: dense::steps(size), start: Fr::from(3) };
        let matrices = Matrices::synthesize(circuit())?;
        let trapdoor = DevTrapdoor::from_seed("benchmark");
        let key = Key::from_parts(&generate_for(Generator::Five, &matrices, &trapdoor, &NoProgress)?)?;
        std::fs::write(at("key.zkey"), zkey::write(&key, &matrices)?)?;
        std::fs::write(at("witness.wtns"), wtns::write(&synthesize_witness(circuit())?))?;
        Ok(Box::new(move || {
            let files = ["key.zkey", "witness.wtns", "proof.json", "public.json"];
            let status = Command::new(&program)
                .args(files.map(|name| folder.path().join(name)))
                .stdout(Stdio::null())
                .status()?;
            if !status.success() {
                bail!("it ended with {status}");
            }
            Ok(())
        }))
    }
}
