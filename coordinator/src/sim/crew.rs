//! Workers. An honest one can be slow, fail, hand back and die; a liar says what it likes.

use std::time::Duration;

use bn254::Fr;
use circuits::batch::Prepared;
use wire::{
    Attempt, CircuitSupport, Control, FailureKind, Hold, JobEntry, JobId, ProofBytes, Registration, Stage,
    Timings, WorkerEvent, WorkerId, job::decode_batch_input,
};

use super::{node::tag, world::World};

pub struct Worker {
    pub id: WorkerId,
    liar: bool,
    registered: bool,
    work: Option<Work>,
    /// Proofs it made before, for replays.
    old: Vec<(JobId, Attempt, [u8; 256])>,
}

struct Work {
    entry: JobEntry,
    stage: Stage,
    public_inputs: Option<[Fr; 3]>,
    /// Turns until it gives up waiting, or is done.
    patience: u32,
}

impl Worker {
    pub fn new(number: usize, liar: bool) -> Option<Self> {
        let id = WorkerId::new(format!("w{number}")).ok()?;
        Some(Self { id, liar, registered: false, work: None, old: Vec::new() })
    }

    /// Its process ends; another one starts under the same name.
    pub fn die(&mut self, world: &mut World) {
        world.seen.deaths += 1;
        world.say(|| format!("{} dies", self.id));
        self.work = None;
        self.registered = false;
    }

    pub fn act(&mut self, world: &mut World) {
        if !self.registered {
            let circuits = world.rules_of_circuits();
            let registration =
                Registration { backend: "tag".to_owned(), version: "1".to_owned(), memory: 1, circuits };
            world.emit(WorkerEvent::Register { worker: self.id.clone(), registration, fresh: true });
            self.registered = true;
            return;
        }
        if self.liar && world.fault(3) {
            world.seen.lies += 1;
            return self.lie(world);
        }
        if world.quiet || world.dice.one_in(3) {
            self.beat(world);
        }
        self.listen(world);
        match self.work.take() {
            None => self.claim(world),
            Some(work) => self.work = self.go_on(work, world),
        }
    }

    fn beat(&self, world: &mut World) {
        let hold = |work: &Work| Hold { job: work.entry.job, attempt: work.entry.attempt, stage: work.stage };
        let holds = self.work.iter().map(hold).collect();
        world.emit(WorkerEvent::Heartbeat { worker: self.id.clone(), holds, card: None });
    }

    fn listen(&mut self, world: &mut World) {
        while let Some(control) = world.streams.next_control(&self.id) {
            let Some(work) = &mut self.work else { continue };
            match control {
                Control::Grant { job, attempt }
                    if (job, attempt) == (work.entry.job, work.entry.attempt)
                        && work.stage == Stage::Waiting =>
                {
                    work.stage = Stage::Fetching;
                    work.patience = if world.quiet { 0 } else { world.dice.below(6) as u32 };
                }
                Control::Cancel { job, attempt }
                    if (job, attempt) == (work.entry.job, work.entry.attempt) =>
                {
                    self.work = None;
                }
                _ => {}
            }
        }
    }

    fn claim(&mut self, world: &mut World) {
        let Some(entry) = world.streams.claim(&self.id) else { return };
        world.say(|| format!("{} claims {} attempt {}", self.id, entry.job, entry.attempt));
        world.emit(WorkerEvent::Claimed { worker: self.id.clone(), job: entry.job, attempt: entry.attempt });
        self.work = Some(Work { entry, stage: Stage::Waiting, public_inputs: None, patience: 12 });
    }

    fn go_on(&mut self, mut work: Work, world: &mut World) -> Option<Work> {
        let (worker, job, attempt) = (self.id.clone(), work.entry.job, work.entry.attempt);
        match work.stage {
            Stage::Waiting => {
                work.patience = work.patience.checked_sub(1)?;
                Some(work)
            }
            Stage::Fetching => {
                let Some(input) = world.streams.input(job) else {
                    let message = "no input".to_owned();
                    let kind = FailureKind::Infrastructure;
                    world.emit(WorkerEvent::Failed { worker, job, attempt, kind, message });
                    return None;
                };
                work.public_inputs = match world.public_inputs_of(job, &input) {
                    Ok(public_inputs) => Some(public_inputs),
                    Err(error) => {
                        world.breaks(|| format!("job {job} cannot be proved: {error}"));
                        None
                    }
                };
                work.stage = Stage::Proving;
                Some(work)
            }
            _ if work.patience > 0 => {
                work.patience -= 1;
                if world.fault(20) {
                    let message = "drained".to_owned();
                    world.emit(WorkerEvent::HandedBack { worker, job, attempt, message });
                    return None;
                }
                if world.fault(20) {
                    let message = "out of memory".to_owned();
                    let kind = world.dice.pick(&[FailureKind::Infrastructure, FailureKind::Proof]);
                    world.emit(WorkerEvent::Failed { worker, job, attempt, kind, message });
                    return None;
                }
                Some(work)
            }
            _ => {
                let public_inputs = work.public_inputs?;
                let proof = tag(&public_inputs);
                self.old.push((job, attempt, proof));
                self.prove(job, attempt, proof, public_inputs, world);
                None
            }
        }
    }

