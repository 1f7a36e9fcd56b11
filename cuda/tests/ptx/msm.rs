//! msm_g1.cu and msm_g2.cu: the table, the buckets and their reduction.
//!
//! The compiler takes long for G2, whose arithmetic `curve` tests already, so it is left out unless
//! `PROOFMILL_PTX_G2` is set.

use std::sync::Arc;

use bn254::raw::Limbs;
use bn254::{CurveAffine, Field, Fq, Fq2, Fr, G1Affine, G2Affine};
use group::{Curve, Group};

use crate::digits::{Shape, pairs};
use crate::machine::{Arguments, Card, Executed, Module};
use crate::samples::{points, witness_scalars};
use crate::toolkit::{Unit, unit};

/// A group with its kernels.
trait OnCard: CurveAffine<ScalarExt = Fr, Base = Self::Coordinate> + Limbs {
    type Coordinate: Field + Limbs;
    const UNIT: &str;
    /// The coordinates in the names of kernels.
    const KERNELS: &str;
}

impl OnCard for G1Affine {
    type Coordinate = Fq;
    const UNIT: &str = "msm_g1";
    const KERNELS: &str = "8FqParams";
}

impl OnCard for G2Affine {
    type Coordinate = Fq2;
    const UNIT: &str = "msm_g2";
    const KERNELS: &str = "3Fq2E";
}

fn unit_of<C: OnCard>() -> Option<Arc<Unit>> {
    if C::UNIT == "msm_g2" && std::env::var_os("PROOFMILL_PTX_G2").is_none() {
        return None;
    }
    unit(C::UNIT)
}

/// From X, Y, ZZ, ZZZ.
fn from_xyzz<C: OnCard>(coordinates: &[C::Coordinate]) -> C::Curve {
    let [x, y, zz, zzz] = coordinates else { panic!("a point has four coordinates") };
    if *zz == C::Coordinate::ZERO {
        return C::Curve::identity();
    }
    assert!(zz.square() * zz == zzz.square(), "the denominators do not belong together");
    let affine = C::from_xy(*x * zz.invert().unwrap(), *y * zzz.invert().unwrap());
    affine.expect("a point of the curve").to_curve()
}

/// Room for points in XYZZ coordinates.
fn room_xyzz<C: OnCard>(card: &mut Card, count: usize) -> u64 {
    card.room::<[C::Coordinate; 4]>(count)
}

fn download_xyzz<C: OnCard>(card: &Card, address: u64) -> Vec<C::Curve> {
    card.download::<C::Coordinate>(address).chunks(4).map(from_xyzz::<C>).collect()
}

fn shifts_agree<C: OnCard>(len: usize, doublings: u32) {
    let Some(unit) = unit_of::<C>() else { return };
    let points = points::<C>(len, 3);
    let mut card = Card::default();
    let from = card.upload(&points);
    let (shifted, out) = (room_xyzz::<C>(&mut card, len), card.room::<C>(len));
    // in, out, doublings
    let arguments = Arguments::default().pointer(from).pointer(shifted).u32(doublings);
    card.launch_items(&unit.module, &["11ShiftPoints", C::KERNELS], arguments, len as u32);
    let wanted: Vec<C> = points.iter().map(|p| (*p * Fr::from(1 << doublings)).to_affine()).collect();
    let found = download_xyzz::<C>(&card, shifted);
    assert!(found.iter().zip(&wanted).all(|(found, wanted)| found.to_affine() == *wanted));
    // As many threads as inversions: each takes every `threads`th point.
    let threads = len.div_ceil(32) as u32;
    // in, out, count, stride
    let arguments = Arguments::default().pointer(shifted).pointer(out).u32(len as u32).u32(threads);
    card.launch_items(&unit.module, &["15NormalizePoints", C::KERNELS], arguments, threads);
    assert!(card.download::<C>(out) == wanted, "{len} points, {doublings} doublings");
}

#[test]
fn multiples_for_the_table_agree_with_the_processor() {
    shifts_agree::<G1Affine>(1, 3);
    shifts_agree::<G1Affine>(33, 12);
    shifts_agree::<G1Affine>(100, 1);
    shifts_agree::<G2Affine>(33, 5);
}

