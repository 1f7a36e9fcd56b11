//! Number-theoretic transforms over `Fr` on domains of size 2^k, without bit reversal.
//!
//! Two kernels do everything. With the powers of the root kept in bit-reversed order, every block of a layer uses one
//! twiddle factor and all accesses are sequential:
//! - `scatter` (Cooley-Tukey butterflies) takes natural order to bit-reversed order;
//! - `gather` (Gentleman-Sande butterflies) takes bit-reversed order to natural order.
//!
//! Either one run with the inverse root (and a division by n) is the inverse transform. A prover goes from evaluations
//! (bit-reversed) to coefficients (natural) to evaluations on a coset (bit-reversed), so nothing is ever put in order.
//!
//! The coset is the odd one: the points s*w^i, where s*s = w, so that domain and coset together are the domain of twice
//! the size, and x^n = -1 on the coset. Its scatter is what the second half of a scatter of twice the size does: it has the
//! factors of block 1 of the second layer, and needs no powers of s.
//!
//! | module | purpose |
//! |---|---|
//! | `passes` | arrays as tiles, dealt out to threads |
//! | `program` | what a pass does to a tile |
//! | `tile` | butterflies on tiles, in vectors |
//! | `scalar` | butterflies one by one |

mod passes;
mod program;
mod scalar;
mod tile;

use ff::{Field, PrimeField};
use rayon::prelude::*;

use crate::bit_order::bit_reverse;
use crate::isa::Isa;
use crate::pages::Pages;
use crate::simd::field52::{Modulus, R};
use crate::{Fr, dispatch};
use tile::{LEAST_LOG, Layers};

/// Elements that one task takes at least in element-wise passes.
const MIN_CHUNK: usize = 1 << 10;

/// The generator of the multiplicative group whose power is the root of unity. Evaluations in the order of one are a permutation
/// of those in the order of the other, so a proving key is for one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Generator {
    /// 7: halo2curves, and so bellman.
    #[default]
    Seven,
    /// 5: circom, snarkjs, rapidsnark, gnark and arkworks.
    Five,
}

impl Generator {
    /// A primitive root of unity of order 2^28.
    fn root_of_unity(self) -> Fr {
        match self {
            Self::Seven => Fr::ROOT_OF_UNITY,
            Self::Five => {
                // (r - 1)/2^28 is r/2^28 rounded down: 4 times 64 bits, shifted.
                let mut exponent = R::WORDS;
                for i in 0..4 {
                    let above = if i < 3 { exponent[i + 1] << (64 - Fr::S) } else { 0 };
                    exponent[i] = exponent[i] >> Fr::S | above;
                }
                Fr::from(5).pow_vartime(exponent)
            }
        }
    }
}

/// The multiplicative subgroup of order n = 2^k with its precomputed roots.
#[derive(Clone, Debug)]
pub struct Domain {
    log_size: u32,
    root: Fr,
    coset_shift: Fr,
    size_inverse: Fr,
    /// Whose kernels run, and so what the tables have: portable ones also where there are too few elements for vectors.
    isa: Isa,
    /// s^bitrev(i) for i < n: the factors of the domain, and from n/2 on those of the coset. One entry more.
    forward: Pages<Fr>,
    /// w^-bitrev(i) for i < n/2. One entry more.
    inverse: Pages<Fr>,
    /// (s^bitrev(low), s^bitrev(high)): their product is the power of s at a bit-reversed place.
    shift_powers: SplitPowers,
    inverse_shift_powers: SplitPowers,
}

/// What a factor is multiplied by to be what the kernels of an instruction set want: with vectors, in Montgomery form with
/// 2^260.
fn factor_unit(isa: Isa) -> Fr {
    if isa == Isa::Portable { Fr::ONE } else { Fr::from(16) }
}

/// The number of a whole domain, or of the whole odd coset, in its layer.
const DOMAIN: usize = 0;
const COSET: usize = 1;

/// base^bitrev(i) for i < 2^log as the product of two small tables (the number of entries is about 2 * sqrt(2^log)).
#[derive(Clone, Debug)]
struct SplitPowers {
    low_bits: u32,
    low: Vec<Fr>,
    high: Vec<Fr>,
}

