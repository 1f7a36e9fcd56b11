//! What each message does to the cores, and what follows from it once the round is durable.

use queue::{Cursors, QueueWrite};
use sequencer::{
    farm::{FarmCommand, FarmEffect},
    rejection::Rejection,
    settlement::{Note, SettlementEffect},
    state::{State, StateError, event::ProofAccepted},
};
use tokio::sync::oneshot;
use wire::{Control, Directive, JobId};

use super::{AfterCommit, Committed, Driver, FromQueue, Message, OnChain, Round, Submit, ToQueue};
use crate::{explain, views::operation_view};

/// Answers only if the round was committed; without an answer the caller asks again.
fn when_durable(reply: oneshot::Sender<()>) -> AfterCommit {
    Box::new(move |_, committed| {
        if committed == Committed::Yes {
            let _ = reply.send(());
        }
        Vec::new()
    })
}

/// What workers reported, event by event when the store refused a value of it. The event with the value is dropped: it was
/// verified to say nothing that the log needs, or its job ends by its lease.
fn again(events: Vec<FromQueue>, up_to: Option<Cursors>, committed: Committed) -> Vec<Message> {
    let alone = |event| Message::FromQueue { events: vec![event], up_to: None };
    let acknowledged = |up_to: Cursors| Message::FromQueue { events: Vec::new(), up_to: Some(up_to) };
    match committed {
        Committed::Yes | Committed::No => Vec::new(),
        Committed::NotAValue if events.len() == 1 => vec![Message::FromQueue { events, up_to }],
        Committed::Refused if events.len() <= 1 => {
            tracing::error!(
                ?events,
                "PM-STORE-010: an event of a worker is dropped, since the store refuses a value of it"
            );
            up_to.map(acknowledged).into_iter().collect()
        }
        Committed::NotAValue | Committed::Refused => {
            events.into_iter().map(alone).chain(up_to.map(acknowledged)).collect()
        }
    }
}

