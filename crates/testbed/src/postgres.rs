//! A private PostgreSQL.
//!
//! Invariant: the server listens on a unix socket in its own folder and on one loopback port, its one user has a password,
//! its data is durable as in production (`fsync` on, unless the settings say otherwise), and it ends with its [`Postgres`].
//!
//! `PROOFMILL_POSTGRES_BIN` names the folder of `postgres` and `initdb`. `PROOFMILL_TEST_DATABASE_URL` names a server to use
//! instead: each [`Postgres::start`] then makes a database of its own there; such a server cannot be killed or paused.
//!
//! | file | concept |
//! |---|---|
//! | `postgres` | the server and what can be done to it |
//! | `replica` | a second server that follows the first, and its promotion |
//! | `binaries` | where the programs are, and the user to run them as |
//! | `sql` | statements from a test |
//! | `tree` | signals to a server and all its processes |

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::keeper::{self, Signal};

mod binaries;
mod replica;
mod sql;
mod tree;

use binaries::Binaries;

const USER: &str = "proofmill";
const PASSWORD: &str = "only-for-tests";
/// A start includes recovery after a kill.
const START_PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Between choosing a free port and listening on it another process may take it.
const PORT_ATTEMPTS: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "PM-TESTBED-001: PostgreSQL is not installed ({0}); install it (Debian: `apt-get install postgresql`, macOS: `brew \
         install postgresql@16`), or name the folder of its programs in PROOFMILL_POSTGRES_BIN, or a server in \
         PROOFMILL_TEST_DATABASE_URL"
    )]
    Missing(String),
    #[error(
        "PM-TESTBED-002: PostgreSQL refuses to run as root and there is no user `postgres` or `nobody`; run as another user"
    )]
    NoUser,
    #[error("PM-TESTBED-003: PostgreSQL did not start; its log says: {0}")]
    Start(String),
    #[error(
        "PM-TESTBED-004: the server of PROOFMILL_TEST_DATABASE_URL is not ours to {0}; unset the variable for this test"
    )]
    NotOurs(&'static str),
    #[error("PM-TESTBED-005: the database refused a statement ({0})")]
    Sql(String),
    #[error("PM-TESTBED-006: {0}")]
    Io(#[from] io::Error),
}

/// How the private server is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Off only where durability is not what is tested.
    pub fsync: bool,
    /// Certificate and key of the server, PEM; without them it speaks no TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Further settings of the server: `name=value`.
    pub options: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fsync: true, tls: None, options: Vec::new() }
    }
}

/// A server, or a database on the server that the environment names.
#[derive(Debug)]
pub struct Postgres {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Private(Box<Server>),
    /// The first of the databases is the one of [`Postgres::url`].
    Given {
        server: String,
        databases: Mutex<Vec<String>>,
    },
}

#[derive(Debug)]
struct Server {
    binaries: Binaries,
    folder: TempDir,
    settings: Settings,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// A fresh database: on a private server, or on the one of `PROOFMILL_TEST_DATABASE_URL`.
    ///
    /// # Errors
    /// `Missing` where PostgreSQL is not installed, and what starting it can meet.
    pub fn start() -> Result<Self, PostgresError> {
        match std::env::var("PROOFMILL_TEST_DATABASE_URL") {
            Ok(server) if !server.is_empty() => {
                let postgres = Self { place: Place::Given { server, databases: Mutex::default() } };
                postgres.database()?;
                Ok(postgres)
            }
            _ => Self::start_private(Settings::default()),
        }
    }

    /// A private server in any case, for tests that kill, pause or configure it.
    ///
    /// # Errors
    /// `Missing` where PostgreSQL is not installed, and what starting it can meet.
    pub fn start_private(settings: Settings) -> Result<Self, PostgresError> {
        let binaries = Binaries::find()?;
        let folder = tempfile::Builder::new().prefix("pm-pg-").tempdir()?;
        if let Some((uid, gid)) = binaries.user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let mut server = Server { binaries, folder, settings, port: 0, child: None };
        server.init()?;
        server.launch_on_a_free_port()?;
        Ok(Self { place: Place::Private(Box::new(server)) })
    }

