//! What must hold after every death, by three accounts that know nothing of each other: a replay of the log into a fresh
//! state, the plain sum of what users were told, and the chain.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use circuits::{public_data::domain, shape::Shape};
use client::api::{Client, Stage};
use coordinator::{
    Config,
    chain::{
        Chain as _,
        evm::{EvmChain, EvmSettings},
    },
};
use gpu_worker::Circuit;
use l1::node::{AccountKey, Deployed};
use protocol::{Address, OperationId, eip712::SigningDomain, l1::Finality};
use sequencer::{
    rules::Rules,
    state::{State, event::Event},
};
use serde_json::json;
use store::Store as _;

use crate::{
    people::{Api, Book, People},
    world::{self, SHAPE, Settings, ask_node, quantity, query},
};

pub struct Audit {
    rpc: String,
    database: String,
    chain: EvmChain,
    rules: Arc<Rules>,
    first_block: u64,
    operator: Address,
    fees: l1::contract::Config,
}

/// What the log says.
struct Replayed {
    state: State,
    accepted: Vec<OperationId>,
}

impl Audit {
    pub async fn new(settings: &Settings, rpc: &str, circuit: &Circuit, deployed: &Deployed) -> Self {
        let key = AccountKey::from_hex(&settings.operator).unwrap();
        let operator = key.address();
        let evm = EvmSettings::new(rpc, deployed.contract, deployed.block);
        let chain = EvmChain::connect(evm, key).await.unwrap();
        let config = Config { finality: Finality::Confirmations(2), ..Config::default() };
        let digests: BTreeMap<Shape, [u8; 32]> = [(SHAPE, circuit.key.circuit())].into();
        let signing = SigningDomain { chain_id: deployed.chain_id, contract: deployed.contract };
        let rules = config.rules(domain(deployed.chain_id, &deployed.contract), signing, digests);
        Self {
            rpc: rpc.to_owned(),
            database: settings.postgres_url.clone(),
            chain,
            rules: Arc::new(rules),
            first_block: deployed.block,
            operator,
            fees: l1::contract::Config::new(operator),
        }
    }

    /// The operator's address, as the node writes it.
    pub fn operator(&self) -> String {
        format!("0x{}", hex::encode(self.operator))
    }

    /// Whether nothing is under way: neither in the ledger nor in the contract's queues.
    pub async fn is_settled(&self, api: &Api, book: &Book) -> bool {
        let progress = api.system().await.progress;
        let contract = self.chain.contract_state().await.unwrap();
        let idle = progress.sealed_batch == progress.final_batch
            && contract.batch_no == progress.final_batch
            && contract.deposit_count == contract.minted_up_to
            && contract.forced_count == contract.forced_up_to;
        // The newest are the last to be final.
        for done in book.answered.iter().rev().take(if idle { 8 } else { 0 }) {
            let known = api.ask(async |client: &Client| client.operation(&done.id).await).await.unwrap();
            if known.is_none_or(|operation| operation.stage != Stage::Final) {
                return false;
            }
        }
        idle
    }

    fn replay(&self) -> Replayed {
        let mut replayed = Replayed { state: State::new(Arc::clone(&self.rules)), accepted: Vec::new() };
        let mut last = 0;
        let mut store = world::reader(&self.database);
        let checkpoint = store.replay(0, &mut |number, stamped| {
            assert_eq!(number, last + 1, "the log has a gap");
            last = number;
            replayed.state.apply(&stamped).unwrap();
            if let Event::Accepted(accepted) = &stamped.event {
                replayed.accepted.push(accepted.id);
            }
            Ok(())
        });
        assert_eq!(
            checkpoint.unwrap(),
            Some(replayed.state.checkpoint()),
            "the store's last root is the log's"
        );
        replayed
    }

    pub async fn check(&self, api: &Api, people: &People, book: &Book) {
        // What is read there blocks.
        let Replayed { state, accepted } = tokio::task::block_in_place(|| self.replay());
        self.check_operations(&accepted, book);
        self.check_balances(&state, api, people, book).await;
        let contract = self.chain.contract_state().await.unwrap();
        assert_eq!(
            (contract.batch_no, contract.root),
            (state.tree().final_batch(), state.tree().root()),
            "the contract stands at the ledger's root"
        );
        self.check_chain(contract.batch_no).await;
    }

    fn check_operations(&self, accepted: &[OperationId], book: &Book) {
        let told: BTreeSet<String> = book.answered.iter().map(|done| done.id.clone()).collect();
        assert_eq!(told.len(), book.answered.len(), "two requests got one operation");
        let logged: BTreeSet<String> = accepted.iter().map(ToString::to_string).collect();
        assert_eq!(logged.len(), accepted.len(), "an operation is in the log twice");
        assert_eq!(logged, told, "the log holds what was answered, and nothing else");
    }

    async fn check_balances(&self, state: &State, api: &Api, people: &People, book: &Book) {
        let rows = query(&self.database, "SELECT address, balance, proven, final FROM user_balance").await;
        let stored: BTreeMap<Vec<u8>, [i64; 3]> =
            rows.iter().map(|row| (row.get(0), [row.get(1), row.get(2), row.get(3)])).collect();
        for person in &people.all {
            let owner = person.address();
            let told = book.balances.get(&owner).copied().unwrap_or_default();
            let replayed = state.ledger().balances(&owner);
            assert_eq!(
                [replayed.accepted, replayed.proven, replayed.finalized],
                [told; 3],
                "the log gives what users were told"
            );
            let row = stored.get(owner.as_slice()).copied().unwrap_or_default();
            assert_eq!(row, [i64::try_from(told).unwrap(); 3], "user_balance is the sum");
            let account = api.ask(async |client: &Client| client.account(owner).await).await.unwrap();
            let wei = person.wei(told);
            let shown = account.balances;
            assert_eq!([shown.accepted, shown.proven, shown.finalized], [wei; 3], "the API shows the sum");
            if let Some(withdrawn) = book.withdrawn.get(&owner) {
                let owed = withdrawn.iter().map(|coins| self.fees.coins_after_exit(*coins)).sum();
                assert_eq!(
                    person.l1.pending().await.unwrap(),
                    person.wei(owed),
                    "L1 owes what was withdrawn"
                );
            }
        }
    }

    /// Each batch landed once, and nothing that the operator sent was refused by the contract.
    async fn check_chain(&self, batches: u32) {
        let head = self.chain.head().await.unwrap().number;
        let logs = self.chain.logs(self.first_block, head).await.unwrap();
        let landed: Vec<u32> = logs.batches.iter().map(|log| log.batch_no).collect();
        assert_eq!(landed, (1..=batches).collect::<Vec<_>>(), "each batch landed once, in order");
        let operator = self.operator();
        for number in self.first_block + 1..=head {
            let params = json!([format!("{number:#x}"), true]);
            let block = ask_node(&self.rpc, "eth_getBlockByNumber", params).await;
            for tx in block["transactions"].as_array().unwrap() {
                if tx["from"].as_str() != Some(&operator) {
                    continue;
                }
                let receipt = ask_node(&self.rpc, "eth_getTransactionReceipt", json!([tx["hash"]])).await;
                assert_eq!(quantity(&receipt["status"]), 1, "a transaction was refused in block {number}");
            }
        }
    }
}
