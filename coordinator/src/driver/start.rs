//! From a store and adapters to a running coordinator: replay, compare, then listen.

use std::{collections::BTreeMap, sync::Arc, thread};

use circuits::{public_data::domain, shape::Shape};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{ecdsa::OperatorKey, eip712::SigningDomain, queue::CoordinatorQueue};

use super::{Driver, Handle, SharedStatus, chain_task::ChainTask, handle, queue_task, system_clock};
use crate::{
    chain::{Chain, ChainError, ContractState, Deployment},
    config::{Config, ConfigError, Rules},
    state::{State, StateError, rows::Checkpoint},
    store::{Store, StoreError},
    verifier::ProofVerifier,
};

/// What a coordinator is made of.
pub struct Parts {
    pub store: Box<dyn Store>,
    pub queue: Arc<dyn CoordinatorQueue>,
    pub chain: Arc<dyn Chain>,
    pub verifier: Arc<dyn ProofVerifier>,
    /// Signs promises.
    pub operator: OperatorKey,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    State(StateError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(
        "PM-START-001: there is no verifying key for {0}; make or fetch the key of each configured circuit"
    )]
    NoKey(Shape),
    #[error(
        "PM-START-002: the store's last batch is {stored}, its log ends with {replayed}, or their roots differ; restore the \
         data folder from a backup"
    )]
    Checkpoint { stored: u32, replayed: u32 },
    #[error(
        "PM-START-003: the contract stands at batch {contract}, this store proved {proven} (or another root); the data \
         folder is old or of another deployment: find the current one"
    )]
    Contract { contract: u32, proven: u32 },
    #[error("PM-START-004: the driver's thread cannot be started ({0})")]
    Thread(String),
}

/// Starts a coordinator. Call it inside a multi-threaded tokio runtime.
///
/// # Errors
/// `StartError` when the settings cannot work, the store cannot be trusted, or it does not fit the contract.
pub async fn start(config: Config, parts: Parts) -> Result<Arc<Handle>, StartError> {
    config.validate()?;
    let Parts { mut store, queue, chain, verifier, operator } = parts;
    let deployment = chain.deployment().await?;
    let mut circuits = BTreeMap::new();
    for shape in &config.shapes {
        circuits.insert(*shape, verifier.digest(*shape).ok_or(StartError::NoKey(*shape))?);
    }
    let signing = SigningDomain { chain_id: deployment.chain_id, contract: deployment.contract };
    let rules =
        Arc::new(config.rules(domain(deployment.chain_id, &deployment.contract), signing, circuits.clone()));

    let bound = name(&deployment);
    let replayed = tokio::task::spawn_blocking(move || {
        store.bind(&bound)?;
        let replayed = replay(store.as_mut(), rules)?;
        Ok::<_, StartError>((store, replayed))
    });
    let (store, (state, sequence)) =
        replayed.await.map_err(|error| StartError::Thread(error.to_string()))??;
    compare_with_contract(&state, &chain.contract_state().await?)?;
    tracing::info!(
        batch = state.tree.state_batch(),
        proven = state.tree.proven_batch(),
        finalized = state.tree.final_batch(),
        "the log is replayed"
    );

    let status = SharedStatus::default();
    let (sender, inbox) = crossbeam_channel::unbounded();
    let (outbox, to_queue) = tokio::sync::mpsc::unbounded_channel();
    let driver = Driver {
        state,
        store,
        inbox,
        outbox,
        status: status.clone(),
        commit_max: config.commit_max,
        commit_window: config.commit_window,
        sequence,
        clock: Box::new(system_clock),
        last_now: 0,
    };
    let thread = thread::Builder::new()
        .name("coordinator".to_owned())
        .spawn(move || driver.run())
        .map_err(|error| StartError::Thread(error.to_string()))?;

    let cancel = CancellationToken::new();
    let tasks = TaskTracker::new();
    let link = handle::Link { sender };
    let chain_task = ChainTask {
        chain: Arc::clone(&chain),
        verifier: Arc::clone(&verifier),
        link: link.clone(),
        status: status.clone(),
        deployment: deployment.clone(),
        finality: config.finality,
        poll: config.poll,
        log_range: config.log_range,
        scanned: None,
    };
    tasks.spawn(chain_task.run(cancel.clone()));
    tasks.spawn(queue_task::write(Arc::clone(&queue), to_queue, cancel.clone()));
    tasks.spawn(queue_task::read(queue, verifier, link.clone(), cancel.clone()));
    tasks.close();
    Ok(Arc::new(Handle::new(
        config, deployment, circuits, operator, chain, link, status, cancel, tasks, thread,
    )))
}

fn name(deployment: &Deployment) -> String {
    format!("chain {} contract 0x{}", deployment.chain_id, hex::encode(deployment.contract))
}

/// The state that the log describes and the number of its last event; an empty log begins with batch 1.
pub(crate) fn replay(store: &mut dyn Store, rules: Arc<Rules>) -> Result<(State, u64), StartError> {
    let mut state = State::new(Arc::clone(&rules));
    let mut last = 0;
    let mut failed = None;
    let stored = store.replay(0, &mut |sequence, stamped| {
        last = sequence;
        state.apply(&stamped).map_err(|error| {
            let text = error.to_string();
            failed = Some(error);
            StoreError::Replay(text)
        })
    });
    if let Some(error) = failed {
        return Err(StartError::State(error));
    }
    let stored = stored?;
    let replayed = state.checkpoint();
    let agree = match stored {
        Some(stored) => stored == replayed,
        None => replayed.batch_no == 0,
    };
    if !agree {
        let stored = stored.map_or(0, |Checkpoint { batch_no, .. }| batch_no);
        return Err(StartError::Checkpoint { stored, replayed: replayed.batch_no });
    }
    if last == 0 {
        let mut log = Vec::new();
        state.begin(0, &mut log)?;
        store.commit(1, &log, &[])?;
        last = log.len() as u64;
    }
    // The projections already hold all this.
    state.take_rows();
    Ok((state, last))
}

/// The contract may be behind (not submitted yet) but never ahead, and stands at one of our roots.
pub(crate) fn compare_with_contract(state: &State, contract: &ContractState) -> Result<(), StartError> {
    let proven = state.tree.proven_batch();
    let mismatch = StartError::Contract { contract: contract.batch_no, proven };
    if contract.batch_no > proven {
        return Err(mismatch);
    }
    let ours = match contract.batch_no {
        0 => circuits::tree::empty_root(circuits::tree::DEPTH),
        batch_no => match state.batch(batch_no) {
            Some(batch) => batch.new_root,
            None => return Err(mismatch),
        },
    };
    if ours == contract.root { Ok(()) } else { Err(mismatch) }
}