impl SplitPowers {
    fn new(base: Fr, log: u32) -> Self {
        let low_bits = log / 2;
        let high_bits = log - low_bits;
        // Bit-reversing i = high * 2^low_bits + low puts low above high: bitrev(low) * 2^high_bits + bitrev(high).
        let low_base = base.pow_vartime([1_u64 << high_bits]);
        Self {
            low_bits,
            low: bit_reversed_powers(low_base, low_bits, Fr::ONE),
            high: bit_reversed_powers(base, high_bits, Fr::ONE),
        }
    }

    fn get(&self, index: usize) -> Fr {
        self.low[index & ((1 << self.low_bits) - 1)] * self.high[index >> self.low_bits]
    }
}

/// unit * base^bitrev(i) for i < 2^log, and one entry more.
fn factor_table(base: Fr, log: u32, unit: Fr) -> Pages<Fr> {
    let mut table = Pages::zeroed((1 << log) + 1);
    fill_with_powers(&mut table[..1 << log], base, unit);
    table
}

/// first * base^bitrev(i) for i < 2^log.
fn bit_reversed_powers(base: Fr, log: u32, first: Fr) -> Vec<Fr> {
    let mut powers = vec![first; 1 << log];
    fill_with_powers(&mut powers, base, first);
    powers
}

/// Sets value i to first * base^bitrev(i).
fn fill_with_powers(powers: &mut [Fr], base: Fr, first: Fr) {
    let log = powers.len().trailing_zeros();
    powers[0] = first;
    // Doubling: the second half of a table of 2^(b+1) entries is the first half times base^(2^(log-1-b)).
    for bit in 0..log {
        let factor = base.pow_vartime([1_u64 << (log - 1 - bit)]);
        let (known, next) = powers[..2 << bit].split_at_mut(1 << bit);
        next.par_iter_mut()
            .zip(&*known)
            .with_min_len(MIN_CHUNK)
            .for_each(|(next, known)| *next = factor * known);
    }
}

/// The field has no domain of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "PM-NTT-001: no domain of 2^{log_size} elements exists in this field; the largest that can be used has 2^27"
)]
pub struct DomainTooLarge {
    log_size: u32,
}

impl Domain {
    /// The domain of 2^`log_size` elements.
    ///
    /// # Errors
    /// [`DomainTooLarge`] above 2^27 (the field has 2^28-th roots of unity, and the odd coset needs one level).
    pub fn new(log_size: u32) -> Result<Self, DomainTooLarge> {
        Self::with_generator(log_size, Generator::default())
    }

    /// The domain in the order of another generator than 7.
    ///
    /// # Errors
    /// As for [`Domain::new`].
    pub fn with_generator(log_size: u32, generator: Generator) -> Result<Self, DomainTooLarge> {
        Self::with_isa(log_size, generator, Isa::detect())
    }

    /// For the kernels of another instruction set than the best of this processor.
    ///
    /// # Errors
    /// As for [`Domain::new`].
    ///
    /// # Panics
    /// When the instruction set is not available.
    pub fn with_isa(log_size: u32, generator: Generator, isa: Isa) -> Result<Self, DomainTooLarge> {
        isa.check();
        if log_size >= Fr::S {
            return Err(DomainTooLarge { log_size });
        }
        let coset_shift = (log_size + 1..Fr::S).fold(generator.root_of_unity(), |root, _| root.square());
        let root = coset_shift.square();
        // The shift to the power of n is -1.
        let inverse_shift = -coset_shift.pow_vartime([(1_u64 << log_size) - 1]);
        let isa = if log_size < LEAST_LOG { Isa::Portable } else { isa };
        let unit = factor_unit(isa);
        Ok(Self {
            log_size,
            root,
            coset_shift,
            size_inverse: Fr::TWO_INV.pow_vartime([u64::from(log_size)]),
            isa,
            forward: factor_table(coset_shift, log_size, unit),
            inverse: factor_table(inverse_shift.square(), log_size.saturating_sub(1), unit),
            shift_powers: SplitPowers::new(coset_shift, log_size),
            inverse_shift_powers: SplitPowers::new(inverse_shift, log_size),
        })
    }

