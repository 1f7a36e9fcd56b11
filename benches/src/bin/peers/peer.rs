//! A prover in another process, which reads commands on its standard input: see `benches/peers/gnark/main.go`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use eyre::{Context, OptionExt, bail};

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

/// Ourselves under several names: what the child is asked to be.
const OWN: [&str; 6] =
    ["proofmill", "proofmill-portable", "halo2curves", "bellman", "arkworks", "rapidsnark"];
const GNARK: &str = "gnark";

impl Peer {
    /// Starts those that are wanted (all, if none is named), and says of the others why they are missing.
    ///
    /// # Errors
    /// If a process does not start or does not answer.
    pub fn start_all(wanted: &[String], threads: usize) -> eyre::Result<(Vec<Self>, Vec<String>)> {
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
        let mut peers = Vec::new();
        let mut missing = Vec::new();
        for name in OWN.into_iter().filter(|name| is_wanted(name)) {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--serve", name]).env("RAYON_NUM_THREADS", threads.to_string());
            if name == "proofmill-portable" {
                command.env("PROOFMILL_NO_IFMA", "1");
            }
            if name == "rapidsnark" {
                let Some(program) = find("PROOFMILL_RAPIDSNARK", "rapidsnark") else {
                    missing.push("rapidsnark: not in PATH, and PROOFMILL_RAPIDSNARK is not set".to_owned());
                    continue;
                };
                command.env("PROOFMILL_RAPIDSNARK", program).env("OMP_NUM_THREADS", threads.to_string());
            }
            peers.push(Self::start(name, command)?);
        }
        if is_wanted(GNARK) {
            match find("PROOFMILL_GNARK_PEER", "gnark-peer") {
                Some(program) => {
                    let mut command = Command::new(program);
                    command.env("GOMAXPROCS", threads.to_string());
                    peers.push(Self::start(GNARK, command)?);
                }
                None => missing.push(
                    "gnark: build benches/peers/gnark with Go and name the binary in PROOFMILL_GNARK_PEER"
                        .to_owned(),
                ),
            }
        }
        missing.push("Constantine: this program does not know how to run it yet".to_owned());
        if peers.is_empty() {
            bail!("nobody to measure; names are {}, {GNARK}", OWN.join(", "));
        }
        Ok((peers, missing))
    }

    fn start(name: &str, mut command: Command) -> eyre::Result<Self> {
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
    pub fn prepare(&mut self, work: &str, size: u32) -> Result<(), String> {
        self.ask(&format!("prepare {work} {size}")).map(drop)
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

/// A program by an environment variable, or by its name in PATH.
fn find(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}
