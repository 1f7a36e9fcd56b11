//! A connection for one call.
//!
//! Invariant: a connection whose call ended in [`StoreError::Unavailable`] is never used again, nor is any that lies idle
//! beside it. A server that became a replica, is going down or answers late keeps its connections open: only a new one
//! finds out who may write now (`target_session_attrs=read-write`).

use std::{ops::Deref, time::Duration};

use deadpool_postgres::{Client, Object, Pool};
use tokio::time::error::Elapsed;

use super::error::late;
use crate::StoreError;

pub(super) struct Session {
    client: Client,
    pool: Pool,
}

impl Session {
    /// # Errors
    /// `Unavailable` without a connection to a server that takes writes; `Settings`, `Unusable`.
    pub async fn open(pool: &Pool) -> Result<Self, StoreError> {
        match pool.get().await {
            Ok(client) => Ok(Self { client, pool: pool.clone() }),
            Err(error) => {
                forget_idle(pool);
                Err(error.into())
            }
        }
    }

    /// What came of the call. The connection goes back to the pool unless that speaks against it.
    pub fn end<T>(self, called: Result<Result<T, StoreError>, Elapsed>) -> Result<T, StoreError> {
        let outcome = called.unwrap_or_else(|_| Err(late()));
        if matches!(outcome, Err(StoreError::Unavailable(_))) {
            drop(Object::take(self.client));
            forget_idle(&self.pool);
        }
        outcome
    }

    /// A connection that is not given back, however it is used.
    pub fn keep(self) -> deadpool_postgres::ClientWrapper {
        Object::take(self.client)
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

fn forget_idle(pool: &Pool) {
    pool.retain(|_, _| false);
}

/// Longest for one call.
pub(super) async fn within<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<Result<T, StoreError>, Elapsed> {
    tokio::time::timeout(patience, call).await
}