impl Driver {
    pub(super) fn message(
        &mut self,
        message: Message,
        now: u64,
        round: &mut Round,
    ) -> Result<(), StateError> {
        match message {
            Message::Submit(operation, request, reply) => {
                let stop = self.status.halted().map(|reason| Rejection::Halted { reason });
                let clocks = || self.status.clock().or_else(|| self.time.doubt());
                let stop = stop.or_else(|| clocks().map(|reason| Rejection::Clock { reason }));
                let outcome = match self.state.submit(&operation, stop, now, &mut round.log) {
                    Ok(done) => Ok(done),
                    Err(failure) => Err(failure.rejected()?),
                };
                if let (Ok(id), Some(request)) = (&outcome, request) {
                    round.requests.push((request, *id));
                }
                round.after.push(Box::new(move |state, committed| {
                    let view = |id| {
                        let operation = state.operation(&id).ok_or(Rejection::Unavailable)?;
                        Ok(operation_view(state, operation))
                    };
                    let answer = match committed {
                        Committed::Yes => outcome.and_then(view),
                        Committed::No => Err(Rejection::StoreTakesNothing),
                        Committed::NotAValue => return vec![Message::Submit(operation, request, reply)],
                        Committed::Refused => Err(Rejection::ValueRefused),
                    };
                    let _ = reply.send(answer);
                    Vec::new()
                }));
            }
            Message::Register(entry, reply) => {
                let outcome = match self.state.register_key((*entry).clone(), now, &mut round.log) {
                    Ok(done) => Ok(done),
                    Err(failure) => Err(failure.rejected()?),
                };
                round.after.push(Box::new(move |_, committed| {
                    let answer = match committed {
                        Committed::Yes => outcome,
                        Committed::No => Err(Rejection::StoreTakesNothing),
                        Committed::NotAValue => return vec![Message::Register(entry, reply)],
                        Committed::Refused => Err(Rejection::ValueRefused),
                    };
                    let _ = reply.send(answer);
                    Vec::new()
                }));
            }
            Message::Ask(question) => round.after.push(Box::new(move |state, _| {
                question(state);
                Vec::new()
            })),
            Message::TakeIn { to, logs, reply } => {
                let outcome = match self.state.take_in(to, *logs, now, &mut round.log) {
                    Ok(done) => Ok(done),
                    Err(failure) => Err(failure.rejected()?),
                };
                round.after.push(Box::new(move |_, committed| {
                    // Without an answer the task reads the cursor again.
                    if committed == Committed::Yes {
                        let _ = reply.send(outcome);
                    }
                    Vec::new()
                }));
            }
            Message::ReadAgain { kept, to, logs, reply } => {
                let outcome = match self.state.read_again(kept, to, *logs, now, &mut round.log) {
                    Ok(done) => Ok(done),
                    Err(failure) => Err(failure.rejected()?),
                };
                round.after.push(Box::new(move |_, committed| {
                    if committed == Committed::Yes {
                        let _ = reply.send(outcome);
                    }
                    Vec::new()
                }));
            }
            Message::Intake(record) => self.state.note_intake(record, now, &mut round.log)?,
            Message::Observed { view, reply } => {
                let effects = self.state.settlement_step(&view, now, &mut round.log)?;
                round.after.push(Box::new(move |state, committed| {
                    if committed == Committed::Yes {
                        let wanted =
                            effects.into_iter().filter_map(|effect| on_chain(state, effect)).collect();
                        let _ = reply.send(wanted);
                    }
                    Vec::new()
                }));
            }
            Message::Hold { contract_at } => self.state.note_settlement(Note::Held { contract_at }, now),
            Message::Settled { record, reply } => {
                self.state.settled(*record, now, &mut round.log)?;
                round.after.push(Box::new(move |_, committed| {
                    if committed == Committed::Yes {
                        let _ = reply.send(());
                    }
                    Vec::new()
                }));
            }
            Message::FromQueue { events, up_to } => {
                for event in events.clone() {
                    self.worker_event(event, now, round)?;
                }
                let acknowledged = up_to.clone();
                round.to_queue.extend(up_to.map(|cursors| ToQueue::Write(QueueWrite::Acknowledge(cursors))));
                round.after.push(Box::new(move |_, committed| again(events, acknowledged, committed)));
            }
            Message::Ops(record, reply) => {
                self.state.ops(record, now, &mut round.log)?;
                round.after.push(when_durable(reply));
            }
            Message::Requeue(batch_no, reply) => {
                let effects = self.state.requeue(batch_no, now, &mut round.log);
                self.farm_effects(effects, round);
                round.after.push(when_durable(reply));
            }
            Message::Drain(worker, reply) => {
                let effects = self.state.drain(worker, now, &mut round.log);
                self.farm_effects(effects, round);
                round.after.push(when_durable(reply));
            }
            Message::AddPool(pool, reply) => {
                let (room, effects) = self.state.add_pool(pool, now, &mut round.log);
                self.farm_effects(effects, round);
                round.after.push(Box::new(move |_, committed| {
                    if committed == Committed::Yes {
                        let _ = reply.send(room);
                    }
                    Vec::new()
                }));
            }
            Message::RemovePool(pool, reply) => {
                let effects = self.state.remove_pool(pool, now, &mut round.log);
                self.farm_effects(effects, round);
                round.after.push(when_durable(reply));
            }
            Message::Lines(batch_no, reply) => {
                // What this round commits is not asked for: the caller asked before it.
                let _ = reply.send(self.store.lines(batch_no).map_err(|error| error.to_string()));
            }
            Message::Seal(reply) => {
                self.state.seal_now(now, &mut round.log)?;
                round.after.push(Box::new(move |_, _| {
                    let _ = reply.send(());
                    Vec::new()
                }));
            }
            Message::Stop => {}
        }
        Ok(())
    }

