//! `keys`: making, describing and exporting proving keys; and the key files that the other commands find by circuit name.

use std::path::{Path, PathBuf};

use bn254::ntt::Generator;
use circuits::shape::Shape;
use clap::Subcommand;
use eyre::{Context, bail};
use gpu_worker::{key_path, matrices};
use l1::contract::{key::VerifyingKey, types::CircuitKey};
use prover::{
    CircuitDigest, DevTrapdoor, Key, KeyParts, Matrices, Origin, Resumable, gnark::write_verifying_key,
    keygen::Found,
};
use serde_json::json;

use crate::{
    iden3,
    ui::{Bar, hex},
};

/// The public seed of all development keys. Everybody can forge proofs for keys made from it.
pub const DEV_SEED: &str = "proofmill development setup v1: UNSAFE, anybody can forge proofs";

#[derive(Subcommand)]
pub enum Command {
    /// Make UNSAFE keys from a public seed, for development chains only
    ///
    /// What is finished of a key lies in KEY.partial beside it: the command goes on from there when it was interrupted.
    SetupDev {
        /// Circuits, separated by commas
        #[arg(long, value_delimiter = ',', default_value = "s3m1")]
        circuits: Vec<Shape>,
        /// Where the key files go
        #[arg(long, default_value = "proofmill-data/keys")]
        out: PathBuf,
    },
    /// Describe a key file and check all of it
    Info {
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the verifying key as the contract's constructor takes it
    ExportVerifier {
        file: PathBuf,
        /// Write it here instead, as gnark reads it
        #[arg(long)]
        gnark: Option<PathBuf>,
    },
    /// Take a proving key from a ceremony of snarkjs
    ImportZkey(iden3::ImportZkey),
    /// Begin the ceremony of a circuit: the first .zkey, from the powers of tau of a phase 1
    ImportPtau(iden3::ImportPtau),
    /// Write a circuit for circom's and snarkjs's programs
    ExportR1cs(iden3::ExportR1cs),
    /// Make an UNSAFE key from a public seed and write it for snarkjs and rapidsnark
    ExportZkey(iden3::ExportZkey),
}

/// Opens the key of a circuit, making a development key first if the file is missing.
///
/// # Errors
/// If the file is of another circuit or damaged, or cannot be written.
pub fn open_or_make_dev(folder: &Path, shape: Shape, matrices: &Matrices) -> eyre::Result<Key> {
    let path = key_path(folder, shape);
    if !path.exists() {
        make_dev(&path, shape, matrices)?;
    }
    open(&path, Some(matrices.digest()))
}

pub fn open(path: &Path, expected: Option<CircuitDigest>) -> eyre::Result<Key> {
    Key::open(path, expected).wrap_err_with(|| format!("key file {}", path.display()))
}

fn make_dev(path: &Path, shape: Shape, matrices: &Matrices) -> eyre::Result<()> {
    say!("  making the UNSAFE development key of {shape} ({} constraints)", matrices.constraints());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .wrap_err_with(|| format!("cannot make the folder {}", folder.display()))?;
    }
    generate_dev(path, Generator::Seven, matrices, |parts| {
        parts.write(path).wrap_err_with(|| format!("cannot write {}", path.display()))
    })
}

/// Makes the development key of a circuit for a file, and writes it. What is finished lies beside the file until that is written, and
/// is taken over by whoever makes the same key for it again.
pub fn generate_dev(
    out: &Path,
    generator: Generator,
    matrices: &Matrices,
    write: impl FnOnce(&KeyParts) -> eyre::Result<()>,
) -> eyre::Result<()> {
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let (partial, trapdoor) = (PathBuf::from(partial), DevTrapdoor::from_seed(DEV_SEED));
    let mut key = Resumable::open(&partial, generator, matrices, &trapdoor)?;
    let file = partial.display();
    match key.found() {
        Found::Nothing => {}
        Found::Begun(bytes) => {
            say!("  going on from the {:.1} MiB of points in {file}", bytes as f64 / 1048576.0);
        }
        Found::Other => say!("  replaced {file}: it was not begun for this key, or by another version"),
        Found::Locked => say!(
            "  {file} is in use by another process, or cannot be locked: this run begins anew and cannot be resumed"
        ),
    }
    write(&key.generate(&Bar::default())?)?;
    Ok(key.finish()?)
}

