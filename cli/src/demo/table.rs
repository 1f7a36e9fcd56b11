//! The table at the end of the demo: each operation with its batch, proof, gas and transaction.

use std::collections::BTreeMap;

use client::api::{Batch, Client, OperationSummary, Stage};
use protocol::{Address, eth};

use super::script::Journal;
use crate::ui::short_hash;

/// Prints the table and returns whether everything in it is final.
pub async fn print(client: &Client, people: &[(&str, Address)], journal: &Journal) -> eyre::Result<bool> {
    let mut operations: BTreeMap<(u32, String), OperationSummary> = BTreeMap::new();
    for (_, address) in people {
        for operation in client.history(*address).await? {
            operations.insert((operation.batch_number, operation.id.clone()), operation);
        }
    }
    let mut batches: BTreeMap<u32, Batch> = BTreeMap::new();
    for (number, _) in operations.keys() {
        if !batches.contains_key(number)
            && let Some(batch) = client.batch(*number).await?
        {
            batches.insert(*number, batch);
        }
    }
    let name = |address: &Option<Address>| {
        address.map_or("–".to_owned(), |address| {
            people
                .iter()
                .find(|(_, other)| *other == address)
                .map_or_else(|| short_hash(&address), |(name, _)| (*name).to_owned())
        })
    };
    say!();
    say!(
        "{:<34} {:>6}  {:<8} {:>9} {:>9}  {:<17} {:<9}",
        "operation",
        "batch",
        "circuit",
        "proof",
        "gas",
        "L1 transaction",
        "state"
    );
    for step in &journal.steps {
        say!(
            "{:<34} {:>6}  {:<8} {:>9} {:>9}  {:<17} on L1",
            step.what,
            "–",
            "–",
            "–",
            step.gas_used,
            short_hash(&step.tx)
        );
    }
    let mut all_final = !operations.is_empty();
    for operation in operations.values() {
        let batch = batches.get(&operation.batch_number);
        let what = format!(
            "{:?} {} {} → {}",
            operation.kind,
            eth(operation.amount),
            name(&operation.sender),
            name(&operation.recipient)
        );
        say!(
            "{what:<34} {:>6}  {:<8} {:>9} {:>9}  {:<17} {:<9}",
            operation.batch_number,
            batch.and_then(|b| b.circuit.clone()).unwrap_or_default(),
            batch
                .and_then(|b| b.prove_ms)
                .map_or_else(String::new, |ms| format!("{:.2} s", ms as f64 / 1000.0)),
            batch.and_then(|b| b.gas_used).map_or_else(String::new, |gas| gas.to_string()),
            batch.and_then(|b| b.l1_tx).map_or_else(String::new, |tx| short_hash(&tx)),
            format!("{:?}", operation.stage).to_lowercase(),
        );
        all_final &= operation.stage == Stage::Final;
    }
    say!();
    Ok(all_final)
}
