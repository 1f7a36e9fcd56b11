//! A prover in another process, which reads commands on its standard input: see `benches/peers/gnark/main.go`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use eyre::{Context, OptionExt, bail};

use crate::files::FOLDER;
use crate::peers::{CONSTANTINE, RAPIDSNARK};
use crate::size::Size;

/// How a prover says that it is for other works, or for smaller sizes.
pub const DOES_NOT: &str = "does no ";

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub ms: f64,
    pub cpu_ms: f64,
    /// Where it is known.
    pub peak_mib: Option<u64>,
}

pub struct Peer {
    name: String,
    version: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Everybody, in the order of the table.
const NAMES: [&str; 10] = [
    "proofmill",
    "proofmill-no-ifma",
    "proofmill-avx2",
    "proofmill-portable",
    "halo2curves",
    "bellman",
    "arkworks",
    "rapidsnark",
    "constantine",
    GNARK,
];
/// The only one that is not this program under another name.
const GNARK: &str = "gnark";
const GNARK_PEER: &str = "PROOFMILL_GNARK_PEER";

impl Peer {
    /// Starts those that are wanted (all, if none is named), and says of the others why they are missing. They share `folder`.
    ///
    /// # Errors
    /// If a process does not start or does not answer.
    pub fn start_all(
        wanted: &[String],
        threads: usize,
        folder: &Path,
    ) -> eyre::Result<(Vec<Self>, Vec<String>)> {
        if let Some(unknown) = wanted.iter().find(|wanted| !NAMES.contains(&wanted.as_str())) {
            bail!("there is no prover {unknown}; names are {}", NAMES.join(", "));
        }
        let program = std::env::current_exe()?;
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        for name in NAMES {
            if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
                continue;
            }
            match command(name, &program, threads) {
                Ok(mut command) => peers.push(Self::start(name, command.env(FOLDER, folder))?),
                Err(reason) => missing.push(format!("{name}: {reason}")),
            }
        }
        if peers.is_empty() {
            bail!("nobody to measure: {}", missing.join("; "));
        }
        Ok((peers, missing))
    }

    fn start(name: &str, command: &mut Command) -> eyre::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .wrap_err_with(|| format!("cannot start {name}"))?;
        let input = child.stdin.take().ok_or_eyre("a pipe to the child")?;
        let output = BufReader::new(child.stdout.take().ok_or_eyre("a pipe from the child")?);
        let mut peer = Self { name: name.to_owned(), version: String::new(), child, input, output };
        peer.version = peer.ask("version").map_err(|reason| eyre::eyre!("{name}: {reason}"))?;
        Ok(peer)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes the input of a work; why not, if this prover does not do it.
    pub fn prepare(&mut self, work: &str, size: Size) -> Result<(), String> {
        if self.name == GNARK && matches!(size, Size::Circuit(_)) {
            return Err(format!("{DOES_NOT}{work}: its circuits are written in Go"));
        }
        self.ask(&format!("prepare {work} {}", size.name())).map(drop)
    }

    /// Does the work that was prepared once.
    pub fn run(&mut self) -> Result<Run, String> {
        let answer = self.ask("run")?;
        let mut fields = answer.split(' ');
        let mut next = || fields.next().and_then(|field| field.parse::<f64>().ok());
        match (next(), next(), next()) {
            (Some(ms), Some(cpu_ms), peak) => Ok(Run { ms, cpu_ms, peak_mib: peak.map(|peak| peak as u64) }),
            _ => Err(format!("answered {answer:?}")),
        }
    }

    /// Starts anew: peak memory is of one work only.
    ///
    /// # Errors
    /// If the process cannot be asked.
    pub fn forget(&mut self) -> eyre::Result<()> {
        self.ask("forget").map(drop).map_err(|reason| eyre::eyre!("{}: {reason}", self.name))
    }

    fn ask(&mut self, command: &str) -> Result<String, String> {
        let mut answer = String::new();
        let asked = writeln!(self.input, "{command}").and_then(|()| self.input.flush());
        asked.and_then(|()| self.output.read_line(&mut answer)).map_err(|error| error.to_string())?;
        match answer.trim() {
            "" => Err("the process ended".to_owned()),
            answer => match answer.strip_prefix("error ") {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(answer.to_owned()),
            },
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It would end with its input; but perhaps it is busy.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What starts a prover; why it cannot be, if what it needs is missing.
fn command(name: &str, program: &Path, threads: usize) -> Result<Command, String> {
    let threads = threads.to_string();
    if name == GNARK {
        let peer = find(GNARK_PEER, "gnark-peer").ok_or_else(|| {
            format!("build benches/peers/gnark with Go and name the binary in {GNARK_PEER}")
        })?;
        let mut command = Command::new(peer);
        command.env("GOMAXPROCS", threads);
        return Ok(command);
    }
    let mut command = Command::new(program);
    command.args(["--serve", name]).env("RAYON_NUM_THREADS", &threads);
    match name {
        "proofmill-no-ifma" => {
            command.env("PROOFMILL_NO_IFMA", "1");
        }
        "proofmill-avx2" => {
            command.env("PROOFMILL_ENGINE", "avx2");
        }
        "proofmill-portable" => {
            command.env("PROOFMILL_ENGINE", "portable");
        }
        "rapidsnark" => {
            let found = find(RAPIDSNARK, "rapidsnark")
                .ok_or_else(|| format!("not in PATH, and {RAPIDSNARK} is not set"))?;
            command.env(RAPIDSNARK, found).env("OMP_NUM_THREADS", &threads);
        }
        "constantine" if std::env::var_os(CONSTANTINE).is_none() => {
            return Err(format!("{CONSTANTINE} is not set; build its shared library and name it there"));
        }
        _ => {}
    }
    Ok(command)
}

/// A program by an environment variable, or by its name in PATH.
fn find(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}
