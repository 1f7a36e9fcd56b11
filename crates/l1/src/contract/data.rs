//! Native mirror of what the contract computes from a batch and its queues. `tests/` hold both against each other.

use bn254::{Field, Fr};
use sha3::{Digest, Keccak256};

use crate::contract::{
    convert::fr_word,
    types::{Address, Batch, ForcedEntry, MintEntry, Record, Word, address_word, range_word},
};

/// The part of D that the contract takes from its own storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// See [`domain`].
    pub domain: Fr,
    /// Number of the batch: the contract's `batchNo` + 1.
    pub batch_no: u32,
    /// The contract's root before the batch.
    pub old_root: Fr,
    /// Mint places M of the batch's circuit.
    pub mint_places: u32,
}

/// `keccak256(abi.encode(keccak256("proofmill.domain.v1"), chainId, contract)) mod r`, 1 where that is 0.
pub fn domain(chain_id: u64, contract: &Address) -> Fr {
    let version: Word = Keccak256::digest(b"proofmill.domain.v1").into();
    let hash = keccak(&[version, number_word(chain_id), fr_word(&address_word(contract))]);
    let domain = reduce(&hash);
    if bool::from(domain.is_zero()) { Fr::ONE } else { domain }
}

/// D = head (7 words) ‖ mints (2 M words) ‖ records (3 words each).
///
/// Shapes are those of the batch; limits are the contract's business.
pub fn data_words(head: &Head, batch: &Batch) -> Vec<Fr> {
    let mut d = vec![
        Fr::from(u64::from(batch.circuit)),
        head.domain,
        Fr::from(u64::from(head.batch_no)),
        head.old_root,
        batch.mid_root,
        batch.new_root,
        Fr::from(batch.start),
    ];
    for mint in &batch.mints {
        d.extend([mint.account, range_word(mint.low, mint.high)]);
    }
    d.resize(7 + 2 * (head.mint_places as usize).max(batch.mints.len()), Fr::ZERO);
    d.extend(batch.records.iter().flat_map(Record::words));
    d
}

/// `c = keccak256(abi.encodePacked(h, D)) mod r`.
pub fn challenge(h: &Fr, d: &[Fr]) -> Fr {
    let words: Vec<Word> = std::iter::once(h).chain(d).map(fr_word).collect();
    reduce(&keccak(&words))
}

/// `e = sum of D[i] c^i`.
pub fn evaluate(c: &Fr, d: &[Fr]) -> Fr {
    d.iter().rev().fold(Fr::ZERO, |e, word| e * c + word)
}

/// The public inputs (h, c, e) of a batch.
pub fn public_inputs(head: &Head, batch: &Batch) -> [Fr; 3] {
    let d = data_words(head, batch);
    let c = challenge(&batch.h, &d);
    [batch.h, c, evaluate(&c, &d)]
}

/// What `depositHash(id)` holds: `keccak256(abi.encode(account, range, depositor, deadline))`.
pub fn deposit_hash(entry: &MintEntry) -> Word {
    keccak(&[
        fr_word(&entry.account),
        fr_word(&range_word(entry.low, entry.high)),
        fr_word(&address_word(&entry.depositor)),
        number_word(entry.deadline),
    ])
}

/// What `forcedHash(id)` holds: `keccak256(abi.encode(kind, index, account, newAccount, owner, deadline))`.
pub fn forced_hash(entry: &ForcedEntry) -> Word {
    keccak(&[
        number_word(u64::from(entry.kind.number())),
        number_word(entry.index),
        fr_word(&entry.account),
        fr_word(&entry.new_account),
        fr_word(&address_word(&entry.owner)),
        number_word(entry.deadline),
    ])
}

/// keccak256 of the record words of a batch, part of its history entry.
pub fn records_hash(records: &[Record]) -> Word {
    let words: Vec<Word> = records.iter().flat_map(Record::words).map(|word| fr_word(&word)).collect();
    keccak(&words)
}

/// What `history(batchNo)` holds: `keccak256(abi.encode(midRoot, newRoot, start, mintedUpTo, recordsHash))`, `minted_up_to` after
/// the batch.
pub fn history_hash(batch: &Batch, minted_up_to: u64) -> Word {
    keccak(&[
        fr_word(&batch.mid_root),
        fr_word(&batch.new_root),
        number_word(batch.start),
        number_word(minted_up_to),
        records_hash(&batch.records),
    ])
}

fn keccak(words: &[Word]) -> Word {
    Keccak256::digest(words.as_flattened()).into()
}

fn number_word(x: u64) -> Word {
    let mut word = [0u8; 32];
    word[24..].copy_from_slice(&x.to_be_bytes());
    word
}

/// A 256-bit big-endian number mod r, by Horner over its bytes.
fn reduce(word: &Word) -> Fr {
    word.iter().fold(Fr::ZERO, |acc, &byte| acc * Fr::from(256) + Fr::from(u64::from(byte)))
}
