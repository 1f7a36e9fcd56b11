//! The C interface word for word: see `include/proofmill_cuda.h`.

use std::ffi::{c_char, c_void};

use crate::backend::Counts;

pub(crate) const ABI_VERSION: u32 = 1;

pub(crate) const OK: i32 = 0;
pub(crate) const NO_DEVICE: i32 = 1;
pub(crate) const OUT_OF_MEMORY: i32 = 3;
pub(crate) const CANCELLED: i32 = 4;
pub(crate) const LOST: i32 = 6;

#[repr(C)]
pub(crate) struct Error {
    pub code: i32,
    pub message: [c_char; 508],
}

#[repr(C)]
pub(crate) struct Device {
    pub name: [c_char; 256],
    pub uuid: [c_char; 48],
    pub total_memory: u64,
    pub free_memory: u64,
    pub multiprocessors: u32,
    pub driver: i32,
    pub runtime: i32,
}

#[repr(C)]
pub(crate) struct Matrix {
    pub rows: u32,
    pub row_ends: *const u64,
    pub columns: *const u32,
    pub coefficients: *const u32,
}

#[repr(C)]
pub(crate) struct KeyParts {
    pub inputs: u32,
    pub variables: u32,
    pub constraints: u32,
    pub domain_log: u32,
    pub coset_shift: [u8; 32],
    pub size_inverse: [u8; 32],
    pub a_len: u32,
    pub b_len: u32,
    pub a_columns: *const u32,
    pub b_columns: *const u32,
    pub a: *const c_void,
    pub b1: *const c_void,
    pub b2: *const c_void,
    pub l: *const c_void,
    pub h: *const c_void,
    pub matrix_a: Matrix,
    pub matrix_b: Matrix,
    pub table: *const c_void,
    pub table_len: u32,
    pub max_copies: u32,
    pub memory_limit: u64,
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct KeyInfo {
    pub bytes: u64,
    pub copies: u32,
    pub window_bits: u32,
}

#[repr(C)]
pub(crate) struct Sums {
    pub a: [u8; 64],
    pub b1: [u8; 64],
    pub b2: [u8; 128],
    pub l: [u8; 64],
    pub h: [u8; 64],
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct Timings {
    pub sparse: f32,
    pub ntt: f32,
    pub msm_a: f32,
    pub msm_b1: f32,
    pub msm_b2: f32,
    pub msm_l: f32,
    pub msm_h: f32,
    pub total: f32,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Error>() == 512);
    assert!(size_of::<Device>() == 336);
    assert!(size_of::<Matrix>() == 32);
    assert!(size_of::<KeyParts>() == 232);
    assert!(size_of::<Sums>() == 384);
    assert!(size_of::<Timings>() == 32);
    assert!(size_of::<Counts>() == 56);
};

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of the library, valid as long as it is loaded.
        pub(crate) struct Functions {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            /// # Safety
            /// The library must be of this interface.
            ///
            /// # Errors
            /// When a function is missing.
            pub(crate) unsafe fn load(library: &libloading::Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    $(
                        // SAFETY: the type is that of the header; the caller vouches for the library.
                        $name: unsafe { *library.get(concat!(stringify!($name), "\0").as_bytes())? },
                    )*
                })
            }
        }
    };
}

functions! {
    pm_device_count: fn(*mut u32, *mut Error) -> i32;
    pm_open: fn(u32, *mut *mut c_void, *mut Error) -> i32;
    pm_close: fn(*mut c_void);
    pm_describe: fn(*mut c_void, *mut Device, *mut Error) -> i32;
    pm_key_load: fn(*mut c_void, *const KeyParts, *mut *mut c_void, *mut Error) -> i32;
    pm_key_describe: fn(*const c_void, *mut KeyInfo, *mut Error) -> i32;
    pm_key_free: fn(*mut c_void);
    pm_witness_new: fn(*mut c_void, *mut *mut c_void, *mut Error) -> i32;
    pm_witness_upload: fn(*mut c_void, *const c_void, *mut Error) -> i32;
    pm_witness_free: fn(*mut c_void);
    pm_prove: fn(*mut c_void, *mut c_void, *const bool, *mut Sums, *mut Timings, *mut Counts, *mut Error) -> i32;
    pm_bases_new: fn(*mut c_void, u32, *const c_void, u32, u32, u32, *mut *mut c_void, *mut Error) -> i32;
    pm_bases_free: fn(*mut c_void);
    pm_bases_sum: fn(*mut c_void, *const c_void, *mut c_void, *mut f32, *mut Error) -> i32;
    pm_transform: fn(*mut c_void, u32, *mut c_void, u32, u32, *const u8, *const u8, *mut f32, *mut Error) -> i32;
    pm_quotient: fn(*mut c_void, *mut c_void, u32, *const u8, *const u8, *mut f32, *mut Error) -> i32;
    pm_sparse: fn(*mut c_void, *const Matrix, *const c_void, u32, *const c_void, u32, *mut c_void, *mut f32, *mut Error) -> i32;
    pm_field_op: fn(*mut c_void, u32, u32, *const c_void, *const c_void, *mut c_void, u32, *mut Error) -> i32;
    pm_curve_op: fn(*mut c_void, u32, u32, *const c_void, *const c_void, *mut c_void, u32, *mut Error) -> i32;
    pm_multiply_rate: fn(*mut c_void, u32, u32, *mut f32, *mut Error) -> i32;
    pm_digits: fn(*mut c_void, *const c_void, u32, u32, *mut i32, *mut Error) -> i32;
}
