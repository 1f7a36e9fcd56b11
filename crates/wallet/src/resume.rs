//! Requests that earlier commands left open: sent again as they were signed, or dropped by who knows better.

use std::sync::Arc;

use client::api::UserError;
use eyre::bail;

use crate::{
    error::WalletError,
    request::{Paid, Request, State},
    session::Session,
};

impl Session {
    /// Drops a request that was not accepted; nothing where there is none.
    ///
    /// # Errors
    /// `StillGood` while it can be executed, unless `anyway`; `AcceptedBut` if it was accepted.
    pub async fn forget(&self, operation: &[u8; 32], anyway: bool) -> eyre::Result<bool> {
        let _lock = self.folder.lock().await?;
        let requests = self.requests();
        let Some(request) =
            requests.all()?.into_iter().find(|request| request.signed.operation == *operation)
        else {
            return Ok(false);
        };
        if matches!(request.state, State::Accepted | State::Reported) {
            let cause = "it is kept so that the same order does not pay twice".to_owned();
            bail!(WalletError::AcceptedBut { operation: request.operation(), cause });
        }
        let batch = self.l1.contract().final_batch().await?.unwrap_or(0);
        let valid_until = request.signed.valid_until;
        if batch < valid_until && !anyway {
            let (operation, what) = (request.operation(), request.words());
            bail!(WalletError::StillGood { operation, what, valid_until, batch });
        }
        requests.remove(&request)?;
        Ok(true)
    }

    /// Sends every request again that has no answer, as it was signed.
    ///
    /// # Errors
    /// For the last of which it is still unknown what became of it, if nothing was found to be paid; else it is told.
    pub async fn resume(&self) -> eyre::Result<Vec<Paid>> {
        let lock = Arc::new(self.folder.lock().await?);
        let requests = self.requests();
        let (mut paid, mut first_error) = (Vec::new(), None);
        for mut request in requests.all()?.into_iter().filter(Request::is_open) {
            let settled = match self.settle(&mut request).await {
                Ok(settled) => settled,
                // One whose fate stays unknown or disputed holds up no other.
                Err(error) => {
                    if let Some(before) = first_error.replace(error) {
                        (self.tell)(&format!("{before:#}"));
                    }
                    continue;
                }
            };
            match settled {
                Ok(operation) => {
                    let (requests, lock) = (requests.clone(), Arc::clone(&lock));
                    paid.push(Paid { operation, request, found: true, requests, _lock: lock });
                }
                Err(UserError { code, message, .. }) => {
                    (self.tell)(&format!("{}: refused ({code}: {message})", request.words()));
                }
            }
        }
        match first_error {
            Some(error) if paid.is_empty() => Err(error),
            Some(error) => {
                (self.tell)(&format!("{error:#}"));
                Ok(paid)
            }
            None => Ok(paid),
        }
    }
}
