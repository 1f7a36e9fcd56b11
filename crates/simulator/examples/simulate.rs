//! Schedules of failures against the real coordinator, as many as one likes. Prints how many a second, which faults they met,
//! and for one that breaks something its seed and the shortest trace.
//!
//! `cargo run --release -p proofmill-simulator --example simulate -- --seeds 10000 [--first-seed N] [--threads 2]
//! [--trace SEED] [--bug NAME]`; a bug is planted to see that it is found.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

use simulator::{Bug, Plan, Report, run, shrink};

struct Options {
    first: u64,
    seeds: u64,
    threads: usize,
    trace: Option<u64>,
    bug: Option<Bug>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { first: 0, seeds: 1_000, threads: 2, trace: None, bug: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        match word.as_str() {
            "--seeds" => options.seeds = value.parse()?,
            "--first-seed" => options.first = value.parse()?,
            "--threads" => options.threads = value.parse()?,
            "--trace" => options.trace = Some(value.parse()?),
            "--bug" => {
                let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == value);
                options.bug = Some(bug.ok_or_else(|| format!("{value} is none of {:?}", Bug::ALL))?);
            }
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    if let Some(seed) = options.trace {
        let report = run(&Plan { seed, traced: true, bug: options.bug, ..Plan::default() });
        report.trace.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: {}", report.broken.as_deref().unwrap_or("nothing broke"));
        return Ok(());
    }
    let (next, broken) = (AtomicU64::new(options.first), AtomicBool::new(false));
    let end = options.first + options.seeds;
    let began = Instant::now();
    let reports = thread::scope(|scope| {
        let worker = || {
            let mut tally = Tally::default();
            while !broken.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    break;
                }
                tally.add(run(&Plan { seed, bug: options.bug, ..Plan::default() }));
                broken.fetch_or(tally.broken.is_some(), Ordering::Relaxed);
            }
            tally
        };
        let threads: Vec<_> = (0..options.threads.max(1)).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Result<Vec<Tally>, _>>()
    });
    let reports = reports.map_err(|_| "a thread panicked outside a schedule")?;
    let seconds = began.elapsed().as_secs_f64();
    let runs: u64 = reports.iter().map(|tally| tally.runs).sum();
    println!("{runs} schedules in {seconds:.1} s, {:.0} a second", runs as f64 / seconds);
    let (names, sums) = total(&reports);
    for (name, sum) in names.into_iter().zip(sums) {
        println!("{sum:>12} {name}");
    }
    let Some(seed) = reports.iter().filter_map(|tally| tally.broken).min() else { return Ok(()) };
    let Some((plan, report)) = shrink(&Plan { seed, bug: options.bug, ..Plan::default() }) else {
        return Err(format!("seed {seed} broke once and not again: it is not deterministic").into());
    };
    let steps = plan.steps.unwrap_or(report.steps) - plan.skipped.len();
    println!("seed {seed} in {steps} steps:");
    report.trace.iter().for_each(|line| println!("{line}"));
    Err(report.broken.unwrap_or_default().into())
}

/// What a thread has seen.
#[derive(Default)]
struct Tally {
    runs: u64,
    broken: Option<u64>,
    counts: Vec<(&'static str, u64)>,
}

impl Tally {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        if report.broken.is_some() {
            self.broken = Some(self.broken.map_or(report.seed, |seed| seed.min(report.seed)));
        }
        let counts = report.seen.counts();
        if self.counts.is_empty() {
            self.counts = counts.to_vec();
        } else {
            self.counts.iter_mut().zip(counts).for_each(|(sum, (_, count))| sum.1 += count);
        }
    }
}

fn total(tallies: &[Tally]) -> (Vec<&'static str>, Vec<u64>) {
    let names = tallies.iter().find(|tally| !tally.counts.is_empty());
    let names: Vec<&str> =
        names.map_or_else(Vec::new, |tally| tally.counts.iter().map(|count| count.0).collect());
    let sum = |at: usize| tallies.iter().filter_map(|tally| tally.counts.get(at)).map(|count| count.1).sum();
    let sums = (0..names.len()).map(sum).collect();
    (names, sums)
}
