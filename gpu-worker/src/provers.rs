//! The circuits on the worker's backend: loads keys and lets them go as [`Residency`] says.
//!
//! Whoever uses a circuit holds a [`Lease`], and a leased key is never let go. Taking one may load a key, seconds to minutes
//! of work, so it belongs on a blocking thread.

use std::{
    collections::HashMap,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use circuits::shape::Shape;
use parking_lot::{Condvar, Mutex};
use prover::{Backend, CpuBackend, Prover};
use wire::CircuitSupport;

use crate::{
    circuit::{Circuit, LoadError},
    residency::{Admission, Residency, Size},
};

/// Where a circuit comes from when it is needed again.
#[derive(Clone)]
pub enum Source {
    Folder(PathBuf),
    /// Somebody else in this process holds it anyway.
    Shared(Circuit),
}

/// A circuit on the worker's backend, and on the processor once a proof needs that.
pub struct Loaded {
    circuit: Circuit,
    pub device: Arc<Prover>,
    processor: OnceLock<Prover>,
}

impl Loaded {
    fn new(circuit: Circuit, backend: &Arc<dyn Backend>) -> Result<Self, LoadError> {
        let device = Arc::new(circuit.prover(backend)?);
        Ok(Self { circuit, device, processor: OnceLock::new() })
    }

    /// Shares key and matrices with the device's, so it costs little memory until it proves.
    pub fn processor(&self) -> Result<&Prover, LoadError> {
        if let Some(prover) = self.processor.get() {
            return Ok(prover);
        }
        let backend: Arc<dyn Backend> = Arc::new(CpuBackend::new());
        let prover = self.circuit.prover(&backend)?;
        Ok(self.processor.get_or_init(|| prover))
    }
}

struct Slots {
    residency: Residency,
    loaded: HashMap<Shape, Arc<Loaded>>,
}

struct Shared {
    backend: Arc<dyn Backend>,
    sources: HashMap<Shape, Source>,
    slots: Mutex<Slots>,
    released: Condvar,
}

#[derive(Clone)]
pub struct Provers(Arc<Shared>);

/// A circuit in use.
pub struct Lease {
    loaded: Option<Arc<Loaded>>,
    shape: Shape,
    shared: Arc<Shared>,
}

impl Deref for Lease {
    type Target = Option<Arc<Loaded>>;

    fn deref(&self) -> &Self::Target {
        &self.loaded
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // First the reference, so that who evicts it next frees it.
        let loaded = self.loaded.take().is_some();
        let mut slots = self.shared.slots.lock();
        if loaded {
            slots.residency.release(self.shape);
        } else {
            slots.residency.not_loaded(self.shape);
        }
        drop(slots);
        self.shared.released.notify_all();
    }
}

impl Provers {
    /// Checks every circuit, and keeps as many as `limit` bytes allow, the first named first. Blocks.
    ///
    /// # Errors
    /// Whatever is wrong with a circuit or its key; `Memory` for one that can never fit.
    pub fn new(
        sources: Vec<(Shape, Source)>,
        backend: &Arc<dyn Backend>,
        limit: u64,
    ) -> Result<(Self, Vec<CircuitSupport>), LoadError> {
        let mut slots = Slots { residency: Residency::new(limit), loaded: HashMap::new() };
        let mut supports = Vec::new();
        for (shape, source) in &sources {
            let circuit = source.open(*shape)?;
            circuit.check_memory(limit)?;
            supports.push(circuit.support());
            let size = Size { resident: circuit.resident_memory(), working: circuit.working_memory() };
            if slots.residency.add(*shape, size) {
                slots.loaded.insert(*shape, Arc::new(Loaded::new(circuit, backend)?));
            }
        }
        let shared = Shared {
            backend: Arc::clone(backend),
            sources: sources.into_iter().collect(),
            slots: Mutex::new(slots),
            released: Condvar::new(),
        };
        Ok((Self(Arc::new(shared)), supports))
    }

    /// The circuit if its key is there now.
    pub fn resident(&self, shape: Shape) -> Option<Lease> {
        let mut slots = self.0.slots.lock();
        let loaded = slots.loaded.get(&shape).cloned()?;
        match slots.residency.acquire(shape) {
            Admission::Resident => Some(self.lease(shape, Some(loaded))),
            _ => None,
        }
    }

    /// The circuit, whose key is loaded if it is not there, in the room of others. Blocks.
    ///
    /// # Errors
    /// As `new`.
    pub fn take(&self, shape: Shape) -> Result<Option<Lease>, LoadError> {
        let mut slots = self.0.slots.lock();
        let evict = loop {
            match slots.residency.acquire(shape) {
                Admission::Unknown => return Ok(None),
                Admission::Load { evict } => break evict,
                Admission::Resident => match slots.loaded.get(&shape).cloned() {
                    Some(loaded) => return Ok(Some(self.lease(shape, Some(loaded)))),
                    // Another thread is loading it.
                    None => slots.residency.release(shape),
                },
                Admission::Wait => {}
            }
            self.0.released.wait(&mut slots);
        };
        let gone: Vec<_> = evict.iter().filter_map(|other| slots.loaded.remove(other)).collect();
        drop(slots);
        // Ends the use if the load fails or panics.
        let mut lease = self.lease(shape, None);
        tracing::info!(circuit = %shape, let_go = gone.len(), "loading a key");
        drop(gone);
        let Some(source) = self.0.sources.get(&shape) else { return Ok(None) };
        let loaded = Arc::new(Loaded::new(source.open(shape)?, &self.0.backend)?);
        self.0.slots.lock().loaded.insert(shape, Arc::clone(&loaded));
        lease.loaded = Some(loaded);
        self.0.released.notify_all();
        Ok(Some(lease))
    }

    fn lease(&self, shape: Shape, loaded: Option<Arc<Loaded>>) -> Lease {
        Lease { loaded, shape, shared: Arc::clone(&self.0) }
    }
}

impl Source {
    fn open(&self, shape: Shape) -> Result<Circuit, LoadError> {
        match self {
            Self::Folder(folder) => Circuit::load(shape, folder),
            Self::Shared(circuit) => Ok(circuit.clone()),
        }
    }
}
