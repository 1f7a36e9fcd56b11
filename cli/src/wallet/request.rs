//! Signed operations, as they are kept.
//!
//! Invariant: a body is on the disk before it is sent, and is sent again byte for byte. It leaves the disk when it was settled
//! or can never be executed, so that no second body for the same purpose is signed while the first could still be.

use std::sync::Arc;

use coordinator::{
    api::client::{Coin, Draft, Kind},
    service::Address,
};
use serde::{Deserialize, Serialize};

use super::{
    address::checksummed,
    folder::{Folder, Lock, Shelf},
    promise::Signed,
};
use crate::ui::{eth, hex};

const VERSION: u32 = 1;

/// What somebody wants to happen.
#[derive(Clone, Debug)]
pub struct Order {
    /// Nobody: it is a withdrawal.
    pub recipient: Option<Address>,
    pub wei: u128,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    version: u32,
    pub state: State,
    pub idempotency_key: String,
    /// Whether the user chose the key.
    pub named: bool,
    pub allow_vault: bool,
    pub signed: Signed,
    /// The leaves whose spending makes every other spending of them void.
    pub leaves: Vec<(u64, u64, u64)>,
    pub body: String,
}

impl Request {
    pub fn new(order: &Order, key: &str, draft: &Draft, signed: Signed, body: String) -> Self {
        Self {
            version: VERSION,
            state: State::Unanswered,
            idempotency_key: key.to_owned(),
            named: order.idempotency_key.is_some(),
            allow_vault: order.allow_vault,
            signed,
            leaves: draft.spends.iter().map(|spend| (spend.index, spend.low, spend.high)).collect(),
            body,
        }
    }

    pub fn operation(&self) -> String {
        hex(&self.signed.operation)
    }

    pub fn kind(&self) -> Kind {
        if self.signed.withdraw { Kind::Withdraw } else { Kind::Send }
    }

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

    /// Whether it and a draft can never both be executed: a leaf is spent once, and one that is gone was spent.
    pub fn excludes(&self, draft: &Draft, coins: &[Coin], batch_on_l1: u32) -> bool {
        let shared = |leaf: &(u64, u64, u64)| {
            draft.spends.iter().any(|spend| (spend.index, spend.low, spend.high) == *leaf)
        };
        let there =
            |leaf: &(u64, u64, u64)| coins.iter().any(|coin| (coin.index, coin.low, coin.high) == *leaf);
        batch_on_l1 >= self.signed.valid_until || self.leaves.iter().any(|leaf| shared(leaf) || !there(leaf))
    }
}

/// A request that was accepted; it counts as open until it is reported.
#[derive(Debug)]
pub struct Paid {
    pub operation: coordinator::api::client::Operation,
    pub request: Request,
    /// An earlier command sent it and could not say so.
    pub found: bool,
    pub(super) requests: Requests,
    pub(super) _lock: Arc<Lock>,
}

impl Paid {
    /// The user was told.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn reported(mut self) -> eyre::Result<coordinator::api::client::Operation> {
        self.requests.set(&mut self.request, State::Reported)?;
        Ok(self.operation)
    }
}

#[derive(Clone, Debug)]
pub struct Requests(pub Folder);

impl Requests {
    /// # Errors
    /// If one cannot be read.
    pub fn all(&self) -> eyre::Result<Vec<Request>> {
        let mut requests: Vec<Request> = self.0.all(Shelf::Requests)?;
        requests.sort_by_key(|request| request.signed.signed_at);
        Ok(requests)
    }

    /// # Errors
    /// If it is not surely on the disk.
    pub fn put(&self, request: &Request) -> eyre::Result<()> {
        self.0.put(Shelf::Requests, &hex::encode(request.signed.operation), request)?;
        Ok(())
    }

    /// # Errors
    /// As [`Self::put`].
    pub fn set(&self, request: &mut Request, state: State) -> eyre::Result<()> {
        if request.state != state {
            request.state = state;
            self.put(request)?;
        }
        Ok(())
    }

    /// # Errors
    /// If it may still be there.
    pub fn remove(&self, request: &Request) -> eyre::Result<()> {
        self.0.remove(Shelf::Requests, &hex::encode(request.signed.operation))
    }

    /// Removes what nobody can repeat or execute any more: settled requests with keys of our own, and refused ones whose time
    /// is over.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn prune(&self, batch_on_l1: u32) -> eyre::Result<()> {
        for request in self.all()? {
            let over = batch_on_l1 >= request.signed.valid_until;
            if over && (request.state == State::Refused || request.state == State::Reported && !request.named)
            {
                self.remove(&request)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bn254::Fr;
    use coordinator::api::client::{DraftSpend, Stage};

    use super::*;

    fn coin(index: u64, low: u64, high: u64) -> Coin {
        let (account, key_hash) = (Fr::from(1), Fr::from(2));
        let (owner, amount) = ([1; 20], u128::from(high - low + 1));
        Coin { index, owner, account, key_hash, low, high, amount, batch_number: 1, stage: Stage::Final }
    }

    fn draft(leaves: &[(u64, u64, u64)]) -> Draft {
        let key = circuits::baby_jubjub::Point { x: Fr::from(0), y: Fr::from(1) };
        let spend = |&(index, low, high): &(u64, u64, u64)| DraftSpend {
            index,
            low,
            high,
            split: high,
            key,
            leaf: Fr::from(0),
            message: Fr::from(0),
        };
        Draft {
            kind: Kind::Send,
            sender: [1; 20],
            recipient: Some([2; 20]),
            recipient_account: Fr::from(3),
            recipient_entry: None,
            amount: 5,
            domain: Fr::from(4),
            valid_until: 9,
            spends: leaves.iter().map(spend).collect(),
        }
    }

    #[test]
    fn two_requests_exclude_each_other_only_by_a_leaf_or_by_time() {
        let order = Order {
            recipient: Some([2; 20]),
            wei: 5,
            allow_vault: false,
            yes_burn: false,
            idempotency_key: None,
        };
        let first = draft(&[(1, 1, 10), (2, 11, 20)]);
        let signed = Signed::of(&first, [4; 32], 5, (3, 64), 7);
        let request = Request::new(&order, "k", &first, signed, "body".into());
        assert!(request.is(&order) && request.is_open());
        let coins = [coin(1, 1, 10), coin(2, 11, 20), coin(3, 21, 30)];
        let other = draft(&[(3, 21, 30)]);
        assert!(!request.excludes(&other, &coins, 3), "both could be executed");
        assert!(request.excludes(&draft(&[(2, 11, 20)]), &coins, 3), "a leaf in common");
        assert!(
            !request.excludes(&draft(&[(2, 15, 20)]), &coins, 3),
            "the same place, other coins, and both are shown"
        );
        assert!(request.excludes(&other, &coins[1..], 3), "one of its leaves is gone");
        assert!(request.excludes(&other, &coins, 9), "its time is over");
    }
}
