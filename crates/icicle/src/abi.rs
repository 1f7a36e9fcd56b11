//! ICICLE's C interface as of 3.1 to 4.0: the structures byte by byte, and nothing else.
//!
//! The interface has no version symbol and a wrong offset would be silent, so every offset is asserted at compile time.
//! `eIcicleError` is a C int, C++ references are pointers, field elements are four little-endian 64-bit limbs.

use std::ffi::{c_char, c_int, c_void};
use std::mem::{offset_of, size_of};

/// A stream handle; we only ever pass [`DEFAULT_STREAM`].
pub(crate) type Stream = *mut c_void;

/// The legacy default stream, on which ICICLE's own streams wait: its sums free memory that other streams still read
/// when they run on any other.
pub(crate) const DEFAULT_STREAM: Stream = std::ptr::null_mut();

pub(crate) const SUCCESS: c_int = 0;

/// A field element of 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element(pub(crate) [u64; 4]);

/// Type and number of a device.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Device {
    pub(crate) kind: [u8; 64],
    pub(crate) id: c_int,
}

/// Configuration of a multi-scalar multiplication.
#[repr(C)]
pub(crate) struct MsmConfig {
    pub(crate) stream: Stream,
    pub(crate) precompute_factor: c_int,
    pub(crate) c: c_int,
    pub(crate) bitsize: c_int,
    pub(crate) batch_size: c_int,
    pub(crate) points_shared: bool,
    pub(crate) scalars_on_device: bool,
    pub(crate) scalars_montgomery: bool,
    pub(crate) points_on_device: bool,
    pub(crate) points_montgomery: bool,
    pub(crate) results_on_device: bool,
    pub(crate) is_async: bool,
    pub(crate) ext: *mut c_void,
}

/// Configuration of a transform.
#[repr(C)]
pub(crate) struct NttConfig {
    pub(crate) stream: Stream,
    /// Canonical, whatever form the data has.
    pub(crate) coset_gen: Element,
    pub(crate) batch_size: c_int,
    pub(crate) columns_batch: bool,
    pub(crate) ordering: c_int,
    pub(crate) inputs_on_device: bool,
    pub(crate) outputs_on_device: bool,
    pub(crate) is_async: bool,
    pub(crate) ext: *mut c_void,
}

/// Configuration of the process-wide table of roots.
#[repr(C)]
pub(crate) struct NttDomainConfig {
    pub(crate) stream: Stream,
    pub(crate) is_async: bool,
    pub(crate) ext: *mut c_void,
}

/// Configuration of element-wise operations; 3.0 had another layout, which is why 3.1 is needed.
#[repr(C)]
pub(crate) struct VecConfig {
    pub(crate) stream: Stream,
    pub(crate) a_on_device: bool,
    pub(crate) b_on_device: bool,
    pub(crate) result_on_device: bool,
    pub(crate) is_async: bool,
    pub(crate) batch_size: c_int,
    pub(crate) columns_batch: bool,
    pub(crate) ext: *mut c_void,
}

macro_rules! layout {
    ($name:ident: $size:literal { $($field:ident @ $at:literal),* }) => {
        const _: () = assert!(size_of::<$name>() == $size);
        $(const _: () = assert!(offset_of!($name, $field) == $at);)*
    };
}

layout!(Element: 32 {});
layout!(Device: 68 { kind @ 0, id @ 64 });
layout!(MsmConfig: 40 {
    stream @ 0, precompute_factor @ 8, c @ 12, bitsize @ 16, batch_size @ 20, points_shared @ 24, scalars_on_device @ 25,
    scalars_montgomery @ 26, points_on_device @ 27, points_montgomery @ 28, results_on_device @ 29, is_async @ 30, ext @ 32
});
layout!(NttConfig: 64 {
    stream @ 0, coset_gen @ 8, batch_size @ 40, columns_batch @ 44, ordering @ 48, inputs_on_device @ 52,
    outputs_on_device @ 53, is_async @ 54, ext @ 56
});
layout!(NttDomainConfig: 24 { stream @ 0, is_async @ 8, ext @ 16 });
layout!(VecConfig: 32 {
    stream @ 0, a_on_device @ 8, b_on_device @ 9, result_on_device @ 10, is_async @ 11, batch_size @ 12,
    columns_batch @ 16, ext @ 24
});

