//! Single kernels of the library, for differential tests and benchmarks: every function computes on the card what a function
//! of `bn254` or `prover` computes on the processor.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use bn254::raw::{self, Limbs};
use bn254::{Domain, Fq, Fq2, Fr, G1Affine, G2Affine};
use prover::matrices::SparseMatrix;

use crate::library::{Context, Handle, LibraryError, element_bytes, matrix, pointer};

/// A coordinate or scalar field.
pub trait CardField: Limbs {
    /// The library's number of it.
    const NUMBER: u32;
}

impl CardField for Fq {
    const NUMBER: u32 = 0;
}
impl CardField for Fr {
    const NUMBER: u32 = 1;
}
impl CardField for Fq2 {
    const NUMBER: u32 = 2;
}

/// Points of one of the two groups.
pub trait CardPoint: Limbs + Default {
    /// The library's number of the group.
    const NUMBER: u32;
}

impl CardPoint for G1Affine {
    const NUMBER: u32 = 1;
}
impl CardPoint for G2Affine {
    const NUMBER: u32 = 2;
}

/// An operation on field elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FieldOp {
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a * b.
    Mul,
    /// -a.
    Neg,
    /// a * a.
    Square,
    /// 1/a, 0 for 0.
    Inverse,
    /// The value of a as an integer (not for Fq2).
    ToInteger,
    /// The element whose value is the integer a (not for Fq2).
    FromInteger,
}

/// An operation on points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CurveOp {
    /// a + b, b affine.
    Add,
    /// a - b, b affine.
    Sub,
    /// a + b by the general formulas.
    AddGeneral,
    /// 2a.
    Double,
    /// 256a.
    Times256,
}

/// A transform in place; see [`Domain`] for what each is on the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum TransformKind {
    /// Natural to bit-reversed order with the root.
    Scatter,
    /// Bit-reversed to natural order with the root.
    Gather,
    /// Values on the domain to values on the odd coset.
    ToCoset,
    /// Natural to bit-reversed order with the inverse root, not divided by the size.
    InverseScatter,
    /// Bit-reversed to natural order with the inverse root, not divided by the size.
    InverseGather,
}

/// A result and how many milliseconds the card took for it.
#[derive(Clone, Debug)]
pub struct Timed<T> {
    /// The result.
    pub value: T,
    /// Milliseconds between two events on the card.
    pub milliseconds: f32,
}

/// Points on the card with their multiples.
pub struct Bases<P> {
    handle: Handle,
    context: Arc<Context>,
    points: usize,
    group: std::marker::PhantomData<P>,
}

fn count(len: usize) -> Result<u32, LibraryError> {
    u32::try_from(len).map_err(|_| LibraryError::Failed("over 2^32 elements".to_owned()))
}

fn same_length(a: usize, b: usize) -> Result<u32, LibraryError> {
    if a != b {
        return Err(LibraryError::Failed(format!("the operands have {a} and {b} elements")));
    }
    count(a)
}

fn pointer_mut<T: Limbs>(values: &mut [T]) -> *mut c_void {
    values.as_mut_ptr().cast()
}

impl Context {
    /// One field operation on many elements; `b` is ignored by operations with one operand.
    ///
    /// # Errors
    /// [`LibraryError::Failed`] for operands of different lengths.
    pub fn field_op<F: CardField>(&self, op: FieldOp, a: &[F], b: &[F]) -> Result<Vec<F>, LibraryError> {
        let len = same_length(a.len(), b.len())?;
        let mut out = a.to_vec();
        // SAFETY: three slices of the length that is passed.
        self.call(|f, error| unsafe {
            let (a, b, out) = (pointer(a), pointer(b), pointer_mut(&mut out));
            (f.pm_field_op)(self.pointer(), F::NUMBER, op as u32, a, b, out, len, error)
        })?;
        Ok(out)
    }

