//! A tiny circuit, and provers on children.

use std::{
    ffi::OsString,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::Fr;
use gpu_worker::child::{Backoff, ChildBackend, Deadlines, Settings};
use prover::{
    Backend, BackendError, DevTrapdoor, Key, KeyParts, Matrices, NoProgress, Proven, Prover, Witness,
    generate, synthesize_witness, verify,
};

use crate::odd::ROLE;

/// x squared so many times is y.
pub struct Squares(pub u64);

impl Circuit<Fr> for Squares {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut value = Fr::from(self.0);
        let mut x = cs.alloc(|| "x", || Ok(value))?;
        for _ in 0..40 {
            value = value * value;
            let next = cs.alloc(|| "next", || Ok(value))?;
            cs.enforce(|| "square", |lc| lc + x, |lc| lc + x, |lc| lc + next);
            x = next;
        }
        let y = cs.alloc_input(|| "y", || Ok(value))?;
        cs.enforce(|| "y", |lc| lc + x, |lc| lc + CS::one(), |lc| lc + y);
        Ok(())
    }
}

pub fn witness(x: u64) -> Witness {
    synthesize_witness(Squares(x)).unwrap()
}

pub fn circuit() -> &'static (Arc<Matrices>, KeyParts) {
    static CIRCUIT: OnceLock<(Arc<Matrices>, KeyParts)> = OnceLock::new();
    CIRCUIT.get_or_init(|| {
        let matrices = Matrices::synthesize(Squares(0)).unwrap();
        let parts = generate(&matrices, &DevTrapdoor::from_seed("children"), &NoProgress).unwrap();
        (Arc::new(matrices), parts)
    })
}

/// How to start this program as such a child.
pub fn settings(part: &str, folder: &Path) -> Settings {
    let arguments: [OsString; 3] = [ROLE.into(), part.into(), folder.into()];
    Settings {
        program: std::env::current_exe().unwrap(),
        arguments: arguments.to_vec(),
        backend: "cpu",
        deadlines: Deadlines::default(),
        backoff: Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(50) },
    }
}

/// A child that plays a part, a prover on it, and the folder that both sides see.
pub struct Play {
    pub folder: tempfile::TempDir,
    pub backend: Arc<ChildBackend>,
    pub prover: Prover,
}

impl Play {
    pub fn start(part: &str) -> Self {
        Self::with(part, |_| {})
    }

    pub fn with(part: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(part, folder.path());
        change(&mut settings);
        let backend = Arc::new(ChildBackend::start(settings).unwrap());
        let (matrices, parts) = circuit();
        let key = Arc::new(Key::from_parts(parts).unwrap());
        let prover =
            Prover::new(Arc::clone(&backend) as Arc<dyn Backend>, key, Arc::clone(matrices)).unwrap();
        Self { folder, backend, prover }
    }

    /// Proves, and checks the proof once more.
    pub fn proves(&self, x: u64) {
        let proven = self.prover.prove(&witness(x), &prover::Cancel::new()).unwrap();
        self.check(&proven, x);
    }

    pub fn check(&self, proven: &Proven, x: u64) {
        verify(self.prover.verifying_key(), &proven.proof, witness(x).public_inputs()).unwrap();
    }

    /// Why the device did not prove.
    pub fn fails(&self) -> String {
        let error = self.prover.prove(&witness(2), &prover::Cancel::new()).unwrap_err();
        let prover::ProveError::Backend(BackendError::Device { reason, .. }) = error else {
            panic!("{error:?}")
        };
        reason
    }

    /// Waits until the child has made this file.
    pub fn wait_for(&self, name: &str) {
        eventually(|| self.folder.path().join(name).exists());
    }
}

/// Waits until it is so, for two minutes at most.
pub fn eventually(so: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never became so");
}
