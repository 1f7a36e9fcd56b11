//! What workers report and what the coordinator answers.
//!
//! A worker announces itself with [`WorkerEvent::Register`] until it is answered. Then [`Control::Job`] hands it attempts,
//! its heartbeats name those in flight, and each ends with `Proved`, `Failed` or `HandedBack`, which the worker repeats
//! until [`Control::Close`] answers. Every message may come twice or not at all; none is a request that must be answered
//! in order. The coordinator believes nothing a worker says: a proof counts because it verifies, and a lease ends when
//! heartbeats stop.

use std::time::Duration;

use circuits::shape::Shape;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    card::CardReading,
    codec::{Kind, Message},
    job::{Attempt, InstanceName, JobEntry, JobId, ProcessId},
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

/// Attempts that a worker may hold at once, at most: one that proves and the next ones behind it.
pub const MAX_SLOTS: u8 = 4;

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
    /// Attempts it holds at once: 1 to [`MAX_SLOTS`].
    pub slots: u8,
}

impl Registration {
    /// Longest text kept of a registration.
    const MAX_TEXT: usize = 64;

    /// Cuts what a stranger wrote to bounds: short texts, each circuit once, 1 to [`MAX_SLOTS`] slots.
    pub fn clip(&mut self) {
        for text in [&mut self.backend, &mut self.version] {
            text.truncate(text.floor_char_boundary(Self::MAX_TEXT));
            text.retain(|c| c != '\0');
        }
        let mut seen = Vec::new();
        self.circuits.retain(|circuit| {
            let new = !seen.contains(&circuit.shape);
            seen.push(circuit.shape);
            new
        });
        self.slots = self.slots.clamp(1, MAX_SLOTS);
    }
}

/// How far an attempt is on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Received; an earlier attempt is being prepared.
    Queued,
    Fetching,
    Witness,
    /// Its witness is ready, another proof occupies the backend.
    Ready,
    Proving,
}

/// An attempt that a worker works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    pub job: JobId,
    pub attempt: Attempt,
    pub stage: Stage,
}

/// Where the time of a proof went, and the energy. Steps may overlap those of other jobs, so the sum can exceed `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From the job's arrival to the start of its preparation.
    pub queue_wait: Duration,
    /// Getting, checking and decoding the input.
    pub fetch: Duration,
    /// Replaying the batch, checking its signatures, assigning the variables.
    pub witness: Duration,
    /// Sparse matrix products.
    pub sparse: Duration,
    pub ntt: Duration,
    /// Multi-scalar multiplications and what prepares them.
    pub msm: Duration,
    /// Blinding, assembling and verifying the own proof.
    pub finish: Duration,
    /// From the job's arrival to the verified proof.
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

/// What a worker writes to its pool's stream of events. The pool is not part of it: it is the stream's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub instance: InstanceName,
    pub process: ProcessId,
    pub event: WorkerEvent,
}

impl Message for Report {
    const KIND: Kind = Kind::Event;
}

#[expect(clippy::large_enum_variant, reason = "half a kilobyte, a few times per batch")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerEvent {
    /// The worker introduces itself; repeated until `Control::Registered` comes.
    Register {
        registration: Registration,
        in_flight: Vec<InFlight>,
    },
    Heartbeat {
        in_flight: Vec<InFlight>,
        /// The last reading of the worker's card, if it has one that can be monitored.
        card: Option<Box<CardReading>>,
    },
    Proved {
        job: JobId,
        attempt: Attempt,
        proof: ProofBytes,
        timings: Timings,
    },
    Failed {
        job: JobId,
        attempt: Attempt,
        kind: FailureKind,
        message: String,
    },
    /// The worker gives the attempt back unproved, for no fault of the job.
    HandedBack {
        job: JobId,
        attempt: Attempt,
        message: String,
    },
    /// The worker takes no more work.
    Left {
        message: String,
    },
}

impl WorkerEvent {
    /// Longest text kept of a worker's message.
    const MAX_TEXT: usize = 2000;

    /// The attempt that ends with this event.
    pub fn ends(&self) -> Option<(JobId, Attempt)> {
        match self {
            Self::Proved { job, attempt, .. }
            | Self::Failed { job, attempt, .. }
            | Self::HandedBack { job, attempt, .. } => Some((*job, *attempt)),
            Self::Register { .. } | Self::Heartbeat { .. } | Self::Left { .. } => None,
        }
    }

    /// Cuts what a stranger wrote to bounds that every store takes: texts without NUL, of limited length; no more attempts
    /// in flight than a worker may hold.
    pub fn clip(&mut self) {
        match self {
            Self::Register { registration, in_flight } => {
                registration.clip();
                in_flight.truncate(usize::from(MAX_SLOTS));
            }
            Self::Heartbeat { in_flight, card } => {
                in_flight.truncate(usize::from(MAX_SLOTS));
                if let Some(card) = card {
                    card.clip();
                }
            }
            Self::Failed { message, .. } | Self::HandedBack { message, .. } | Self::Left { message } => {
                message.truncate(message.floor_char_boundary(Self::MAX_TEXT));
                message.retain(|c| c != '\0');
            }
            Self::Proved { .. } => {}
        }
    }
}

/// What the coordinator writes to the stream of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    /// The process that is meant: another one under the same instance name ignores it.
    pub process: ProcessId,
    pub control: Control,
}

impl Message for Directive {
    const KIND: Kind = Kind::Control;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// The coordinator knows the worker. Answers `Register`.
    Registered,
    /// The attempt is the worker's: prove it. Comes again, the same, while its heartbeats do not name it.
    Job(JobEntry),
    /// Nothing more is wanted of this attempt from this worker: stop it, or stop repeating how it ended.
    Close { job: JobId, attempt: Attempt },
    /// The coordinator does not know the worker (any more): register again.
    Reregister,
    /// Finish the proof under way, give the rest back and leave: an operator wants the machine.
    Drain,
    /// The worker's key of this circuit is not the one that the contract has, whose verifying key has this digest: the worker
    /// gets no job of it.
    Refuse { shape: Shape, verifying_key: [u8; 32] },
    /// Another live process has this instance name: leave.
    NameTaken,
}
