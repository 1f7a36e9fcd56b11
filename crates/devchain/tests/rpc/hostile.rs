//! Logs that lie. A good one is bent ([`testbed::bend`]), its checksums and hashes are made right again as a forger would, and
//! the chain is started with it: it is refused, or it is a chain that goes on.

use std::fs;
use std::path::Path;

use devchain::{Config, Error, node::Node};
use revm::primitives::{Address, Bytes, U256, keccak256};
use testbed::bend::{Dice, Noting, Suite};

use crate::common::*;
use crate::contract::{self, with_word};
use crate::ethereum::wallet_address;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// The first bytes of a log, and what stands before an entry.
const MAGIC: usize = 16;
const HEADER: usize = 20;
/// Hashes of heads that are made right in one input.
const MOST_HEADS: usize = 12;

fn on(folder: &Path) -> Config {
    // Few accounts: the genesis shall not be most of the file.
    let accounts = Config::default().accounts[..2].to_vec();
    Config { data_dir: Some(folder.to_owned()), accounts, ..Config::default() }
}

/// The log of a chain that has done everything that there is to do.
fn seed() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::open(&on(folder.path())).expect("starts");
    let send = |raw: Bytes| node.submit(raw).expect("taken");
    send(sign(0, tx(0, None, contract::creation())));
    let address = wallet_address(0).create(0);
    send(sign(0, tx(1, Some(address), with_word(contract::SET, 11))));
    let snapshot = node.snapshot().expect("taken");
    node.set_balance(Address::repeat_byte(7), U256::MAX).expect("written");
    node.reorg(1, devchain::chain::Dropped::Requeue).expect("possible");
    node.increase_time(100).expect("possible");
    node.mine(2, 10).expect("mined");
    assert!(node.revert(snapshot).expect("written"));
    send(sign(1, transfer(5, address, 1)));
    drop(node);
    fs::read(folder.path().join("chain.log")).expect("written")
}

/// Numbers the entries and makes their checksums right. Lengths stay as they are, as far as the file goes.
fn mend(bytes: &mut [u8]) {
    let (mut at, mut number) = (MAGIC, 0u64);
    while let Some(header) = bytes.get_mut(at..at + HEADER) {
        header[4..12].copy_from_slice(&number.to_le_bytes());
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let sum = keccak256(&header[..12]);
        header[12..16].copy_from_slice(&sum[..4]);
        let Some(payload) = bytes.get(at + HEADER..).and_then(|rest| rest.get(..length)) else { return };
        let sum = keccak256([&bytes[at..at + 12], payload].concat());
        bytes[at + 16..at + HEADER].copy_from_slice(&sum[..4]);
        (at, number) = (at + HEADER + length, number + 1);
    }
}

/// Starts the chain; where a head is not the recorded one, the record is made right and the chain started again.
fn open(bytes: &[u8], folder: &Path) -> Option<Node> {
    let (config, log) = (on(folder), folder.join("chain.log"));
    let mut bytes = bytes.to_vec();
    for _ in 0..MOST_HEADS {
        fs::write(&log, &bytes).expect("written");
        match Node::open(&config) {
            Ok(node) => return Some(node),
            Err(Error::Diverged { recorded, found, .. }) => {
                let at = bytes.windows(32).position(|window| window == recorded.as_slice())?;
                bytes[at..at + 32].copy_from_slice(found.as_slice());
                mend(&mut bytes);
            }
            Err(_) => return None,
        }
    }
    None
}

#[test]
fn no_file_however_bent_makes_the_chain_panic_hang_or_take_memory() {
    let bent = |(), bytes: &mut Vec<u8>, dice: &mut Dice| {
        if dice.below(8) > 0 {
            mend(bytes);
        }
    };
    let read = |(), bytes: &[u8], folder: &Path, _| {
        let Some(node) = open(bytes, folder) else { return false };
        node.read(|chain| chain.next_environment(chain.next_timestamp(0))).is_ok()
    };
    Suite { what: "chain log", seeds: &[((), seed())], few: 1_000 }.run(bent, read);
}
