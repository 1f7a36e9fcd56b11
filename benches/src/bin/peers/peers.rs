//! The provers that run in a child of this program.

mod arkworks;
mod bellman;
mod constantine;
mod halo2;
mod ours;
mod rapidsnark;

use eyre::bail;

use crate::child::Prover;

pub use constantine::LIBRARY as CONSTANTINE;
pub use rapidsnark::PROGRAM as RAPIDSNARK;

/// The prover of a name.
///
/// # Errors
/// For another name, and if the prover's library does not load.
pub fn by_name(name: &str) -> eyre::Result<Box<dyn Prover>> {
    Ok(match name {
        "proofmill" | "proofmill-no-ifma" | "proofmill-avx2" | "proofmill-portable" => Box::new(ours::Ours),
        "halo2curves" => Box::new(halo2::Halo2),
        "bellman" => Box::new(bellman::Bellman),
        "arkworks" => Box::new(arkworks::Arkworks),
        "constantine" => Box::new(constantine::Constantine::load()?),
        "rapidsnark" => Box::new(rapidsnark::Rapidsnark),
        _ => bail!("no prover is called {name}"),
    })
}
