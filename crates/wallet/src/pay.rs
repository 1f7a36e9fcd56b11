//! A payment or a withdrawal from the order to the promise.
//!
//! | step | what holds afterwards |
//! |---|---|
//! | an open request of the same order | it is sent again as it is; there is no second one |
//! | draft, checked and signed | nothing has left the house |
//! | request on the disk | whatever happens now, the same order again means these bytes |
//! | sent until there is an answer | accepted, refused, or unknown: the request stays |
//! | promises compared, promises on the disk | the user is told, then the request is closed |
//!
//! A refusal opens the way to another signed request only where all together can never move more than was ordered
//! ([`crate::exclusive`]).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use client::{
    api::{Client, ClientError, Draft, Kind, Operation, PrepareSend, PrepareWithdraw, Submitted, UserError},
    holder::Intent,
};
use eyre::bail;
use protocol::{checksummed, eth, l1::ContractState};
use serde_json::json;

use crate::{
    error::WalletError,
    exclusive,
    folder::{Lock, Shelf},
    promise::{Kept, PromiseError, Signed},
    request::{Order, Paid, Request, State},
    session::{Session, now},
};

/// Batches for which a signature is good: enough to wait for a slow farm, too few to be held for long.
const VALID_BATCHES: u32 = 200;
/// Drafts signed for one order, where other payments of this account take the leaves first.
const DRAFTS: usize = 20;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Refusals after which another draft can be accepted.
const PREPARE_AGAIN: [&str; 5] = [
    "LEAF_ALREADY_SPENT",
    "LEAF_NOT_FOUND",
    "LEAF_NOT_OWNED",
    "VALID_UNTIL_EXPIRED",
    "RECIPIENT_ACCOUNT_MISMATCH",
];

/// What became of a request.
enum Verdict {
    Accepted(Box<Operation>, String),
    Refused(UserError),
}

/// Pauses that grow, up to a moment; a server that names a time is waited for so long.
struct Pauses {
    until: Instant,
    next: Duration,
}

impl Pauses {
    fn new(patience: Duration) -> Self {
        Self { until: Instant::now() + patience, next: FIRST_PAUSE }
    }

