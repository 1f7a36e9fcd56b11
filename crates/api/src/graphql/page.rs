//! Relay pages: `first` from 1 to 100, opaque cursors, a stable order.

use async_graphql::{
    OutputType, Result,
    connection::{Connection, CursorType, Edge, OpaqueCursor},
};
use serde::{Serialize, de::DeserializeOwned};

use super::refusal::bad_input;

/// Nodes on a page at most.
pub const MAX_FIRST: i32 = 100;

/// What a connection costs: itself and each node that it may carry.
pub fn cost(first: i32, child: usize) -> usize {
    child.saturating_mul(first.clamp(1, MAX_FIRST) as usize).saturating_add(1)
}

/// The size of the page.
///
/// # Errors
/// `BAD_USER_INPUT` outside 1..=100.
pub fn size(first: i32) -> Result<usize> {
    if (1..=MAX_FIRST).contains(&first) {
        Ok(first as usize)
    } else {
        Err(bad_input(format!("`first` must be from 1 to {MAX_FIRST}; ask for the rest with `after`")))
    }
}

/// The place after which the page begins.
///
/// # Errors
/// `BAD_USER_INPUT` for text that is no cursor.
pub fn place<K: Serialize + DeserializeOwned>(after: Option<&str>) -> Result<Option<K>> {
    let Some(after) = after else { return Ok(None) };
    match OpaqueCursor::<K>::decode_cursor(after) {
        Ok(cursor) => Ok(Some(cursor.0)),
        Err(_) => Err(bad_input("`after` is not a cursor; pass `endCursor` of the page before")),
    }
}

/// A connection whose nodes have opaque cursors made of a sort key.
pub type Page<K, N> = Connection<OpaqueCursor<K>, N>;

/// The page of these nodes.
pub fn page<K, N>(nodes: impl IntoIterator<Item = (K, N)>, has_previous: bool, has_next: bool) -> Page<K, N>
where
    K: Serialize + DeserializeOwned + Send + Sync,
    N: OutputType,
{
    let mut connection = Connection::new(has_previous, has_next);
    connection.edges.extend(nodes.into_iter().map(|(key, node)| Edge::new(OpaqueCursor(key), node)));
    connection
}
