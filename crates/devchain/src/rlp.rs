//! Lists of the Recursive Length Prefix encoding (Ethereum yellow paper, appendix B) whose items have several types.

use alloy_rlp::{Error, Header};

/// A list of the items that `items` writes.
pub(crate) fn list(items: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut payload = Vec::new();
    items(&mut payload);
    let header = Header { list: true, payload_length: payload.len() };
    let mut list = Vec::with_capacity(header.length_with_payload());
    header.encode(&mut list);
    list.extend(payload);
    list
}

/// The items of a list that is all of `bytes`.
pub(crate) fn items(bytes: &[u8]) -> Result<&[u8], Error> {
    let mut rest = bytes;
    let items = Header::decode_bytes(&mut rest, true)?;
    ended(rest)?;
    Ok(items)
}

/// That nothing is left of a list.
pub(crate) fn ended(rest: &[u8]) -> Result<(), Error> {
    if rest.is_empty() { Ok(()) } else { Err(Error::UnexpectedLength) }
}
