//! A [`Backend`] that proves in a child, and in the next child once that one ended.
//!
//! One proof at a time; the next witness is staged meanwhile. A request that was under way when a child ended fails and
//! is not made again: who asked decides that. The next request starts a new child, after a pause that grows with each end
//! in a row, and prepares all keys again.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use prover::{
    Backend, BackendError, Cancel, DeviceInfo, Key, KeyId, Matrices, Staged, Sums, Timings, Witness,
};

use super::{
    link::{Link, NoAnswer, Settings},
    protocol::{Answer, Failure, Preparation, Wish, timings_from_array},
    slots::{Slots, private_file},
};

/// Witnesses that a child may hold: one that is proved and one that waits.
const MAX_AHEAD: usize = 2;
/// How often a pause looks whether anybody still wants what comes after it.
const LOOK: Duration = Duration::from_millis(10);

/// Proves in a process of its own.
pub struct ChildBackend {
    settings: Settings,
    running: Mutex<Running>,
    proving: Mutex<()>,
    slots: Slots,
    next_key: AtomicU64,
    ahead: Arc<AtomicUsize>,
}

struct Running {
    link: Arc<Link>,
    /// Ends of children since the last proof.
    ends: u32,
    /// The link is known to have ended, and this is when.
    ended: Option<Instant>,
    keys: BTreeMap<u64, Kept>,
    device: Option<DeviceInfo>,
}

/// What a new child needs to prepare a key again.
#[derive(Clone)]
struct Kept {
    key: Arc<Key>,
    matrices: Arc<Matrices>,
}

/// A witness that a child has taken.
struct Place {
    link: Arc<Link>,
    number: u64,
    ahead: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ahead.fetch_sub(1, Ordering::Relaxed);
        // Once proved there is nothing to forget, and the child does not mind.
        self.link.tell(Wish::Unstage { staged: self.number });
    }
}

impl ChildBackend {
    /// Starts the first child.
    ///
    /// # Errors
    /// Why its backend cannot be used here.
    pub fn start(settings: Settings) -> Result<Self, BackendError> {
        let link = Arc::new(Link::start(&settings)?);
        let device = link.device().cloned();
        let running = Running { link, ends: 0, ended: None, keys: BTreeMap::new(), device };
        Ok(Self {
            settings,
            running: Mutex::new(running),
            proving: Mutex::new(()),
            slots: Slots::new(),
            next_key: AtomicU64::new(0),
            ahead: Arc::default(),
        })
    }

    /// The number of the present child in the system.
    pub fn process(&self) -> u32 {
        self.running.lock().link.process()
    }

    /// The running child, or a new one that has all keys.
    fn link(&self, cancel: Option<&Cancel>) -> Result<Arc<Link>, BackendError> {
        let mut running = self.running.lock();
        self.revive(&mut running, cancel)?;
        Ok(Arc::clone(&running.link))
    }

    fn revive(
        &self,
        running: &mut MutexGuard<'_, Running>,
        cancel: Option<&Cancel>,
    ) -> Result<(), BackendError> {
        if running.link.is_alive() {
            return Ok(());
        }
        if running.ended.is_none() {
            running.ends += 1;
            running.ended = Some(Instant::now());
        }
        let pause = self.settings.backoff.pause(running.ends);
        while running.ended.is_some_and(|ended| ended.elapsed() < pause) {
            cancel.map_or(Ok(()), Cancel::check)?;
            thread::sleep(LOOK.min(pause));
        }
        tracing::warn!(backend = self.settings.backend, ends = running.ends, "a new proving child starts");
        metrics::counter!("proofmill_worker_child_restarts_total").increment(1);
        let started = Link::start(&self.settings).and_then(|link| {
            for (number, kept) in &running.keys {
                self.prepare_on(&link, *number, kept)?;
            }
            Ok(link)
        });
        match started {
            Ok(link) => {
                running.device = link.device().cloned();
                running.link = Arc::new(link);
                running.ended = None;
                Ok(())
            }
            Err(error) => {
                running.ends += 1;
                running.ended = Some(Instant::now());
                Err(error)
            }
        }
    }

    /// Hands a key over. Matrices, and a key without a file, lie in private files until the child has read them.
    fn prepare_on(&self, link: &Link, number: u64, kept: &Kept) -> Result<(), BackendError> {
        let folder = std::env::temp_dir();
        let no_file = |error: &dyn std::error::Error| {
            self.device_error(format!("PM-CHILD-015: the proving child cannot get a key: {error}"))
        };
        let matrices = private_file(&folder).map_err(|error| no_file(&error))?;
        kept.matrices.write(matrices.path()).map_err(|error| no_file(&error))?;
        let copy = match kept.key.path() {
            Some(_) => None,
            None => {
                let file = private_file(&folder).map_err(|error| no_file(&error))?;
                std::fs::write(file.path(), kept.key.file_bytes()).map_err(|error| no_file(&error))?;
                Some(file)
            }
        };
        let key_file = kept.key.path().or(copy.as_ref().map(|copy| copy.path())).unwrap_or(Path::new(""));
        let preparation = Preparation {
            key: number,
            key_file: std::path::absolute(key_file).map_err(|error| no_file(&error))?,
            matrices_file: matrices.path().to_owned(),
            circuit: kept.key.circuit(),
            verifying_key: kept.key.verifying_key().digest(),
        };
        match link.ask(Wish::Prepare(preparation), self.settings.deadlines.prepare, None) {
            Ok((_, Answer::Prepared)) => Ok(()),
            Ok(_) => Err(self.misunderstood(link)),
            Err(no_answer) => Err(self.error(no_answer, KeyId(number))),
        }
    }

