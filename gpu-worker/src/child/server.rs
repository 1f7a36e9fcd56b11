//! The child's side: requests in, answers out.
//!
//! One thread reads frames, so that a wish to cancel is heard at once; one takes witnesses, one prepares and proves.
//! Whatever is in a frame is checked before it is used; a frame that cannot be from a sound worker ends the child.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    io::{self, Read, Write},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use prover::{Backend, BackendError, Cancel, Key, KeyId, Matrices, Staged};

use super::{
    protocol::{
        Answer, Failure, FrameError, Hello, Preparation, Reply, Request, SumsBytes, Wish, cut, read_frame,
        timings_to_array, write_frame,
    },
    self_test::self_test,
    slots,
};

/// Requests that may wait for one thread.
const WAITING: usize = 64;
/// Witnesses that may wait to be proved.
const MAX_STAGED: usize = 4;
/// Exit code of a child whose device is lost.
const LOST: i32 = 75;
/// How long a device library may take to tidy up.
const LAST_BREATH: Duration = Duration::from_secs(3);

/// The whole life of a child: takes stdout for the protocol alone, opens the backend, tests it, serves until the worker
/// is gone. Returns only when it could not start.
///
/// # Errors
/// When stdout cannot be used.
pub fn run(open: impl FnOnce() -> Result<Arc<dyn Backend>, BackendError>) -> Result<(), FrameError> {
    let mut out = take_stdout()?;
    let opened = open().map_err(|error| match error {
        // The worker names the backend itself.
        BackendError::Device { reason, .. } | BackendError::Lost { reason, .. } => reason,
        other => other.to_string(),
    });
    let tested = opened.and_then(|backend| self_test(&backend).map(|()| backend));
    let backend = match tested {
        Ok(backend) => backend,
        Err(reason) => return write_frame(&mut out, &Hello::Unavailable { reason: cut(reason) }),
    };
    let result = serve(backend, io::stdin().lock(), out);
    if let Err(error) = &result {
        tracing::error!(%error, "the worker cannot be understood");
    }
    // A library that waits for its device at exit must not keep the device from the next child.
    thread::spawn(|| {
        thread::sleep(LAST_BREATH);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
    });
    process::exit(i32::from(result.is_err()))
}

/// A lost device ends the child, with the reason as its last words: the next child starts with a device of its own.
fn unless_lost<T>(result: Result<T, BackendError>) -> Result<T, BackendError> {
    if let Err(BackendError::Lost { reason, .. }) = &result {
        last_words(format_args!("{reason}"));
        process::exit(LOST);
    }
    result
}

/// What the worker quotes when this child has ended. The worker may be gone: a closed stderr is no reason to panic.
fn last_words(text: fmt::Arguments<'_>) {
    drop(writeln!(io::stderr(), "{text}"));
}

/// A copy of stdout for the protocol. What anybody prints from now on goes to stderr.
fn take_stdout() -> io::Result<std::fs::File> {
    let copy = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(copy.into())
}

/// Says hello, then serves requests until `input` ends. The threads it started may still be at work then.
///
/// # Errors
/// `FrameError` for what no sound worker sends.
pub fn serve(
    backend: Arc<dyn Backend>,
    mut input: impl Read,
    out: impl Write + Send + 'static,
) -> Result<(), FrameError> {
    let server = Arc::new(Server {
        backend,
        out: Mutex::new(Box::new(out)),
        keys: Mutex::default(),
        staged: Mutex::default(),
        cancels: Mutex::default(),
    });
    let backend = server.backend.name().to_owned();
    let device = server.backend.device().map(Into::into);
    write_frame(&mut *server.out.lock(), &Hello::Ready { backend, device })?;
    let (stager, prover) = (server.thread("stage")?, server.thread("prove")?);
    let mut files = BTreeSet::new();
    while let Some(request) = read_frame::<Request>(&mut input)? {
        let thread = match &request.wish {
            Wish::Cancel { request } => {
                if let Some(cancel) = server.cancels.lock().get(request) {
                    cancel.cancel();
                }
                continue;
            }
            Wish::Stage { file, .. } => {
                files.insert(file.clone());
                &stager
            }
            Wish::Unstage { .. } => &stager,
            Wish::Prove { .. } => {
                server.cancels.lock().insert(request.number, Cancel::new());
                &prover
            }
            Wish::Prepare(_) | Wish::Release { .. } => &prover,
        };
        match thread.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(FrameError::Malformed("too many requests at once".to_owned()));
            }
            Err(TrySendError::Disconnected(_)) => {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
            }
        }
    }
    forget(files);
    Ok(())
}