    /// One operation on many points; `b` is ignored by operations with one operand.
    ///
    /// # Errors
    /// [`LibraryError::Failed`] for operands of different lengths.
    pub fn curve_op<P: CardPoint>(&self, op: CurveOp, a: &[P], b: &[P]) -> Result<Vec<P>, LibraryError> {
        let len = same_length(a.len(), b.len())?;
        let mut out = a.to_vec();
        // SAFETY: three slices of the length that is passed.
        self.call(|f, error| unsafe {
            let (a, b, out) = (pointer(a), pointer(b), pointer_mut(&mut out));
            (f.pm_curve_op)(self.pointer(), P::NUMBER, op as u32, a, b, out, len, error)
        })?;
        Ok(out)
    }

    /// Multiplications of Fq per second when the card does nothing else.
    ///
    /// # Errors
    /// [`LibraryError::Lost`].
    pub fn multiplication_rate(&self, threads: u32, rounds: u32) -> Result<f64, LibraryError> {
        let mut milliseconds = 0.0;
        // SAFETY: the pointer is to a live value.
        self.call(|f, error| unsafe {
            (f.pm_multiply_rate)(self.pointer(), threads, rounds, &mut milliseconds, error)
        })?;
        Ok(f64::from(threads) * f64::from(rounds) / f64::from(milliseconds.max(1e-6)) * 1e3)
    }

    /// The signed digits of scalars, least significant first, `ceil(254 / window_bits)` for each.
    ///
    /// # Errors
    /// [`LibraryError::Failed`] for a window outside 2..=24.
    pub fn digits(&self, scalars: &[Fr], window_bits: u32) -> Result<Vec<Vec<i32>>, LibraryError> {
        let windows = 254_usize.div_ceil(window_bits.max(1) as usize);
        let mut digits = vec![0_i32; scalars.len() * windows];
        let len = count(scalars.len())?;
        // SAFETY: `len` scalars, and room for `windows` digits of each.
        self.call(|f, error| unsafe {
            (f.pm_digits)(self.pointer(), pointer(scalars), len, window_bits, digits.as_mut_ptr(), error)
        })?;
        Ok(digits.chunks(windows).map(<[i32]>::to_vec).collect())
    }

    /// Transforms polynomials of the domain's size that follow each other, in place. Returns the milliseconds.
    ///
    /// # Errors
    /// [`LibraryError::Failed`] when `values` is not a multiple of the domain.
    pub fn transform(
        &self,
        kind: TransformKind,
        domain: &Domain,
        values: &mut [Fr],
    ) -> Result<f32, LibraryError> {
        if values.is_empty() || !values.len().is_multiple_of(domain.size()) {
            return Err(LibraryError::Failed("the values are not whole polynomials".to_owned()));
        }
        let batch = count(values.len() / domain.size())?;
        let (shift, scale) = (element_bytes(&domain.coset_shift()), element_bytes(&domain.size_inverse()));
        let mut milliseconds = 0.0;
        // SAFETY: `batch` polynomials of 2^log elements, and arrays of 32 bytes.
        self.call(|f, error| unsafe {
            let (values, log) = (pointer_mut(values), domain.log_size());
            let (shift, scale) = (shift.as_ptr(), scale.as_ptr());
            (f.pm_transform)(
                self.pointer(),
                kind as u32,
                values,
                log,
                batch,
                shift,
                scale,
                &mut milliseconds,
                error,
            )
        })?;
        Ok(milliseconds)
    }

