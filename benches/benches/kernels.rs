//! The kernels by the clock, each on one core: `cargo bench -p proofmill-benches --bench kernels`. Throughput is in products,
//! additions, hashes or elements. For cycles there is the program `cycles`.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use proofmill_benches::kernels;

fn main() -> eyre::Result<()> {
    kernels::on_this_thread()?;
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for mut kernel in kernels::all()? {
        let mut group = criterion.benchmark_group(kernel.work);
        group.throughput(Throughput::Elements(kernel.elements));
        let id = BenchmarkId::from_parameter(&kernel.how);
        group.bench_function(id, |bencher| bencher.iter(|| kernel.run()));
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