/// Witnesses are secret and large: they must not outlive a worker that was killed. One that ended well removed them.
fn forget(files: BTreeSet<PathBuf>) {
    for file in files {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = %file.display(), "cannot remove a witness");
            }
            _ => {}
        }
    }
}

/// A key that the backend holds, and the shape of its witnesses.
#[derive(Clone, Copy)]
struct Kept {
    id: KeyId,
    inputs: usize,
    aux: usize,
}

struct Server {
    backend: Arc<dyn Backend>,
    out: Mutex<Box<dyn Write + Send>>,
    keys: Mutex<HashMap<u64, Kept>>,
    staged: Mutex<HashMap<u64, Staged>>,
    /// Of proofs that wait or are under way.
    cancels: Mutex<HashMap<u64, Cancel>>,
}

impl Server {
    fn thread(self: &Arc<Self>, name: &str) -> io::Result<SyncSender<Request>> {
        let (sender, requests) = sync_channel::<Request>(WAITING);
        let server = Arc::clone(self);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for request in requests {
                // After a panic nothing is known of the device: the process ends. The worker quotes the last lines, and a
                // backtrace may have come before these.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| server.carry_out(request))) {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                    last_words(format_args!("the backend panicked: {}", text.unwrap_or("without a message")));
                    process::exit(101);
                }
            }
        })?;
        Ok(sender)
    }

    fn carry_out(&self, Request { number, wish }: Request) {
        let result = match wish {
            Wish::Prepare(preparation) => self.prepare(&preparation).map(|()| Answer::Prepared),
            Wish::Stage { key, file, inputs, aux } => {
                self.stage(number, key, &file, inputs, aux).map(|()| Answer::Staged)
            }
            Wish::Prove { staged } => self.prove(number, staged),
            Wish::Unstage { staged } => {
                self.staged.lock().remove(&staged);
                return;
            }
            Wish::Release { key } => {
                if let Some(kept) = self.keys.lock().remove(&key) {
                    self.backend.release(kept.id);
                }
                return;
            }
            // Heard by the thread that reads.
            Wish::Cancel { .. } => return,
        };
        if let Err(error) = write_frame(&mut *self.out.lock(), &Reply { number, result }) {
            tracing::error!(%error, "the worker cannot be answered");
            process::exit(1);
        }
    }

    fn prepare(&self, preparation: &Preparation) -> Result<(), Failure> {
        let unusable = |error: &dyn std::error::Error| Failure::Device(cut(error.to_string()));
        let matrices = Matrices::open(&preparation.matrices_file).map_err(|error| unusable(&error))?;
        let key =
            Key::open(&preparation.key_file, Some(preparation.circuit)).map_err(|error| unusable(&error))?;
        if key.verifying_key().digest() != preparation.verifying_key {
            let file = preparation.key_file.display();
            return Err(Failure::Device(cut(format!("another key has taken the place of {file}"))));
        }
        let (inputs, aux) = (matrices.inputs(), matrices.aux());
        let id = unless_lost(self.backend.prepare(Arc::new(key), Arc::new(matrices)))?;
        self.keys.lock().insert(preparation.key, Kept { id, inputs, aux });
        Ok(())
    }

    fn stage(
        &self,
        number: u64,
        key: u64,
        file: &std::path::Path,
        inputs: u64,
        aux: u64,
    ) -> Result<(), Failure> {
        let kept = self.keys.lock().get(&key).copied().ok_or(Failure::UnknownKey)?;
        if (inputs, aux) != (kept.inputs as u64, kept.aux as u64) {
            return Err(Failure::WitnessShape { inputs, aux });
        }
        if self.staged.lock().len() >= MAX_STAGED {
            return Err(Failure::Device("too many witnesses wait to be proved".to_owned()));
        }
        let witness =
            slots::read(file, kept.inputs, kept.aux).map_err(|error| Failure::Device(cut(error)))?;
        let staged = unless_lost(self.backend.stage(kept.id, Arc::new(witness)))?;
        self.staged.lock().insert(number, staged);
        Ok(())
    }

    fn prove(&self, number: u64, staged: u64) -> Result<Answer, Failure> {
        let cancel = self.cancels.lock().get(&number).cloned().unwrap_or_default();
        let staged = self.staged.lock().remove(&staged);
        let proved = staged.map(|staged| {
            cancel.check().and_then(|()| unless_lost(self.backend.prove_staged(staged, &cancel)))
        });
        self.cancels.lock().remove(&number);
        let (sums, timings) = proved.ok_or(Failure::Device("no such witness is staged".to_owned()))??;
        Ok(Answer::Proved(Box::new(SumsBytes::from(&sums)), timings_to_array(&timings)))
    }
}
