//! Finding and loading the user's ICICLE.
//!
//! Order of the search: the folder in the settings, `$ICICLE_FRONTEND_INSTALL_DIR`, `$ICICLE_INSTALL_DIR/lib`,
//! `/opt/icicle/lib`, the loader's own path. Device, field and curve library are loaded in this order and into the global
//! scope, because each needs symbols of the one before and their run paths point to where they were built. They stay
//! loaded for the life of the process: their static objects do not survive being unloaded.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::abi::{CurveApi, Device, DeviceApi, FieldApi, SUCCESS};
use crate::{Error, Kind, Settings};

const DEVICE: &str = "libicicle_device.so";
const FIELD: &str = "libicicle_field_bn254.so";
const CURVE: &str = "libicicle_curve_bn254.so";
const DEFAULT_FOLDER: &str = "/opt/icicle/lib";

/// A library that stays loaded.
pub(crate) struct Loaded {
    name: String,
    library: &'static Library,
}

impl Loaded {
    fn open(folder: Option<&Path>, file: &str) -> Result<Self, Error> {
        let path = folder.map_or_else(|| PathBuf::from(file), |folder| folder.join(file));
        let name = path.display().to_string();
        // SAFETY: loading runs the initialisers of a library that the operator of this machine chose.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }
            .map_err(|error| Error::Load { library: name.clone(), reason: error.to_string() })?;
        Ok(Self { name, library: Box::leak(Box::new(library)) })
    }

    /// # Safety
    /// `T` is the type of that function.
    pub(crate) unsafe fn symbol<T: Copy>(&self, symbol: &'static str) -> Result<T, Error> {
        // SAFETY: the caller vouches for the type; the library is never unloaded.
        unsafe { self.library.get::<T>(symbol.as_bytes()) }
            .map(|symbol| *symbol)
            .map_err(|_| Error::Symbol { library: self.name.clone(), symbol })
    }

    fn has(&self, symbol: &str) -> bool {
        // SAFETY: the address is looked at and not used.
        unsafe { self.library.get::<*const ()>(symbol.as_bytes()) }.is_ok()
    }
}

/// ICICLE's functions, ready to be called.
pub(crate) struct Api {
    pub(crate) device: DeviceApi,
    pub(crate) field: FieldApi,
    pub(crate) curve: CurveApi,
    /// Oldest version that has what this one has.
    pub(crate) version: &'static str,
}

impl Api {
    /// Finds and loads ICICLE; `variable` reads the environment.
    ///
    /// The CUDA backend is loaded too when that device is wanted: the caller has probed the driver.
    pub(crate) fn load(
        settings: &Settings,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Error> {
        let folder = find(settings, &variable)?;
        let folder = folder.as_deref();
        let device = Loaded::open(folder, DEVICE)?;
        let field = Loaded::open(folder, FIELD)?;
        let curve = Loaded::open(folder, CURVE)?;
        if !field.has("bn254_vector_sum") {
            return Err(Error::TooOld);
        }
        // SAFETY: the names are ICICLE's and 3.1 or later was made sure of, since when these types have not changed.
        let api = unsafe {
            Self {
                device: DeviceApi::of(&device)?,
                field: FieldApi::of(&field)?,
                curve: CurveApi::of(&curve)?,
                version: version(&device, &field),
            }
        };
        if settings.kind == Kind::Cuda {
            api.load_backends(&backends(folder, &variable)?)?;
        }
        tracing::info!(library = %device.name, version = api.version, devices = api.registered(), "ICICLE is loaded");
        Ok(api)
    }

    fn load_backends(&self, folder: &Path) -> Result<(), Error> {
        let path =
            CString::new(folder.as_os_str().as_bytes()).map_err(|_| Error::NoBackends(folder.to_owned()))?;
        // SAFETY: the path is a C string that outlives the call.
        let code = unsafe { (self.device.load_backend)(path.as_ptr(), true) };
        if code == SUCCESS { Ok(()) } else { Err(Error::Call { call: "icicle_load_backend", code }) }
    }

    /// Names of the devices that ICICLE knows, for people.
    fn registered(&self) -> String {
        let mut names = [0_u8; 512];
        // SAFETY: the buffer has one byte more than is passed, which stays zero.
        let code = unsafe { (self.device.registered)(names.as_mut_ptr().cast(), names.len() - 1) };
        let end = names.iter().position(|byte| *byte == 0).unwrap_or_default();
        if code == SUCCESS { String::from_utf8_lossy(&names[..end]).into_owned() } else { String::new() }
    }

    /// Whether ICICLE knows the device. That there is one it does not say.
    pub(crate) fn knows(&self, device: &Device) -> bool {
        // SAFETY: the device outlives the call.
        unsafe { (self.device.is_available)(device) == SUCCESS }
    }
}

/// There is no version symbol: later versions are known by functions that they added.
fn version(device: &Loaded, field: &Loaded) -> &'static str {
    if field.has("bn254_generate_random") {
        "4.0"
    } else if field.has("bn254_vector_inv") {
        "3.7"
    } else if device.has("icicle_set_default_device") {
        "3.4"
    } else {
        "3.1"
    }
}

/// The folder of the libraries; `None` leaves the search to the loader.
fn find(settings: &Settings, variable: &impl Fn(&str) -> Option<OsString>) -> Result<Option<PathBuf>, Error> {
    let candidates: Vec<PathBuf> = match &settings.library {
        Some(folder) => vec![folder.clone()],
        None => {
            let named = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            let frontend = named("ICICLE_FRONTEND_INSTALL_DIR");
            let install = named("ICICLE_INSTALL_DIR").map(|folder| folder.join("lib"));
            frontend.into_iter().chain(install).chain([PathBuf::from(DEFAULT_FOLDER)]).collect()
        }
    };
    if let Some(folder) = candidates.iter().find(|folder| folder.join(DEVICE).is_file()) {
        return Ok(Some(folder.clone()));
    }
    // SAFETY: loading runs the initialisers of a library that the operator of this machine put on the loader's path.
    let on_path =
        settings.library.is_none() && unsafe { Library::open(Some(DEVICE), RTLD_NOW | RTLD_GLOBAL) }.is_ok();
    if on_path {
        return Ok(None);
    }
    let searched: Vec<String> = candidates.iter().map(|folder| folder.display().to_string()).collect();
    Err(Error::NotFound { searched: searched.join(", ") })
}

/// The folder of the backends: `$ICICLE_BACKEND_INSTALL_DIR`, else `backend` next to the libraries, else the default.
fn backends(folder: Option<&Path>, variable: &impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Error> {
    let named = variable("ICICLE_BACKEND_INSTALL_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    let beside = folder.map(|folder| folder.join("backend")).filter(|folder| folder.is_dir());
    let backends = named.or(beside).unwrap_or_else(|| Path::new(DEFAULT_FOLDER).join("backend"));
    // ICICLE itself reports success for a folder that is not there.
    if backends.is_dir() { Ok(backends) } else { Err(Error::NoBackends(backends)) }
}
