//! The kernels as NVIDIA's compiler makes them, without a card: their PTX is run by an interpreter and compared
//! with the processor.
//!
//! The simulated card of `tests/card` runs the C++ of the kernels, which leaves out what only a card has: the carry
//! chains in inline assembly, which functions the compiler takes for code of the card, the index arithmetic from
//! block and thread, barriers. The interpreter runs those, and watches every access: outside of an allocation, not
//! aligned, of memory that nobody wrote, or of a word that another thread writes without a barrier between them. So
//! these tests are a memory check and a race check too.
//!
//! What it cannot show: what the driver makes of the PTX, warps that do not run in step, and time.
//!
//! The compiler is that of `NVCC`, `CUDA_HOME`, the path, or what `cuda/build.sh toolkit` fetched. Without one the
//! tests say so and pass, unless `PROOFMILL_REQUIRE_NVCC` is 1. `PROOFMILL_PTX_G2` adds the sums in G2, which take
//! the compiler long.
//!
//! - `machine`: the interpreter.
//! - `toolkit`: the compiler, and the PTX of a source.
//! - the others: the kernels, one file a source, and `interpreter`, which tests the interpreter with small programs.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod curve;
mod digits;
mod field;
mod interpreter;
mod machine;
mod msm;
mod ntt;
#[path = "../card/samples.rs"]
mod samples;
mod sparse;
mod toolkit;
