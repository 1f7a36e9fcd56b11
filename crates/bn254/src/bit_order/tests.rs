use super::*;
use ff::Field;

#[test]
fn values_are_written_to_their_bit_reversed_places() {
    for log in 0..12 {
        let (mut one, mut other) = (vec![Fr::ZERO; 1 << log], vec![Fr::ZERO; 1 << log]);
        fill_reversed([&mut one, &mut other], |i| [Some(Fr::from(i as u64)), Some(-Fr::from(i as u64))]);
        fill_reversed([&mut one, &mut other], |_| [None, None]);
        bit_reverse(&mut one);
        for (i, value) in one.iter().enumerate() {
            assert_eq!(*value, Fr::from(i as u64), "2^{log}");
            assert_eq!(other[bit_reversed(i, log)], -Fr::from(i as u64));
        }
    }
}
