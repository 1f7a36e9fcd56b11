use super::*;
use ff::{Field, PrimeField};
use group::Curve;
use group::prime::PrimeCurveAffine;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::atomic::{AtomicU64, Ordering};

/// Zeros, small ones, ones whose highest addition is a doubling, and random ones, more than a chunk of them.
fn scalars(places: u32, random: usize) -> Vec<Fr> {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let half = Fr::TWO_INV - Fr::ONE;
    let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2), -Fr::from(2), half, half + Fr::ONE];
    scalars.extend((0..40).map(|bit| Fr::from(1 << bit)));
    scalars.extend((0..40).map(|bit| Fr::from((1 << bit) - 1)));
    let highest = Fr::from(2).pow_vartime([u64::from(odd::places(places)[places as usize - 1].bit)]);
    for digit in 0..200 {
        scalars.extend([
            highest.double() * Fr::from(2 * digit + 1),
            -highest.double() * Fr::from(2 * digit + 1),
        ]);
    }
    scalars.extend((0..random).map(|_| Fr::random(&mut rng)));
    scalars
}

fn check<C: FixedBaseCurve>(base: C, places: u32, random: usize) {
    let scalars = scalars(places, random);
    let base = (base * Fr::from(5)).to_affine();
    let expected: Vec<C> = scalars.iter().map(|scalar| (base * scalar).to_affine()).collect();
    for isa in Isa::available() {
        let multiples = FixedBase { tables: Tables::new(base, places, isa) };
        let finished = AtomicU64::new(0);
        let mut points = vec![base];
        multiples.append_multiples(&scalars, &mut points, |n| {
            finished.fetch_add(n, Ordering::Relaxed);
        });
        assert_eq!(finished.into_inner(), scalars.len() as u64);
        assert_eq!(points.remove(0), base);
        assert_eq!(points.len(), scalars.len());
        for ((point, expected), scalar) in points.iter().zip(&expected).zip(&scalars) {
            assert_eq!(point, expected, "{isa}, {places} places, {scalar:?}");
        }
        assert!(multiples.multiples(&[], |_| ()).is_empty());
    }
}

#[test]
fn multiples_agree_with_scalar_multiplication_on_every_instruction_set_at_every_width() {
    for places in [odd::FEWEST + 5, 32, 51, 85, 127, odd::MOST] {
        check(G1Affine::generator(), places, 700);
    }
    check(G2Affine::generator(), odd::FEWEST + 8, 100);
    check(G2Affine::generator(), 127, 0);
}

#[test]
fn the_largest_tables_have_every_row() {
    let scalars = scalars(odd::FEWEST, 3000);
    let multiples = FixedBase { tables: Tables::new(G1Affine::generator(), odd::FEWEST, Isa::detect()) };
    for (point, scalar) in multiples.multiples(&scalars, |_| ()).iter().zip(&scalars) {
        assert_eq!(*point, (G1Affine::generator() * scalar).to_affine(), "{scalar:?}");
    }
}

#[test]
fn multiples_of_infinity_are_infinity() {
    check(G1Affine::identity(), 64, 0);
}

#[test]
fn few_multiples_have_small_tables_and_many_have_large_ones() {
    let scalars = scalars(64, 0);
    let mut bytes = 0;
    for count in [0, 1, 100, 5000, 1 << 15] {
        let multiples = FixedBase::new(G1Affine::generator(), count);
        assert!(multiples.tables.rows().len() >= bytes);
        bytes = multiples.tables.rows().len();
        for (point, scalar) in multiples.multiples(&scalars, |_| ()).iter().zip(&scalars) {
            assert_eq!(*point, (G1Affine::generator() * scalar).to_affine());
        }
    }
}