    /// Whether there is time for another try, after waiting.
    async fn pause(&mut self, asked: Option<Duration>) -> bool {
        let pause = asked.unwrap_or(self.next).max(FIRST_PAUSE);
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        if Instant::now() + pause > self.until {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}

/// A refusal of what was signed and sent: it can still be executed while its signature is good.
fn refused_signed(request: &Request, error: UserError) -> WalletError {
    WalletError::RefusedSigned {
        operation: request.operation(),
        valid_until: request.signed.valid_until,
        cause: format!("({}: {})", error.code, error.message),
    }
}

/// A refusal of a draft without the sentence that nothing was paid.
fn root_cause(error: &eyre::Report) -> String {
    match error.downcast_ref() {
        Some(WalletError::Refused { code, message }) => format!("{code}: {message}"),
        _ => format!("{error:#}"),
    }
}

impl Session {
    /// Pays once, whatever happened before. Report it with [`Paid::reported`].
    ///
    /// # Errors
    /// `Refused` and everything about a draft: nothing was paid. `Unknown`, `BadPromise`, `AcceptedBut`: it may have been, and
    /// the same order again does not pay twice.
    pub async fn pay(&self, order: &Order) -> eyre::Result<Paid> {
        self.coins(order.wei)?;
        let lock = Arc::new(self.folder.lock().await?);
        let requests = self.requests();
        let before = self.l1.contract().state().await?;
        requests.prune(before.batch_no)?;
        let stored = requests.all()?;
        let known = match &order.idempotency_key {
            Some(key) => stored.iter().find(|request| {
                request.named && request.idempotency_key == *key && request.state != State::Refused
            }),
            None => stored.iter().find(|request| request.is_open() && request.is(order)),
        };
        let unnamed = |request: &&Request| !request.named && request.is_open() && request.is(order);
        if let (None, Some(open)) = (known, stored.iter().find(unnamed)) {
            bail!(WalletError::OpenWithoutKey { what: open.words(), operation: open.operation() });
        }
        let mut refused: Vec<Request> = stored
            .iter()
            .filter(|request| request.state == State::Refused && request.is(order))
            .cloned()
            .collect();
        if let Some(request) = known {
            if !request.is(order) {
                bail!(WalletError::KeyReused {
                    key: request.idempotency_key.clone(),
                    what: request.words(),
                    operation: request.operation(),
                });
            }
            let mut request = request.clone();
            match self.settle(&mut request).await? {
                Ok(operation) => return Ok(Paid { operation, request, found: true, requests, _lock: lock }),
                Err(error) if PREPARE_AGAIN.contains(&error.code.as_str()) => refused.push(request),
                Err(error) => bail!(refused_signed(&request, error)),
            }
        }
        self.pay_anew(order, refused, lock).await
    }

    async fn pay_anew(
        &self,
        order: &Order,
        mut refused: Vec<Request>,
        lock: Arc<Lock>,
    ) -> eyre::Result<Paid> {
        let requests = self.requests();
        let own_key = uuid::Uuid::new_v4().to_string();
        let key = order.idempotency_key.as_deref().unwrap_or(&own_key);
        for _ in 0..DRAFTS {
            let before = self.l1.contract().state().await?;
            let draft = match (self.draft(order, &before).await, refused.last()) {
                (Ok(draft), _) => draft,
                (Err(error), None) => return Err(error),
                // What was refused may still be executed, or was.
                (Err(error), Some(request)) => bail!(WalletError::RefusedSigned {
                    operation: request.operation(),
                    valid_until: request.signed.valid_until,
                    cause: format!("and gives no other draft: {}", root_cause(&error)),
                }),
            };
            self.exclusive(&refused, &draft).await?;
            let mut request = self.sign(order, key, &draft, &before).await?;
            requests.put(&request)?;
            match self.settle(&mut request).await? {
                Ok(operation) => {
                    for old in &refused {
                        requests.remove(old)?;
                    }
                    return Ok(Paid { operation, request, found: false, requests, _lock: lock });
                }
                Err(error) if PREPARE_AGAIN.contains(&error.code.as_str()) => {
                    (self.tell)(&format!("{}: {}; signing again", error.code, error.message));
                    refused.push(request);
                }
                Err(error) => bail!(refused_signed(&request, error)),
            }
        }
        let message = "the leaves are taken faster than they can be signed for; try again".to_owned();
        Err(WalletError::Refused { code: "LEAF_ALREADY_SPENT".into(), message }.into())
    }

    /// A draft of the coordinator; nothing of it is believed yet.
    async fn draft(&self, order: &Order, before: &ContractState) -> eyre::Result<Draft> {
        let (sender, amount) = (self.holder.address(), order.wei);
        let valid_until = Some(before.batch_no.saturating_add(VALID_BATCHES));
        let mut pauses = Pauses::new(self.patience);
        loop {
            let drafted = match order.recipient {
                Some(recipient) => {
                    let allow_vault = order.allow_vault;
                    let request = PrepareSend { sender, recipient, amount, allow_vault, valid_until };
                    self.client.prepare_send(&request).await
                }
                None => {
                    let request = PrepareWithdraw { sender, amount, valid_until };
                    self.client.prepare_withdraw(&request).await
                }
            };
            let error = match drafted {
                Ok(draft) => return Ok(draft),
                Err(error) => error,
            };
            if !error.is_retryable() || !pauses.pause(error.retry_after()).await {
                return Err(self.why_no_draft(error).await);
            }
        }
    }

    /// The refusal of a draft in the words of this program.
    async fn why_no_draft(&self, error: ClientError) -> eyre::Report {
        let ClientError::Refused(UserError { code, message, .. }) = error else {
            return eyre::Report::new(error).wrap_err("nothing was signed");
        };
        if code == "RECIPIENT_NOT_REGISTERED" {
            let message = "the recipient has registered no key: ask for `proofmill wallet register`, or pass --allow-vault, \
                           and only L1 can unlock these coins";
            return WalletError::Refused { code, message: message.into() }.into();
        }
        let short = matches!(code.as_str(), "INSUFFICIENT_BALANCE" | "UNKNOWN_SENDER");
        match self.l1.contract().state().await {
            Ok(state) if short && state.minted_up_to < state.deposit_count => {
                let open = state.deposit_count - state.minted_up_to;
                WalletError::NotYet(format!(
                    "{message} ({code}). {open} deposits are on L1 and not minted yet; if one of them is yours, wait with \
                     `proofmill wallet deposit … --wait`, or look at `proofmill wallet balance`"
                ))
                .into()
            }
            _ => WalletError::Refused { code, message }.into(),
        }
    }

    /// A refusal is no proof that a request is dead: a draft is signed only if nothing can be paid beside it.
    async fn exclusive(&self, refused: &[Request], draft: &Draft) -> eyre::Result<()> {
        for request in refused {
            for slot in exclusive::beyond(request, draft) {
                if !self.is_dead(&slot, request.signed.valid_until).await? {
                    return Err(WalletError::NotExclusive {
                        operation: request.operation(),
                        cause: request.words(),
                        valid_until: request.signed.valid_until,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Whether a final root of L1 shows that a slot was not executed and cannot be.
    async fn is_dead(&self, slot: &exclusive::Slot, valid_until: u32) -> eyre::Result<bool> {
        let coins = self.checked_account().await?.coins;
        let Some(coin) = coins.iter().find(|coin| coin.index == slot.index) else { return Ok(false) };
        let last_final = self.l1.contract().final_batch().await?.unwrap_or(0);
        let proof = self.proof_of(coin, last_final).await?;
        Ok(proof.is_ok_and(|proof| {
            proof.final_on_l1 && slot.is_dead(proof.low, proof.high, proof.batch, valid_until)
        }))
    }

    /// Signs a draft that is what was ordered; it is not sent.
    async fn sign(
        &self,
        order: &Order,
        key: &str,
        draft: &Draft,
        before: &ContractState,
    ) -> eyre::Result<Request> {
        let recipient_epoch = match order.recipient {
            Some(recipient) => self.l1.contract().key_epoch(recipient).await?,
            None => 0,
        };
        let intent = Intent {
            kind: if order.recipient.is_some() { Kind::Send } else { Kind::Withdraw },
            recipient: order.recipient,
            coins: self.coins(order.wei)?,
            allow_vault: order.allow_vault,
            recipient_epoch,
            valid_until: before.batch_no.saturating_add(VALID_BATCHES),
        };
        let submit = self.holder.sign(draft, &intent, key)?;
        if order.recipient.is_none() {
            self.show_exit_fee(draft, order)?;
        }
        let operation = submit
            .operation_id(draft.kind)
            .ok_or_else(|| WalletError::Answer("the draft's leaves are none".into()))?;
        let before = (before.batch_no, before.next);
        let signed = Signed::of(draft, operation, order.wei, before, now());
        Ok(Request::new(order, key, draft, signed, Client::submission(draft.kind, &submit)))
    }

    /// Says what arrives on L1, and refuses where that is next to nothing.
    fn show_exit_fee(&self, draft: &Draft, order: &Order) -> Result<(), WalletError> {
        let after = |spend: &client::api::DraftSpend| {
            u128::from(self.fees.after_exit((spend.split - spend.low).saturating_add(1)))
        };
        let net = draft.spends.iter().map(after).sum::<u128>() * self.quantum;
        let fee = order.wei.saturating_sub(net);
        if net < fee && !order.yes_burn {
            return Err(WalletError::Burnt { gross: eth(order.wei), net: eth(net), fee: eth(fee) });
        }
        let leaves = draft.spends.len();
        let parts =
            if leaves > 1 { format!(", from {leaves} leaves that pay it each") } else { String::new() };
        (self.tell)(&format!(
            "withdrawing {}: the fee is {}{parts}; {} arrive on L1",
            eth(order.wei),
            eth(fee),
            eth(net)
        ));
        Ok(())
    }

    /// Sends a request that is on the disk, reads the answer, compares the promises, and writes down what follows.
    ///
    /// # Errors
    /// Unless it is known what became of it.
    pub(crate) async fn settle(&self, request: &mut Request) -> eyre::Result<Result<Operation, UserError>> {
        let (operation, text) = match self.submit(request).await? {
            Verdict::Accepted(operation, text) => (*operation, text),
            Verdict::Refused(error) => {
                if self.was_accepted(request).await {
                    return Err(WalletError::AcceptedBut {
                        operation: request.operation(),
                        cause: format!(
                            "the coordinator refuses it when it is asked again ({}: {})",
                            error.code, error.message
                        ),
                    }
                    .into());
                }
                self.requests().set(request, State::Refused)?;
                return Ok(Err(error));
            }
        };
        let domain = self.holder.deployment();
        let signers = match request.signed.compare(&operation, &domain, now()) {
            Ok(signers) => signers,
            Err(reason) => return Err(self.dispute(request, &reason, &text)?),
        };
        let id = request.operation();
        let accepted_but = |error: protocol::l1::ChainError| WalletError::AcceptedBut {
            operation: id.clone(),
            cause: format!("its promise cannot be compared with L1 ({error})"),
        };
        for signer in signers {
            if !self.l1.contract().is_promise_signer(signer).await.map_err(accepted_but)? {
                return Err(self.dispute(request, &PromiseError::NotListed, &text)?);
            }
        }
        let kept = Kept::of(&request.signed, &operation, &domain, now());
        let on_l1 = self.l1.contract().state().await.map_err(accepted_but)?.batch_no;
        let broken = kept.batch > on_l1 && kept.deadline <= now();
        if broken || request.state != State::Reported {
            self.folder.put(Shelf::Promises, &hex::encode(request.signed.operation), &kept)?;
        }
        if broken {
            let broken = PromiseError::Broken { deadline: kept.deadline, batch: kept.batch };
            return Err(self.dispute(request, &broken, &text)?);
        }
        if request.state != State::Reported {
            self.requests().set(request, State::Accepted)?;
        }
        Ok(Ok(operation))
    }

    /// Whether this request was accepted, by what is on the disk or by the coordinator's own list: a refusal takes nothing back,
    /// and opens the way to no other request.
    async fn was_accepted(&self, request: &Request) -> bool {
        matches!(request.state, State::Accepted | State::Reported)
            || matches!(self.client.operation(&request.operation()).await, Ok(Some(_)))
    }

    /// Keeps an answer that is not what was signed, and says so.
    fn dispute(
        &self,
        request: &mut Request,
        reason: &PromiseError,
        text: &str,
    ) -> eyre::Result<eyre::Report> {
        let evidence = json!({
            "reason": reason.to_string(),
            "at": now(),
            "chainId": self.holder.deployment().chain_id,
            "contract": checksummed(&self.holder.deployment().contract),
            "coordinator": self.client.url(),
            "request": request.body,
            "answer": text,
        });
        let name = format!("{}-{}", now(), hex::encode(&request.signed.operation[..8]));
        let evidence = self.folder.put(Shelf::Evidence, &name, &evidence)?;
        self.requests().set(request, State::Disputed)?;
        let (reason, operation) = (reason.to_string(), request.operation());
        Ok(WalletError::BadPromise { reason, operation, evidence }.into())
    }

    /// Sends the same bytes until there is an answer that says what became of them.
    async fn submit(&self, request: &Request) -> eyre::Result<Verdict> {
        let mut pauses = Pauses::new(self.patience);
        loop {
            let answered = self.client.submit(request.kind(), request.body.clone()).await;
            let (error, text) = match answered {
                Ok(Submitted { outcome: Ok(operation), text }) => {
                    return Ok(Verdict::Accepted(Box::new(operation), text));
                }
                Ok(Submitted { outcome: Err(error), text }) => (error, text),
                Err(error) => (error, String::new()),
            };
            match &error {
                // Under our key is another body: somebody else has the key, or the coordinator lies.
                ClientError::Refused(refused) if refused.code == "IDEMPOTENCY_CONFLICT" => {
                    return Err(self.unknown(request, &error));
                }
                ClientError::Refused(refused) if !refused.retryable => {
                    return Ok(Verdict::Refused(refused.clone()));
                }
                // The request was not understood: the same bytes will not be either.
                ClientError::Request { .. } if !error.is_retryable() => {
                    return Err(self.unknown(request, &error));
                }
                _ => {}
            }
            if !pauses.pause(error.retry_after()).await {
                if !text.is_empty() {
                    (self.tell)(&format!(
                        "the last answer was: {}",
                        text.chars().take(500).collect::<String>()
                    ));
                }
                return Err(self.unknown(request, &error));
            }
        }
    }

    fn unknown(&self, request: &Request, cause: &ClientError) -> eyre::Report {
        WalletError::Unknown { operation: request.operation(), cause: cause.to_string() }.into()
    }
}