/// The buckets of sorted pairs, by `AccumulateRuns` and as many `MergeRuns` as it takes, as `sum_buckets` launches
/// them.
fn buckets<C: OnCard>(
    module: &Module,
    table: &[C],
    sorted: &[(u32, u32)],
    bucket_count: usize,
    (chunk, merge_chunk): (u32, u32),
) -> (Vec<C::Curve>, Executed) {
    let mut card = Card::default();
    let (keys, values): (Vec<u32>, Vec<u32>) = sorted.iter().copied().unzip();
    let (keys, values, table) = (card.upload(&keys), card.upload(&values), card.upload(table));
    let out = card.upload(&vec![C::Coordinate::ZERO; 4 * bucket_count]);
    let mut chunks = (sorted.len() as u32).div_ceil(chunk);
    let parts = |card: &mut Card, chunks: u32| match chunks {
        1 => (0, 0),
        _ => (card.room::<u32>(2 * chunks as usize), room_xyzz::<C>(card, 2 * chunks as usize)),
    };
    let mut from = parts(&mut card, chunks);
    // Digits{buckets, points, count}, chunk, table, out, Parts{buckets, sums}
    let arguments = Arguments::default().pointer(keys).pointer(values).u32(sorted.len() as u32).end();
    let arguments = arguments.u32(chunk).pointer(table).pointer(out).pointer(from.0).pointer(from.1);
    let executed = card.launch_items(module, &["14AccumulateRuns", C::KERNELS], arguments, chunks);
    while chunks > 1 {
        let count = 2 * chunks;
        chunks = count.div_ceil(merge_chunk);
        let to = parts(&mut card, chunks);
        // Parts{buckets, sums}, count, chunk, out, Parts{buckets, sums}
        let arguments = Arguments::default().pointer(from.0).pointer(from.1).u32(count).u32(merge_chunk);
        let arguments = arguments.pointer(out).pointer(to.0).pointer(to.1);
        card.launch_items(module, &["9MergeRuns", C::KERNELS], arguments, chunks);
        from = to;
    }
    (download_xyzz::<C>(&card, out), executed)
}

fn check_buckets<C: OnCard>(table: &[C], sorted: &[(u32, u32)], bucket_count: usize, chunks: (u32, u32)) {
    let Some(unit) = unit_of::<C>() else { return };
    let (found, _) = buckets(&unit.module, table, sorted, bucket_count, chunks);
    let mut wanted = vec![C::Curve::identity(); bucket_count];
    for (bucket, point) in sorted {
        let p = table[(point & !(1 << 31)) as usize];
        wanted[*bucket as usize] += if point >> 31 == 1 { p.neg() } else { p };
    }
    assert!(found == wanted, "{} pairs in {bucket_count} buckets, chunks of {chunks:?}", sorted.len());
}

/// Pairs whose buckets have these sizes, with points and signs in turn.
fn runs(sizes: &[usize], table: usize) -> Vec<(u32, u32)> {
    let buckets = (0..).zip(sizes).flat_map(|(bucket, size)| std::iter::repeat_n(bucket, *size));
    (0..).zip(buckets).map(|(i, bucket)| (bucket, (i * 5 % table as u32) | (i % 3 / 2) << 31)).collect()
}

#[test]
fn runs_inside_of_chunks_and_across_them_are_added_up() {
    let table = points::<G1Affine>(40, 7);
    for sizes in [
        &[1][..],
        &[3, 0, 1],
        &[4, 4, 4],
        &[5, 3, 0, 0, 4],
        &[1; 37],
        &[70],
        &[2, 61, 0, 7, 1, 1, 1, 30],
        &[33, 32, 31, 1],
    ] {
        let sorted = runs(sizes, table.len());
        check_buckets(&table, &sorted, sizes.len(), (4, 16));
        check_buckets(&table, &sorted, sizes.len(), (5, 4));
    }
    let table = points::<G2Affine>(10, 7);
    let sizes = [2, 13, 0, 7, 1, 1, 1, 4];
    check_buckets(&table, &runs(&sizes, table.len()), sizes.len(), (4, 16));
}

