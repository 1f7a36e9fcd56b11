//! The NVIDIA driver, asked before ICICLE's CUDA backend is loaded.
//!
//! Without a driver that backend kills the process while it is being loaded (a static initialiser throws), or claims
//! that a device is there and computes on the processor. So the driver itself must show the card first.

use std::ffi::{c_char, c_int, c_uint};

use libloading::Library;
use prover::DeviceInfo;

use crate::Error;

const LIBRARY: &str = "libcuda.so.1";

type Init = unsafe extern "C" fn(c_uint) -> c_int;
type GetInt = unsafe extern "C" fn(*mut c_int) -> c_int;
type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
type GetUuid = unsafe extern "C" fn(*mut [u8; 16], c_int) -> c_int;
type TotalMem = unsafe extern "C" fn(*mut usize, c_int) -> c_int;

/// The card with this ordinal, as the driver describes it.
///
/// # Errors
/// [`Error::Driver`], [`Error::NoCard`].
pub(crate) fn probe(ordinal: u32) -> Result<DeviceInfo, Error> {
    // SAFETY: loading the driver runs its initialisers, as every CUDA program does.
    let driver = unsafe { Library::new(LIBRARY) }
        .map_err(|error| Error::Driver(format!("the NVIDIA driver is not here ({error})")))?;
    // The driver stays loaded: it starts threads and does not expect to be unloaded.
    let driver: &'static Library = Box::leak(Box::new(driver));
    // SAFETY: the types are those of the CUDA driver API, and every pointer below is to a value that outlives its call.
    unsafe {
        let init: Init = function(driver, "cuInit")?;
        check("cuInit", init(0))?;
        let mut count = 0;
        let get_count: GetInt = function(driver, "cuDeviceGetCount")?;
        check("cuDeviceGetCount", get_count(&raw mut count))?;
        let count = u32::try_from(count).unwrap_or_default();
        if count == 0 {
            return Err(Error::Driver("the NVIDIA driver shows no card".to_owned()));
        }
        let wanted = c_int::try_from(ordinal).ok().filter(|_| ordinal < count);
        let Some(wanted) = wanted else { return Err(Error::NoCard { device: ordinal, count }) };
        let mut card = 0;
        let get: Get = function(driver, "cuDeviceGet")?;
        check("cuDeviceGet", get(&raw mut card, wanted))?;
        Ok(describe(driver, card))
    }
}

/// What the driver tells about a card; what it does not tell is left empty.
///
/// # Safety
/// `driver` is the CUDA driver, initialised, and `card` a handle of it.
unsafe fn describe(driver: &'static Library, card: c_int) -> DeviceInfo {
    let (mut name, mut uuid, mut memory, mut version) = ([0 as c_char; 256], [0_u8; 16], 0_usize, 0);
    // SAFETY: the caller vouches for driver and card; the buffers have the sizes that are passed.
    unsafe {
        if let Ok(get_name) = function::<GetName>(driver, "cuDeviceGetName") {
            get_name(name.as_mut_ptr(), 255, card);
        }
        let get_uuid = function::<GetUuid>(driver, "cuDeviceGetUuid_v2")
            .or_else(|_| function::<GetUuid>(driver, "cuDeviceGetUuid"));
        if let Ok(get_uuid) = get_uuid {
            get_uuid(&raw mut uuid, card);
        }
        if let Ok(total) = function::<TotalMem>(driver, "cuDeviceTotalMem_v2") {
            total(&raw mut memory, card);
        }
        if let Ok(get_version) = function::<GetInt>(driver, "cuDriverGetVersion") {
            get_version(&raw mut version);
        }
    }
    let name: Vec<u8> = name.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned()).collect();
    DeviceInfo {
        name: String::from_utf8_lossy(&name).into_owned(),
        uuid: uuid_text(&uuid),
        memory: memory as u64,
        versions: format!("CUDA driver {}.{}, ICICLE", version / 1000, version % 1000 / 10),
    }
}

/// # Safety
/// `T` is the type of that function.
unsafe fn function<T: Copy>(driver: &'static Library, name: &str) -> Result<T, Error> {
    // SAFETY: the caller vouches for the type; the library is never unloaded.
    unsafe { driver.get::<T>(name.as_bytes()) }
        .map(|symbol| *symbol)
        .map_err(|_| Error::Driver(format!("{LIBRARY} has no {name}")))
}

fn check(call: &str, code: c_int) -> Result<(), Error> {
    match code {
        0 => Ok(()),
        100 => Err(Error::Driver("the NVIDIA driver shows no card".to_owned())),
        _ => Err(Error::Driver(format!("{call} of the NVIDIA driver failed with {code}"))),
    }
}

/// As NVML writes it: `GPU-` and 8-4-4-4-12 hexadecimal digits; empty when there is none.
fn uuid_text(uuid: &[u8; 16]) -> String {
    if *uuid == [0; 16] {
        return String::new();
    }
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("GPU-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
