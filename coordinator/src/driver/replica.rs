//! A state that follows the log: from a snapshot or from the first event, as far as the log goes, again and again. A start
//! follows once; a standby follows until it leads.

use std::{
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use sequencer::{
    rules::Rules,
    state::{State, rows::Checkpoint},
    tree::TreeError,
};
use store::{
    Store, StoreError,
    mark::{Behind, HighWater, Recent, digest},
    snapshots::Snapshots,
};

use super::StartError;

pub struct Replica {
    state: State,
    /// The last event that it knows. Its digest is none until it was read once: a snapshot does not hold it.
    reached: HighWater,
    known: bool,
    /// What the events that it read promised.
    recent: Recent,
    stored: Option<Checkpoint>,
    /// The last event of the snapshot that it began with.
    pub snapshot: u64,
}

impl Replica {
    /// The newest snapshot, or nothing at all.
    pub fn load(snapshots: Option<&Snapshots>, rules: Arc<Rules>) -> Self {
        Self::from(snapshots.and_then(|snapshots| snapshots.load(&rules)), rules)
    }

    /// A state and its last event, or nothing at all.
    pub fn from(loaded: Option<(State, u64)>, rules: Arc<Rules>) -> Self {
        let (state, sequence) = loaded.unwrap_or_else(|| (State::new(rules), 0));
        let reached = HighWater { sequence, ..HighWater::default() };
        Self { state, reached, known: false, recent: Recent::default(), stored: None, snapshot: sequence }
    }

    /// Hashes the whole tree again, on a copy, and calls `wrong` if a node differs.
    pub fn scrub(&self, wrong: impl FnOnce(TreeError) + Send + 'static) {
        let tree = self.state.tree().clone();
        let scrub = move || {
            if let Err(error) = tree.check(u64::MAX) {
                wrong(error);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("scrub".to_owned()).spawn(scrub) {
            tracing::warn!(%error, "the snapshot's tree is not hashed again");
        }
    }

    /// Applies what the log holds beyond.
    ///
    /// # Errors
    /// `StartError` if the store cannot be read or its log does not fit the state.
    pub fn catch_up(&mut self, store: &mut dyn Store) -> Result<(), StartError> {
        let mut failed = None;
        let Self { state, reached, known, recent, .. } = self;
        // The last event that is known is read again: a log that does not hold it any more is not the one that was followed.
        let last = reached.sequence;
        let (mut there, mut replaced) = (last == 0, false);
        let stored = store.replay(last.saturating_sub(1), &mut |number, stamped| {
            if number == last {
                let found = digest(&stamped);
                there = true;
                replaced = *known && reached.digest != found;
                (reached.digest, *known) = (found, true);
                return if replaced { Err(StoreError::Replay(String::new())) } else { Ok(()) };
            }
            state.apply(&stamped).map_err(|error| {
                let text = error.to_string();
                failed = Some(error);
                StoreError::Replay(text)
            })?;
            let promised = reached.move_over(std::slice::from_ref(&stamped));
            promised.into_iter().for_each(|promised| recent.push(promised));
            *known = true;
            Ok(())
        });
        if replaced || (stored.is_ok() && !there) {
            return Err(self.behind(store, replaced));
        }
        if let Some(error) = failed {
            return Err(StartError::State(error));
        }
        self.stored = stored?;
        // The projections already hold all this.
        self.state.take_rows();
        Ok(())
    }

    /// The log lacks what this one knows of it.
    fn behind(&self, store: &mut dyn Store, replaced: bool) -> StartError {
        let place = match self.snapshot == self.reached.sequence {
            true => "a snapshot in the data directory",
            false => "this coordinator, which followed the log,",
        };
        match last_event(store) {
            Ok(found) => {
                let behind = Behind::new(place.to_owned(), self.reached, found, replaced);
                StartError::Behind(Box::new(behind.with(Some(&self.recent))))
            }
            Err(error) => error.into(),
        }
    }

    /// As `catch_up`, for a store that leads: nobody else writes behind it. It can be asked again.
    ///
    /// # Errors
    /// As `catch_up`; `Checkpoint` if the store's last batch has another root.
    pub fn catch_up_to_lead(&mut self, store: &mut dyn Store) -> Result<(), StartError> {
        self.catch_up(store)?;
        let replayed = self.state.checkpoint();
        let agree = match self.stored {
            Some(stored) => stored == replayed,
            None => replayed.batch_no == 0,
        };
        if agree {
            return Ok(());
        }
        let stored = self.stored.map_or(0, |Checkpoint { batch_no, .. }| batch_no);
        Err(StartError::Checkpoint { stored, replayed: replayed.batch_no })
    }

    /// How far it is.
    pub fn reached(&self) -> &HighWater {
        &self.reached
    }

    /// The state to lead with, how far it is, and what was promised lately.
    pub fn into_state(self) -> (State, HighWater, Recent) {
        (self.state, self.reached, self.recent)
    }
}

/// The number of the last event of a log.
pub(super) fn last_event(store: &mut dyn Store) -> Result<u64, StoreError> {
    let mut last = 0;
    store.replay(0, &mut |number, _| {
        last = number;
        Ok(())
    })?;
    Ok(last)
}

/// When snapshots are made, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    pub folder: PathBuf,
    /// After so many events …
    pub events: u64,
    /// … and not sooner after the one before: the coordinator stands still while its state is copied.
    pub every: Duration,
}

impl SnapshotSettings {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, events: 10_000, every: Duration::from_secs(60) }
    }
}

/// Makes snapshots beside the driver, one at a time.
pub struct Snapshotter {
    settings: SnapshotSettings,
    snapshots: Snapshots,
    last: (u64, Instant),
    writing: Option<JoinHandle<()>>,
}

impl Snapshotter {
    /// `newest`: the last event of the newest snapshot.
    pub fn new(settings: SnapshotSettings, snapshots: Snapshots, newest: u64) -> Self {
        Self { settings, snapshots, last: (newest, Instant::now()), writing: None }
    }

    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Starts a snapshot if one is due.
    pub fn look(&mut self, state: &State, sequence: u64) {
        let (last, at) = self.last;
        let due = sequence >= last + self.settings.events && at.elapsed() >= self.settings.every;
        if !due || !state.is_whole() || self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        let began = Instant::now();
        let (copy, snapshots) = (state.clone(), self.snapshots.clone());
        metrics::histogram!("proofmill_snapshot_copy_seconds").record(began.elapsed().as_secs_f64());
        self.last = (sequence, began);
        self.writing = std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || write(&snapshots, &copy, sequence))
            .inspect_err(|error| tracing::warn!(%error, "no snapshot is made"))
            .ok();
    }

    /// A last one, so that the next start has nothing to replay.
    pub fn finish(self, state: &State, sequence: u64) {
        if let Some(writing) = self.writing {
            // A panic there was reported by its own hook.
            let _ = writing.join();
        }
        if sequence > self.last.0 {
            write(&self.snapshots, state, sequence);
        }
    }
}

fn write(snapshots: &Snapshots, state: &State, sequence: u64) {
    let began = Instant::now();
    match snapshots.save(state, sequence) {
        Ok(()) => metrics::histogram!("proofmill_snapshot_seconds").record(began.elapsed().as_secs_f64()),
        Err(error) => tracing::warn!(%error, "no snapshot was made; the next start replays more"),
    }
}
