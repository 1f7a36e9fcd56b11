//! A holder connected to a coordinator and to L1: what the wallet commands and the demo's people do.
//!
//! Whatever decides about money is read from L1 by the wallet itself: the quantum, fees, the batch number, key epochs, promise
//! signers, roots. The coordinator is asked for drafts and answers, and believed in nothing.

use std::time::Duration;

use bn254::Fr;
use client::{
    api::{Client, Operation},
    holder::Holder,
};
use eyre::bail;
use l1::{
    http::Endpoint,
    node::{
        AccountKey, FeeRules, Mined,
        wallet::{DepositMade, ForcedMade, Wallet},
    },
};
use protocol::{Address, ecdsa::OperatorKey, eip712::SigningDomain};

use crate::{
    amount::Amount,
    error::WalletError,
    folder::Folder,
    journal::{Done, Journal, Order as L1Order, Purpose},
    request::{Order, Requests},
};

/// A holder with a coordinator, a node and a folder.
pub struct Session {
    /// The keys, and what they refuse to sign.
    pub holder: Holder,
    /// The coordinator; believed in nothing.
    pub client: Client,
    /// The contract, and the account's transactions to it.
    pub l1: Wallet,
    /// Wei per coin.
    pub quantum: u128,
    /// The contract's fees.
    pub fees: FeeRules,
    /// What was signed and promised.
    pub folder: Folder,
    /// How long to ask again where nobody answers, and to wait for a receipt.
    pub patience: Duration,
    /// Where news goes that is no result.
    pub tell: fn(&str),
}

