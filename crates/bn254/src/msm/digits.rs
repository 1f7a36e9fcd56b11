//! Scalars as signed digits.
//!
//! A scalar k is, up to its sign, Σ dⱼ·2^(cj) with |dⱼ| ≤ 2^(c−1): half as many buckets as digits. The sign is chosen so that
//! the magnitude is at most (r − 1)/2; then small negative numbers have as few digits as small positive ones, and 253 bits are
//! enough. Adding a constant first makes every digit a plain field of bits, without a carry from one to the next.
//!
//! Invariant: Σ over places of digit·2^(c·place) is the scalar modulo r.

use rayon::prelude::*;

use super::plan::{BITS, Plan, places};
use crate::isa::{Isa, for_each_vector_isa};
use crate::pages::Pages;
use crate::simd::field52::{Field52, Modulus, R, to_limbs};
use crate::simd::lanes::Lanes;
use crate::{Fr, dispatch, fr_to_le_bytes};

/// Scalars whose digits lie together: place after place, this many digits each.
pub(super) const BLOCK: usize = 1 << 12;

/// (r − 1)/2, least significant word first.
const HALF: [u64; 4] =
    [0xa1f0_fac9_f800_0000, 0x9419_f424_3cdc_b848, 0xdc28_22db_40c0_ac2e, 0x1832_2739_7098_d014];
/// The digits of many scalars.
pub struct Digits {
    width: u32,
    count: usize,
    digits: Pages<i16>,
}

impl Digits {
    /// Recodes scalars for sums over about so many points.
    pub fn new(scalars: &[Fr], points: usize) -> Self {
        // Short scalars have fewer digits, as if there were fewer scalars.
        let full = (points as f64 * mean_length(scalars)).ceil() as usize;
        Self::with_width(scalars, Plan::new(full, rayon::current_num_threads()).width)
    }

    /// Digits of `width` bits.
    pub(super) fn with_width(scalars: &[Fr], width: u32) -> Self {
        let places = places(width);
        let mut digits = Pages::<i16>::zeroed(scalars.len().div_ceil(BLOCK) * BLOCK * places);
        let bias = Bias::new(width);
        digits.par_chunks_mut(BLOCK * places).zip(scalars.par_chunks(BLOCK)).for_each(|(digits, scalars)| {
            let done = bias.write_vectors(scalars, digits);
            for (at, scalar) in scalars.iter().enumerate().skip(done) {
                bias.write_digits(scalar, &mut digits[at..]);
            }
        });
        Self { width, count: scalars.len(), digits }
    }

    /// Bits of a digit.
    pub(super) fn width(&self) -> u32 {
        self.width
    }

    /// Scalars.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The digits of one place of the scalars from `first` on, as far as they lie together.
    pub(super) fn run(&self, first: usize, place: usize) -> &[i16] {
        let (block, at) = (first / BLOCK, first % BLOCK);
        let start = (block * places(self.width) + place) * BLOCK;
        let end = BLOCK.min(self.count - block * BLOCK);
        &self.digits[start + at..start + end]
    }

    /// The digit of one place of a scalar.
    #[inline]
    pub(super) fn digit(&self, scalar: usize, place: usize) -> i16 {
        self.digits[(scalar / BLOCK * places(self.width) + place) * BLOCK + scalar % BLOCK]
    }
}

/// The mean part of their full length that scalars of a list have, from some of them: 0 for zeros, 1 for random ones.
pub(super) fn mean_length(scalars: &[Fr]) -> f64 {
    const SAMPLES: u64 = 1 << 10;
    /// 2^64 over the golden ratio: its multiples are spread evenly, but in step with nothing that a circuit repeats.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    if scalars.is_empty() {
        return 0.0;
    }
    let samples = (scalars.len() as u64).min(SAMPLES);
    let bits: u32 = (0..samples)
        .map(|i| {
            let place = (u128::from(i.wrapping_mul(STEP)) * scalars.len() as u128) >> 64;
            let value = words(&scalars[place as usize]);
            let magnitude = if is_above(&value, &HALF) { subtract(&R::WORDS, &value) } else { value };
            let highest = magnitude.iter().rposition(|word| *word != 0);
            highest.map_or(0, |word| 64 * (word as u32 + 1) - magnitude[word].leading_zeros())
        })
        .sum();
    f64::from(bits) / f64::from(BITS) / samples as f64
}