    fn worker_event(&mut self, event: FromQueue, now: u64, round: &mut Round) -> Result<(), StateError> {
        let effects = match event {
            FromQueue::Late { worker, process, job, attempt } => {
                if let Some(batch_no) = job.batch_no() {
                    self.state.late_proof(batch_no, attempt.0, worker.clone(), now, &mut round.log)?;
                }
                let answer = FarmCommand::Answer { worker, process, job, attempt };
                self.state.farm_step(answer, now, &mut round.log)
            }
            FromQueue::Report { worker, process, event } => {
                let report = FarmCommand::Report { worker, process, event };
                self.state.farm_step(report, now, &mut round.log)
            }
            FromQueue::Trouble { pool, entries } => {
                self.state.farm_step(FarmCommand::Trouble { pool, entries }, now, &mut round.log)
            }
            FromQueue::Wiped => self.state.farm_step(FarmCommand::QueueWiped, now, &mut round.log),
            FromQueue::Replayed { batch_no, unprovable } => {
                let replayed = FarmCommand::Replayed { batch_no, unprovable };
                self.state.farm_step(replayed, now, &mut round.log)
            }
            FromQueue::Proof { worker, process, job, attempt, valid: false, .. } => {
                metrics::counter!("proofmill_proofs_refused_total").increment(1);
                tracing::warn!(%worker, %job, %attempt, "PM-FARM-001: a proof does not verify; the job is tried again");
                let answer = FarmCommand::Answer { worker: worker.clone(), process, job, attempt };
                let mut effects = self.state.farm_step(answer, now, &mut round.log);
                let refused = FarmCommand::ProofRefused { worker, job, attempt };
                effects.extend(self.state.farm_step(refused, now, &mut round.log));
                effects
            }
            FromQueue::Proof { worker, process, job, attempt, proof, timings, valid: true } => {
                let Some(batch_no) = job.batch_no() else { return Ok(()) };
                if let Some(millijoules) =
                    timings.energy_millijoules.filter(|_| self.state.wants_proof(batch_no))
                {
                    let (worker, payments) = (worker.clone(), explain::slots_used(&self.state, batch_no));
                    let energy = FarmCommand::ProofEnergy { worker, millijoules, payments };
                    let effects = self.state.farm_step(energy, now, &mut round.log);
                    self.farm_effects(effects, round);
                }
                if self.state.wants_proof(batch_no)
                    && let Some(batch) = self.state.batch(batch_no)
                {
                    self.telemetry.proved(batch.shape.name(), &worker, &timings);
                }
                let accepted = ProofAccepted {
                    batch_no,
                    attempt: attempt.0,
                    worker,
                    proof: proof.0.to_vec(),
                    prove_ms: u64::try_from(timings.total.as_millis()).unwrap_or(u64::MAX),
                    witness_ms: u64::try_from(timings.witness.as_millis()).unwrap_or(u64::MAX),
                };
                let worker = accepted.worker.clone();
                let mut effects = self.state.accept_proof(accepted, now, &mut round.log)?;
                let answer = FarmCommand::Answer { worker, process, job, attempt };
                effects.extend(self.state.farm_step(answer, now, &mut round.log));
                effects
            }
        };
        self.farm_effects(effects, round);
        Ok(())
    }

    pub(super) fn farm_effects(&self, effects: Vec<FarmEffect>, round: &mut Round) {
        round.to_queue.extend(effects.into_iter().filter_map(|effect| {
            let write = match effect {
                FarmEffect::Record(_) => return None,
                FarmEffect::Replay { batch_no } => {
                    let evidence = explain::evidence(&self.state, batch_no)?;
                    return Some(ToQueue::Replay { batch_no, evidence });
                }
                FarmEffect::Pools { open, closed } => QueueWrite::Pools { open, closed },
                FarmEffect::Input { pool, batch_no } => {
                    let input = self.state.batch(batch_no)?.input.clone()?;
                    QueueWrite::Input { pool, job: JobId::of_batch(batch_no), input }
                }
                FarmEffect::RemoveInput { pool, batch_no } => {
                    QueueWrite::RemoveInput { pool, job: JobId::of_batch(batch_no) }
                }
                FarmEffect::Send { worker, directive } => {
                    if let Directive { control: Control::Refuse { shape, .. }, .. } = directive {
                        tracing::warn!(%worker, circuit = %shape, "PM-FARM-002: the worker's key is not the contract's; it gets no jobs of the circuit");
                    }
                    QueueWrite::Directive { worker, directive }
                }
                FarmEffect::Forget { worker } => QueueWrite::Forget { worker },
            };
            Some(ToQueue::Write(write))
        }));
    }
}

fn on_chain(state: &State, effect: SettlementEffect) -> Option<OnChain> {
    match effect {
        SettlementEffect::Record(_) | SettlementEffect::Note(_) => None,
        SettlementEffect::Submit { batch_no, last, nonce, fees, tried, replaces } => {
            let batches = (batch_no..=last)
                .map(|no| Some((state.submission(no)?, state.batch(no)?.public_inputs)))
                .collect::<Option<_>>()?;
            Some(OnChain::Submit(Box::new(Submit { batches, nonce, fees, tried, replaces })))
        }
        SettlementEffect::Send { batch_no, tx } => {
            let before = state.settlement().transactions(batch_no).iter().rev().filter(|known| **known != tx);
            Some(OnChain::Send(std::iter::once(tx.clone()).chain(before.cloned()).collect()))
        }
        SettlementEffect::Alarm { batch_no, reason } => {
            Some(OnChain::Alarm(format!("batch {batch_no}: {reason}")))
        }
        SettlementEffect::Halt { batch_no, reason } => {
            Some(OnChain::Halt(format!("batch {batch_no}: {reason}")))
        }
    }
}
