//! A key that is made in several goes is the one that is made in one, wherever its work file ends and whatever happened to it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Chain, Mixed};
use bn254::Fr;
use bn254::ntt::Generator;
use prover::keygen::Found;
use prover::{DevTrapdoor, KeyParts, KeygenError, Matrices, NoProgress, Resumable, generate};
use tempfile::TempDir;

/// Bytes before the first chunk, and around the points of each.
const HEADER: usize = 112;
const AROUND: usize = 8 + 32;

struct Bench {
    folder: TempDir,
    matrices: Matrices,
    trapdoor: DevTrapdoor,
    expected: KeyParts,
}

impl Bench {
    fn new(matrices: Matrices) -> Self {
        let trapdoor = DevTrapdoor::from_seed("tests");
        let expected = generate(&matrices, &trapdoor, &NoProgress).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), matrices, trapdoor, expected }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("key.partial")
    }

    fn open(&self) -> Resumable<'_> {
        Resumable::open(&self.path(), Generator::Seven, &self.matrices, &self.trapdoor).unwrap()
    }

    /// Goes on with what lies there: it must say `found`, and give the key and the whole work file.
    fn go_on(&self, found: Found, whole: &[u8], case: &str) {
        let mut key = self.open();
        assert_eq!(key.found(), found, "{case}");
        assert!(key.generate(&NoProgress).unwrap() == self.expected, "{case}");
        drop(key);
        assert!(fs::read(self.path()).unwrap() == whole, "{case}");
    }

    /// The work file when all is done.
    fn whole(&self) -> Vec<u8> {
        let mut key = self.open();
        assert_eq!(key.found(), Found::Nothing);
        assert!(key.generate(&NoProgress).unwrap() == self.expected);
        drop(key);
        fs::read(self.path()).unwrap()
    }
}

/// Where the chunks of a work file end, and the bytes of points up to there.
fn ends(whole: &[u8]) -> Vec<(usize, u64)> {
    let (mut end, mut points, mut ends) = (HEADER, 0, vec![(HEADER, 0)]);
    while end < whole.len() {
        let length = u64::from_le_bytes(whole[end..end + 8].try_into().unwrap());
        (end, points) = (end + AROUND + length as usize, points + length);
        ends.push((end, points));
    }
    ends
}

/// What is found when everything from byte `at` on cannot be trusted.
fn found_before(ends: &[(usize, u64)], at: usize) -> Found {
    match ends.iter().rev().find(|(end, _)| *end <= at) {
        None | Some((HEADER, _)) => Found::Nothing,
        Some((_, points)) => Found::Begun(*points),
    }
}

fn mixed() -> Bench {
    Bench::new(Matrices::synthesize(Mixed::shape()).unwrap())
}

#[test]
fn work_goes_on_wherever_the_file_ends() {
    let bench = mixed();
    let whole = bench.whole();
    let ends = ends(&whole);
    assert_eq!(ends.len(), 1 + 5, "a chunk for each query of a small key");
    let near =
        ends.iter().flat_map(|(end, _)| [end - 33, end - 32, end - 1, *end, end + 1, end + 8, end + 9]);
    for len in (0..whole.len()).step_by(2111).chain([1, 7]).chain(near).filter(|len| *len <= whole.len()) {
        fs::write(bench.path(), &whole[..len]).unwrap();
        bench.go_on(found_before(&ends, len), &whole, &format!("{len} bytes"));
    }
    let longer = [&whole[..], &[7; 100]].concat();
    fs::write(bench.path(), longer).unwrap();
    bench.go_on(found_before(&ends, whole.len()), &whole, "more than all");
}

