//! The observations of [`crate::ethereum::observe`] have to be those of another implementation.

use testbed::anvil::{Anvil, AnvilError};

use crate::{
    common::{CHAIN_ID, Client, start},
    ethereum::observe,
};

#[tokio::test]
async fn anvil_sees_the_same() {
    let anvil = match Anvil::start_automining(CHAIN_ID) {
        Ok(anvil) => anvil,
        Err(error @ AnvilError::Missing(_)) => {
            let required = std::env::var("PROOFMILL_REQUIRE_ANVIL").is_ok_and(|value| value == "1");
            assert!(!required, "{error}");
            eprintln!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let theirs = observe(&Client::new(&anvil.url())).await;
    let (_chain, client) = start().await;
    let ours = observe(&client).await;
    assert_eq!(ours.len(), theirs.len());
    let differing: Vec<_> = ours.iter().zip(&theirs).filter(|(our, their)| our != their).collect();
    assert!(differing.is_empty(), "(ours, anvil's): {differing:#?}");
}
