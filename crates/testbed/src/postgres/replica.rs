//! A second server that follows the first by streaming replication, as an operator's standby does.

use std::{fs, os::unix::fs::chown, path::Path};

use super::{Place, Postgres, PostgresError, Server, sql};

impl Postgres {
    /// A replica of this server, taken now, that follows it asynchronously from then on. It answers reads and refuses
    /// writes until it is promoted.
    ///
    /// # Errors
    /// `NotOurs`, `Start`, `Io`.
    pub fn replica(&self) -> Result<Self, PostgresError> {
        let master = self.ours("copy")?;
        let folder = tempfile::Builder::new().prefix("pm-pg-").tempdir()?;
        if let Some((uid, gid)) = master.binaries.user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let mut server = Server {
            binaries: master.binaries.clone(),
            folder,
            settings: master.settings.clone(),
            port: 0,
            child: None,
        };
        let mut copy = server.binaries.command("pg_basebackup", server.folder.path());
        copy.args(["--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync"]);
        copy.arg("--pgdata").arg(server.data()).arg("--dbname").arg(master.url("postgres"));
        let output = copy.output()?;
        if !output.status.success() {
            return Err(PostgresError::Start(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        server.launch_on_a_free_port()?;
        Ok(Self { place: Place::Private(Box::new(server)) })
    }

    /// Makes a replica a master, and waits until it takes writes.
    ///
    /// # Errors
    /// `Sql`.
    pub fn promote(&self) -> Result<(), PostgresError> {
        sql::execute(&self.url(), "SELECT pg_promote(true, 60)")
    }

    /// A dump of a database of this server, as `pg_dump` makes it while others write.
    ///
    /// # Errors
    /// `NotOurs`, `Start` with what it said, `Io`.
    pub fn dump(&self, url: &str) -> Result<Vec<u8>, PostgresError> {
        let server = self.ours("dump")?;
        let output =
            server.binaries.command("pg_dump", server.folder.path()).arg("--dbname").arg(url).output()?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(PostgresError::Start(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// Loads a dump into an empty database.
    ///
    /// # Errors
    /// `NotOurs`, `Start` with what it said, `Io`.
    pub fn restore(&self, url: &str, dump: &[u8]) -> Result<(), PostgresError> {
        let server = self.ours("restore to")?;
        let file = server.folder.path().join("dump.sql");
        fs::write(&file, dump)?;
        let mut psql = server.binaries.command("psql", server.folder.path());
        psql.args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file"]).arg(&file).arg(url);
        let output = psql.output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(PostgresError::Start(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// Gives a folder to the user that the server runs as.
    ///
    /// # Errors
    /// `NotOurs`, `Io`.
    pub fn own(&self, folder: &Path) -> Result<(), PostgresError> {
        if let Some((uid, gid)) = self.ours("give a folder to")?.binaries.user {
            chown(folder, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// The port of the server on loopback.
    ///
    /// # Errors
    /// `NotOurs`.
    pub fn port(&self) -> Result<u16, PostgresError> {
        Ok(self.ours("connect to by TCP")?.port)
    }
}
