//! Whether the proving keys of this machine are those of the deployment: with others no proof is ever accepted, so a
//! coordinator does not start with them.

use eyre::bail;
use gpu_worker::Circuit;
use l1::node::Contract;
use prover::verifying_key::digest_of_words;

use crate::{deploy::Deployment, ui::hex};

/// The keys here must be those that the contract was deployed with, or no proof would ever be accepted.
pub async fn by_contract(contract: &Contract, circuits: &[Circuit]) -> eyre::Result<()> {
    for circuit in circuits {
        let shape = circuit.shape;
        match contract.circuit(shape.number()).await? {
            None => bail!(
                "the contract does not know the circuit {shape}; start with the circuits it was deployed with"
            ),
            Some(info) if info.digest != circuit.key.circuit() => {
                bail!(
                    "the contract pins another version of the circuit {shape}; take the matching release or deploy again"
                )
            }
            Some(info) if digest_of_words(&info.key) != circuit.key.verifying_key().digest() => bail!(
                "the key of {shape} here is not the contract's, which would accept no proof made with it: its verifying key is {}, the \
                 contract's is {}; copy the key file that the contract was deployed with to {}",
                hex(&circuit.key.verifying_key().digest()),
                hex(&digest_of_words(&info.key)),
                circuit
                    .key
                    .path()
                    .map_or_else(|| "the keys folder".to_owned(), |path| path.display().to_string()),
            ),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The keys here must be those that the deployment file names.
pub fn by_file(deployment: &Deployment, circuits: &[Circuit]) -> eyre::Result<()> {
    for circuit in circuits {
        let verifying_key = circuit.key.verifying_key().digest();
        if !deployment.has(circuit.shape, &circuit.key.circuit(), &verifying_key) {
            bail!(
                "the key of {} here is not the one that the contract was deployed with: its verifying key is {}; copy the \
                 key file of the deployment",
                circuit.shape,
                hex(&verifying_key)
            );
        }
    }
    Ok(())
}
