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
    Attempt, CardReading, CircuitSupport, Control, FailureKind, Hold, JobEntry, JobId, ProofBytes,
    Registration, Stage, Throttle, Timings, WorkerEvent, WorkerId,
    codec::{CodecError, HEADER, Kind, MAX_INPUT, MAX_MESSAGE, Message},
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

fn worker() -> impl Strategy<Value = WorkerId> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|name| WorkerId::new(name).unwrap())
}

fn attempt() -> impl Strategy<Value = (JobId, Attempt)> {
    (any::<u64>(), any::<u32>()).prop_map(|(job, attempt)| (JobId(job), Attempt(attempt)))
}

fn entry() -> impl Strategy<Value = JobEntry> {
    (attempt(), shape(), any::<[u8; 32]>(), any::<[u8; 32]>(), vec(worker(), 0..5)).prop_map(
        |((job, attempt), shape, circuit_digest, input_hash, excluded)| JobEntry {
            job,
            attempt,
            shape,
            circuit_digest,
            input_hash,
            excluded,
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
    let registration = ("\\PC{0,20}", "\\PC{0,20}", any::<u64>(), vec(circuit, 0..6))
        .prop_map(|(backend, version, memory, circuits)| Registration { backend, version, memory, circuits });
    let stage = select(vec![Stage::Waiting, Stage::Fetching, Stage::Witness, Stage::Ready, Stage::Proving]);
    let hold = (attempt(), stage).prop_map(|((job, attempt), stage)| Hold { job, attempt, stage });
    let kind = select(vec![FailureKind::Infrastructure, FailureKind::Input, FailureKind::Proof]);
    let proof = vec(any::<u8>(), 256).prop_map(|bytes| ProofBytes(bytes.try_into().unwrap()));
    prop_oneof![
        (worker(), registration, any::<bool>())
            .prop_map(|(worker, registration, fresh)| WorkerEvent::Register { worker, registration, fresh }),
        (worker(), attempt()).prop_map(|(worker, (job, attempt))| WorkerEvent::Claimed {
            worker,
            job,
            attempt
        }),
        (worker(), vec(hold, 0..3), option::of(card())).prop_map(|(worker, holds, card)| {
            WorkerEvent::Heartbeat { worker, holds, card: card.map(Box::new) }
        }),
        (worker(), attempt(), proof, [field(), field(), field()], timings()).prop_map(
            |(worker, (job, attempt), proof, public_inputs, timings)| WorkerEvent::Proved {
                worker,
                job,
                attempt,
                proof,
                public_inputs,
                timings
            }
        ),
        (worker(), attempt(), kind, "\\PC{0,100}").prop_map(|(worker, (job, attempt), kind, message)| {
            WorkerEvent::Failed { worker, job, attempt, kind, message }
        }),
        (worker(), attempt(), "\\PC{0,100}").prop_map(|(worker, (job, attempt), message)| {
            WorkerEvent::HandedBack { worker, job, attempt, message }
        }),
        (worker(), "\\PC{0,100}").prop_map(|(worker, message)| WorkerEvent::Left { worker, message }),
    ]
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        attempt().prop_map(|(job, attempt)| Control::Grant { job, attempt }),
        attempt().prop_map(|(job, attempt)| Control::Cancel { job, attempt }),
        (shape(), any::<[u8; 32]>())
            .prop_map(|(shape, verifying_key)| Control::Refuse { shape, verifying_key }),
    ]
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
    fn entries_read_back(message in entry(), cut in any::<usize>()) {
        check_message(&message, cut)?;
    }

    #[test]
    fn events_read_back(message in event(), cut in any::<usize>()) {
        check_message(&message, cut)?;
    }

    #[test]
    fn controls_read_back(message in control(), cut in any::<usize>()) {
        check_message(&message, cut)?;
    }

    #[test]
    fn batch_inputs_read_back(message in batch_input(), cut in any::<usize>()) {
        check_message(&message, cut)?;
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..2000), header in any::<bool>(), kind in 1..5u8) {
        if header && bytes.len() >= HEADER {
            let version = if kind == Kind::Event as u8 { Kind::Event.version() } else { 1 };
            bytes[..HEADER].copy_from_slice(&[b'P', b'M', b'W', version, kind]);
        }
        let _ = JobEntry::decode(&bytes);
        let _ = WorkerEvent::decode(&bytes);
        let _ = Control::decode(&bytes);
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
    let worker = WorkerId::new("w").unwrap();
    let long = WorkerEvent::Left { worker, message: "x".repeat(MAX_MESSAGE) };
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
        .map(|_| (entry(), event(), control(), batch_input()).new_tree(&mut runner).unwrap().current())
        .map(|(entry, event, control, input)| {
            [entry.encode(), event.encode(), control.encode(), encode_batch_input(&input)].map(Result::unwrap)
        })
        .collect();
    let read = move || {
        for [entry, event, control, input] in &messages {
            go_on_with_equal_bytes::<JobEntry>(entry);
            go_on_with_equal_bytes::<WorkerEvent>(event);
            go_on_with_equal_bytes::<Control>(control);
            go_on_with_equal_bytes::<BatchInput>(input);
        }
    };
    // Four bytes of stack for each byte of a message: a level for each would end this process.
    let stack = 4 * MAX_MESSAGE;
    std::thread::Builder::new().stack_size(stack).spawn(read).unwrap().join().unwrap();
}

#[test]
fn a_worker_is_named_by_plain_characters() {
    assert_eq!(WorkerId::new("gpu-1.node_2").unwrap().as_str(), "gpu-1.node_2");
    for bad in ["", "a b", "a:b", "ü", "a\n", &"x".repeat(65)] {
        assert!(WorkerId::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_bad_name_inside_a_message_is_malformed() {
    let worker = WorkerId::new("aaaa").unwrap();
    let event = WorkerEvent::Left { worker, message: String::new() };
    let mut bytes = event.encode().unwrap();
    let at = bytes.windows(4).position(|w| w == b"aaaa").unwrap();
    bytes[at] = b'/';
    assert!(matches!(WorkerEvent::decode(&bytes), Err(CodecError::Malformed(_))));
}
