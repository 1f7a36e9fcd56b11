//! The log of a dev chain. Its checksums are made right first, and the hashes of heads as the chain is started with it: whoever forges
//! a log does so too.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use devchain::{Config, Error, node::Node};
use libfuzzer_sys::fuzz_target;
use sha3::{Digest, Keccak256};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("proofmill-fuzz-{}.chain", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder for temporary files can be written to");
    folder
});

/// The first bytes of a log, and what stands before an entry.
const MAGIC: usize = 16;
const HEADER: usize = 20;
/// Hashes of heads that are made right in one input.
const MOST_HEADS: usize = 12;

/// Numbers the entries and makes their checksums right. Lengths stay as they are, as far as the file goes.
fn mend(bytes: &mut [u8]) {
    let (mut at, mut number) = (MAGIC, 0u64);
    while let Some(header) = bytes.get_mut(at..at + HEADER) {
        header[4..12].copy_from_slice(&number.to_le_bytes());
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let sum = Keccak256::digest(&header[..12]);
        header[12..16].copy_from_slice(&sum[..4]);
        let Some(payload) = bytes.get(at + HEADER..).and_then(|rest| rest.get(..length)) else { return };
        let sum = Keccak256::new().chain_update(&bytes[at..at + 12]).chain_update(payload).finalize();
        bytes[at + 16..at + HEADER].copy_from_slice(&sum[..4]);
        (at, number) = (at + HEADER + length, number + 1);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let accounts = Config::default().accounts[..2].to_vec();
    let config = Config { data_dir: Some(FOLDER.clone()), accounts, ..Config::default() };
    let mut bytes = bytes.to_vec();
    mend(&mut bytes);
    for _ in 0..MOST_HEADS {
        fs::write(FOLDER.join("chain.log"), &bytes).expect("the folder for temporary files can be written to");
        let Err(Error::Diverged { recorded, found, .. }) = Node::open(&config) else { return };
        let Some(at) = bytes.windows(32).position(|window| window == recorded.as_slice()) else { return };
        bytes[at..at + 32].copy_from_slice(found.as_slice());
        mend(&mut bytes);
    }
});
