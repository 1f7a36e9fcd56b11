//! Key generation and proof of the densest circuit of a size, with times and peak memory.
//!
//! `cargo run --release -p proofmill-prover --example dense -- 16` proves 2^16 - 8 times x -> x^2 + 7: every variable is
//! a full field element and stands in A, B and C, so all five sums have full length.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use bn254::Fr;
use prover::{
    Cancel, CpuBackend, DevTrapdoor, Key, Matrices, NoProgress, Prover, generate, synthesize_witness,
};

struct Dense(usize);

impl Circuit<Fr> for Dense {
    fn synthesize<CS: ConstraintSystem<Fr>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut value = Fr::from(3);
        let mut x = cs.alloc(|| "start", || Ok(value))?;
        for step in 1..=self.0 {
            value = value.square() + Fr::from(7);
            let next = if step == self.0 {
                cs.alloc_input(|| "end", || Ok(value))?
            } else {
                cs.alloc(|| "next", || Ok(value))?
            };
            cs.enforce(|| "step", |lc| lc + x, |lc| lc + x, |lc| lc + next - (Fr::from(7), CS::one()));
            x = next;
        }
        Ok(())
    }
}

/// Peak resident memory in MiB, where the system tells (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

/// Processor time of this process in seconds, where the system tells (Linux, in ticks of 10 ms).
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let (start, before) = (Instant::now(), processor_time());
    let result = work();
    let cpu = processor_time().zip(before).map_or(f64::NAN, |(after, before)| after - before);
    println!("{name}: {:.3} s, {cpu:.2} s of processor time", start.elapsed().as_secs_f64());
    result
}

fn main() -> Result<(), Box<dyn Error>> {
    let log: u32 = std::env::args().nth(1).map_or(Ok(14), |text| text.parse())?;
    let steps = (1_usize << log) - 8;
    let path = std::env::temp_dir().join(format!("dense-{log}-{}.pmkey", std::process::id()));
    let matrices = timed("matrices", || Matrices::synthesize(Dense(steps)))?;
    timed("digest", || matrices.digest());
    timed("key", || -> Result<(), Box<dyn Error>> {
        let parts = generate(&matrices, &DevTrapdoor::from_seed("dense"), &NoProgress)?;
        Ok(timed("  of that: writing the file", || parts.write(&path))?)
    })?;
    println!("peak memory after key generation: {:?} MiB", peak_memory());
    let key = timed("opening the key", || Key::open(&path, Some(matrices.digest())))?;
    std::fs::remove_file(&path)?;
    println!("key file: {} bytes", key.file_len());
    let witness = timed("witness", || synthesize_witness(Dense(steps)))?;
    let prover = Prover::new(Arc::new(CpuBackend::new()), Arc::new(key), Arc::new(matrices))?;
    for _ in 0..3 {
        let proven = timed("proof", || prover.prove(&witness, &Cancel::new()))?;
        println!("  {:?}, finish {:?}", proven.timings, proven.finish);
    }
    println!("peak memory: {:?} MiB", peak_memory());
    Ok(())
}
