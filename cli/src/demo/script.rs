//! The demo's payments: three people, each with a wallet of their own that talks to the coordinator through GraphQL and
//! to the chain through JSON-RPC, like anybody else's.
//!
//! Invariant: every step can be repeated. Payments carry idempotency keys; a step on L1 runs only if the account's nonce
//! says that it has not run yet. So a demo that was killed anywhere goes on where it stopped.

use std::time::Duration;

use client::api::{Client, ClientError, OperationKind, Stage};
use eyre::{WrapErr, bail, ensure};
use protocol::{Address, eth};
use serde::{Deserialize, Serialize};
use wallet::{Folder, Session};

use crate::ui::Spinner;

const ETH: u128 = 1_000_000_000_000_000_000;
/// How long the demo waits for a batch before it gives up: proofs of large circuits take minutes on two cores.
const PATIENCE: Duration = Duration::from_secs(1800);
const POLL: Duration = Duration::from_millis(200);

/// Where the people of the demo find things.
pub struct Places<'a> {
    pub rpc_url: &'a str,
    pub api_url: &'a str,
    pub contract: Address,
    /// Where the people keep what they sign.
    pub wallets: &'a std::path::Path,
    /// Keys of funded accounts, in hex.
    pub keys: [&'a str; 3],
}

/// What a step on L1 cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct L1Step {
    pub what: String,
    pub gas_used: u64,
    pub tx: [u8; 32],
}

/// The steps on L1 so far, saved after each.
#[derive(Default, Serialize, Deserialize)]
pub struct Journal {
    pub steps: Vec<L1Step>,
}

pub struct Script {
    alice: Session,
    bob: Session,
    carol: Session,
    client: Client,
    journal: Journal,
    journal_path: std::path::PathBuf,
}

impl Script {
    pub async fn new(places: &Places<'_>, journal_path: std::path::PathBuf) -> eyre::Result<Self> {
        let person = async |name: &str, key: &str| {
            let folder = Folder::open(places.wallets.join(name))?;
            let at = (places.contract, None);
            let session = Session::connect(key, places.rpc_url, places.api_url, at, folder).await?;
            // The first worker may take its time to come.
            eyre::Ok(Session { patience: PATIENCE, ..session })
        };
        let [alice, bob, carol] = places.keys;
        let journal = match std::fs::read(&journal_path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => Journal::default(),
        };
        Ok(Self {
            alice: person("alice", alice).await?,
            bob: person("bob", bob).await?,
            carol: person("carol", carol).await?,
            client: Client::new(places.api_url),
            journal,
            journal_path,
        })
    }

    /// Runs all steps that have not run yet and waits until everything is final.
    pub async fn run(mut self) -> eyre::Result<Journal> {
        for (name, person) in [("alice", &self.alice), ("bob", &self.bob), ("carol", &self.carol)] {
            person.register(&format!("demo-register-{name}")).await?;
        }

        let deposits = [("Alice", 0u64, ETH / 2), ("Alice", 1, 3 * ETH / 10), ("Bob", 0, ETH / 5)];
        for (name, nonce, wei) in deposits {
            let person = if name == "Alice" { &self.alice } else { &self.bob };
            if person.l1.nonce().await? > nonce {
                continue;
            }
            let spinner = Spinner::new(format!("{name} deposits {}", eth(wei)));
            let made = person.deposit(wei).await?;
            spinner.done(format!(
                "{name} deposited {} (coins {}..={})",
                eth(wei),
                made.range.low(),
                made.range.high()
            ));
            let step = L1Step {
                what: format!("{name} deposits {}", eth(wei)),
                gas_used: made.mined.gas_used,
                tx: made.mined.tx,
            };
            self.record(step)?;
        }
        let spinner = Spinner::new("deposits become coins");
        wait(&spinner, "deposits become coins", || async {
            let alice = self.client.account(self.alice.holder.address()).await?;
            let bob = self.client.account(self.bob.holder.address()).await?;
            let paid = self.client.history(self.alice.holder.address()).await?;
            // On a second run the coins have moved on already.
            Ok((alice.coins.len() >= 2 && !bob.coins.is_empty()) || paid.len() > 2)
        })
        .await?;
        spinner.done("all deposits are coins in the tree");

        // More than either of Alice's leaves holds: two leaves, two slots, one operation.
        self.pay(&self.alice, &self.bob, 6 * ETH / 10, "Alice pays Bob from two leaves", "demo-send-1")
            .await?;
        // A chain in one batch: Carol spends what Bob has just paid her, before anything is proven.
        self.pay(&self.bob, &self.carol, ETH / 4, "Bob pays Carol", "demo-send-2").await?;
        self.pay(&self.carol, &self.alice, ETH / 10, "Carol pays Alice with Bob's coins", "demo-send-3")
            .await?;

        let withdrawal = self.withdraw(ETH / 20).await?;
        self.wait_final(&withdrawal, "Carol's withdrawal is proven and settled").await?;
        self.collect().await?;
        self.force_exit().await?;
        self.wait_everything_final().await?;
        Ok(self.journal)
    }

