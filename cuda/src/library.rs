//! Finding and loading `libproofmill_cuda.so`, and its functions as safe Rust functions.
//!
//! Invariants: handles are freed before what they belong to (they hold it by [`Arc`]); every pointer that crosses has the
//! length that the function reads or writes, checked here.

use std::ffi::{c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use bn254::raw::{self, Limbs};
use bn254::{Domain, Fr};
use prover::{Cancel, DeviceInfo, Key, Matrices};

use crate::backend::Counts;
use crate::ffi::{self, Functions};

/// The name of the library's file.
pub const FILE_NAME: &str = "libproofmill_cuda.so";
/// Names a library file or its folder.
pub const VARIABLE: &str = "PROOFMILL_CUDA_LIBRARY";

/// Why the library did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// No library.
    #[error(
        "PM-CUDA-001: {FILE_NAME} was not found ({tried}); build it with `cuda/build.sh`, put it beside the program, or \
         set {VARIABLE}"
    )]
    Missing {
        /// What was tried, with the reasons.
        tried: String,
    },
    /// A library of another release.
    #[error(
        "PM-CUDA-002: {path} has interface {found}, this program needs {expected}; build it from the same release",
        expected = ffi::ABI_VERSION
    )]
    OtherVersion {
        /// The file.
        path: String,
        /// Its version; 0 when it says none.
        found: u32,
    },
    /// No driver or card.
    #[error("PM-CUDA-003: no card can be used: {0}; install NVIDIA's driver, or prove on the CPU")]
    NoDevice(String),
    /// Not enough memory on the card.
    #[error("PM-CUDA-004: {0}; free memory of the card or leave a circuit out")]
    OutOfMemory(String),
    /// The wish of the caller.
    #[error("PM-CUDA-005: cancelled")]
    Cancelled,
    /// The card or its context cannot be used any more by this process.
    #[error("PM-CUDA-006: the card is lost for this process: {0}; start the process again")]
    Lost(String),
    /// Anything else.
    #[error("PM-CUDA-007: {0}")]
    Failed(String),
}

/// The loaded library.
pub struct Library {
    functions: Functions,
    path: String,
    // Dropped last: the functions are its.
    _library: libloading::Library,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Library({})", self.path)
    }
}

impl Library {
    /// Loads the library from `path`; without one from the file or folder in `PROOFMILL_CUDA_LIBRARY`, beside the running
    /// program, or from where the system looks.
    ///
    /// # Errors
    /// [`LibraryError::Missing`], [`LibraryError::OtherVersion`].
    pub fn load(path: Option<&Path>) -> Result<Arc<Self>, LibraryError> {
        let mut tried = Vec::new();
        for candidate in candidates(path) {
            match Self::open(&candidate) {
                Ok(library) => return Ok(Arc::new(library)),
                Err(Refusal::NotLoaded(reason)) => tried.push(reason),
                Err(Refusal::Other(error)) => return Err(error),
            }
        }
        Err(LibraryError::Missing { tried: tried.join("; ") })
    }

    fn open(path: &Path) -> Result<Self, Refusal> {
        // SAFETY: the file is the operator's choice; its initialisers are those of the static CUDA runtime, which do nothing
        // before the first call.
        let library = unsafe { libloading::Library::new(path) }
            .map_err(|error| Refusal::NotLoaded(format!("{}: {error}", path.display())))?;
        let other =
            |found| Refusal::Other(LibraryError::OtherVersion { path: path.display().to_string(), found });
        // SAFETY: a function of this name has this type in every version of the interface.
        let version = unsafe {
            library.get::<unsafe extern "C" fn() -> u32>(b"pm_abi_version\0").map(|version| version())
        };
        match version {
            Ok(ffi::ABI_VERSION) => {}
            Ok(found) => return Err(other(found)),
            Err(_) => return Err(other(0)),
        }
        // SAFETY: the version says that the interface is ours.
        let functions = unsafe { Functions::load(&library) }.map_err(|_| other(ffi::ABI_VERSION))?;
        Ok(Self { functions, path: path.display().to_string(), _library: library })
    }

    /// Number of cards, at least one.
    ///
    /// # Errors
    /// [`LibraryError::NoDevice`].
    pub fn device_count(&self) -> Result<u32, LibraryError> {
        let mut count = 0;
        // SAFETY: both pointers are to live values.
        self.call(|error| unsafe { (self.functions.pm_device_count)(&mut count, error) })?;
        Ok(count)
    }

    fn call(&self, work: impl FnOnce(*mut ffi::Error) -> i32) -> Result<(), LibraryError> {
        let mut error = ffi::Error { code: 0, message: [0; 508] };
        let code = work(&mut error);
        if code == ffi::OK {
            return Ok(());
        }
        let message = text(&error.message);
        Err(match code {
            ffi::NO_DEVICE => LibraryError::NoDevice(message),
            ffi::OUT_OF_MEMORY => LibraryError::OutOfMemory(message),
            ffi::CANCELLED => LibraryError::Cancelled,
            ffi::LOST => LibraryError::Lost(message),
            _ => LibraryError::Failed(message),
        })
    }
}

