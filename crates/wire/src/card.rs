//! What a worker tells of its graphics card.
//!
//! Every field is optional: a driver, a card or a container shows what it wants to. Values are whole numbers in the units
//! that NVML counts in, so that two readings compare exactly.

use serde::{Deserialize, Serialize};

/// One look at a card. `None`: the driver does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardReading {
    /// Its model, such as `NVIDIA H200`.
    pub name: Option<String>,
    /// `GPU-xxxxxxxx-xxxx-…`: the same in NVML and CUDA, unlike the ordinal.
    pub uuid: Option<String>,
    /// `domain:bus:device.function`.
    pub pci_bus: Option<String>,
    pub driver: Option<String>,
    /// Whether the card is split into instances.
    pub mig: Option<bool>,
    /// Bytes.
    pub memory_used: Option<u64>,
    pub memory_free: Option<u64>,
    pub memory_total: Option<u64>,
    /// Processes that compute on it and are not the worker's, and the bytes they hold there.
    pub foreign_processes: Option<u32>,
    pub foreign_memory: Option<u64>,
    /// Percent of the last sample period in which a kernel ran, and in which its memory was read or written.
    pub busy: Option<u32>,
    pub memory_busy: Option<u32>,
    /// Milliwatts.
    pub power: Option<u32>,
    pub power_limit: Option<u32>,
    /// Millijoules since the driver was loaded.
    pub energy: Option<u64>,
    /// Degrees Celsius, and where the hardware slows down.
    pub temperature: Option<u32>,
    pub slowdown_temperature: Option<u32>,
    /// Megahertz.
    pub sm_clock: Option<u32>,
    pub sm_clock_max: Option<u32>,
    pub memory_clock: Option<u32>,
    pub memory_clock_max: Option<u32>,
    pub throttle: Option<Throttle>,
    /// 0 is the fastest, 15 the slowest.
    pub performance_state: Option<u32>,
    /// Memory errors since the driver was loaded.
    pub ecc_corrected: Option<u64>,
    pub ecc_uncorrected: Option<u64>,
    /// Pages that are taken out of use at the next reset (cards before Ampere).
    pub retirement_pending: Option<bool>,
    /// Rows of memory that were replaced after an uncorrectable error, that are replaced at the next reset, and whether a
    /// replacement failed (Ampere and later).
    pub remapped_rows: Option<u32>,
    pub remap_pending: Option<bool>,
    pub remap_failed: Option<bool>,
    /// Kilobytes per second to and from the card.
    pub pcie_to_card: Option<u32>,
    pub pcie_from_card: Option<u32>,
    pub pcie_generation: Option<u32>,
    pub pcie_generation_max: Option<u32>,
    pub pcie_width: Option<u32>,
    pub pcie_width_max: Option<u32>,
    pub pcie_replays: Option<u32>,
    /// Why the worker takes no work because of it.
    pub sick: Option<String>,
}

impl CardReading {
    /// Longest text kept of a reading from another process.
    const MAX_TEXT: usize = 1000;

    /// Cuts its texts to a bounded length.
    pub fn clip(&mut self) {
        let texts = [&mut self.name, &mut self.uuid, &mut self.pci_bus, &mut self.driver, &mut self.sick];
        for text in texts.into_iter().flatten() {
            text.truncate(text.floor_char_boundary(Self::MAX_TEXT));
        }
    }

