//! The instance: its chain, contract, circuits, limits and how far each state is.

use async_graphql::SimpleObject;

use super::{
    Units,
    scalars::{Address, BigInt, Bytes32},
};
use crate::service::SystemView;

/// A circuit that the contract accepts.
#[derive(Clone, Debug, SimpleObject)]
pub struct Circuit {
    pub name: String,
    pub number: u32,
    /// Places for spends.
    pub slots: i32,
    pub mint_places: i32,
    pub digest: Bytes32,
}

/// What an operation may be at least and at most.
#[derive(Clone, Debug, SimpleObject)]
pub struct Limits {
    /// Wei in one coin: every amount is a multiple of it.
    pub quantum: BigInt,
    /// The smallest amount of a send, in wei.
    pub min_amount: BigInt,
    pub max_leaves_per_operation: i32,
}

/// The last block seen and the last one that is final.
#[derive(Clone, Debug, SimpleObject)]
pub struct L1Status {
    pub head: BigInt,
    pub finalized: BigInt,
}

/// The last batch of each state and its root.
#[derive(Clone, Debug, SimpleObject)]
pub struct Progress {
    /// The batch that takes operations now.
    pub open_batch: u32,
    pub sealed_batch: u32,
    pub proven_batch: u32,
    pub final_batch: u32,
    /// After the last sealed batch.
    pub state_root: Bytes32,
    pub proven_root: Bytes32,
    pub final_root: Bytes32,
}

#[derive(Clone, Debug, SimpleObject)]
pub struct System {
    pub version: String,
    pub chain_id: BigInt,
    pub contract: Address,
    /// The first word of every message.
    pub domain: Bytes32,
    pub operator: Address,
    pub promise_signer: Address,
    pub limits: Limits,
    pub circuits: Vec<Circuit>,
    /// Whether the proving keys come from the public dev setup: anybody can forge proofs.
    pub dev_key: bool,
    pub l1: L1Status,
    pub progress: Progress,
    /// Why deposits are no longer taken in, if an alarm stopped them.
    pub intake_alarm: Option<String>,
    pub draining: bool,
}

impl System {
    pub fn new(view: SystemView, units: Units) -> Self {
        let circuits = view.shapes.into_iter().map(|(shape, digest)| Circuit {
            name: shape.name().to_owned(),
            number: shape.number(),
            slots: shape.slots() as i32,
            mint_places: shape.mint_places() as i32,
            digest: Bytes32(digest),
        });
        Self {
            version: view.version,
            chain_id: view.chain_id.into(),
            contract: Address(view.contract),
            domain: view.domain.into(),
            operator: Address(view.operator),
            promise_signer: Address(view.promise_signer),
            limits: Limits {
                quantum: units.wei(1),
                min_amount: units.wei(view.min_amount),
                max_leaves_per_operation: i32::try_from(view.max_leaves_per_operation).unwrap_or(i32::MAX),
            },
            circuits: circuits.collect(),
            dev_key: view.dev_key,
            l1: L1Status { head: view.l1_head.into(), finalized: view.l1_finalized.into() },
            progress: Progress {
                open_batch: view.open_batch,
                sealed_batch: view.sealed_batch,
                proven_batch: view.proven_batch,
                final_batch: view.final_batch,
                state_root: view.state_root.into(),
                proven_root: view.proven_root.into(),
                final_root: view.final_root.into(),
            },
            intake_alarm: view.intake_alarm,
            draining: view.draining,
        }
    }
}
