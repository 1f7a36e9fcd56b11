//! Signed operations, as they are kept.
//!
//! Invariant: a body is on the disk before it is sent, and is sent again byte for byte. One that was refused stays until a
//! request that excludes it was accepted (`exclusive`) or the user drops it: time alone shows nothing about it.

use std::sync::Arc;

use client::api::{Draft, Kind, codec::hex_text};
use protocol::{Address, checksummed, eth};
use serde::{Deserialize, Serialize};

use crate::{
    folder::{Entry, Folder, Lock, Shelf},
    promise::Signed,
};

/// What somebody wants to happen.
#[derive(Clone, Debug)]
pub struct Order {
    /// Nobody: it is a withdrawal.
    pub recipient: Option<Address>,
    /// How much.
    pub wei: u128,
    /// Pay although the recipient has no key: only L1 can unlock these coins.
    pub allow_vault: bool,
    /// Withdraw although next to nothing arrives.
    pub yes_burn: bool,
    /// Chosen by the user, who may repeat it.
    pub idempotency_key: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Perhaps sent; nothing came back, or nothing that says what became of it.
    Unanswered,
    /// What came back is not what was signed; it is kept as evidence.
    Disputed,
    /// Refused, but nobody has proved that it cannot be executed later.
    Refused,
    /// Accepted and promised; the user was not told yet.
    Accepted,
    /// The user was told.
    Reported,
}

/// A signed operation with all that is needed to send it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    version: u32,
    /// How far it is.
    pub state: State,
    /// Under which the coordinator knows it.
    pub idempotency_key: String,
    /// Whether the user chose the key.
    pub named: bool,
    /// Whether the order allowed a recipient without a key.
    pub allow_vault: bool,
    /// What an answer is compared with.
    pub signed: Signed,
    /// Index, first and last coin of the leaf of each slot.
    pub leaves: Vec<(u64, u64, u64)>,
    /// What is sent, byte for byte.
    pub body: String,
}

impl Entry for Request {
    const VERSION: u32 = 1;
}

impl Request {
    pub(crate) fn new(order: &Order, key: &str, draft: &Draft, signed: Signed, body: String) -> Self {
        Self {
            version: Self::VERSION,
            state: State::Unanswered,
            idempotency_key: key.to_owned(),
            named: order.idempotency_key.is_some(),
            allow_vault: order.allow_vault,
            signed,
            leaves: draft.spends.iter().map(|spend| (spend.index, spend.low, spend.high)).collect(),
            body,
        }
    }

    /// The operation's id as text.
    pub fn operation(&self) -> String {
        hex_text(&self.signed.operation)
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.signed.withdraw { Kind::Withdraw } else { Kind::Send }
    }

    /// What it does, for a person.
    pub fn words(&self) -> String {
        match &self.signed.recipient {
            Some(recipient) => format!("{} to {recipient}", eth(self.signed.wei)),
            None => format!("withdrawal of {}", eth(self.signed.wei)),
        }
    }

    /// Whether it is what the order asks for.
    pub fn is(&self, order: &Order) -> bool {
        self.signed.recipient == order.recipient.as_ref().map(checksummed)
            && self.signed.withdraw == order.recipient.is_none()
            && self.signed.wei == order.wei
            && self.allow_vault == order.allow_vault
    }

    /// Whether the same order again means this one.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Unanswered | State::Disputed | State::Accepted)
    }
}

/// A request that was accepted; it counts as open until it is reported.
#[derive(Debug)]
pub struct Paid {
    /// As the coordinator answered.
    pub operation: client::api::Operation,
    /// As it is in the folder.
    pub request: Request,
    /// An earlier command sent it and could not say so.
    pub found: bool,
    pub(crate) requests: Requests,
    pub(crate) _lock: Arc<Lock>,
}

impl Paid {
    /// The user was told.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn reported(mut self) -> eyre::Result<client::api::Operation> {
        self.requests.set(&mut self.request, State::Reported)?;
        Ok(self.operation)
    }
}

/// The requests of a wallet's folder.
#[derive(Clone, Debug)]
pub struct Requests(pub(crate) Folder);

impl Requests {
    /// All of them, the oldest first.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn all(&self) -> eyre::Result<Vec<Request>> {
        let mut requests: Vec<Request> = self.0.all(Shelf::Requests)?;
        requests.sort_by_key(|request| request.signed.signed_at);
        Ok(requests)
    }

    /// Writes a request, in place of the one of that operation.
    ///
    /// # Errors
    /// If it is not surely on the disk.
    pub fn put(&self, request: &Request) -> eyre::Result<()> {
        self.0.put(Shelf::Requests, &hex::encode(request.signed.operation), request)?;
        Ok(())
    }

    /// Writes down how far a request is.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn set(&self, request: &mut Request, state: State) -> eyre::Result<()> {
        if request.state != state {
            request.state = state;
            self.put(request)?;
        }
        Ok(())
    }

    /// Forgets a request.
    ///
    /// # Errors
    /// If it may still be there.
    pub fn remove(&self, request: &Request) -> eyre::Result<()> {
        self.0.remove(Shelf::Requests, &hex::encode(request.signed.operation))
    }

    /// Removes settled requests with keys of our own, once nobody can execute them any more.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn prune(&self, batch_on_l1: u32) -> eyre::Result<()> {
        for request in self.all()? {
            let over = batch_on_l1 >= request.signed.valid_until;
            if over && request.state == State::Reported && !request.named {
                self.remove(&request)?;
            }
        }
        Ok(())
    }
}
