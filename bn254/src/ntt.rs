//! Number-theoretic transforms over `Fr` on domains of size 2^k, without bit reversal.
//!
//! Two kernels do everything. With the powers of the root kept in bit-reversed order, every block of a layer uses one
//! twiddle factor and all accesses are sequential:
//! - `scatter` (Cooley-Tukey butterflies) takes natural order to bit-reversed order;
//! - `gather` (Gentleman-Sande butterflies) takes bit-reversed order to natural order.
//!
//! Either one run with the inverse root (and a division by n) is the inverse transform. A prover goes from evaluations
//! to coefficients (bit-reversed) to evaluations on a coset (natural), so the order of the coefficients never matters.
//!
//! The coset is the odd one: the points s*w^i, where s*s = w, so that domain and coset together are the domain of twice
//! the size, and x^n = -1 on the coset.

use ff::{Field, PrimeField};
use rayon::prelude::*;

use crate::Fr;

/// Blocks up to this many elements are transformed by one thread, layer by layer: 128 KiB fit a second-level cache.
const SERIAL_BLOCK: usize = 1 << 12;
/// Elements that one task takes at least in element-wise passes.
const MIN_CHUNK: usize = 1 << 10;

/// The multiplicative subgroup of order n = 2^k with its precomputed roots.
#[derive(Clone, Debug)]
pub struct Domain {
    log_size: u32,
    root: Fr,
    coset_shift: Fr,
    size_inverse: Fr,
    /// w^bitrev(i) for i < n/2.
    twiddles: Vec<Fr>,
    /// w^-bitrev(i) for i < n/2.
    inverse_twiddles: Vec<Fr>,
    /// (s^bitrev(low), s^bitrev(high)): their product is the power of s at a bit-reversed place.
    shift_powers: SplitPowers,
    inverse_shift_powers: SplitPowers,
}

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
            low: bit_reversed_powers(low_base, low_bits),
            high: bit_reversed_powers(base, high_bits),
        }
    }

    fn get(&self, index: usize) -> Fr {
        self.low[index & ((1 << self.low_bits) - 1)] * self.high[index >> self.low_bits]
    }
}

