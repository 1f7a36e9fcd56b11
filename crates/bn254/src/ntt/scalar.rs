//! Transforms one element at a time: for processors without the vector instructions, for small sizes, and as a second opinion in
//! the tests.

use rayon::prelude::*;

use super::MIN_CHUNK;
use crate::Fr;

/// Blocks up to this many elements are transformed by one thread, layer by layer: 128 KiB fit a second-level cache.
const SERIAL_BLOCK: usize = 1 << 12;

#[inline]
fn cooley_tukey(low: &mut Fr, high: &mut Fr, twiddle: &Fr) {
    let product = *high * twiddle;
    *high = *low - product;
    *low += product;
}

#[inline]
fn gentleman_sande(low: &mut Fr, high: &mut Fr, twiddle: &Fr) {
    let difference = *low - *high;
    *low += *high;
    *high = difference * twiddle;
}

/// Natural → bit-reversed order. `block` is the number of this block in its layer.
pub fn scatter(values: &mut [Fr], twiddles: &[Fr], block: usize) {
    let size = values.len();
    if size <= SERIAL_BLOCK {
        let (mut length, mut first_block) = (size, block);
        while length > 1 {
            for (number, part) in values.chunks_exact_mut(length).enumerate() {
                let (low, high) = part.split_at_mut(length / 2);
                let twiddle = &twiddles[first_block + number];
                low.iter_mut().zip(high).for_each(|(low, high)| cooley_tukey(low, high, twiddle));
            }
            length /= 2;
            first_block *= 2;
        }
        return;
    }
    let (low, high) = values.split_at_mut(size / 2);
    across(low, high, &twiddles[block], cooley_tukey);
    rayon::join(|| scatter(low, twiddles, 2 * block), || scatter(high, twiddles, 2 * block + 1));
}

/// Bit-reversed → natural order. `block` is the number of this block in its layer.
pub fn gather(values: &mut [Fr], twiddles: &[Fr], block: usize) {
    let size = values.len();
    if size <= SERIAL_BLOCK {
        let mut length = 2;
        while length <= size {
            let first_block = block * (size / length);
            for (number, part) in values.chunks_exact_mut(length).enumerate() {
                let (low, high) = part.split_at_mut(length / 2);
                let twiddle = &twiddles[first_block + number];
                low.iter_mut().zip(high).for_each(|(low, high)| gentleman_sande(low, high, twiddle));
            }
            length *= 2;
        }
        return;
    }
    let (low, high) = values.split_at_mut(size / 2);
    rayon::join(|| gather(low, twiddles, 2 * block), || gather(high, twiddles, 2 * block + 1));
    across(low, high, &twiddles[block], gentleman_sande);
}

fn across(low: &mut [Fr], high: &mut [Fr], twiddle: &Fr, butterfly: impl Fn(&mut Fr, &mut Fr, &Fr) + Sync) {
    low.par_iter_mut()
        .zip(high)
        .with_min_len(MIN_CHUNK)
        .for_each(|(low, high)| butterfly(low, high, twiddle));
}
