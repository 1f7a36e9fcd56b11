//! The card as the real NVML binding sees it, over a fake library whose cards a test can break.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod health;

use std::{sync::Arc, time::Duration};

use gpu_worker::card::{self, Card, CardError, Condition, Monitor, Settings, health::Limits};
use testbed::nvml::{Fake, uuid};
use wire::{CardReading, Throttle, WorkerId};

fn an_old_driver() -> Fake {
    Fake::built_with(&["-DOLD_DRIVER"])
}

fn settings(fake: &Fake) -> Settings {
    Settings {
        library: Some(fake.library()),
        every: Duration::from_millis(10),
        limits: Limits { throttled: Duration::ZERO, settle: Duration::ZERO, ..Limits::default() },
        ..Settings::default()
    }
}

fn start(settings: Settings) -> Result<Monitor, CardError> {
    Monitor::start(WorkerId::parse("under-test").unwrap(), settings)
}

fn watch(fake: &Fake) -> Monitor {
    start(settings(fake)).unwrap()
}

async fn until_sick(card: &Card, code: &str) {
    let sick = |condition: &Condition| matches!(condition, Condition::Sick(reason) if reason.contains(code));
    let mut condition = card.condition();
    let waited = tokio::time::timeout(Duration::from_secs(60), condition.wait_for(sick)).await;
    assert!(waited.is_ok(), "not sick with {code}: {:?}", card.condition().borrow());
}

async fn until_well(card: &Card) {
    let mut condition = card.condition();
    let well = condition.wait_for(|condition| *condition == Condition::Well);
    tokio::time::timeout(Duration::from_secs(60), well).await.expect("well again").unwrap();
}

#[test]
fn a_look_reads_everything_that_the_card_tells() {
    let fake = Fake::new();
    fake.add(0);
    fake.card(0, &[("process", "1 7000000000")]);
    let reading = watch(&fake).card().reading();
    let expected = CardReading {
        name: Some("NVIDIA H200".to_owned()),
        uuid: Some(uuid(0)),
        pci_bus: Some("00000000:17:00.0".to_owned()),
        driver: Some("580.95.05".to_owned()),
        mig: Some(false),
        memory_used: Some(50_000_000_000),
        memory_free: Some(100_000_000_000),
        memory_total: Some(150_000_000_000),
        foreign_processes: Some(1),
        foreign_memory: Some(7_000_000_000),
        busy: Some(97),
        memory_busy: Some(41),
        power: Some(412_000),
        power_limit: Some(700_000),
        energy: Some(5_000_000),
        temperature: Some(54),
        slowdown_temperature: Some(90),
        sm_clock: Some(1830),
        sm_clock_max: Some(1980),
        memory_clock: Some(3201),
        memory_clock_max: Some(3201),
        throttle: Some(Throttle(Throttle::POWER_CAP)),
        performance_state: Some(0),
        ecc_corrected: Some(2),
        ecc_uncorrected: Some(0),
        retirement_pending: Some(false),
        remapped_rows: Some(0),
        remap_pending: Some(false),
        remap_failed: Some(false),
        pcie_to_card: Some(1200),
        pcie_from_card: Some(300),
        pcie_generation: Some(5),
        pcie_generation_max: Some(5),
        pcie_width: Some(16),
        pcie_width_max: Some(16),
        pcie_replays: Some(0),
        sick: None,
    };
    assert_eq!(reading, expected);
}

#[test]
fn a_driver_that_lacks_functions_leaves_fields_empty_and_the_card_well() {
    let fake = an_old_driver();
    fake.add(0);
    let monitor = watch(&fake);
    let reading = monitor.card().reading();
    assert_eq!((reading.temperature, reading.power), (Some(54), Some(412_000)));
    assert_eq!((reading.energy, reading.throttle, reading.remap_pending), (None, None, None));
    assert_eq!(*monitor.card().condition().borrow(), Condition::Well);
}

#[test]
fn what_the_card_does_not_support_or_forbids_is_empty() {
    let fake = Fake::new();
    fake.add(0);
    fake.card(0, &[("power", "!3"), ("corrected", "!4"), ("remapped", "!3"), ("state", "32")]);
    let reading = watch(&fake).card().reading();
    assert_eq!((reading.power, reading.ecc_corrected, reading.remapped_rows), (None, None, None));
    assert_eq!((reading.performance_state, reading.remap_pending), (None, Some(false)));
}

#[test]
fn without_a_driver_there_is_a_message_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Settings { library: Some(folder.path().join("none.so")), ..Settings::default() };
    let error = start(missing).err().unwrap();
    assert!(matches!(error, CardError::NoDriver(_)), "{error}");

    let fake = Fake::new();
    fake.set(&[("init", "!9")]);
    assert!(matches!(start(settings(&fake)).err().unwrap(), CardError::NoDriver(_)));
    fake.set(&[("init", "!4")]);
    assert_eq!(start(settings(&fake)).err().unwrap(), CardError::NoPermission);
    fake.set(&[("init", "!18")]);
    let mismatch = start(settings(&fake)).err().unwrap();
    assert!(matches!(&mismatch, CardError::Nvml(reason) if reason.contains("mismatch")), "{mismatch}");
    // A library that is no NVML at all.
    let mut other = settings(&fake);
    other.library = Some("libm.so.6".into());
    assert!(matches!(start(other).err().unwrap(), CardError::Nvml(_)));
}

