//! The NVML library: cards by name, and one look at a card.

use std::{ffi::OsString, path::Path, sync::Arc};

use nvml_wrapper::{
    Device, Nvml,
    enum_wrappers::device::{
        Clock, EccCounter, MemoryError, PcieUtilCounter, TemperatureSensor, TemperatureThreshold,
    },
    enums::device::{SampleValue, UsedGpuMemory},
    error::NvmlError,
    structs::device::FieldId,
    sys_exports::field_id::{
        NVML_FI_DEV_REMAPPED_FAILURE, NVML_FI_DEV_REMAPPED_PENDING, NVML_FI_DEV_REMAPPED_UNC,
    },
};
use wire::{CardReading, Throttle};

use super::{CardError, LIBRARY_VARIABLE, Look, Settings};

/// Parents followed from a process at most, should `/proc` change while it is read.
const MAX_ANCESTORS: usize = 64;

/// One card of the loaded library.
#[derive(Clone)]
pub(super) struct Watched {
    nvml: Arc<Nvml>,
    /// NVML's own ordinal, which stays as long as the library is loaded.
    index: u32,
}

fn load(library: Option<&Path>) -> Result<Nvml, CardError> {
    let named = library.map(|path| path.as_os_str().to_owned());
    let named =
        named.or_else(|| std::env::var_os(LIBRARY_VARIABLE).filter(|name: &OsString| !name.is_empty()));
    let loaded = match &named {
        Some(path) => Nvml::builder().lib_path(path).init(),
        None => Nvml::init(),
    };
    loaded.map_err(|error| match error {
        NvmlError::LibloadingError(error) => CardError::NoDriver(error.to_string()),
        error @ (NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound) => {
            CardError::NoDriver(error.to_string())
        }
        error => failed(&error),
    })
}

fn failed(error: &NvmlError) -> CardError {
    match error {
        NvmlError::NoPermission => CardError::NoPermission,
        error => CardError::Nvml(error.to_string()),
    }
}

/// # Errors
/// `NoDriver`, `NoPermission`, `Nvml`.
pub(super) fn look_at_all(library: Option<&Path>) -> Result<Vec<Look>, CardError> {
    let nvml = Arc::new(load(library)?);
    let count = nvml.device_count().map_err(|error| failed(&error))?;
    Ok((0..count).map(|index| Watched { nvml: Arc::clone(&nvml), index }.look()).collect())
}

impl Watched {
    /// # Errors
    /// All but `Thread`.
    pub(super) fn open(settings: &Settings) -> Result<Self, CardError> {
        let nvml = load(settings.library.as_deref())?;
        let index = find(&nvml, settings)?;
        Ok(Self { nvml: Arc::new(nvml), index })
    }

    fn device(&self) -> Result<Device<'_>, NvmlError> {
        self.nvml.device_by_index(self.index)
    }

    /// Millijoules since the driver was loaded.
    pub(super) fn energy(&self) -> Option<u64> {
        self.device().and_then(|device| device.total_energy_consumption()).ok()
    }

    /// Milliwatts.
    pub(super) fn power(&self) -> Option<u32> {
        self.device().and_then(|device| device.power_usage()).ok()
    }

    /// Takes some tens of milliseconds: PCIe throughput is measured while one waits.
    pub(super) fn look(&self) -> Look {
        match self.device() {
            Ok(device) => look(&self.nvml, &device),
            Err(error) => Look::Lost(error.to_string()),
        }
    }
}