    /// The numbers as gauges, with names and units as `/metrics` shows them. Those that are not known are left out.
    pub fn gauges(&self) -> Vec<(&'static str, f64)> {
        let word = |value: Option<u32>| value.map(f64::from);
        let wide = |value: Option<u64>| value.map(|value| value as f64);
        let flag = |value: Option<bool>| value.map(|value| f64::from(u8::from(value)));
        let milli = |value: Option<f64>| value.map(|value| value / 1000.0);
        let percent = |value: Option<u32>| value.map(|value| f64::from(value) / 100.0);
        let bytes = |kilobytes: Option<u32>| kilobytes.map(|value| f64::from(value) * 1000.0);
        let throttled = |of: u64| self.throttle.map(|throttle| f64::from(u8::from(throttle.any(of))));
        let gauges = [
            ("proofmill_card_healthy", Some(f64::from(u8::from(self.sick.is_none())))),
            ("proofmill_card_mig_enabled", flag(self.mig)),
            ("proofmill_card_memory_used_bytes", wide(self.memory_used)),
            ("proofmill_card_memory_free_bytes", wide(self.memory_free)),
            ("proofmill_card_memory_total_bytes", wide(self.memory_total)),
            ("proofmill_card_foreign_processes", word(self.foreign_processes)),
            ("proofmill_card_foreign_memory_bytes", wide(self.foreign_memory)),
            ("proofmill_card_busy_ratio", percent(self.busy)),
            ("proofmill_card_memory_busy_ratio", percent(self.memory_busy)),
            ("proofmill_card_power_watts", milli(word(self.power))),
            ("proofmill_card_power_limit_watts", milli(word(self.power_limit))),
            ("proofmill_card_energy_joules", milli(wide(self.energy))),
            ("proofmill_card_temperature_celsius", word(self.temperature)),
            ("proofmill_card_slowdown_temperature_celsius", word(self.slowdown_temperature)),
            ("proofmill_card_sm_clock_hertz", word(self.sm_clock).map(|mhz| mhz * 1e6)),
            ("proofmill_card_sm_clock_max_hertz", word(self.sm_clock_max).map(|mhz| mhz * 1e6)),
            ("proofmill_card_memory_clock_hertz", word(self.memory_clock).map(|mhz| mhz * 1e6)),
            ("proofmill_card_memory_clock_max_hertz", word(self.memory_clock_max).map(|mhz| mhz * 1e6)),
            ("proofmill_card_throttled_by_power", throttled(Throttle::POWER_CAP | Throttle::POWER_BRAKE)),
            ("proofmill_card_throttled_by_heat", throttled(Throttle::SOFT_THERMAL | Throttle::HARD_THERMAL)),
            ("proofmill_card_performance_state", word(self.performance_state)),
            ("proofmill_card_ecc_corrected", wide(self.ecc_corrected)),
            ("proofmill_card_ecc_uncorrected", wide(self.ecc_uncorrected)),
            ("proofmill_card_page_retirement_pending", flag(self.retirement_pending)),
            ("proofmill_card_remapped_rows", word(self.remapped_rows)),
            ("proofmill_card_remap_pending", flag(self.remap_pending)),
            ("proofmill_card_remap_failed", flag(self.remap_failed)),
            ("proofmill_card_pcie_to_card_bytes_per_second", bytes(self.pcie_to_card)),
            ("proofmill_card_pcie_from_card_bytes_per_second", bytes(self.pcie_from_card)),
            ("proofmill_card_pcie_generation", word(self.pcie_generation)),
            ("proofmill_card_pcie_generation_max", word(self.pcie_generation_max)),
            ("proofmill_card_pcie_width", word(self.pcie_width)),
            ("proofmill_card_pcie_width_max", word(self.pcie_width_max)),
            ("proofmill_card_pcie_replays", word(self.pcie_replays)),
        ];
        gauges.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// What holds the clocks down: NVML's `nvmlClocksEventReasons` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle(pub u64);

impl Throttle {
    pub const POWER_CAP: u64 = 0x4;
    pub const SOFT_THERMAL: u64 = 0x20;
    /// The hardware halves the clocks, or worse, against heat.
    pub const HARD_THERMAL: u64 = 0x40;
    /// The power supply asks for it.
    pub const POWER_BRAKE: u64 = 0x80;

    const WORDS: [(u64, &'static str); 9] = [
        (0x1, "idle"),
        (0x2, "application clocks"),
        (Self::POWER_CAP, "power limit"),
        (0x8, "hardware slowdown"),
        (0x10, "sync boost"),
        (Self::SOFT_THERMAL, "heat (driver)"),
        (Self::HARD_THERMAL, "heat (hardware)"),
        (Self::POWER_BRAKE, "power brake"),
        (0x100, "display clocks"),
    ];

    pub fn any(self, of: u64) -> bool {
        self.0 & of != 0
    }

    /// The reasons in words; a bit without a name as its number.
    pub fn words(self) -> Vec<String> {
        let known: u64 = Self::WORDS.iter().map(|(bit, _)| bit).sum();
        let named = Self::WORDS.iter().filter(|(bit, _)| self.any(*bit)).map(|(_, word)| (*word).to_owned());
        let other = (self.0 & !known != 0).then(|| format!("reason {:#x}", self.0 & !known));
        named.chain(other).collect()
    }
}

/// Moving averages of the energy of proofs and of the payments they carry. A proof counts less with each that follows;
/// both sums fade alike, so their ratio is the energy of a payment over the same proofs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EnergyAverage {
    proofs: f64,
    joules: f64,
    payments: f64,
}

impl EnergyAverage {
    /// What is left of a proof's weight after the next one: the last 32 carry most of it.
    const KEEP: f64 = 1.0 - 1.0 / 32.0;

    pub fn add(&mut self, millijoules: u64, payments: u32) {
        self.proofs = self.proofs * Self::KEEP + 1.0;
        self.joules = self.joules * Self::KEEP + millijoules as f64 / 1000.0;
        self.payments = self.payments * Self::KEEP + f64::from(payments);
    }

    pub fn joules_per_proof(&self) -> Option<f64> {
        (self.proofs > 0.0).then(|| self.joules / self.proofs)
    }

    /// Nothing before a batch with a payment was proved.
    pub fn joules_per_payment(&self) -> Option<f64> {
        (self.payments > 0.0).then(|| self.joules / self.payments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_reasons_are_words_and_unknown_ones_numbers() {
        assert_eq!(Throttle(0).words(), Vec::<String>::new());
        assert_eq!(Throttle(0x44).words(), ["power limit", "heat (hardware)"]);
        assert_eq!(Throttle(0x1 | 0x8000).words(), ["idle", "reason 0x8000"]);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut reading = CardReading { sick: Some("ü".repeat(900)), ..CardReading::default() };
        reading.name = Some("a".repeat(1001));
        reading.clip();
        assert_eq!((reading.sick.unwrap().len(), reading.name.unwrap().len()), (1000, 1000));
    }

    #[test]
    fn only_what_is_known_becomes_a_gauge_in_base_units() {
        let reading = CardReading { power: Some(312_500), busy: Some(97), ..CardReading::default() };
        let expected = [
            ("proofmill_card_healthy", 1.0),
            ("proofmill_card_busy_ratio", 0.97),
            ("proofmill_card_power_watts", 312.5),
        ];
        assert_eq!(reading.gauges(), expected);
    }

    #[test]
    fn energy_is_averaged_over_recent_proofs_and_shared_by_their_payments() {
        let mut average = EnergyAverage::default();
        assert_eq!((average.joules_per_proof(), average.joules_per_payment()), (None, None));
        average.add(50_000, 0);
        assert_eq!((average.joules_per_proof(), average.joules_per_payment()), (Some(50.0), None));
        for _ in 0..400 {
            average.add(20_000, 100);
        }
        let near = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < expected / 1000.0;
        assert!(near(average.joules_per_proof(), 20.0), "{average:?}");
        assert!(near(average.joules_per_payment(), 0.2), "{average:?}");
    }
}
