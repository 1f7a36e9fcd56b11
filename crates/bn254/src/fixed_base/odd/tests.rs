use super::*;
use ff::Field;
use proptest::prelude::*;

/// The scalar that the entries of all places make up, and a check of what the module promises on the way.
fn value_of(places: &[Place], entries: &[u32]) -> Fr {
    let mut value = Fr::ZERO;
    for (place, entry) in places.iter().zip(entries) {
        let row = (entry & !NEGATIVE) - place.first_row;
        assert!((row as usize) < place.rows());
        let magnitude = Fr::from(u64::from(2 * row + 1)) * Fr::from(2).pow_vartime([u64::from(place.bit)]);
        value += if entry & NEGATIVE == 0 { magnitude } else { -magnitude };
    }
    value
}

fn check(scalar: Fr, count: u32) {
    let places = places(count);
    let mut entries = vec![0; places.len() * 3];
    write_entries(&scalar, &places, &mut entries, 3);
    let entries: Vec<u32> = entries.into_iter().step_by(3).collect();
    assert_eq!(value_of(&places, &entries), scalar, "{count} places");
}

#[test]
fn places_lie_side_by_side_and_cover_every_sign() {
    for count in FEWEST..=MOST {
        let places = places(count);
        let (mut bit, mut row) = (0, 0);
        for place in &places {
            assert!((1..=WIDEST).contains(&place.width));
            assert_eq!((place.bit, place.first_row as usize), (bit, row));
            bit += place.width;
            row += place.rows();
        }
        assert_eq!((bit, places.len()), (SIGNS, count as usize));
    }
}

#[test]
fn digits_of_every_width_make_up_special_scalars() {
    let half = Fr::TWO_INV - Fr::ONE;
    for count in FEWEST..=MOST {
        for near in [Fr::ZERO, half, Fr::from(u64::MAX), Fr::from(2).pow_vartime([253])] {
            for step in 0..4 {
                check(near + Fr::from(step), count);
                check(near - Fr::from(step), count);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_scalar_is_made_up_of_its_digits(words: [u64; 4], count in FEWEST..=MOST) {
        let two_64 = Fr::from(2).pow_vartime([64]);
        let scalar = words.iter().fold(Fr::ZERO, |value, word| value * two_64 + Fr::from(*word));
        check(scalar, count);
        check(Fr::from(words[0]), count);
        check(-Fr::from(words[0]), count);
    }
}
