//! Domain-separated BLAKE2b-256 (RFC 7693, no key): the hash of everything that third parties recompute.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};

pub(crate) type Blake2b256 = Blake2b<U32>;

/// A hasher that has taken in `tag`.
pub(crate) fn tagged(tag: &str) -> Blake2b256 {
    Blake2b256::new_with_prefix(tag.as_bytes())
}
