//! Bit-reversed order.

use rayon::prelude::*;

use super::passes::Values;
use crate::Fr;

/// Indices that differ in their highest and lowest three bits only are written together: runs of eight elements.
const RUN_LOG: u32 = 3;

/// The lowest `log` bits of a number below 2^log in reverse order.
pub fn bit_reversed(number: usize, log: u32) -> usize {
    number.reverse_bits().checked_shr(usize::BITS - log).unwrap_or(0)
}

/// Puts every element at its bit-reversed place.
pub(super) fn bit_reverse(values: &mut [Fr]) {
    let log = values.len().trailing_zeros();
    for i in 0..values.len() {
        let j = bit_reversed(i, log);
        if i < j {
            values.swap(i, j);
        }
    }
}

/// Writes what `values` says for i to the bit-reversed place of i in each of the arrays, for every i, on all threads.
///
/// # Panics
/// When the arrays differ in length, or it is not a power of two.
pub fn fill_reversed<const N: usize>(arrays: [&mut [Fr]; N], values: impl Fn(usize) -> [Fr; N] + Sync) {
    let len = arrays[0].len();
    assert!(len.is_power_of_two() && arrays.iter().all(|array| array.len() == len), "a power of two");
    let log = len.trailing_zeros();
    let run_log = RUN_LOG.min(log / 2);
    let (high, low) = (log - run_log, run_log);
    let middle_log = log - 2 * run_log;
    let runs = 1_usize << run_log;
    let arrays = arrays.map(|array| Values(array.as_mut_ptr()));
    (0..1_usize << middle_log).into_par_iter().with_min_len(8).for_each(|middle| {
        let target = bit_reversed(middle, middle_log) << low;
        for lowest in 0..runs {
            for highest in 0..runs {
                let made = values(highest << high | middle << low | lowest);
                let place = bit_reversed(lowest, run_log) << high | target | bit_reversed(highest, run_log);
                for (array, value) in arrays.iter().zip(made) {
                    // SAFETY: a place is below 2^log, and another one for every index, so no two threads write to it.
                    unsafe { array.0.wrapping_add(place).write(value) };
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::Field;

    #[test]
    fn values_are_written_to_their_bit_reversed_places() {
        for log in 0..12 {
            let (mut one, mut other) = (vec![Fr::ZERO; 1 << log], vec![Fr::ZERO; 1 << log]);
            fill_reversed([&mut one, &mut other], |i| [Fr::from(i as u64), -Fr::from(i as u64)]);
            bit_reverse(&mut one);
            for (i, value) in one.iter().enumerate() {
                assert_eq!(*value, Fr::from(i as u64), "2^{log}");
                assert_eq!(other[bit_reversed(i, log)], -Fr::from(i as u64));
            }
        }
    }
}
