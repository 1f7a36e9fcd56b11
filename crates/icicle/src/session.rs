//! The device as one thread sees it: memory, transforms, element-wise operations and sums, every call checked.
//!
//! Invariants, each the answer to a fault that ICICLE has or had (see the README):
//! - one thread makes every call, since the active device is a property of the thread;
//! - before each operation the active device is asked for, because a device that went away leaves the thread on the
//!   processor, where everything seems to work;
//! - the default stream, synchronous calls, one at a time; points and scalars of a sum are on the device already and are
//!   one chunk, so that ICICLE uses one stream inside; its special path for large buckets, which frees memory that another
//!   stream still reads, is off, and masks and windows see to it that no bucket is large;
//! - points are in canonical form. Scalars and the data of transforms are in Montgomery form, which ICICLE takes.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::rc::Rc;

use bn254::raw::{Limbs, as_bytes};
use bn254::{Field, Fr, PrimeField};

use crate::abi::{
    DEFAULT_STREAM, Device, Direction, Element, MsmConfig, NttConfig, NttDomainConfig, ORDER_NATURAL,
    SUCCESS, VecConfig,
};
use crate::curve::{Curve, Result3};
use crate::library::Api;
use crate::{Error, Kind, Settings};

/// Terms of the largest sum that is given to ICICLE in one call.
const MAX_CHUNK: usize = 1 << 23;
const MIN_CHUNK: usize = 1 << 14;
/// Free device memory that there should be for each term of a sum. ICICLE expects to need some 2,000 bytes (for G2, with
/// its sorting and buckets), keeps 30 % in reserve, and when it finds less, it splits the sum over streams of its own.
const BYTES_PER_TERM: usize = 1 << 12;

/// Bits of the windows of a sum of `terms`.
///
/// One thread fills a bucket, so a window must leave none crowded, not the topmost either: of the 254 bits of a scalar it
/// gets 254 mod c, and with c = 18, which ICICLE would choose for 2^22 terms, those are 2 bits, and a million points lie
/// in each of three buckets. The windows here leave at least 14 (or c - 2) bits, and no bucket has over 6 times the
/// points that it would have if all were equally full.
fn window(terms: usize) -> c_int {
    match terms {
        0..0x800 => 5,
        0x800..0x1_0000 => 8,
        0x1_0000..0x10_0000 => 15,
        0x10_0000..0x20_0000 => 16,
        _ => 17,
    }
}

/// ICICLE on one device, owned by one thread.
pub(crate) struct Session {
    api: Api,
    device: Device,
    ext: *mut c_void,
    /// log2 of the roots that the process-wide domain has.
    domain_log: Cell<Option<u32>>,
    kind: Kind,
    chunk: Option<NonZeroUsize>,
}

impl Session {
    /// Selects the device for this thread, for good.
    pub(crate) fn open(api: Api, settings: &Settings) -> Result<Rc<Self>, Error> {
        let id = c_int::try_from(settings.device).unwrap_or(c_int::MAX);
        let device = Device::new(settings.kind.name(), id);
        // Selecting an unknown device throws a C++ exception.
        if !api.knows(&device) {
            return Err(Error::Unavailable(settings.kind.name()));
        }
        // SAFETY: the device outlives the call.
        check("icicle_set_device", unsafe { (api.device.set_device)(&raw const device) })?;
        let Settings { kind, chunk, .. } = *settings;
        let (ext, domain_log) = (std::ptr::null_mut(), Cell::new(None));
        let mut session = Self { api, device, ext, domain_log, kind, chunk };
        session.confirm()?;
        // SAFETY: no arguments; a null pointer means "no extension".
        session.ext = unsafe { (session.api.device.create_ext)() };
        for (key, value) in [(c"large_bucket_factor", 0), (c"nof_chunks", 1)] {
            // SAFETY: `ext` was made by ICICLE, the key is a C string.
            unsafe { (session.api.device.ext_set_int)(session.ext, key.as_ptr(), value) };
        }
        Ok(Rc::new(session))
    }

