//! Digests that were computed lately, by thread: for a simulation, which hashes the same things over and over. Threads that did
//! not ask for it remember nothing.
//!
//! A memory of pure functions, each entry with its whole input: no answer differs from what would be computed.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    hash::{BuildHasher, Hasher},
};

use bn254::Fr;

/// Entries of each width.
const ENTRIES: usize = 1 << 18;

/// An input and its digest, at a place that follows from the input.
type Table<const N: usize> = Vec<Option<([Fr; N], Fr)>>;

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    /// A table for each width that was used.
    static TABLES: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// From now on this thread remembers digests, in tables of tens of megabytes.
pub fn remember_digests() {
    IS_ON.set(true);
}

pub(super) fn remembered<const N: usize>(x: [Fr; N], hash: impl FnOnce([Fr; N]) -> Fr) -> Fr {
    if !IS_ON.get() {
        return hash(x);
    }
    let place = place(&x);
    let known = with_table(|table: &mut Table<N>| table[place].filter(|(input, _)| *input == x));
    if let Some((_, digest)) = known {
        return digest;
    }
    let digest = hash(x);
    with_table(|table: &mut Table<N>| table[place] = Some((x, digest)));
    digest
}

fn place<const N: usize>(x: &[Fr; N]) -> usize {
    let mut hasher = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().build_hasher();
    for element in x {
        std::hash::Hash::hash(element, &mut hasher);
    }
    // Below the number of entries, whatever the width of a pointer.
    (hasher.finish() % ENTRIES as u64) as usize
}

fn with_table<const N: usize, T>(work: impl FnOnce(&mut Table<N>) -> T) -> T {
    TABLES.with_borrow_mut(|tables| {
        let at = tables.iter().position(|table| table.is::<Table<N>>()).unwrap_or_else(|| {
            tables.push(Box::new(vec![None::<([Fr; N], Fr)>; ENTRIES]));
            tables.len() - 1
        });
        match tables[at].downcast_mut() {
            Some(table) => work(table),
            None => unreachable!("the table at {at} is of this width"),
        }
    })
}
