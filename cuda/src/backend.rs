//! [`prover::Backend`] on a card: keys stay on it, a witness goes up while another is proved.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bn254::{Field, Fr, G1, G1Affine, G2, G2Affine, ntt::Generator, raw};
use parking_lot::{Mutex, RwLock};
use prover::{
    Backend, BackendError, Cancel, DeviceInfo, Key, KeyId, Matrices, Staged, Sums, Timings, Witness,
};

use crate::{
    ffi,
    kernels::point,
    library::{Context, DeviceKey, DeviceWitness, Finished, Library, LibraryError},
};

const NAME: &str = "cuda";

/// Where the library is, which card to use, and how much of it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The library's file or folder; searched for when `None`.
    pub library: Option<PathBuf>,
    /// Number of the card in CUDA's order.
    pub device: u32,
    /// Bytes a key may take on the card; 0: nine tenths of what is free.
    pub memory_limit: u64,
    /// Multiples kept of each point; 0: as many as fit.
    pub max_copies: u32,
}

/// Field multiplications that the method needs for a proof (`pm_counts` in the header says how they are counted): what the
/// card needs beyond them is overhead.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sparse products, and C*w.
    pub sparse: u64,
    /// Transforms.
    pub ntt: u64,
    /// Sum A.
    pub msm_a: u64,
    /// Sum B in G1.
    pub msm_b1: u64,
    /// Sum B in G2, in multiplications of Fq.
    pub msm_b2: u64,
    /// Sum L.
    pub msm_l: u64,
    /// Sum H.
    pub msm_h: u64,
}

struct Prepared {
    key: Arc<DeviceKey>,
    inputs: usize,
    aux: usize,
    /// Room for witnesses that nobody uses now. It is kept: giving memory of the card back waits for all that runs there,
    /// and no witness could go up meanwhile.
    rooms: Mutex<Vec<DeviceWitness>>,
}

/// A witness on the card; its room goes back to the key when it is dropped.
struct Place {
    prepared: Arc<Prepared>,
    room: Option<DeviceWitness>,
}

impl Place {
    fn take(prepared: Arc<Prepared>) -> Result<Self, LibraryError> {
        let kept = prepared.rooms.lock().pop();
        let room = match kept {
            Some(room) => room,
            None => prepared.key.new_witness()?,
        };
        Ok(Self { prepared, room: Some(room) })
    }

    fn upload(&self, values: &[Fr]) -> Result<(), LibraryError> {
        self.room.iter().try_for_each(|room| room.upload(values))
    }

    fn prove(&self, cancel: &Cancel) -> Result<Finished, BackendError> {
        let gone = || LibraryError::Failed("the witness is not on the card".to_owned());
        let room = self.room.as_ref().ok_or_else(gone).map_err(refused)?;
        room.prove(cancel).map_err(refused)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rooms = self.prepared.rooms.lock();
        rooms.extend(self.room.take());
    }
}

/// The backend `cuda`.
pub struct CudaBackend {
    context: Arc<Context>,
    info: DeviceInfo,
    settings: Settings,
    prepared: RwLock<HashMap<KeyId, Arc<Prepared>>>,
    next: AtomicU64,
}

impl CudaBackend {
    /// Loads the library, opens the card and compares a few results with known ones.
    ///
    /// # Errors
    /// [`BackendError::Device`] without library, driver or card, or when the card computes wrongly.
    pub fn open(settings: &Settings) -> Result<Self, BackendError> {
        let library = Library::load(settings.library.as_deref()).map_err(refused)?;
        let context = Context::open(library, settings.device).map_err(refused)?;
        crate::self_test::run(&context).map_err(refused)?;
        let info = context.describe().map_err(refused)?;
        tracing::info!(device = info.name, uuid = info.uuid, versions = info.versions, "card opened");
        Ok(Self {
            context,
            info,
            settings: settings.clone(),
            prepared: RwLock::default(),
            next: AtomicU64::new(0),
        })
    }

    /// The card, for single kernels.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// What a prepared key takes on the card.
    pub fn key_info(&self, key: KeyId) -> Option<crate::library::KeyInfo> {
        self.get(key).ok()?.key.info().ok()
    }

    /// Proves once and returns how many multiplications the method needs for this witness, stage by stage.
    ///
    /// # Errors
    /// As [`Backend::prove`].
    pub fn count(&self, key: KeyId, witness: &Witness) -> Result<Counts, BackendError> {
        Ok(self.upload(key, witness)?.prove(&Cancel::new())?.counts)
    }

