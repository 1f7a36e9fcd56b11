//! What workers report and what the coordinator answers.
//!
//! One attempt goes Claimed → (Grant) → Heartbeats → Proved, Failed or HandedBack. Nothing a worker says is believed: a
//! proof counts because it verifies, a lease ends because heartbeats stop.

use std::time::Duration;

use bn254::Fr;
use circuits::shape::Shape;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    card::CardReading,
    codec::{Kind, Message},
    job::{Attempt, JobId, WorkerId},
};

/// A Groth16 proof as the EVM takes it: eight 32-byte big-endian words A.x, A.y, B.x.c1, B.x.c0, B.y.c1, B.y.c0, C.x, C.y
/// (EIP-197 order).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProofBytes(pub [u8; 256]);

impl std::fmt::Debug for ProofBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProofBytes({}…)", hex::encode(&self.0[..8]))
    }
}

impl Serialize for ProofBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for ProofBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        bytes.try_into().map(Self).map_err(|_| de::Error::invalid_length(bytes.len(), &"256 bytes"))
    }
}

/// A circuit whose key a worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitSupport {
    pub shape: Shape,
    /// Of the circuit's matrices.
    pub digest: [u8; 32],
    /// Digest of the key's verifying key: the coordinator refuses any but the one that the contract has.
    pub verifying_key: [u8; 32],
}

/// What a worker is and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// e.g. `cpu`, `cuda`.
    pub backend: String,
    /// Release of the worker.
    pub version: String,
    /// Bytes it may use.
    pub memory: u64,
    pub circuits: Vec<CircuitSupport>,
}

/// How far an attempt is on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Claimed, waiting for the grant.
    Waiting,
    Fetching,
    Witness,
    /// Its witness is ready, another proof occupies the backend.
    Ready,
    Proving,
}

/// An attempt that a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub job: JobId,
    pub attempt: Attempt,
    pub stage: Stage,
}

/// Where the time of a proof went, and the energy. Steps may overlap those of other jobs, so the sum can exceed `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From the claim to the grant.
    pub queue_wait: Duration,
    /// Getting, checking and decoding the input.
    pub fetch: Duration,
    /// Replaying the batch, checking its signatures, assigning the variables.
    pub witness: Duration,
    /// Sparse matrix products.
    pub sparse: Duration,
    pub ntt: Duration,
    pub msm: Duration,
    /// Blinding, assembling and verifying the own proof.
    pub finish: Duration,
    /// From the claim to the verified proof.
    pub total: Duration,
    /// What the card used while it proved, whoever else used it then; nothing where it does not tell.
    pub energy_millijoules: Option<u64>,
}

/// Whose fault a failure is; the farm charges the job only for `Input` and `Proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The worker could not do its work (memory, device, missing key, crash of the backend).
    Infrastructure,
    /// The input is damaged or its batch cannot be proved.
    Input,
    /// Proofs made of this input do not verify.
    Proof,
}

/// What a worker writes to the one stream of events.
#[expect(clippy::large_enum_variant, reason = "half a kilobyte, a few times per batch")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerEvent {
    Register {
        worker: WorkerId,
        registration: Registration,
        /// The worker has just started: what one of this name held before is lost. Otherwise it introduces itself again and
        /// holds what its heartbeats say.
        fresh: bool,
    },
    Claimed {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
    },
    Heartbeat {
        worker: WorkerId,
        holds: Vec<Hold>,
        /// The last look at the worker's card, if it has one that can be watched.
        card: Option<Box<CardReading>>,
    },
    Proved {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
        proof: ProofBytes,
        /// (h, c, e).
        #[serde(with = "bn254::serde_fr_array")]
        public_inputs: [Fr; 3],
        timings: Timings,
    },
    Failed {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
        kind: FailureKind,
        message: String,
    },
    /// The worker gives the attempt back unproved, for no fault of the job.
    HandedBack {
        worker: WorkerId,
        job: JobId,
        attempt: Attempt,
        message: String,
    },
    /// The worker takes no more work.
    Left {
        worker: WorkerId,
        message: String,
    },
}

impl WorkerEvent {
    pub fn worker(&self) -> &WorkerId {
        match self {
            Self::Register { worker, .. }
            | Self::Claimed { worker, .. }
            | Self::Heartbeat { worker, .. }
            | Self::Proved { worker, .. }
            | Self::Failed { worker, .. }
            | Self::HandedBack { worker, .. }
            | Self::Left { worker, .. } => worker,
        }
    }

    /// The attempt that ends with this event.
    pub fn ends(&self) -> Option<(JobId, Attempt)> {
        match self {
            Self::Proved { job, attempt, .. }
            | Self::Failed { job, attempt, .. }
            | Self::HandedBack { job, attempt, .. } => Some((*job, *attempt)),
            Self::Register { .. } | Self::Claimed { .. } | Self::Heartbeat { .. } | Self::Left { .. } => None,
        }
    }
}

impl Message for WorkerEvent {
    const KIND: Kind = Kind::Event;
}

/// What the coordinator tells one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// The claimed attempt is the worker's: work on it.
    Grant { job: JobId, attempt: Attempt },
    /// The attempt is not, or no longer, wanted from this worker.
    Cancel { job: JobId, attempt: Attempt },
    /// The coordinator does not know the worker (any more): register again.
    Introduce,
    /// Finish the proof under way, give the rest back and leave: an operator wants the machine.
    Drain,
    /// The worker's key of this circuit is not the one that the contract has, whose verifying key has this digest: claim no job of it.
    Refuse { shape: Shape, verifying_key: [u8; 32] },
}

impl Message for Control {
    const KIND: Kind = Kind::Control;
}