/// base^bitrev(i) for i < 2^log.
fn bit_reversed_powers(base: Fr, log: u32) -> Vec<Fr> {
    // Doubling: the second half of a table of 2^(b+1) entries is the first half times base^(2^(log-1-b)).
    let mut powers = Vec::with_capacity(1 << log);
    powers.push(Fr::ONE);
    for bit in 0..log {
        let factor = base.pow_vartime([1_u64 << (log - 1 - bit)]);
        let half = powers.len();
        powers.extend(
            (0..half).into_par_iter().with_min_len(MIN_CHUNK).map(|i| factor * powers[i]).collect::<Vec<_>>(),
        );
    }
    powers
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
        if log_size >= Fr::S {
            return Err(DomainTooLarge { log_size });
        }
        let coset_shift = (log_size + 1..Fr::S).fold(Fr::ROOT_OF_UNITY, |root, _| root.square());
        let inverse_shift = (log_size + 1..Fr::S).fold(Fr::ROOT_OF_UNITY_INV, |root, _| root.square());
        let root = coset_shift.square();
        let half_log = log_size.saturating_sub(1);
        Ok(Self {
            log_size,
            root,
            coset_shift,
            size_inverse: Fr::TWO_INV.pow_vartime([u64::from(log_size)]),
            twiddles: bit_reversed_powers(root, half_log),
            inverse_twiddles: bit_reversed_powers(inverse_shift.square(), half_log),
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
        assert_eq!(values.len(), self.size(), "one value per element of the domain");
        scatter(values, &self.inverse_twiddles, 0);
    }

    /// Evaluations in natural order → coefficients in bit-reversed order.
    pub fn intt_to_reversed(&self, values: &mut [Fr]) {
        self.intt_to_reversed_unscaled(values);
        for_each_place(values, |_, value| *value *= self.size_inverse);
    }

    /// Coefficients in bit-reversed order → evaluations in natural order.
    pub fn ntt_from_reversed(&self, values: &mut [Fr]) {
        assert_eq!(values.len(), self.size(), "one coefficient per element of the domain");
        gather(values, &self.twiddles, 0);
    }

    /// Evaluations on the domain → evaluations of the same polynomial on the odd coset, both in natural order.
    pub fn shift_to_coset(&self, values: &mut [Fr]) {
        self.intt_to_reversed_unscaled(values);
        for_each_place(values, |place, value| *value *= self.shift_powers.get(place) * self.size_inverse);
        self.ntt_from_reversed(values);
    }

    /// Coefficients → evaluations on the domain, both in natural order.
    pub fn ntt(&self, values: &mut [Fr]) {
        assert_eq!(values.len(), self.size(), "one coefficient per element of the domain");
        scatter(values, &self.twiddles, 0);
        bit_reverse(values);
    }

    /// Evaluations on the domain → coefficients, both in natural order.
    pub fn intt(&self, values: &mut [Fr]) {
        self.intt_to_reversed(values);
        bit_reverse(values);
    }

    /// Coefficients → evaluations on the odd coset, both in natural order.
    pub fn coset_ntt(&self, values: &mut [Fr]) {
        assert_eq!(values.len(), self.size(), "one coefficient per element of the domain");
        bit_reverse(values);
        for_each_place(values, |place, value| *value *= self.shift_powers.get(place));
        self.ntt_from_reversed(values);
    }

    /// Evaluations on the odd coset → coefficients, both in natural order.
    pub fn coset_intt(&self, values: &mut [Fr]) {
        self.intt_to_reversed_unscaled(values);
        for_each_place(values, |place, value| {
            *value *= self.inverse_shift_powers.get(place) * self.size_inverse
        });
        bit_reverse(values);
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

fn bit_reverse(values: &mut [Fr]) {
    let log = values.len().trailing_zeros();
    if log == 0 {
        return;
    }
    for i in 0..values.len() {
        let j = i.reverse_bits() >> (usize::BITS - log);
        if i < j {
            values.swap(i, j);
        }
    }
}

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
fn scatter(values: &mut [Fr], twiddles: &[Fr], block: usize) {
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
fn gather(values: &mut [Fr], twiddles: &[Fr], block: usize) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn random(len: usize) -> Vec<Fr> {
        let mut rng = ChaCha20Rng::seed_from_u64(len as u64);
        (0..len).map(|_| Fr::random(&mut rng)).collect()
    }

    fn evaluate(coefficients: &[Fr], x: Fr) -> Fr {
        coefficients.iter().rev().fold(Fr::ZERO, |acc, c| acc * x + c)
    }

    #[test]
    fn transforms_evaluate_the_polynomial_at_every_point() {
        for log in [0, 1, 2, 3, 5, 8] {
            let domain = Domain::new(log).unwrap();
            let coefficients = random(domain.size());
            let mut on_domain = coefficients.clone();
            domain.ntt(&mut on_domain);
            let mut on_coset = coefficients.clone();
            domain.coset_ntt(&mut on_coset);
            let mut x = Fr::ONE;
            for (place, value) in on_domain.iter().enumerate() {
                assert_eq!(*value, evaluate(&coefficients, x), "2^{log} at {place}");
                assert_eq!(on_coset[place], evaluate(&coefficients, x * domain.coset_shift()));
                x *= domain.root();
            }
            assert_eq!(x, Fr::ONE);
        }
    }

    #[test]
    fn parallel_sizes_agree_with_evaluation_at_chosen_points() {
        let domain = Domain::new(14).unwrap();
        let coefficients = random(domain.size());
        let mut values = coefficients.clone();
        domain.ntt(&mut values);
        for place in [0, 1, 2, 4095, 4096, 8191, 8192, 16383] {
            let x = domain.root().pow_vartime([place as u64]);
            assert_eq!(values[place], evaluate(&coefficients, x));
        }
        let on_domain = values.clone();
        domain.shift_to_coset(&mut values);
        let mut on_coset = coefficients.clone();
        domain.coset_ntt(&mut on_coset);
        assert_eq!(values, on_coset);
        domain.coset_intt(&mut values);
        assert_eq!(values, coefficients);
        let mut reversed = on_domain.clone();
        domain.intt_to_reversed(&mut reversed);
        domain.ntt_from_reversed(&mut reversed);
        assert_eq!(reversed, on_domain);
        let mut back = on_domain;
        domain.intt(&mut back);
        assert_eq!(back, coefficients);
    }

    #[test]
    fn the_lagrange_basis_interpolates_on_domain_and_coset() {
        for log in [0, 1, 4, 12] {
            let domain = Domain::new(log).unwrap();
            let coefficients = random(domain.size());
            let point = Fr::from(0x1234_5678_9abc);
            let expected = evaluate(&coefficients, point);
            for (shift, coset) in [(Fr::ONE, false), (domain.coset_shift(), true)] {
                let mut values = coefficients.clone();
                if coset {
                    domain.coset_ntt(&mut values)
                } else {
                    domain.ntt(&mut values)
                }
                let basis = domain.lagrange_at(point, shift).unwrap();
                assert_eq!(values.iter().zip(&basis).map(|(v, l)| *v * l).sum::<Fr>(), expected);
            }
            assert!(domain.lagrange_at(domain.root(), Fr::ONE).is_none());
        }
    }

    #[test]
    fn the_odd_coset_is_where_x_to_the_n_is_minus_one() {
        let domain = Domain::new(6).unwrap();
        assert_eq!(domain.coset_shift().pow_vartime([64_u64]), -Fr::ONE);
    }

    #[test]
    fn domains_that_do_not_exist_are_refused() {
        assert!(Domain::new(28).is_err());
        assert_eq!(Domain::at_least(33).unwrap().size(), 64);
        assert_eq!(Domain::at_least(0).unwrap().size(), 1);
    }

    #[test]
    fn batch_inversion_reports_a_zero() {
        let mut values = random(9);
        let original = values.clone();
        assert!(batch_invert(&mut values));
        assert!(values.iter().zip(&original).all(|(a, b)| *a * b == Fr::ONE));
        values[3] = Fr::ZERO;
        assert!(!batch_invert(&mut values));
    }
}
