//! Coordinates as eight elements of halo2curves: the portable path, and a second opinion for the tests.

use ff::Field;

use super::coordinate::Coordinate;
use crate::raw::Limbs;
use crate::{Fq, Fq2};

/// Eight elements, always canonical.
#[derive(Clone, Copy)]
pub struct Eight<F>([F; 8]);

impl<F: Field + Limbs> Eight<F> {
    fn zip(self, other: Self, f: impl Fn(F, F) -> F) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

/// Elements that lie in memory as whole 64-bit words.
pub trait Words: Field + Limbs {
    /// How many.
    const WORDS: usize;
}

impl Words for Fq {
    const WORDS: usize = 4;
}

impl Words for Fq2 {
    const WORDS: usize = 8;
}

// Products are long already; inlined they would make the loops over them too large for the instruction cache.
impl<F: Words> Coordinate for Eight<F> {
    const WORDS: usize = F::WORDS;

    unsafe fn zero() -> Self {
        Self([F::ZERO; 8])
    }

    unsafe fn one() -> Self {
        Self([F::ONE; 8])
    }

    unsafe fn gather(rows: &[*const u64; 8]) -> (Self, Self) {
        // SAFETY: the caller promises x and y in each row; any words are a value of a `Limbs` type.
        let read = |i: usize, at: usize| unsafe { rows[i].add(at).cast::<F>().read_unaligned() };
        (Self(std::array::from_fn(|i| read(i, 0))), Self(std::array::from_fn(|i| read(i, F::WORDS))))
    }

    unsafe fn scatter(x: Self, y: Self, rows: &[*mut u64; 8]) {
        for (i, row) in rows.iter().enumerate() {
            // SAFETY: the caller promises room for x and y in each row.
            unsafe {
                row.cast::<F>().write_unaligned(x.0[i]);
                row.add(F::WORDS).cast::<F>().write_unaligned(y.0[i]);
            }
        }
    }

    fn import(self) -> Self {
        self
    }

    fn export(self) -> Self {
        self
    }

    #[inline(never)]
    fn mul<const K: usize>(a: &[Self; K], b: &[Self; K]) -> [Self; K] {
        std::array::from_fn(|k| a[k].zip(b[k], |a, b| a * b))
    }

    #[inline(never)]
    fn sqr<const K: usize>(a: &[Self; K]) -> [Self; K] {
        std::array::from_fn(|k| Self(a[k].0.map(|a| a.square())))
    }

    fn plus(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    fn thrice(self) -> Self {
        self.plus(self).plus(self)
    }

    fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    fn signed_minus(self, mask: u8, other: Self) -> Self {
        self.negate_where(mask).minus(other)
    }

    fn negate_where(self, mask: u8) -> Self {
        Self(std::array::from_fn(|i| if mask >> i & 1 == 1 { -self.0[i] } else { self.0[i] }))
    }

    fn third_x(square: Self, difference: Self, x: Self) -> Self {
        square.minus(difference).minus(x).minus(x)
    }

    fn third_y(product: Self, y: Self) -> Self {
        product.minus(y)
    }

    fn zeros(self) -> u8 {
        (0..8).fold(0, |mask, i| mask | (u8::from(self.0[i] == F::ZERO) << i))
    }

    fn blend(self, mask: u8, other: Self) -> Self {
        Self(std::array::from_fn(|i| if mask >> i & 1 == 1 { other.0[i] } else { self.0[i] }))
    }

    fn swap<const BIT: usize>(self) -> Self {
        Self(std::array::from_fn(|i| self.0[i ^ BIT]))
    }

    fn invert_common(self) -> Self {
        Self([self.0[0].invert().unwrap_or(F::ZERO); 8])
    }
}
