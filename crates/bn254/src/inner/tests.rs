use ff::{Field, FromUniformBytes};
use proptest::prelude::*;

use super::*;

fn plain<const N: usize>(a: &[Fr; N], b: &[Fr; N]) -> Fr {
    a.iter().zip(b).map(|(a, b)| *a * b).sum()
}

/// 0, 1, −1, small, and any.
fn element() -> impl Strategy<Value = Fr> {
    let random = (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(low, high)| {
        let mut wide = [0; 64];
        wide[..32].copy_from_slice(&low);
        wide[32..].copy_from_slice(&high);
        Fr::from_uniform_bytes(&wide)
    });
    prop_oneof![
        1 => Just(Fr::ZERO), 1 => Just(Fr::ONE), 2 => Just(-Fr::ONE),
        1 => any::<u64>().prop_map(Fr::from), 4 => random,
    ]
}

fn elements() -> impl Strategy<Value = [Fr; 16]> {
    proptest::collection::vec(element(), 16).prop_map(|all| all.try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn inner_products_are_sums_of_products(a in elements(), b in elements()) {
        prop_assert_eq!(inner_product(&a, &b), plain(&a, &b));
        let (five, others) = ([a[0], a[1], a[2], a[3], a[4]], [b[0], b[1], b[2], b[3], b[4]]);
        prop_assert_eq!(inner_product(&five, &others), plain(&five, &others));
        prop_assert_eq!(inner_product(&[a[0]], &[b[0]]), a[0] * b[0]);
    }

    #[test]
    fn any_wide_value_is_reduced(words: [u64; 8], over in 0..1000_u64, full: [bool; 8]) {
        let wide = std::array::from_fn(|i| if full[i] { u64::MAX } else { words[i] });
        let mut bytes = [0; 64];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(wide) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        // The element whose Montgomery form is wide/2^256 is wide/2^512.
        let shift = Fr::from(2).pow_vartime([512]);
        let expected = Fr::from_uniform_bytes(&bytes) * shift.invert().unwrap() + Fr::from(over);
        prop_assert_eq!(ProductSum { wide, over }.total(), expected);
    }
}

/// r − 1 in Montgomery form: the element with the largest words.
const LARGEST: Fr = Fr([MODULUS[0] - 1, MODULUS[1], MODULUS[2], MODULUS[3]]);

#[test]
fn the_largest_elements_may_be_summed_without_end() {
    let mut sum = ProductSum::default();
    for terms in 1..=1000_u64 {
        sum.add(&LARGEST, &LARGEST);
        assert_eq!(sum.total(), LARGEST * LARGEST * Fr::from(terms), "{terms} terms");
    }
    assert!(sum.over > 0, "the sum was to need more than 512 bits");
    assert_eq!(inner_product::<0>(&[], &[]), Fr::ZERO);
}