#[test]
fn what_is_damaged_is_made_again_with_all_that_follows() {
    let bench = mixed();
    let whole = bench.whole();
    let ends = ends(&whole);
    let lengths = ends[..5].iter().flat_map(|(end, _)| [*end, end + 3, end + 7]);
    let checksums = ends[1..].iter().flat_map(|(end, _)| [end - 32, end - 1]);
    for at in (0..whole.len()).step_by(1499).chain((1..HEADER).step_by(9)).chain(lengths).chain(checksums) {
        let mut bad = whole.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(bench.path(), &bad).unwrap();
        let found = if at < HEADER { Found::Other } else { found_before(&ends, at) };
        bench.go_on(found, &whole, &format!("byte {at}"));
    }
    // Whole chunks, but not in their places.
    let (first, second) = (&whole[HEADER..ends[1].0], &whole[ends[1].0..ends[2].0]);
    let swapped = [&whole[..HEADER], second, first, &whole[ends[2].0..]].concat();
    fs::write(bench.path(), swapped).unwrap();
    bench.go_on(Found::Nothing, &whole, "chunks that changed places");
}

#[test]
fn the_work_on_another_key_is_replaced() {
    let bench = mixed();
    let whole = bench.whole();
    let other_circuit = Matrices::synthesize(Mixed { tweak: 1, ..Mixed::shape() }).unwrap();
    let other_seed = DevTrapdoor::from_seed("tests ");
    let mut other_secret = bench.trapdoor.clone();
    other_secret.tau = Fr::from(5);
    let others = [
        (Generator::Seven, &other_circuit, &bench.trapdoor),
        (Generator::Seven, &bench.matrices, &other_seed),
        (Generator::Seven, &bench.matrices, &other_secret),
        (Generator::Five, &bench.matrices, &bench.trapdoor),
    ];
    for (generator, matrices, trapdoor) in others {
        let mut other = Resumable::open(&bench.path(), generator, matrices, trapdoor).unwrap();
        assert_eq!(other.found(), Found::Other);
        assert!(other.generate(&NoProgress).unwrap() != bench.expected);
        drop(other);
        bench.go_on(Found::Other, &whole, "and back");
    }
    fs::write(bench.path(), "something else").unwrap();
    bench.go_on(Found::Other, &whole, "another kind of file");
}

#[test]
fn queries_of_several_chunks_are_resumed_in_their_midst() {
    let bench = Bench::new(Matrices::synthesize(Chain::shape(70_000)).unwrap());
    let whole = bench.whole();
    let ends = ends(&whole);
    assert_eq!(ends.len(), 1 + 2 * 5, "two chunks for each query");
    for chunk in [1, 4, ends.len() - 1] {
        fs::write(bench.path(), &whole[..ends[chunk].0 + 1000.min(whole.len() - ends[chunk].0)]).unwrap();
        bench.go_on(Found::Begun(ends[chunk].1), &whole, &format!("{chunk} chunks"));
    }
}

#[test]
fn a_file_that_another_run_writes_is_left_alone() {
    let bench = mixed();
    let mut first = bench.open();
    let mut second = bench.open();
    assert_eq!((first.found(), second.found()), (Found::Nothing, Found::Locked));
    assert!(second.generate(&NoProgress).unwrap() == bench.expected);
    second.finish().unwrap();
    assert!(first.generate(&NoProgress).unwrap() == bench.expected);
    assert!(bench.path().exists());
    first.finish().unwrap();
    assert!(!bench.path().exists(), "once the key is written nothing stays");
}

#[test]
fn a_key_that_cannot_be_made_leaves_no_file_and_one_that_cannot_be_kept_says_so() {
    let bench = mixed();
    let mut bad = bench.trapdoor.clone();
    bad.alpha = Fr::from(0);
    let mut key = Resumable::open(&bench.path(), Generator::Seven, &bench.matrices, &bad).unwrap();
    assert_eq!(key.generate(&NoProgress), Err(KeygenError::DegenerateTrapdoor));
    assert!(!bench.path().exists());

    let nowhere = Path::new("/nowhere/key.partial");
    let error = Resumable::open(nowhere, Generator::Seven, &bench.matrices, &bench.trapdoor).err().unwrap();
    assert!(error.to_string().starts_with("PM-KEYGEN-004: the work file /nowhere/key.partial"), "{error}");
}
