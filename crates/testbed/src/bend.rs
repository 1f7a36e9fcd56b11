//! Files that lie: good ones bent at random (bits, lengths, depth, ends, foreign parts), and the loop that has them read.
//!
//! Invariant: whatever comes of a bent file is an error or a value. A panic, more than ten seconds, or an allocation beyond a
//! small multiple of the bytes that there are ends the test with the number of the input. Each input is made of its number
//! alone, so that it can be tried again.
//!
//! `PROOFMILL_HOSTILE` says how many inputs each suite tries, `PROOFMILL_HOSTILE_FIRST` the first of them.
//! `PROOFMILL_HOSTILE_SEEDS` names a folder that gets the good files, such as the seeds of `fuzz/corpus`. By hand:
//! `scripts/hostile files`.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fmt::Debug,
    fs,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(10);
/// The largest allocation of an input: so many times its length, and what small tables take.
const TIMES_LENGTH: usize = 64;
const SMALL_TABLES: usize = 4 << 20;
/// What a process may keep of the inputs behind it, in kilobytes.
const MOST_KEPT: u64 = 64 << 10;

thread_local! {
    /// The largest allocation of this thread since it was last set to zero.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which notes the largest allocation of each thread: what is asked for counts, not what is touched.
/// A test program that reads bent files makes it the global one.
pub struct Noting;

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

/// Random numbers of an input (SplitMix64, Steele, Lea and Flood 2014).
pub struct Dice(u64);

impl Dice {
    pub fn of(number: u64) -> Self {
        Self(number)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    /// One of some, which are not none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub fn range(&mut self, len: usize) -> Range<usize> {
        let (one, other) = (self.below(len + 1), self.below(len + 1));
        one.min(other)..one.max(other)
    }

    /// A number that breaks sums and products.
    pub fn extreme(&mut self) -> u64 {
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
        // And its neighbours.
        self.one(&EXTREMES).wrapping_add(self.below(3) as u64).wrapping_sub(1)
    }
}

/// What a file of text is opened to hold: numbers, words and marks of JSON, TOML and PEM.
const WORDS: [&str; 20] = [
    "null",
    "true",
    "-1",
    "1e400",
    "0.1",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "\"\"",
    "\"0x\"",
    "\"\\ud800\"",
    "\u{e4}\u{20ac}\u{1f600}",
    "\u{0}",
    "\n",
    "\"\"\"",
    "= [[",
    "[[a]]\n",
    "'''",
    "1979-05-27T07:32:00Z",
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----\n",
];

/// Changes a file once; `other` is what foreign parts are taken of.
pub fn bend(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let len = bytes.len();
    if len == 0 {
        bytes.extend_from_slice(other);
        return;
    }
    match dice.below(12) {
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
            bytes.splice(dice.range(len), part);
        }
        8 => {
            let end = 1 + dice.below(30);
            let at = dice.below(len);
            bytes.splice(at..(at + end).min(len), dice.one(&WORDS).bytes());
        }
        9 => {
            let at = dice.below(len);
            bytes.splice(at..at, dice.one(&WORDS).bytes());
        }
        10 => {
            let depth = 1 << dice.below(17);
            let nest = *dice.one(&["[", "{\"a\":", "(", "a.", "{a="]);
            let at = dice.below(len);
            bytes.splice(at..at, nest.repeat(depth).into_bytes());
        }
        _ => {
            let digits = b"0123456789".repeat(1 + dice.below(200));
            let at = dice.below(len);
            bytes.splice(at..at, digits);
        }
    }
}

/// Good files of each kind, bent one to three times and read.
pub struct Suite<'a, K> {
    /// For the figures.
    pub what: &'static str,
    pub seeds: &'a [(K, Vec<u8>)],
    /// Inputs where `PROOFMILL_HOSTILE` says nothing.
    pub few: u64,
}

impl<K: Copy + Debug + Sync> Suite<'_, K> {
    /// Has all inputs read by all cores. `bent` bends a file in ways of its kind (such as making its checksums right), after it
    /// was bent in the general ones; `read` reads a file of a kind and uses what was read, and says whether it was accepted. It
    /// is given a folder for this thread alone, and the number of the input.
    ///
    /// # Panics
    /// For an input that a reader cannot take, with its number; if a good file is refused.
    pub fn run(
        &self,
        bent: impl Fn(K, &mut Vec<u8>, &mut Dice) + Sync,
        read: impl Fn(K, &[u8], &Path, u64) -> bool + Sync,
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (number, (kind, seed)) in self.seeds.iter().enumerate() {
            let place = folder.path().join(format!("good.{number}"));
            fs::create_dir(&place).expect("a temporary folder can be made");
            assert!(read(*kind, seed, &place, 0), "the good {kind:?} is refused");
            if let Some(seeds) = std::env::var_os("PROOFMILL_HOSTILE_SEEDS") {
                let name = format!("{}-{number}-{kind:?}", self.what);
                fs::write(Path::new(&seeds).join(name), seed).expect("the seeds' folder can be written to");
            }
        }
        let (count, first) =
            (number_in("PROOFMILL_HOSTILE", self.few), number_in("PROOFMILL_HOSTILE_FIRST", 0));
        let (next, accepted) = (AtomicU64::new(first), AtomicU64::new(0));
        let (slowest, peak_of_a_tenth) = (AtomicU64::new(0), AtomicU64::new(0));
        let began = Instant::now();
        let work = |place: PathBuf| {
            fs::create_dir(&place).expect("a temporary folder can be made");
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= first + count {
                    return;
                }
                if number == first + count / 10 {
                    peak_of_a_tenth.store(peak().unwrap_or(0), Ordering::Relaxed);
                }
                let (kind, bytes) = self.input(number, &bent);
                LARGEST.set(0);
                let start = Instant::now();
                let read = catch_unwind(AssertUnwindSafe(|| read(kind, &bytes, &place, number)));
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
                let (place, work) = (folder.path().join(format!("bent.{thread}")), &work);
                scope.spawn(move || work(place));
            }
        });
        let (then, now) = (peak_of_a_tenth.into_inner(), peak().unwrap_or(0));
        println!(
            "{}: {count} files in {:.1?}, {} accepted, the slowest {} µs; peak memory {then} kB after a tenth, {now} kB at the end",
            self.what,
            began.elapsed(),
            accepted.into_inner(),
            slowest.into_inner()
        );
        // By hand it runs alone; in the gate other tests share the process.
        if count > self.few {
            assert!(now <= then + MOST_KEPT, "memory grew from {then} kB to {now} kB");
        }
    }

    /// An input, made of its number alone.
    fn input(&self, number: u64, bent: impl Fn(K, &mut Vec<u8>, &mut Dice)) -> (K, Vec<u8>) {
        let mut dice = Dice::of(number);
        let (kind, seed) = dice.one(self.seeds);
        let mut bytes = seed.clone();
        for _ in 0..1 + dice.below(3) {
            let other = &dice.one(self.seeds).1;
            bend(&mut bytes, other, &mut dice);
        }
        bent(*kind, &mut bytes, &mut dice);
        (*kind, bytes)
    }
}

fn number_in(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Kilobytes that this process took at most so far.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}
