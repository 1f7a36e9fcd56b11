//! Every read of the contract's state, on the latest block.

use std::sync::Arc;

use bn254::Fr;
use contracts::{DecodeError, Word, calls};

use super::node::{Call, Node};
use crate::{
    chain::{ChainError, ContractState},
    service::Address,
};

/// A deployed Proofmill contract, to be read.
#[derive(Clone, Debug)]
pub struct Contract {
    node: Arc<Node>,
    address: Address,
}

/// A circuit that the contract knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitInfo {
    pub slots: u32,
    pub mint_places: u32,
    /// Of the circuit's matrices.
    pub digest: Word,
}

impl Contract {
    pub(super) fn new(node: Arc<Node>, address: Address) -> Self {
        Self { node, address }
    }

    /// The contract at the address, checked to be one of Proofmill on that chain by its domain.
    pub(super) async fn checked(
        node: Arc<Node>,
        address: Address,
        chain_id: u64,
    ) -> Result<Self, ChainError> {
        let contract = Self::new(node, address);
        match contract.domain().await {
            Ok(domain) if domain == contracts::data::domain(chain_id, &address) => Ok(contract),
            Err(error @ ChainError::Unreachable(_)) => Err(error),
            _ => Err(ChainError::Unexpected(format!(
                "there is no Proofmill contract at 0x{} on chain {chain_id}",
                hex::encode(address)
            ))),
        }
    }

    pub fn address(&self) -> Address {
        self.address
    }

    async fn view<T>(
        &self,
        data: Vec<u8>,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<T, ChainError> {
        let call = Call { from: [0; 20], to: Some(self.address), value: 0, data };
        let answer = self
            .node
            .call(&call, "latest")
            .await?
            .map_err(|error| ChainError::Unexpected(error.to_string()))?;
        decode(&answer).map_err(|error| ChainError::Unexpected(error.to_string()))
    }

    pub async fn state(&self) -> Result<ContractState, ChainError> {
        let state = self.view(calls::state(), calls::decode_state).await?;
        Ok(ContractState {
            root: state.root,
            batch_no: state.batch_no,
            next: state.next,
            minted_up_to: state.minted_up_to,
            forced_up_to: state.forced_up_to,
            deposit_count: state.deposit_count,
            forced_count: state.forced_count,
        })
    }

    pub async fn domain(&self) -> Result<Fr, ChainError> {
        self.view(calls::domain(), calls::decode_fr).await
    }

    pub async fn operator(&self) -> Result<Address, ChainError> {
        let word = self.view(calls::operator(), calls::decode_word).await?;
        let mut operator = Address::default();
        operator.copy_from_slice(&word[12..]);
        Ok(operator)
    }

    /// Wei per coin.
    pub async fn quantum(&self) -> Result<u64, ChainError> {
        let quantum = self.view(calls::quantum(), calls::decode_u128).await?;
        u64::try_from(quantum).map_err(|_| ChainError::Unexpected("the quantum does not fit 64 bits".into()))
    }

    /// Wei that `owner` can collect.
    pub async fn pending(&self, owner: Address) -> Result<u128, ChainError> {
        self.view(calls::pending(&owner), calls::decode_u128).await
    }

    pub async fn key_epoch(&self, owner: Address) -> Result<u32, ChainError> {
        let epoch = self.view(calls::key_epoch(&owner), calls::decode_u128).await?;
        u32::try_from(epoch).map_err(|_| ChainError::Unexpected("a key epoch does not fit 32 bits".into()))
    }

    /// Wei that a forced request costs now: the base fee, and what open requests add.
    pub async fn force_fee(&self) -> Result<(u128, u128), ChainError> {
        self.view(calls::force_fee(), calls::decode_force_fee).await
    }

    /// Wei that the contract owes to all, at most its balance.
    pub async fn liabilities(&self) -> Result<u128, ChainError> {
        self.view(calls::liabilities(), calls::decode_u128).await
    }

    pub async fn is_promise_signer(&self, signer: Address) -> Result<bool, ChainError> {
        self.view(calls::is_promise_signer(&signer), calls::decode_bool).await
    }

    /// Nothing where the contract does not know the circuit.
    pub async fn circuit(&self, number: u32) -> Result<Option<CircuitInfo>, ChainError> {
        let (slots, mint_places, digest) =
            self.view(calls::circuit_info(number), calls::decode_circuit_info).await?;
        Ok((slots > 0).then_some(CircuitInfo { slots, mint_places, digest }))
    }
}
