//! A job: one batch to prove. Its entry is small and travels through the queue; its input lies beside the queue and is
//! bound to the entry by a hash.

use std::fmt;

use blake2::{Blake2b, Digest, digest::consts::U32};
use circuits::{batch::BatchInput, shape::Shape};
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, Kind, Message};

/// The job that proves batch number `n` is job `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u64);

impl JobId {
    pub fn of_batch(batch_no: u32) -> Self {
        Self(u64::from(batch_no))
    }

    /// The batch it proves, if the number is one of a batch.
    pub fn batch_no(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Counts the times a job was handed out, from 1. Every message of a worker names it, so that one of an earlier attempt
/// is never taken for one of this attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A worker's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, so that it can be part of a key or a metric label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerId(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PM-WIRE-010: '{0}' cannot name a worker; take 1 to 64 of the characters A-Z a-z 0-9 . _ -")]
pub struct BadWorkerId(String);

impl WorkerId {
    /// Longest name in bytes.
    pub const MAX: usize = 64;

    /// # Errors
    /// `BadWorkerId` for an empty or long name or one with other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, BadWorkerId> {
        let name = name.into();
        let fits = (1..=Self::MAX).contains(&name.len());
        if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            Ok(Self(name))
        } else {
            Err(BadWorkerId(name.chars().take(Self::MAX).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WorkerId {
    type Error = BadWorkerId;

    fn try_from(name: String) -> Result<Self, BadWorkerId> {
        Self::new(name)
    }
}

impl From<WorkerId> for String {
    fn from(id: WorkerId) -> Self {
        id.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the queue carries for one attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEntry {
    pub job: JobId,
    pub attempt: Attempt,
    pub shape: Shape,
    /// Digest of the circuit's matrices that the proof must be for.
    pub circuit_digest: [u8; 32],
    /// `input_hash` of the encoded batch input.
    pub input_hash: [u8; 32],
    /// Workers that must not get this attempt.
    pub excluded: Vec<WorkerId>,
}

impl Message for JobEntry {
    const KIND: Kind = Kind::Entry;
}

impl Message for BatchInput {
    const KIND: Kind = Kind::BatchInput;
}

/// # Errors
/// `CodecError::TooLong` over 4 MiB.
pub fn encode_batch_input(input: &BatchInput) -> Result<Vec<u8>, CodecError> {
    input.encode()
}

/// # Errors
/// `CodecError` for anything but exactly one batch input of this version.
pub fn decode_batch_input(bytes: &[u8]) -> Result<BatchInput, CodecError> {
    BatchInput::decode(bytes)
}

/// BLAKE2b-256 of an encoded batch input.
pub fn input_hash(encoded: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::digest(encoded).into()
}
