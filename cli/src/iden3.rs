//! `prove` and the commands of `keys` that read and write files of circom, snarkjs and rapidsnark.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bn254::ntt::Generator;
use circuits::shape::Shape;
use clap::Args;
use eyre::{Context, bail};
use gpu_worker::matrices;
use prover::files;
use prover::iden3::phase_two::initial_key;
use prover::iden3::zkey::{Checks, Zkey};
use prover::iden3::{self, json, ptau, r1cs, wtns, zkey};
use prover::{Cancel, CpuBackend, Key, Matrices, Progress, Prover, gnark};

use crate::keys::generate_dev;
use crate::ui::{Bar, hex};

/// The files that `prove --gnark` writes, in their order.
const GNARK_FILES: [&str; 3] = ["vk.bin", "proof.bin", "public.bin"];
/// Bytes of a `.wtns` beside its values: the header and the table of sections, with room for sections that nobody reads.
const MOST_BESIDE_VALUES: u64 = 4096;
/// Bytes of a key, circuit or ceremony that are taken through a pipe.
const MOST_PIPED: u64 = 1 << 33;

/// Two ways to name the same four files.
#[derive(Args)]
pub struct Options {
    /// KEY.zkey WITNESS.wtns PROOF.json PUBLIC.json, as rapidsnark takes them
    #[arg(num_args = 4, conflicts_with_all = ["zkey", "wtns", "proof", "public"], required_unless_present_all = ["zkey", "wtns"])]
    files: Vec<PathBuf>,
    /// The proving key
    #[arg(long)]
    zkey: Option<PathBuf>,
    /// The witness; `-` takes it from standard input
    #[arg(long)]
    wtns: Option<PathBuf>,
    /// Where the proof goes
    #[arg(long, default_value = "proof.json")]
    proof: PathBuf,
    /// Where the public inputs go
    #[arg(long, default_value = "public.json")]
    public: PathBuf,
    /// A folder that also gets vk.bin, proof.bin and public.bin, for gnark
    #[arg(long)]
    gnark: Option<PathBuf>,
    /// Say on standard error how long the parts took
    #[arg(long)]
    timings: bool,
}

