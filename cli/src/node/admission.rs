//! By what operations are admitted: the settings of which the coordinator computes how much the farm can prove in time.

use std::time::Duration;

use circuits::shape::Shape;
use clap::Args;
use coordinator::{Config, SETTLES_WITHIN, SETTLES_WITHIN_TAGGED, ScaleFromZero};
use protocol::l1::Finality;

#[derive(Args, Clone, Debug, Default)]
pub struct Admission {
    /// An autoscaler starts workers when there is work: within this time (90s, 5m) of the first of it --max-workers prove.
    /// Then no worker at all is ready too
    #[arg(long, value_name = "DURATION", requires = "max_workers", value_parser = humantime::parse_duration)]
    scale_from_zero: Option<Duration>,
    /// The most workers that it starts
    #[arg(long, value_name = "N", requires = "scale_from_zero", value_parser = clap::value_parser!(u32).range(1..))]
    max_workers: Option<u32>,
    /// How long a proof of a circuit takes on a worker, e.g. s60m4=2s, until some were measured; may be repeated
    #[arg(long, value_name = "CIRCUIT=DURATION", value_parser = parse_proof_time)]
    proof_time: Vec<(Shape, Duration)>,
    /// How long before a promise's deadline its batch is to be proven: the time that settlement takes. By default 10m with
    /// --confirmations and 25m without
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    settle_margin: Option<Duration>,
}

impl Admission {
    pub fn apply(self, config: &mut Config) {
        let scale = self.scale_from_zero.zip(self.max_workers);
        config.scale = scale.map(|(within, workers)| ScaleFromZero { within, max_workers: workers as usize });
        config.proof_time.extend(self.proof_time);
        config.settle_margin = self.settle_margin.unwrap_or(match config.finality {
            Finality::Tag => SETTLES_WITHIN_TAGGED,
            Finality::Confirmations(_) => SETTLES_WITHIN,
        });
    }
}

fn parse_proof_time(text: &str) -> Result<(Shape, Duration), String> {
    let (circuit, time) = text.split_once('=').ok_or("it is CIRCUIT=DURATION, e.g. s60m4=2s")?;
    let shape = circuit.parse::<Shape>().map_err(|error| error.to_string())?;
    let time = humantime::parse_duration(time).map_err(|error| error.to_string())?;
    Ok((shape, time))
}