enum Refusal {
    NotLoaded(String),
    Other(LibraryError),
}

fn candidates(path: Option<&Path>) -> Vec<PathBuf> {
    let file_in = |path: PathBuf| if path.is_dir() { path.join(FILE_NAME) } else { path };
    if let Some(path) = path {
        return vec![file_in(path.to_owned())];
    }
    if let Some(path) = std::env::var_os(VARIABLE) {
        return vec![file_in(path.into())];
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(FILE_NAME)));
    beside.into_iter().chain([PathBuf::from(FILE_NAME)]).collect()
}

/// The text up to the first zero.
fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|c| **c != 0).map(|c| c.cast_unsigned()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An object of the library, freed when dropped.
pub(crate) struct Handle {
    pointer: NonNull<c_void>,
    free: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the library's objects may be used and freed by any thread: it chooses the card for the calling thread in every call
// and serialises what must not run at once.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    pub(crate) fn new(
        pointer: *mut c_void,
        free: unsafe extern "C" fn(*mut c_void),
    ) -> Result<Self, LibraryError> {
        let pointer = NonNull::new(pointer)
            .ok_or_else(|| LibraryError::Failed("the library returned no object".to_owned()))?;
        Ok(Self { pointer, free })
    }

    pub(crate) fn get(&self) -> *mut c_void {
        self.pointer.as_ptr()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the object is freed once, here, before what it belongs to.
        unsafe { (self.free)(self.pointer.as_ptr()) }
    }
}

/// One card, ready to compute.
pub struct Context {
    // Dropped before the library.
    handle: Handle,
    library: Arc<Library>,
}

/// What a key takes on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Bytes with the workspace.
    pub bytes: u64,
    /// Multiples of each point of H that are kept.
    pub copies: u32,
    /// Bits of a window of the sum over H.
    pub window_bits: u32,
}

/// A key on the card.
pub struct DeviceKey {
    handle: Handle,
    context: Arc<Context>,
    variables: usize,
}

/// Room for one witness on the card.
pub struct DeviceWitness {
    handle: Handle,
    key: Arc<DeviceKey>,
}

/// What the library returns for a proof.
pub(crate) struct Finished {
    pub(crate) sums: ffi::Sums,
    pub(crate) times: ffi::Timings,
    pub(crate) counts: Counts,
}

impl Context {
    /// Opens card `device` (CUDA's number, from 0).
    ///
    /// # Errors
    /// [`LibraryError::NoDevice`].
    pub fn open(library: Arc<Library>, device: u32) -> Result<Arc<Self>, LibraryError> {
        let mut pointer = ptr::null_mut();
        // SAFETY: both pointers are to live values.
        library.call(|error| unsafe { (library.functions.pm_open)(device, &mut pointer, error) })?;
        let handle = Handle::new(pointer, library.functions.pm_close)?;
        Ok(Arc::new(Self { handle, library }))
    }

    /// Model, identity, memory and versions.
    ///
    /// # Errors
    /// [`LibraryError::Lost`].
    pub fn describe(&self) -> Result<DeviceInfo, LibraryError> {
        let mut device = ffi::Device {
            name: [0; 256],
            uuid: [0; 48],
            total_memory: 0,
            free_memory: 0,
            multiprocessors: 0,
            driver: 0,
            runtime: 0,
        };
        // SAFETY: the context lives, the others are live values.
        self.call(|f, error| unsafe { (f.pm_describe)(self.handle.get(), &mut device, error) })?;
        let version = |number: i32| format!("{}.{}", number / 1000, number % 1000 / 10);
        Ok(DeviceInfo {
            name: text(&device.name),
            uuid: text(&device.uuid),
            memory: device.total_memory,
            versions: format!(
                "driver for CUDA {}, runtime {}",
                version(device.driver),
                version(device.runtime)
            ),
        })
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.handle.get()
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.library.functions
    }

    pub(crate) fn call(
        &self,
        work: impl FnOnce(&Functions, *mut ffi::Error) -> i32,
    ) -> Result<(), LibraryError> {
        self.library.call(|error| work(&self.library.functions, error))
    }