/// The ordinal of the card that the settings name.
fn find(nvml: &Nvml, settings: &Settings) -> Result<u32, CardError> {
    let count = nvml.device_count().map_err(|error| failed(&error))?;
    // A card that this process may not open, or that is lost, is not the one.
    let cards: Vec<(u32, Device<'_>)> =
        (0..count).filter_map(|index| Some((index, nvml.device_by_index(index).ok()?))).collect();
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let (wanted, found) = match (&settings.uuid, &settings.pci_bus) {
        (Some(uuid), _) => {
            let named = cards.iter().find(|(_, card)| card.uuid().is_ok_and(|other| same(&other, uuid)));
            let index = named.map(|(index, _)| *index);
            (uuid.clone(), index.or_else(|| parent_of_instance(nvml, uuid)))
        }
        (None, Some(bus)) => {
            // CUDA writes four digits of domain, NVML eight.
            let tail = |id: &str| id.trim_start_matches('0').to_owned();
            let named = cards
                .iter()
                .find(|(_, card)| card.pci_info().is_ok_and(|info| same(&tail(&info.bus_id), &tail(bus))));
            (bus.clone(), named.map(|(index, _)| *index))
        }
        (None, None) => match cards.as_slice() {
            [(index, _)] => return Ok(*index),
            [] => ("of any kind".to_owned(), None),
            _ => return Err(CardError::Ambiguous { have: names(&cards) }),
        },
    };
    found.ok_or_else(|| CardError::NoSuchCard { wanted, have: names(&cards) })
}

/// An instance of a split card (MIG) has a UUID of its own; heat, power and errors are its card's.
fn parent_of_instance(nvml: &Nvml, uuid: &str) -> Option<u32> {
    uuid.starts_with("MIG-").then_some(())?;
    nvml.device_by_uuid(uuid).and_then(|instance| instance.mig_parent_device()?.index()).ok()
}

fn names(cards: &[(u32, Device<'_>)]) -> String {
    let names: Vec<String> =
        cards.iter().map(|(_, card)| card.uuid().unwrap_or_else(|_| "an unnamed card".to_owned())).collect();
    if names.is_empty() { "no cards at all".to_owned() } else { names.join(", ") }
}

/// Remembers whether any answer said that the card is gone.
#[derive(Default)]
struct Answers {
    lost: Option<String>,
}

impl Answers {
    fn take<T>(&mut self, answer: Result<T, NvmlError>) -> Option<T> {
        if let Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired)) = &answer {
            self.lost.get_or_insert_with(|| error.to_string());
        }
        answer.ok()
    }
}

fn look(nvml: &Nvml, card: &Device<'_>) -> Look {
    let mut answers = Answers::default();
    let mut reading = CardReading {
        name: answers.take(card.name()),
        uuid: answers.take(card.uuid()),
        pci_bus: answers.take(card.pci_info()).map(|info| info.bus_id),
        driver: answers.take(nvml.sys_driver_version()),
        mig: answers.take(card.mig_mode()).map(|mode| mode.current != 0),
        busy: None,
        ..CardReading::default()
    };
    if let Some(memory) = answers.take(card.memory_info()) {
        reading.memory_used = Some(memory.used);
        reading.memory_free = Some(memory.free);
        reading.memory_total = Some(memory.total);
    }
    foreign(&mut answers, card, &mut reading);
    if let Some(busy) = answers.take(card.utilization_rates()) {
        reading.busy = Some(busy.gpu);
        reading.memory_busy = Some(busy.memory);
    }
    reading.power = answers.take(card.power_usage());
    reading.power_limit = answers.take(card.enforced_power_limit());
    reading.energy = answers.take(card.total_energy_consumption());
    reading.temperature = answers.take(card.temperature(TemperatureSensor::Gpu));
    reading.slowdown_temperature = answers.take(card.temperature_threshold(TemperatureThreshold::Slowdown));
    reading.sm_clock = answers.take(card.clock_info(Clock::SM));
    reading.sm_clock_max = answers.take(card.max_clock_info(Clock::SM));
    reading.memory_clock = answers.take(card.clock_info(Clock::Memory));
    reading.memory_clock_max = answers.take(card.max_clock_info(Clock::Memory));
    reading.throttle = answers.take(card.current_throttle_reasons()).map(|reasons| Throttle(reasons.bits()));
    // The states are numbered as NVML numbers them; one that it does not know is none.
    reading.performance_state =
        answers.take(card.performance_state()).map(|state| state.as_c()).filter(|state| *state <= 15);
    let errors = |kind| card.total_ecc_errors(kind, EccCounter::Volatile);
    reading.ecc_corrected = answers.take(errors(MemoryError::Corrected));
    reading.ecc_uncorrected = answers.take(errors(MemoryError::Uncorrected));
    reading.retirement_pending = answers.take(card.are_pages_pending_retired());
    remapped(&mut answers, card, &mut reading);
    reading.pcie_to_card = answers.take(card.pcie_throughput(PcieUtilCounter::Receive));
    reading.pcie_from_card = answers.take(card.pcie_throughput(PcieUtilCounter::Send));
    reading.pcie_generation = answers.take(card.current_pcie_link_gen());
    reading.pcie_generation_max = answers.take(card.max_pcie_link_gen());
    reading.pcie_width = answers.take(card.current_pcie_link_width());
    reading.pcie_width_max = answers.take(card.max_pcie_link_width());
    reading.pcie_replays = answers.take(card.pcie_replay_counter());
    match answers.lost {
        Some(reason) => Look::Lost(reason),
        None => Look::Seen(Box::new(reading)),
    }
}

/// Row remapping, which NVML tells only as field values.
fn remapped(answers: &mut Answers, card: &Device<'_>, reading: &mut CardReading) {
    let fields =
        [NVML_FI_DEV_REMAPPED_UNC, NVML_FI_DEV_REMAPPED_PENDING, NVML_FI_DEV_REMAPPED_FAILURE].map(FieldId);
    for sample in answers.take(card.field_values_for(&fields)).into_iter().flatten().flatten() {
        let Some(value) = answers.take(sample.value).and_then(whole) else { continue };
        match sample.field.0 {
            NVML_FI_DEV_REMAPPED_UNC => reading.remapped_rows = u32::try_from(value).ok(),
            NVML_FI_DEV_REMAPPED_PENDING => reading.remap_pending = Some(value != 0),
            NVML_FI_DEV_REMAPPED_FAILURE => reading.remap_failed = Some(value != 0),
            _ => {}
        }
    }
}

fn whole(value: SampleValue) -> Option<u64> {
    match value {
        SampleValue::U32(value) => Some(value.into()),
        SampleValue::U64(value) => Some(value),
        _ => None,
    }
}

/// Who else computes on the card.
fn foreign(answers: &mut Answers, card: &Device<'_>, reading: &mut CardReading) {
    let Some(processes) = answers.take(card.running_compute_processes()) else { return };
    let foreign: Vec<_> = processes.iter().filter(|process| !is_ours(process.pid)).collect();
    let held = foreign.iter().map(|process| match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => bytes,
        UsedGpuMemory::Unavailable => 0,
    });
    reading.foreign_memory = Some(held.sum());
    reading.foreign_processes = u32::try_from(foreign.len()).ok();
}

/// Whether the process is this one or a descendant: the backend proves in a child.
fn is_ours(pid: u32) -> bool {
    let mut ancestor = Some(pid);
    for _ in 0..MAX_ANCESTORS {
        match ancestor {
            Some(pid) if pid == std::process::id() => return true,
            Some(pid) if pid > 1 => ancestor = parent(pid),
            _ => return false,
        }
    }
    false
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
