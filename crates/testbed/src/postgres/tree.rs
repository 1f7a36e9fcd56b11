//! Signals to a server and all its processes. The processes of PostgreSQL lead sessions of their own, so a process group
//! does not reach them; their parent does.

use std::{fs, io, process::Command};

use rustix::process::{Pid, Signal, kill_process};

/// Stops the server first, so that it makes no further processes, then signals those it has, then itself.
pub(super) fn signal_all(server: u32, with: Signal) -> io::Result<()> {
    if with != Signal::CONT {
        signal(server, Signal::STOP)?;
    }
    for child in children(server)? {
        signal(child, with)?;
    }
    signal(server, with)
}

pub(super) fn kill_all(server: u32) -> io::Result<()> {
    signal_all(server, Signal::KILL)
}

/// One that has ended already needs no signal.
pub(super) fn signal(pid: u32, with: Signal) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match kill_process(pid, with) {
        Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

fn children(parent: u32) -> io::Result<Vec<u32>> {
    if let Ok(processes) = fs::read_dir("/proc") {
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        return Ok(pids.filter(|pid| parent_of(*pid) == Some(parent)).collect());
    }
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output()?;
    let pairs = String::from_utf8_lossy(&listed.stdout).into_owned();
    let children = pairs.lines().filter_map(|line| {
        let mut ids = line.split_whitespace().map(|id| id.parse::<u32>().ok());
        let (pid, of) = (ids.next()??, ids.next()??);
        (of == parent).then_some(pid)
    });
    Ok(children.collect())
}

/// The name of the program, in parentheses, may hold anything; the state and the parent follow the last of them.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
