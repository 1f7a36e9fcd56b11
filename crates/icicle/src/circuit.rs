//! One circuit on the device: its queries, and the five sums of a proof.
//!
//! The host multiplies with the sparse matrices and masks the scalars ([`Task`]); the device does the transforms and the
//! sums. Host work needs no device, so it is done on the caller's thread while another proof is under way.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bn254::Fr;
use bn254::ntt::Generator;
use prover::products::sparse_products;
use prover::{BackendError, Cancel, Key, Matrices, Sums, Timings, Witness};

use crate::Error;
use crate::abi::Direction;
use crate::curve::{InG1, InG2};
use crate::query::{Mask, Points, Query};
use crate::session::{Buffer, Session, root_of_unity};

/// What the host knows of a circuit.
pub(crate) struct Plan {
    key: Arc<Key>,
    matrices: Arc<Matrices>,
    mask: Mask,
    /// Columns of the private variables.
    aux_columns: Vec<u32>,
}

/// What a proof needs from its witness.
pub(crate) struct Task {
    products: [Vec<Fr>; 3],
    a: Vec<Fr>,
    b: Vec<Fr>,
    l: Vec<Fr>,
    sparse: Duration,
}

impl Plan {
    pub(crate) fn new(key: Arc<Key>, matrices: Arc<Matrices>) -> Result<Self, BackendError> {
        if key.circuit() != matrices.digest() || key.domain_log() != matrices.domain_log() {
            return Err(BackendError::OtherCircuit);
        }
        if key.generator() != Generator::Seven {
            let reason = "a key in the order of iden3's programs is for the cpu backend".to_owned();
            return Err(BackendError::Device { backend: crate::error::NAME, reason });
        }
        let column = |index| u32::try_from(index).map_err(|_| Error::TooLarge(key.domain_log()));
        let aux_columns = (column(key.inputs())?..column(key.variables())?).collect();
        let mask = Mask::new(key.variables());
        Ok(Self { mask, aux_columns, key, matrices })
    }

    /// The work of the host for a proof of this witness.
    ///
    /// # Errors
    /// [`BackendError::WitnessShape`], [`BackendError::Unsatisfied`].
    pub(crate) fn task(&self, witness: &Witness) -> Result<Task, BackendError> {
        let start = Instant::now();
        let products = sparse_products(&self.matrices, witness)?;
        let masked = |columns| self.mask.apply(witness.values(), columns);
        let (a, b, l) =
            (masked(self.key.a_columns()), masked(self.key.b_columns()), masked(&self.aux_columns));
        Ok(Task { products, a, b, l, sparse: start.elapsed() })
    }
}

/// A circuit on the device.
pub(crate) struct Circuit {
    session: Rc<Session>,
    a: Query<InG1>,
    b1: Query<InG1>,
    b2: Query<InG2>,
    l: Query<InG1>,
    /// Its scalars are values on the coset, which look random by themselves.
    h: Points<InG1>,
}

impl Circuit {
    pub(crate) fn load(session: &Rc<Session>, plan: &Plan) -> Result<Self, Error> {
        let key = &*plan.key;
        session.ensure_domain(key.domain_log())?;
        let masks = |columns| Buffer::of(session, &plan.mask.gather(columns));
        let a = Query::new(session, key.a(), &masks(key.a_columns())?)?;
        let b_masks = masks(key.b_columns())?;
        let b1 = Query::new(session, key.b1(), &b_masks)?;
        let b2 = Query::new(session, key.b2(), &b_masks)?;
        drop(b_masks);
        let l = Query::new(session, key.l(), &masks(&plan.aux_columns)?)?;
        let h = Points::upload(session, key.h())?;
        Ok(Self { session: Rc::clone(session), a, b1, b2, l, h })
    }

    pub(crate) fn prove(&self, task: Task, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let start = Instant::now();
        let session = &self.session;
        let mut timings = Timings { sparse: task.sparse, ..Timings::default() };
        cancel.check()?;
        let quotient = timed(&mut timings.ntt, || quotient(session, task.products))?;
        cancel.check()?;
        let h = timed(&mut timings.msm_h, || self.h.sum(session, &quotient))?;
        drop(quotient);
        cancel.check()?;
        let a = timed(&mut timings.msm_a, || self.a.sum(session, &Buffer::of(session, &task.a)?))?;
        cancel.check()?;
        let (b_scalars, b1) = timed(&mut timings.msm_b1, || {
            let scalars = Buffer::of(session, &task.b)?;
            let sum = self.b1.sum(session, &scalars)?;
            Ok((scalars, sum))
        })?;
        cancel.check()?;
        let b2 = timed(&mut timings.msm_b2, || self.b2.sum(session, &b_scalars))?;
        drop(b_scalars);
        cancel.check()?;
        let l = timed(&mut timings.msm_l, || self.l.sum(session, &Buffer::of(session, &task.l)?))?;
        timings.total = task.sparse + start.elapsed();
        Ok((Sums { a, b1, b2, l, h }, timings))
    }
}

/// Values of A*B - C on the odd coset, from values on the domain.
pub(crate) fn quotient(session: &Rc<Session>, products: [Vec<Fr>; 3]) -> Result<Buffer<Fr>, Error> {
    let [a, b, c] = products;
    let mut scratch = Buffer::new(session, a.len())?;
    let a = to_coset(session, &a, &mut scratch)?;
    let b = to_coset(session, &b, &mut scratch)?;
    let c = to_coset(session, &c, &mut scratch)?;
    session.multiply_subtract(a, &b, &c, &mut scratch)
}

/// Evaluations on the domain → evaluations of the same polynomial on the odd coset.
pub(crate) fn to_coset(
    session: &Rc<Session>,
    values: &[Fr],
    scratch: &mut Buffer<Fr>,
) -> Result<Buffer<Fr>, Error> {
    let shift = root_of_unity(values.len().trailing_zeros() + 1);
    let mut values = Buffer::of(session, values)?;
    session.ntt(&values, Direction::Inverse, None, scratch)?;
    session.ntt(scratch, Direction::Forward, Some(&shift), &mut values)?;
    Ok(values)
}

fn timed<T>(elapsed: &mut Duration, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let start = Instant::now();
    let result = work();
    *elapsed = start.elapsed();
    result
}
