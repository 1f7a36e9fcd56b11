//! From the bytes of an input to a witness, refusing whatever cannot be proved with the reason.

use std::sync::Arc;

use bn254::Fr;
use circuits::{
    batch::{BatchInput, Prepared, gadget},
    slot::SlotInput,
};
use prover::Witness;
use wire::{
    FailureKind, JobEntry,
    codec::CodecError,
    job::{decode_batch_input, input_hash},
};

/// A witness and the public inputs (h, c, e) that it is for.
pub struct Assignment {
    pub witness: Arc<Witness>,
    pub public_inputs: [Fr; 3],
    /// Slots that are no no-ops.
    pub payments: u32,
}

/// Why an input gives no witness.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error(
        "PM-WORKER-020: the input of job {0} is not the one its entry names; look at what else writes to the queue"
    )]
    Hash(wire::JobId),
    #[error("PM-WORKER-021: the input cannot be read: {0}")]
    Decode(#[from] CodecError),
    #[error(
        "PM-WORKER-022: the input is of batch {batch_no} for {shape}, the entry says job {job} for {entry_shape}"
    )]
    OtherJob {
        batch_no: u32,
        shape: circuits::shape::Shape,
        job: wire::JobId,
        entry_shape: circuits::shape::Shape,
    },
    #[error("PM-WORKER-023: the batch cannot be proved: {0}")]
    Batch(#[from] circuits::batch::BatchError),
}

impl InputError {
    /// An input of another version is no fault of the job: a worker of that release can prove it.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Decode(CodecError::Version { .. }) => FailureKind::Infrastructure,
            _ => FailureKind::Input,
        }
    }
}

/// The input that the entry names.
///
/// # Errors
/// `Hash`, `Decode`, `OtherJob`.
pub fn open(entry: &JobEntry, bytes: &[u8]) -> Result<BatchInput, InputError> {
    if input_hash(bytes) != entry.input_hash {
        return Err(InputError::Hash(entry.job));
    }
    let input = decode_batch_input(bytes)?;
    if entry.job.batch_no() != Some(input.batch_no) || input.shape != entry.shape {
        return Err(InputError::OtherJob {
            batch_no: input.batch_no,
            shape: input.shape,
            job: entry.job,
            entry_shape: entry.shape,
        });
    }
    Ok(input)
}

/// Replays the batch, checks its signatures and assigns all variables, on all cores.
///
/// # Errors
/// `Batch` for whatever the circuit would refuse.
pub fn assign(input: BatchInput) -> Result<Assignment, InputError> {
    let used = input.slots.iter().filter(|slot| !matches!(slot.input, SlotInput::Noop)).count();
    let prepared = Prepared::new(input)?;
    prepared.check_signatures()?;
    let (inputs, aux) = gadget::witness(&prepared);
    let witness = Arc::new(Witness::new(inputs, aux));
    Ok(Assignment { witness, public_inputs: prepared.public_inputs(), payments: used as u32 })
}