/// What is added to a magnitude of either sign before its digits are cut out.
struct Bias {
    width: u32,
    /// 2^(c−1) at every place but the highest, for scalars that keep their sign: digits from −2^(c−1) to 2^(c−1) − 1.
    plus: [u64; 4],
    /// One less at each, for those whose digits are negated.
    minus: [u64; 4],
}

impl Bias {
    fn new(width: u32) -> Self {
        let half = 1_u64 << (width - 1);
        let mut bias = Self { width, plus: [0; 4], minus: [0; 4] };
        for place in 0..places(width) as u32 - 1 {
            or_at(&mut bias.plus, place * width, half);
            or_at(&mut bias.minus, place * width, half - 1);
        }
        bias
    }

    /// Writes the digits of as many scalars as vectors take; how many.
    fn write_vectors(&self, scalars: &[Fr], digits: &mut [i16]) -> usize {
        // SAFETY: the processor has the instructions.
        unsafe { dispatch!(Isa::detect(), L => L::write_sixteen(self, scalars, digits), Portable => 0) }
    }

    /// Sixteen scalars at a time: in the two halves of a row of eight words lie two scalars, which go to vectors of their own.
    ///
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn write_sixteen<L: Lanes>(&self, scalars: &[Fr], digits: &mut [i16]) -> usize {
        let whole = scalars.len() / SIXTEEN * SIXTEEN;
        let mut at = 0;
        while at < whole {
            let mut rows = [scalars[at..].as_ptr().cast::<u64>(); 8];
            let mut row = 0;
            while row < 8 {
                rows[row] = rows[row].wrapping_add(8 * row);
                row += 1;
            }
            // SAFETY: the caller promises the instructions; sixteen scalars are eight rows of eight words.
            let w = unsafe { L::gather(&rows) };
            let even = self.biased([w[0], w[1], w[2], w[3]]);
            let odd = self.biased([w[4], w[5], w[6], w[7]]);
            let places = places(self.width);
            let mut place = 0;
            while place < places {
                let highest = place + 1 == places;
                let low = self.digit(&even, place, highest);
                let high = self.digit(&odd, place, highest);
                // Two digits side by side are one half of a word.
                let low = low.shl_by(48).shr_by(48);
                let pairs = low.or(high.shl_by(16)).low_halves();
                let out = &mut digits[place * BLOCK + at..place * BLOCK + at + SIXTEEN];
                let mut pair = 0;
                while pair < 8 {
                    out[2 * pair] = pairs[pair] as i16;
                    out[2 * pair + 1] = (pairs[pair] >> 16) as i16;
                    pair += 1;
                }
                place += 1;
            }
            at += SIXTEEN;
        }
        whole
    }

    /// Eight magnitudes and their bias as 64-bit words, and which scalars were negated.
    #[inline(always)]
    fn biased<L: Lanes>(&self, words: [L; 4]) -> ([L; 4], u8) {
        // SAFETY: there is a value of `L`.
        let (one, plus, minus) = unsafe {
            (
                Field52::<L, R>::splat(&FROM_MONTGOMERY),
                Field52::splat(&to_limbs(self.plus)),
                Field52::splat(&to_limbs(self.minus)),
            )
        };
        let value = Field52::mul(&[Field52::from_packed(words)], &[one])[0].canonical();
        let negative = value.above(&to_limbs(HALF));
        (value.negate_where(negative).add(plus.blend(negative, minus)).to_packed(), negative)
    }

    /// Eight digits in the low sixteen bits of the words.
    #[inline(always)]
    fn digit<L: Lanes>(&self, (words, negative): &([L; 4], u8), place: usize, highest: bool) -> L {
        let bit = place as u32 * self.width;
        let (word, shift) = ((bit / 64) as usize, bit % 64);
        let mut field = words[word].shr_by(shift);
        if word < 3 {
            field = field.or(words[word + 1].shl_by(64 - shift));
        }
        field = field.shl_by(64 - self.width).shr_by(64 - self.width);
        if highest {
            return field.negate_where(*negative);
        }
        let half = 1_u64 << (self.width - 1);
        // SAFETY: there is a value of `L`.
        let (plus, minus) = unsafe { (L::splat(half), L::splat(half - 1)) };
        field.sub(plus).blend(*negative, minus.sub(field))
    }

