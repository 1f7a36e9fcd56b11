//! The backend that needs no device: every core of this machine, any processor that Rust runs on.
//!
//! A prepared key is kept once more, in the form of the processor's kernels and in huge pages: 384 bytes per constraint where
//! every variable stands in A, B and C, and 48 for the factors of the transforms. A proof needs another 96 for A*z, B*z and
//! C*z and 80 for digits of scalars. Rows that are multiplied eight at a time are listed: four bytes each (see [`Products`]).
//!
//! The five sums are one list of shares: no thread waits for another between the first and the last of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bn254::msm::{Bases, Control, Digits, Sum, sum_all};
use bn254::{Domain, G1Affine, G2Affine};

use crate::backend::{Backend, BackendError, Cancel, KeyId, Sums, Timings};
use crate::key::Key;
use crate::matrices::Matrices;
use crate::products::Products;
use crate::witness::Witness;

const NAME: &str = "cpu";

struct Prepared {
    matrices: Arc<Matrices>,
    products: Products,
    domain: Domain,
    a: Bases<G1Affine>,
    b1: Bases<G1Affine>,
    b2: Bases<G2Affine>,
    l: Bases<G1Affine>,
    h: Bases<G1Affine>,
}

/// The CPU backend.
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
        let domain = Domain::with_generator(key.domain_log(), key.generator())
            .map_err(|error| BackendError::Device { backend: NAME, reason: error.to_string() })?;
        let id = KeyId(self.next.fetch_add(1, Ordering::Relaxed));
        let variables = key.variables();
        let prepared = Arc::new(Prepared {
            products: Products::new(&matrices),
            matrices,
            domain,
            a: Bases::of_columns(key.a(), key.a_columns(), variables),
            b1: Bases::of_columns(key.b1(), key.b_columns(), variables),
            b2: Bases::of_columns(key.b2(), key.b_columns(), variables),
            l: Bases::after(key.inputs(), key.l()),
            h: Bases::bit_reversed(key.h()),
        });
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
        let mut timings = Timings::default();
        cancel.check()?;
        let [mut quotient, mut b, mut c] =
            timed(&mut timings.sparse, || self.products.reversed(&self.matrices, witness))?;
        cancel.check()?;
        let scale = timed(&mut timings.ntt, || self.domain.quotient(&mut quotient, &mut b, &mut c));
        drop((b, c));
        cancel.check()?;

        let points = self.a.len().max(self.l.len());
        let z = Digits::new(witness.values(), points);
        let quotient_digits = Digits::new(&quotient, self.h.len());
        drop(quotient);
        let (a, b1, b2) = (Sum::new(&self.a, &z), Sum::new(&self.b1, &z), Sum::new(&self.b2, &z));
        let (l, h) = (Sum::new(&self.l, &z), Sum::new(&self.h, &quotient_digits));
        // The longest first, so that the last shares are short.
        sum_all(&[&b2, &a, &l, &h, &b1], cancel).map_err(|_| BackendError::Cancelled)?;

        let threads = rayon::current_num_threads() as u32;
        timings.msm_a = a.busy() / threads;
        timings.msm_b1 = b1.busy() / threads;
        timings.msm_b2 = b2.busy() / threads;
        timings.msm_l = l.busy() / threads;
        timings.msm_h = h.busy() / threads;
        let sums =
            Sums { a: a.result(), b1: b1.result(), b2: b2.result(), l: l.result(), h: h.result() * scale };
        timings.total = start.elapsed();
        Ok((sums, timings))
    }
}

impl Control for Cancel {
    fn is_cancelled(&self) -> bool {
        Self::is_cancelled(self)
    }

    fn progress(&self, done: usize, all: usize) {
        self.shares_done(done, all);
    }
}

fn timed<T>(elapsed: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *elapsed = start.elapsed();
    result
}
