//! Requests become events. A refusal leaves the state as it was; whatever is decided is applied at once and logged.

use circuits::{message::SignedKind, slot::SlotInput};
use protocol::{Draft, OperationId, Placement, PrepareSend, PrepareWithdraw};
use wire::WorkerId;

use super::{
    Remembered, State, StateError,
    event::{Accepted, Event, KeyRegistered, ProofAccepted, Stamped},
};
use crate::{
    batcher::{Filled, Need, Room, SealReason},
    farm::{FarmCommand, FarmEffect, FarmRecord},
    ledger::{
        Limits, Verified,
        prepare::{Book, Outlook},
    },
    rejection::Rejection,
    settlement::{ChainView, SettlementEffect, SettlementRecord},
};

impl State {
    pub(super) fn log(&mut self, at: u64, event: Event, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        let stamped = Stamped { at, event };
        self.apply(&stamped)?;
        log.push(stamped);
        Ok(())
    }

    /// The very first event: the class of batch 1.
    ///
    /// # Errors
    /// `StateError` never, on a new state.
    pub fn begin(&mut self, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        self.reopen(1, now, log);
        Ok(())
    }

    fn outlook(&self) -> Outlook {
        Outlook {
            domain: self.rules.domain,
            open_batch: self.batcher.open.batch_no,
            open_start: self.batcher.open.start,
            valid_for: self.rules.valid_for,
        }
    }

    /// # Errors
    /// A refusal for the first rule that is broken.
    pub fn prepare_send(&self, ask: &PrepareSend) -> Result<Draft, Rejection> {
        self.ledger.prepare_send(ask, &self.rules.limits, &self.outlook())
    }

    /// # Errors
    /// A refusal for the first rule that is broken.
    pub fn prepare_withdraw(&self, ask: &PrepareWithdraw) -> Result<Draft, Rejection> {
        self.ledger.prepare_withdraw(ask, &self.rules.limits, &self.outlook())
    }