    /// Writes the digit of place p to `digits[p * BLOCK]`.
    fn write_digits(&self, scalar: &Fr, digits: &mut [i16]) {
        let value = words(scalar);
        if value == [0; 4] {
            return;
        }
        let negative = is_above(&value, &HALF);
        let (magnitude, bias) =
            if negative { (subtract(&R::WORDS, &value), &self.minus) } else { (value, &self.plus) };
        let biased = add(&magnitude, bias);
        let (width, mask) = (self.width, (1_u64 << self.width) - 1);
        let half = 1_i32 << (width - 1);
        let highest = places(width) - 1;
        for place in 0..=highest {
            let bit = place as u32 * width;
            let (word, shift) = ((bit / 64) as usize, bit % 64);
            let mut field = biased[word] >> shift;
            if shift + width > 64 && word < 3 {
                field |= biased[word + 1] << (64 - shift);
            }
            let field = (field & mask) as i32;
            let digit = match (place == highest, negative) {
                (true, false) => field,
                (true, true) => -field,
                (false, false) => field - half,
                (false, true) => half - 1 - field,
            };
            digits[place * BLOCK] = digit as i16;
        }
    }
}

/// Scalars in two vectors.
const SIXTEEN: usize = 16;
/// 2^4: multiplied by it and divided by 2^260, what is in Montgomery form with 2^256 is out of it.
const FROM_MONTGOMERY: [u64; 5] = [16, 0, 0, 0, 0];

/// [`Bias::write_sixteen`] with the instructions of an implementation.
trait DigitKernels: Lanes {
    /// # Safety
    /// The processor has the instructions.
    unsafe fn write_sixteen(bias: &Bias, scalars: &[Fr], digits: &mut [i16]) -> usize;
}

macro_rules! digit_kernels {
    ($(#[$feature:meta])? $lanes:ty) => {
        impl DigitKernels for $lanes {
            $(#[$feature])?
            unsafe fn write_sixteen(bias: &Bias, scalars: &[Fr], digits: &mut [i16]) -> usize {
                // SAFETY: the caller promises the instructions.
                unsafe { bias.write_sixteen::<Self>(scalars, digits) }
            }
        }
    };
}

for_each_vector_isa!(digit_kernels);
#[cfg(any(test, feature = "emulation"))]
digit_kernels!(crate::simd::lanes::Emulated);

fn words(scalar: &Fr) -> [u64; 4] {
    let bytes = fr_to_le_bytes(scalar);
    std::array::from_fn(|i| {
        bytes[8 * i..8 * i + 8].iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
    })
}

fn is_above(a: &[u64; 4], b: &[u64; 4]) -> bool {
    a.iter().rev().gt(b.iter().rev())
}

fn or_at(words: &mut [u64; 4], bit: u32, value: u64) {
    let (word, shift) = ((bit / 64) as usize, bit % 64);
    words[word] |= value << shift;
    if shift > 0 && word < 3 {
        words[word + 1] |= value >> (64 - shift);
    }
}

fn add(a: &[u64; 4], b: &[u64; 4]) -> [u64; 4] {
    let mut carry = false;
    std::array::from_fn(|i| {
        let (sum, over) = a[i].overflowing_add(b[i]);
        let (sum, over_too) = sum.overflowing_add(u64::from(carry));
        carry = over | over_too;
        sum
    })
}

fn subtract(a: &[u64; 4], b: &[u64; 4]) -> [u64; 4] {
    let mut borrow = false;
    std::array::from_fn(|i| {
        let (difference, under) = a[i].overflowing_sub(b[i]);
        let (difference, under_too) = difference.overflowing_sub(u64::from(borrow));
        borrow = under | under_too;
        difference
    })
}

#[cfg(test)]
mod tests;
