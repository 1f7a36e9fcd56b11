//! What the coordinator needs of an EVM chain. No type of an Ethereum library crosses this border.
//!
//! Invariant: what an implementation returns was decoded completely; a log that cannot be decoded is
//! [`ChainError::Undecodable`], never a guess and never a gap, and stops the intake of deposits with an alarm.
//!
//! | part | purpose |
//! |---|---|
//! | [`Chain`] | reads, signs, sends |
//! | [`evm`] | a node of an EVM chain |
//! | [`several`] | several nodes, none of which is believed alone |
//! | `memory` | a chain in memory, for tests |
//! | `model` | the contract's bookkeeping, for that chain and the simulator's |

use async_trait::async_trait;
use protocol::{
    Address,
    l1::{
        At, BlockRef, ChainError, ContractState, Deployment, DryRun, Fees, Hash32, Logs, Receipt,
        SendOutcome, SignedTx, SubmitBatch,
    },
};

pub mod evm;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
#[cfg(any(test, feature = "testing"))]
pub mod model;
pub mod several;

/// The chain as the coordinator sees it. Implementations hold the contract's address and the owner key, and no rule.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Read once at start.
    async fn deployment(&self) -> Result<Deployment, ChainError>;

    async fn head(&self) -> Result<BlockRef, ChainError>;

    /// The block tagged `finalized`; nothing if the chain does not know the tag.
    async fn finalized(&self) -> Result<Option<BlockRef>, ChainError>;

    /// The hash of block `number` on the canonical chain; nothing above the head.
    async fn block_hash(&self, number: u64) -> Result<Option<Hash32>, ChainError>;

    /// All logs of the contract that concern deposits, forced requests and batches, in blocks `from..=to`.
    async fn logs(&self, from: u64, to: u64) -> Result<Logs, ChainError>;

    async fn contract_state(&self) -> Result<ContractState, ChainError>;

    /// How many deposits and forced requests the contract has at the end of this block; nothing where the node keeps no
    /// state of it. Logs that a node has not indexed yet show by it.
    async fn queue_lengths(&self, block: u64) -> Result<Option<(u64, u64)>, ChainError>;

    /// The next nonce of an address by mined transactions.
    async fn nonce(&self, owner: Address) -> Result<u64, ChainError>;

    /// The nonce of an address and the contract's state, by one node, the nonce first: so the contract has what that node
    /// mined with the nonces before.
    async fn standing(&self, owner: Address) -> Result<(u64, ContractState), ChainError> {
        Ok((self.nonce(owner).await?, self.contract_state().await?))
    }

    /// Fees with which a transaction should be mined soon.
    async fn fees(&self) -> Result<Fees, ChainError>;

    /// Builds and signs; sends nothing.
    ///
    /// `batches` go in one transaction, in their order; they were tried before with that gas limit.
    async fn sign_submit(
        &self,
        batches: &[SubmitBatch],
        nonce: u64,
        fees: Fees,
        gas_limit: u64,
    ) -> Result<SignedTx, ChainError>;

    async fn send_raw(&self, tx: &SignedTx) -> Result<SendOutcome, ChainError>;

    /// Nothing while the transaction is not mined on the canonical chain. An error says nothing about it: nodes that are
    /// still indexing have one for transactions that are mined.
    async fn receipt(&self, tx: Hash32) -> Result<Option<Receipt>, ChainError>;

    /// `eth_call` from the operator with these batches in one transaction.
    async fn dry_run(&self, batches: &[SubmitBatch], at: At) -> Result<DryRun, ChainError>;

    /// Whether promises of this signer count, on the latest block.
    async fn is_promise_signer(&self, signer: Address) -> Result<bool, ChainError>;

    /// What a person should know though everything goes on: a node that contradicts the others and is not used.
    fn alarm(&self) -> Option<String> {
        None
    }

    /// `keyEpoch(owner)` on the latest block.
    async fn key_epoch(&self, owner: Address) -> Result<u32, ChainError>;
}
