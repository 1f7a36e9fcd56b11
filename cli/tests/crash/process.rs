//! The processes of a farm, as an operator would start them, and what is between them and the services.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use testbed::process::{self, Signal};

use crate::{
    eventually,
    proxy::Proxy,
    world::{DEATH, PREFIX, Settings},
};

pub const BINARY: &str = env!("CARGO_BIN_EXE_proofmill");

/// A child process and what it writes.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn spawn(mut command: Command, log: PathBuf) -> Self {
        let file = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: process::spawn(command).unwrap(), log }
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(&self.child, signal).unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for it to die by SIGKILL, which in these tests nobody but itself sends then.
    pub async fn dies(&mut self, at: &str, patience: Duration) {
        use std::os::unix::process::ExitStatusExt;

        let mut status = None;
        let died = eventually(patience, async || {
            status = self.ended();
            status.is_some()
        });
        assert!(died.await, "{at} was never reached; {}", self.output());
        let signal = status.and_then(|status| status.signal());
        assert_eq!(signal, Some(9), "it ended by itself before {at}: {}", self.output());
    }

    /// Waits for it to end by itself.
    pub async fn ends(&mut self, why: &str) -> ExitStatus {
        let mut status = None;
        let ended = eventually(DEATH, async || {
            status = self.ended();
            status.is_some()
        });
        assert!(ended.await, "it goes on although {why}: {}", self.output());
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a process of the farm sits: it may come and go, its folder, its port and its lines stay.
pub struct Seat {
    pub name: String,
    /// Of its API; none for a worker.
    pub port: u16,
    pub to_postgres: Proxy,
    pub to_redis: Proxy,
    pub to_chain: Proxy,
    pub process: Option<Process>,
    /// What a worker calls itself.
    pub id: String,
    lives: u32,
}

impl Seat {
    pub async fn new(name: &str, settings: &Settings) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            name: name.to_owned(),
            port: listener.local_addr().unwrap().port(),
            to_postgres: Proxy::to(settings.postgres_port).await,
            to_redis: Proxy::to(settings.redis_port).await,
            to_chain: Proxy::to(settings.anvil_port).await,
            process: None,
            id: String::new(),
            lives: 0,
        }
    }

    pub fn is_up(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// The running process.
    pub fn running(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    fn start(&mut self, settings: &Settings, mut command: Command, failpoint: Option<&str>) {
        self.kill();
        self.lives += 1;
        command.env_remove("PROOFMILL_FAILPOINT").env("PROOFMILL_LOG", "warn,coordinator=info");
        command.envs(failpoint.map(|point| ("PROOFMILL_FAILPOINT", point)));
        let log = settings.folder.join(format!("{}-{}.log", self.name, self.lives));
        self.process = Some(Process::spawn(command, log));
    }

    pub fn start_coordinator(&mut self, settings: &Settings, failpoint: Option<&str>) {
        let mut command = Command::new(BINARY);
        command.args(["coordinator", "--no-local-worker", "--poll", "250"]);
        // Everybody asks from one address.
        command.args(["--read-budget", "10000", "--send-budget", "10000"]);
        command.args(["--confirmations", &settings.confirmations.to_string()]);
        command.arg("--data-dir").arg(settings.folder.join(&self.name));
        command.arg("--keys").arg(&settings.keys);
        command.args(["--rpc", &format!("http://127.0.0.1:{}", self.to_chain.port())]);
        command.args(["--contract", &settings.contract, "--first-block", &settings.first_block.to_string()]);
        command.args(["--port", &self.port.to_string()]);
        command.args(["--redis-url", &through(&settings.redis_url, settings.redis_port, &self.to_redis)]);
        command.args(["--redis-prefix", PREFIX]);
        let database = through(&settings.postgres_url, settings.postgres_port, &self.to_postgres);
        command.env("PROOFMILL_DATABASE_URL", database).env("PROOFMILL_OPERATOR_KEY", &settings.operator);
        self.start(settings, command, failpoint);
    }

    pub fn start_worker(&mut self, settings: &Settings, id: &str, failpoint: Option<&str>) {
        self.id = id.to_owned();
        let mut command = Command::new(BINARY);
        command.args(["worker", "--backend", "cpu", "--name", id]).arg("--keys").arg(&settings.keys);
        command.args(["--redis-prefix", PREFIX]);
        command.args(["--redis-url", &through(&settings.worker_url, settings.redis_port, &self.to_redis)]);
        self.start(settings, command, failpoint);
    }

    /// Whether the last life wrote this.
    pub fn said(&self, words: &str) -> bool {
        self.process.as_ref().is_some_and(|process| process.output().contains(words))
    }
}

fn through(url: &str, port: u16, proxy: &Proxy) -> String {
    url.replace(&format!(":{port}"), &format!(":{}", proxy.port()))
}

/// Development keys, made by the real command.
pub fn make_keys(folder: &Path) {
    let made = Command::new(BINARY).args(["keys", "setup-dev", "--out"]).arg(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
