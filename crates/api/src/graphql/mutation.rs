//! Changes: each takes an idempotency key, is accepted as a whole or refused as a whole, and is durable when answered.

use async_graphql::{Context, Object, Result, SimpleObject};
use protocol::SubmitRequest;

use super::{
    account::DirectoryEntry,
    input::{RegisterKeyInput, SendInput, WithdrawInput},
    operation::Operation,
    refusal::UserError,
    service, units,
};

/// The accepted operation with its promises, or why it was refused.
#[derive(Clone, Debug, SimpleObject)]
pub struct OperationPayload {
    pub operation: Option<Operation>,
    pub user_errors: Vec<UserError>,
}

/// The registered entry, or why it was refused.
#[derive(Clone, Debug, SimpleObject)]
pub struct RegisterKeyPayload {
    pub entry: Option<DirectoryEntry>,
    pub user_errors: Vec<UserError>,
}

async fn submit(
    ctx: &Context<'_>,
    request: std::result::Result<SubmitRequest, UserError>,
) -> Result<OperationPayload> {
    let outcome = match request {
        Ok(request) => service(ctx)?.submit(request).await.map_err(UserError::from),
        Err(refusal) => Err(refusal),
    };
    let units = units(ctx)?;
    Ok(match outcome {
        Ok(view) => {
            OperationPayload { operation: Some(Operation::new(view, units)), user_errors: Vec::new() }
        }
        Err(refusal) => OperationPayload { operation: None, user_errors: vec![refusal] },
    })
}

pub struct Mutation;

#[Object]
impl Mutation {
    /// Pay somebody from signed leaves.
    async fn send(&self, ctx: &Context<'_>, input: SendInput) -> Result<OperationPayload> {
        submit(ctx, input.check()).await
    }

    /// Take coins to L1, where their owner collects them once the batch is settled.
    async fn withdraw(&self, ctx: &Context<'_>, input: WithdrawInput) -> Result<OperationPayload> {
        submit(ctx, input.check()).await
    }

    /// Make an address payable.
    async fn register_key(&self, ctx: &Context<'_>, input: RegisterKeyInput) -> Result<RegisterKeyPayload> {
        let outcome = match input.check() {
            Ok((entry, key)) => service(ctx)?.register_key(entry, key).await.map_err(UserError::from),
            Err(refusal) => Err(refusal),
        };
        Ok(match outcome {
            Ok(entry) => RegisterKeyPayload { entry: Some(entry.into()), user_errors: Vec::new() },
            Err(refusal) => RegisterKeyPayload { entry: None, user_errors: vec![refusal] },
        })
    }
}
