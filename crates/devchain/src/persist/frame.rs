//! Entries on disk: `MAGIC`, then for each entry a 20-byte header and the payload.
//!
//! Header, little endian: payload length (u32), entry number (u64), first 4 bytes of keccak256 of these 12 bytes,
//! first 4 bytes of keccak256(header's first 12 bytes ‖ payload).
//!
//! A crash can only leave a torn last entry: a prefix of it, or zeros where the file was made longer before its
//! content arrived. Those are cut off, as nobody got an answer for them. Anything else is damage and refused: the
//! header has its own checksum, so that a wrong length in the middle cannot make the rest look like a torn end.

use revm::primitives::keccak256;

/// First bytes of the file.
pub const MAGIC: &[u8; 16] = b"proofmill-dev-1\n";
const HEADER: usize = 20;

/// A log's content.
#[derive(Debug)]
pub struct Frames<'a> {
    /// Payloads in order.
    pub payloads: Vec<&'a [u8]>,
    /// Bytes up to the end of the last whole entry.
    pub length: u64,
}

/// Where and how a log is damaged.
#[derive(Debug, PartialEq, Eq)]
pub struct Damage {
    /// Byte at which the damaged entry begins.
    pub offset: u64,
    /// What does not hold.
    pub reason: &'static str,
}

/// An entry as it stands on disk.
#[must_use]
pub fn frame(number: u64, payload: &[u8]) -> Vec<u8> {
    // The pool refuses transactions above 128 KiB, so lengths are far below 2^32.
    let length = payload.len() as u32;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    let header_sum = checksum(&[&bytes]);
    let payload_sum = checksum(&[&bytes, payload]);
    bytes.extend_from_slice(&header_sum);
    bytes.extend_from_slice(&payload_sum);
    bytes.extend_from_slice(payload);
    bytes
}

/// Splits a log into its entries; a torn last entry is left out.
///
/// # Errors
/// If an entry is damaged.
pub fn split(bytes: &[u8]) -> Result<Frames<'_>, Damage> {
    let mut payloads = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        let torn = MAGIC.starts_with(bytes) || bytes.iter().all(|byte| *byte == 0);
        return if torn {
            Ok(Frames { payloads, length: 0 })
        } else {
            Err(Damage { offset: 0, reason: "not a dev chain's log" })
        };
    };
    loop {
        let offset = (bytes.len() - rest.len()) as u64;
        let torn = |payloads| Ok(Frames { payloads, length: offset });
        let damage = |reason| Err(Damage { offset, reason });
        let Some((header, after)) = rest.split_at_checked(HEADER) else { return torn(payloads) };
        let (fields, sums) = header.split_at(12);
        let (header_sum, payload_sum) = sums.split_at(4);
        if checksum(&[fields]) != header_sum {
            let never_written = rest.iter().all(|byte| *byte == 0);
            return if never_written { torn(payloads) } else { damage("the entry's header is damaged") };
        }
        let (length, number) = fields.split_at(4);
        if little_endian(number) != payloads.len() as u64 {
            return damage("an entry is missing or repeated");
        }
        let Some((payload, after)) = after.split_at_checked(little_endian(length) as usize) else {
            return torn(payloads);
        };
        if checksum(&[fields, payload]) != payload_sum {
            return if after.is_empty() { torn(payloads) } else { damage("the entry's content is damaged") };
        }
        payloads.push(payload);
        rest = after;
    }
}

fn checksum(parts: &[&[u8]]) -> [u8; 4] {
    let hash = keccak256(parts.concat());
    [hash[0], hash[1], hash[2], hash[3]]
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (payload, number) in payloads.iter().zip(0..) {
            bytes.extend(frame(number, payload));
        }
        bytes
    }

    #[test]
    fn every_cut_leaves_the_whole_entries_before_it() {
        let bytes = log(&[b"first", b"", b"third"]);
        let ends: Vec<usize> = [0, 16, 16 + 25, 16 + 25 + 20, bytes.len()].to_vec();
        for cut in 0..=bytes.len() {
            let frames = split(&bytes[..cut]).expect("a cut is a torn end");
            let whole = ends[1..].iter().filter(|end| **end <= cut).count();
            assert_eq!(frames.payloads.len(), whole.saturating_sub(1), "cut at {cut}");
            assert_eq!(frames.length, ends[whole] as u64, "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_before_the_last_entry_is_refused() {
        let bytes = log(&[b"first", b"second", b"third"]);
        let last = bytes.len() - HEADER - 5;
        for bit in 0..last * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(split(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn zeros_after_the_last_entry_are_a_torn_end() {
        let mut bytes = log(&[b"first"]);
        let length = bytes.len() as u64;
        bytes.extend([0; 100]);
        let frames = split(&bytes).expect("zeros were never written");
        assert_eq!((frames.payloads.len(), frames.length), (1, length));
    }

    #[test]
    fn a_removed_entry_is_noticed() {
        let mut bytes = log(&[b"first"]);
        bytes.extend(frame(2, b"third"));
        assert_eq!(split(&bytes).expect_err("entry 1 is missing").reason, "an entry is missing or repeated");
    }
}
