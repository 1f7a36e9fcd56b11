//! How large a work is: a power of two, or a circuit of the protocol.

use std::fmt;
use std::str::FromStr;

use circuits::shape::Shape;
use eyre::bail;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// log2 of the number of elements, points or constraints.
    Log(u32),
    /// Of a batch.
    Circuit(Shape),
}

/// r - 1 is a multiple of 2^28 and of no higher power of two: no domain is larger.
const LARGEST_LOG: u32 = 28;

impl Size {
    /// As it stands in a line of JSON: a number, or the circuit's name.
    pub fn to_json(self) -> Value {
        match self {
            Self::Log(log) => log.into(),
            Self::Circuit(shape) => shape.name().into(),
        }
    }

    /// As a prover is told it.
    pub fn name(self) -> String {
        match self {
            Self::Log(log) => log.to_string(),
            Self::Circuit(shape) => shape.name().to_owned(),
        }
    }

    /// Whether the work of this name has sizes of this kind.
    pub fn fits(self, work: &str) -> bool {
        (work == "batch") == matches!(self, Self::Circuit(_))
    }
}

impl FromStr for Size {
    type Err = eyre::Report;

    fn from_str(text: &str) -> eyre::Result<Self> {
        match text.parse::<u32>() {
            Ok(log) if log > LARGEST_LOG => bail!("2^{log} is more than anybody does"),
            Ok(log) => Ok(Self::Log(log)),
            Err(_) => Ok(Self::Circuit(text.parse()?)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => f.pad(&format!("2^{log}")),
            Self::Circuit(shape) => f.pad(shape.name()),
        }
    }
}