/// Unix seconds.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Session {
    /// Connects a key to a contract.
    ///
    /// `at` is the contract, and the chain where it must be.
    ///
    /// # Errors
    /// If the node cannot be reached, is of another chain or has no Proofmill contract at the address; if the key is not one, or
    /// the folder is another wallet's.
    pub async fn connect(
        key_hex: &str,
        rpc: impl Into<Endpoint>,
        api: impl Into<Endpoint>,
        at: (Address, Option<u64>),
        folder: Folder,
    ) -> eyre::Result<Self> {
        let (contract, chain) = at;
        let l1 = Wallet::connect(rpc, contract, AccountKey::from_hex(key_hex)?, None).await?;
        let found = l1.chain_id();
        if let Some(expected) = chain.filter(|expected| *expected != found) {
            bail!(WalletError::OtherChain { found, expected });
        }
        folder.bind(&l1.address(), found, &contract)?;
        let deployment = SigningDomain { chain_id: l1.chain_id(), contract };
        let holder = Holder::new(OperatorKey::from_hex(key_hex)?, deployment, l1.key_epoch().await?)?;
        let quantum = u128::from(l1.contract().quantum().await?);
        let fees = l1.contract().fee_rules().await?;
        let patience = Duration::from_secs(60);
        let client = Client::new(api);
        Ok(Self { holder, client, l1, quantum, fees, folder, patience, tell: |_| {} })
    }

    /// L1 transactions.
    pub fn journal(&self) -> Journal {
        Journal(self.folder.clone())
    }

    /// Signed operations.
    pub fn requests(&self) -> Requests {
        Requests(self.folder.clone())
    }

    async fn transact(&self, purpose: Purpose, old_key_hash: Fr, paid: u128) -> eyre::Result<Done> {
        let (owner, key_hash) = (self.holder.address(), self.holder.key_hash());
        let order = L1Order { purpose, owner, key_hash, old_key_hash, paid };
        self.journal().transact(&self.l1, &order, self.tell).await
    }

    /// Deposits into the holder's own account; report it with [`Done::reported`].
    ///
    /// # Errors
    /// See [`Journal::transact`].
    pub async fn begin_deposit(&self, wei: u128) -> eyre::Result<Done> {
        self.coins(wei)?;
        self.transact(Purpose::Deposit { wei }, Fr::default(), 0).await
    }

    /// Collects what the contract has credited.
    ///
    /// # Errors
    /// See [`Journal::transact`].
    pub async fn begin_collect(&self) -> eyre::Result<Done> {
        self.transact(Purpose::Collect, Fr::default(), 0).await
    }

    /// Makes the contract demand that a leaf of this holder leaves, or goes under the present key.
    ///
    /// # Errors
    /// See [`Journal::transact`].
    pub async fn begin_force(&self, purpose: Purpose, key_hash: Fr) -> eyre::Result<Done> {
        let paid = self.l1.force_fee().await?;
        self.transact(purpose, key_hash, paid).await
    }

    /// Makes entries and keys of the present epoch void.
    ///
    /// # Errors
    /// See [`Journal::transact`].
    pub async fn begin_bump(&self) -> eyre::Result<Done> {
        self.transact(Purpose::BumpKeyEpoch, Fr::default(), 0).await
    }

    /// Deposits, and reports it.
    ///
    /// # Errors
    /// See [`Journal::transact`].
    pub async fn deposit(&self, wei: u128) -> eyre::Result<DepositMade> {
        Ok(DepositMade::of(self.begin_deposit(wei).await?.reported()?)?)
    }

    /// Collects what the contract has credited, and reports it.
    ///
    /// # Errors
    /// See [`Journal::transact`].
    pub async fn collect(&self) -> eyre::Result<Mined> {
        self.begin_collect().await?.reported()
    }

    /// Forces a leaf out that is under the present key, and reports it.
    ///
    /// # Errors
    /// See [`Journal::transact`].
    pub async fn force_exit(&self, index: u64) -> eyre::Result<ForcedMade> {
        let done = self.begin_force(Purpose::ForceExit { index }, self.holder.key_hash()).await?;
        let paid = done.entry.paid;
        Ok(ForcedMade::of(done.reported()?, paid)?)
    }

    /// Publishes the holder's directory entry.
    ///
    /// # Errors
    /// The coordinator's refusal, or if it does not answer.
    pub async fn register(&self, idempotency_key: &str) -> eyre::Result<()> {
        self.client.register_key(&self.holder.registration(idempotency_key)).await?;
        Ok(())
    }

    /// Pays, and reports it.
    ///
    /// # Errors
    /// See [`Session::pay`].
    pub async fn send(
        &self,
        recipient: Address,
        wei: u128,
        allow_vault: bool,
        idempotency_key: &str,
    ) -> eyre::Result<Operation> {
        let idempotency_key = Some(idempotency_key.to_owned());
        let order = Order { recipient: Some(recipient), wei, allow_vault, yes_burn: false, idempotency_key };
        self.pay(&order).await?.reported()
    }

    /// Withdraws to L1, and reports it.
    ///
    /// # Errors
    /// See [`Session::pay`].
    pub async fn withdraw(&self, wei: u128, idempotency_key: &str) -> eyre::Result<Operation> {
        let idempotency_key = Some(idempotency_key.to_owned());
        let order = Order { recipient: None, wei, allow_vault: false, yes_burn: false, idempotency_key };
        self.pay(&order).await?.reported()
    }

    /// Coins of an amount, which must be whole.
    ///
    /// # Errors
    /// `Amount` with the nearest whole amount below.
    pub fn coins(&self, wei: u128) -> eyre::Result<u64> {
        let quantum = self.quantum;
        if wei == 0 || !wei.is_multiple_of(quantum) {
            let below = wei - wei % quantum;
            let nearest = if below > 0 { format!(" (the next below is {below} wei)") } else { String::new() };
            bail!(WalletError::Amount(format!(
                "the amount must be a positive multiple of {quantum} wei, one coin{nearest}"
            )));
        }
        u64::try_from(wei / quantum).ok().filter(|coins| *coins < 1 << 63).ok_or_else(|| {
            WalletError::Amount("the amount is larger than all coins there can be; write less".into()).into()
        })
    }

    /// Wei of an amount that is to be sent or withdrawn: all is what this key can spend now, as the coordinator says.
    ///
    /// # Errors
    /// If there is nothing.
    pub async fn spendable(&self, amount: Amount) -> eyre::Result<u128> {
        if let Amount::Wei(wei) = amount {
            return Ok(wei);
        }
        let key_hash = self.holder.key_hash();
        let account = self.checked_account().await?;
        let wei = account.coins.iter().filter(|coin| coin.key_hash == key_hash).map(|coin| coin.amount).sum();
        if wei == 0 {
            bail!(WalletError::Amount(
                "there is nothing that this wallet's key can spend; deposit first".into()
            ));
        }
        Ok(wei)
    }
}
