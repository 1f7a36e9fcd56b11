//! A proof counts on L1 only if it was made with the key that the contract has. A worker whose key of a circuit is another one gets no
//! jobs of that circuit, is told so, and costs no batch an attempt.

use std::collections::BTreeMap;

use circuits::shape::Shape;
use wire::{Control, ProcessId, Registration, job::WorkerId};

use super::{AttemptEnd, Farm, FarmEffect};

/// Circuits whose keys are not the contract's, and why.
pub(super) fn refused(
    pinned: &BTreeMap<Shape, [u8; 32]>,
    registration: &Registration,
) -> BTreeMap<Shape, String> {
    let others = registration.circuits.iter().filter_map(|circuit| {
        let wanted = pinned.get(&circuit.shape).filter(|wanted| **wanted != circuit.verifying_key)?;
        let why = format!(
            "PM-FARM-002: its key of {} has the verifying key {}, the contract has {}; copy the coordinator's key file to it",
            circuit.shape,
            hex::encode(circuit.verifying_key),
            hex::encode(wanted)
        );
        Some((circuit.shape, why))
    });
    others.collect()
}

impl Farm {
    /// Tells a worker which of its keys are not the contract's, and takes back what it holds of their circuits.
    pub(super) fn refuse(
        &mut self,
        worker: &WorkerId,
        process: ProcessId,
        now: u64,
        effects: &mut Vec<FarmEffect>,
    ) {
        let refused = self.work.registry.get(worker).map(|known| known.refused.clone()).unwrap_or_default();
        for (shape, why) in refused {
            let Some(wanted) = self.pinned.get(&shape) else { continue };
            let control = Control::Refuse { shape, verifying_key: *wanted };
            self.reply(worker, process, control, now, effects);
            let held = self.work.leases_of.get(worker).cloned().unwrap_or_default();
            for (batch_no, attempt) in held {
                if self.book.job(batch_no).is_some_and(|job| job.shape == shape) {
                    self.close(worker, batch_no, attempt, effects);
                    self.end(batch_no, attempt, AttemptEnd::HandedBack, &why, now, effects);
                }
            }
        }
    }
}
