//! What goes wrong on the way to a card and on it ends as a sentence. The simulated card fails as it is told to, so these run
//! on it only.

use std::ffi::{CString, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bn254::{Curve, Domain, G1Affine, msm_g1};
use cuda::kernels::TransformKind;
use cuda::{Context, CudaBackend, Library, LibraryError, Settings};
use prover::{Backend, Cancel, Prover, synthesize_witness};

use crate::card::{context, exclusive, host_library, is_real};
use crate::groth16::{Chain, key_of, settings};
use crate::samples::{points, witness_scalars};

/// Puts the simulated card back when dropped.
struct Simulated(libloading::Library);

impl Simulated {
    fn with(settings: &[(&str, i64)]) -> Self {
        // SAFETY: the library is ours and was loaded before.
        let simulated = Self(unsafe { libloading::Library::new(host_library()) }.unwrap());
        settings.iter().for_each(|(name, value)| simulated.set(name, *value));
        simulated
    }

    fn set(&self, name: &str, value: i64) {
        let name = CString::new(name).unwrap();
        // SAFETY: the function has this type in runtime_host.cpp.
        unsafe {
            let set = self.0.get::<unsafe extern "C" fn(*const i8, i64)>(b"pm_host_set\0").unwrap();
            set(name.as_ptr(), value);
        }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        for (name, value) in
            [("MEMORY", 0), ("FAIL_LAUNCH", -1), ("LOST", 0), ("CORRUPT", 0), ("DEVICES", 1), ("ORDER", 0)]
        {
            self.set(name, value);
        }
    }
}

const CHAIN: Chain = Chain { steps: 60, start: Some(5) };

fn prover() -> Prover {
    let (matrices, key) = key_of(CHAIN);
    Prover::new(Arc::new(CudaBackend::open(&settings()).unwrap()), key, matrices).unwrap()
}

#[test]
fn a_missing_library_says_where_it_was_looked_for_and_how_to_make_it() {
    let error = Library::load(Some(Path::new("/nowhere/libproofmill_cuda.so"))).unwrap_err();
    assert!(matches!(error, LibraryError::Missing { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("/nowhere/libproofmill_cuda.so") && text.contains("cuda/build.sh"), "{text}");
}

#[test]
fn another_library_is_refused() {
    if is_real() {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("other");
    std::fs::create_dir_all(&folder).unwrap();
    let build = |name: &str, source: &str| {
        let (code, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
        std::fs::write(&code, source).unwrap();
        let cc =
            Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status().unwrap();
        assert!(cc.success());
        library
    };
    let newer = build("newer", "unsigned pm_abi_version(void) { return 999; }");
    let error = Library::load(Some(&newer)).unwrap_err();
    assert!(matches!(error, LibraryError::OtherVersion { found: 999, .. }), "{error}");
    let stranger = build("stranger", "int something(void) { return 1; }");
    let error = Library::load(Some(&stranger)).unwrap_err();
    assert!(matches!(error, LibraryError::OtherVersion { found: 0, .. }), "{error}");
    let partial = build("partial", "unsigned pm_abi_version(void) { return 1; }");
    let error = Library::load(Some(&partial)).unwrap_err();
    assert!(matches!(error, LibraryError::OtherVersion { .. }), "{error}");
}

/// `PROOFMILL_CUDA_BUILT` names the library for real cards, where it was built.
#[test]
fn the_library_for_real_cards_loads_without_a_driver_and_says_that_there_is_none() {
    let Some(built) = std::env::var_os("PROOFMILL_CUDA_BUILT") else {
        eprintln!("not checked: set PROOFMILL_CUDA_BUILT to the library that `cuda/build.sh` makes");
        return;
    };
    let library = Library::load(Some(Path::new(&built))).unwrap();
    // SAFETY: the driver's own initialisers run, as they would for any program that uses it.
    if unsafe { libloading::Library::new("libcuda.so.1") }.is_ok() {
        return;
    }
    let error = Context::open(library, 0).err().unwrap();
    assert!(matches!(error, LibraryError::NoDevice(_)), "{error}");
    assert!(error.to_string().contains("driver"), "{error}");
}

#[test]
fn a_card_that_does_not_exist_is_refused() {
    if is_real() {
        return;
    }
    let _guard = exclusive();
    let error = CudaBackend::open(&Settings { device: 7, ..settings() }).err().unwrap();
    assert!(error.to_string().contains("no card 7"), "{error}");
    let _none = Simulated::with(&[("DEVICES", 0)]);
    let library = Library::load(Some(host_library())).unwrap();
    assert!(matches!(library.device_count(), Err(LibraryError::NoDevice(_))));
    assert!(matches!(Context::open(library, 0), Err(LibraryError::NoDevice(_))));
}

#[test]
fn a_key_that_does_not_fit_says_what_it_takes() {
    if is_real() {
        return;
    }
    let _guard = exclusive();
    let (matrices, key) = key_of(CHAIN);
    let backend = CudaBackend::open(&Settings { memory_limit: 1 << 20, ..settings() }).unwrap();
    let error = backend.prepare(Arc::clone(&key), Arc::clone(&matrices)).unwrap_err();
    assert!(error.to_string().contains("PM-CUDA-004") && error.to_string().contains("MiB"), "{error}");
    // A card that is full although the plan fits: nothing is kept, and later the key fits.
    let backend = CudaBackend::open(&Settings { memory_limit: 1 << 33, ..settings() }).unwrap();
    let full = Simulated::with(&[("MEMORY", 1 << 20)]);
    let error = backend.prepare(Arc::clone(&key), Arc::clone(&matrices)).unwrap_err();
    assert!(error.to_string().contains("no memory left"), "{error}");
    drop(full);
    backend.prepare(key, matrices).unwrap();
}

#[test]
fn any_launch_may_fail_and_the_next_proof_is_right() {
    if is_real() {
        return;
    }
    let _guard = exclusive();
    let prover = prover();
    let witness = synthesize_witness(CHAIN).unwrap();
    let mut failed = 0;
    for launch in (0..400).step_by(3) {
        let simulated = Simulated::with(&[("FAIL_LAUNCH", launch)]);
        let result = prover.prove(&witness, &Cancel::new());
        drop(simulated);
        if let Err(error) = result {
            assert!(error.to_string().contains("as it was told to"), "{error}");
            failed += 1;
        }
        prover.prove(&witness, &Cancel::new()).unwrap();
    }
    assert!(failed > 10, "only {failed} launches failed: the proof has fewer than it should");
}

#[test]
fn results_do_not_depend_on_the_order_of_threads_between_two_barriers() {
    if is_real() {
        return;
    }
    let _guard = exclusive();
    let prover = prover();
    let witness = synthesize_witness(CHAIN).unwrap();
    let points = points::<G1Affine>(1500, 31);
    let scalars = witness_scalars(1500, 32);
    let sum = msm_g1(&points, &scalars).to_affine();
    let domain = Domain::new(11).unwrap();
    for order in [0, 1, 12_345, 99_991] {
        let _simulated = Simulated::with(&[("ORDER", order)]);
        prover.prove(&witness, &Cancel::new()).unwrap();
        assert_eq!(context().bases(&points, 0, 0).unwrap().sum(&scalars).unwrap().value, sum);
        let values = witness_scalars(domain.size(), 33);
        let (mut found, mut wanted) = (values.clone(), values);
        context().transform(TransformKind::ToCoset, &domain, &mut found).unwrap();
        domain.shift_to_coset(&mut wanted);
        assert!(found == wanted, "order {order}");
    }
}

#[test]
fn every_function_refuses_null_pointers() {
    if is_real() {
        return;
    }
    // SAFETY: the library is ours; the functions have these types in the header and check their pointers.
    unsafe {
        let library = libloading::Library::new(host_library()).unwrap();
        let null = std::ptr::null_mut::<c_void>;
        type One = unsafe extern "C" fn(*mut c_void);
        for name in ["pm_close", "pm_key_free", "pm_witness_free", "pm_bases_free"] {
            library.get::<One>(name.as_bytes()).unwrap()(null());
        }
        type Two = unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32;
        assert_eq!(library.get::<Two>(b"pm_device_count").unwrap()(null(), null()), 2);
        type Three = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> i32;
        for name in ["pm_describe", "pm_key_describe", "pm_witness_new", "pm_witness_upload"] {
            assert_eq!(library.get::<Three>(name.as_bytes()).unwrap()(null(), null(), null()), 2, "{name}");
        }
        type Four = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *mut c_void) -> i32;
        assert_eq!(library.get::<Four>(b"pm_key_load").unwrap()(null(), null(), null(), null()), 2);
        type Sum =
            unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *mut c_void, *mut c_void) -> i32;
        assert_eq!(library.get::<Sum>(b"pm_bases_sum").unwrap()(null(), null(), null(), null(), null()), 2);
        type Prove = unsafe extern "C" fn(
            *mut c_void,
            *mut c_void,
            *mut c_void,
            *mut c_void,
            *mut c_void,
            *mut c_void,
            *mut c_void,
        ) -> i32;
        let prove = library.get::<Prove>(b"pm_prove").unwrap();
        assert_eq!(prove(null(), null(), null(), null(), null(), null(), null()), 2);
    }
}

#[test]
fn a_lost_card_stays_lost_and_says_so() {
    if is_real() {
        return;
    }
    let _guard = exclusive();
    let prover = prover();
    let witness = synthesize_witness(CHAIN).unwrap();
    let simulated = Simulated::with(&[("LOST", 1), ("FAIL_LAUNCH", 5)]);
    for _ in 0..2 {
        let error = prover.prove(&witness, &Cancel::new()).unwrap_err();
        assert!(error.to_string().contains("PM-CUDA-006"), "{error}");
    }
    drop(simulated);
}

#[test]
fn a_card_that_spoils_every_third_proof_never_delivers_a_wrong_one() {
    if is_real() {
        return;
    }
    let _guard = exclusive();
    let prover = prover();
    let witness = synthesize_witness(CHAIN).unwrap();
    let _simulated = Simulated::with(&[("CORRUPT", 3)]);
    let refused = (0..9).filter(|_| prover.prove(&witness, &Cancel::new()).is_err()).count();
    assert_eq!(refused, 3);
}
