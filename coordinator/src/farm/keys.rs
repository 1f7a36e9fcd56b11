//! A proof counts on L1 only if it was made with the key that the contract has. A worker whose key of a circuit is another one gets no
//! jobs of that circuit, is told so, and costs no batch an attempt.

use std::collections::BTreeMap;

use circuits::shape::Shape;
use wire::{
    Control, Registration,
    job::{Attempt, JobId, WorkerId},
};

use super::{Farm, FarmEffect, Phase};

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
    pub(super) fn refuse(&mut self, name: &WorkerId, effects: &mut Vec<FarmEffect>) {
        let refused = self.crew.present().get(name).map(|worker| worker.refused.clone()).unwrap_or_default();
        for (shape, why) in refused {
            self.tell_refused(name, shape, effects);
            let held = self.jobs.iter().filter(|(_, job)| {
                job.shape == shape && matches!(&job.phase, Phase::Leased { worker, .. } if worker == name)
            });
            let held: Vec<_> =
                held.map(|(batch_no, job)| (JobId::of_batch(*batch_no), Attempt(job.attempt))).collect();
            for (job, attempt) in held {
                self.end(job, attempt, name, false, why.clone(), effects);
                effects.push(FarmEffect::Retire { job, attempt });
            }
        }
    }

    /// A claim of a circuit whose key the worker does not have goes to another one at once. Whether it was such a claim.
    pub(super) fn refuse_claim(
        &mut self,
        name: &WorkerId,
        id: JobId,
        attempt: Attempt,
        effects: &mut Vec<FarmEffect>,
    ) -> bool {
        let Some(job) = id.batch_no().and_then(|batch_no| self.jobs.get_mut(&batch_no)) else { return false };
        let shape = job.shape;
        let worker = self.crew.present().get(name);
        if worker.is_none_or(|worker| !worker.refused.contains_key(&shape)) {
            return false;
        }
        if job.attempt == attempt.0 && matches!(job.phase, Phase::Published { .. }) {
            job.end(Some(name), false);
            effects.push(FarmEffect::Retire { job: id, attempt });
        }
        self.tell_refused(name, shape, effects);
        effects.push(FarmEffect::Control {
            worker: name.clone(),
            control: Control::Cancel { job: id, attempt },
        });
        true
    }

    fn tell_refused(&self, name: &WorkerId, shape: Shape, effects: &mut Vec<FarmEffect>) {
        let Some(wanted) = self.pinned.get(&shape) else { return };
        let control = Control::Refuse { shape, verifying_key: *wanted };
        effects.push(FarmEffect::Control { worker: name.clone(), control });
    }
}
