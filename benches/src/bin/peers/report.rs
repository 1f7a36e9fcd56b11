//! What was measured, as a table or as lines of JSON.

use serde_json::json;

use crate::peer::{Peer, Run};
use crate::size::Size;

/// Who the others are compared with.
const OURS: &str = "proofmill";

pub struct Report {
    json: bool,
    threads: usize,
    rounds: usize,
}

impl Report {
    pub fn new(json: bool, threads: usize, rounds: usize) -> Self {
        Self { json, threads, rounds }
    }

    pub fn begin(&self, peers: &[Peer], missing: &[String]) {
        if self.json {
            return;
        }
        println!("{} threads, medians of {} interleaved rounds", self.threads, self.rounds);
        for peer in peers {
            println!("  {}: {}", peer.name(), peer.version());
        }
        for reason in missing {
            println!("  not measured: {reason}");
        }
        println!(
            "{:<8} {:<6} {:<20} {:>12} {:>12} {:>9} {:>12}",
            "work", "size", "who", "median ms", "cpu ms", "peak MiB", "of ours"
        );
    }

    pub fn compared(&self, work: &str, size: Size, runs: &[(&mut Peer, Vec<Run>)]) {
        let wall = |runs: &[Run]| median(runs.iter().map(|run| run.ms));
        let ours = runs.iter().find(|(peer, _)| peer.name() == OURS).map(|(_, runs)| wall(runs));
        for (peer, runs) in runs {
            let (ms, cpu_ms) = (wall(runs), median(runs.iter().map(|run| run.cpu_ms)));
            let peak = runs.iter().filter_map(|run| run.peak_mib).max();
            let who = peer.name();
            if self.json {
                let line = json!({
                    "work": work, "size": size.to_json(), "threads": self.threads, "who": who,
                    "median_ms": round(ms), "cpu_ms": round(cpu_ms), "peak_mib": peak,
                });
                println!("{line}");
            } else {
                let peak = peak.map_or("-".to_owned(), |peak| peak.to_string());
                let ratio = ours.map_or(String::new(), |ours| format!("{:.2} x", ms / ours));
                println!("{work:<8} {size:<6} {who:<20} {ms:>12.2} {cpu_ms:>12.2} {peak:>9} {ratio:>12}");
            }
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
