//! Workers. An honest one can be slow, fail, hand back and die; a liar says what it likes, about its own pool.

use std::time::Duration;

use bn254::Fr;
use circuits::batch::Prepared;
use wire::{
    Attempt, CircuitSupport, Control, FailureKind, InFlight, InstanceName, JobEntry, JobId, PoolName,
    ProcessId, ProofBytes, Registration, Stage, Timings, WorkerEvent, WorkerId, job::decode_batch_input,
};

use super::{node::tag, world::World};

/// Attempts that a worker holds at once.
const SLOTS: usize = 2;

pub struct Worker {
    pub id: WorkerId,
    process: ProcessId,
    number: usize,
    starts: u64,
    liar: bool,
    registered: bool,
    work: Vec<Work>,
    /// How attempts ended, until that is answered.
    ended: Vec<(JobId, Attempt, WorkerEvent)>,
    /// Proofs it made before, for replays.
    old: Vec<(JobId, Attempt, [u8; 256])>,
}

struct Work {
    entry: JobEntry,
    stage: Stage,
    public_inputs: Option<[Fr; 3]>,
    /// Turns until it is done.
    patience: u32,
}

/// The second pool.
pub fn rack() -> Option<PoolName> {
    PoolName::new("rack").ok()
}

/// Every other worker is of the second pool.
fn pool(number: usize) -> Option<PoolName> {
    if number.is_multiple_of(2) { Some(PoolName::default()) } else { rack() }
}

impl Worker {
    pub fn new(number: usize, liar: bool) -> Option<Self> {
        let id = WorkerId::new(pool(number)?, InstanceName::new(format!("w{number}")).ok()?);
        Some(Self {
            id,
            process: ProcessId(0),
            number,
            starts: 0,
            liar,
            registered: false,
            work: Vec::new(),
            ended: Vec::new(),
            old: Vec::new(),
        })
    }

    /// Its process ends; another one starts, mostly under a name of its own.
    pub fn die(&mut self, world: &mut World) {
        world.seen.deaths += 1;
        world.say(|| format!("{} dies", self.id));
        self.restart(world);
    }

    fn restart(&mut self, world: &mut World) {
        self.starts += 1;
        self.process = ProcessId(self.starts);
        if world.dice.one_in(4) {
            world.say(|| format!("{} starts again under its name", self.id));
        } else if let Ok(name) = InstanceName::new(format!("w{}-{}", self.number, self.starts)) {
            self.id.instance = name;
        }
        self.work.clear();
        self.ended.clear();
        self.registered = false;
    }

    pub fn act(&mut self, world: &mut World) {
        self.listen(world);
        if !self.registered {
            let circuits = world.rules_of_circuits();
            let registration = Registration {
                backend: "tag".to_owned(),
                version: "1".to_owned(),
                memory: 1,
                circuits,
                slots: SLOTS as u8,
            };
            let in_flight = self.in_flight();
            self.emit(WorkerEvent::Register { registration, in_flight }, world);
            return;
        }
        if self.liar && world.fault(3) {
            world.seen.lies += 1;
            return self.lie(world);
        }
        if world.quiet || world.dice.one_in(3) {
            let in_flight = self.in_flight();
            self.emit(WorkerEvent::Heartbeat { in_flight, card: None }, world);
        }
        if !self.ended.is_empty() && (world.quiet || world.dice.one_in(4)) {
            for (_, _, event) in self.ended.clone() {
                self.emit(event, world);
            }
        }
        if !self.work.is_empty() {
            let work = self.work.remove(0);
            if let Some(work) = self.go_on(work, world) {
                self.work.insert(0, work);
            }
        }
    }

    fn emit(&self, event: WorkerEvent, world: &mut World) {
        world.emit(&self.id, self.process, event);
    }

    fn in_flight(&self) -> Vec<InFlight> {
        let named =
            |work: &Work| InFlight { job: work.entry.job, attempt: work.entry.attempt, stage: work.stage };
        self.work.iter().map(named).collect()
    }

    fn listen(&mut self, world: &mut World) {
        while let Some(control) = world.streams.next_control(&self.id, self.process) {
            match control {
                Control::Registered => self.registered = true,
                Control::Reregister => self.registered = false,
                Control::NameTaken => return self.restart(world),
                Control::Job(entry) => self.receive(entry, world),
                Control::Close { job, attempt } => {
                    let key = (job, attempt);
                    self.ended.retain(|(job, attempt, _)| (*job, *attempt) != key);
                    self.work.retain(|work| (work.entry.job, work.entry.attempt) != key);
                }
                Control::Drain | Control::Refuse { .. } => {}
            }
        }
    }

