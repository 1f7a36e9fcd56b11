//! The worker's side of one running child, from its start to the reason of its end.
//!
//! A thread reads answers and hands each to whoever waits for its number. It is also the one that learns of the end, from
//! the end of the pipe or from something that no sound child says; then the child is killed if it still runs, reaped, and
//! everybody who waits gets the same sentence: how it ended and what it printed last.

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prover::{BackendError, Cancel, DeviceInfo};

use super::protocol::{Answer, Failure, Hello, Reply, Request, Wish, read_frame, write_frame};

/// How often somebody who waits looks whether the answer is still wanted.
const LOOK: Duration = Duration::from_millis(10);
/// How long an end may take to be told once the child is killed.
const LAST_RITES: Duration = Duration::from_secs(10);
/// How long the last words may take once the child has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Lines of stderr that a reason quotes, and bytes of each.
const QUOTED_LINES: usize = 5;
const QUOTED_BYTES: u64 = 400;

/// How long each kind of request may take before the child counts as hung and is killed. Generous: a machine under load is
/// slow, and a hang is rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Until it said that it is ready, self-test included.
    pub start: Duration,
    pub prepare: Duration,
    pub stage: Duration,
    pub prove: Duration,
    /// From a wish to cancel to the end of the stage that was under way.
    pub cancel: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(300),
            prepare: Duration::from_secs(900),
            stage: Duration::from_secs(300),
            prove: Duration::from_secs(900),
            cancel: Duration::from_secs(300),
        }
    }
}

/// Pauses before a child is started again: doubled with each end in a row, up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(200), longest: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The pause after so many ends in a row.
    pub fn pause(&self, ends: u32) -> Duration {
        match ends {
            0 => Duration::ZERO,
            ends => self.first.saturating_mul(1 << (ends - 1).min(20)).min(self.longest),
        }
    }
}

/// How to start a child.
#[derive(Clone, Debug)]
pub struct Settings {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// The backend it must say it has.
    pub backend: &'static str,
    pub deadlines: Deadlines,
    pub backoff: Backoff,
}

/// Who waits for which answer, or how the child ended.
enum Waiting {
    Open(HashMap<u64, SyncSender<Result<Answer, Failure>>>),
    Ended(String),
}

/// What the threads of a link share.
struct Shared {
    child: Mutex<Child>,
    waiting: Mutex<Waiting>,
    /// Why this side killed it, if it did.
    verdict: Mutex<Option<String>>,
    last_words: Mutex<VecDeque<String>>,
}

/// A child that said that it is ready.
pub struct Link {
    shared: Arc<Shared>,
    process: u32,
    stdin: Mutex<ChildStdin>,
    next: AtomicU64,
    backend: &'static str,
    device: Option<DeviceInfo>,
}

