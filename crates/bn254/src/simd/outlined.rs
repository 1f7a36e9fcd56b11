//! Coordinates whose operations are calls.
//!
//! Inlined into the loops over points, the emulated words would take a compiler minutes and be no faster.

use super::coordinate::Coordinate;

/// The same coordinates, out of line.
#[derive(Clone, Copy)]
pub struct Outlined<F>(F);

macro_rules! forward {
    ($($name:ident($($argument:ident: $kind:tt),*) -> $result:tt;)*) => {
        $(
            #[inline(never)]
            fn $name(self $(, $argument: $kind)*) -> $result {
                forward!(@result $result, self.0.$name($(forward!(@argument $argument $kind)),*))
            }
        )*
    };
    (@argument $argument:ident Self) => { $argument.0 };
    (@argument $argument:ident $kind:tt) => { $argument };
    (@result Self, $value:expr) => { Self($value) };
    (@result $kind:tt, $value:expr) => { $value };
}

impl<F: Coordinate> Coordinate for Outlined<F> {
    const WORDS: usize = F::WORDS;

    unsafe fn zero() -> Self {
        // SAFETY: the caller promises the instructions, here and below.
        Self(unsafe { F::zero() })
    }

    unsafe fn one() -> Self {
        // SAFETY: see `zero`.
        Self(unsafe { F::one() })
    }

    #[inline(never)]
    unsafe fn gather(rows: &[*const u64; 8]) -> (Self, Self) {
        // SAFETY: the caller promises the instructions and the rows.
        let (x, y) = unsafe { F::gather(rows) };
        (Self(x), Self(y))
    }

    #[inline(never)]
    unsafe fn scatter(x: Self, y: Self, rows: &[*mut u64; 8]) {
        // SAFETY: the caller promises the instructions and the rows.
        unsafe { F::scatter(x.0, y.0, rows) };
    }

    #[inline(never)]
    fn mul<const K: usize>(a: &[Self; K], b: &[Self; K]) -> [Self; K] {
        std::array::from_fn(|k| Self(F::mul(&[a[k].0], &[b[k].0])[0]))
    }

    #[inline(never)]
    fn sqr<const K: usize>(a: &[Self; K]) -> [Self; K] {
        std::array::from_fn(|k| Self(F::sqr(&[a[k].0])[0]))
    }

    forward! {
        import() -> Self;
        export() -> Self;
        plus(other: Self) -> Self;
        thrice() -> Self;
        minus(other: Self) -> Self;
        signed_minus(mask: u8, other: Self) -> Self;
        negate_where(mask: u8) -> Self;
        zeros() -> u8;
        blend(mask: u8, other: Self) -> Self;
        invert_common() -> Self;
    }

    #[inline(never)]
    fn third_x(square: Self, difference: Self, x: Self) -> Self {
        Self(F::third_x(square.0, difference.0, x.0))
    }

    #[inline(never)]
    fn third_y(product: Self, y: Self) -> Self {
        Self(F::third_y(product.0, y.0))
    }

    #[inline(never)]
    fn swap<const BIT: usize>(self) -> Self {
        Self(self.0.swap::<BIT>())
    }
}
