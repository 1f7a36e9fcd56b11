//! TOML files that people write: bounded before they are parsed.

use std::{fs::File, io::Read, path::Path};

use eyre::{WrapErr, ensure};
use serde::de::DeserializeOwned;

/// Far more than any file of ours has.
const MOST_BYTES: usize = 64 << 10;
/// Brackets and braces open at once. Ours nest two deep; those in texts and comments count too.
const MOST_DEEP: usize = 16;

/// # Errors
/// If it cannot be read, is too long or nested too deep, is not TOML, or does not fit `T`.
pub fn read<T: DeserializeOwned>(path: &Path) -> eyre::Result<T> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there are more.
    let mut file = File::open(path).wrap_err_with(cannot)?.take(MOST_BYTES as u64 + 1);
    file.read_to_end(&mut bytes).wrap_err_with(cannot)?;
    ensure!(bytes.len() <= MOST_BYTES, "{} is longer than {MOST_BYTES} bytes", path.display());
    parse(&bytes).wrap_err_with(cannot)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> eyre::Result<T> {
    let mut depth = 0usize;
    for byte in bytes {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        ensure!(depth <= MOST_DEEP, "it is nested deeper than {MOST_DEEP} brackets");
    }
    let text = std::str::from_utf8(bytes).wrap_err("it is not UTF-8")?;
    Ok(toml::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_refused_before_it_is_parsed() {
        for open in ["[", "{", "x = [", "x={a=", "\"", "a."] {
            for count in [17, 1_000, 20_000] {
                let text = format!("x = {}", open.repeat(count));
                if text.len() <= MOST_BYTES {
                    assert!(parse::<toml::Value>(text.as_bytes()).is_err(), "{open} {count} times");
                }
            }
        }
        assert!(parse::<toml::Value>(b"x = [[1], [2, [3]]]").is_ok());
        assert!(parse::<toml::Value>(&[b'x', b'=', 0xff]).is_err());
        // Keys nest without a bracket.
        let keys = format!("{}b = 1", "a.".repeat(20_000));
        let _ = parse::<toml::Value>(keys.as_bytes());
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long.toml");
        std::fs::write(&path, vec![b'#'; MOST_BYTES + 1]).unwrap();
        assert!(format!("{:#}", read::<toml::Value>(&path).unwrap_err()).contains("longer than"));
        assert!(format!("{:#}", read::<toml::Value>(folder.path()).unwrap_err()).contains("cannot read"));
    }
}