    fn get(&self, key: KeyId) -> Result<Arc<Prepared>, BackendError> {
        let prepared = self.prepared.read();
        prepared.get(&key).cloned().ok_or(BackendError::UnknownKey(key))
    }

    fn upload(&self, key: KeyId, witness: &Witness) -> Result<Place, BackendError> {
        let prepared = self.get(key)?;
        let (inputs, aux) = (witness.inputs().len(), witness.aux().len());
        let fits = inputs == prepared.inputs && aux == prepared.aux;
        if !fits || witness.inputs().first() != Some(&Fr::ONE) {
            return Err(BackendError::WitnessShape { inputs, aux });
        }
        let place = Place::take(prepared).map_err(refused)?;
        place.upload(witness.values()).map_err(refused)?;
        Ok(place)
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn device(&self) -> Option<DeviceInfo> {
        Some(self.info.clone())
    }

    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        if key.circuit() != matrices.digest() || key.domain_log() != matrices.domain_log() {
            return Err(BackendError::OtherCircuit);
        }
        if key.generator() != Generator::Seven {
            let reason = "a key in the order of iden3's programs is for the cpu backend".to_owned();
            return Err(BackendError::Device { backend: NAME, reason });
        }
        let Settings { memory_limit, max_copies, .. } = self.settings;
        let loaded = self.context.load_key(&key, &matrices, memory_limit, max_copies).map_err(refused)?;
        let id = KeyId(self.next.fetch_add(1, Ordering::Relaxed));
        let prepared =
            Arc::new(Prepared { key: loaded, inputs: key.inputs(), aux: key.aux(), rooms: Mutex::default() });
        self.prepared.write().insert(id, prepared);
        Ok(id)
    }

    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        cancel.check()?;
        let start = Instant::now();
        let place = self.upload(key, witness)?;
        finish(&place, cancel, start)
    }

    fn stage(&self, key: KeyId, witness: Arc<Witness>) -> Result<Staged, BackendError> {
        let place = self.upload(key, &witness)?;
        Ok(Staged { key, witness, place: Some(Box::new(place)) })
    }

    fn prove_staged(&self, staged: Staged, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        cancel.check()?;
        let start = Instant::now();
        match staged.place.and_then(|place| place.downcast::<Place>().ok()) {
            Some(place) => finish(&place, cancel, start),
            None => self.prove(staged.key, &staged.witness, cancel),
        }
    }

    fn release(&self, key: KeyId) {
        self.prepared.write().remove(&key);
    }
}

fn finish(place: &Place, cancel: &Cancel, start: Instant) -> Result<(Sums, Timings), BackendError> {
    let finished = place.prove(cancel)?;
    Ok((to_sums(&finished.sums), to_timings(&finished.times, start.elapsed())))
}

fn refused(error: LibraryError) -> BackendError {
    match error {
        LibraryError::Cancelled => BackendError::Cancelled,
        LibraryError::Lost(_) => BackendError::Lost { backend: NAME, reason: error.to_string() },
        error => BackendError::Device { backend: NAME, reason: error.to_string() },
    }
}

fn to_sums(sums: &ffi::Sums) -> Sums {
    // What the card returns may be anything: a point that is not on its curve becomes infinity, and no proof comes of it.
    let g1 = |bytes: &[u8]| {
        let point: G1Affine = point(bytes);
        if raw::is_valid_g1(&point) { G1::from(point) } else { G1::default() }
    };
    let b2: G2Affine = point(&sums.b2);
    let b2 = if raw::is_valid_g2(&b2) { G2::from(b2) } else { G2::default() };
    Sums { a: g1(&sums.a), b1: g1(&sums.b1), b2, l: g1(&sums.l), h: g1(&sums.h) }
}

fn to_timings(times: &ffi::Timings, total: Duration) -> Timings {
    let duration = |milliseconds: f32| Duration::try_from_secs_f32(milliseconds / 1e3).unwrap_or_default();
    Timings {
        sparse: duration(times.sparse),
        ntt: duration(times.ntt),
        msm_a: duration(times.msm_a),
        msm_b1: duration(times.msm_b1),
        msm_b2: duration(times.msm_b2),
        msm_l: duration(times.msm_l),
        msm_h: duration(times.msm_h),
        total,
    }
}