    /// The smallest domain with at least `len` elements (one for 0).
    ///
    /// # Errors
    /// [`DomainTooLarge`] above 2^27.
    pub fn at_least(len: usize) -> Result<Self, DomainTooLarge> {
        Self::new(len.next_power_of_two().trailing_zeros())
    }

    /// Number of elements n.
    pub fn size(&self) -> usize {
        1 << self.log_size
    }

    /// log2 of the number of elements.
    pub fn log_size(&self) -> u32 {
        self.log_size
    }

    /// The primitive n-th root of unity w.
    pub fn root(&self) -> Fr {
        self.root
    }

    /// s, a square root of w: the odd coset is s times the domain.
    pub fn coset_shift(&self) -> Fr {
        self.coset_shift
    }

    /// 1/n.
    pub fn size_inverse(&self) -> Fr {
        self.size_inverse
    }

    /// Evaluations in natural order → coefficients in bit-reversed order, *not divided by n*.
    ///
    /// # Panics
    /// When `values` has another length than the domain (as all transforms here).
    pub fn intt_to_reversed_unscaled(&self, values: &mut [Fr]) {
        self.scatter(values, &self.inverse, DOMAIN);
    }

    /// Evaluations in natural order → coefficients in bit-reversed order.
    pub fn intt_to_reversed(&self, values: &mut [Fr]) {
        self.intt_to_reversed_unscaled(values);
        for_each_place(values, |_, value| *value *= self.size_inverse);
    }

    /// Coefficients in bit-reversed order → evaluations in natural order.
    pub fn ntt_from_reversed(&self, values: &mut [Fr]) {
        self.gather(values, &self.forward);
    }

    /// Coefficients in natural order → evaluations in bit-reversed order.
    pub fn ntt_to_reversed(&self, values: &mut [Fr]) {
        self.scatter(values, &self.forward, DOMAIN);
    }

    /// Evaluations in bit-reversed order → coefficients in natural order, *not divided by n*.
    pub fn intt_from_reversed_unscaled(&self, values: &mut [Fr]) {
        self.gather(values, &self.inverse);
    }

    /// Evaluations on the domain → evaluations of the same polynomial on the odd coset, both in natural order.
    pub fn shift_to_coset(&self, values: &mut [Fr]) {
        self.intt_to_reversed_unscaled(values);
        for_each_place(values, |place, value| *value *= self.shift_powers.get(place) * self.size_inverse);
        self.ntt_from_reversed(values);
    }

    /// Coefficients → evaluations on the domain, both in natural order.
    pub fn ntt(&self, values: &mut [Fr]) {
        self.ntt_to_reversed(values);
        bit_reverse(values);
    }

    /// Evaluations on the domain → coefficients, both in natural order.
    pub fn intt(&self, values: &mut [Fr]) {
        self.intt_to_reversed(values);
        bit_reverse(values);
    }

    /// Coefficients → evaluations on the odd coset, both in natural order.
    pub fn coset_ntt(&self, values: &mut [Fr]) {
        self.scatter(values, &self.forward, COSET);
        bit_reverse(values);
    }

    /// Evaluations on the odd coset → coefficients, both in natural order.
    pub fn coset_intt(&self, values: &mut [Fr]) {
        self.intt_to_reversed_unscaled(values);
        for_each_place(values, |place, value| {
            *value *= self.inverse_shift_powers.get(place) * self.size_inverse
        });
        bit_reverse(values);
    }

