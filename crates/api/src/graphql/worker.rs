//! Workers and their cards.

use async_graphql::{ComplexObject, Enum, SimpleObject};
use chrono::{DateTime, Utc};
use wire::CardReading;

use super::{scalars::BigInt, time};
use crate::service::{WorkerHealth as HealthView, WorkerView};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "HealthView")]
pub enum WorkerHealth {
    Well,
    /// It takes no work until its card is well again.
    Sick,
    /// It is not there any more.
    Left,
}

/// How far a batch is on its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "wire::Stage")]
pub enum HoldStage {
    /// Received; an earlier attempt is being prepared.
    Queued,
    Fetching,
    Witness,
    /// Its witness is ready, another proof occupies the backend.
    Ready,
    Proving,
}

/// A batch that a worker holds.
#[derive(Clone, Debug, SimpleObject)]
pub struct Hold {
    /// The number of the batch.
    pub batch: BigInt,
    pub stage: HoldStage,
}

/// A proving process.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Worker {
    pub id: String,
    pub health: WorkerHealth,
    /// Why it is sick, or why it left.
    pub reason: Option<String>,
    /// e.g. `cpu`, `cuda`, `icicle`; null until it registers, like version and memory.
    pub backend: Option<String>,
    pub version: Option<String>,
    /// Bytes of main memory that it may use.
    pub memory: Option<BigInt>,
    /// The circuits it can prove.
    pub circuits: Vec<&'static str>,
    /// When it was last heard of.
    pub seen: DateTime<Utc>,
    /// The batches that it holds, as of its last heartbeat.
    pub holds: Vec<Hold>,
    /// Joules that its card used for a proof: an average in which the last 32 proofs weigh most. Idle draw is included.
    pub joules_per_proof: Option<f64>,
    /// Joules for each slot in use, averaged over the same proofs.
    pub joules_per_payment: Option<f64>,
    #[graphql(skip)]
    card: Option<Box<CardReading>>,
}

#[ComplexObject]
impl Worker {
    /// The last look at its card; null for a worker without one that can be watched. It costs as much as one field.
    #[graphql(complexity = 1)]
    async fn card(&self) -> Option<Card> {
        self.card.as_deref().cloned().map(Card::from)
    }
}

impl Worker {
    pub fn new(view: WorkerView) -> Self {
        let holds =
            view.holds.into_iter().map(|(batch, stage)| Hold { batch: batch.into(), stage: stage.into() });
        Self {
            id: view.id,
            health: view.health.into(),
            reason: view.reason,
            backend: view.backend,
            version: view.version,
            memory: view.memory.map(BigInt::from),
            circuits: view.circuits.iter().map(|shape| shape.name()).collect(),
            seen: time(view.seen),
            holds: holds.collect(),
            joules_per_proof: view.joules_per_proof,
            joules_per_payment: view.joules_per_payment,
            card: view.card,
        }
    }
}

