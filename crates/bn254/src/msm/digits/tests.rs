use super::super::plan::WIDEST;
use super::*;
use ff::{Field, PrimeField};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn value_of(digits: &Digits, at: usize) -> Fr {
    (0..places(digits.width)).rev().fold(Fr::ZERO, |value, place| {
        let digit = i64::from(digits.digit(at, place));
        assert!(digit.unsigned_abs() <= 1 << (digits.width - 1));
        let magnitude = Fr::from(digit.unsigned_abs());
        value * Fr::from(1 << digits.width) + if digit < 0 { -magnitude } else { magnitude }
    })
}

#[test]
fn digits_of_every_width_make_up_the_scalar() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let half = Fr::TWO_INV - Fr::ONE;
    let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(32768), -Fr::from(32768), half];
    scalars.extend([half + Fr::ONE, half - Fr::ONE, Fr::from(u64::MAX), -Fr::from(u64::MAX)]);
    scalars.extend((0..5000).map(|_| Fr::random(&mut rng)));
    for width in 2..=WIDEST {
        let digits = Digits::with_width(&scalars, width);
        for (at, scalar) in scalars.iter().enumerate() {
            assert_eq!(value_of(&digits, at), *scalar, "width {width}, scalar {at}");
        }
    }
}

#[test]
fn vectors_write_what_one_scalar_after_the_other_does() {
    let mut rng = ChaCha20Rng::seed_from_u64(10);
    let mut scalars = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::TWO_INV - Fr::ONE, Fr::TWO_INV, Fr::from(7)];
    scalars.extend((0..95).map(|_| Fr::random(&mut rng)));
    for width in 2..=WIDEST {
        let bias = Bias::new(width);
        let (mut one, mut other) = (vec![0; BLOCK * places(width)], vec![0; BLOCK * places(width)]);
        scalars.iter().enumerate().for_each(|(at, scalar)| bias.write_digits(scalar, &mut one[at..]));
        // SAFETY: the emulation needs no instructions.
        let done = unsafe { bias.write_sixteen::<crate::simd::lanes::Emulated>(&scalars, &mut other) };
        assert_eq!(done, 96);
        scalars
            .iter()
            .enumerate()
            .skip(96)
            .for_each(|(at, scalar)| bias.write_digits(scalar, &mut other[at..]));
        assert_eq!(one, other, "width {width}");
    }
}

#[test]
fn short_scalars_count_for_less() {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let random: Vec<Fr> = (0..5000).map(|_| Fr::random(&mut rng)).collect();
    assert!((0.98..=1.0).contains(&mean_length(&random)));
    let mixed: Vec<Fr> = random.iter().flat_map(|scalar| [*scalar, Fr::ONE, -Fr::ONE]).collect();
    assert!((0.3..0.4).contains(&mean_length(&mixed)));
    assert_eq!(mean_length(&[Fr::ZERO; 9]) + mean_length(&[]), 0.0);
}

#[test]
fn small_numbers_have_few_digits_whatever_their_sign() {
    let digits = Digits::with_width(&[Fr::from(1000), -Fr::from(1000), Fr::ZERO], 12);
    for place in 1..places(12) {
        assert_eq!(digits.run(0, place)[..3], [0; 3]);
    }
    assert_eq!(digits.run(0, 0)[..3], [1000, -1000, 0]);
}

#[test]
fn the_highest_place_has_room_for_the_largest_digit() {
    for width in 2..=WIDEST {
        let plan = Plan { width, threads: 1 };
        let scalar = [Fr::TWO_INV - Fr::ONE];
        let digits = Digits::with_width(&scalar, width);
        let highest = digits.digit(0, plan.places() - 1);
        assert!(
            (1..=plan.buckets(plan.places() - 1)).contains(&(highest as usize)),
            "width {width}: {highest}"
        );
    }
}

proptest! {
    #[test]
    fn any_scalar_is_made_up_of_its_digits(words: [u64; 4], width in 2..=WIDEST) {
        let scalar = words.iter().fold(Fr::ZERO, |value, word| value * Fr::from(2).pow_vartime([64]) + Fr::from(*word));
        prop_assert_eq!(value_of(&Digits::with_width(&[scalar], width), 0), scalar);
    }
}
