//! Named points at which a test kills the process, as a power cut would: no destructor runs, nothing is flushed.
//!
//! Only with the feature `failpoints`; otherwise reaching one is nothing at all. `PROOFMILL_FAILPOINT=name` kills the first
//! time the point is reached, `name:3` the third time.

/// Dies here by SIGKILL if the environment names this point.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn failpoint(_name: &str) {}

/// Dies here by SIGKILL if the environment names this point.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    static REACHED: AtomicU32 = AtomicU32::new(0);
    static ARMED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    let read = || {
        let value = std::env::var("PROOFMILL_FAILPOINT").ok()?;
        let (name, times) = value.split_once(':').unwrap_or((&value, "1"));
        Some((name.to_owned(), times.parse().ok()?))
    };
    let Some((point, times)) = ARMED.get_or_init(read) else { return };
    if name == point && REACHED.fetch_add(1, Ordering::AcqRel) + 1 == *times {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
