//! The [`Chain`] over nodes of an EVM chain: one, or several that are compared with each other.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use l1::{
    contract::ContractError,
    http::{Endpoint, HttpLimits},
    node::{Call, Contract, Draft, FeeLimits, Node, Signer, TxError, submit_call},
};
use protocol::{
    Address,
    l1::{
        At, BlockRef, ChainError, ContractState, Deployment, DryRun, Fees, Finality, Hash32, Logs, Receipt,
        SendOutcome, SignedTx, SubmitBatch,
    },
};

use super::{
    Chain,
    several::{Connect, Several},
};

/// Where the contract is, and how to speak to the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvmSettings {
    /// The path of its address is never logged.
    pub rpc: Endpoint,
    pub contract: Address,
    /// The block of the deployment.
    pub first_block: u64,
    /// Refuses a node of any other chain.
    pub chain_id: Option<u64>,
    pub finality: Finality,
    /// Most blocks in one `eth_getLogs`; fewer are asked for by itself where the node refuses.
    pub log_span: u64,
    pub fees: FeeLimits,
    pub transport: HttpLimits,
}

impl EvmSettings {
    /// The finality tag, 2,000 blocks of logs at once, the default limits, whatever chain the node is of.
    pub fn new(rpc: impl Into<Endpoint>, contract: Address, first_block: u64) -> Self {
        Self {
            rpc: rpc.into(),
            contract,
            first_block,
            chain_id: None,
            finality: Finality::Tag,
            log_span: 2_000,
            fees: FeeLimits::default(),
            transport: HttpLimits::default(),
        }
    }
}

/// A chain, a contract on it, and who signs for the operator.
#[derive(Debug)]
pub struct EvmChain {
    node: Arc<Node>,
    contract: Contract,
    signer: Arc<Signer>,
    deployment: Deployment,
    settings: EvmSettings,
}

impl EvmChain {
    /// Asks the node for its chain and the contract for its settings.
    ///
    /// # Errors
    /// `Unreachable` while the node does not answer: try again. `Unexpected` where it is of another chain than
    /// configured, or has no Proofmill contract at the address. `Signing` where the key is not the operator's, or is one
    /// that everybody knows and the chain is real.
    pub async fn connect(settings: EvmSettings, signer: impl Into<Signer>) -> Result<Self, ChainError> {
        Self::connect_as(settings, Arc::new(signer.into())).await
    }

    async fn connect_as(settings: EvmSettings, signer: Arc<Signer>) -> Result<Self, ChainError> {
        let node = Arc::new(Node::connect(&settings.rpc, settings.transport)?);
        let chain_id = node.chain_id_checked(settings.chain_id).await?;
        signer.check_chain(chain_id)?;
        let contract = Contract::checked(Arc::clone(&node), settings.contract, chain_id).await?;
        let operator = contract.operator().await?;
        if operator != signer.address() {
            return Err(ChainError::Signing(format!(
                "the key is of 0x{}, the contract takes batches of 0x{} only",
                hex::encode(signer.address()),
                hex::encode(operator)
            )));
        }
        let deployment = Deployment {
            chain_id,
            contract: settings.contract,
            operator,
            quantum_wei: contract.quantum().await?,
            first_block: settings.first_block,
        };
        Ok(Self { node, contract, signer, deployment, settings })
    }

