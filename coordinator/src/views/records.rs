//! What the state's records look like from outside. Promises come without their signature, which the caller adds outside the driver.

use api::service::{OperationView, PromiseView, WorkerHealth, WorkerView};
use sequencer::{
    farm::{Farm, Worker},
    state::{Operation, Promised, State},
};
use wire::WorkerId;

use crate::explain;

pub fn operation_view(state: &State, operation: &Operation) -> OperationView {
    let promise = |promised: &Promised| PromiseView {
        operation_id: operation.id.0,
        kind: promised.kind,
        batch_no: operation.batch_no,
        index: promised.index,
        account: promised.account,
        range: promised.range,
        deadline: operation.deadline,
        signer: [0; 20],
        signature: Vec::new(),
    };
    OperationView {
        id: operation.id.to_string(),
        kind: operation.kind,
        sender: operation.sender,
        recipient: operation.recipient,
        amount: operation.amount,
        batch_no: operation.batch_no,
        stage: state.stage_of(operation.batch_no),
        timeline: explain::timeline(state, operation),
        promises: operation.promised.iter().map(promise).collect(),
        hit: operation.hit,
    }
}

/// By name: those that are there and those that left.
pub fn worker_views(farm: &Farm) -> Vec<WorkerView> {
    let present = farm.workers().map(|(id, worker)| worker_view(id, worker, None));
    let departed = farm.departed().map(|gone| worker_view(&gone.id, &gone.worker, Some(&gone.message)));
    let mut views: Vec<WorkerView> = present.chain(departed).collect();
    views.sort_by(|a, b| a.id.cmp(&b.id));
    views
}

fn worker_view(id: &WorkerId, worker: &Worker, left: Option<&String>) -> WorkerView {
    let sick = worker.card.as_ref().and_then(|card| card.sick.as_ref());
    let refused = (!worker.refused.is_empty())
        .then(|| worker.refused.values().map(String::as_str).collect::<Vec<_>>().join("; "));
    let health = match (left, sick) {
        (Some(_), _) => WorkerHealth::Left,
        (None, Some(_)) => WorkerHealth::Sick,
        (None, None) => WorkerHealth::Well,
    };
    let registration = worker.registration.as_ref();
    WorkerView {
        id: id.to_string(),
        health,
        reason: left.or(sick).cloned().or(refused),
        backend: registration.map(|known| known.backend.clone()),
        version: registration.map(|known| known.version.clone()),
        memory: registration.map(|known| known.memory),
        circuits: worker.circuits().collect(),
        refused: !worker.refused.is_empty(),
        seen: worker.seen,
        holds: worker.in_flight.iter().map(|named| (named.job.0, named.stage)).collect(),
        card: worker.card.clone(),
        joules_per_proof: worker.energy.joules_per_proof(),
        joules_per_payment: worker.energy.joules_per_payment(),
    }
}
