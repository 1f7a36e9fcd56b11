//! Running a program for its result, and what it used.

use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use eyre::{Context, bail};

/// What some work used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time.
    pub cpu: Duration,
    /// Where it is known.
    pub peak_mib: Option<u64>,
}

/// The unit of `ru_maxrss`.
const MAXRSS_BYTES: u64 = if cfg!(target_os = "macos") { 1 } else { 1024 };

/// Runs a program to its end.
///
/// The kernel counts into the peak of a program what its parent had when it started it: for a figure of the program's own the
/// caller must be small, or smaller than the program.
///
/// # Errors
/// If it does not start, or does not end well.
pub fn run(command: &mut Command) -> eyre::Result<Usage> {
    let child = command.spawn().wrap_err("the program does not start")?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // `Child` has no way to ask for the usage; it is not waited for again, so that nobody reaps another process by its number.
    // SAFETY: both pointers are to live memory of the right type, which the call fills.
    let reaped = unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
    if reaped < 0 {
        return Err(std::io::Error::last_os_error()).wrap_err("cannot wait for the program");
    }
    // SAFETY: it was zeroed, which is a value of this structure of numbers, before the call filled it.
    let usage = unsafe { usage.assume_init() };
    let status = ExitStatus::from_raw(status);
    if !status.success() {
        bail!("the program ended with {status}");
    }
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok(Usage {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        peak_mib: Some(usage.ru_maxrss.cast_unsigned() * MAXRSS_BYTES / (1024 * 1024)),
    })
}