    /// URL of the database, over the unix socket where the server is private.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Private(server) => server.url("postgres"),
            Place::Given { server, databases } => {
                with_database(server, lock(databases).first().map_or("postgres", String::as_str))
            }
        }
    }

    /// URL of the database over TCP, with its parameters open: append `?sslmode=…` or nothing.
    ///
    /// # Errors
    /// `NotOurs`.
    pub fn tcp_url(&self) -> Result<String, PostgresError> {
        let port = self.ours("connect to by TCP")?.port;
        Ok(format!("postgresql://{USER}:{PASSWORD}@localhost:{port}/postgres"))
    }

    /// URL of one more fresh database on this server.
    ///
    /// # Errors
    /// `Sql` if the server refuses.
    pub fn database(&self) -> Result<String, PostgresError> {
        let name = fresh_name();
        let create = format!("CREATE DATABASE {name}");
        match &self.place {
            Place::Private(private) => {
                sql::execute(&self.url(), &create)?;
                Ok(private.url(&name))
            }
            Place::Given { server, databases } => {
                sql::execute(server, &create)?;
                let url = with_database(server, &name);
                lock(databases).push(name);
                Ok(url)
            }
        }
    }

    /// Runs statements.
    ///
    /// # Errors
    /// `Sql`.
    pub fn execute(&self, statements: &str) -> Result<(), PostgresError> {
        sql::execute(&self.url(), statements)
    }

    /// SIGKILL to the server and all its processes, as a power cut would.
    ///
    /// # Errors
    /// `NotOurs`, `Io`.
    pub fn kill(&mut self) -> Result<(), PostgresError> {
        self.ours_mut("kill")?.kill()
    }

    /// Ends the server in order (`fast`: connections are cut).
    ///
    /// # Errors
    /// `NotOurs`, `Io`.
    pub fn stop(&mut self) -> Result<(), PostgresError> {
        self.ours_mut("stop")?.stop()
    }

    /// Starts the server again, on the same port, after `kill` or `stop`; stops it before if it runs.
    ///
    /// # Errors
    /// `NotOurs`, `Start`, `Io`.
    pub fn restart(&mut self) -> Result<(), PostgresError> {
        let server = self.ours_mut("restart")?;
        server.stop()?;
        server.launch()
    }

    /// SIGSTOP to all processes of the server: it keeps its connections and answers nobody.
    ///
    /// # Errors
    /// `NotOurs`, `Io`.
    pub fn pause(&self) -> Result<(), PostgresError> {
        self.ours("pause")?.signal(Signal::STOP)
    }

    /// # Errors
    /// `NotOurs`, `Io`.
    pub fn resume(&self) -> Result<(), PostgresError> {
        self.ours("resume")?.signal(Signal::CONT)
    }

    /// The process of the server, for measurements; nothing while it is down or where it is not ours.
    pub fn pid(&self) -> Option<u32> {
        match &self.place {
            Place::Private(server) => server.child.as_ref().map(Child::id),
            Place::Given { .. } => None,
        }
    }

    fn ours(&self, what: &'static str) -> Result<&Server, PostgresError> {
        match &self.place {
            Place::Private(server) => Ok(server),
            Place::Given { .. } => Err(PostgresError::NotOurs(what)),
        }
    }

    fn ours_mut(&mut self, what: &'static str) -> Result<&mut Server, PostgresError> {
        match &mut self.place {
            Place::Private(server) => Ok(server),
            Place::Given { .. } => Err(PostgresError::NotOurs(what)),
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nothing can be done about what fails here; the folder is removed with the server.
        match &mut self.place {
            Place::Private(server) => drop(server.kill()),
            Place::Given { server, databases } => {
                for database in lock(databases).iter() {
                    drop(sql::execute(server, &format!("DROP DATABASE {database} WITH (FORCE)")));
                }
            }
        }
    }
}

impl Server {
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn url(&self, database: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgresql://{USER}:{PASSWORD}@{socket}:{}/{database}", self.port)
    }

