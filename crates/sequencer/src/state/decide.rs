//! Requests become events. What decides takes `&self` and only says what is to happen; [`State::record`] applies it, as a replay
//! does, and logs it. A rejection leaves the state as it was.

use circuits::{message::SignedKind, slot::SlotEffect};
use protocol::{Draft, OperationId, Placement, PrepareSend, PrepareWithdraw};
use wire::WorkerId;

use super::{
    Remembered, State, StateError,
    event::{Accepted, Computed, Event, KeyRegistered, ProofAccepted, Stamped},
};
use crate::{
    batcher::{Need, Room, SealReason},
    farm::{FarmCommand, FarmEffect, FarmRecord},
    ledger::{
        Limits, Verified,
        prepare::{Book, Outlook},
    },
    rejection::Rejection,
    settlement::{ChainView, Note, SettlementEffect, SettlementRecord},
};

/// Why a request led to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure<R> {
    /// It is turned down. The state goes on.
    #[error("{0}")]
    Rejected(R),
    /// What was decided does not fit the state. The state is not to be used any more.
    #[error(transparent)]
    State(#[from] StateError),
}

impl<R> Failure<R> {
    /// Why it is turned down.
    ///
    /// # Errors
    /// `StateError` if it is not.
    pub fn rejected(self) -> Result<R, StateError> {
        match self {
            Self::Rejected(rejected) => Ok(rejected),
            Self::State(error) => Err(error),
        }
    }
}

