//! Which contract a wallet trusts with money.
//!
//! Invariant: a new wallet takes only a contract whose code is the one of this version, with this version's hash function beside
//! it, and whose circuits are this version's; the hash of the code goes into the wallet file and is compared at each use. So a
//! coordinator cannot lead a wallet to a contract of its own making. What code cannot show, the operator chose at deployment:
//! who signs promises, fees, whether the keys come from a ceremony.

use circuits::shape::Shape;
use client::api::codec::hex_text;
use l1::node::Contract;
use protocol::{Address, checksummed};
use sha3::{Digest, Keccak256};

use crate::error::WalletError;

/// Digests of the circuits' matrices, as `proofmill circuit info` prints them.
const DIGESTS: [(Shape, &str); 6] = [
    (Shape::S3M1, "0x715f28f7e7b4a7828d6e7ddd1f1dac88d2bdbc40633ed5278ebacc016eabb579"),
    (Shape::S14M2, "0xdbea458bd2964a929e04fe7868b19fc9e78031d95efa679e66ea6a8175ff17ee"),
    (Shape::S4M60, "0x19f077983de90d5f64646c0b3f2e724019ff07f1aca61ee55aa8c449df77a208"),
    (Shape::S60M4, "0x6ad24994c17d8b9e9f5c5825a6ef1fc2220ab6afcae519ab9c52652e87a8c407"),
    (Shape::S252M4, "0xf1bb9101fdb5875f4bb0af8cacd90dd7b7379fc8efbbf60c0a9de989b18f67f5"),
    (Shape::S1020M4, "0x2c910a07eefbd2bfad97ec09cde7bf09a3ea60fa6a91ae7da0a1f8a5edbc603f"),
];

fn hash(code: &[u8]) -> [u8; 32] {
    Keccak256::digest(code).into()
}

fn wrong(contract: Address, what: &str) -> WalletError {
    WalletError::Contract { reason: format!("at {} {what}", checksummed(&contract)) }
}

/// Checks a contract that no wallet file knows yet; returns the hash of its code.
///
/// # Errors
/// `Contract` where it is not one of this version.
pub async fn check_new(contract: &Contract) -> eyre::Result<[u8; 32]> {
    let code = contract.code().await?;
    if !l1::contract::code::is_proofmill(&code) {
        return Err(
            wrong(contract.address(), "is not the code of the proofmill contract of this version").into()
        );
    }
    if !l1::contract::code::is_poseidon(&contract.poseidon_code().await?) {
        return Err(wrong(contract.address(), "another hash function is used than this version's").into());
    }
    let mut known = 0;
    for shape in Shape::ALL {
        let Some(info) = contract.circuit(shape.number()).await? else { continue };
        let sizes = (info.slots as usize, info.mint_places as usize);
        let digest = DIGESTS.iter().find(|(of, _)| *of == shape).map(|(_, digest)| *digest);
        if sizes != (shape.slots(), shape.mint_places()) || digest != Some(hex_text(&info.digest).as_str()) {
            return Err(wrong(contract.address(), &format!("circuit {shape} is not this version's")).into());
        }
        known += 1;
    }
    if known == 0 {
        return Err(wrong(contract.address(), "no circuit of this version can prove anything").into());
    }
    Ok(hash(&code))
}

/// Checks the contract of a wallet file. Files of version 1 name no hash: theirs is checked like a new one.
///
/// # Errors
/// `Contract` where the code is another one than when the wallet was made.
pub async fn check_known(contract: &Contract, pinned: Option<[u8; 32]>) -> eyre::Result<()> {
    let Some(pinned) = pinned else {
        check_new(contract).await?;
        return Ok(());
    };
    if hash(&contract.code().await?) != pinned {
        return Err(wrong(contract.address(), "is other code than when this wallet was made").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_circuit_is_known_by_its_golden_digest() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../circuits/tests/circuits.json")).unwrap();
        let golden: Vec<(&str, &str)> = golden
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["circuit"].as_str().unwrap(), one["digest"].as_str().unwrap()))
            .collect();
        assert_eq!(golden, DIGESTS.map(|(shape, digest)| (shape.name(), digest)));
    }
}
