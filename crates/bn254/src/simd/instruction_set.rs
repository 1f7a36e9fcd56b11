//! An instruction set as a type: what [`dispatch!`](crate::dispatch) turns an [`Isa`](crate::isa::Isa) into.

use super::coordinate::Pair;
use super::eight::Eight;
use super::field52::{Field52, Q};
use super::kernels::Kernels;
#[cfg(any(test, feature = "emulation"))]
use super::{lanes::Emulated, outlined::Outlined};
use crate::isa::for_each_vector_isa;
use crate::{Fq, Fq2};

/// The types and the entry of an instruction set's kernels.
pub trait InstructionSet: 'static {
    /// Coordinates of eight points of G1.
    type G1: Kernels;
    /// Coordinates of eight points of G2.
    type G2: Kernels;

    /// Calls `work`, which is compiled for the instruction set where it is `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn run<R>(work: impl FnOnce() -> R) -> R;
}

macro_rules! instruction_set {
    ($(#[$feature:meta])? $lanes:ty) => {
        impl InstructionSet for $lanes {
            type G1 = Field52<Self, Q>;
            type G2 = Pair<Self>;

            $(#[$feature])?
            unsafe fn run<R>(work: impl FnOnce() -> R) -> R {
                work()
            }
        }
    };
}

for_each_vector_isa!(instruction_set);

#[cfg(any(test, feature = "emulation"))]
impl InstructionSet for Emulated {
    type G1 = Outlined<Field52<Self, Q>>;
    type G2 = Outlined<Pair<Self>>;

    unsafe fn run<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// No vector instructions: halo2curves, one element after the other.
pub struct Portable;

impl InstructionSet for Portable {
    type G1 = Eight<Fq>;
    type G2 = Eight<Fq2>;

    unsafe fn run<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}
