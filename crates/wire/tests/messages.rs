//! The encoding: everything reads back, everything else is refused with an error of its own, nothing panics.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::time::Duration;

use bn254::{Fr, fr_from_le_bytes};
use circuits::{
    baby_jubjub::Point,
    batch::{BatchInput, Mint, PlacedSlot, Prepared},
    eddsa::Signature,
    leaf::CoinRange,
    message::SignedKind,
    shape::Shape,
    slot::{ForcedEntry, ForcedKind, HeldLeaf, SignedSpend, SlotInput},
};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::ValueTree};
use wire::{
    Attempt, CardReading, CircuitSupport, Control, Directive, FailureKind, InFlight, InstanceName, JobEntry,
    JobId, PoolName, ProcessId, ProofBytes, Registration, Report, Stage, Throttle, Timings, WorkerEvent,
    WorkerId,
    codec::{CodecError, HEADER, Kind, MAX_INPUT, MAX_MESSAGE, Message},
    event::MAX_SLOTS,
    job::{decode_batch_input, encode_batch_input, input_hash},
};

fn field() -> impl Strategy<Value = Fr> {
    any::<[u8; 32]>().prop_map(|mut bytes| {
        bytes[31] &= 0x1f;
        fr_from_le_bytes(&bytes).unwrap()
    })
}

fn point() -> impl Strategy<Value = Point> {
    (field(), field()).prop_map(|(x, y)| Point { x, y })
}

fn range() -> impl Strategy<Value = CoinRange> {
    (1..1u64 << 62, 0..1u64 << 62).prop_map(|(low, more)| CoinRange::new(low, low + more).unwrap())
}

fn shape() -> impl Strategy<Value = Shape> {
    select(Shape::ALL.to_vec())
}

fn instance() -> impl Strategy<Value = InstanceName> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|name| InstanceName::new(name).unwrap())
}

fn process() -> impl Strategy<Value = ProcessId> {
    any::<u64>().prop_map(ProcessId)
}

fn attempt() -> impl Strategy<Value = (JobId, Attempt)> {
    (any::<u64>(), any::<u32>()).prop_map(|(job, attempt)| (JobId(job), Attempt(attempt)))
}

