//! npm's anvil, a node for development.
//!
//! `PROOFMILL_ANVIL` names the program. It forgets the states of old blocks: after some 800 of them a reorganisation empties
//! the chain, so a test with reorganisations starts afresh now and then.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::process;

/// Names the program.
pub const BINARY_VARIABLE: &str = "PROOFMILL_ANVIL";
const START: Duration = Duration::from_secs(60);
/// Between choosing a free port and listening on it another process may take it.
const PORT_ATTEMPTS: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub enum AnvilError {
    #[error(
        "PM-TEST-020: anvil is not at {0}; run `npm ci --prefix contracts` or name the program in {BINARY_VARIABLE}"
    )]
    Missing(PathBuf),
    #[error("PM-TEST-021: anvil did not listen on any of {PORT_ATTEMPTS} ports")]
    Silent,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A running node; killed when dropped.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    port: u16,
}

impl Anvil {
    /// A chain of its own with a block every `block_time`.
    ///
    /// # Errors
    /// `AnvilError`.
    pub fn start(block_time: Duration) -> Result<Self, AnvilError> {
        Self::start_with(&["--block-time", &block_time.as_secs_f64().to_string()])
    }

    /// A chain of its own, under the rules of the Osaka hardfork, with a block for every transaction.
    ///
    /// # Errors
    /// `AnvilError`.
    pub fn start_automining(chain_id: u64) -> Result<Self, AnvilError> {
        Self::start_with(&["--chain-id", &chain_id.to_string(), "--hardfork", "osaka"])
    }

    fn start_with(arguments: &[&str]) -> Result<Self, AnvilError> {
        let program = program();
        if !program.is_file() {
            return Err(AnvilError::Missing(program));
        }
        for _ in 0..PORT_ATTEMPTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let mut command = Command::new(&program);
            command.args(["--port", &port.to_string(), "--silent"]);
            command.args(arguments);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut anvil = Self { child: process::spawn(command)?, port };
            if anvil.listens()? {
                return Ok(anvil);
            }
        }
        Err(AnvilError::Silent)
    }

    fn listens(&mut self) -> io::Result<bool> {
        let began = Instant::now();
        while began.elapsed() < START {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(false)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // One that has ended already is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    if let Some(named) = std::env::var_os(BINARY_VARIABLE) {
        return named.into();
    }
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/node_modules/@foundry-rs");
    packages.join(format!("anvil-{system}-{machine}/bin/anvil"))
}
