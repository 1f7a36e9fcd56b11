//! The thread that starts child processes.
//!
//! Linux ties the signal at the death of the parent (`PR_SET_PDEATHSIG`) to the *thread* that forked: a child started by a
//! thread of a pool dies when the pool lets its thread go. So one thread, which lives as long as the process, starts them
//! all.

use std::{
    io,
    process::{Child, Command},
    sync::{
        OnceLock,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

type Order = (Command, Sender<io::Result<Child>>);

static KEEPER: OnceLock<Sender<Order>> = OnceLock::new();

/// Starts a child that the operating system asks to end when this process dies, however it dies (Linux only).
///
/// # Errors
/// What starting it returned.
pub(crate) fn spawn(mut command: Command, at_our_death: Signal) -> io::Result<Child> {
    die_with_parent(&mut command, at_our_death);
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = channel();
        // Without the thread the channel is closed, which the send below reports.
        let _ = thread::Builder::new().name("testbed-keeper".to_owned()).spawn(move || keep(&inbox));
        orders
    });
    let gone = || io::Error::other("the thread that starts child processes has ended");
    let (reply, answer) = channel();
    keeper.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn keep(inbox: &Receiver<Order>) {
    for (mut command, reply) in inbox {
        // Whoever asked may have gone.
        let _ = reply.send(command.spawn());
    }
}

pub(crate) use rustix::process::Signal;

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command, signal: Signal) {
    use std::os::unix::process::CommandExt;

    let parent = rustix::process::getpid();
    let ask = move || {
        rustix::process::set_parent_process_death_signal(Some(signal))?;
        // The parent may have died before this was asked for.
        match rustix::process::getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::Error::other("the parent has died")),
        }
    };
    // SAFETY: between fork and exec the closure only makes the system calls prctl and getppid, which are safe there: no
    // lock is taken and nothing is allocated (`io::Error::other` allocates only where the child ends anyway).
    unsafe {
        command.pre_exec(ask);
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command, _signal: Signal) {}