fn entry() -> impl Strategy<Value = JobEntry> {
    (attempt(), shape(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(
        |((job, attempt), shape, circuit_digest, input_hash)| JobEntry {
            job,
            attempt,
            shape,
            circuit_digest,
            input_hash,
        },
    )
}

fn signed() -> impl Strategy<Value = SlotInput> {
    let fields = (any::<[u8; 20]>(), point(), range(), field(), point(), field());
    (any::<(u64, u64, u32)>(), fields, select(vec![SignedKind::Send, SignedKind::Withdraw])).prop_map(
        |((index, split, valid_until), (owner, key, range, recipient, r8, s), kind)| {
            let signature = Signature { r8, s };
            SlotInput::Signed(Box::new(SignedSpend {
                kind,
                index,
                owner,
                key,
                range,
                split,
                recipient,
                valid_until,
                signature,
            }))
        },
    )
}

fn forced() -> impl Strategy<Value = SlotInput> {
    let held = option::of((field(), range()).prop_map(|(account, range)| HeldLeaf { account, range }));
    (select(vec![ForcedKind::Exit, ForcedKind::Rekey]), any::<u64>(), field(), field(), held).prop_map(
        |(kind, index, account, new_account, held)| {
            SlotInput::Forced(ForcedEntry { kind, index, account, new_account, held })
        },
    )
}

fn siblings() -> impl Strategy<Value = Vec<[Fr; 3]>> {
    vec([field(), field(), field()], 0..4)
}

fn batch_input() -> impl Strategy<Value = BatchInput> {
    let slot = (prop_oneof![Just(SlotInput::Noop), signed(), forced()], siblings())
        .prop_map(|(input, siblings)| PlacedSlot { input, siblings });
    let mint = (field(), range()).prop_map(|(account, range)| Mint { account, range });
    let lists = (siblings(), vec(field(), 0..5), vec(slot, 0..5), vec(mint, 0..3));
    (shape(), field(), any::<u32>(), any::<u64>(), lists).prop_map(
        |(shape, domain, batch_no, start, (append_siblings, carried_nodes, slots, mints))| BatchInput {
            shape,
            domain,
            batch_no,
            start,
            append_siblings,
            carried_nodes,
            slots,
            mints,
        },
    )
}

fn timings() -> impl Strategy<Value = Timings> {
    (any::<[u32; 8]>(), any::<Option<u64>>()).prop_map(|(t, energy_millijoules)| {
        let [queue_wait, fetch, witness, sparse, ntt, msm, finish, total] =
            t.map(|micros| Duration::from_micros(micros.into()));
        Timings { queue_wait, fetch, witness, sparse, ntt, msm, finish, total, energy_millijoules }
    })
}

/// Some fields of each type; what is not there is the usual case.
fn card() -> impl Strategy<Value = CardReading> {
    let words = (option::of("\\PC{0,20}"), option::of("\\PC{0,20}"));
    let numbers = any::<(Option<u64>, Option<u32>, Option<u64>, Option<bool>)>();
    (words, numbers).prop_map(|((uuid, sick), (memory_used, power, throttle, mig))| CardReading {
        uuid,
        sick,
        memory_used,
        power,
        throttle: throttle.map(Throttle),
        mig,
        ..CardReading::default()
    })
}

fn event() -> impl Strategy<Value = WorkerEvent> {
    let digests = any::<[[u8; 32]; 2]>();
    let circuit = (shape(), digests).prop_map(|(shape, [digest, verifying_key])| CircuitSupport {
        shape,
        digest,
        verifying_key,
    });
    let registration = ("\\PC{0,20}", "\\PC{0,20}", any::<u64>(), vec(circuit, 0..6), any::<u8>()).prop_map(
        |(backend, version, memory, circuits, slots)| Registration {
            backend,
            version,
            memory,
            circuits,
            slots,
        },
    );
    let stage = select(vec![Stage::Queued, Stage::Fetching, Stage::Witness, Stage::Ready, Stage::Proving]);
    let held = (attempt(), stage).prop_map(|((job, attempt), stage)| InFlight { job, attempt, stage });
    let in_flight = vec(held, 0..3).boxed();
    let kind = select(vec![FailureKind::Infrastructure, FailureKind::Input, FailureKind::Proof]);
    let proof = vec(any::<u8>(), 256).prop_map(|bytes| ProofBytes(bytes.try_into().unwrap()));
    prop_oneof![
        (registration, in_flight.clone())
            .prop_map(|(registration, in_flight)| WorkerEvent::Register { registration, in_flight }),
        (in_flight, option::of(card()))
            .prop_map(|(in_flight, card)| WorkerEvent::Heartbeat { in_flight, card: card.map(Box::new) }),
        (attempt(), proof, timings()).prop_map(|((job, attempt), proof, timings)| WorkerEvent::Proved {
            job,
            attempt,
            proof,
            timings
        }),
        (attempt(), kind, "\\PC{0,100}").prop_map(|((job, attempt), kind, message)| WorkerEvent::Failed {
            job,
            attempt,
            kind,
            message
        }),
        (attempt(), "\\PC{0,100}").prop_map(|((job, attempt), message)| WorkerEvent::HandedBack {
            job,
            attempt,
            message
        }),
        "\\PC{0,100}".prop_map(|message| WorkerEvent::Left { message }),
    ]
}

fn report() -> impl Strategy<Value = Report> {
    (instance(), process(), event()).prop_map(|(instance, process, event)| Report {
        instance,
        process,
        event,
    })
}

fn directive() -> impl Strategy<Value = Directive> {
    let control = prop_oneof![
        select(vec![Control::Registered, Control::Reregister, Control::Drain, Control::NameTaken]),
        entry().prop_map(Control::Job),
        attempt().prop_map(|(job, attempt)| Control::Close { job, attempt }),
        (shape(), any::<[u8; 32]>())
            .prop_map(|(shape, verifying_key)| Control::Refuse { shape, verifying_key }),
    ];
    (process(), control).prop_map(|(process, control)| Directive { process, control })
}

/// Reads back; any cut, any extra byte and any other header is refused with its own error.
fn check_message<M: Message + PartialEq + std::fmt::Debug>(
    message: &M,
    cut: usize,
) -> Result<(), TestCaseError> {
    let bytes = message.encode().unwrap();
    prop_assert_eq!(&M::decode(&bytes).unwrap(), message);
    let cut = cut % bytes.len();
    prop_assert_eq!(M::decode(&bytes[..cut]).unwrap_err(), CodecError::Truncated);
    let mut longer = bytes.clone();
    longer.extend([0; 3]);
    prop_assert_eq!(M::decode(&longer).unwrap_err(), CodecError::Trailing { extra: 3 });
    let with = |at: usize, byte: u8| {
        let mut other = bytes.clone();
        other[at] = byte;
        M::decode(&other).unwrap_err()
    };
    prop_assert_eq!(with(0, b'X'), CodecError::NotOurs);
    let (expected, found) = (M::KIND.version(), M::KIND.version() + 1);
    prop_assert_eq!(with(3, found), CodecError::Version { found, expected });
    prop_assert_eq!(with(4, 99), CodecError::Kind { found: 99, expected: M::KIND });
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn reports_read_back(message in report(), cut in any::<usize>()) {
        check_message(&message, cut)?;
    }

    #[test]
    fn directives_read_back(message in directive(), cut in any::<usize>()) {
        check_message(&message, cut)?;
    }

    #[test]
    fn batch_inputs_read_back(message in batch_input(), cut in any::<usize>()) {
        check_message(&message, cut)?;
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..2000), header in any::<bool>(), kind in 1..5u8) {
        if header && bytes.len() >= HEADER {
            let kinds = [Kind::Event, Kind::Control, Kind::BatchInput].into_iter();
            let version = kinds.filter(|known| *known as u8 == kind).map(Kind::version).next().unwrap_or(1);
            bytes[..HEADER].copy_from_slice(&[b'P', b'M', b'W', version, kind]);
        }
        let _ = Report::decode(&bytes).map(|mut report| report.event.clip());
        let _ = Directive::decode(&bytes);
        let _ = decode_batch_input(&bytes);
    }

    #[test]
    fn a_changed_byte_never_panics_and_changes_the_hash(input in batch_input(), at in any::<usize>(), with in 1..=255u8) {
        let bytes = encode_batch_input(&input).unwrap();
        let mut changed = bytes.clone();
        let at = at % bytes.len();
        changed[at] ^= with;
        prop_assert_ne!(input_hash(&changed), input_hash(&bytes));
        if let Ok(other) = decode_batch_input(&changed) {
            prop_assert_ne!(&other, &input);
            let _ = Prepared::new(other);
        }
    }
}

#[test]
fn messages_over_the_limit_are_neither_written_nor_read() {
    let long = left(InstanceName::new("w").unwrap(), "x".repeat(MAX_MESSAGE));
    assert!(matches!(long.encode(), Err(CodecError::TooLong { limit: MAX_MESSAGE, .. })));
    let bytes = vec![0; MAX_INPUT + 1];
    assert_eq!(
        decode_batch_input(&bytes),
        Err(CodecError::TooLong { length: MAX_INPUT + 1, limit: MAX_INPUT })
    );
}

/// A store holds the hash of each sealed batch's input, and a replay makes the bytes again: other bytes for the same input
/// would make every store unreadable.
#[test]
fn the_bytes_of_a_batch_input_stay_as_stores_know_them() {
    let bytes = encode_batch_input(&blank(Shape::S3M1)).unwrap();
    assert_eq!(&bytes[..HEADER], b"PMW\x01\x04");
    let hash: String = input_hash(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, "e7e3c128c26cf28b3a2bf51ef6c79d933229135ec89b0be04fa7bc8f6498ed03");
}

#[test]
fn the_largest_batch_fits_the_limit() {
    let shape = Shape::S1020M4;
    let one = Fr::from(1);
    let point = Point { x: -one, y: -one };
    let spend = SignedSpend {
        kind: SignedKind::Send,
        index: u64::MAX,
        owner: [255; 20],
        key: point,
        range: CoinRange::new((1 << 63) - 1, (1 << 63) - 1).unwrap(),
        split: u64::MAX,
        recipient: -one,
        valid_until: u32::MAX,
        signature: Signature { r8: point, s: -one },
    };
    let level = circuits::batch::carried_level(shape);
    let slot = PlacedSlot { input: SlotInput::Signed(Box::new(spend)), siblings: vec![[-one; 3]; level] };
    let mut input = BatchInput { slots: vec![slot; shape.slots()], ..blank(shape) };
    input.mints =
        vec![Mint { account: -one, range: CoinRange::new(1, (1 << 63) - 1).unwrap() }; shape.mint_places()];
    let bytes = encode_batch_input(&input).unwrap();
    assert!(bytes.len() < MAX_INPUT / 2, "{}", bytes.len());
}

fn blank(shape: Shape) -> BatchInput {
    BatchInput {
        shape,
        domain: Fr::from(1),
        batch_no: u32::MAX,
        start: u64::MAX,
        append_siblings: vec![[Fr::from(1); 3]; 18],
        carried_nodes: vec![Fr::from(1); 64],
        slots: Vec::new(),
        mints: Vec::new(),
    }
}

/// Cuts a message at many places and goes on with as many bytes as fit, all alike: a type that contains itself would be entered
/// once for each of them.
fn go_on_with_equal_bytes<M: Message>(bytes: &[u8]) {
    for at in (HEADER..bytes.len()).step_by(bytes.len() / 100 + 1) {
        for fill in [0, 1, 2, 5, 0x7f] {
            let mut longer = bytes[..at].to_vec();
            longer.resize(MAX_MESSAGE, fill);
            let _ = M::decode(&longer);
        }
    }
}

#[test]
fn no_bytes_nest_deeper_than_the_types_of_messages_do() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let messages: Vec<_> = (0..12)
        .map(|_| (report(), directive(), batch_input()).new_tree(&mut runner).unwrap().current())
        .map(|(report, directive, input)| {
            [report.encode(), directive.encode(), encode_batch_input(&input)].map(Result::unwrap)
        })
        .collect();
    let read = move || {
        for [report, directive, input] in &messages {
            go_on_with_equal_bytes::<Report>(report);
            go_on_with_equal_bytes::<Directive>(directive);
            go_on_with_equal_bytes::<BatchInput>(input);
        }
    };
    // Four bytes of stack for each byte of a message: a level for each would end this process.
    let stack = 4 * MAX_MESSAGE;
    std::thread::Builder::new().stack_size(stack).spawn(read).unwrap().join().unwrap();
}