    /// Accepts an operation: all its leaves, in consecutive slots of one batch, or none.
    ///
    /// `stop`: why nothing new may be promised now, if so. What was accepted before is answered all the same.
    ///
    /// If the open batch has no room it is sealed first, which stays even in the case that a forced request in it takes
    /// the very leaf the operation spends.
    ///
    /// # Errors
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn submit(
        &mut self,
        operation: &Verified,
        stop: Option<Rejection>,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<Result<OperationId, Rejection>, StateError> {
        if let Some(known) = self.ledger.remembered(operation.sender, &operation.idempotency_key) {
            return Ok(match known {
                Remembered { request_hash, operation: Some(id) }
                    if request_hash == operation.request_hash =>
                {
                    Ok(OperationId(id))
                }
                _ => Err(Rejection::IdempotencyConflict),
            });
        }
        if self.paused {
            return Ok(Err(Rejection::Paused));
        }
        if let Some(refused) = stop {
            return Ok(Err(refused));
        }
        let limits = match self.admit(now) {
            Ok(limits) => limits,
            Err(refused) => return Ok(Err(refused)),
        };
        let slots = operation.spends.len();
        let records = if operation.kind == SignedKind::Withdraw { slots } else { 0 };
        let need = Need { slots, records };
        let tentative = match self.batcher.room(need) {
            Room::Here(placement) => placement,
            Room::AfterReopening | Room::AfterSealing => {
                let open = &self.batcher.open;
                let later = u32::from(!open.slots.is_empty());
                Placement { batch_no: open.batch_no + later, place: open.start + open.places as u64 }
            }
        };
        let mut effects = match self.check(operation, &limits, tentative, now) {
            Ok(effects) => effects,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut moved = false;
        let placement = loop {
            match self.batcher.room(need) {
                Room::Here(placement) => break placement,
                Room::AfterReopening => self.reopen(slots, now, log),
                Room::AfterSealing => {
                    self.seal((self.batcher.plan(), SealReason::NoRoom), slots, now, log)?
                }
            }
            moved = true;
        };
        if moved {
            effects = match self.check(operation, &limits, placement, now) {
                Ok(effects) => effects,
                Err(refused) => return Ok(Err(refused)),
            };
        }
        let accepted = Accepted {
            id: OperationId::of_request(
                &operation.sender,
                &operation.idempotency_key,
                &operation.request_hash,
            ),
            idempotency_key: operation.idempotency_key.clone(),
            request_hash: operation.request_hash,
            kind: operation.kind,
            sender: operation.sender,
            recipient: operation.recipient,
            batch_no: placement.batch_no,
            place: placement.place,
            spends: operation.spends.clone(),
            deadline: now / 1000 + self.rules.promise_deadline_s,
        };
        let slots = operation.spends.iter().zip(effects);
        let slots =
            slots.map(|(spend, effect)| Filled { input: SlotInput::Signed(Box::new(spend.clone())), effect });
        self.accept_filled(&accepted, slots.collect(), now)?;
        let id = accepted.id;
        log.push(Stamped { at: now, event: Event::Accepted(Box::new(accepted)) });
        Ok(Ok(id))
    }

    fn check(
        &self,
        operation: &Verified,
        limits: &Limits,
        at: Placement,
        now: u64,
    ) -> Result<Vec<circuits::slot::SlotEffect>, Rejection> {
        self.ledger.check(operation, limits, self.rules.domain, at, now)
    }

    /// Registers a directory entry whose signature, key and epoch were verified. An entry with an older epoch than the
    /// one that is there is refused.
    ///
    /// # Errors
    /// `StateError` never; the inner result is a refusal.
    pub fn register_key(
        &mut self,
        registered: KeyRegistered,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<Result<(), Rejection>, StateError> {
        if let Some(known) = self.ledger.remembered(registered.owner, &registered.idempotency_key) {
            let same = known.request_hash == registered.request_hash && known.operation.is_none();
            return Ok(if same { Ok(()) } else { Err(Rejection::IdempotencyConflict) });
        }
        let current = self.ledger.directory.entry(&registered.owner).map(|known| known.entry.key_epoch);
        if let Some(current) = current.filter(|current| *current > registered.key_epoch) {
            return Ok(Err(Rejection::KeyEpochStale { given: registered.key_epoch, current }));
        }
        self.log(now, Event::KeyRegistered(Box::new(registered)), log)?;
        Ok(Ok(()))
    }

    /// Seals what is due.
    ///
    /// # Errors
    /// `StateError::Unprovable`, a bug.
    pub fn seal_due(&mut self, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        while let Some(due) = self.batcher.due(now) {
            self.seal(due, 1, now, log)?;
        }
        Ok(())
    }

    /// Seals the open batch if it holds anything.
    ///
    /// # Errors
    /// `StateError::Unprovable`, a bug.
    pub fn seal_now(&mut self, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        if self.batcher.open.slots.is_empty() {
            return Ok(());
        }
        self.seal((self.batcher.plan(), SealReason::Drain), 1, now, log)
    }

    /// One step of the farm; what it wants recorded is in the log.
    pub fn farm_step(&mut self, command: FarmCommand, now: u64, log: &mut Vec<Stamped>) -> Vec<FarmEffect> {
        let mut effects = self.farm.step(command, now);
        effects.retain(|effect| match effect {
            FarmEffect::Record(record) => {
                self.note_farm(record, now);
                log.push(Stamped { at: now, event: Event::Farm(record.clone()) });
                false
            }
            _ => true,
        });
        effects
    }

    /// Whether a proof for this batch is still of use.
    pub fn wants_proof(&self, batch_no: u32) -> bool {
        self.batches.get(&batch_no).is_some_and(|batch| batch.proof.is_none())
            && !self.early_proofs.contains_key(&batch_no)
    }

    /// Notes a proof of a batch that another worker has proven, once for each of its attempts: whoever sends one again
    /// and again fills nothing.
    pub fn late_proof(
        &mut self,
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
        now: u64,
        log: &mut Vec<Stamped>,
    ) {
        let Some(batch) = self.batches.get(&batch_no).filter(|_| !self.wants_proof(batch_no)) else { return };
        let early = self.early_proofs.get(&batch_no).map(|proof| proof.worker.to_string());
        let prover = early.or(batch.worker.clone());
        let known = (1..=batch.attempts).contains(&attempt);
        if !known || batch.late.contains(&attempt) || prover == Some(worker.to_string()) {
            return;
        }
        let record = FarmRecord::Late { batch_no, attempt, worker };
        self.note_farm(&record, now);
        log.push(Stamped { at: now, event: Event::Farm(record) });
    }

    /// Records a verified proof, if none was before.
    ///
    /// # Errors
    /// `StateError` if the views disagree, which would be a bug.
    pub fn accept_proof(
        &mut self,
        proof: ProofAccepted,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<Vec<FarmEffect>, StateError> {
        if !self.wants_proof(proof.batch_no) {
            self.late_proof(proof.batch_no, proof.attempt, proof.worker, now, log);
            return Ok(Vec::new());
        }
        let effects = self.proven(&proof, now)?;
        log.push(Stamped { at: now, event: Event::Proven(Box::new(proof)) });
        Ok(effects)
    }

    /// One look at the chain; what follows of it is in the log or among the effects.
    ///
    /// # Errors
    /// `StateError` if the views disagree, which would be a bug.
    pub fn settlement_step(
        &mut self,
        view: &ChainView,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<Vec<SettlementEffect>, StateError> {
        let mut effects = Vec::new();
        for effect in self.settlement.step(view, now) {
            match effect {
                SettlementEffect::Record(record) => self.log(now, Event::Settlement(record), log)?,
                effect => effects.push(effect),
            }
        }
        Ok(effects)
    }

    /// Records what became of a submission behind the gates: signed (before it is sent) or refused.
    ///
    /// # Errors
    /// `StateError` never.
    pub fn settled(
        &mut self,
        record: SettlementRecord,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), StateError> {
        let old = match &record {
            SettlementRecord::Refused { batch_no, reason, .. } => !self.settlement.is_news(*batch_no, reason),
            _ => false,
        };
        if old { Ok(()) } else { self.log(now, Event::Settlement(record), log) }
    }
}