    /// The contract's views beyond those of [`Chain`].
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    async fn dry_run_on(&self, batches: &[SubmitBatch], at: At) -> Result<DryRun, ChainError> {
        let (call, at) = (self.submit_call(batches), tag(at));
        let in_words = |error: ContractError| {
            DryRun::Reverted(format!("{}: {} ({})", error.name, error.sentence, error.code))
        };
        if let Err(error) = self.node.call(&call, at).await? {
            return Ok(in_words(error));
        }
        match self.node.gas_limit(&call, at).await {
            Ok(gas_limit) => Ok(DryRun::Accepted { gas_limit }),
            Err(TxError::Refused(error)) => Ok(in_words(error)),
            Err(error @ TxError::TooMuchGas { .. }) => Ok(DryRun::Reverted(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    fn submit_call(&self, batches: &[SubmitBatch]) -> Call {
        Call {
            from: self.signer.address(),
            to: Some(self.settings.contract),
            value: 0,
            data: submit_call(batches),
        }
    }
}

/// The chain behind one node, or behind several that are compared with each other and asked in this order (see
/// [`several`](super::several)); and the contract by the first of them that answers.
///
/// # Errors
/// As [`EvmChain::connect`], for any of them; `Unreachable` only if none answers.
pub async fn connect(
    nodes: Vec<EvmSettings>,
    signer: impl Into<Signer>,
) -> Result<(Arc<dyn Chain>, Contract), ChainError> {
    let signer = Arc::new(signer.into());
    if let [settings] = &nodes[..] {
        let chain = EvmChain::connect_as(settings.clone(), signer).await?;
        let contract = chain.contract.clone();
        return Ok((Arc::new(chain), contract));
    }
    let first: Arc<OnceLock<(u64, Contract)>> = Arc::default();
    let members = nodes.into_iter().map(|settings| {
        let (signer, first) = (Arc::clone(&signer), Arc::clone(&first));
        let name = settings.rpc.host();
        let connect: Connect = Box::new(move || {
            let (mut settings, signer, first) = (settings.clone(), Arc::clone(&signer), Arc::clone(&first));
            // Where no chain is configured, it is that of the first node that answers.
            settings.chain_id = settings.chain_id.or(first.get().map(|(chain_id, _)| *chain_id));
            Box::pin(async move {
                let chain = EvmChain::connect_as(settings, signer).await?;
                first.get_or_init(|| (chain.deployment.chain_id, chain.contract.clone()));
                Ok(Arc::new(chain) as Arc<dyn Chain>)
            })
        });
        (name, connect)
    });
    let several = Several::connect(members.collect()).await?;
    let nobody = || ChainError::Unreachable("no node answers".to_owned());
    let (_, contract) = first.get().cloned().ok_or_else(nobody)?;
    Ok((Arc::new(several), contract))
}

fn tag(at: At) -> &'static str {
    match at {
        At::Latest => "latest",
        At::Pending => "pending",
    }
}

#[async_trait]
impl Chain for EvmChain {
    async fn deployment(&self) -> Result<Deployment, ChainError> {
        Ok(self.deployment.clone())
    }

    async fn head(&self) -> Result<BlockRef, ChainError> {
        self.node.head().await
    }

    async fn finalized(&self) -> Result<Option<BlockRef>, ChainError> {
        match self.settings.finality {
            Finality::Tag => self.node.block("finalized").await,
            Finality::Confirmations(0) => self.node.head().await.map(Some),
            Finality::Confirmations(depth) => {
                let head = self.node.head().await?;
                self.node.block_at(head.number.saturating_sub(depth)).await
            }
        }
    }

    async fn block_hash(&self, number: u64) -> Result<Option<Hash32>, ChainError> {
        Ok(self.node.block_at(number).await?.map(|block| block.hash))
    }

    async fn logs(&self, from: u64, to: u64) -> Result<Logs, ChainError> {
        self.node.logs(self.settings.contract, from, to, self.settings.log_span).await
    }

    async fn contract_state(&self) -> Result<ContractState, ChainError> {
        self.contract.state().await
    }

    async fn queue_lengths(&self, block: u64) -> Result<Option<(u64, u64)>, ChainError> {
        match self.contract.queue_lengths(block).await {
            Ok(lengths) => Ok(Some(lengths)),
            Err(error @ ChainError::Unreachable(_)) => Err(error),
            // Full nodes forget the state of old blocks, and say so in many ways.
            Err(_) => Ok(None),
        }
    }

    async fn nonce(&self, owner: Address) -> Result<u64, ChainError> {
        self.node.nonce(owner, "latest").await
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        self.node.fees(&self.settings.fees).await
    }

    async fn sign_submit(
        &self,
        batches: &[SubmitBatch],
        nonce: u64,
        fees: Fees,
        gas_limit: u64,
    ) -> Result<SignedTx, ChainError> {
        let call = self.submit_call(batches);
        self.signer
            .sign(&Draft { call: &call, chain_id: self.deployment.chain_id, nonce, gas: gas_limit, fees })
            .await
    }

    async fn send_raw(&self, tx: &SignedTx) -> Result<SendOutcome, ChainError> {
        self.node.send_raw(tx).await
    }

    async fn receipt(&self, tx: Hash32) -> Result<Option<Receipt>, ChainError> {
        self.node.receipt(tx).await
    }

    async fn dry_run(&self, batches: &[SubmitBatch], at: At) -> Result<DryRun, ChainError> {
        match self.dry_run_on(batches, at).await {
            // A call on what is pending only saves time. Nodes without such a state refuse it in words of their own; what
            // builds on what is pending waits then, as it does when the call reverts.
            Err(error) if at == At::Pending => Ok(DryRun::Reverted(error.to_string())),
            outcome => outcome,
        }
    }

    async fn is_promise_signer(&self, signer: Address) -> Result<bool, ChainError> {
        self.contract.is_promise_signer(signer).await
    }

    async fn key_epoch(&self, owner: Address) -> Result<u32, ChainError> {
        self.contract.key_epoch(owner).await
    }
}
