//! What the cores go by.

use std::collections::BTreeMap;

use bn254::Fr;
use circuits::shape::Shape;
use protocol::eip712::SigningDomain;

use crate::{
    batcher::SealRules,
    farm::{CapacityRules, FarmRules},
    ledger::Limits,
    parallel::Parallel,
    settlement::SettlementRules,
};

/// What the cores go by.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub domain: Fr,
    pub signing: SigningDomain,
    pub shapes: Vec<Shape>,
    /// Digest of each circuit.
    pub circuits: BTreeMap<Shape, [u8; 32]>,
    /// Digest of the contract's verifying key of each circuit. Workers with another one get no jobs of it.
    pub keys: BTreeMap<Shape, [u8; 32]>,
    pub limits: Limits,
    pub seal: SealRules,
    pub farm: FarmRules,
    pub capacity: CapacityRules,
    pub settlement: SettlementRules,
    pub valid_for: u32,
    pub promise_deadline_s: u64,
    /// How trees are hashed and snapshots decoded.
    pub parallel: Parallel,
}
