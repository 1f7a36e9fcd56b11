//! Measurements as lines of JSON, with the card they were taken on.

use std::path::PathBuf;

use cuda::CudaBackend;
use eyre::{WrapErr, eyre};
use prover::Backend;
use serde_json::{Value, json};

/// One line, on standard output.
pub fn emit(line: &Value) {
    println!("{line}");
}

/// The card that all lines after this one were measured on.
pub fn card(backend: &CudaBackend) -> Value {
    let device = backend.device();
    let field = |f: fn(&prover::DeviceInfo) -> String| device.as_ref().map(f);
    let name = field(|d| d.name.clone());
    json!({
        "work": "card",
        // Its times say nothing.
        "simulated": name.as_deref() == Some("simulated card"),
        "card": name,
        "uuid": field(|d| d.uuid.clone()),
        "memory_mib": device.as_ref().map(|d| d.memory >> 20),
        "versions": field(|d| d.versions.clone()),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
    })
}

pub fn info(backend: &CudaBackend) -> eyre::Result<()> {
    emit(&card(backend));
    match crate::kernels::open_icicle() {
        Ok(_) => eprintln!("peer icicle: here"),
        Err(reason) => eprintln!("peer icicle: not here: {reason}"),
    }
    Ok(())
}

/// The lines of files; what is no JSON is an error that names its place.
///
/// # Errors
/// When a file cannot be read or has a broken line.
pub fn read(files: &[PathBuf]) -> eyre::Result<Vec<Value>> {
    let mut lines = Vec::new();
    for file in files {
        let text =
            std::fs::read_to_string(file).wrap_err_with(|| format!("cannot read {}", file.display()))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let value = serde_json::from_str(line).map_err(|error| {
                eyre!("{}:{}: not a line of measurements: {error}", file.display(), number + 1)
            })?;
            lines.push(value);
        }
    }
    Ok(lines)
}

/// The middle one; NaN of none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Three digits behind the point.
pub fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