/// A graphics card as NVML shows it. What its driver does not tell is null.
#[derive(Clone, Debug, SimpleObject)]
pub struct Card {
    /// Its model.
    pub name: Option<String>,
    /// The same in NVML and CUDA, unlike its number.
    pub uuid: Option<String>,
    /// `domain:bus:device.function`.
    pub pci_bus: Option<String>,
    /// Version of the driver.
    pub driver: Option<String>,
    /// Whether it is split into instances (MIG).
    pub mig: Option<bool>,
    /// Bytes.
    pub memory_used: Option<BigInt>,
    /// Bytes.
    pub memory_free: Option<BigInt>,
    /// Bytes.
    pub memory_total: Option<BigInt>,
    /// Processes that compute on it and are not the worker's.
    pub foreign_processes: Option<i32>,
    /// Bytes of its memory that they hold.
    pub foreign_memory: Option<BigInt>,
    /// Percent of the driver's last sample period in which a kernel ran.
    pub busy: Option<i32>,
    /// Percent of the same period in which its memory was read or written.
    pub memory_busy: Option<i32>,
    /// Watts.
    pub power: Option<f64>,
    /// Watts.
    pub power_limit: Option<f64>,
    /// Joules since the driver was loaded.
    pub energy: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<i32>,
    /// Degrees Celsius at which the hardware slows down.
    pub slowdown_temperature: Option<i32>,
    /// Megahertz.
    pub sm_clock: Option<i32>,
    /// Megahertz.
    pub sm_clock_max: Option<i32>,
    /// Megahertz.
    pub memory_clock: Option<i32>,
    /// Megahertz.
    pub memory_clock_max: Option<i32>,
    /// What holds the clocks down.
    pub throttle_reasons: Option<Vec<String>>,
    /// 0 is the fastest, 15 the slowest.
    pub performance_state: Option<i32>,
    /// Memory errors that were corrected since the driver was loaded.
    pub ecc_corrected: Option<BigInt>,
    /// Memory errors that were not, since the driver was loaded.
    pub ecc_uncorrected: Option<BigInt>,
    /// Whether pages of its memory are taken out of use at the next reset.
    pub retirement_pending: Option<bool>,
    /// Rows of its memory that were replaced after an uncorrectable error.
    pub remapped_rows: Option<i32>,
    /// Whether rows are replaced at the next reset.
    pub remap_pending: Option<bool>,
    /// Whether a row could not be replaced.
    pub remap_failed: Option<bool>,
    /// Kilobytes per second.
    pub pcie_to_card: Option<i32>,
    /// Kilobytes per second.
    pub pcie_from_card: Option<i32>,
    pub pcie_generation: Option<i32>,
    pub pcie_generation_max: Option<i32>,
    /// Lanes.
    pub pcie_width: Option<i32>,
    /// Lanes.
    pub pcie_width_max: Option<i32>,
    /// Transfers that had to be repeated.
    pub pcie_replays: Option<i32>,
}

impl From<CardReading> for Card {
    fn from(card: CardReading) -> Self {
        // A reading that fits no Int is none.
        let int = |value: Option<u32>| value.and_then(|value| i32::try_from(value).ok());
        let big = |value: Option<u64>| value.map(BigInt::from);
        let milli = |value: Option<u32>| value.map(|value| f64::from(value) / 1000.0);
        Self {
            name: card.name,
            uuid: card.uuid,
            pci_bus: card.pci_bus,
            driver: card.driver,
            mig: card.mig,
            memory_used: big(card.memory_used),
            memory_free: big(card.memory_free),
            memory_total: big(card.memory_total),
            foreign_processes: int(card.foreign_processes),
            foreign_memory: big(card.foreign_memory),
            busy: int(card.busy),
            memory_busy: int(card.memory_busy),
            power: milli(card.power),
            power_limit: milli(card.power_limit),
            energy: card.energy.map(|millijoules| millijoules as f64 / 1000.0),
            temperature: int(card.temperature),
            slowdown_temperature: int(card.slowdown_temperature),
            sm_clock: int(card.sm_clock),
            sm_clock_max: int(card.sm_clock_max),
            memory_clock: int(card.memory_clock),
            memory_clock_max: int(card.memory_clock_max),
            throttle_reasons: card.throttle.map(|throttle| throttle.words()),
            performance_state: int(card.performance_state),
            ecc_corrected: big(card.ecc_corrected),
            ecc_uncorrected: big(card.ecc_uncorrected),
            retirement_pending: card.retirement_pending,
            remapped_rows: int(card.remapped_rows),
            remap_pending: card.remap_pending,
            remap_failed: card.remap_failed,
            pcie_to_card: int(card.pcie_to_card),
            pcie_from_card: int(card.pcie_from_card),
            pcie_generation: int(card.pcie_generation),
            pcie_generation_max: int(card.pcie_generation_max),
            pcie_width: int(card.pcie_width),
            pcie_width_max: int(card.pcie_width_max),
            pcie_replays: int(card.pcie_replays),
        }
    }
}
