//! Every read of the contract's state, on the latest block.

use std::sync::Arc;

use bn254::Fr;
use protocol::{
    Address,
    l1::{ChainError, ContractState},
};

use super::{
    client::{Call, Node},
    logs,
};
use crate::{
    contract::{DecodeError, Event, calls},
    http::{Endpoint, HttpLimits},
};

/// More batches than a contract ever takes: a number beyond comes from the node.
const MOST_BATCHES: u32 = u32::MAX >> 1;

/// A deployed Proofmill contract, to be read.
#[derive(Clone, Debug)]
pub struct Contract {
    node: Arc<Node>,
    address: Address,
}

/// What the contract keeps of deposits and of what leaves, in coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRules {
    pub deposit_bps: u16,
    pub deposit_floor: u64,
    pub exit_bps: u16,
    pub exit_floor: u64,
}

impl FeeRules {
    /// Coins that arrive when `coins` are deposited; nothing where the fee leaves none.
    pub fn after_deposit(&self, coins: u64) -> Option<u64> {
        let share = (u128::from(coins) * u128::from(self.deposit_bps)).div_ceil(10_000);
        let rest = u128::from(coins).checked_sub(share.max(self.deposit_floor.into()))?;
        u64::try_from(rest).ok().filter(|&rest| rest > 0)
    }

    /// Coins credited when a range of `coins` leaves: each range pays for itself.
    pub fn after_exit(&self, coins: u64) -> u64 {
        let share = u128::from(coins) * u128::from(self.exit_bps) / 10_000;
        let rest = u128::from(coins).saturating_sub(share.max(self.exit_floor.into()));
        u64::try_from(rest).unwrap_or(0)
    }
}

/// The id of the node's chain.
///
/// # Errors
/// `Unreachable` while the node does not answer.
pub async fn chain_id(rpc: impl Into<Endpoint>) -> Result<u64, ChainError> {
    Node::connect(&rpc.into(), HttpLimits::default())?.chain_id().await
}

impl Contract {
    pub(super) fn new(node: Arc<Node>, address: Address) -> Self {
        Self { node, address }
    }

    /// The contract at the address, and the id of the node's chain.
    ///
    /// # Errors
    /// `Unreachable` while the node does not answer, `Unexpected` where there is no Proofmill contract.
    pub async fn open(rpc: impl Into<Endpoint>, address: Address) -> Result<(u64, Self), ChainError> {
        let node = Arc::new(Node::connect(&rpc.into(), HttpLimits::default())?);
        let chain_id = node.chain_id().await?;
        Ok((chain_id, Self::checked(node, address, chain_id).await?))
    }