    fn init(&self) -> Result<(), PostgresError> {
        let password = self.folder.path().join("password");
        fs::write(&password, PASSWORD)?;
        if let Some((uid, gid)) = self.binaries.user {
            chown(&password, Some(uid), Some(gid))?;
        }
        let mut initdb = self.binaries.command("initdb", self.folder.path());
        initdb.arg("--no-sync").args(["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        initdb.args(["--username", USER]).arg("--pwfile").arg(&password).arg("--pgdata").arg(self.data());
        let output = initdb.output()?;
        if !output.status.success() {
            return Err(PostgresError::Start(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        if let Some((certificate, key)) = &self.settings.tls {
            for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
                self.install(from, name)?;
            }
        }
        Ok(())
    }

    /// A file of the server's own: it refuses keys that others may read.
    fn install(&self, from: &Path, name: &str) -> Result<(), PostgresError> {
        use std::os::unix::fs::PermissionsExt;

        let to = self.data().join(name);
        fs::copy(from, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = self.binaries.user {
            chown(&to, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn launch_on_a_free_port(&mut self) -> Result<(), PostgresError> {
        let mut last = None;
        for _ in 0..PORT_ATTEMPTS {
            self.port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            match self.launch() {
                Err(error @ PostgresError::Start(_)) => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or(PostgresError::Start("no port".to_owned())))
    }

    /// Starts the server and waits until it takes connections.
    fn launch(&mut self) -> Result<(), PostgresError> {
        let mut postgres = self.command();
        let log = fs::File::options().create(true).append(true).open(self.log())?;
        postgres.stdout(log.try_clone()?).stderr(log).stdin(std::process::Stdio::null());
        // SIGINT is the server's fast shutdown.
        let mut child = keeper::spawn(postgres, Signal::INT)?;
        let began = Instant::now();
        loop {
            if self.says_ready(child.id()) {
                self.child = Some(child);
                return Ok(());
            }
            let ended = child.try_wait()?.is_some();
            if ended || began.elapsed() > START_PATIENCE {
                if !ended {
                    tree::kill_all(child.id())?;
                    child.wait()?;
                }
                return Err(PostgresError::Start(fs::read_to_string(self.log()).unwrap_or_default()));
            }
            std::thread::sleep(POLL);
        }
    }

    fn command(&self) -> Command {
        let mut postgres = self.binaries.command("postgres", self.folder.path());
        postgres.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path()).args(["-h", "127.0.0.1"]);
        postgres.args(["-p", &self.port.to_string()]);
        let mut set = |setting: &str| {
            postgres.args(["-c", setting]);
        };
        set(if self.settings.fsync { "fsync=on" } else { "fsync=off" });
        // After a kill the whole data folder is synced before recovery; file by file that takes seconds.
        if cfg!(target_os = "linux") && self.settings.fsync {
            set("recovery_init_sync_method=syncfs");
        }
        if self.settings.tls.is_some() {
            set("ssl=on");
        }
        self.settings.options.iter().for_each(|option| set(option));
        postgres
    }

    /// The last line of `postmaster.pid` is the server's state; a file of an earlier process has another first line.
    fn says_ready(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else { return false };
        let mut lines = text.lines();
        let own = lines.next().is_some_and(|line| line.trim() == pid.to_string());
        own && lines.next_back().is_some_and(|line| ["ready", "standby"].contains(&line.trim()))
    }

    fn signal(&self, signal: Signal) -> Result<(), PostgresError> {
        match &self.child {
            Some(child) => Ok(tree::signal_all(child.id(), signal)?),
            None => Ok(()),
        }
    }

    fn kill(&mut self) -> Result<(), PostgresError> {
        if let Some(mut child) = self.child.take() {
            tree::kill_all(child.id())?;
            child.wait()?;
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), PostgresError> {
        if let Some(mut child) = self.child.take() {
            tree::signal(child.id(), Signal::INT)?;
            child.wait()?;
        }
        Ok(())
    }
}

fn lock(databases: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    databases.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("pm_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The URL of a server with another database.
fn with_database(url: &str, database: &str) -> String {
    let (base, parameters) = url.split_once('?').map_or((url, None), |(base, rest)| (base, Some(rest)));
    let host_at = base.find("://").map_or(0, |at| at + 3);
    let base = base[host_at..].find('/').map_or(base, |slash| &base[..host_at + slash]);
    let parameters = parameters.map_or_else(String::new, |rest| format!("?{rest}"));
    format!("{base}/{database}{parameters}")
}

#[cfg(test)]
mod tests;