impl Device {
    /// `kind` has at most 63 bytes.
    pub(crate) fn new(kind: &str, id: c_int) -> Self {
        let mut device = Self { kind: [0; 64], id };
        device.kind[..kind.len()].copy_from_slice(kind.as_bytes());
        device
    }

    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.kind.iter().position(|byte| *byte == 0).unwrap_or(self.kind.len());
        write!(f, "{}:{}", String::from_utf8_lossy(&self.kind[..end]), self.id)
    }
}

/// Direction of a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Direction {
    Forward = 0,
    Inverse = 1,
}

/// Natural order in, natural order out.
pub(crate) const ORDER_NATURAL: c_int = 0;

macro_rules! functions {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $symbol:literal: ($($arg:ty),*) $(-> $ret:ty)?;)* }) => {
        $(#[$doc])*
        pub(crate) struct $name {
            $(pub(crate) $field: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)*
        }

        impl $name {
            /// # Safety
            /// The library must be ICICLE 3.1 or later: the functions have the types above.
            pub(crate) unsafe fn of(library: &crate::library::Loaded) -> Result<Self, crate::Error> {
                // SAFETY: the caller vouches for the types.
                Ok(Self { $($field: unsafe { library.symbol($symbol)? },)* })
            }
        }
    };
}

functions! {
    /// Of libicicle_device.so.
    DeviceApi {
        load_backend = "icicle_load_backend": (*const c_char, bool) -> c_int;
        is_available = "icicle_is_device_available": (*const Device) -> c_int;
        registered = "icicle_get_registered_devices": (*mut c_char, usize) -> c_int;
        set_device = "icicle_set_device": (*const Device) -> c_int;
        active_device = "icicle_get_active_device": (*mut Device) -> c_int;
        available_memory = "icicle_get_available_memory": (*mut usize, *mut usize) -> c_int;
        malloc = "icicle_malloc": (*mut *mut c_void, usize) -> c_int;
        free = "icicle_free": (*mut c_void) -> c_int;
        to_host = "icicle_copy_to_host": (*mut c_void, *const c_void, usize) -> c_int;
        to_device = "icicle_copy_to_device": (*mut c_void, *const c_void, usize) -> c_int;
        create_ext = "create_config_extension": () -> *mut c_void;
        destroy_ext = "destroy_config_extension": (*mut c_void);
        ext_set_int = "config_extension_set_int": (*mut c_void, *const c_char, c_int);
    }
}

functions! {
    /// Of libicicle_field_bn254.so.
    FieldApi {
        ntt = "bn254_ntt": (*const c_void, c_int, c_int, *const NttConfig, *mut c_void) -> c_int;
        init_domain = "bn254_ntt_init_domain": (*const Element, *const NttDomainConfig) -> c_int;
        release_domain = "bn254_ntt_release_domain": () -> c_int;
        mul = "bn254_vector_mul": (*const c_void, *const c_void, u64, *const VecConfig, *mut c_void) -> c_int;
        sub = "bn254_vector_sub": (*const c_void, *const c_void, u64, *const VecConfig, *mut c_void) -> c_int;
        convert = "bn254_scalar_convert_montgomery": (*const c_void, u64, bool, *const VecConfig, *mut c_void) -> c_int;
    }
}

functions! {
    /// Of libicicle_curve_bn254.so.
    CurveApi {
        msm_g1 = "bn254_msm": (*const c_void, *const c_void, c_int, *const MsmConfig, *mut c_void) -> c_int;
        msm_g2 = "bn254_g2_msm": (*const c_void, *const c_void, c_int, *const MsmConfig, *mut c_void) -> c_int;
    }
}
