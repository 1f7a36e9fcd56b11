//! Which backend a worker proves on.
//!
//! `auto` takes the first that works of our own kernels, the user's ICICLE, the processor. A backend that was named and
//! cannot start is an error: nobody who paid for a card wants to find out later that the processor did the work.
//!
//! The processor proves in the worker itself. Everything that touches a driver, the look whether there is one included,
//! happens in a child process.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use prover::{Backend, BackendError, CpuBackend};

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    #[default]
    Auto,
    Only(Kind),
}

/// The backends there are, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Cuda,
    Icicle,
    Cpu,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Cuda, Self::Icicle, Self::Cpu];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Icicle => "icicle",
            Self::Cpu => "cpu",
        }
    }

    /// Opens the backend in this process: for a proving child.
    ///
    /// # Errors
    /// Without library, driver or card.
    pub fn open(self, device: u32) -> Result<Arc<dyn Backend>, BackendError> {
        Ok(match self {
            Self::Cuda => {
                Arc::new(cuda::CudaBackend::open(&cuda::Settings { device, ..cuda::Settings::default() })?)
            }
            Self::Icicle => Arc::new(icicle::IcicleBackend::open(&icicle::Settings {
                device,
                ..icicle::Settings::default()
            })?),
            Self::Cpu => Arc::new(CpuBackend::new()),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PM-WORKER-040: there is no backend {0:?}; take auto, cpu, cuda or icicle")]
pub struct UnknownBackend(String);

impl FromStr for Kind {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| UnknownBackend(text.to_owned()))
    }
}

impl FromStr for Choice {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Only) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Only(kind) => kind.fmt(f),
        }
    }
}

/// What to prove on, and how to start a child for it.
#[derive(Clone, Debug)]
pub struct Selection {
    pub choice: Choice,
    /// Ordinal of the card.
    pub device: u32,
    /// The program whose command `prove-child --backend NAME --device N` is a proving child.
    pub program: PathBuf,
}

/// The backend that was taken, and why not a better one.
pub struct Selected {
    pub backend: Arc<dyn Backend>,
    pub passed_over: Vec<PassedOver>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    pub kind: Kind,
    pub reason: BackendError,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not taken: {}", self.kind, self.reason)
    }
}

impl fmt::Display for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proving on {}", self.backend.name())?;
        match self.backend.device() {
            Some(device) => {
                write!(f, ": {}, {} MiB, {}", device.name, device.memory >> 20, device.versions)
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error(
        "PM-WORKER-041: the backend {kind} cannot start: {source}; choose another one or let `auto` choose"
    )]
    Named { kind: Kind, source: BackendError },
    #[error("PM-WORKER-042: no backend can start: {}", reasons(.0))]
    None(Vec<PassedOver>),
}

fn reasons(passed_over: &[PassedOver]) -> String {
    let reasons: Vec<String> = passed_over.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

/// Starts the backend that was asked for. Blocks for as long as a child takes to start.
///
/// # Errors
/// `SelectError` with the reason of every backend that could not start.
pub fn select(selection: &Selection) -> Result<Selected, SelectError> {
    select_with(selection.choice, |kind| start(kind, selection))
}

/// The rule alone: `start` says what works here.
///
/// # Errors
/// As `select`.
pub fn select_with(
    choice: Choice,
    start: impl Fn(Kind) -> Result<Arc<dyn Backend>, BackendError>,
) -> Result<Selected, SelectError> {
    let mut passed_over = Vec::new();
    match choice {
        Choice::Only(kind) => {
            let backend = start(kind).map_err(|source| SelectError::Named { kind, source })?;
            return Ok(Selected { backend, passed_over });
        }
        Choice::Auto => {
            for kind in Kind::ALL {
                match start(kind) {
                    Ok(backend) => return Ok(Selected { backend, passed_over }),
                    Err(reason) => {
                        let refusal = PassedOver { kind, reason };
                        tracing::info!("{refusal}");
                        passed_over.push(refusal);
                    }
                }
            }
        }
    }
    Err(SelectError::None(passed_over))
}

fn start(kind: Kind, selection: &Selection) -> Result<Arc<dyn Backend>, BackendError> {
    match kind {
        Kind::Cpu => kind.open(selection.device),
        Kind::Cuda | Kind::Icicle => start_child(kind, selection),
    }
}

#[cfg(unix)]
fn start_child(kind: Kind, selection: &Selection) -> Result<Arc<dyn Backend>, BackendError> {
    use crate::child::{Backoff, ChildBackend, Deadlines, Settings};
    let device = selection.device.to_string();
    let arguments = ["prove-child", "--backend", kind.name(), "--device", &device];
    let settings = Settings {
        program: selection.program.clone(),
        arguments: arguments.map(Into::into).to_vec(),
        backend: kind.name(),
        deadlines: Deadlines::default(),
        backoff: Backoff::default(),
    };
    Ok(Arc::new(ChildBackend::start(settings)?))
}

#[cfg(not(unix))]
fn start_child(kind: Kind, _: &Selection) -> Result<Arc<dyn Backend>, BackendError> {
    let reason = "proving children need a Unix system".to_owned();
    Err(BackendError::Device { backend: kind.name(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts only these; all are the processor in truth.
    fn having(kinds: &'static [Kind]) -> impl Fn(Kind) -> Result<Arc<dyn Backend>, BackendError> {
        |kind| {
            let missing = BackendError::Device { backend: kind.name(), reason: "no driver".to_owned() };
            kinds.contains(&kind).then(|| Arc::new(CpuBackend::new()) as _).ok_or(missing)
        }
    }

    fn passed_over(kinds: &'static [Kind]) -> Vec<Kind> {
        let selected = select_with(Choice::Auto, having(kinds)).unwrap();
        selected.passed_over.iter().map(|refusal| refusal.kind).collect()
    }

    #[test]
    fn auto_takes_the_best_that_starts_and_says_why_not_a_better_one() {
        assert_eq!(passed_over(&Kind::ALL), []);
        assert_eq!(passed_over(&[Kind::Icicle, Kind::Cpu]), [Kind::Cuda]);
        assert_eq!(passed_over(&[Kind::Cpu]), [Kind::Cuda, Kind::Icicle]);
        let selected = select_with(Choice::Auto, having(&[Kind::Cpu])).unwrap();
        let sentence = selected.passed_over[0].to_string();
        assert!(sentence.starts_with("cuda was not taken") && sentence.contains("no driver"), "{sentence}");
        let Err(SelectError::None(all)) = select_with(Choice::Auto, having(&[])) else {
            panic!("one started")
        };
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn a_named_backend_is_taken_or_refused_and_never_replaced() {
        assert!(select_with(Choice::Only(Kind::Icicle), having(&[Kind::Icicle])).is_ok());
        let Err(error) = select_with(Choice::Only(Kind::Cuda), having(&[Kind::Cpu])) else {
            panic!("it started")
        };
        assert!(error.to_string().contains("no driver"), "{error}");
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        for text in ["auto", "cpu", "cuda", "icicle"] {
            assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
        }
        assert!("gpu".parse::<Choice>().unwrap_err().to_string().contains("icicle"));
    }
}
