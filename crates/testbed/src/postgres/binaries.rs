//! Where PostgreSQL's programs are, and the user to run them as: the server refuses to run as root.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::PostgresError;

#[derive(Clone, Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
    /// Set when this process is root.
    pub user: Option<(u32, u32)>,
}

impl Binaries {
    pub fn find() -> Result<Self, PostgresError> {
        let user = match rustix::process::getuid().is_root() {
            true => Some(unprivileged()?),
            false => None,
        };
        Ok(Self { folder: folder()?, user })
    }

    /// A program, run in a folder that its user may enter, without the caller's settings for PostgreSQL clients.
    pub fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.current_dir(folder);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

fn folder() -> Result<PathBuf, PostgresError> {
    let complete = |folder: &Path| {
        ["postgres", "initdb", "pg_basebackup", "pg_dump"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    if let Some(named) = std::env::var_os("PROOFMILL_POSTGRES_BIN") {
        let named = PathBuf::from(named);
        return match complete(&named) {
            true => Ok(named),
            false => Err(PostgresError::Missing(format!("not in {}", named.display()))),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian and Homebrew keep the server's programs out of the path; the newest version comes last in order of names.
    let kept =
        ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"].into_iter().flat_map(|parent| {
            let mut folders: Vec<_> = fs::read_dir(parent)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path().join("bin"))
                .collect();
            folders.sort();
            folders.into_iter().rev()
        });
    let found = std::env::split_paths(&path).chain(kept).find(|folder| complete(folder));
    found.ok_or_else(|| PostgresError::Missing("not in the path, nor where packages put it".to_owned()))
}

fn unprivileged() -> Result<(u32, u32), PostgresError> {
    let users = fs::read_to_string("/etc/passwd")?;
    let id_of = |wanted: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == wanted).then_some(())?;
            let mut ids = fields.skip(1).map(|id| id.parse::<u32>().ok());
            Some((ids.next()??, ids.next()??))
        })
    };
    id_of("postgres").or_else(|| id_of("nobody")).ok_or(PostgresError::NoUser)
}
