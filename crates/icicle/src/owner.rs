//! The one thread that talks to ICICLE.
//!
//! ICICLE's active device belongs to a thread, and its sums do not bear company, so everything is sent here and done in
//! order. The thread ends when the backend is dropped, after giving everything back.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use bn254::{Fr, G1, G1Affine, G2, G2Affine};
use prover::{BackendError, Cancel, DeviceInfo, KeyId, Sums, Timings};

use crate::circuit::{Circuit, Plan, Task, to_coset};
use crate::curve::{Curve, InG1, InG2};
use crate::library::Api;
use crate::query::{Mask, Query};
use crate::session::{Buffer, Session};
use crate::{Error, Kind, Settings, driver, self_test};

/// What the thread is asked to do; the answer goes to the sender within.
pub(crate) enum Command {
    Prepare(KeyId, Arc<Plan>, Sender<Result<(), Error>>),
    Prove(KeyId, Box<Task>, Cancel, Sender<Result<(Sums, Timings), BackendError>>),
    Release(KeyId),
    SumG1(Vec<G1Affine>, Vec<Fr>, Sender<Result<G1, Error>>),
    SumG2(Vec<G2Affine>, Vec<Fr>, Sender<Result<G2, Error>>),
    ToCoset(Vec<Fr>, Sender<Result<Vec<Fr>, Error>>),
}

/// The thread, as others see it.
pub(crate) struct Owner {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Owner {
    /// Starts the thread, which loads ICICLE, selects the device and runs the self-test.
    ///
    /// # Errors
    /// Whatever of this fails; the thread has ended then.
    pub(crate) fn start(settings: Settings) -> Result<(Self, Option<DeviceInfo>), Error> {
        let claim = Claim::take()?;
        let (commands, inbox) = channel();
        let (opened, answer) = channel();
        let thread = std::thread::Builder::new()
            .name("icicle".to_owned())
            .spawn(move || {
                let _claim = claim;
                match open(&settings) {
                    Ok((session, info)) => {
                        // Nobody waits for the answer only when the process is on its way out.
                        let _ = opened.send(Ok(info));
                        serve(&session, &inbox);
                    }
                    Err(error) => {
                        let _ = opened.send(Err(error));
                    }
                }
            })
            .map_err(|_| Error::Gone)?;
        let mut owner = Self { commands: Some(commands), thread: Some(thread) };
        match answer.recv().unwrap_or(Err(Error::Gone)) {
            Ok(info) => Ok((owner, info)),
            Err(error) => {
                owner.join();
                Err(error)
            }
        }
    }

    /// Sends a command and waits for its answer.
    pub(crate) fn ask<T, E>(&self, command: impl FnOnce(Sender<Result<T, E>>) -> Command) -> Result<T, E>
    where
        E: From<Error>,
    {
        let (reply, answer) = channel();
        self.tell(command(reply));
        answer.recv().unwrap_or_else(|_| Err(Error::Gone.into()))
    }

    /// Sends a command. A thread that has ended shows in the missing answer.
    pub(crate) fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }

    fn join(&mut self) {
        self.commands = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that drives ICICLE panicked");
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.join();
    }
}

/// The right to drive ICICLE in this process: its table of roots is shared by all its users.
struct Claim;

static CLAIMED: AtomicBool = AtomicBool::new(false);

impl Claim {
    fn take() -> Result<Self, Error> {
        if CLAIMED.swap(true, Ordering::AcqRel) { Err(Error::InUse) } else { Ok(Self) }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.store(false, Ordering::Release);
    }
}

fn open(settings: &Settings) -> Result<(Rc<Session>, Option<DeviceInfo>), Error> {
    let mut info = match settings.kind {
        Kind::Cuda => Some(driver::probe(settings.device)?),
        Kind::Cpu => None,
    };
    let session = Session::open(Api::load(settings, |name| std::env::var_os(name))?, settings)?;
    self_test::run(&session)?;
    if let Some(info) = &mut info {
        info.versions = format!("{} >= {}", info.versions, session.version());
    }
    Ok((session, info))
}

fn serve(session: &Rc<Session>, inbox: &Receiver<Command>) {
    let mut circuits: HashMap<KeyId, Circuit> = HashMap::new();
    while let Ok(command) = inbox.recv() {
        // An answer that nobody waits for any more is dropped.
        match command {
            Command::Prepare(id, plan, reply) => {
                let loaded = Circuit::load(session, &plan).map(|circuit| {
                    circuits.insert(id, circuit);
                });
                let _ = reply.send(loaded);
            }
            Command::Prove(id, task, cancel, reply) => {
                let circuit = circuits.get(&id).ok_or(BackendError::UnknownKey(id));
                let _ = reply.send(circuit.and_then(|circuit| circuit.prove(*task, &cancel)));
            }
            Command::Release(id) => {
                circuits.remove(&id);
            }
            Command::SumG1(points, scalars, reply) => {
                let _ = reply.send(sum::<InG1>(session, &points, &scalars));
            }
            Command::SumG2(points, scalars, reply) => {
                let _ = reply.send(sum::<InG2>(session, &points, &scalars));
            }
            Command::ToCoset(values, reply) => {
                let _ = reply.send(coset(session, &values));
            }
        }
    }
}

fn sum<C: Curve>(session: &Rc<Session>, points: &[C::Affine], scalars: &[Fr]) -> Result<C::Sum, Error> {
    let len = u32::try_from(points.len()).map_err(|_| Error::TooLarge(points.len().ilog2()))?;
    let (mask, positions) = (Mask::new(points.len()), (0..len).collect::<Vec<u32>>());
    let query = Query::<C>::new(session, points, &Buffer::of(session, &mask.gather(&positions))?)?;
    query.sum(session, &Buffer::of(session, &mask.apply(scalars, &positions))?)
}

fn coset(session: &Rc<Session>, values: &[Fr]) -> Result<Vec<Fr>, Error> {
    let mut scratch = Buffer::new(session, values.len())?;
    to_coset(session, values, &mut scratch)?.read()
}