    /// Terms of a sum that ICICLE can take at once with the memory that is free now.
    fn chunk(&self) -> Result<usize, Error> {
        if let Some(chunk) = self.chunk {
            return Ok(chunk.get());
        }
        if self.kind == Kind::Cpu {
            return Ok(MAX_CHUNK);
        }
        let (mut total, mut free) = (0, 0);
        // SAFETY: both values outlive the call.
        let code = unsafe { (self.api.device.available_memory)(&raw mut total, &raw mut free) };
        check("icicle_get_available_memory", code)?;
        Ok((free / BYTES_PER_TERM).clamp(MIN_CHUNK, MAX_CHUNK))
    }

    /// Oldest version of ICICLE that this can be.
    pub(crate) fn version(&self) -> &'static str {
        self.api.version
    }

    /// That this thread is still on the device.
    fn confirm(&self) -> Result<(), Error> {
        let mut active = Device::new("", -1);
        // SAFETY: the device outlives the call.
        let code = unsafe { (self.api.device.active_device)(&raw mut active) };
        check("icicle_get_active_device", code)?;
        if active.same_as(&self.device) {
            return Ok(());
        }
        Err(Error::WrongDevice { wanted: self.device.to_string(), active: active.to_string() })
    }

    /// Makes sure that transforms of 2^`log` elements find their roots and those of the odd coset.
    ///
    /// The coset needs one level more: ICICLE looks its generator up among the roots and computes powers one by one on
    /// the host when it is not there.
    pub(crate) fn ensure_domain(&self, log: u32) -> Result<(), Error> {
        let needed = log + 1;
        if needed > Fr::S {
            return Err(Error::TooLarge(log));
        }
        if self.domain_log.get().is_some_and(|have| have >= needed) {
            return Ok(());
        }
        self.confirm()?;
        // A second initialisation does nothing and says that it succeeded.
        self.release_domain()?;
        let config = NttDomainConfig { stream: DEFAULT_STREAM, is_async: false, ext: std::ptr::null_mut() };
        let root = canonical(&root_of_unity(needed));
        // SAFETY: root and configuration outlive the call.
        let code = unsafe { (self.api.field.init_domain)(&raw const root, &raw const config) };
        check("bn254_ntt_init_domain", code)?;
        self.domain_log.set(Some(needed));
        Ok(())
    }

    fn release_domain(&self) -> Result<(), Error> {
        if self.domain_log.take().is_none() {
            return Ok(());
        }
        // SAFETY: no arguments; no transform is under way, since this thread makes them all.
        check("bn254_ntt_release_domain", unsafe { (self.api.field.release_domain)() })
    }

    /// A transform in natural order, on the odd coset when `coset` is given as its generator.
    pub(crate) fn ntt(
        &self,
        input: &Buffer<Fr>,
        direction: Direction,
        coset: Option<&Fr>,
        output: &mut Buffer<Fr>,
    ) -> Result<(), Error> {
        assert_eq!(input.len(), output.len(), "as many values out as in");
        self.ensure_domain(input.len().trailing_zeros())?;
        self.confirm()?;
        let config = NttConfig {
            stream: DEFAULT_STREAM,
            coset_gen: canonical(coset.unwrap_or(&Fr::ONE)),
            batch_size: 1,
            columns_batch: false,
            ordering: ORDER_NATURAL,
            inputs_on_device: true,
            outputs_on_device: true,
            is_async: false,
            ext: std::ptr::null_mut(),
        };
        let size = int(input.len())?;
        // SAFETY: both buffers have `size` elements on the device; the domain has that many roots.
        let code =
            unsafe { (self.api.field.ntt)(input.at, size, direction as c_int, &raw const config, output.at) };
        check("bn254_ntt", code)
    }

    /// Values of a*b - c, all in Montgomery form, left in the buffer of `a`.
    pub(crate) fn multiply_subtract(
        &self,
        mut a: Buffer<Fr>,
        b: &Buffer<Fr>,
        c: &Buffer<Fr>,
        scratch: &mut Buffer<Fr>,
    ) -> Result<Buffer<Fr>, Error> {
        assert!([b.len(), c.len(), scratch.len()] == [a.len(); 3], "vectors of one length");
        self.confirm()?;
        let config = VecConfig {
            stream: DEFAULT_STREAM,
            a_on_device: true,
            b_on_device: true,
            result_on_device: true,
            is_async: false,
            batch_size: 1,
            columns_batch: false,
            ext: std::ptr::null_mut(),
        };
        let (n, config, field) = (a.len() as u64, &raw const config, &self.api.field);
        // A product of two Montgomery forms would carry a factor 2^256 too many: one operand leaves that form first.
        // SAFETY: all four buffers have n elements on the device and do not overlap; the configuration outlives the calls.
        unsafe {
            check("bn254_scalar_convert_montgomery", (field.convert)(a.at, n, false, config, scratch.at))?;
            check("bn254_vector_mul", (field.mul)(scratch.at, b.at, n, config, a.at))?;
            check("bn254_vector_sub", (field.sub)(a.at, c.at, n, config, scratch.at))?;
        }
        std::mem::swap(&mut a.at, &mut scratch.at);
        Ok(a)
    }

    /// The sum of `scalars[i] * points[i]`, chunk by chunk.
    pub(crate) fn msm<C: Curve>(
        &self,
        points: &Buffer<C::Bytes>,
        scalars: &Buffer<Fr>,
    ) -> Result<C::Sum, Error> {
        assert_eq!(points.len(), scalars.len(), "one scalar per point");
        let chunk = self.chunk()?;
        let mut sum = C::zero();
        for start in (0..points.len()).step_by(chunk) {
            let len = chunk.min(points.len() - start);
            self.confirm()?;
            let config = MsmConfig {
                stream: DEFAULT_STREAM,
                precompute_factor: 1,
                c: window(len),
                bitsize: 0,
                batch_size: 1,
                points_shared: true,
                scalars_on_device: true,
                scalars_montgomery: true,
                points_on_device: true,
                points_montgomery: false,
                results_on_device: false,
                is_async: false,
                ext: self.ext,
            };
            let msm = C::function(&self.api.curve);
            let mut result = Result3::<C>::default();
            // SAFETY: `len` elements from `start` on lie within both buffers; the result has room for one point.
            let code = unsafe {
                msm(
                    scalars.place(start),
                    points.place(start),
                    int(len)?,
                    &raw const config,
                    result.as_mut_ptr(),
                )
            };
            check(C::MSM, code)?;
            sum = C::add(&sum, &result.point()?);
        }
        Ok(sum)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = self.release_domain() {
            tracing::warn!(%error, "ICICLE keeps its roots");
        }
        // SAFETY: made by ICICLE, used by this session only.
        unsafe { (self.api.device.destroy_ext)(self.ext) };
    }
}

