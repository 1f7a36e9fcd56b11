//! Milliseconds over sizes, both logarithmic, one line for each kind of work, as SVG.

use std::collections::BTreeMap;

use eyre::{ensure, eyre};
use plotters::prelude::*;
use serde_json::Value;

/// Pixels.
const SIZE: (u32, u32) = (960, 600);

/// # Errors
/// When there is nothing to draw.
pub fn print(lines: &[Value]) -> eyre::Result<()> {
    let series = series(lines);
    ensure!(!series.is_empty(), "there is no measurement with a size and a time in these files");
    let card = lines.iter().find_map(|line| line["card"].as_str()).unwrap_or("unknown card");
    println!("{}", draw(&series, card).map_err(|error| eyre!("{error}"))?);
    Ok(())
}

type Series = BTreeMap<String, BTreeMap<u32, f64>>;

/// The times of each kind of work by log2 of the size; the best where a size was measured more than once.
fn series(lines: &[Value]) -> Series {
    let mut series = Series::new();
    for line in lines {
        let (Some(size), Some(time)) = (line["size"].as_u64(), line["median_ms"].as_f64()) else { continue };
        let parts = ["work", "who", "scalars", "copies"].map(|key| line[key].as_str().unwrap_or_default());
        let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        if let Ok(size) = u32::try_from(size)
            && time > 0.0
        {
            let best = series.entry(name).or_default().entry(size).or_insert(time);
            *best = best.min(time);
        }
    }
    series
}

fn draw(series: &Series, card: &str) -> Result<String, Box<dyn std::error::Error>> {
    let sizes = || series.values().flat_map(BTreeMap::keys).copied();
    let times = || series.values().flat_map(BTreeMap::values).copied();
    let (first, last) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(1));
    let fastest = times().fold(f64::INFINITY, f64::min) / 1.5;
    let slowest = times().fold(0.0, f64::max) * 1.5;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{card}: milliseconds by size"), ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(
                f64::from(first) - 0.2..f64::from(last) + 0.2,
                (fastest..slowest).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc("log2 of the size")
            .y_desc("ms")
            .x_labels((last - first + 1) as usize)
            .draw()?;
        for (number, (name, points)) in series.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            let points: Vec<(f64, f64)> =
                points.iter().map(|(size, time)| (f64::from(*size), *time)).collect();
            chart
                .draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK)
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}