    /// Copies a key to the card. `memory_limit` 0 takes what is free, `max_copies` 0 as many multiples as fit.
    ///
    /// # Errors
    /// [`LibraryError::OutOfMemory`] when it does not fit, [`LibraryError::Failed`] for key and matrices that do not belong
    /// together.
    pub fn load_key(
        self: &Arc<Self>,
        key: &Key,
        matrices: &Matrices,
        memory_limit: u64,
        max_copies: u32,
    ) -> Result<Arc<DeviceKey>, LibraryError> {
        let failed = |reason: &str| LibraryError::Failed(reason.to_owned());
        let size = |value: usize| u32::try_from(value).map_err(|_| failed("the circuit has over 2^32 parts"));
        if key.variables() != matrices.variables()
            || key.inputs() != matrices.inputs()
            || key.constraints() != matrices.constraints()
            || key.h().len() != 1 << key.domain_log()
            || key.l().len() != key.aux()
        {
            return Err(failed("the key and the matrices are of different circuits"));
        }
        let domain =
            Domain::new(key.domain_log()).map_err(|error| LibraryError::Failed(error.to_string()))?;
        let parts = ffi::KeyParts {
            inputs: size(key.inputs())?,
            variables: size(key.variables())?,
            constraints: size(key.constraints())?,
            domain_log: key.domain_log(),
            coset_shift: element_bytes(&domain.coset_shift()),
            size_inverse: element_bytes(&domain.size_inverse()),
            a_len: size(key.a().len())?,
            b_len: size(key.b1().len())?,
            a_columns: key.a_columns().as_ptr(),
            b_columns: key.b_columns().as_ptr(),
            a: pointer(key.a()),
            b1: pointer(key.b1()),
            b2: pointer(key.b2()),
            l: pointer(key.l()),
            h: pointer(key.h()),
            matrix_a: matrix(matrices.a())?,
            matrix_b: matrix(matrices.b())?,
            table: pointer(matrices.table()),
            table_len: size(matrices.table().len())?,
            max_copies,
            memory_limit,
        };
        let mut loaded = ptr::null_mut();
        // SAFETY: all slices have the lengths that the parts name (a_columns and a, b_columns and b1 and b2 have equal lengths
        // in every checked key; the others were compared above) and live through the call.
        self.call(|f, error| unsafe { (f.pm_key_load)(self.handle.get(), &parts, &mut loaded, error) })?;
        let handle = Handle::new(loaded, self.library.functions.pm_key_free)?;
        Ok(Arc::new(DeviceKey { handle, context: Arc::clone(self), variables: key.variables() }))
    }
}

pub(crate) fn element_bytes(value: &Fr) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(raw::as_bytes(std::slice::from_ref(value)));
    bytes
}

pub(crate) fn pointer<T: Limbs>(values: &[T]) -> *const c_void {
    values.as_ptr().cast()
}

pub(crate) fn matrix(matrix: &prover::matrices::SparseMatrix) -> Result<ffi::Matrix, LibraryError> {
    let rows = u32::try_from(matrix.row_count())
        .map_err(|_| LibraryError::Failed("a matrix has over 2^32 rows".to_owned()))?;
    Ok(ffi::Matrix {
        rows,
        row_ends: matrix.row_ends().as_ptr(),
        columns: matrix.columns().as_ptr(),
        coefficients: matrix.coefficients().as_ptr(),
    })
}

impl DeviceKey {
    /// What it takes on the card.
    ///
    /// # Errors
    /// [`LibraryError::Failed`].
    pub fn info(&self) -> Result<KeyInfo, LibraryError> {
        let mut info = ffi::KeyInfo::default();
        // SAFETY: the key lives, the others are live values.
        self.context.call(|f, error| unsafe { (f.pm_key_describe)(self.handle.get(), &mut info, error) })?;
        Ok(KeyInfo { bytes: info.bytes, copies: info.copies, window_bits: info.window_bits })
    }

    /// Room for a witness.
    ///
    /// # Errors
    /// [`LibraryError::OutOfMemory`].
    pub fn new_witness(self: &Arc<Self>) -> Result<DeviceWitness, LibraryError> {
        let mut witness = ptr::null_mut();
        self.context.call(|f, error| {
            // SAFETY: the key lives, the others are live values.
            unsafe { (f.pm_witness_new)(self.handle.get(), &mut witness, error) }
        })?;
        let handle = Handle::new(witness, self.context.library.functions.pm_witness_free)?;
        Ok(DeviceWitness { handle, key: Arc::clone(self) })
    }
}

impl DeviceWitness {
    /// Copies the values of all variables to the card; another witness may be proved meanwhile.
    ///
    /// # Errors
    /// [`LibraryError::Failed`] when their number is not the key's; [`LibraryError::Lost`].
    pub fn upload(&self, values: &[Fr]) -> Result<(), LibraryError> {
        if values.len() != self.key.variables {
            return Err(LibraryError::Failed(
                "the witness has another number of values than the key".to_owned(),
            ));
        }
        // SAFETY: the slice has the length that the library reads, which was compared above.
        self.key
            .context
            .call(|f, error| unsafe { (f.pm_witness_upload)(self.handle.get(), pointer(values), error) })
    }

    /// The sums for the uploaded witness. `cancel` is looked at between stages.
    pub(crate) fn prove(&self, cancel: &Cancel) -> Result<Finished, LibraryError> {
        let mut sums = ffi::Sums { a: [0; 64], b1: [0; 64], b2: [0; 128], l: [0; 64], h: [0; 64] };
        let (mut times, mut counts) = (ffi::Timings::default(), Counts::default());
        let cancel: *const bool = cancel.flag().as_ptr();
        // SAFETY: key and witness live; the flag outlives the call and is only read, one byte at a time, which no store to it can
        // tear; the others are live values.
        self.key.context.call(|f, error| unsafe {
            (f.pm_prove)(
                self.key.handle.get(),
                self.handle.get(),
                cancel,
                &mut sums,
                &mut times,
                &mut counts,
                error,
            )
        })?;
        Ok(Finished { sums, times, counts })
    }
}
