//! The token of the operators: who can read its file may give orders.
//!
//! Invariant: a token is 32 random bytes in a file that only its owner can read, whole or not there; how long a comparison
//! takes says nothing about the token.

use std::{
    fs,
    hint::black_box,
    io::{self, Write},
    path::{Path, PathBuf},
};

use rand_core::{OsRng, RngCore};
use sha2::{Digest, Sha256};

/// The shortest token that is taken from a file, in characters.
const MIN_LENGTH: usize = 32;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("PM-ADM-001: cannot read or make {path}: {source}; let the coordinator's user own its folder")]
    File { path: PathBuf, source: io::Error },
    #[error("PM-ADM-002: others than its owner may read {path}; run `chmod 600` on it and replace the token")]
    Readable { path: PathBuf },
    #[error(
        "PM-ADM-003: {path} holds less than {MIN_LENGTH} characters; delete it, and a start makes a new one"
    )]
    Short { path: PathBuf },
}

/// What an operator must show. Only its hash is kept, and nothing of it is printed.
pub struct AdminToken {
    hash: [u8; 32],
}

impl AdminToken {
    /// Reads the token of a file, which is made if it is not there.
    ///
    /// # Errors
    /// `TokenError` when the file can be neither read nor made, when others may read it, or when it is too short.
    pub fn at(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::File { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(failed)?,
            read => read.map_err(failed)?,
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
                return Err(TokenError::Readable { path: path.to_owned() });
            }
        }
        let token = text.trim();
        if token.len() < MIN_LENGTH {
            return Err(TokenError::Short { path: path.to_owned() });
        }
        Ok(Self { hash: hash(token) })
    }

    /// Whether the value of an `Authorization` header shows the token.
    pub fn admits(&self, authorization: Option<&str>) -> bool {
        let Some((scheme, shown)) = authorization.and_then(|value| value.split_once(' ')) else {
            return false;
        };
        let shown = hash(shown.trim());
        let differing =
            self.hash.iter().zip(shown).fold(0, |bits, (own, shown)| black_box(bits | (own ^ shown)));
        scheme.eq_ignore_ascii_case("Bearer") && differing == 0
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Makes the file under another name first, so that a crash leaves no half of a token.
fn make(path: &Path) -> io::Result<String> {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    let token = hex::encode(bytes);
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_and_only_it_is_admitted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin-token");
        let token = AdminToken::at(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.trim();
        assert!(token.admits(Some(&format!("Bearer {text}"))));
        assert!(AdminToken::at(&path).unwrap().admits(Some(&format!("bearer {text}"))));
        let wrong =
            [format!("Basic {text}"), format!("Bearer {text}0"), text.to_owned(), "Bearer ".to_owned()];
        for wrong in wrong {
            assert!(!token.admits(Some(&wrong)), "{wrong}");
        }
        assert!(!token.admits(None));
    }

    #[test]
    fn a_short_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin-token");
        AdminToken::at(&path).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(matches!(AdminToken::at(&path), Err(TokenError::Short { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_token_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin-token");
        AdminToken::at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(AdminToken::at(&path), Err(TokenError::Readable { .. })));
    }
}
