//! What this worker cannot prove: circuits without a key, of another version, or with a key that is not the contract's.

use std::time::Duration;

use circuits::shape::Shape;
use wire::JobEntry;

use super::{Effect, State};

impl State {
    /// Why this worker cannot prove the entry, if so.
    pub(super) fn refusal(&self, entry: &JobEntry, memory_used: u64) -> Option<String> {
        let shape = entry.shape;
        let Some(circuit) = self.registration.circuits.iter().find(|circuit| circuit.shape == shape) else {
            return Some(format!("PM-WORKER-010: this worker has no key of {shape}; start it with one"));
        };
        if let Some((_, why)) = self.refused.iter().find(|(refused, _)| *refused == shape) {
            return Some(why.clone());
        }
        if circuit.digest != entry.circuit_digest {
            return Some(format!(
                "PM-WORKER-011: the job is for another version of {shape} than this worker's key; run the same release \
                 on coordinator and worker"
            ));
        }
        (memory_used > self.rules.memory).then(|| {
            format!(
                "PM-WORKER-012: this worker uses {} MiB and may use {} MiB; restart it or raise its memory limit",
                memory_used >> 20,
                self.rules.memory >> 20
            )
        })
    }

    /// Its key of a circuit is not the contract's: no proof made with it would be accepted. With no other circuit it leaves.
    pub(super) fn give_up(
        &mut self,
        shape: Shape,
        wanted: &[u8; 32],
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let circuits = &self.registration.circuits;
        let known = self.refused.iter().any(|(refused, _)| *refused == shape);
        let Some(circuit) = circuits.iter().find(|circuit| circuit.shape == shape && !known) else { return };
        let why = format!(
            "PM-WORKER-013: the key of {shape} here has the verifying key {}, the contract has {}; copy the coordinator's key \
             file and start again",
            hex(&circuit.verifying_key),
            hex(wanted)
        );
        self.refused.push((shape, why.clone()));
        self.hand_back(&why, |held| held.entry.shape == shape, now, effects);
        effects.push(Effect::GiveUp(shape, why.clone()));
        if self.refused.len() == self.registration.circuits.len() {
            self.drain(now, Some(why), effects);
        }
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
