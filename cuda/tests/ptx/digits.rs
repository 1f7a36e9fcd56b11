//! probe.cu and msm.cu: scalars as signed digits.

use bn254::{Field, Fr};

use crate::machine::{Arguments, Card};
use crate::samples::{fr_samples, witness_scalars};
use crate::toolkit::unit;

/// The numbers of `MsmShape` that kernels use.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub points: u32,
    pub window_bits: u32,
    pub windows: u32,
    pub copies: u32,
    pub modules: u32,
}

impl Shape {
    pub fn new(points: usize, window_bits: u32, max_copies: u32) -> Self {
        let windows = 254_u32.div_ceil(window_bits);
        let modules = windows.div_ceil(max_copies.clamp(1, windows));
        Self { points: points as u32, window_bits, windows, copies: windows.div_ceil(modules), modules }
    }

    pub fn buckets(&self) -> u32 {
        1 << (self.window_bits - 1)
    }
}

/// The digits of each scalar by `ProbeDigits`; `None` without a compiler.
fn digits(scalars: &[Fr], window_bits: u32) -> Option<Vec<Vec<i32>>> {
    let unit = unit("probe")?;
    let windows = 254_u32.div_ceil(window_bits);
    let mut card = Card::default();
    let (from, to) = (card.upload(scalars), card.room::<i32>(scalars.len() * windows as usize));
    // scalars, window_bits, windows, digits
    let arguments = Arguments::default().pointer(from).u32(window_bits).u32(windows).pointer(to);
    card.launch_items(&unit.module, &["11ProbeDigits"], arguments, scalars.len() as u32);
    let words = card.download::<u32>(to);
    Some(
        words
            .chunks(windows as usize)
            .map(|digits| digits.iter().map(|d| d.cast_signed()).collect())
            .collect(),
    )
}

/// The pairs (bucket, point) of the non-zero digits, scalar by scalar.
pub fn pairs(scalars: &[Fr], shape: &Shape) -> Option<Vec<(u32, u32)>> {
    let mut pairs = Vec::new();
    for (i, digits) in (0..).zip(digits(scalars, shape.window_bits)?) {
        for (w, digit) in (0..).zip(digits).filter(|(_, digit)| *digit != 0) {
            let (copy, module) = (w / shape.modules, w % shape.modules);
            let sign = u32::from(digit < 0) << 31;
            let bucket = module * shape.buckets() + digit.unsigned_abs() - 1;
            pairs.push((bucket, (copy * shape.points + i) | sign));
        }
    }
    Some(pairs)
}

#[test]
fn digits_are_balanced_and_add_up_to_the_scalar() {
    let scalars = fr_samples(5);
    for window_bits in [2, 3, 7, 13, 16, 24] {
        let some: Vec<Fr> = scalars.iter().skip(window_bits as usize).step_by(5).copied().collect();
        let Some(found) = digits(&some, window_bits) else { return };
        let half = 1_u32 << (window_bits - 1);
        for (scalar, digits) in some.iter().zip(found) {
            assert!(digits.iter().all(|digit| digit.unsigned_abs() <= half), "{digits:?}");
            let sum = digits.iter().rev().fold(Fr::ZERO, |sum, digit| {
                let size = Fr::from(u64::from(digit.unsigned_abs()));
                sum * Fr::from(1 << window_bits) + if *digit < 0 { -size } else { size }
            });
            assert_eq!(sum, *scalar, "windows of {window_bits} bits");
        }
    }
}

/// The arguments that both kernels begin with: Scalars{values, columns}, points, window_bits.
fn first_arguments(card: &mut Card, values: &[Fr], columns: Option<&[u32]>, shape: &Shape) -> Arguments {
    let values = card.upload(values);
    let columns = columns.map_or(0, |columns| card.upload(columns));
    Arguments::default().pointer(values).pointer(columns).u32(shape.points).u32(shape.window_bits)
}

/// How many of the pairs are of each scalar.
fn counts(pairs: &[(u32, u32)], shape: &Shape) -> Vec<u32> {
    let mut counts = vec![0; shape.points as usize];
    pairs.iter().for_each(|(_, point)| counts[((point & !(1 << 31)) % shape.points) as usize] += 1);
    counts
}

/// Scalars, columns that name some of them or all, and shapes, with the pairs that they come to.
fn for_each_case(check: impl Fn(&[Fr], Option<&[u32]>, &Shape, &[(u32, u32)])) {
    let values = witness_scalars(300, 6);
    let columns: Vec<u32> = (0..200).map(|i| i * 7 % 300).collect();
    let chosen: Vec<Fr> = columns.iter().map(|column| values[*column as usize]).collect();
    for (window_bits, max_copies) in [(5, 1), (11, 7), (16, 64), (2, 3)] {
        for (columns, scalars) in [(None, &values), (Some(&columns[..]), &chosen)] {
            let shape = Shape::new(scalars.len(), window_bits, max_copies);
            let Some(pairs) = pairs(scalars, &shape) else { return };
            check(&values, columns, &shape, &pairs);
        }
    }
}

#[test]
fn non_zero_digits_are_counted() {
    let Some(unit) = unit("msm") else { return };
    for_each_case(|values, columns, shape, pairs| {
        let mut card = Card::default();
        let out = card.room::<u32>(shape.points as usize + 1);
        // Scalars{values, columns}, points, window_bits, counts
        let arguments = first_arguments(&mut card, values, columns, shape).pointer(out);
        card.launch_items(&unit.module, &["11CountDigits"], arguments, shape.points + 1);
        let mut wanted = counts(pairs, shape);
        wanted.push(0);
        assert!(card.download::<u32>(out) == wanted, "{shape:?}");
    });
}

#[test]
fn non_zero_digits_are_written_at_their_places() {
    let Some(unit) = unit("msm") else { return };
    for_each_case(|values, columns, shape, pairs| {
        let mut card = Card::default();
        let sums =
            counts(pairs, shape).into_iter().scan(0, |sum, count| Some(std::mem::replace(sum, *sum + count)));
        let offsets = card.upload(&sums.collect::<Vec<u32>>());
        let (buckets, points) = (card.room::<u32>(pairs.len()), card.room::<u32>(pairs.len()));
        // Scalars{values, columns}, MsmShape{points, window_bits, windows, copies, modules}, offsets, buckets, points
        let arguments = first_arguments(&mut card, values, columns, shape);
        let arguments = arguments.u32(shape.windows).u32(shape.copies).u32(shape.modules);
        let arguments = arguments.pointer(offsets).pointer(buckets).pointer(points);
        card.launch_items(&unit.module, &["10EmitDigits"], arguments, shape.points);
        let found = card.download(buckets).into_iter().zip(card.download(points));
        assert!(found.eq(pairs.iter().copied()), "{shape:?}");
    });
}
