//! Users who deposit, pay and leave while the farm dies around them.
//!
//! A request that got no answer is sent again as it is, to whichever coordinator answers, until one says yes or no. What was
//! answered is written down in the [`Book`], the plain sum that everything else is compared with.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use client::{
    api::{Client, ClientError, Coin, Kind, PrepareSend, PrepareWithdraw, Stage, Submit, System},
    holder::{Holder, Intent},
};
use l1::node::{AccountKey, wallet::Wallet};
use protocol::{Address, ecdsa::OperatorKey, eip712::SigningDomain};
use tokio::time::{Instant, sleep, timeout};

/// An answer that took longer is taken for lost.
const ANSWER: Duration = Duration::from_secs(5);
/// Everybody gives up then, and the test fails.
pub const PATIENCE: Duration = Duration::from_secs(150);
const AGAIN: Duration = Duration::from_millis(100);
const VALID_BATCHES: u32 = 500;

/// The coordinators, of which one answers.
#[derive(Clone)]
pub struct Api {
    clients: Arc<[Client; 2]>,
}

impl Api {
    pub fn new(ports: [u16; 2]) -> Self {
        Self { clients: Arc::new(ports.map(|port| Client::new(format!("http://127.0.0.1:{port}")))) }
    }

    /// Asks until somebody answers.
    pub async fn ask<T>(
        &self,
        call: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let began = Instant::now();
        loop {
            for client in self.clients.iter() {
                match timeout(ANSWER, call(client)).await {
                    Ok(Err(error)) if error.is_retryable() => {
                        assert!(began.elapsed() < PATIENCE, "no answer for {PATIENCE:?}: {error}");
                    }
                    Ok(outcome) => return outcome,
                    Err(_) => assert!(began.elapsed() < PATIENCE, "no answer for {PATIENCE:?}"),
                }
            }
            sleep(AGAIN).await;
        }
    }

    pub async fn system(&self) -> System {
        self.ask(Client::system).await.unwrap()
    }

    /// Whether this one answers now.
    pub async fn answers(&self, which: usize) -> bool {
        let asked = timeout(Duration::from_secs(1), self.clients[which].system()).await;
        asked.is_ok_and(|answer| answer.is_ok())
    }
}

/// An operation that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    pub id: String,
    pub from: Address,
    /// Nobody: it leaves the ledger.
    pub to: Option<Address>,
    pub coins: u64,
}

/// What became of the coins, by what the users were told.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub answered: Vec<Answered>,
    pub balances: BTreeMap<Address, u64>,
    /// Each withdrawal.
    pub withdrawn: BTreeMap<Address, Vec<u64>>,
}

impl Book {
    pub fn add(&mut self, owner: Address, coins: u64) {
        *self.balances.entry(owner).or_default() += coins;
    }

    pub fn leave(&mut self, owner: Address, coins: u64) {
        *self.balances.get_mut(&owner).unwrap() -= coins;
    }

    pub fn note(&mut self, done: Answered) {
        self.leave(done.from, done.coins);
        match done.to {
            Some(to) => self.add(to, done.coins),
            None => self.withdrawn.entry(done.from).or_default().push(done.coins),
        }
        self.answered.push(done);
    }
}

pub struct Person {
    pub holder: Holder,
    pub l1: Wallet,
    quantum: u128,
}

impl Person {
    pub async fn new(key: &str, rpc: &str, contract: Address) -> Self {
        let l1 = Wallet::connect(rpc, contract, AccountKey::from_hex(key).unwrap(), None).await.unwrap();
        let domain = SigningDomain { chain_id: l1.chain_id(), contract };
        let holder = Holder::new(OperatorKey::from_hex(key).unwrap(), domain, 0).unwrap();
        let quantum = u128::from(l1.contract().quantum().await.unwrap());
        Self { holder, l1, quantum }
    }

    pub fn address(&self) -> Address {
        self.holder.address()
    }

    pub fn wei(&self, coins: u64) -> u128 {
        u128::from(coins) * self.quantum
    }

    /// Coins that arrive.
    pub async fn deposit(&self, coins: u64) -> u64 {
        let wei = self.wei(coins);
        let made = self.l1.deposit(self.address(), self.holder.key_hash(), wei).await.unwrap();
        made.range.high() - made.range.low() + 1
    }

    pub async fn register(&self, api: &Api, key: &str) {
        let request = self.holder.registration(key);
        api.ask(async |client| client.register_key(&request).await).await.unwrap();
    }

    pub async fn coins(&self, api: &Api) -> Vec<Coin> {
        let owner = self.address();
        api.ask(async |client| client.account(owner).await).await.unwrap().coins
    }