impl State {
    /// Applies what was decided, and logs it.
    ///
    /// # Errors
    /// `StateError` if it does not fit the state, which would be a bug.
    pub(super) fn record(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        at: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<Vec<FarmEffect>, StateError> {
        let mut effects = Vec::new();
        for event in events {
            let stamped = Stamped { at, event };
            effects.extend(self.apply(&stamped)?);
            log.push(stamped);
        }
        Ok(effects)
    }

    /// The very first event: the class of batch 1.
    ///
    /// # Errors
    /// `StateError` if it is not the first.
    pub fn begin(&mut self, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        let opened = self.decide_reopening(1);
        self.record([opened], now, log).map(drop)
    }

    fn outlook(&self) -> Outlook {
        let open = self.batcher.open_batch();
        Outlook {
            domain: self.rules.domain,
            open_batch: open.batch_no,
            open_start: open.start,
            valid_for: self.rules.valid_for,
        }
    }

    /// # Errors
    /// A rejection for the first rule that is broken.
    pub fn prepare_send(&self, ask: &PrepareSend) -> Result<Draft, Rejection> {
        self.ledger.prepare_send(ask, &self.rules.limits, &self.outlook())
    }

    /// # Errors
    /// A rejection for the first rule that is broken.
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
    /// A rejection for the first rule that is broken; `StateError` if the cores disagree, which would be a bug.
    pub fn submit(
        &mut self,
        operation: &Verified,
        stop: Option<Rejection>,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<OperationId, Failure<Rejection>> {
        if let Some(known) = self.known_operation(operation).map_err(Failure::Rejected)? {
            return Ok(known);
        }
        if self.paused {
            return Err(Failure::Rejected(Rejection::Paused));
        }
        stop.map_or(Ok(()), Err).map_err(Failure::Rejected)?;
        let limits = self.admit(now).map_err(Failure::Rejected)?;
        loop {
            let events = self.decide_submission(operation, &limits, now)?;
            let accepted = events.iter().find_map(Event::accepted).map(|accepted| accepted.id);
            self.record(events, now, log)?;
            if let Some(id) = accepted {
                return Ok(id);
            }
        }
    }

    /// The operation that this request was accepted as, if it was.
    fn known_operation(&self, operation: &Verified) -> Result<Option<OperationId>, Rejection> {
        match self.ledger.remembered(operation.sender, &operation.idempotency_key) {
            None if self.is_whole() => Ok(None),
            None => Err(Rejection::Starting),
            Some(Remembered { request_hash, operation: Some(id) })
                if request_hash == operation.request_hash =>
            {
                Ok(Some(OperationId(id)))
            }
            Some(_) => Err(Rejection::IdempotencyConflict),
        }
    }

    /// The event by which an acceptable operation is accepted, or, where the open batch has no room for it, those that make room.
    fn decide_submission(
        &self,
        operation: &Verified,
        limits: &Limits,
        now: u64,
    ) -> Result<Vec<Event>, Failure<Rejection>> {
        let slots = operation.spends.len();
        let records = if operation.kind == SignedKind::Withdraw { slots } else { 0 };
        let room = self.batcher.room(Need { slots, records });
        let placement = match room {
            Room::Here(placement) => placement,
            Room::AfterReopening | Room::AfterSealing => {
                let open = self.batcher.open_batch();
                let later = u32::from(!open.slots.is_empty());
                Placement { batch_no: open.batch_no + later, place: open.start + open.places as u64 }
            }
        };
        let effects = self
            .ledger
            .check(operation, limits, self.rules.domain, placement, now)
            .map_err(Failure::Rejected)?;
        match room {
            Room::Here(_) => {
                let accepted = self.accepted(operation, placement, effects, now);
                Ok(vec![Event::Accepted(Box::new(accepted))])
            }
            Room::AfterReopening => Ok(vec![self.decide_reopening(slots)]),
            Room::AfterSealing => {
                Ok(self.decide_sealing((self.batcher.plan(), SealReason::NoRoom), slots, now)?)
            }
        }
    }

    fn accepted(
        &self,
        operation: &Verified,
        placement: Placement,
        effects: Vec<SlotEffect>,
        now: u64,
    ) -> Accepted {
        Accepted {
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
            effects: Computed::new(effects),
        }
    }

    /// Registers a directory entry whose signature, key and epoch were verified. An entry with an older epoch than the
    /// one that is there is turned down.
    ///
    /// # Errors
    /// A rejection for the first rule that is broken; `StateError` if the cores disagree, which would be a bug.
    pub fn register_key(
        &mut self,
        registered: KeyRegistered,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), Failure<Rejection>> {
        let event = self.decide_registration(registered).map_err(Failure::Rejected)?;
        self.record(event, now, log)?;
        Ok(())
    }

    fn decide_registration(&self, registered: KeyRegistered) -> Result<Option<Event>, Rejection> {
        if let Some(known) = self.ledger.remembered(registered.owner, &registered.idempotency_key) {
            let same = known.request_hash == registered.request_hash && known.operation.is_none();
            return if same { Ok(None) } else { Err(Rejection::IdempotencyConflict) };
        }
        if !self.is_whole() {
            return Err(Rejection::Starting);
        }
        let current = self.ledger.directory().entry(&registered.owner).map(|known| known.entry.key_epoch);
        if let Some(current) = current.filter(|current| *current > registered.key_epoch) {
            return Err(Rejection::KeyEpochStale { given: registered.key_epoch, current });
        }
        Ok(Some(Event::KeyRegistered(Box::new(registered))))
    }

    /// Seals what is due.
    ///
    /// # Errors
    /// `StateError::Unprovable`, a bug.
    pub fn seal_due(&mut self, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        while let Some(due) = self.batcher.due(now) {
            let sealed = self.decide_sealing(due, 1, now)?;
            self.record(sealed, now, log)?;
        }
        Ok(())
    }

    /// Seals the open batch if it holds anything.
    ///
    /// # Errors
    /// `StateError::Unprovable`, a bug.
    pub fn seal_now(&mut self, now: u64, log: &mut Vec<Stamped>) -> Result<(), StateError> {
        if self.batcher.open_batch().slots.is_empty() {
            return Ok(());
        }
        let sealed = self.decide_sealing((self.batcher.plan(), SealReason::Drain), 1, now)?;
        self.record(sealed, now, log).map(drop)
    }

    /// Whether a proof for this batch is still of use.
    pub fn wants_proof(&self, batch_no: u32) -> bool {
        self.batches.get(&batch_no).is_some_and(|batch| batch.proof.is_none())
            && !self.early_proofs.contains_key(&batch_no)
    }

    /// Notes a proof of a batch that another worker has proven, once for each of its attempts: whoever sends one again
    /// and again fills nothing.
    ///
    /// # Errors
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn late_proof(
        &mut self,
        batch_no: u32,
        attempt: u32,
        worker: WorkerId,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), StateError> {
        let noted = self.decide_late(batch_no, attempt, worker);
        self.record(noted, now, log).map(drop)
    }

    fn decide_late(&self, batch_no: u32, attempt: u32, worker: WorkerId) -> Option<Event> {
        let batch = self.batches.get(&batch_no).filter(|_| !self.wants_proof(batch_no))?;
        let early = self.early_proofs.get(&batch_no).map(|proof| proof.worker.to_string());
        let prover = early.or(batch.worker.clone());
        let known = (1..=batch.attempts).contains(&attempt);
        let news = known && !batch.late.contains(&attempt) && prover != Some(worker.to_string());
        news.then_some(Event::Farm(FarmRecord::Late { batch_no, attempt, worker }))
    }

    /// Records a verified proof, if none was before.
    ///
    /// # Errors
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn accept_proof(
        &mut self,
        proof: ProofAccepted,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<Vec<FarmEffect>, StateError> {
        let event = if self.wants_proof(proof.batch_no) {
            Some(Event::Proven(Box::new(proof)))
        } else {
            self.decide_late(proof.batch_no, proof.attempt, proof.worker)
        };
        self.record(event, now, log)
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

    /// One look at the chain; what follows of it is in the log or among the effects.
    ///
    /// # Errors
    /// `StateError` if the cores disagree, which would be a bug.
    pub fn settlement_step(
        &mut self,
        view: &ChainView,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<Vec<SettlementEffect>, StateError> {
        let mut effects = Vec::new();
        for effect in self.settlement.decide(view, now) {
            match effect {
                SettlementEffect::Note(note) => self.settlement.note(note, now),
                SettlementEffect::Record(record) => {
                    self.record([Event::Settlement(record)], now, log)?;
                }
                effect => effects.push(effect),
            }
        }
        Ok(effects)
    }

    /// Notes what one look at the chain is to know of the one before.
    pub fn note_settlement(&mut self, note: Note, now: u64) {
        self.settlement.note(note, now);
    }

    /// Records what became of a submission behind the gates: signed (before it is sent) or refused.
    ///
    /// # Errors
    /// `StateError` if it is of a batch that does not wait, which would be a bug.
    pub fn settled(
        &mut self,
        record: SettlementRecord,
        now: u64,
        log: &mut Vec<Stamped>,
    ) -> Result<(), StateError> {
        let news = match &record {
            SettlementRecord::Refused { batch_no, reason, .. } => self.settlement.is_news(*batch_no, reason),
            _ => true,
        };
        self.record(news.then_some(Event::Settlement(record)), now, log).map(drop)
    }
}