/// Memory on the device, given back when dropped.
pub(crate) struct Buffer<T> {
    session: Rc<Session>,
    at: *mut c_void,
    len: usize,
    kind: PhantomData<T>,
}

/// What may lie in device memory.
pub(crate) trait OnDevice: Copy + Send + Sync + 'static {
    fn bytes(values: &[Self]) -> &[u8];
}

impl OnDevice for Fr {
    fn bytes(values: &[Self]) -> &[u8] {
        as_bytes(values)
    }
}

impl<const N: usize> OnDevice for [u8; N] {
    fn bytes(values: &[Self]) -> &[u8] {
        values.as_flattened()
    }
}

impl<T: OnDevice> Buffer<T> {
    /// Room for `len` elements, at least one: ICICLE refuses to allocate nothing.
    pub(crate) fn new(session: &Rc<Session>, len: usize) -> Result<Self, Error> {
        session.confirm()?;
        let mut at = std::ptr::null_mut();
        // SAFETY: the pointer outlives the call.
        let code = unsafe { (session.api.device.malloc)(&raw mut at, size_of::<T>() * len.max(1)) };
        check("icicle_malloc", code)?;
        if at.is_null() {
            return Err(Error::Call { call: "icicle_malloc", code: 4 });
        }
        Ok(Self { session: Rc::clone(session), at, len, kind: PhantomData })
    }

