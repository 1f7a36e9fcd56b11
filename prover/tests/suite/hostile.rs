//! Files that lie. Small good files of every kind that this crate reads are bent: bits, lengths, sections, depth, ends. Whatever comes
//! of it is an error or a value that keeps the promises of its type: no panic, no hang, and no allocation beyond a small multiple of
//! the bytes that there are.
//!
//! `PROOFMILL_HOSTILE` says how many inputs are tried, `PROOFMILL_HOSTILE_FIRST` the first of them: each is made of its number alone, so
//! that the one that failed can be tried again. `PROOFMILL_HOSTILE_SEEDS` names a folder that gets the good files, such as the seeds of
//! `fuzz/corpus`. By hand, alone and with figures:
//! `scripts/hostile files`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Chain, Mixed, key_of, prover_of, witness_of};
use bn254::ntt::Generator;
use prover::iden3::phase_two::initial_key;
use prover::iden3::zkey::Checks;
use prover::iden3::{json, ptau, r1cs, wtns, zkey};
use prover::{Cancel, DevTrapdoor, Key, KeyParts, Matrices, NoProgress, Resumable, generate_for, gnark};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Inputs where `PROOFMILL_HOSTILE` says nothing.
const FEW: u64 = 3_000;
/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(10);
/// The largest allocation of an input: so many times its length, and what small tables take.
const TIMES_LENGTH: usize = 64;
const SMALL_TABLES: usize = 4 << 20;

thread_local! {
    /// The largest allocation of this thread since it was last set to zero.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which notes the largest allocation of each thread: what is asked for counts, not what is touched.
struct Noting;

fn note(size: usize) {
    // A thread that ends has no cell any more, and nothing to note.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: everything is handed on to the system's allocator as it came; the cell is neither allocated nor dropped.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    R1cs,
    Wtns,
    Zkey,
    Ptau,
    Pmkey,
    Matrices,
    Partial,
    Proof,
    Public,
    VerifyingKey,
    GnarkKey,
    GnarkProof,
    GnarkPublic,
}

/// Good files, and what they are read with.
struct Bench {
    seeds: Vec<(Kind, Vec<u8>)>,
    /// Of the seeds of `.zkey` and `.ptau`.
    circuit: Matrices,
    /// Of the work file.
    chain: Matrices,
    trapdoor: DevTrapdoor,
    expected: KeyParts,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let trapdoor = DevTrapdoor::from_seed("tests");
        let folder = tempfile::tempdir().unwrap();
        let circuit = Matrices::synthesize(Chain::shape(3)).unwrap();
        let parts = generate_for(Generator::Five, &circuit, &trapdoor, &NoProgress).unwrap();
        let for_iden3 = Key::from_parts(&parts).unwrap();
        let (chain, expected) = key_of(Chain::shape(2));
        let partial = folder.path().join("seed.partial");
        let mut work = Resumable::open(&partial, Generator::Seven, &chain, &trapdoor).unwrap();
        assert!(work.generate(&NoProgress).unwrap() == expected);
        drop(work);
        let prover = prover_of(Mixed::shape());
        let witness = witness_of(Mixed::new(5));
        let proof = prover.prove(&witness, &Cancel::new()).unwrap().proof;
        let vk = prover.key().verifying_key();
        let mut matrices = Vec::new();
        circuit.write_to(&mut matrices).unwrap();
        let nocons: &[&[u8]] =
            &[include_bytes!("data/snarkjs/nocons.r1cs"), include_bytes!("data/snarkjs/nocons_1.zkey")];
        let seeds = vec![
            (Kind::R1cs, r1cs::write(&circuit).unwrap()),
            (Kind::R1cs, include_bytes!("data/snarkjs/outs-nolabels.r1cs").to_vec()),
            (Kind::R1cs, nocons[0].to_vec()),
            (Kind::Wtns, wtns::write(&witness_of(Chain::new(3, 2)))),
            (Kind::Zkey, zkey::write(&for_iden3, &circuit).unwrap()),
            (Kind::Zkey, nocons[1].to_vec()),
            (Kind::Ptau, ptau::write_dev(circuit.domain_log(), &trapdoor).unwrap()),
            (Kind::Pmkey, Key::from_parts(&expected).unwrap().file_bytes().to_vec()),
            (Kind::Matrices, matrices),
            (Kind::Partial, fs::read(&partial).unwrap()),
            (Kind::Proof, json::write_proof(&proof).to_string().into_bytes()),
            (Kind::Public, json::write_public(witness.public_inputs()).to_string().into_bytes()),
            (Kind::VerifyingKey, json::write_verifying_key(vk).to_string().into_bytes()),
            (Kind::GnarkKey, gnark::write_verifying_key(vk)),
            (Kind::GnarkProof, gnark::write_proof(&proof)),
            (Kind::GnarkPublic, gnark::write_public_inputs(witness.public_inputs())),
        ];
        let chain = Matrices::clone(&chain);
        Self { seeds, circuit, chain, trapdoor, expected, folder }
    }

    /// Reads a file as its kind, and uses what was read; whether it was accepted.
    fn read(&self, kind: Kind, bytes: &[u8], file: &Path, number: u64) -> bool {
        match kind {
            Kind::R1cs => {
                let Ok(circuit) = r1cs::read(bytes) else { return false };
                let again = r1cs::read(&r1cs::write(&circuit).unwrap()).unwrap();
                assert_eq!(again.digest(), circuit.digest());
                assert!(r1cs::is_in_order(bytes, &circuit).is_ok());
                true
            }
            Kind::Wtns => {
                let Ok(witness) = wtns::read(bytes, 2) else { return false };
                assert_eq!(wtns::read(&wtns::write(&witness), 2).unwrap(), witness);
                true
            }
            Kind::Zkey => {
                let checks = if number.is_multiple_of(2) { Checks::Group } else { Checks::Curve };
                let Ok(key) = zkey::read(bytes, checks) else { return false };
                // Of a file that is not of a finished ceremony nothing can be made.
                let made = Key::from_parts(&key.parts);
                assert!(made.is_err() || !key.parts.origin.is_safe());
                let _ = key.for_circuit(&self.circuit);
                true
            }
            Kind::Ptau => {
                let Ok(powers) = ptau::read(bytes) else { return false };
                initial_key(&powers, &self.circuit, &NoProgress).is_ok()
            }
            Kind::Pmkey => {
                fs::write(file, bytes).unwrap();
                let Ok(key) = Key::open(file, None) else { return false };
                assert!(!key.origin().is_safe());
                key.check_points().is_ok()
            }
            Kind::Matrices => Matrices::read_from(bytes, bytes.len() as u64).is_ok(),
            Kind::Partial => {
                fs::write(file, bytes).unwrap();
                let mut work = Resumable::open(file, Generator::Seven, &self.chain, &self.trapdoor).unwrap();
                if number.is_multiple_of(64) {
                    assert!(work.generate(&NoProgress).unwrap() == self.expected);
                }
                true
            }
            Kind::Proof | Kind::Public | Kind::VerifyingKey => {
                let Ok(value) = serde_json::from_slice(bytes) else { return false };
                match kind {
                    Kind::Proof => json::read_proof(&value).is_ok(),
                    Kind::Public => json::read_public(&value).is_ok(),
                    _ => json::read_verifying_key(&value).is_ok(),
                }
            }
            Kind::GnarkKey => gnark::read_verifying_key(bytes).is_ok(),
            Kind::GnarkProof => gnark::read_proof(bytes).is_ok(),
            Kind::GnarkPublic => gnark::read_public_inputs(bytes).is_ok(),
        }
    }

    /// An input, made of its number alone.
    fn input(&self, number: u64) -> (Kind, Vec<u8>) {
        let mut dice = Dice(ChaCha20Rng::seed_from_u64(number));
        let (kind, seed) = &self.seeds[dice.below(self.seeds.len())];
        let mut bytes = seed.clone();
        for _ in 0..1 + dice.below(3) {
            let other = &self.seeds[dice.below(self.seeds.len())].1;
            bend(&mut bytes, other, &mut dice);
        }
        if *kind == Kind::Pmkey && dice.below(4) > 0 {
            mend_checksums(&mut bytes);
        }
        (*kind, bytes)
    }
}

