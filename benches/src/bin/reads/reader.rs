//! The readers: clients that ask for whatever is dearest, as fast as they are let.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;

const QUERIES: [&str; 5] = [
    "{ batches(first: 100) { nodes { number stage timeline { stage at } } } }",
    "{ batches(first: 2) { nodes { number operations(first: 20) { nodes { id amount promises { signature } } } } } }",
    "query($a: Address!) { account(address: $a) { balances { accepted proven final } \
     operations(first: 50) { nodes { id kind amount stage } pageInfo { endCursor hasNextPage } } } }",
    "query($a: Address!) { account(address: $a) { coins(first: 100) { nodes { index low high stage } } } }",
    "{ system { progress { openBatch stateRoot } } __schema { types { name fields { name } } } }",
];

pub async fn get(url: &str) -> eyre::Result<String> {
    Ok(reqwest::get(url).await?.text().await?)
}

/// Reads until standard input ends; then says how many queries were answered and how many refused.
pub async fn read(url: &str, readers: usize) -> eyre::Result<()> {
    let holders = (0..super::SENDERS).map(|number| Ok(super::Sender::new(number)?.address()));
    let holders: Arc<[String]> = holders.collect::<eyre::Result<_>>()?;
    let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let http = reqwest::Client::new();
    for reader in 0..readers {
        let (http, url) = (http.clone(), format!("{url}/graphql"));
        let (answered, refused) = (Arc::clone(&answered), Arc::clone(&refused));
        let holders = Arc::clone(&holders);
        tokio::spawn(async move {
            let address = format!("10.0.{}.{}", reader / 250, reader % 250 + 1);
            for turn in reader.. {
                let query = QUERIES[turn % QUERIES.len()];
                let holder = query.contains("$a").then(|| json!({ "a": holders[turn % holders.len()] }));
                let body = json!({ "query": query, "variables": holder });
                let asked = http.post(&url).header("x-forwarded-for", &address).json(&body).send().await;
                let Ok(response) = asked else { continue };
                let status = response.status();
                // The whole answer is taken.
                let _ = response.bytes().await;
                if status.is_success() {
                    answered.fetch_add(1, Ordering::Relaxed);
                } else {
                    refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    println!("{} {}", answered.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    Ok(())
}
