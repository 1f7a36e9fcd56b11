//! The portable backend: every core of this machine, any processor that Rust runs on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bn254::{Domain, Fr, msm_g1, msm_g2};
use rayon::prelude::*;

use crate::backend::{Backend, BackendError, Cancel, KeyId, Sums, Timings};
use crate::key::Key;
use crate::matrices::Matrices;
use crate::products::{check_shape, gather, sparse_products};
use crate::witness::Witness;

const NAME: &str = "cpu";

/// Elements that one task takes at least.
const MIN_CHUNK: usize = 1 << 10;

struct Prepared {
    key: Arc<Key>,
    matrices: Arc<Matrices>,
    domain: Domain,
}

/// The CPU backend. Keys stay mapped and are read in place.
#[derive(Default)]
pub struct CpuBackend {
    prepared: RwLock<HashMap<KeyId, Arc<Prepared>>>,
    next: AtomicU64,
}

impl CpuBackend {
    /// A backend without keys.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        if key.circuit() != matrices.digest() || key.domain_log() != matrices.domain_log() {
            return Err(BackendError::OtherCircuit);
        }
        let domain = Domain::new(key.domain_log())
            .map_err(|error| BackendError::Device { backend: NAME, reason: error.to_string() })?;
        let id = KeyId(self.next.fetch_add(1, Ordering::Relaxed));
        let prepared = Arc::new(Prepared { key, matrices, domain });
        self.prepared.write().unwrap_or_else(PoisonError::into_inner).insert(id, prepared);
        Ok(id)
    }

    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let prepared = self.prepared.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        prepared.ok_or(BackendError::UnknownKey(key))?.prove(witness, cancel)
    }

    fn release(&self, key: KeyId) {
        self.prepared.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

impl Prepared {
    fn prove(&self, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let start = Instant::now();
        let (key, z) = (&*self.key, witness.values());
        check_shape(&self.matrices, witness)?;
        let mut timings = Timings::default();
        cancel.check()?;
        let products = timed(&mut timings.sparse, || sparse_products(&self.matrices, witness))?;
        cancel.check()?;
        let quotient = timed(&mut timings.ntt, || self.on_coset(products));
        cancel.check()?;
        let h = timed(&mut timings.msm_h, || msm_g1(key.h(), &quotient));
        drop(quotient);
        cancel.check()?;
        let a = timed(&mut timings.msm_a, || msm_g1(key.a(), &gather(z, key.a_columns())));
        cancel.check()?;
        let b_scalars = gather(z, key.b_columns());
        let b1 = timed(&mut timings.msm_b1, || msm_g1(key.b1(), &b_scalars));
        cancel.check()?;
        let b2 = timed(&mut timings.msm_b2, || msm_g2(key.b2(), &b_scalars));
        cancel.check()?;
        let l = timed(&mut timings.msm_l, || msm_g1(key.l(), witness.aux()));
        timings.total = start.elapsed();
        Ok((Sums { a, b1, b2, l, h }, timings))
    }

    /// Values of A*B - C on the odd coset: two transforms for each of A, B and C.
    fn on_coset(&self, [mut a, mut b, mut c]: [Vec<Fr>; 3]) -> Vec<Fr> {
        for values in [&mut a, &mut b, &mut c] {
            self.domain.shift_to_coset(values);
        }
        a.par_iter_mut().zip(&b).zip(&c).with_min_len(MIN_CHUNK).for_each(|((a, b), c)| *a = *a * b - c);
        a
    }
}

fn timed<T>(elapsed: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *elapsed = start.elapsed();
    result
}