struct Dice(ChaCha20Rng);

impl Dice {
    /// Below `end`, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let (one, other) = (self.below(len + 1), self.below(len + 1));
        one.min(other)..one.max(other)
    }

    /// A number that breaks sums and products.
    fn extreme(&mut self) -> u64 {
        const EXTREMES: [u64; 16] = [
            0,
            1,
            2,
            27,
            28,
            29,
            1 << 16,
            (1 << 27) - 1,
            1 << 28,
            i32::MAX as u64,
            1 << 31,
            u32::MAX as u64,
            1 << 32,
            1 << 40,
            1 << 63,
            u64::MAX,
        ];
        let extreme = EXTREMES[self.below(EXTREMES.len())];
        // And its neighbours.
        extreme.wrapping_add(self.below(3) as u64).wrapping_sub(1)
    }
}

fn bend(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let len = bytes.len();
    if len == 0 {
        bytes.extend_from_slice(other);
        return;
    }
    match dice.below(11) {
        0 => {
            for _ in 0..1 + dice.below(8) {
                bytes[dice.below(len)] ^= 1 << dice.below(8);
            }
        }
        1 => bytes.truncate(dice.below(len)),
        2 => bytes.extend((0..dice.below(70)).map(|i| i as u8)),
        3 | 4 => {
            // Lengths are most often near the beginning, and aligned to four.
            let reach = if dice.below(2) == 0 { len.min(200) } else { len };
            let (at, width) = (dice.below(reach) & !3, 4 << dice.below(2));
            let end = (at + width).min(len);
            bytes[at..end].copy_from_slice(&dice.extreme().to_le_bytes()[..end - at]);
        }
        5 => drop(bytes.drain(dice.range(len))),
        6 => {
            let part = bytes[dice.range(len)].to_vec();
            let at = dice.below(len);
            bytes.splice(at..at, part);
        }
        7 => {
            let part = other[dice.range(other.len())].to_vec();
            let range = dice.range(len);
            bytes.splice(range, part);
        }
        8 => shuffle_sections(bytes, dice),
        9 => {
            let depth = 1 << dice.below(17);
            let (open, at) = ([b'[', b'{', b'('][dice.below(3)], dice.below(len));
            let nest = match open {
                b'{' => b"{\"a\":".repeat(depth),
                byte => vec![byte; depth],
            };
            bytes.splice(at..at, nest);
        }
        _ => {
            let digits = b"0123456789".repeat(1 + dice.below(200));
            let at = dice.below(len);
            bytes.splice(at..at, digits);
        }
    }
}

