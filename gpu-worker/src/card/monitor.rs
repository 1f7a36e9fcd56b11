//! The thread that looks at the card, and what others get to see of it.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use wire::{CardReading, EnergyAverage, WorkerId};

use super::{
    CardError, Condition, Look, Settings,
    energy::{EnergyMeter, Mark},
    health::{self, Health},
    nvml::Watched,
};

/// Power samples kept for proofs on cards without an energy counter: the last minutes.
const POWERS: usize = 600;
/// A thread that missed so many looks, and at least [`SILENCE`], hangs in the driver.
const MISSED_LOOKS: u32 = 10;
const SILENCE: Duration = Duration::from_secs(30);

/// Watches one card until it is dropped.
pub struct Monitor {
    card: Card,
    _stop: mpsc::Sender<()>,
}

impl Monitor {
    /// Loads NVML, finds the card, looks once and goes on looking on a thread of its own.
    ///
    /// # Errors
    /// `CardError`; the worker can do without.
    pub fn start(worker: WorkerId, settings: Settings) -> Result<Self, CardError> {
        let watched = Watched::open(&settings)?;
        let card = Card(Arc::new(Shared {
            worker,
            watched,
            silence: SILENCE.max(settings.every * MISSED_LOOKS),
            condition: watch::Sender::new(Condition::Well),
            seen: Mutex::new(Seen::new()),
        }));
        let started = Instant::now();
        let mut health = card.look(&Health::default(), &settings.limits, Duration::ZERO);
        let (stop, stopped) = mpsc::channel();
        let looking = card.clone();
        // Not joined: a driver that hangs must not keep the worker from ending.
        std::thread::Builder::new()
            .name("card".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(settings.every) == Err(mpsc::RecvTimeoutError::Timeout) {
                    health = looking.look(&health, &settings.limits, started.elapsed());
                }
            })
            .map_err(|error| CardError::Thread(error.to_string()))?;
        Ok(Self { card, _stop: stop })
    }

    pub fn card(&self) -> Card {
        self.card.clone()
    }
}

/// The watched card, for whoever wants to know. Cheap to clone.
#[derive(Clone)]
pub struct Card(Arc<Shared>);

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Card({})", self.seen().reading.uuid.as_deref().unwrap_or("without a UUID"))
    }
}

struct Shared {
    worker: WorkerId,
    watched: Watched,
    silence: Duration,
    condition: watch::Sender<Condition>,
    seen: Mutex<Seen>,
}

struct Seen {
    reading: CardReading,
    at: Instant,
    powers: VecDeque<(Instant, u32)>,
    energy: EnergyAverage,
}

impl Seen {
    fn new() -> Self {
        Self {
            reading: CardReading::default(),
            at: Instant::now(),
            powers: VecDeque::new(),
            energy: EnergyAverage::default(),
        }
    }
}

impl Card {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock()
    }

    /// Whether it should get work; changes as the card does.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.0.condition.subscribe()
    }

    /// The last look. If the driver has not answered for a while the card is sick, which no look could say.
    pub fn reading(&self) -> CardReading {
        let (mut reading, age) = {
            let seen = self.seen();
            (seen.reading.clone(), seen.at.elapsed())
        };
        if age > self.0.silence {
            let reason = "PM-CARD-016: the driver has not answered for half a minute or more; look at the kernel log, then \
                          reset the card and start the worker again";
            reading.sick = Some(reason.to_owned());
            self.export(&reading);
            self.publish(&Condition::Sick(reason.to_owned()));
        }
        reading
    }

    /// Begins to count the energy of a proof.
    pub fn meter(&self) -> EnergyMeter {
        EnergyMeter::start(self.clone())
    }

    /// A proof with so many used slots was made for this energy: for the averages in `/metrics`.
    pub fn proved(&self, millijoules: u64, payments: u32) {
        let (energy, uuid) = {
            let mut seen = self.seen();
            seen.energy.add(millijoules, payments);
            (seen.energy, seen.reading.uuid.clone().unwrap_or_default())
        };
        let worker = self.0.worker.to_string();
        for (name, joules) in [
            ("proofmill_proof_energy_joules", energy.joules_per_proof()),
            ("proofmill_payment_energy_joules", energy.joules_per_payment()),
        ] {
            if let Some(joules) = joules {
                metrics::gauge!(name, "worker" => worker.to_owned(), "uuid" => uuid.clone()).set(joules);
            }
        }
    }

    pub(super) fn mark(&self) -> Mark {
        let counter = self.0.watched.energy();
        let power = if counter.is_none() { self.0.watched.power() } else { None };
        Mark { counter, power }
    }

    /// The powers that were seen since then, with the time from then.
    pub(super) fn powers_since(&self, then: Instant) -> Vec<(Duration, u32)> {
        let seen = self.seen();
        let since = |(at, power): &(Instant, u32)| Some((at.checked_duration_since(then)?, *power));
        seen.powers.iter().filter_map(since).collect()
    }

    fn look(&self, health: &Health, limits: &health::Limits, now: Duration) -> Health {
        let look = self.0.watched.look();
        let health = health::judge(health, &look, limits, now);
        {
            let mut seen = self.seen();
            seen.at = Instant::now();
            // Of a lost card the last reading stays, with the reason.
            if let Look::Seen(reading) = look {
                if let Some(power) = reading.power {
                    let at = seen.at;
                    seen.powers.push_back((at, power));
                }
                seen.reading = *reading;
            }
            if seen.powers.len() > POWERS {
                seen.powers.pop_front();
            }
            seen.reading.sick = health.reason().map(str::to_owned);
            self.export(&seen.reading);
        }
        self.publish(health.condition());
        health
    }

    fn publish(&self, condition: &Condition) {
        let changed = self.0.condition.send_if_modified(|current| {
            let changed = current != condition;
            current.clone_from(condition);
            changed
        });
        match condition {
            Condition::Sick(reason) if changed => tracing::warn!(reason, "the card is sick: it gets no work"),
            Condition::Well if changed => tracing::info!("the card is well again"),
            _ => {}
        }
    }

    fn export(&self, reading: &CardReading) {
        let uuid = reading.uuid.as_deref().unwrap_or_default();
        for (name, value) in reading.gauges() {
            let worker = self.0.worker.to_string();
            metrics::gauge!(name, "worker" => worker, "uuid" => uuid.to_owned()).set(value);
        }
    }
}
