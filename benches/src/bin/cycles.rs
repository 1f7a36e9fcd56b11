//! The kernels by the processor's counters, each on one core: cycles and instructions for each product, addition, hash or
//! element.
//!
//! ```text
//! cargo run --release -p proofmill-benches --bin cycles
//! ```
//!
//! Counters need Linux, a machine whose hypervisor passes them on, and `kernel.perf_event_paranoid` of at most 2.

fn main() -> eyre::Result<()> {
    #[cfg(target_os = "linux")]
    let counted = count();
    #[cfg(not(target_os = "linux"))]
    let counted = Err(eyre::eyre!("they are read on Linux only"));
    if let Err(reason) = counted {
        println!("this machine gives no counters: {reason:#}");
    }
    Ok(())
}

/// Runs of a kernel that are counted, after as many that are not.
#[cfg(target_os = "linux")]
const RUNS: u64 = 200;

#[cfg(target_os = "linux")]
fn count() -> eyre::Result<()> {
    use perf_event::events::Hardware;
    use perf_event::{Builder, Group};
    use proofmill_benches::kernels;

    let mut counters = Group::new()?;
    let cycles = counters.add(&Builder::new(Hardware::CPU_CYCLES))?;
    let instructions = counters.add(&Builder::new(Hardware::INSTRUCTIONS))?;
    kernels::on_this_thread()?;
    println!("{:<12} {:<26} {:>10} {:>14}", "work", "how", "cycles", "instructions");
    for mut kernel in kernels::all()? {
        (0..RUNS).for_each(|_| kernel.run());
        counters.reset()?;
        counters.enable()?;
        (0..RUNS).for_each(|_| kernel.run());
        counters.disable()?;
        let counts = counters.read()?;
        let each = |count: u64| count as f64 / (RUNS * kernel.elements) as f64;
        let (cycles, instructions) = (each(counts[&cycles]), each(counts[&instructions]));
        println!("{:<12} {:<26} {cycles:>10.1} {instructions:>14.1}", kernel.work, kernel.how);
    }
    Ok(())
}
