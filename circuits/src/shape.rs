//! The circuits: how many slots and mint places each has, and what follows from that.
//!
//! N + M is a power of 4, so that all outputs of a batch fill one aligned subtree. The number of a circuit is the first
//! word of D and a constant inside the circuit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One circuit of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Shape {
    S3M1,
    S14M2,
    S4M60,
    S60M4,
    S252M4,
    S1020M4,
}

/// At most this many records in a batch: a transaction is capped at 16.7 M gas (EIP-7825).
pub const MAX_RECORDS: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "PM-SHAPE-001: there is no circuit '{0}'; the circuits are s3m1, s14m2, s4m60, s60m4, s252m4, s1020m4"
)]
pub struct UnknownShape(String);

impl Shape {
    pub const ALL: [Shape; 6] =
        [Shape::S3M1, Shape::S14M2, Shape::S4M60, Shape::S60M4, Shape::S252M4, Shape::S1020M4];

    /// The circuit number, the first word of D.
    pub fn number(self) -> u32 {
        match self {
            Shape::S3M1 => 1,
            Shape::S14M2 => 2,
            Shape::S4M60 => 3,
            Shape::S60M4 => 4,
            Shape::S252M4 => 5,
            Shape::S1020M4 => 6,
        }
    }

    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.number() == number)
    }

    pub fn name(self) -> &'static str {
        match self {
            Shape::S3M1 => "s3m1",
            Shape::S14M2 => "s14m2",
            Shape::S4M60 => "s4m60",
            Shape::S60M4 => "s60m4",
            Shape::S252M4 => "s252m4",
            Shape::S1020M4 => "s1020m4",
        }
    }

    /// N: places for spends.
    pub fn slots(self) -> usize {
        match self {
            Shape::S3M1 => 3,
            Shape::S14M2 => 14,
            Shape::S4M60 => 4,
            Shape::S60M4 => 60,
            Shape::S252M4 => 252,
            Shape::S1020M4 => 1020,
        }
    }

    /// M: places for mints.
    pub fn mint_places(self) -> usize {
        match self {
            Shape::S3M1 => 1,
            Shape::S14M2 => 2,
            Shape::S4M60 => 60,
            Shape::S60M4 | Shape::S252M4 | Shape::S1020M4 => 4,
        }
    }

    /// N + M, the size of the appended subtree.
    pub fn places(self) -> usize {
        self.slots() + self.mint_places()
    }

    /// Levels of the appended subtree.
    pub fn subtree_levels(self) -> usize {
        self.places().ilog2() as usize / 2
    }

    /// F: only the last F slots can hold forced entries.
    pub fn forced_slots(self) -> usize {
        (self.slots() / 8).max(1)
    }

    /// Levels of the tree whose nodes the circuit carries from slot to slot instead of hashing them in each: it saves two
    /// hashes a level and slot, and costs hashing 4^k nodes to a root twice a batch.
    pub(crate) fn carried_levels(self) -> usize {
        match self {
            Shape::S3M1 | Shape::S4M60 => 1,
            Shape::S14M2 => 2,
            Shape::S60M4 | Shape::S252M4 | Shape::S1020M4 => 3,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(name: &str) -> Result<Self, UnknownShape> {
        Self::ALL.into_iter().find(|shape| shape.name() == name).ok_or_else(|| UnknownShape(name.to_owned()))
    }
}

impl TryFrom<String> for Shape {
    type Error = UnknownShape;

    fn try_from(name: String) -> Result<Self, UnknownShape> {
        name.parse()
    }
}

impl From<Shape> for String {
    fn from(shape: Shape) -> Self {
        shape.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_fills_an_aligned_subtree_and_reads_back() {
        for shape in Shape::ALL {
            assert_eq!(1 << (2 * shape.subtree_levels()), shape.places());
            assert_eq!(shape.name().parse(), Ok(shape));
            assert_eq!(Shape::from_number(shape.number()), Some(shape));
        }
        assert!("s5m5".parse::<Shape>().is_err());
    }
}
