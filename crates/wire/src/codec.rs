//! The one encoding of everything that crosses a process: `"PMW"`, a version byte, a kind byte, then postcard.
//!
//! Each kind has a version of its own, which rises when any field of its messages changes. A reader never guesses at
//! another version, since a worker and a coordinator of different builds meet during every rolling upgrade. A store keeps
//! the hashes of encoded batch inputs: a new version of that kind is a new version of the store.

use serde::{Serialize, de::DeserializeOwned};

/// First bytes of every message.
pub const MAGIC: [u8; 3] = *b"PMW";
/// Bytes before the payload.
pub const HEADER: usize = MAGIC.len() + 2;
/// Longest event or control, header included.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Longest batch input, header included. `s1020m4` with every slot in use takes about 1.9 MiB.
pub const MAX_INPUT: usize = 4 * 1024 * 1024;

/// What a message is; the fifth byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    // 1 was the entry of a job that workers claimed.
    Event = 2,
    Control = 3,
    BatchInput = 4,
}

impl Kind {
    /// The layout that this build writes and the only one it reads.
    pub const fn version(self) -> u8 {
        match self {
            // 2: heartbeats tell of the card, timings of the energy. 3: a registration says whether the worker just started.
            // 4: it names its verifying keys. 5: pools; attempts are handed out instead of claimed.
            Kind::Event => 5,
            // 2: `Introduce` and `Drain`. 3: `Refuse`. 4: jobs.
            Kind::Control => 4,
            Kind::BatchInput => 1,
        }
    }

    fn limit(self) -> usize {
        match self {
            Kind::Event | Kind::Control => MAX_MESSAGE,
            Kind::BatchInput => MAX_INPUT,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("PM-WIRE-001: these bytes are not a proofmill message; check what else writes to this queue")]
    NotOurs,
    #[error(
        "PM-WIRE-002: the message has version {found}, this build reads {expected}; run the same release everywhere"
    )]
    Version { found: u8, expected: u8 },
    #[error("PM-WIRE-003: expected a message of kind {expected:?} ({}), found kind {found}", *expected as u8)]
    Kind { found: u8, expected: Kind },
    #[error("PM-WIRE-004: the message ends early; take it again from its source")]
    Truncated,
    #[error("PM-WIRE-005: {extra} bytes follow the end of the message; take it again from its source")]
    Trailing { extra: usize },
    #[error("PM-WIRE-006: the message of {length} bytes is over the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error(
        "PM-WIRE-007: the message holds a value that its type forbids ({0}); take it again from its source"
    )]
    Malformed(String),
}

/// A type with a place in the encoding.
pub trait Message: Serialize + DeserializeOwned {
    const KIND: Kind;

    /// # Errors
    /// `TooLong` over the limit of the kind.
    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([Self::KIND.version(), Self::KIND as u8]);
        let bytes =
            postcard::to_extend(self, bytes).map_err(|error| CodecError::Malformed(error.to_string()))?;
        check_length(bytes.len(), Self::KIND)?;
        Ok(bytes)
    }

    /// # Errors
    /// One variant for each way in which the bytes are not exactly one message of this kind and version.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        check_length(bytes.len(), Self::KIND)?;
        let (magic, rest) = bytes.split_at(bytes.len().min(MAGIC.len()));
        if magic != &MAGIC[..magic.len()] {
            return Err(CodecError::NotOurs);
        }
        let (version, rest) = rest.split_first().ok_or(CodecError::Truncated)?;
        // The kind first: what another version of it means is said by its own number.
        let (kind, payload) = rest.split_first().ok_or(CodecError::Truncated)?;
        if *kind != Self::KIND as u8 {
            return Err(CodecError::Kind { found: *kind, expected: Self::KIND });
        }
        if *version != Self::KIND.version() {
            return Err(CodecError::Version { found: *version, expected: Self::KIND.version() });
        }
        let (value, extra) = postcard::take_from_bytes(payload).map_err(|error| match error {
            postcard::Error::DeserializeUnexpectedEnd => CodecError::Truncated,
            other => CodecError::Malformed(other.to_string()),
        })?;
        if extra.is_empty() { Ok(value) } else { Err(CodecError::Trailing { extra: extra.len() }) }
    }
}

fn check_length(length: usize, kind: Kind) -> Result<(), CodecError> {
    let limit = kind.limit();
    if length > limit { Err(CodecError::TooLong { length, limit }) } else { Ok(()) }
}
