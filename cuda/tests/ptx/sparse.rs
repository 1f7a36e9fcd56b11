//! sparse.cu: products of a sparse matrix with a vector.

use bn254::{Field, Fr};
use rand_core::RngCore;

use crate::machine::{Arguments, Card};
use crate::samples::{elements, rng};
use crate::toolkit::unit;

const SLICE: usize = 32;
const MAX_PIECE: usize = 64;
/// Marks the target of a piece that is part of a long row.
const PARTIAL: u32 = 1 << 31;

/// A term: column and index of the coefficient.
type Term = (u32, u32);

/// The layout of sparse.cuh.
#[derive(Default)]
struct Slices {
    begins: Vec<u32>,
    lengths: Vec<u32>,
    targets: Vec<u32>,
    columns: Vec<u32>,
    coefficients: Vec<u32>,
    long_targets: Vec<u32>,
    long_starts: Vec<u32>,
    partials: u32,
}

impl Slices {
    fn new(rows: &[Vec<Term>]) -> Self {
        let mut new = Self { long_starts: vec![0], ..Self::default() };
        let mut pieces: Vec<(&[Term], u32)> = Vec::new();
        for (number, row) in (0..).zip(rows) {
            if row.len() <= MAX_PIECE {
                pieces.push((row, number));
                continue;
            }
            for part in row.chunks(MAX_PIECE) {
                pieces.push((part, PARTIAL | new.partials));
                new.partials += 1;
            }
            new.long_targets.push(number);
            new.long_starts.push(new.partials);
        }
        pieces.sort_by_key(|(terms, _)| std::cmp::Reverse(terms.len()));
        for slice in pieces.chunks(SLICE) {
            let begin = new.columns.len();
            // 64-bit numbers as two words.
            new.begins.extend([begin as u32, 0]);
            let end = begin + slice[0].0.len() * SLICE;
            // A column that is far outside, where there is no term.
            new.columns.resize(end, u32::MAX);
            new.coefficients.resize(end, u32::MAX);
            for (lane, (terms, target)) in slice.iter().enumerate() {
                new.lengths.push(terms.len() as u32);
                new.targets.push(*target);
                for (i, (column, coefficient)) in terms.iter().enumerate() {
                    new.columns[begin + i * SLICE + lane] = *column;
                    new.coefficients[begin + i * SLICE + lane] = *coefficient;
                }
            }
        }
        new
    }
}

fn agrees(lengths: &[usize]) {
    let Some(unit) = unit("sparse") else { return };
    let mut rng = rng(3);
    let vector = elements::<Fr>(900, 1);
    let mut table = vec![Fr::ONE, -Fr::ONE];
    table.extend(elements::<Fr>(850, 2).split_off(800));
    let mut term = || {
        (rng.next_u32() % vector.len() as u32, [0, 1, 2 + rng.next_u32() % 50][rng.next_u32() as usize % 3])
    };
    let rows: Vec<Vec<Term>> = lengths.iter().map(|len| (0..*len).map(|_| term()).collect()).collect();
    let product = |term: &Term| table[term.1 as usize] * vector[term.0 as usize];
    let wanted: Vec<Fr> = rows.iter().map(|row| row.iter().map(product).sum()).collect();

    let slices = Slices::new(&rows);
    let mut card = Card::default();
    let mut pointers = Arguments::default();
    for words in [&slices.begins, &slices.lengths, &slices.targets, &slices.columns, &slices.coefficients] {
        pointers = pointers.pointer(card.upload(words));
    }
    let (table, vector) = (card.upload(&table), card.upload(&vector));
    let (out, partial) = (card.room::<Fr>(rows.len()), card.room::<Fr>(slices.partials as usize));
    // slices, lengths, targets, columns, coefficients, table, vector, out, partial
    let arguments = pointers.pointer(table).pointer(vector).pointer(out).pointer(partial);
    card.launch_items(&unit.module, &["14MultiplyPieces"], arguments, slices.lengths.len() as u32);
    let (targets, starts) = (card.upload(&slices.long_targets), card.upload(&slices.long_starts));
    // targets, starts, partial, out
    let arguments = Arguments::default().pointer(targets).pointer(starts).pointer(partial).pointer(out);
    card.launch_items(&unit.module, &["9AddPieces"], arguments, slices.long_targets.len() as u32);
    assert!(card.download::<Fr>(out) == wanted, "rows of {lengths:?} terms");
}

#[test]
fn rows_around_the_size_of_a_piece_and_of_a_slice_agree_with_the_processor() {
    agrees(&[0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 500, 0, 1]);
    agrees(&[3; 32]);
    agrees(&[3; 33]);
    agrees(&(0..200).map(|i| i * 37 % 90).collect::<Vec<_>>());
}
