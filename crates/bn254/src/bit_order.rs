//! Bit-reversed order.

use rayon::prelude::*;

use crate::Fr;
use crate::parallel::Elements;

/// Indices that differ in their highest three bits only are written soon after each other: runs of eight elements.
const RUN_LOG: u32 = 3;
/// Indices that differ in their lowest bits only are made one after the other: what they are made of lies together.
const LOW_LOG: u32 = 6;

/// The lowest `log` bits of a number below 2^log in reverse order.
pub fn bit_reversed(number: usize, log: u32) -> usize {
    number.reverse_bits().checked_shr(usize::BITS - log).unwrap_or(0)
}

/// Puts every element at its bit-reversed place.
pub(crate) fn bit_reverse(values: &mut [Fr]) {
    let log = values.len().trailing_zeros();
    for i in 0..values.len() {
        let j = bit_reversed(i, log);
        if i < j {
            values.swap(i, j);
        }
    }
}

/// Writes what `values` says for i to the bit-reversed place of i in each of the arrays, for every i, on all threads. Where it says
/// nothing, that stays as it is.
///
/// # Panics
/// When the arrays differ in length, or it is not a power of two.
pub fn fill_reversed<const N: usize>(
    arrays: [&mut [Fr]; N],
    values: impl Fn(usize) -> [Option<Fr>; N] + Sync,
) {
    let len = arrays[0].len();
    assert!(len.is_power_of_two() && arrays.iter().all(|array| array.len() == len), "a power of two");
    let log = len.trailing_zeros();
    let low = LOW_LOG.min(log);
    let high = log - RUN_LOG.min(log - low);
    let arrays = arrays.map(|array| Elements(array.as_mut_ptr()));
    (0..1_usize << (high - low)).into_par_iter().for_each(|middle| {
        for highest in 0..1_usize << (log - high) {
            for lowest in 0..1_usize << low {
                let number = highest << high | middle << low | lowest;
                let place = bit_reversed(number, log);
                for (array, value) in arrays.iter().zip(values(number)) {
                    if let Some(value) = value {
                        // SAFETY: a place is below 2^log, and another one for every index: no two threads write to it.
                        unsafe { array.0.wrapping_add(place).write(value) };
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests;
