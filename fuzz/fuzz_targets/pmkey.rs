//! Our key file. Its checksums are made right first, of the sections that lie in it and of the header: whoever forges a key does so too.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use prover::Key;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("proofmill-fuzz-{}.pmkey", std::process::id())));

fn mend_checksums(bytes: &mut [u8]) {
    let number = |bytes: &[u8], at: usize| {
        let word = bytes[at..at + 8].try_into().expect("eight bytes");
        usize::try_from(u64::from_le_bytes(word)).unwrap_or(usize::MAX)
    };
    for at in (384..768).step_by(48) {
        let (start, len) = (number(bytes, at), number(bytes, at + 8));
        let contents = start.checked_add(len).and_then(|end| bytes.get(start..end));
        if let Some(sum) = contents.map(blake3::hash) {
            bytes[at + 16..at + 48].copy_from_slice(sum.as_bytes());
        }
    }
    let sum = blake3::hash(&bytes[..992]);
    bytes[992..1024].copy_from_slice(sum.as_bytes());
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 1024 {
        mend_checksums(&mut bytes);
    }
    fs::write(&*FILE, &bytes).expect("the folder for temporary files can be written to");
    if let Ok(key) = Key::open(&FILE, None) {
        assert!(!key.origin().is_safe());
        let _ = key.check_points();
    }
});