impl Link {
    /// Starts a child and waits until it is ready.
    ///
    /// # Errors
    /// Why it is not, in its own words where it has any.
    pub fn start(settings: &Settings) -> Result<Self, BackendError> {
        let device_error = |reason| BackendError::Device { backend: settings.backend, reason };
        let no_start = |error| {
            let program = settings.program.display();
            device_error(format!("PM-CHILD-011: the proving child {program} cannot be started: {error}"))
        };
        let mut child = Command::new(&settings.program)
            .args(&settings.arguments)
            // Ctrl-C in a terminal is for the worker, which finishes its proof first.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_start)?;
        let process = child.id();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(no_start(std::io::ErrorKind::BrokenPipe.into()));
        };
        let shared = Arc::new(Shared {
            child: Mutex::new(child),
            waiting: Mutex::new(Waiting::Open(HashMap::new())),
            verdict: Mutex::default(),
            last_words: Mutex::default(),
        });
        let (said_all, silence) = sync_channel(1);
        let (greet, greeting) = sync_channel(1);
        let (ears, reader) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::Builder::new()
            .name("child-stderr".to_owned())
            .spawn(move || {
                ears.listen(stderr, process);
                // Nobody waits unless the child has ended.
                let _ = said_all.try_send(());
            })
            .map_err(no_start)?;
        thread::Builder::new()
            .name("child-answers".to_owned())
            .spawn(move || reader.read(BufReader::new(stdout), &greet, &silence))
            .map_err(no_start)?;
        let mut link = Self {
            shared,
            process,
            stdin: Mutex::new(stdin),
            next: AtomicU64::new(0),
            backend: settings.backend,
            device: None,
        };
        link.device = link.greeted(&greeting, settings.deadlines.start).map_err(device_error)?;
        Ok(link)
    }

    /// The device that the child says it has.
    fn greeted(&self, greeting: &Receiver<Hello>, deadline: Duration) -> Result<Option<DeviceInfo>, String> {
        match greeting.recv_timeout(deadline) {
            Ok(Hello::Ready { backend, device }) if backend == self.backend => Ok(device.map(Into::into)),
            Ok(Hello::Ready { backend, .. }) => {
                Err(format!("PM-CHILD-012: the proving child has the backend {backend:?}; check its program"))
            }
            Ok(Hello::Unavailable { reason }) => Err(reason),
            Err(RecvTimeoutError::Disconnected) => Err(self.how_it_ended()),
            Err(RecvTimeoutError::Timeout) => Err(self.give_up(deadline)),
        }
    }

    pub fn device(&self) -> Option<&DeviceInfo> {
        self.device.as_ref()
    }

    /// Its number in the system.
    pub fn process(&self) -> u32 {
        self.process
    }

    pub fn is_alive(&self) -> bool {
        matches!(*self.shared.waiting.lock(), Waiting::Open(_))
    }

    /// Sends a wish that has no answer. A child that is gone has forgotten everything anyway.
    pub fn tell(&self, wish: Wish) {
        let request = Request { number: self.number(), wish };
        if let Err(error) = write_frame(&mut *self.stdin.lock(), &request) {
            tracing::debug!(%error, "the proving child is gone");
        }
    }

    /// Sends a wish and waits for the answer; gives the number of the request with it.
    ///
    /// # Errors
    /// What the child refuses; `Device` if it ends or does not answer in time.
    pub fn ask(
        &self,
        wish: Wish,
        deadline: Duration,
        cancel: Option<(&Cancel, Duration)>,
    ) -> Result<(u64, Answer), NoAnswer> {
        let number = self.number();
        let (sender, answer) = sync_channel(1);
        match &mut *self.shared.waiting.lock() {
            Waiting::Open(waiting) => waiting.insert(number, sender),
            Waiting::Ended(reason) => return Err(NoAnswer::Ended(reason.clone())),
        };
        if let Err(error) = write_frame(&mut *self.stdin.lock(), &Request { number, wish }) {
            // The reader learns of the same end, and knows more about it.
            tracing::debug!(%error, "the proving child is gone");
            self.shared.kill("it did not take a request".to_owned());
        }
        self.wait(number, &answer, deadline, cancel).map(|answer| (number, answer))
    }

    fn wait(
        &self,
        number: u64,
        answer: &Receiver<Result<Answer, Failure>>,
        deadline: Duration,
        mut cancel: Option<(&Cancel, Duration)>,
    ) -> Result<Answer, NoAnswer> {
        let (mut from, mut allowed) = (Instant::now(), deadline);
        loop {
            if let Some((wish, more)) = cancel
                && wish.is_cancelled()
            {
                self.tell(Wish::Cancel { request: number });
                (from, allowed, cancel) = (Instant::now(), more, None);
            }
            let left = allowed.saturating_sub(from.elapsed());
            let step = if cancel.is_some() { left.min(LOOK) } else { left };
            match answer.recv_timeout(step) {
                Ok(result) => return result.map_err(NoAnswer::Refused),
                Err(RecvTimeoutError::Disconnected) => return Err(NoAnswer::Ended(self.how_it_ended())),
                Err(RecvTimeoutError::Timeout) if from.elapsed() >= allowed => {
                    return Err(NoAnswer::Ended(self.give_up(allowed)));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Ends a child that breaks the protocol.
    pub fn expel(&self, why: &str) -> String {
        self.shared.kill(why.to_owned());
        self.how_it_ended()
    }

    fn give_up(&self, after: Duration) -> String {
        self.expel(&format!("it did not answer within {after:?} and was killed"))
    }

    /// Waits until the end is told, which is soon: the child is dead or dying.
    fn how_it_ended(&self) -> String {
        let from = Instant::now();
        loop {
            if let Waiting::Ended(reason) = &*self.shared.waiting.lock() {
                return reason.clone();
            }
            if from.elapsed() > LAST_RITES {
                return "PM-CHILD-013: the proving child is gone and does not say how".to_owned();
            }
            thread::sleep(LOOK);
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.kill("it is not needed any more".to_owned());
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The child says why.
    Refused(Failure),
    /// It ended, and how.
    Ended(String),
}

impl Shared {
    /// Hands answers out until the end.
    fn read(&self, mut stdout: impl Read, greet: &SyncSender<Hello>, silence: &Receiver<()>) {
        let why = match read_frame::<Hello>(&mut stdout) {
            Ok(Some(hello)) => {
                // Whoever started the child may have given up on it.
                let _ = greet.send(hello);
                loop {
                    match read_frame::<Reply>(&mut stdout) {
                        Ok(Some(reply)) => match self.hand_out(reply) {
                            Ok(()) => {}
                            Err(why) => break Some(why),
                        },
                        Ok(None) => break None,
                        Err(error) => break Some(error.to_string()),
                    }
                }
            }
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            self.kill(why);
        }
        self.end(silence);
    }

    fn hand_out(&self, Reply { number, result }: Reply) -> Result<(), String> {
        let Waiting::Open(waiting) = &mut *self.waiting.lock() else { return Ok(()) };
        let waiter = waiting.remove(&number);
        let waiter = waiter.ok_or_else(|| format!("it answered the request {number}, which nobody made"))?;
        // Whoever gave up killed the child, so nobody misses this answer.
        let _ = waiter.send(result);
        Ok(())
    }

    /// Ends the child if it still runs; the first reason counts.
    fn kill(&self, why: String) {
        self.verdict.lock().get_or_insert(why);
        if let Err(error) = self.child.lock().kill() {
            tracing::debug!(%error, "cannot kill a proving child");
        }
    }

    fn end(&self, silence: &Receiver<()>) {
        // The pipe can end before the process: a child that closed its stdout is of no use and gets a moment to exit.
        let from = Instant::now();
        let status = loop {
            match self.child.lock().try_wait() {
                Ok(Some(status)) => break Some(status),
                Err(error) => {
                    tracing::debug!(%error, "cannot wait for a proving child");
                    break None;
                }
                Ok(None) => {}
            }
            if from.elapsed() > LAST_WORDS {
                self.kill("it closed its output without exiting".to_owned());
            }
            thread::sleep(LOOK);
        };
        // Times out when something that the child started still holds the pipe.
        let _ = silence.recv_timeout(LAST_WORDS);
        let words: Vec<String> = self.last_words.lock().iter().cloned().collect();
        let mut reason = format!("PM-CHILD-014: the proving child {}", describe(status));
        if let Some(verdict) = &*self.verdict.lock() {
            reason = format!("{reason}: {verdict}");
        }
        if !words.is_empty() {
            reason = format!("{reason}; it said last: {}", words.join(" / "));
        }
        // Dropping the senders wakes everybody who waits.
        *self.waiting.lock() = Waiting::Ended(reason);
    }

    /// Logs what the child prints and keeps the last lines.
    fn listen(&self, stderr: ChildStderr, process: u32) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            match stderr.by_ref().take(QUOTED_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if text.is_empty() {
                continue;
            }
            tracing::warn!(child = process, "{text}");
            let mut words = self.last_words.lock();
            words.push_back(text);
            if words.len() > QUOTED_LINES {
                words.pop_front();
            }
        }
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.signal(), status.code())) {
        Some((Some(signal), _)) => format!("ended by signal {signal}"),
        Some((_, Some(code))) => format!("exited with code {code}"),
        _ => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(10) };
        let pauses: Vec<u64> = (0..7).map(|ends| backoff.pause(ends).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.pause(u32::MAX).as_secs(), 10);
    }
}