#[test]
fn digits_of_scalars_find_their_buckets() {
    let points = points::<G1Affine>(60, 8);
    let scalars = witness_scalars(60, 9);
    let shape = Shape::new(60, 6, 64);
    let Some(mut sorted) = pairs(&scalars, &shape) else { return };
    sorted.sort_by_key(|(bucket, _)| *bucket);
    // Copy j holds 2^(c m j) times the points.
    let shift = Fr::from(1 << (shape.window_bits * shape.modules));
    let mut table = points.clone();
    for _ in 1..shape.copies {
        let last = &table[table.len() - points.len()..];
        let next: Vec<G1Affine> = last.iter().map(|p| (*p * shift).to_affine()).collect();
        table.extend(next);
    }
    let Some(unit) = unit_of::<G1Affine>() else { return };
    let (found, _) = buckets(&unit.module, &table, &sorted, shape.buckets() as usize, (4, 16));
    assert_eq!(shape.modules, 1);
    // One module, so the sum of (b + 1) X_b is the sum of the products.
    let sum = (1_u64..).zip(found).fold(bn254::G1::identity(), |sum, (b, x)| sum + x * Fr::from(b));
    assert_eq!(sum, bn254::msm_g1(&points, &scalars));
}

/// Two levels of `ReduceBuckets` on `modules` modules.
fn reductions_agree<C: OnCard>(modules: usize, buckets: usize, groups: &[usize]) {
    let Some(unit) = unit_of::<C>() else { return };
    let bucket_points = points::<C>(modules * buckets, 11);
    let mut card = Card::default();
    let one = C::Coordinate::ONE;
    let coordinates: Vec<C::Coordinate> = bucket_points
        .iter()
        .flat_map(|p| {
            if *p == C::identity() {
                return [C::Coordinate::ZERO; 4];
            }
            let at = p.coordinates().unwrap();
            [*at.x(), *at.y(), one, one]
        })
        .collect();
    let (mut sums, mut weighted, mut block) = (card.upload(&coordinates), 0, 1);
    for group in groups {
        let count = modules * buckets / block / group;
        let out = (room_xyzz::<C>(&mut card, count), room_xyzz::<C>(&mut card, count));
        // sums, weighted, group, log_block, sums_out, weighted_out
        let arguments = Arguments::default().pointer(sums).pointer(weighted).u32(*group as u32);
        let arguments = arguments.u32(block.trailing_zeros()).pointer(out.0).pointer(out.1);
        card.launch_items(&unit.module, &["13ReduceBuckets", C::KERNELS], arguments, count as u32);
        (sums, weighted) = out;
        block *= group;
        let found = download_xyzz::<C>(&card, sums).into_iter().zip(download_xyzz::<C>(&card, weighted));
        for (found, members) in found.zip(bucket_points.chunks(block)) {
            let zero = C::Curve::identity();
            let sum = members.iter().fold(zero, |sum, p| sum + p);
            let weighted = (0_u64..).zip(members).fold(zero, |sum, (b, p)| sum + *p * Fr::from(b));
            assert!(found == (sum, weighted), "blocks of {block} buckets");
        }
    }
}

#[test]
fn buckets_are_reduced_to_their_sum_and_their_weighted_sum() {
    reductions_agree::<G1Affine>(3, 32, &[8, 4]);
    reductions_agree::<G1Affine>(1, 2, &[2]);
    reductions_agree::<G1Affine>(2, 64, &[8, 4, 2]);
    reductions_agree::<G2Affine>(1, 16, &[8, 2]);
}

#[test]
fn a_mixed_addition_takes_ten_products() {
    let Some(unit) = unit_of::<G1Affine>() else { return };
    let table: Vec<G1Affine> =
        (1..5_u64).map(|i| (G1Affine::generator() * Fr::from(i * i)).to_affine()).collect();
    let of = |len: usize| buckets(&unit.module, &table, &runs(&[len], table.len()), 1, (8, 16)).1;
    let (three, two) = (of(3), of(2));
    let multiplications = three.multiplications - two.multiplications;
    println!(
        "a mixed addition of G1: {} instructions, {multiplications} multiplications, {} accesses",
        three.instructions - two.instructions,
        three.accesses - two.accesses
    );
    // A product has eight rows of 16 wide multiplications, each of one or two instructions, and eight factors.
    assert!((10 * 136..=10 * 264 + 20).contains(&multiplications), "{multiplications} multiplications");
}
