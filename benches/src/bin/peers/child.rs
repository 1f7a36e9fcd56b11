//! The child's side: one prover, commands on standard input, an answer a line on standard output.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use eyre::bail;

use crate::peers;
use crate::program::Usage;
use crate::size::Size;

/// Something that is done again and again.
pub enum Work {
    /// In this process.
    Here(Box<dyn FnMut() -> eyre::Result<()>>),
    /// By a program, which says what it used.
    Elsewhere(Box<dyn FnMut() -> eyre::Result<Usage>>),
}

impl Work {
    pub fn here(work: impl FnMut() -> eyre::Result<()> + 'static) -> Self {
        Self::Here(Box::new(work))
    }

    pub fn elsewhere(work: impl FnMut() -> eyre::Result<Usage> + 'static) -> Self {
        Self::Elsewhere(Box::new(work))
    }

    fn run(&mut self) -> eyre::Result<Usage> {
        match self {
            Self::Here(work) => {
                let before = ProcessTime::now();
                work()?;
                Ok(Usage { cpu: before.elapsed(), peak_mib: peak_mib() })
            }
            Self::Elsewhere(work) => work(),
        }
    }
}

/// A prover in this process.
pub trait Prover {
    fn version(&self) -> String;

    /// The work of this name and size.
    ///
    /// # Errors
    /// If this prover does not do it.
    fn prepare(&mut self, work: &str, size: Size) -> eyre::Result<Work>;
}

/// Answers until standard input ends.
///
/// # Errors
/// For a prover that is not known, and when the pipes break.
pub fn serve(who: &str) -> eyre::Result<()> {
    let mut prover = peers::by_name(who)?;
    let mut work: Option<Work> = None;
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let answer = match handle(&line?, &mut *prover, &mut work) {
            Ok(answer) => answer,
            Err(error) => format!("error {}", format!("{error:#}").replace('\n', " ")),
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn handle(line: &str, prover: &mut dyn Prover, work: &mut Option<Work>) -> eyre::Result<String> {
    match (line.split(' ').collect::<Vec<_>>().as_slice(), work) {
        (["version"], _) => Ok(prover.version()),
        (["forget"], work) => {
            *work = None;
            Ok("ok".to_owned())
        }
        (["prepare", name, size], work) => {
            *work = None;
            let mut made = prover.prepare(name, size.parse()?)?;
            // Once for the caches and for what is made on first use.
            made.run()?;
            *work = Some(made);
            Ok("ok".to_owned())
        }
        (["run"], Some(work)) => {
            reset_peak();
            let start = Instant::now();
            let Usage { cpu, peak_mib } = work.run()?;
            let wall = start.elapsed();
            let peak = peak_mib.map_or("-".to_owned(), |peak| peak.to_string());
            Ok(format!("{:.3} {:.3} {peak}", ms(wall), ms(cpu)))
        }
        _ => bail!("not a command here: {line}"),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Lets the high-water mark begin anew, where the kernel can; otherwise it is that of preparing the work too.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The high-water mark of this process, where the kernel tells it.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