    fn receive(&mut self, entry: JobEntry, world: &mut World) {
        let (job, attempt) = (entry.job, entry.attempt);
        if self.work.iter().any(|work| (work.entry.job, work.entry.attempt) == (job, attempt)) {
            return;
        }
        if let Some((_, _, event)) = self.ended.iter().find(|(j, a, _)| (*j, *a) == (job, attempt)) {
            let event = event.clone();
            return self.emit(event, world);
        }
        if self.work.len() >= SLOTS {
            return self.end(WorkerEvent::HandedBack { job, attempt, message: "busy".to_owned() }, world);
        }
        let patience = if world.quiet { 0 } else { world.dice.below(6) as u32 };
        self.work.push(Work { entry, stage: Stage::Queued, public_inputs: None, patience });
    }

    /// Reports the end of an attempt, and again until it is answered.
    fn end(&mut self, event: WorkerEvent, world: &mut World) {
        if let Some((job, attempt)) = event.ends() {
            self.ended.push((job, attempt, event.clone()));
        }
        self.emit(event, world);
    }

    fn go_on(&mut self, mut work: Work, world: &mut World) -> Option<Work> {
        let (job, attempt) = (work.entry.job, work.entry.attempt);
        match work.stage {
            Stage::Queued => {
                let Some(input) = world.streams.input(&self.id.pool, job) else {
                    let message = "no input".to_owned();
                    self.end(WorkerEvent::HandedBack { job, attempt, message }, world);
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
                    self.end(WorkerEvent::HandedBack { job, attempt, message }, world);
                    return None;
                }
                if world.fault(20) {
                    let message = "out of memory".to_owned();
                    let kind = world.dice.pick(&[FailureKind::Infrastructure, FailureKind::Proof]);
                    self.end(WorkerEvent::Failed { job, attempt, kind, message }, world);
                    return None;
                }
                Some(work)
            }
            _ => {
                let public_inputs = work.public_inputs?;
                let proof = tag(&public_inputs);
                self.old.push((job, attempt, proof));
                self.end(proved(job, attempt, proof), world);
                None
            }
        }
    }

    /// An invalid proof, another batch's, an old one again, a job it never got, work it does not hold, a flood, another name.
    fn lie(&mut self, world: &mut World) {
        let (sealed, _, _) = world.model.heights();
        let any_batch = 1 + world.dice.below(u64::from(sealed) + 2) as u32;
        let (job, attempt) = match self.work.first() {
            Some(work) if world.dice.one_in(2) => (work.entry.job, work.entry.attempt),
            _ => (JobId::of_batch(any_batch), Attempt(world.dice.within(1, 3) as u32)),
        };
        match world.dice.below(8) {
            0 => {
                let mut proof = tag(&world.model.public_inputs(any_batch).unwrap_or_default());
                proof[world.dice.index(256)] ^= 1 << world.dice.below(8);
                self.emit(proved(job, attempt, proof), world);
            }
            1 => {
                // Valid for a batch, and sent for whichever.
                let public_inputs = world.model.public_inputs(any_batch).unwrap_or_default();
                self.emit(proved(job, attempt, tag(&public_inputs)), world);
            }
            2 if !self.old.is_empty() => {
                let (job, attempt, proof) = world.dice.pick(&self.old);
                self.emit(proved(job, attempt, proof), world);
            }
            3 => {
                // Many that do not exist, each for a moment.
                for name in 0..world.dice.within(1, 8) {
                    let Ok(instance) = InstanceName::new(format!("ghost{name}")) else { continue };
                    let ghost = WorkerId::new(self.id.pool.clone(), instance);
                    let circuits = world.rules_of_circuits();
                    let registration = Registration {
                        backend: String::new(),
                        version: String::new(),
                        memory: 0,
                        circuits,
                        slots: 4,
                    };
                    let event = WorkerEvent::Register { registration, in_flight: Vec::new() };
                    world.emit(&ghost, ProcessId(world.time.now()), event);
                }
            }
            4 => {
                let stage = world.dice.pick(&[Stage::Queued, Stage::Proving]);
                let in_flight = vec![InFlight { job, attempt, stage }];
                self.emit(WorkerEvent::Heartbeat { in_flight, card: None }, world);
            }
            5 => {
                for _ in 0..world.dice.within(4, 20) {
                    let message = "flood".to_owned();
                    let kind = world.dice.pick(&[FailureKind::Input, FailureKind::Infrastructure]);
                    let job = JobId(world.dice.pick(&[0, 1, u64::from(any_batch), u64::MAX]));
                    self.emit(WorkerEvent::Failed { job, attempt, kind, message }, world);
                }
            }
            6 => {
                // Blames whatever it holds.
                for work in std::mem::take(&mut self.work) {
                    let (job, attempt) = (work.entry.job, work.entry.attempt);
                    let (kind, message) = (FailureKind::Input, "so it says".to_owned());
                    self.emit(WorkerEvent::Failed { job, attempt, kind, message }, world);
                }
            }
            _ => self.emit(WorkerEvent::Left { message: "so it says".to_owned() }, world),
        }
    }
}

fn proved(job: JobId, attempt: Attempt, proof: [u8; 256]) -> WorkerEvent {
    let timings = Timings { total: Duration::from_millis(5), ..Timings::default() };
    WorkerEvent::Proved { job, attempt, proof: ProofBytes(proof), timings }
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