    /// Evaluations of A, B and C on the domain → a multiple of those of A·B − C on the odd coset in `a`, all in bit-reversed
    /// order; `b` and `c` are used up. The result is what each of the values must be multiplied by: a prover that needs a
    /// linear combination of them multiplies that once.
    ///
    /// Six transforms and no pass of their own for scaling, shifting or combining.
    ///
    /// # Panics
    /// When one of them has another length than the domain.
    pub fn quotient(&self, a: &mut [Fr], b: &mut [Fr], c: &mut [Fr]) -> Fr {
        for values in [&*a, &*b, &*c] {
            assert_eq!(values.len(), self.size(), "one value per element of the domain");
        }
        // No transform divides by n, so that A·B has n², and C, to be taken from it, needs another n.
        let size = Fr::from(self.size() as u64);
        let scale = self.size_inverse.square();
        let [before, after] =
            [Layers { table: &self.inverse, block: DOMAIN }, Layers { table: &self.forward, block: COSET }];
        // SAFETY: the instruction set was checked when the domain was made, and the tables have the factors of all its layers.
        unsafe {
            dispatch!(self.isa, L => passes::quotient::<L>([a, b, c], &before, &after, &size), Portable => {
                for values in [&mut *a, &mut *b, &mut *c] {
                    scalar::gather(values, &self.inverse, DOMAIN);
                    scalar::scatter(values, &self.forward, COSET);
                }
                a.par_iter_mut()
                    .zip(&*b)
                    .zip(&*c)
                    .with_min_len(MIN_CHUNK)
                    .for_each(|((a, b), c)| *a = *a * b - size * c);
                return scale;
            });
        }
        // Sixteenths of A·B less C times n/16, which as a factor in Montgomery form with 2^260 has the limbs of n.
        scale * Fr::from(16)
    }

    /// Natural → bit-reversed order.
    fn scatter(&self, values: &mut [Fr], table: &[Fr], block: usize) {
        assert_eq!(values.len(), self.size(), "one value per element of the domain");
        let layers = Layers { table, block };
        // SAFETY: the instruction set was checked when the domain was made, and the tables have the factors of all its layers.
        unsafe {
            dispatch!(
                self.isa,
                L => passes::scatter::<L>(values, &layers),
                Portable => scalar::scatter(values, table, block)
            );
        }
    }

    /// Bit-reversed → natural order.
    fn gather(&self, values: &mut [Fr], table: &[Fr]) {
        assert_eq!(values.len(), self.size(), "one value per element of the domain");
        let whole = Layers { table, block: DOMAIN };
        // SAFETY: as in `scatter`.
        unsafe {
            dispatch!(
                self.isa,
                L => passes::gather::<L>(values, &whole),
                Portable => scalar::gather(values, table, DOMAIN)
            );
        }
    }

    /// The n evaluations at `point` of the Lagrange basis on `shift` times the domain; `shift` is 1 or the coset shift.
    ///
    /// L_j(t) = (t^n - shift^n)/n * x_j/shift^n / (t - x_j) with x_j = shift*w^j. `None` when `point` is one of the x_j.
    pub fn lagrange_at(&self, point: Fr, shift: Fr) -> Option<Vec<Fr>> {
        let size = self.size();
        let shift_n = shift.pow_vartime([size as u64]);
        let scale: Option<Fr> = shift_n.invert().into();
        let scale = (point.pow_vartime([size as u64]) - shift_n) * self.size_inverse * scale?;
        let mut values = vec![Fr::ZERO; size];
        let chunk = size.div_ceil(4 * rayon::current_num_threads()).max(MIN_CHUNK);
        let fine = values.par_chunks_mut(chunk).enumerate().all(|(number, values)| {
            let first = shift * self.root.pow_vartime([(number * chunk) as u64]);
            let mut x = first;
            for value in values.iter_mut() {
                *value = point - x;
                x *= self.root;
            }
            if !batch_invert(values) {
                return false;
            }
            let mut factor = first * scale;
            for value in values {
                *value *= factor;
                factor *= self.root;
            }
            true
        });
        fine.then_some(values)
    }
}

/// Inverts every element in place with one field inversion; false (and no meaningful values) when one is zero.
pub fn batch_invert(values: &mut [Fr]) -> bool {
    let mut prefix = Vec::with_capacity(values.len());
    let mut product = Fr::ONE;
    for value in values.iter() {
        prefix.push(product);
        product *= value;
    }
    let inverse: Option<Fr> = product.invert().into();
    let Some(mut inverse) = inverse else { return false };
    for (value, before) in values.iter_mut().zip(prefix).rev() {
        let original = *value;
        *value = inverse * before;
        inverse *= original;
    }
    true
}

fn for_each_place(values: &mut [Fr], change: impl Fn(usize, &mut Fr) + Sync) {
    values.par_iter_mut().with_min_len(MIN_CHUNK).enumerate().for_each(|(place, value)| change(place, value));
}

#[cfg(test)]
mod tests;
