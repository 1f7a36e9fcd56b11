//! The child's side: one prover, commands on standard input, an answer a line on standard output.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use eyre::bail;

use crate::peers;

/// Something that is done again and again.
pub type Work = Box<dyn FnMut() -> eyre::Result<()>>;

/// A prover in this process.
pub trait Prover {
    fn version(&self) -> String;

    /// Whether it works in processes of its own, whose memory nobody here sees.
    fn works_elsewhere(&self) -> bool {
        false
    }

    /// The work of this name and size (log2).
    ///
    /// # Errors
    /// If this prover does not do it.
    fn prepare(&mut self, work: &str, size: u32) -> eyre::Result<Work>;
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
            made()?;
            *work = Some(made);
            Ok("ok".to_owned())
        }
        (["run"], Some(work)) => {
            reset_peak();
            let (start, cpu, others) = (Instant::now(), ProcessTime::now(), time_of_children());
            work()?;
            let (wall, cpu) = (start.elapsed(), cpu.elapsed() + (time_of_children() - others));
            let peak = if prover.works_elsewhere() { None } else { peak_mib() };
            let peak = peak.map_or("-".to_owned(), |peak| peak.to_string());
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

/// Processor time of child processes that have ended, where the kernel tells it, in ticks of 10 ms.
fn time_of_children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    // Fields 16 and 17 of the file, of which the name in brackets is the second.
    let ticks: u64 =
        fields.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}