    fn prove(
        &self,
        job: JobId,
        attempt: Attempt,
        proof: [u8; 256],
        public_inputs: [Fr; 3],
        world: &mut World,
    ) {
        let timings = Timings { total: Duration::from_millis(5), ..Timings::default() };
        let (worker, proof) = (self.id.clone(), ProofBytes(proof));
        world.emit(WorkerEvent::Proved { worker, job, attempt, proof, public_inputs, timings });
    }

    /// An invalid proof, another batch's, an old one again, a job it never got, work it does not hold, a flood.
    fn lie(&mut self, world: &mut World) {
        let (sealed, _, _) = world.model.heights();
        let any_batch = 1 + world.dice.below(u64::from(sealed) + 2) as u32;
        let (job, attempt) = match &self.work {
            Some(work) if world.dice.one_in(2) => (work.entry.job, work.entry.attempt),
            _ => (JobId::of_batch(any_batch), Attempt(world.dice.within(1, 3) as u32)),
        };
        let worker = self.id.clone();
        match world.dice.below(7) {
            0 => {
                let mut proof = tag(&world.model.public_inputs(any_batch).unwrap_or_default());
                proof[world.dice.index(256)] ^= 1 << world.dice.below(8);
                let claimed = world.model.public_inputs(any_batch).unwrap_or_default();
                self.prove(job, attempt, proof, claimed, world);
            }
            1 => {
                // Valid for a batch, and sent for whichever.
                let public_inputs = world.model.public_inputs(any_batch).unwrap_or_default();
                self.prove(job, attempt, tag(&public_inputs), public_inputs, world);
            }
            2 if !self.old.is_empty() => {
                let (job, attempt, proof) = world.dice.pick(&self.old);
                self.prove(job, attempt, proof, [Fr::default(); 3], world);
            }
            3 => world.emit(WorkerEvent::Claimed { worker, job, attempt }),
            4 => {
                let stage = world.dice.pick(&[Stage::Waiting, Stage::Proving]);
                let holds = vec![Hold { job, attempt, stage }];
                world.emit(WorkerEvent::Heartbeat { worker, holds, card: None });
            }
            5 => {
                for _ in 0..world.dice.within(4, 20) {
                    let message = "flood".to_owned();
                    let kind = world.dice.pick(&[FailureKind::Input, FailureKind::Infrastructure]);
                    let job = JobId(world.dice.pick(&[0, 1, u64::from(any_batch), u64::MAX]));
                    let worker = worker.clone();
                    world.emit(WorkerEvent::Failed { worker, job, attempt, kind, message });
                }
            }
            _ => world.emit(WorkerEvent::Left { worker, message: "so it says".to_owned() }),
        }
    }
}

impl World {
    fn rules_of_circuits(&self) -> Vec<CircuitSupport> {
        let support = |shape: circuits::shape::Shape| CircuitSupport {
            shape,
            digest: digest(shape),
            verifying_key: digest(shape),
        };
        circuits::shape::Shape::ALL.into_iter().map(support).collect()
    }

    /// What a worker's replay of an input comes to. Replaying costs as much as sealing did, so mostly it is enough that the
    /// input is the one whose public inputs are in the log.
    fn public_inputs_of(&mut self, job: JobId, input: &[u8]) -> Result<[Fr; 3], String> {
        let known = job.batch_no().and_then(|batch_no| self.model.public_inputs(batch_no));
        let known = known.ok_or_else(|| "it is not in the log".to_owned())?;
        if self.model.hashes {
            let input = decode_batch_input(input).map_err(|error| error.to_string())?;
            let prepared = Prepared::new(input).map_err(|error| error.to_string())?;
            if prepared.public_inputs() != known {
                return Err("its replay shows L1 something else".to_owned());
            }
        }
        Ok(known)
    }
}

/// The digest of a circuit's matrices, here.
pub fn digest(shape: circuits::shape::Shape) -> [u8; 32] {
    [shape.number() as u8; 32]
}
