//! The bulk of a snapshot, leaves and tree nodes, as columns of equal width: decoded by all cores, without a byte of overhead.
//!
//! Field elements are canonical, 32 bytes little-endian, and refused otherwise; numbers are little-endian.

use std::collections::{BTreeSet, HashMap};

use bn254::{Fr, PrimeField};
use circuits::leaf::CoinRange;
use protocol::Address;

use super::{Reader, SectionError};
use crate::{
    ledger::Leaf,
    parallel::{Parallel, Task},
};

/// Elements that one thread decodes at a time.
const CHUNK: usize = 1 << 14;
/// Owner, whether there is a key hash, key hash, account, index, low, high, batch.
const LEAF: usize = 20 + 1 + 32 + 32 + 8 + 8 + 8 + 4;

const NOT_CANONICAL: SectionError = SectionError::Unfit("holding a number that is no field element");

/// Leaves by index, and for each owner (amount, index) of them.
pub type Leaves = (HashMap<u64, Leaf>, HashMap<Address, BTreeSet<(u64, u64)>>);

/// Sorted by owner, amount and index, so that the sets of each owner are made in one go.
pub fn encode_leaves<'a>(leaves: impl Iterator<Item = (u64, &'a Leaf)>, parallel: Parallel) -> Vec<u8> {
    let mut sorted: Vec<(u64, &Leaf)> = leaves.collect();
    let order = |(index, leaf): &(u64, &Leaf)| (leaf.owner, leaf.range.amount(), *index);
    let sort = |piece: &'_ mut [(u64, &'a Leaf)]| piece.sort_unstable_by_key(order);
    let pieces = sorted.chunks_mut(CHUNK).map(|piece| -> Task<'_> { Box::new(move || sort(piece)) });
    (parallel.0)(pieces.collect());
    // Merges what is sorted in pieces.
    sorted.sort_by_key(order);
    let mut bytes = Vec::with_capacity(sorted.len() * LEAF);
    for (index, leaf) in sorted {
        bytes.extend(leaf.owner);
        bytes.push(u8::from(leaf.key_hash.is_some()));
        bytes.extend(leaf.key_hash.unwrap_or_default().to_repr().as_ref());
        bytes.extend(leaf.account.to_repr().as_ref());
        for number in [index, leaf.range.low(), leaf.range.high()] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(leaf.batch_no.to_le_bytes());
    }
    bytes
}

/// # Errors
/// `Unfit` for anything that `encode_leaves` does not write.
pub fn decode_leaves(bytes: &[u8], parallel: Parallel) -> Result<Leaves, SectionError> {
    if !bytes.len().is_multiple_of(LEAF) {
        return Err(SectionError::Unfit("cut"));
    }
    let chunks: Vec<&[u8]> = bytes.chunks(CHUNK * LEAF).collect();
    let decode = |chunk: &&[u8]| chunk.chunks_exact(LEAF).map(decode_leaf).collect();
    let decoded: Result<Vec<Vec<(u64, Leaf)>>, SectionError> =
        parallel.map(&chunks, 1, decode).into_iter().collect();
    let decoded = decoded?;
    let all = || decoded.iter().flatten();
    let (leaves, owned) = parallel.join(
        || {
            let mut leaves = HashMap::with_capacity(bytes.len() / LEAF);
            leaves.extend(all().copied());
            leaves
        },
        || {
            let mut owned: HashMap<Address, BTreeSet<(u64, u64)>> = HashMap::new();
            let sorted: Vec<(Address, (u64, u64))> =
                all().map(|(index, leaf)| (leaf.owner, (leaf.range.amount(), *index))).collect();
            for of_one in sorted.chunk_by(|a, b| a.0 == b.0) {
                owned.insert(of_one[0].0, of_one.iter().map(|(_, key)| *key).collect());
            }
            owned
        },
    );
    let complete = leaves.len() == bytes.len() / LEAF;
    if complete { Ok((leaves, owned)) } else { Err(SectionError::Unfit("holding a leaf twice")) }
}

fn decode_leaf(bytes: &[u8]) -> Result<(u64, Leaf), SectionError> {
    let mut reader = Reader(bytes);
    let owner = reader.array()?;
    let known = reader.array::<1>()? == [1];
    let key_hash = element(&reader.array()?)?;
    let account = element(&reader.array()?)?;
    let (index, low, high) = (reader.number()?, reader.number()?, reader.number()?);
    let range = CoinRange::new(low, high).map_err(|_| SectionError::Unfit("holding an impossible range"))?;
    let batch_no = u32::from_le_bytes(reader.array()?);
    Ok((index, Leaf { owner, key_hash: known.then_some(key_hash), account, range, batch_no }))
}

pub fn encode_elements(elements: &[Fr], parallel: Parallel) -> Vec<u8> {
    let mut bytes = vec![0; elements.len() * 32];
    let chunks = bytes.chunks_mut(CHUNK * 32).zip(elements.chunks(CHUNK));
    let tasks = chunks.map(|(bytes, elements)| -> Task<'_> {
        Box::new(move || {
            for (bytes, element) in bytes.chunks_exact_mut(32).zip(elements) {
                bytes.copy_from_slice(element.to_repr().as_ref());
            }
        })
    });
    (parallel.0)(tasks.collect());
    bytes
}

/// # Errors
/// `Unfit` for a length that is no multiple of 32, or a number that is not below the modulus.
pub fn decode_elements(bytes: &[u8], parallel: Parallel) -> Result<Vec<Fr>, SectionError> {
    let (words, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(SectionError::Unfit("cut"));
    }
    parallel.map(words, CHUNK, element).into_iter().collect()
}

fn element(bytes: &[u8; 32]) -> Result<Fr, SectionError> {
    let mut repr = <Fr as PrimeField>::Repr::default();
    repr.as_mut().copy_from_slice(bytes);
    Option::from(Fr::from_repr(repr)).ok_or(NOT_CANONICAL)
}
