//! Rows of a sparse matrix times a vector, eight rows at a time.
//!
//! The eight rows have the same coefficients in the same order, as those have that one piece of a circuit leaves each time it is
//! used; every lane has columns of its own. A sum is kept as two numbers that are not reduced: products in ten limbs, and what has
//! the coefficients 1 and −1, which needs no multiplication, in five.
//!
//! Invariant: columns stay below 2^62 and a number that is reduced below 84·p² (see [`super::field52`]), because a sum is
//! compacted after [`MOST`] terms.

#![expect(
    clippy::needless_range_loop,
    reason = "limbs are counted in the papers too, and iterators hide what goes where"
)]

use super::field52::{Field52, Modulus, R, to_limbs};
use super::lanes::Lanes;
use crate::isa::for_each_vector_isa;
use crate::{Field, Fr};

/// The most products, and the most multiples of p that the plain sum may be above zero, before they are put together: 42·p² of the
/// one and 42·p·p of the other.
const MOST: u64 = 42;
/// A loose value is below so many times p.
const LOOSE: u64 = 3;
/// 2^260 modulo p is 2^4 in Montgomery form with 2^256.
const SIXTEEN: u64 = 16;

/// A coefficient.
#[derive(Clone, Copy, Debug)]
pub enum Coefficient {
    One,
    MinusOne,
    /// In Montgomery form with 2^260.
    Other([u64; 5]),
}

impl Coefficient {
    pub fn new(value: &Fr) -> Self {
        if *value == Fr::ONE {
            Self::One
        } else if *value == -Fr::ONE {
            Self::MinusOne
        } else {
            Self::Other(to_limbs((*value * Fr::from(SIXTEEN)).0))
        }
    }
}

/// Eight sums, of values below p in Montgomery form with 2^256.
struct Sums<L> {
    wide: [L; 10],
    products: u64,
    plain: [L; 5],
    /// The plain sum is below so many times p, and not below minus so many.
    plus: u64,
    minus: u64,
}

impl<L: Lanes> Sums<L> {
    /// # Safety
    /// The processor has the instructions of `L`.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller promises the instructions.
        let zero = unsafe { L::splat(0) };
        Self { wide: [zero; 10], products: 0, plain: [zero; 5], plus: 0, minus: 0 }
    }

    #[inline(always)]
    fn add(&mut self, value: Field52<L, R>, coefficient: &Coefficient) {
        if self.products == MOST || self.plus + self.minus == MOST {
            self.compact();
        }
        match coefficient {
            Coefficient::One => {
                for i in 0..5 {
                    self.plain[i] = self.plain[i].add(value.limbs[i]);
                }
                self.plus += 1;
            }
            Coefficient::MinusOne => {
                for i in 0..5 {
                    self.plain[i] = self.plain[i].sub(value.limbs[i]);
                }
                self.minus += 1;
            }
            Coefficient::Other(limbs) => {
                // SAFETY: there is a value of `L`.
                let limbs = unsafe { Field52::splat(limbs) };
                self.wide = Field52::product_onto(self.wide, value, limbs);
                self.products += 1;
            }
        }
    }

    /// Puts both numbers together in the plain one, which is loose then.
    #[inline(always)]
    fn compact(&mut self) {
        // SAFETY: there is a value of `L`.
        let (zero, sixteen) = unsafe { (L::splat(0), Field52::splat(&to_limbs(Fr::from(SIXTEEN).0))) };
        if self.plus + self.minus > 0 {
            // Not negative with so many times p: at most 42·p in all.
            let p = to_limbs(R::WORDS);
            let mut plain = self.plain;
            for i in 0..5 {
                // SAFETY: there is a value of `L`.
                plain[i] = plain[i].add(unsafe { L::splat(p[i] * self.minus) });
            }
            let plain = Field52::<L, R>::new(Field52::<L, R>::carried(plain));
            self.wide = Field52::product_onto(self.wide, plain, sixteen);
        }
        let [loose] = Field52::<L, R>::montgomery([self.wide]);
        *self = Self { wide: [zero; 10], products: 0, plain: loose.limbs, plus: LOOSE, minus: 0 };
    }

    /// The sums, below p.
    #[inline(always)]
    fn total(mut self) -> Field52<L, R> {
        self.compact();
        Field52::new(self.plain).canonical()
    }
}

/// Σ over t of `table[coefficients[t]]`·`z[columns[i][t]]`, for eight i.
///
/// # Safety
/// The processor has the instructions of `L`.
///
/// # Panics
/// When a row has fewer columns than there are coefficients, or there is no such coefficient or value.
#[inline(always)]
unsafe fn eight_rows<L: Lanes>(
    table: &[Coefficient],
    coefficients: &[u32],
    columns: &[&[u32]; 8],
    z: &[Fr],
) -> [Fr; 8] {
    let mut columns = *columns;
    for lane in 0..8 {
        columns[lane] = &columns[lane][..coefficients.len()];
    }
    // SAFETY: the caller promises the instructions.
    let mut sums = unsafe { Sums::<L>::new() };
    for term in 0..coefficients.len() {
        let mut rows = [std::ptr::null(); 8];
        for lane in 0..8 {
            rows[lane] = z[columns[lane][term] as usize].0.as_ptr();
        }
        // SAFETY: the caller promises the instructions; an element is four words.
        let values = Field52::from_packed(unsafe { L::gather_four(&rows) });
        sums.add(values, &table[coefficients[term] as usize]);
    }
    let packed = sums.total().to_packed();
    let mut totals = [Fr::ZERO; 8];
    for word in 0..4 {
        let words = packed[word].store();
        for lane in 0..8 {
            totals[lane].0[word] = words[lane];
        }
    }
    totals
}

/// [`eight_rows`] with the instructions of an implementation.
pub trait RowKernels: Lanes {
    /// # Safety
    /// See [`eight_rows`].
    unsafe fn eight_rows(
        table: &[Coefficient],
        coefficients: &[u32],
        columns: &[&[u32]; 8],
        z: &[Fr],
    ) -> [Fr; 8];
}

macro_rules! row_kernels {
    ($(#[$feature:meta])? $lanes:ty) => {
        impl RowKernels for $lanes {
            $(#[$feature])?
            unsafe fn eight_rows(
                table: &[Coefficient],
                coefficients: &[u32],
                columns: &[&[u32]; 8],
                z: &[Fr],
            ) -> [Fr; 8] {
                // SAFETY: the caller promises the instructions.
                unsafe { eight_rows::<Self>(table, coefficients, columns, z) }
            }
        }
    };
}

for_each_vector_isa!(row_kernels);
#[cfg(any(test, feature = "emulation"))]
row_kernels!(super::lanes::Emulated);