#[derive(Args)]
pub struct ImportZkey {
    /// The key, after the last contribution to its ceremony; whoever made it may be able to forge proofs, so it is UNSAFE
    zkey: PathBuf,
    /// The circuit of this program that it is for
    #[arg(long, conflicts_with = "r1cs", required_unless_present = "r1cs")]
    circuit: Option<Shape>,
    /// Any other circuit that it is for
    #[arg(long)]
    r1cs: Option<PathBuf>,
    /// Where the key file goes
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
pub struct ImportPtau {
    /// The powers of tau, prepared for phase 2
    ptau: PathBuf,
    /// The circuit of this program that the key is for
    #[arg(long, conflicts_with = "r1cs", required_unless_present = "r1cs")]
    circuit: Option<Shape>,
    /// Any other circuit
    #[arg(long)]
    r1cs: Option<PathBuf>,
    /// Where the first .zkey of the circuit goes
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
pub struct ExportR1cs {
    /// s3m1, s14m2, s4m60, s60m4, s252m4 or s1020m4
    circuit: Shape,
    /// Where the file goes
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
pub struct ExportZkey {
    /// s3m1, s14m2, s4m60, s60m4, s252m4 or s1020m4
    circuit: Shape,
    /// Where the file goes
    #[arg(long)]
    out: PathBuf,
}

/// Proves, verifies and writes `proof.json` and `public.json`.
pub fn prove(options: &Options) -> eyre::Result<()> {
    let start = Instant::now();
    let (key_file, witness_file, proof_file, public_file) =
        match (&*options.files, &options.zkey, &options.wtns) {
            ([key, witness, proof, public], ..) => (key, witness, proof, public),
            (_, Some(key), Some(witness)) => (key, witness, &options.proof, &options.public),
            _ => bail!("name a key and a witness: --zkey KEY.zkey --wtns WITNESS.wtns"),
        };
    let for_gnark = options.gnark.as_ref().map(|folder| GNARK_FILES.map(|name| folder.join(name)));
    let mut outputs = vec![proof_file.as_path(), public_file.as_path()];
    outputs.extend(for_gnark.iter().flatten().map(PathBuf::as_path));
    refuse_overlap(&outputs, &[key_file, witness_file])?;
    if let Some(folder) = &options.gnark {
        std::fs::create_dir_all(folder)
            .wrap_err_with(|| format!("cannot make the folder {}", folder.display()))?;
    }
    // What cannot be written shows before the work.
    let begun = outputs.iter().map(|file| iden3::begin(file)).collect::<Result<Vec<_>, _>>()?;
    let Zkey { matrices, parts, .. } = read_zkey(key_file, Checks::Curve)?;
    let limit = 32 * matrices.variables() as u64 + MOST_BESIDE_VALUES;
    let witness = iden3::open(witness_file, limit)?;
    let witness = wtns::read(&witness, matrices.inputs())
        .wrap_err_with(|| format!("witness {}", witness_file.display()))?;
    let key = Arc::new(Key::from_parts(&parts)?);
    drop(parts);
    let verifying_key = key.verifying_key().clone();
    let prover = Prover::new(Arc::new(CpuBackend::new()), key, Arc::new(matrices))?;
    let loaded = start.elapsed();
    let proven = watched(|cancel| prover.prove(&witness, cancel))
        .wrap_err("the witness does not satisfy the circuit of this key, or belongs to another circuit")?;
    let public = json::write_public(witness.public_inputs());
    let contents = [
        format!("{:#}\n", json::write_proof(&proven.proof)).into_bytes(),
        format!("{public:#}\n").into_bytes(),
        gnark::write_verifying_key(&verifying_key),
        gnark::write_proof(&proven.proof),
        gnark::write_public_inputs(witness.public_inputs()),
    ];
    for ((output, file), bytes) in begun.into_iter().zip(outputs).zip(contents) {
        iden3::finish(output, file, &bytes)?;
    }
    if options.timings {
        let (loaded, all) = (loaded.as_secs_f64(), start.elapsed().as_secs_f64());
        say_error!("files {loaded:.3} s, {:?}, all {all:.3} s", proven.timings);
    }
    Ok(())
}

/// Refuses to write over what is read, and two files into one, before anything is computed.
pub fn refuse_overlap(outputs: &[&Path], inputs: &[&Path]) -> eyre::Result<()> {
    for (place, output) in outputs.iter().enumerate() {
        let mut others = inputs.iter().chain(&outputs[..place]);
        if let Some(other) = others.find(|other| files::is_same(output, other)) {
            bail!(
                "{} and {} are one file: what is written to it would destroy the other; name another file",
                other.display(),
                output.display()
            );
        }
    }
    Ok(())
}

fn read_zkey(file: &Path, checks: Checks) -> eyre::Result<Zkey> {
    zkey::read(&iden3::open(file, MOST_PIPED)?, checks).wrap_err_with(|| format!("key {}", file.display()))
}

pub fn import_zkey(options: &ImportZkey) -> eyre::Result<()> {
    let matrices = circuit(options.circuit, options.r1cs.as_deref())?;
    refuse_existing(&options.out)?;
    let key = read_zkey(&options.zkey, Checks::Group)?;
    let contributions = key.contributions;
    let parts = key.for_circuit(&matrices).wrap_err_with(|| format!("key {}", options.zkey.display()))?;
    parts.write(&options.out).wrap_err_with(|| format!("cannot write {}", options.out.display()))?;
    say!("  circuit        {}", hex(&matrices.digest()));
    say!("  contributions  {contributions}");
    say!(
        "  UNSAFE: this program cannot verify the ceremony, so contracts take the key on development chains only"
    );
    if contributions > 0 {
        say!(
            "  for your own programs, check it with `snarkjs zkey verify` before you trust proofs of this key"
        );
    }
    say!("  ✓ {}", options.out.display());
    Ok(())
}

/// A circuit of ours, or that of a file.
fn circuit(shape: Option<Shape>, file: Option<&Path>) -> eyre::Result<Matrices> {
    match (shape, file) {
        (Some(shape), _) => Ok(matrices(shape)?),
        (None, Some(file)) => r1cs::read(&iden3::open(file, MOST_PIPED)?)
            .wrap_err_with(|| format!("circuit {}", file.display())),
        (None, None) => bail!("say which circuit the key is for: --circuit s3m1, or --r1cs FILE.r1cs"),
    }
}

fn refuse_existing(file: &Path) -> eyre::Result<()> {
    if file.exists() {
        bail!("{} exists already; remove it to make it again", file.display());
    }
    Ok(())
}

/// Begins the ceremony of a circuit.
pub fn import_ptau(options: &ImportPtau) -> eyre::Result<()> {
    let matrices = circuit(options.circuit, options.r1cs.as_deref())?;
    refuse_existing(&options.out)?;
    let file = iden3::open(&options.ptau, MOST_PIPED)?;
    let named = || format!("powers of tau {}", options.ptau.display());
    let ptau = ptau::read(&file).wrap_err_with(named)?;
    let key = initial_key(&ptau, &matrices, &Bar::default()).wrap_err_with(named)?;
    iden3::write(&options.out, &key)?;
    say!("  circuit        {}", hex(&matrices.digest()));
    say!("  phase 1        2^{} powers of tau, {} contributions", ptau.power(), ptau.contributions());
    if ptau.contributions() == 0 {
        say!("  UNSAFE: nobody contributed to these powers of tau, so whoever made them can forge proofs");
    }
    if let Some(file) = &options.r1cs
        && !r1cs::is_in_order(&iden3::open(file, MOST_PIPED)?, &matrices)?
    {
        say!(
            "  the terms of the .r1cs are not in circom's order: `snarkjs zkey verify` will not know this key"
        );
    }
    let out = options.out.display();
    say!(
        "  ✓ {out}; nobody contributed to it yet: anybody can forge proofs. Next, on as many machines as you like:"
    );
    say!("      snarkjs zkey contribute {out} NEXT.zkey");
    say!("    then check and import the last one:");
    say!("      snarkjs zkey verify CIRCUIT.r1cs {} LAST.zkey", options.ptau.display());
    say!("      proofmill keys import-zkey LAST.zkey …");
    Ok(())
}

pub fn export_r1cs(options: &ExportR1cs) -> eyre::Result<()> {
    iden3::write(&options.out, &r1cs::write(&matrices(options.circuit)?)?)?;
    say!("  ✓ {}", options.out.display());
    Ok(())
}

pub fn export_zkey(options: &ExportZkey) -> eyre::Result<()> {
    let matrices: Matrices = matrices(options.circuit)?;
    generate_dev(&options.out, Generator::Five, &matrices, |parts| {
        Ok(iden3::write(&options.out, &zkey::write(&Key::from_parts(parts)?, &matrices)?)?)
    })?;
    say!("  ✓ {} (UNSAFE: from a public seed)", options.out.display());
    Ok(())
}

/// Shows how far a proof is, where the output is a terminal.
fn watched<T: Send>(prove: impl FnOnce(&Cancel) -> T + Send) -> T {
    const STEPS: f64 = 1000.0;
    const LOOK: Duration = Duration::from_millis(100);
    let (cancel, bar) = (Cancel::new(), Bar::default());
    bar.begin("sums", STEPS as u64);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let proof = scope.spawn(|| {
            // Who watches is there until this thread ends.
            let _ = sender.send(prove(&cancel));
        });
        let mut shown = 0;
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(proven) => return proven,
                Err(_) if proof.is_finished() => {
                    std::panic::resume_unwind(Box::new("the proving thread ended"))
                }
                Err(_) => {
                    let done = (STEPS * cancel.progress()) as u64;
                    bar.advance(done - shown);
                    shown = done;
                }
            }
        }
    })
}