    /// A copy of these values on the device.
    pub(crate) fn of(session: &Rc<Session>, values: &[T]) -> Result<Self, Error> {
        let mut buffer = Self::new(session, values.len())?;
        buffer.write(0, values)?;
        Ok(buffer)
    }

    /// Copies these values to the device, from element `start` on.
    pub(crate) fn write(&mut self, start: usize, values: &[T]) -> Result<(), Error> {
        assert!(start + values.len() <= self.len, "within the buffer");
        if values.is_empty() {
            return Ok(());
        }
        self.session.confirm()?;
        let bytes = T::bytes(values);
        // SAFETY: the assertion above keeps the copy within the buffer.
        let code = unsafe {
            (self.session.api.device.to_device)(self.place(start), bytes.as_ptr().cast(), bytes.len())
        };
        check("icicle_copy_to_device", code)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn place(&self, start: usize) -> *mut c_void {
        self.at.cast::<T>().wrapping_add(start).cast()
    }
}

impl<T: OnDevice + Limbs + Default> Buffer<T> {
    /// A copy of the values on the host.
    pub(crate) fn read(&self) -> Result<Vec<T>, Error> {
        let mut values = vec![T::default(); self.len];
        if values.is_empty() {
            return Ok(values);
        }
        self.session.confirm()?;
        // SAFETY: as many bytes as the vector has; any bytes are a value of a `Limbs` type.
        let code = unsafe {
            (self.session.api.device.to_host)(
                values.as_mut_ptr().cast(),
                self.at,
                size_of_val(values.as_slice()),
            )
        };
        check("icicle_copy_to_host", code)?;
        Ok(values)
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by ICICLE on this device, and given back once.
        let code = unsafe { (self.session.api.device.free)(self.at) };
        if let Err(error) = check("icicle_free", code) {
            tracing::warn!(%error, "device memory is lost until this process ends");
        }
    }
}

/// A primitive root of unity of order 2^`log`: the same that [`bn254::Domain`] uses.
pub(crate) fn root_of_unity(log: u32) -> Fr {
    (log..Fr::S).fold(Fr::ROOT_OF_UNITY, |root, _| root.square())
}

fn canonical(value: &Fr) -> Element {
    let bytes = bn254::fr_to_le_bytes(value);
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.as_chunks().0) {
        *limb = u64::from_le_bytes(*bytes);
    }
    Element(limbs)
}

fn int(len: usize) -> Result<c_int, Error> {
    c_int::try_from(len).map_err(|_| Error::TooLarge(len.ilog2()))
}

fn check(call: &'static str, code: c_int) -> Result<(), Error> {
    if code == SUCCESS { Ok(()) } else { Err(Error::Call { call, code }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_leaves_the_top_buckets_crowded() {
        // The upper 64 bits of r, which has 254.
        let top_of_r = 0xc191_39cb_84c6_80a6_u64;
        for log in 0..=23 {
            for terms in [1 << log, (1 << log) + 1] {
                let c = window(terms).cast_unsigned();
                let top_bits = if 254 % c == 0 { c } else { 254 % c };
                let top_buckets = top_of_r >> (64 - top_bits);
                assert!((1 << c) < 6 * top_buckets, "c = {c} for {terms} terms");
            }
        }
    }
}
