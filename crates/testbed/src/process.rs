//! Child processes of a test: they die with it, and a test can kill, freeze and thaw them.

use std::{
    io,
    process::{Child, Command},
};

use rustix::process::{Pid, kill_process};

use crate::keeper;

pub use rustix::process::Signal;

/// Starts a child that is killed when this process dies, however it dies (Linux only).
///
/// # Errors
/// What starting it returned.
pub fn spawn(command: Command) -> io::Result<Child> {
    keeper::spawn(command, Signal::KILL)
}

/// # Errors
/// If the child has ended and was waited for.
pub fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(kill_process(pid, signal)?)
}
