//! Many random checks of the kernels and many random proofs: what the tests do, for as long as somebody likes.
//!
//! ```text
//! cargo run --release -p proofmill-benches --bin soak -- --kernels 10000000 --proofs 10000
//! ```
//!
//! | module | what is checked |
//! |---|---|
//! | [`fields`] | arithmetic in Fq, Fr and Fq2, on every engine that this processor runs, against halo2curves |
//! | [`points`] | batch-affine additions in G1 and G2, likewise |
//! | [`rows`] | rows of sparse matrices that are alike, likewise |
//! | [`proofs`] | proofs of random circuits, by our verifier and by arkworks'; that none holds for another public input |
//!
//! One check of kernels is one draw of operands (eight for each operation, or a batch of points), through all operations and all
//! engines. Every check is drawn from the seed and its own number. What is wrong is printed with both and with the operands, and
//! the program ends with status 1.

mod circuit;
mod fields;
mod operands;
mod points;
mod proofs;
mod rows;
mod runner;

use std::process::ExitCode;

use clap::Parser;
use rand_core::{OsRng, RngCore};

use crate::fields::Fields;
use crate::points::Points;

#[derive(Parser)]
struct Args {
    /// Checks of the kernels
    #[arg(long, default_value_t = 1_000_000)]
    kernels: u64,
    /// Proofs
    #[arg(long, default_value_t = 1_000)]
    proofs: u64,
    /// What everything is drawn from; the operating system chooses by default
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| OsRng.next_u64());
    eprintln!("seed {seed}");
    let wrong =
        kernels(seed, args.kernels) + runner::all("proofs", seed, args.proofs, |n| proofs::check(seed, n));
    println!("{} kernel checks, {} proofs, {wrong} wrong", args.kernels, args.proofs);
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks kernels in turns; how many were wrong.
fn kernels(seed: u64, count: u64) -> u64 {
    let (fields, points) = (Fields::new(), Points::new(seed));
    runner::all("kernel checks", seed, count, |number| {
        let rng = &mut operands::rng(seed, number);
        match number % 16 {
            0 => points.check_g1(rng),
            8 => points.check_g2(rng),
            2 => rows::check(rng),
            4 | 12 => fields.check_fq2(rng),
            odd if odd % 2 == 1 => fields.check_fq(rng),
            _ => fields.check_fr(rng),
        }
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_short_soak_finds_nothing() {
        assert_eq!(super::kernels(1, 3_000), 0);
        assert_eq!(super::runner::all("proofs", 1, 12, |number| super::proofs::check(1, number)), 0);
    }
}