    /// Pays somebody, or withdraws.
    pub async fn pay(&self, api: &Api, to: Option<Address>, coins: u64, key: &str) -> Answered {
        let began = Instant::now();
        for attempt in 0.. {
            let signed = self.sign(api, to, coins, &format!("{key}.{attempt}")).await;
            let outcome = match &signed {
                Ok(submit) => {
                    let call = async |client: &Client| match to {
                        Some(_) => client.send(submit).await,
                        None => client.withdraw(submit).await,
                    };
                    api.ask(call).await.map(|operation| {
                        assert_eq!(operation.promises.len(), submit.spends.len(), "each slot is promised");
                        operation.id
                    })
                }
                Err(refused) => Err(ClientError::Refused(refused.clone())),
            };
            match outcome {
                Ok(id) => return Answered { id, from: self.address(), to, coins },
                // Nothing was changed: the coins are still on their way, or moved meanwhile.
                Err(ClientError::Refused(_)) if began.elapsed() < PATIENCE => sleep(3 * AGAIN).await,
                Err(error) => panic!("{key}: {error}"),
            }
        }
        unreachable!()
    }

    async fn sign(
        &self,
        api: &Api,
        to: Option<Address>,
        coins: u64,
        key: &str,
    ) -> Result<Submit, client::api::UserError> {
        let valid_until = self.l1.contract().state().await.unwrap().batch_no + VALID_BATCHES;
        let amount = self.wei(coins);
        let (sender, valid) = (self.address(), Some(valid_until));
        let drafted = match to {
            Some(recipient) => {
                let request =
                    PrepareSend { sender, recipient, amount, allow_vault: false, valid_until: valid };
                api.ask(async |client| client.prepare_send(&request).await).await
            }
            None => {
                let request = PrepareWithdraw { sender, amount, valid_until: valid };
                api.ask(async |client| client.prepare_withdraw(&request).await).await
            }
        };
        let draft = match drafted {
            Ok(draft) => draft,
            Err(ClientError::Refused(refused)) => return Err(refused),
            Err(error) => panic!("{key}: {error}"),
        };
        let kind = if to.is_some() { Kind::Send } else { Kind::Withdraw };
        let intent =
            Intent { kind, recipient: to, coins, allow_vault: false, recipient_epoch: 0, valid_until };
        Ok(self.holder.sign(&draft, &intent, key).unwrap())
    }

    /// Coins of the leaf that is forced out, if there is one that is final.
    pub async fn force_exit(&self, api: &Api) -> Option<u64> {
        let coin = self.coins(api).await.into_iter().find(|coin| coin.stage == Stage::Final)?;
        self.l1.force_exit(coin.index, self.holder.key_hash()).await.unwrap();
        Some(coin.high - coin.low + 1)
    }
}

/// Alice, Bob and Carol pay each other; Dave is paid and leaves by force.
pub struct People {
    pub all: [Person; 4],
    pub api: Api,
}

impl People {
    /// First deposits and directory entries.
    pub async fn begin(&self) -> Book {
        let [alice, bob, carol, dave] = &self.all;
        let mut book = Book::default();
        for person in [alice, alice, bob, carol] {
            let owner = person.address();
            book.add(owner, person.deposit(1_000_000).await);
        }
        for person in [alice, bob, carol, dave] {
            person.register(&self.api, "first").await;
        }
        book
    }

    /// A round of business: a deposit, an operation over several leaves, a chain, a withdrawal, now and then a forced exit.
    pub async fn business(&self, number: u64, mut book: Book) -> Book {
        let [alice, bob, carol, dave] = &self.all;
        let api = &self.api;
        let key = |what: &str| format!("{number}.{what}");
        let depositor = [alice, bob, carol][usize::try_from(number % 3).unwrap()];
        let l1 = async {
            let minted = depositor.deposit(200_000 + number).await;
            let forced = if number % 3 == 2 { dave.force_exit(api).await } else { None };
            (minted, forced)
        };
        let payments = async {
            let mut done = Vec::new();
            alice.register(api, &key("register")).await;
            // More than the largest of her leaves holds.
            let mut sizes: Vec<u64> =
                alice.coins(api).await.iter().map(|coin| coin.high - coin.low + 1).collect();
            sizes.sort_unstable();
            let wide = sizes.last().copied().unwrap_or(0).min(900_000) + 1_000;
            done.push(alice.pay(api, Some(bob.address()), wide, &key("wide")).await);
            // A chain inside a batch: Bob spends what he has just got.
            done.push(bob.pay(api, Some(alice.address()), wide - 500, &key("back")).await);
            let (to_carol, to_dave) = (key("third"), key("fourth"));
            let (third, fourth) = tokio::join!(
                bob.pay(api, Some(carol.address()), 50_000 + number, &to_carol),
                carol.pay(api, Some(dave.address()), 15_000, &to_dave),
            );
            done.extend([third, fourth]);
            done.push(carol.pay(api, None, 20_000, &key("out")).await);
            done
        };
        let ((minted, forced), done) = tokio::join!(l1, payments);
        book.add(depositor.address(), minted);
        for answered in done {
            book.note(answered);
        }
        if let Some(coins) = forced {
            book.leave(dave.address(), coins);
        }
        book
    }
}