/// What the contract's constructor takes for a circuit.
///
/// # Errors
/// If the key has another number of public inputs than the three of the protocol.
pub fn circuit_key(shape: Shape, key: &Key) -> eyre::Result<CircuitKey> {
    let vk = key.verifying_key();
    let Ok(ic) = vk.ic.clone().try_into() else {
        bail!(
            "the key has {} points for its public inputs, the protocol needs 4; make it again",
            vk.ic.len()
        );
    };
    Ok(CircuitKey {
        number: shape.number(),
        slots: u32::try_from(shape.slots())?,
        mint_places: u32::try_from(shape.mint_places())?,
        dev_key: !key.origin().is_safe(),
        digest: key.circuit(),
        key: VerifyingKey {
            alpha: vk.alpha_g1,
            beta: vk.beta_g2,
            gamma: vk.gamma_g2,
            delta: vk.delta_g2,
            ic,
        },
    })
}

pub fn run(command: Command) -> eyre::Result<()> {
    match command {
        Command::SetupDev { circuits, out } => {
            for shape in circuits {
                let file = key_path(&out, shape);
                if file.exists() {
                    bail!("{} exists already; remove it to make it again", file.display());
                }
                make_dev(&file, shape, &matrices(shape)?)?;
                say!("  ✓ {}", file.display());
            }
            Ok(())
        }
        Command::Info { file, json } => info(&file, json),
        Command::ImportZkey(options) => iden3::import_zkey(&options),
        Command::ImportPtau(options) => iden3::import_ptau(&options),
        Command::ExportR1cs(options) => iden3::export_r1cs(&options),
        Command::ExportZkey(options) => iden3::export_zkey(&options),
        Command::ExportVerifier { file, gnark } => {
            let key = open(&file, None)?;
            if let Some(out) = gnark {
                iden3::refuse_overlap(&[&out], &[&file])?;
                return Ok(prover::iden3::write(&out, &write_verifying_key(key.verifying_key()))?);
            }
            let words: Vec<String> = key.verifying_key().to_evm_words().iter().map(|w| hex(w)).collect();
            let out = json!({
                "origin": origin(key.origin()),
                "circuit_digest": hex(&key.circuit()),
                "order": "alpha (x, y), beta, gamma, delta (x.c1, x.c0, y.c1, y.c0 each), ic (x, y each)",
                "words": words,
            });
            say!("{out:#}");
            Ok(())
        }
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::UnsafeDev { seed } => format!("UNSAFE development key from the public seed '{seed}'"),
        Origin::UnsafeImported { transcript } => format!(
            "UNSAFE: imported, and nobody here verified its ceremony (transcript {})",
            hex(transcript)
        ),
    }
}

fn info(file: &Path, as_json: bool) -> eyre::Result<()> {
    let key = open(file, None)?;
    key.check_points()?;
    let digest = key.circuit();
    let mut name = None;
    for shape in Shape::ALL.into_iter().filter(|shape| shape.slots() <= 14) {
        if matrices(shape)?.digest() == digest {
            name = Some(shape.name());
        }
    }
    let vk_digest = hex(&key.verifying_key().digest());
    if as_json {
        let out = json!({
            "file": file.display().to_string(),
            "origin": origin(key.origin()),
            "safe": key.origin().is_safe(),
            "circuit": name,
            "circuit_digest": hex(&digest),
            "verifying_key_digest": vk_digest,
            "constraints": key.constraints(),
            "variables": key.variables(),
            "domain_log": key.domain_log(),
            "bytes": key.file_len(),
        });
        say!("{out:#}");
        return Ok(());
    }
    say!("{}", file.display());
    say!("  origin                {}", origin(key.origin()));
    say!("  circuit               {}", name.unwrap_or("none that this command recognises by its digest"));
    say!("  circuit digest        {}", hex(&digest));
    say!("  verifying key digest  {vk_digest}");
    say!("  constraints           {} (domain 2^{})", key.constraints(), key.domain_log());
    say!(
        "  size                  {:.1} MiB, all sections and points checked",
        key.file_len() as f64 / 1048576.0
    );
    Ok(())
}
