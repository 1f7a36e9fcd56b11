use super::*;
use crate::{Fr, G1Affine, PrimeCurveAffine, msm::msm_g1};
use group::Curve;

fn points(count: u64) -> Vec<G1Affine> {
    (1..=count).map(|i| (G1Affine::generator() * Fr::from(i)).to_affine()).collect()
}

#[test]
fn points_take_the_scalars_of_their_columns() {
    let mut points = points(300);
    points[17] = G1Affine::identity();
    let columns: Vec<u32> = (0..300).map(|i| 3 * i + 1).collect();
    let scalars: Vec<Fr> = (0..2000).map(|i| Fr::from(i * i + 1)).collect();
    let chosen: Vec<Fr> = columns.iter().map(|column| scalars[*column as usize]).collect();
    let bases = Bases::of_columns(&points, &columns, scalars.len());
    assert_eq!((bases.len(), bases.scalars()), (299, 2000));
    assert_eq!(bases.msm(&scalars, &crate::msm::NoControl).unwrap(), msm_g1(&points, &chosen));
    // Across the border of blocks of digits.
    let many: Vec<Fr> = (0..9000).map(Fr::from).collect();
    for first in [0, 5, 4000, 8700] {
        let bases = Bases::after(first, &points);
        let sum = bases.msm(&many[..first + 300], &crate::msm::NoControl).unwrap();
        assert_eq!(sum, msm_g1(&points, &many[first..first + 300]));
    }
}

#[test]
fn bit_reversed_points_take_bit_reversed_scalars() {
    let points = points(256);
    let scalars: Vec<Fr> = (0..256).map(|i| Fr::from(i + 9)).collect();
    let reversed: Vec<Fr> = (0..256).map(|i| scalars[bit_reversed(i, 8)]).collect();
    let sum = Bases::bit_reversed(&points).msm(&reversed, &crate::msm::NoControl).unwrap();
    assert_eq!(sum, msm_g1(&points, &scalars));
}

#[test]
fn bases_of_nothing_sum_to_nothing() {
    let nothing = Bases::new(&[G1Affine::identity(); 200]);
    assert!(nothing.is_empty());
    let sum = nothing.msm(&[Fr::from(3); 200], &crate::msm::NoControl).unwrap();
    assert_eq!(sum, G1Affine::identity().to_curve());
}
