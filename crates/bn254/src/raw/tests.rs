use super::*;
use ff::{Field, PrimeField};
use group::prime::PrimeCurveAffine;

#[test]
fn points_survive_the_way_through_bytes() {
    assert!(layout_is_as_documented());
    let points = [G2Affine::generator(), G2Affine::identity(), -G2Affine::generator()];
    assert_eq!(from_bytes::<G2Affine>(as_bytes(&points)).unwrap(), points);
    assert!(from_bytes::<G2Affine>(&as_bytes(&points)[8..]).is_none());
    assert!(from_bytes::<G1Affine>(&as_bytes(&points)[1..65]).is_none());
}

#[test]
fn an_element_is_the_limbs_of_its_montgomery_form() {
    // 1 in Montgomery form is 2^256 mod q.
    let one = as_bytes(&[Fq::ONE]).to_vec();
    let two_128 = Fq::from_u128(u128::MAX) + Fq::ONE;
    let expected: [u8; 32] = crate::fq_to_le_bytes(&(two_128 * two_128));
    assert_eq!(one, expected);
    assert!(!is_reduced(&from_bytes::<Fq>(as_bytes(&[Fq([u64::MAX; 4])])).unwrap()[0]));
}

#[test]
fn limbs_from_the_modulus_on_are_refused() {
    // q = 0 - 1 + 1, the limbs of both taken from the field itself.
    assert_eq!(add_limbs((-Fq::ONE).0, Fq::ONE.0), Q);
    assert!(!is_reduced(&Fq(Q)));
    assert!(is_reduced(&Fq([Q[0] - 1, Q[1], Q[2], Q[3]])));
    assert!(is_reduced(&Fq([u64::MAX, u64::MAX, u64::MAX, Q[3] - 1])));
    assert!(!is_reduced(&Fq([0, 0, 0, Q[3] + 1])));
    let good = G1Affine::generator();
    assert!(is_valid_g1(&good));
    assert!(!is_valid_g1(&G1Affine { x: Fq(add_limbs(good.x.0, Q)), y: good.y }));
}

fn add_limbs(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut carry = 0_u128;
    std::array::from_fn(|i| {
        let sum = u128::from(a[i]) + u128::from(b[i]) + carry;
        carry = sum >> 64;
        sum as u64
    })
}