    async fn pay(&self, from: &Session, to: &Session, wei: u128, what: &str, key: &str) -> eyre::Result<()> {
        let recipient = Some(to.holder.address());
        if self.accepted_before(from, OperationKind::Send, recipient, wei).await?.is_some() {
            say!("  ✓ {what}: done in an earlier run");
            return Ok(());
        }
        let spinner = Spinner::new(what);
        let operation = from.send(to.holder.address(), wei, false, key).await?;
        spinner.done(format!(
            "{what}: {} in batch {}, promised by the operator",
            eth(wei),
            operation.batch_number
        ));
        Ok(())
    }

    /// Carol's withdrawal; returns its id.
    async fn withdraw(&self, wei: u128) -> eyre::Result<String> {
        if let Some(id) = self.accepted_before(&self.carol, OperationKind::Withdraw, None, wei).await? {
            return Ok(id);
        }
        let spinner = Spinner::new("Carol withdraws");
        let operation = self.carol.withdraw(wei, "demo-withdraw-1").await?;
        spinner.done(format!("Carol withdraws {} (batch {})", eth(wei), operation.batch_number));
        Ok(operation.id)
    }

    /// The operation of an earlier run that did the same. A repeated call with the same idempotency key would need the
    /// same signed body, and the coins have moved on since.
    async fn accepted_before(
        &self,
        from: &Session,
        kind: OperationKind,
        recipient: Option<Address>,
        wei: u128,
    ) -> eyre::Result<Option<String>> {
        let history = self.client.history(from.holder.address()).await?;
        let same = history.into_iter().find(|operation| {
            operation.kind == kind
                && operation.sender == Some(from.holder.address())
                && (recipient.is_none() || operation.recipient == recipient)
                && operation.amount == wei
        });
        Ok(same.map(|operation| operation.id))
    }

    async fn collect(&mut self) -> eyre::Result<()> {
        if self.carol.l1.nonce().await? > 0 {
            return Ok(());
        }
        let credited = self.carol.l1.pending().await?;
        ensure!(credited > 0, "the withdrawal is final but nothing is credited on L1");
        let spinner = Spinner::new("Carol collects on L1");
        let mined = self.carol.collect().await?;
        spinner.done(format!("Carol collected {} on L1", eth(credited)));
        self.record(L1Step {
            what: format!("Carol collects {}", eth(credited)),
            gas_used: mined.gas_used,
            tx: mined.tx,
        })
    }

    /// Bob leaves without asking the operator: the contract demands one of his leaves.
    async fn force_exit(&mut self) -> eyre::Result<()> {
        let deposits = 1;
        if self.bob.l1.nonce().await? > deposits {
            return Ok(());
        }
        let account = self.client.account(self.bob.holder.address()).await?;
        let Some(coin) = account.coins.iter().find(|coin| coin.stage == Stage::Final) else {
            bail!("Bob has no final leaf to force out");
        };
        let spinner = Spinner::new("Bob forces an exit");
        let made = self.bob.force_exit(coin.index).await?;
        spinner.done(format!("Bob demanded leaf {} on L1; the operator must let it go", coin.index));
        self.record(L1Step {
            what: format!("Bob forces leaf {} out", coin.index),
            gas_used: made.mined.gas_used,
            tx: made.mined.tx,
        })
    }

    async fn wait_final(&self, id: &str, what: &str) -> eyre::Result<()> {
        let spinner = Spinner::new(what);
        wait(&spinner, what, || async {
            let operation = self.client.operation(id).await?;
            if let Some(operation) = &operation {
                spinner.say(format!("{what}: {:?}", operation.stage));
            }
            Ok(operation.is_some_and(|operation| operation.stage == Stage::Final))
        })
        .await?;
        spinner.done(what);
        Ok(())
    }

    /// Every operation of the three is final, and the forced one has happened.
    async fn wait_everything_final(&self) -> eyre::Result<()> {
        let what = "every operation is final on L1";
        let spinner = Spinner::new(what);
        wait(&spinner, what, || async {
            let mut forced = false;
            for person in [&self.alice, &self.bob, &self.carol] {
                for operation in self.client.history(person.holder.address()).await? {
                    if operation.stage != Stage::Final {
                        spinner.say(format!("batch {}: {:?}", operation.batch_number, operation.stage));
                        return Ok(false);
                    }
                    forced |= operation.kind == OperationKind::ForcedExit;
                }
            }
            Ok(forced)
        })
        .await?;
        spinner.done(what);
        Ok(())
    }

    fn record(&mut self, step: L1Step) -> eyre::Result<()> {
        self.journal.steps.push(step);
        std::fs::write(&self.journal_path, serde_json::to_vec(&self.journal)?)
            .wrap_err_with(|| format!("cannot write {}", self.journal_path.display()))
    }
}

/// Polls until it is so; a coordinator that is busy is asked again.
async fn wait<F>(spinner: &Spinner, what: &str, mut ready: impl FnMut() -> F) -> eyre::Result<()>
where
    F: Future<Output = Result<bool, ClientError>>,
{
    let started = std::time::Instant::now();
    while started.elapsed() < PATIENCE {
        match ready().await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.is_retryable() => spinner.say(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("gave up after {} s: {what}", PATIENCE.as_secs())
}
