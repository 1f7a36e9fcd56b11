//! The GraphQL schema over [`Service`]: it converts, bounds and names, and decides nothing about payments.
//!
//! | file | part |
//! |---|---|
//! | `scalars` | `Address`, `Bytes`, `Bytes32`, `BigInt` |
//! | `query`, `mutation` | the roots |
//! | `account`, `operation`, `batch`, `draft`, `system`, `worker` | what is given out |
//! | `input` | what is taken, checked into the types of the service |
//! | `page` | Relay connections |
//! | `refusal` | `userErrors` and field errors |

use std::sync::Arc;

use async_graphql::{Context, EmptySubscription, Result, SchemaBuilder};
use chrono::{DateTime, Utc};

use crate::service::Service;

pub(super) mod account;
mod batch;
mod draft;
mod input;
mod mutation;
pub(super) mod operation;
mod page;
mod query;
pub(super) mod refusal;
pub(super) mod scalars;
mod system;
mod worker;

/// The largest cost of a request; a field costs 1, a connection `first` times its nodes.
pub const MAX_COMPLEXITY: usize = 1000;

pub type Schema = async_graphql::Schema<query::Query, mutation::Mutation, EmptySubscription>;

/// The units of this instance.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// Wei in one coin, not 0.
    pub quantum_wei: u64,
}

impl Units {
    /// The worth of some coins in wei.
    pub fn wei(self, coins: u64) -> scalars::BigInt {
        (u128::from(coins) * u128::from(self.quantum_wei)).into()
    }
}

fn builder() -> SchemaBuilder<query::Query, mutation::Mutation, EmptySubscription> {
    Schema::build(query::Query, mutation::Mutation, EmptySubscription)
        .limit_complexity(MAX_COMPLEXITY)
        .limit_directives(8)
}

/// The schema that answers from a service.
pub fn schema(service: Arc<dyn Service>, units: Units) -> Schema {
    builder().data(service).data(units).finish()
}

/// The schema in its definition language, as committed in `crates/api/schema.graphql`.
pub fn sdl() -> String {
    builder().finish().sdl()
}

fn service<'a>(ctx: &Context<'a>) -> Result<&'a Arc<dyn Service>> {
    ctx.data::<Arc<dyn Service>>()
}

fn units(ctx: &Context<'_>) -> Result<Units> {
    ctx.data::<Units>().copied()
}

/// A time in Unix milliseconds; one beyond the calendar is its last moment.
pub(super) fn time(unix_ms: u64) -> DateTime<Utc> {
    i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The type named in a refusal of an argument, with what a value of it looks like.
pub fn argument_hint(message: &str) -> Option<&'static str> {
    let name = message.split("expected type \"").nth(1)?.split(['"', '!']).next()?;
    scalars::hint(name)
}