    /// A*B - C on the odd coset, from the values of A, B, C on the domain.
    ///
    /// # Errors
    /// [`LibraryError::Failed`] when a polynomial has not the domain's size.
    pub fn quotient(&self, domain: &Domain, polynomials: [&[Fr]; 3]) -> Result<Timed<Vec<Fr>>, LibraryError> {
        if polynomials.iter().any(|values| values.len() != domain.size()) {
            return Err(LibraryError::Failed("a polynomial has not the size of the domain".to_owned()));
        }
        let mut values = polynomials.concat();
        let (shift, scale) = (element_bytes(&domain.coset_shift()), element_bytes(&domain.size_inverse()));
        let mut milliseconds = 0.0;
        // SAFETY: three polynomials of 2^log elements, and arrays of 32 bytes.
        self.call(|f, error| unsafe {
            let (shift, scale) = (shift.as_ptr(), scale.as_ptr());
            let log = domain.log_size();
            (f.pm_quotient)(
                self.pointer(),
                pointer_mut(&mut values),
                log,
                shift,
                scale,
                &mut milliseconds,
                error,
            )
        })?;
        values.truncate(domain.size());
        Ok(Timed { value: values, milliseconds })
    }

    /// `sparse * vector`.
    ///
    /// # Errors
    /// [`LibraryError::Failed`] for a column or coefficient that does not exist.
    pub fn sparse_product(
        &self,
        sparse: &SparseMatrix,
        table: &[Fr],
        vector: &[Fr],
    ) -> Result<Timed<Vec<Fr>>, LibraryError> {
        let mut out = vec![Fr::default(); sparse.row_count()];
        let (sparse, table_len, vector_len) = (matrix(sparse)?, count(table.len())?, count(vector.len())?);
        let mut milliseconds = 0.0;
        // SAFETY: all lengths are passed; the library checks columns and coefficients against them.
        self.call(|f, error| unsafe {
            let (table, vector, out) = (pointer(table), pointer(vector), pointer_mut(&mut out));
            (f.pm_sparse)(
                self.pointer(),
                &sparse,
                table,
                table_len,
                vector,
                vector_len,
                out,
                &mut milliseconds,
                error,
            )
        })?;
        Ok(Timed { value: out, milliseconds })
    }

    /// Copies points to the card. `window_bits` 0 chooses the window, `max_copies` 0 keeps as many multiples as pay.
    ///
    /// # Errors
    /// [`LibraryError::OutOfMemory`]; [`LibraryError::Failed`] for a window that is neither 0 nor in 2..=24.
    pub fn bases<P: CardPoint>(
        self: &Arc<Self>,
        points: &[P],
        window_bits: u32,
        max_copies: u32,
    ) -> Result<Bases<P>, LibraryError> {
        let len = count(points.len())?;
        let mut bases = ptr::null_mut();
        // SAFETY: `len` points of the group that is named.
        self.call(|f, error| unsafe {
            let points = pointer(points);
            (f.pm_bases_new)(
                self.pointer(),
                P::NUMBER,
                points,
                len,
                window_bits,
                max_copies,
                &mut bases,
                error,
            )
        })?;
        let handle = Handle::new(bases, self.functions().pm_bases_free)?;
        let context = Arc::clone(self);
        Ok(Bases { handle, context, points: points.len(), group: std::marker::PhantomData })
    }
}

impl<P: CardPoint> Bases<P> {
    /// Sum of `scalars[i] * points[i]`. The time does not contain the way of the scalars to the card.
    ///
    /// # Errors
    /// [`LibraryError::Failed`] when there is not one scalar per point.
    pub fn sum(&self, scalars: &[Fr]) -> Result<Timed<P>, LibraryError> {
        same_length(scalars.len(), self.points)?;
        let mut sum = P::default();
        let mut milliseconds = 0.0;
        // SAFETY: as many scalars as points, and one point of the group.
        self.context.call(|f, error| unsafe {
            let out = ptr::from_mut(&mut sum).cast();
            (f.pm_bases_sum)(self.handle.get(), pointer(scalars), out, &mut milliseconds, error)
        })?;
        Ok(Timed { value: sum, milliseconds })
    }
}

/// A point from the bytes of the library.
pub(crate) fn point<P: CardPoint>(bytes: &[u8]) -> P {
    // Copied, because bytes have no alignment.
    let mut point = [P::default()];
    let target = raw::as_bytes_mut(&mut point);
    target.copy_from_slice(bytes);
    point[0]
}