    /// The contract at the address, checked to be one of Proofmill on that chain by its domain.
    ///
    /// # Errors
    /// `Unreachable` while the node does not answer, `Unexpected` where there is no Proofmill contract.
    pub async fn checked(node: Arc<Node>, address: Address, chain_id: u64) -> Result<Self, ChainError> {
        let contract = Self::new(node, address);
        match contract.domain().await {
            Ok(domain) if domain == crate::contract::data::domain(chain_id, &address) => Ok(contract),
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
        self.view_at(data, "latest", decode).await
    }

    async fn view_at<T>(
        &self,
        data: Vec<u8>,
        at: &str,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<T, ChainError> {
        let call = Call { from: [0; 20], to: Some(self.address), value: 0, data };
        let answer =
            self.node.call(&call, at).await?.map_err(|error| ChainError::Unexpected(error.to_string()))?;
        decode(&answer).map_err(|error| ChainError::Unexpected(error.to_string()))
    }

    pub async fn state(&self) -> Result<ContractState, ChainError> {
        let state = self.view(calls::state(), calls::decode_state).await?;
        if state.batch_no > MOST_BATCHES {
            return Err(ChainError::Unexpected(format!("the contract is at batch {}", state.batch_no)));
        }
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

    /// The lengths of the queues of deposits and of forced requests at the end of a block.
    pub async fn queue_lengths(&self, block: u64) -> Result<(u64, u64), ChainError> {
        let state = self.view_at(calls::state(), &format!("{block:#x}"), calls::decode_state).await?;
        Ok((state.deposit_count, state.forced_count))
    }

    /// The last batch that a final block holds; nothing where the chain has no final block with the contract yet.
    pub async fn final_batch(&self) -> Result<Option<u32>, ChainError> {
        let Some(block) = self.node.block("finalized").await? else { return Ok(None) };
        let answer = self.view_at(calls::state(), &format!("{:#x}", block.number), calls::decode_state).await;
        match answer {
            Ok(state) => Ok(Some(state.batch_no)),
            Err(error @ ChainError::Unreachable(_)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// `newRoot` of a batch, from its log in a block; nothing where that block does not hold it.
    pub async fn root_of(&self, batch_no: u32, block: u64) -> Result<Option<Fr>, ChainError> {
        let logs = self.node.raw_logs(self.address, block, block, 1).await?;
        for log in &logs {
            if let Event::BatchAccepted { batch_no: found, new_root, .. } = logs::event(log)?
                && found == batch_no
            {
                return Ok(Some(new_root));
            }
        }
        Ok(None)
    }

    /// Owner, first and last coin of what a batch let out, from its logs in a block; nothing where that block does not hold it.
    pub async fn credits_of(
        &self,
        batch_no: u32,
        block: u64,
    ) -> Result<Option<Vec<(Address, u64, u64)>>, ChainError> {
        let (mut accepted, mut credits) = (false, Vec::new());
        for log in &self.node.raw_logs(self.address, block, block, 1).await? {
            match logs::event(log)? {
                Event::BatchAccepted { batch_no: found, .. } => accepted |= found == batch_no,
                Event::Credited { owner, batch_no: found, low, high, .. } if found == batch_no => {
                    credits.push((owner, low, high));
                }
                _ => {}
            }
        }
        Ok(accepted.then_some(credits))
    }

    /// What the contract keeps of deposits and of what leaves.
    pub async fn fee_rules(&self) -> Result<FeeRules, ChainError> {
        let bps = |number: u128| {
            u16::try_from(number).map_err(|_| ChainError::Unexpected("a fee is above 100 %".into()))
        };
        let floor = |number: u128| {
            u64::try_from(number).map_err(|_| ChainError::Unexpected("a least fee is above all coins".into()))
        };
        Ok(FeeRules {
            deposit_bps: bps(self.view(calls::deposit_fee_bps(), calls::decode_u128).await?)?,
            deposit_floor: floor(self.view(calls::deposit_fee_floor(), calls::decode_u128).await?)?,
            exit_bps: bps(self.view(calls::exit_fee_bps(), calls::decode_u128).await?)?,
            exit_floor: floor(self.view(calls::exit_fee_floor(), calls::decode_u128).await?)?,
        })
    }

    /// The contract's code.
    pub async fn code(&self) -> Result<Vec<u8>, ChainError> {
        self.node.code(self.address).await
    }

    /// The code of the hash function that the contract calls.
    pub async fn poseidon_code(&self) -> Result<Vec<u8>, ChainError> {
        self.node.code(self.view(calls::poseidon(), address_of).await?).await
    }

    pub async fn domain(&self) -> Result<Fr, ChainError> {
        self.view(calls::domain(), calls::decode_fr).await
    }

    pub async fn operator(&self) -> Result<Address, ChainError> {
        self.view(calls::operator(), address_of).await
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
    pub async fn circuit(&self, number: u32) -> Result<Option<calls::CircuitInfo>, ChainError> {
        let call =
            Call { from: [0; 20], to: Some(self.address), value: 0, data: calls::circuit_info(number) };
        let answer = match self.node.call(&call, "latest").await? {
            Ok(answer) => answer,
            Err(refused) if refused.name == "UnknownCircuit" => return Ok(None),
            Err(refused) => return Err(ChainError::Unexpected(refused.to_string())),
        };
        let info =
            calls::decode_circuit_info(&answer).map_err(|error| ChainError::Unexpected(error.to_string()))?;
        Ok((info.slots > 0).then_some(info))
    }
}

fn address_of(answer: &[u8]) -> Result<Address, DecodeError> {
    let word = calls::decode_word(answer)?;
    let mut address = Address::default();
    address.copy_from_slice(&word[12..]);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_those_of_the_contract() {
        let rules = FeeRules { deposit_bps: 10, deposit_floor: 10_000, exit_bps: 10, exit_floor: 10_000 };
        let config = crate::contract::Config::new([1; 20]);
        for coins in [0, 1, 9_999, 10_000, 10_001, 20_000, 10_000_000, 10_000_001, 500_000_000, (1 << 63) - 1]
        {
            assert_eq!(rules.after_deposit(coins), config.coins_after_deposit(coins), "{coins}");
            assert_eq!(rules.after_exit(coins), config.coins_after_exit(coins), "{coins}");
        }
    }
}
