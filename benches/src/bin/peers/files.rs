//! Key and witness of a full batch in the files of iden3's programs: everybody who does `batch` reads the same ones.

use std::fs;
use std::path::{Path, PathBuf};

use bn254::ntt::Generator;
use circuits::batch::Prepared;
use circuits::batch::gadget::{BatchCircuit, witness};
use circuits::shape::Shape;
use eyre::OptionExt;
use proofmill_benches::full_batch;
use prover::iden3::zkey::{Checks, Zkey};
use prover::iden3::{open, wtns, zkey};
use prover::{DevTrapdoor, Key, Matrices, NoProgress, Witness, generate_for};

/// Names the folder of the files, which the provers of one call share.
pub const FOLDER: &str = "PROOFMILL_PEERS_FOLDER";

pub struct Files {
    pub key: PathBuf,
    pub witness: PathBuf,
}

impl Files {
    /// The files of a circuit. Whoever asks first makes them: provers are asked one after the other.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn of(shape: Shape) -> eyre::Result<Self> {
        let folder = PathBuf::from(std::env::var_os(FOLDER).ok_or_eyre("no folder for files of batches")?);
        let at = |kind: &str| folder.join(format!("{}.{kind}", shape.name()));
        let files = Self { key: at("zkey"), witness: at("wtns") };
        // The witness is the last to be written.
        if !files.witness.exists() {
            let matrices = Matrices::synthesize(BatchCircuit(&Prepared::blank(shape)))?;
            let (inputs, aux) = witness(&full_batch(shape)?);
            files.write(&matrices, &Witness::new(inputs, aux))?;
        }
        Ok(files)
    }

    /// Files in a folder, of a circuit and a witness of it, with a development key.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn make(folder: &Path, matrices: &Matrices, witness: &Witness) -> eyre::Result<Self> {
        let files = Self { key: folder.join("key.zkey"), witness: folder.join("witness.wtns") };
        files.write(matrices, witness)?;
        Ok(files)
    }

    fn write(&self, matrices: &Matrices, witness: &Witness) -> eyre::Result<()> {
        let trapdoor = DevTrapdoor::from_seed("benchmark");
        let key = Key::from_parts(&generate_for(Generator::Five, matrices, &trapdoor, &NoProgress)?)?;
        fs::write(&self.key, zkey::write(&key, matrices)?)?;
        fs::write(&self.witness, wtns::write(witness))?;
        Ok(())
    }

    /// What is in them.
    ///
    /// # Errors
    /// If they are not what they should be.
    pub fn read(&self) -> eyre::Result<(Zkey, Witness)> {
        let key = zkey::read(&open(&self.key, u64::MAX)?, Checks::Curve)?;
        let witness = wtns::read(&open(&self.witness, u64::MAX)?, key.parts.inputs)?;
        Ok((key, witness))
    }
}