fn left(instance: InstanceName, message: String) -> Report {
    Report { instance, process: ProcessId(1), event: WorkerEvent::Left { message } }
}

#[test]
fn pools_and_workers_are_named_by_plain_characters() {
    assert_eq!(InstanceName::new("gpu-1.node_2").unwrap().as_str(), "gpu-1.node_2");
    assert_eq!(PoolName::new("rack-1").unwrap().as_str(), "rack-1");
    for bad in ["", "a b", "a:b", "a/b", "a*", "\u{fc}", "a\n"] {
        assert!(InstanceName::new(bad).is_err() && PoolName::new(bad).is_err(), "{bad:?}");
    }
    let name = |length| "x".repeat(length);
    assert!(PoolName::new(name(32)).is_ok() && PoolName::new(name(33)).is_err());
    assert!(InstanceName::new(name(64)).is_ok() && InstanceName::new(name(65)).is_err());
    let long = InstanceName::new(name(10_000)).unwrap_err().to_string();
    assert!(long.contains("PM-WIRE-010") && long.len() < 300, "{long}");
}

#[test]
fn a_worker_is_written_as_its_pool_and_its_instance() {
    let id = WorkerId::parse("rack-1/gpu.7").unwrap();
    assert_eq!(
        (id.pool.as_str(), id.instance.as_str(), id.to_string().as_str()),
        ("rack-1", "gpu.7", "rack-1/gpu.7")
    );
    assert_eq!(WorkerId::parse("gpu").unwrap().to_string(), "default/gpu");
    for bad in ["/", "a/", "/a", "a/b/c", ""] {
        assert!(WorkerId::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn processes_of_one_host_have_different_names() {
    let name = |host: &str, process| InstanceName::of_process(host, ProcessId(process));
    assert_eq!(name("node 1/a", 0x1234_5678_9abc_def0).as_str(), "node-1-a-9abcdef0");
    assert_ne!(name("host", 1), name("host", 2));
    let long = name(&"h".repeat(300), u64::MAX);
    assert_eq!(long.as_str().len(), InstanceName::MAX);
    assert_eq!(InstanceName::new(long.as_str()).unwrap(), long);
    assert!(InstanceName::new(name("", 1).as_str()).is_ok());
}

#[test]
fn a_bad_name_inside_a_message_is_malformed() {
    let mut bytes = left(InstanceName::new("aaaa").unwrap(), String::new()).encode().unwrap();
    let at = bytes.windows(4).position(|w| w == b"aaaa").unwrap();
    bytes[at] = b'/';
    assert!(matches!(Report::decode(&bytes), Err(CodecError::Malformed(_))));
}

#[test]
fn what_strangers_write_is_cut_to_bounds() {
    let held = InFlight { job: JobId(1), attempt: Attempt(1), stage: Stage::Queued };
    let circuit = CircuitSupport { shape: Shape::S3M1, digest: [1; 32], verifying_key: [2; 32] };
    let long = "\u{e4}\0".repeat(20_000);
    let registration = Registration {
        backend: long.clone(),
        version: long.clone(),
        memory: u64::MAX,
        circuits: vec![circuit; 100],
        slots: 255,
    };
    let mut event = WorkerEvent::Register { registration, in_flight: vec![held; 1000] };
    event.clip();
    let WorkerEvent::Register { registration, in_flight } = event else { panic!("{event:?}") };
    assert!(registration.backend.len() <= 64 && registration.version.len() <= 64);
    assert_eq!((registration.circuits.len(), registration.slots), (1, MAX_SLOTS));
    assert_eq!(in_flight.len(), usize::from(MAX_SLOTS));
    assert!(!registration.backend.contains('\0'), "a store takes no NUL");

    let (job, attempt) = (JobId(1), Attempt(1));
    for mut event in [
        WorkerEvent::Left { message: long.clone() },
        WorkerEvent::HandedBack { job, attempt, message: long.clone() },
        WorkerEvent::Failed { job, attempt, kind: FailureKind::Input, message: long },
    ] {
        event.clip();
        let (WorkerEvent::Left { message }
        | WorkerEvent::HandedBack { message, .. }
        | WorkerEvent::Failed { message, .. }) = event
        else {
            panic!("{event:?}")
        };
        assert!(message.len() <= 2000 && !message.contains('\0'));
    }
    let mut beat = WorkerEvent::Heartbeat { in_flight: vec![held; 1000], card: None };
    beat.clip();
    assert_eq!(beat, WorkerEvent::Heartbeat { in_flight: vec![held; usize::from(MAX_SLOTS)], card: None });
}