#[test]
fn the_card_is_found_by_name_whatever_its_number() {
    let fake = Fake::new();
    fake.add(0);
    fake.add(1);
    fake.card(1, &[("instance", "MIG-77"), ("mig", "1"), ("temperature", "61")]);
    let temperature = |settings: Settings| start(settings).unwrap().card().reading().temperature;
    let named = |uuid: &str| Settings { uuid: Some(uuid.to_owned()), ..settings(&fake) };
    assert_eq!(temperature(named(&uuid(1))), Some(61));
    assert_eq!(temperature(named(&uuid(0).to_lowercase())), Some(54));
    assert_eq!(temperature(named("MIG-77")), Some(61));
    // CUDA writes a shorter domain.
    let bus = Settings { pci_bus: Some("0001:17:00.0".to_owned()), ..settings(&fake) };
    assert_eq!(temperature(bus), Some(61));

    // The same card after a reboot that swapped the two.
    fake.card(0, &[("uuid", &uuid(1)), ("temperature", "61")]);
    fake.card(1, &[("uuid", &uuid(0)), ("temperature", "54")]);
    assert_eq!(temperature(named(&uuid(1))), Some(61));

    let error = start(named("GPU-none")).err().unwrap();
    assert!(matches!(&error, CardError::NoSuchCard { have, .. } if have.contains(&uuid(0))), "{error}");
    assert!(matches!(start(settings(&fake)).err().unwrap(), CardError::Ambiguous { .. }));
    fake.set(&[("cards", "0")]);
    assert!(matches!(start(settings(&fake)).err().unwrap(), CardError::NoSuchCard { .. }));
}

#[tokio::test]
async fn a_hot_card_is_sick_until_it_is_cool() {
    let fake = Fake::new();
    fake.add(0);
    let monitor = watch(&fake);
    let card = monitor.card();
    assert_eq!(*card.condition().borrow(), Condition::Well);
    fake.card(0, &[("temperature", "90")]);
    until_sick(&card, "PM-CARD-012").await;
    assert!(card.reading().sick.unwrap().contains("PM-CARD-012"));
    fake.card(0, &[("temperature", "70")]);
    until_well(&card).await;
}

#[tokio::test]
async fn a_lost_card_is_sick_and_keeps_its_name() {
    let fake = Fake::new();
    fake.add(0);
    let monitor = watch(&fake);
    let card = monitor.card();
    fake.card(0, &[("lost", "!15")]);
    until_sick(&card, "PM-CARD-010").await;
    assert_eq!(card.reading().uuid, Some(uuid(0)));
    assert_eq!(card.meter().stop(), None);
}

#[tokio::test]
async fn rising_memory_errors_make_the_card_sick() {
    let fake = Fake::new();
    fake.add(0);
    fake.card(0, &[("uncorrected", "3")]);
    let monitor = watch(&fake);
    let card = monitor.card();
    assert_eq!(*card.condition().borrow(), Condition::Well);
    fake.card(0, &[("uncorrected", "4")]);
    until_sick(&card, "PM-CARD-011").await;
}

#[tokio::test]
async fn other_processes_that_fill_the_card_make_it_sick_and_its_own_do_not() {
    let fake = Fake::new();
    fake.add(0);
    let own = format!("{} 99000000000", std::process::id());
    fake.card(0, &[("memory_free", "1000000"), ("process", &own)]);
    let monitor = watch(&fake);
    let card = monitor.card();
    assert_eq!((card.reading().foreign_processes, card.reading().sick), (Some(0), None));
    fake.card(0, &[("process", "1 99000000000")]);
    until_sick(&card, "PM-CARD-015").await;
}

#[test]
fn the_energy_of_a_proof_is_what_the_counter_rose_by() {
    let fake = Fake::new();
    fake.add(0);
    let monitor = watch(&fake);
    let meter = monitor.card().meter();
    fake.card(0, &[("energy", "5028500")]);
    assert_eq!(meter.stop(), Some(28_500));
    fake.card(0, &[("energy", "-"), ("power", "-")]);
    assert_eq!(monitor.card().meter().stop(), None);
}

#[test]
fn a_card_without_a_counter_is_metered_by_its_power() {
    let fake = an_old_driver();
    fake.add(0);
    let monitor = watch(&fake);
    let meter = monitor.card().meter();
    std::thread::sleep(Duration::from_millis(60));
    // At 412 W, 60 ms are 24.7 J; how long it really took is the machine's affair.
    assert!(meter.stop().unwrap() >= 24_700);
}

#[test]
fn a_survey_tells_all_cards_and_what_ails_them() {
    let fake = Arc::new(Fake::new());
    fake.add(0);
    fake.add(1);
    fake.card(1, &[("remap_pending", "1")]);
    let cards = card::survey(Some(&fake.library())).unwrap();
    assert_eq!(cards.iter().map(|card| card.uuid.clone().unwrap()).collect::<Vec<_>>(), [uuid(0), uuid(1)]);
    assert_eq!(cards[0].sick, None);
    assert!(cards[1].sick.as_ref().unwrap().contains("PM-CARD-014"));
}