/// Repeats, drops or swaps sections of a container of iden3's, or changes their numbers.
fn shuffle_sections(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let mut sections = Vec::new();
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((head, tail)) = rest.split_at_checked(12) {
        let len = u64::from_le_bytes(head[4..].try_into().unwrap()) as usize;
        let Some((section, tail)) = tail.split_at_checked(len) else { break };
        sections.push([head, section].concat());
        rest = tail;
    }
    if sections.is_empty() {
        return;
    }
    let at = dice.below(sections.len());
    match dice.below(4) {
        0 => sections.push(sections[at].clone()),
        1 => drop(sections.remove(at)),
        2 => {
            let with = dice.below(sections.len());
            sections.swap(at, with);
        }
        _ => sections[at][0] = dice.below(20) as u8,
    }
    let mut changed = bytes[..8].to_vec();
    changed.extend((sections.len() as u32).to_le_bytes());
    sections.iter().for_each(|section| changed.extend(section));
    *bytes = changed;
}

/// Makes the checksums of a key file right again, of the sections that lie in it and of the header: whoever forges a key does.
fn mend_checksums(bytes: &mut [u8]) {
    if bytes.len() < 1024 {
        return;
    }
    for section in 0..8 {
        let at = 384 + 48 * section;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let (start, len) = (number(at), number(at + 8));
        let contents = start.checked_add(len).and_then(|end| bytes.get(start..end));
        if let Some(sum) = contents.map(blake3::hash) {
            bytes[at + 16..at + 48].copy_from_slice(sum.as_bytes());
        }
    }
    let sum = blake3::hash(&bytes[..992]);
    bytes[992..1024].copy_from_slice(sum.as_bytes());
}

fn number_in(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// Kilobytes that this process took at most so far.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

#[test]
fn no_file_however_bent_makes_a_parser_panic_hang_or_take_memory() {
    let bench = Bench::new();
    for (kind, seed) in &bench.seeds {
        assert!(bench.read(*kind, seed, &bench.folder.path().join("good"), 0), "the good {kind:?}");
    }
    if let Some(folder) = std::env::var_os("PROOFMILL_HOSTILE_SEEDS") {
        for (number, (kind, seed)) in bench.seeds.iter().enumerate() {
            fs::write(Path::new(&folder).join(format!("{number}-{kind:?}")), seed).unwrap();
        }
    }
    let (count, first) = (number_in("PROOFMILL_HOSTILE", FEW), number_in("PROOFMILL_HOSTILE_FIRST", 0));
    let (next, accepted) = (AtomicU64::new(first), AtomicU64::new(0));
    let (slowest, peak_of_a_tenth) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    let work = |file: PathBuf| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= first + count {
                return;
            }
            if number == first + count / 10 {
                peak_of_a_tenth.store(peak().unwrap_or(0), Ordering::Relaxed);
            }
            let (kind, bytes) = bench.input(number);
            LARGEST.set(0);
            let start = Instant::now();
            let read = catch_unwind(AssertUnwindSafe(|| bench.read(kind, &bytes, &file, number)));
            let (took, largest) = (start.elapsed(), LARGEST.get());
            let case = format!("{kind:?}, PROOFMILL_HOSTILE=1 PROOFMILL_HOSTILE_FIRST={number}");
            assert!(read.is_ok(), "a panic: {case}");
            assert!(took < LONGEST, "{took:?}: {case}");
            let most = TIMES_LENGTH * bytes.len() + SMALL_TABLES;
            assert!(largest <= most, "{largest} bytes at once for {} bytes: {case}", bytes.len());
            accepted.fetch_add(u64::from(read.is_ok_and(|read| read)), Ordering::Relaxed);
            slowest.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let file = bench.folder.path().join(format!("bent.{thread}"));
            let work = &work;
            scope.spawn(move || work(file));
        }
    });
    let (then, now) = (peak_of_a_tenth.into_inner(), peak().unwrap_or(0));
    println!(
        "{count} files in {:.1?}, {} accepted, the slowest {} µs; peak memory {then} kB after a tenth, {now} kB at the end",
        began.elapsed(),
        accepted.into_inner(),
        slowest.into_inner()
    );
    // By hand it runs alone; in the gate other tests share the process.
    if count > FEW {
        assert!(now <= then + (64 << 10), "memory grew from {then} kB to {now} kB");
    }
}