    /// Lets a child take a witness.
    fn stage_on(&self, link: &Arc<Link>, key: KeyId, witness: &Witness) -> Result<Place, BackendError> {
        let filled = self.slots.fill(witness).map_err(|error| {
            self.device_error(format!("PM-CHILD-016: a witness cannot be shared with the child: {error}"))
        })?;
        let wish = Wish::Stage {
            key: key.0,
            file: filled.path().to_owned(),
            inputs: witness.inputs().len() as u64,
            aux: witness.aux().len() as u64,
        };
        match link.ask(wish, self.settings.deadlines.stage, None) {
            Ok((number, Answer::Staged)) => {
                self.ahead.fetch_add(1, Ordering::Relaxed);
                Ok(Place { link: Arc::clone(link), number, ahead: Arc::clone(&self.ahead) })
            }
            Ok(_) => Err(self.misunderstood(link)),
            Err(no_answer) => Err(self.error(no_answer, key)),
        }
    }

    fn prove_on(&self, place: &Place, key: KeyId, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let deadlines = &self.settings.deadlines;
        let wish = Wish::Prove { staged: place.number };
        match place.link.ask(wish, deadlines.prove, Some((cancel, deadlines.cancel))) {
            Ok((_, Answer::Proved(sums, timings))) => {
                let sums = sums.sums().ok_or_else(|| self.misunderstood(&place.link))?;
                self.running.lock().ends = 0;
                Ok((sums, timings_from_array(timings)))
            }
            Ok(_) => Err(self.misunderstood(&place.link)),
            Err(no_answer) => Err(self.error(no_answer, key)),
        }
    }

    fn misunderstood(&self, link: &Link) -> BackendError {
        self.device_error(link.expel("its answer does not fit the request"))
    }

    fn device_error(&self, reason: String) -> BackendError {
        BackendError::Device { backend: self.settings.backend, reason }
    }

    fn error(&self, no_answer: NoAnswer, key: KeyId) -> BackendError {
        match no_answer {
            NoAnswer::Ended(reason) | NoAnswer::Refused(Failure::Device(reason)) => self.device_error(reason),
            NoAnswer::Refused(Failure::UnknownKey) => BackendError::UnknownKey(key),
            NoAnswer::Refused(Failure::OtherCircuit) => BackendError::OtherCircuit,
            NoAnswer::Refused(Failure::WitnessShape { inputs, aux }) => {
                BackendError::WitnessShape { inputs: inputs as usize, aux: aux as usize }
            }
            NoAnswer::Refused(Failure::Unsatisfied(row)) => BackendError::Unsatisfied(row as usize),
            NoAnswer::Refused(Failure::Cancelled) => BackendError::Cancelled,
        }
    }
}

impl Backend for ChildBackend {
    fn name(&self) -> &'static str {
        self.settings.backend
    }

    fn device(&self) -> Option<DeviceInfo> {
        self.running.lock().device.clone()
    }

    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        if key.circuit() != matrices.digest() {
            return Err(BackendError::OtherCircuit);
        }
        let number = self.next_key.fetch_add(1, Ordering::Relaxed);
        let kept = Kept { key, matrices };
        // Held until the key is on the list, so that no child starts in between without it.
        let mut running = self.running.lock();
        self.revive(&mut running, None)?;
        self.prepare_on(&running.link, number, &kept)?;
        running.keys.insert(number, kept);
        Ok(KeyId(number))
    }

    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let _turn = self.proving.lock();
        cancel.check()?;
        let place = self.stage_on(&self.link(Some(cancel))?, key, witness)?;
        self.prove_on(&place, key, cancel)
    }

    fn stage(&self, key: KeyId, witness: Arc<Witness>) -> Result<Staged, BackendError> {
        let place = if self.ahead.load(Ordering::Relaxed) < MAX_AHEAD {
            Some(self.stage_on(&self.link(None)?, key, &witness)?)
        } else {
            None
        };
        Ok(Staged { key, witness, place: place.map(|place| Box::new(place) as _) })
    }

    fn prove_staged(&self, staged: Staged, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let place = staged.place.and_then(|place| place.downcast::<Place>().ok());
        match place.filter(|place| place.link.is_alive()) {
            Some(place) => {
                let _turn = self.proving.lock();
                self.prove_on(&place, staged.key, cancel)
            }
            None => self.prove(staged.key, &staged.witness, cancel),
        }
    }

    fn release(&self, key: KeyId) {
        // Whoever holds the lock starts a child, which may take long: it then keeps a key that nobody uses.
        let Some(mut running) = self.running.try_lock() else { return };
        if running.keys.remove(&key.0).is_some() {
            running.link.tell(Wish::Release { key: key.0 });
        }
    }
}
