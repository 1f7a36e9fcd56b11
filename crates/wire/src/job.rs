//! A job: one batch to prove, and who proves it. A job's entry is small and is sent to one worker; its input lies beside the
//! queue and is bound to the entry by a hash.

use std::{fmt, sync::Arc};

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

/// Characters of the names below: they are parts of Redis keys and metric labels.
fn is_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("PM-WIRE-010: '{0}' cannot name a worker; take 1 to 64 of the characters A-Z a-z 0-9 . _ -")]
    Instance(String),
    #[error("PM-WIRE-011: '{0}' cannot name a pool; take 1 to 32 of the characters A-Z a-z 0-9 . _ -")]
    Pool(String),
}

/// The start of a bad name, for its error.
fn excerpt(name: &str) -> String {
    name.chars().take(InstanceName::MAX).collect()
}

/// Workers that share a credential (a rack, a Deployment, a node group): 1 to 32 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName(Arc<str>);

impl PoolName {
    /// Longest name in bytes.
    pub const MAX: usize = 32;
    /// The pool that every deployment begins with.
    pub const DEFAULT: &str = "default";

    /// # Errors
    /// `BadName::Pool` for an empty or long name or one with other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        if is_name(&name, Self::MAX) { Ok(Self(name.into())) } else { Err(BadName::Pool(excerpt(&name))) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for PoolName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

/// One process within its pool, 1 to 64 of `A-Z a-z 0-9 . _ -`: by default `HOST-NONCE`, so that no two starts share a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName(Arc<str>);

impl InstanceName {
    /// Longest name in bytes.
    pub const MAX: usize = 64;

    /// # Errors
    /// `BadName::Instance` for an empty or long name or one with other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        if is_name(&name, Self::MAX) { Ok(Self(name.into())) } else { Err(BadName::Instance(excerpt(&name))) }
    }

    /// `HOST-NONCE` with a nonce of this process. Other characters of the host's name become `-`.
    pub fn of_process(host: &str, process: ProcessId) -> Self {
        let host = host.chars().map(|c| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '-' });
        let host: String = host.take(Self::MAX - 9).collect();
        Self(format!("{host}-{:08x}", process.0 as u32).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A random number of one start of a worker. Two processes that claim one instance name differ in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId(pub u64);

impl ProcessId {
    pub fn random() -> Self {
        Self(rand_core::RngCore::next_u64(&mut rand_core::OsRng))
    }
}

/// A worker: its pool and its instance there, written `POOL/INSTANCE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerId {
    pub pool: PoolName,
    pub instance: InstanceName,
}

impl WorkerId {
    pub fn new(pool: PoolName, instance: InstanceName) -> Self {
        Self { pool, instance }
    }

    /// `POOL/INSTANCE`; without a slash an instance of the default pool, as logs had them before there were pools.
    ///
    /// # Errors
    /// `BadName`.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        match text.split_once('/') {
            Some((pool, instance)) => Ok(Self::new(PoolName::new(pool)?, InstanceName::new(instance)?)),
            None => Ok(Self::new(PoolName::default(), InstanceName::new(text)?)),
        }
    }
}

impl TryFrom<String> for WorkerId {
    type Error = BadName;

    fn try_from(name: String) -> Result<Self, BadName> {
        Self::parse(&name)
    }
}

impl From<WorkerId> for String {
    fn from(id: WorkerId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.instance)
    }
}

/// What both plain names have in common.
macro_rules! plain_name {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(name: String) -> Result<Self, BadName> {
                Self::new(name)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;

            fn from_str(name: &str) -> Result<Self, BadName> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

plain_name!(PoolName);
plain_name!(InstanceName);

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
