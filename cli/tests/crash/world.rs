//! A farm with its services: PostgreSQL, Redis, anvil, two coordinators (one stands by), two workers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use circuits::shape::Shape;
use devchain::DEV_ACCOUNTS;
use gpu_worker::{Circuit, key_path};
use l1::{
    contract::{Config, VerifyingKey, types::CircuitKey},
    node::{AccountKey, Deployed, deploy},
};
use serde_json::{Value, json};
use store::PostgresStore;
use tempfile::TempDir;
use testbed::{anvil::Anvil, postgres::Postgres, redis::Redis};
use tokio::time::{Instant, sleep};
use tokio_postgres::{NoTls, Row};

use crate::{
    audit::Audit,
    eventually,
    people::{Api, Book, PATIENCE, People, Person},
    process::{Seat, make_keys},
};

pub const SHAPE: Shape = Shape::S3M1;
/// A point that is not reached so long after business began never is.
pub const DEATH: Duration = Duration::from_secs(60);
/// One row for each deposit that became an operation.
const DEPOSITS: &str = "SELECT id FROM operations WHERE kind = 'mint'";
/// Confirmations where only the coordinator's own deaths matter, and where blocks are replaced that are not final yet.
pub const SHALLOW: u64 = 2;
pub const DEEP: u64 = 10;
const BLOCK_TIME: Duration = Duration::from_millis(500);
/// First part of the farm's keys in Redis.
pub const PREFIX: &str = "pm:crash";

/// What every process is started with.
pub struct Settings {
    pub folder: PathBuf,
    pub keys: PathBuf,
    pub operator: String,
    pub contract: String,
    pub first_block: u64,
    /// Blocks on top of one that count as final.
    pub confirmations: u64,
    pub postgres_url: String,
    pub postgres_port: u16,
    pub redis_url: String,
    pub worker_url: String,
    pub redis_port: u16,
    pub anvil_port: u16,
}

pub struct World {
    // Processes end before the services that they use.
    pub coordinators: [Seat; 2],
    pub workers: [Seat; 2],
    pub settings: Settings,
    pub api: Api,
    pub people: Arc<People>,
    pub book: Book,
    pub audit: Audit,
    pub postgres: Postgres,
    pub redis: Redis,
    pub anvil: Anvil,
    /// Rounds of business so far.
    rounds: u64,
    _folder: TempDir,
}

impl World {
    /// A farm in which everybody has coins, at rest.
    pub async fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pm-crash-").tempdir().unwrap();
        let keys = folder.path().join("keys");
        make_keys(&keys);
        let postgres = Postgres::start_private(testbed::postgres::Settings::default()).unwrap();
        let redis = Redis::with(testbed::redis::Settings::default()).unwrap();
        let anvil = Anvil::start(BLOCK_TIME).unwrap();
        let circuit = Circuit::load(SHAPE, &keys).unwrap();
        assert!(key_path(&keys, SHAPE).exists());
        let [operator, people @ ..] = DEV_ACCOUNTS.map(|account| account.private_key);
        let deployed = deploy_mill(&anvil.url(), operator, &circuit).await;

        let postgres_url = format!("{}?sslmode=disable", postgres.tcp_url().unwrap());
        let postgres_port =
            postgres_url.split("localhost:").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        let settings = Settings {
            folder: folder.path().to_owned(),
            keys,
            operator: operator.to_owned(),
            contract: format!("0x{}", hex::encode(deployed.contract)),
            first_block: deployed.block,
            confirmations: SHALLOW,
            postgres_url,
            postgres_port,
            redis_url: redis.url(),
            worker_url: redis.pool_url(PREFIX, "default").unwrap(),
            redis_port: redis.port(),
            anvil_port: anvil.port(),
        };
        let coordinators = [Seat::new("first", &settings).await, Seat::new("second", &settings).await];
        let workers = [Seat::new("third", &settings).await, Seat::new("fourth", &settings).await];
        let api = Api::new([coordinators[0].port, coordinators[1].port]);
        let rpc = anvil.url();
        let person = |key: &'static str| Person::new(key, &rpc, deployed.contract);
        let all = [
            person(people[0]).await,
            person(people[1]).await,
            person(people[2]).await,
            person(people[3]).await,
        ];
        let people = Arc::new(People { all, api: api.clone() });
        let audit = Audit::new(&settings, &anvil.url(), &circuit, &deployed).await;
        let mut world = Self {
            coordinators,
            workers,
            settings,
            api,
            people,
            book: Book::default(),
            audit,
            postgres,
            redis,
            anvil,
            rounds: 0,
            _folder: folder,
        };
        world.everybody_up().await;
        world.book = world.people.begin().await;
        world.settle().await;
        world
    }

    /// Starts what is down, and waits until a coordinator answers and the other stands by. One that ends meanwhile is
    /// started again, as its supervisor would, and that is printed.
    pub async fn everybody_up(&mut self) {
        self.start_what_is_down();
        let deadline = Instant::now() + PATIENCE;
        while !self.leads_with_a_standby().await {
            if Instant::now() > deadline {
                panic!("no coordinator leads with the other standing by\n{}", self.told().await);
            }
            sleep(Duration::from_millis(50)).await;
            for name in self.start_what_is_down() {
                println!("{name} ended by itself and was started again");
            }
        }
    }

    /// Names of those that were started.
    fn start_what_is_down(&mut self) -> Vec<String> {
        let Self { coordinators, workers, settings, .. } = self;
        let mut started = Vec::new();
        for seat in coordinators.iter_mut() {
            if !seat.is_up() {
                seat.start_coordinator(settings, None);
                started.push(seat.name.clone());
            }
        }
        for seat in workers.iter_mut() {
            if !seat.is_up() {
                let id = seat.name.clone();
                seat.start_worker(settings, &id, None);
                started.push(id);
            }
        }
        started
    }

    async fn leads_with_a_standby(&self) -> bool {
        let (one, other) = (self.api.answers(0).await, self.api.answers(1).await);
        let [first, second] = &self.coordinators;
        (one && second.said("stands by")) || (other && first.said("stands by"))
    }

    /// Has the coordinators take blocks with so many on top for final, and waits until everything that they took for
    /// final before has as many.
    pub async fn finality(&mut self, confirmations: u64) {
        if self.settings.confirmations != confirmations {
            self.settings.confirmations = confirmations;
            self.coordinators.iter_mut().for_each(|seat| seat.kill());
        }
        self.everybody_up().await;
        let rows = self.query("SELECT max(l1_block) FROM batches WHERE stage = 'final'").await;
        let last: Option<i64> = rows.first().and_then(|row| row.get(0));
        let wanted = last.map_or(0, |block| u64::try_from(block).unwrap() + confirmations);
        let deep = eventually(DEATH, async || self.head().await >= wanted);
        assert!(deep.await, "the node mines no blocks");
    }

    /// Which coordinator answers.
    pub async fn leader(&self) -> usize {
        let mut leader = 0;
        let found = eventually(DEATH, async || {
            for which in 0..2 {
                if self.api.answers(which).await {
                    leader = which;
                    return true;
                }
            }
            false
        });
        assert!(found.await, "nobody leads");
        leader
    }

    /// Waits until this coordinator leads, unless it dies first.
    pub async fn leads_or_is_dead(&mut self, which: usize) {
        let Self { api, coordinators, .. } = self;
        let seat = &mut coordinators[which];
        let leads = eventually(DEATH, async || !seat.is_up() || api.answers(which).await);
        assert!(leads.await, "{} does not lead", seat.name);
    }

    /// Kills the worker that holds a lease, and starts it again under another name: nobody tells of its end.
    pub async fn kill_a_prover(&mut self) {
        let (_, holder) = self.lease().await;
        let seat = self.workers.iter_mut().find(|seat| seat.id == holder).unwrap();
        let id = format!("{}-after-{}", seat.name, self.rounds);
        seat.start_worker(&self.settings, &id, None);
    }

    /// Waits until the deposit of this round is taken in.
    pub async fn deposit_taken_in(&self) {
        let before = self.query(DEPOSITS).await.len();
        let taken = eventually(DEATH, async || self.query(DEPOSITS).await.len() > before);
        assert!(taken.await, "no deposit is taken in");
    }

    /// A round of business, to be polled while something happens to the farm; what it returns is the new book.
    pub fn business(&mut self) -> impl Future<Output = Book> + use<> {
        self.rounds += 1;
        let (people, book, number) = (Arc::clone(&self.people), self.book.clone(), self.rounds);
        async move { people.business(number, book).await }
    }

    /// Waits until everything accepted is final and checks what must hold.
    pub async fn settle(&mut self) {
        let Self { audit, api, book, people, .. } = self;
        let settled = eventually(PATIENCE, async || audit.is_settled(api, book).await);
        if !settled.await {
            let seats = self.coordinators.iter().chain(&self.workers);
            let output: Vec<String> = seats
                .filter_map(|seat| Some(format!("---- {}\n{}", seat.name, seat.process.as_ref()?.output())))
                .collect();
            panic!("not everything became final\n{}\n{:?}", output.join("\n"), api.system().await);
        }
        audit.check(api, people, book).await;
    }

    /// What the coordinators and the store say, for who looks into a failure.
    async fn told(&self) -> String {
        let lines = "SELECT at || ' ' || batch_no || ' ' || text FROM lines ORDER BY id DESC LIMIT 30";
        let jobs = "SELECT batch_no || ' ' || phase || ' ' || coalesce(worker, '-') FROM jobs";
        let mut told = Vec::new();
        for statement in [jobs, lines] {
            told.extend(self.query(statement).await.iter().map(|row| row.get::<_, String>(0)));
        }
        for seat in self.coordinators.iter().chain(&self.workers) {
            let output = seat.process.as_ref().map(|process| process.output());
            told.push(format!("---- {} as {}\n{}", seat.name, seat.id, output.unwrap_or_default()));
        }
        told.join("\n")
    }

    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        ask_node(&self.anvil.url(), method, params).await
    }

    pub async fn head(&self) -> u64 {
        quantity(&self.rpc("eth_blockNumber", json!([])).await)
    }

    pub async fn query(&self, statement: &str) -> Vec<Row> {
        query(&self.postgres.url(), statement).await
    }

    /// Waits until somebody holds a lease: batch, and who.
    pub async fn lease(&self) -> (i32, String) {
        let mut found = None;
        let leased = eventually(DEATH, async || {
            let rows = self.query("SELECT batch_no, worker FROM jobs WHERE phase = 'leased'").await;
            found = rows.first().map(|row| (row.get(0), seat_of(row.get(1))));
            found.is_some()
        });
        if !leased.await {
            panic!("nobody proves anything\n{}", self.told().await);
        }
        found.unwrap()
    }
}

/// What a worker was started as: its name without its pool and the number of its start.
pub fn seat_of(worker: &str) -> String {
    let instance = worker.split_once('/').map_or(worker, |(_, instance)| instance);
    instance.rsplit_once('-').map_or(instance, |(name, _)| name).to_owned()
}

pub async fn ask_node(url: &str, method: &str, params: Value) -> Value {
    let node = l1::rpc::Client::new(&url.into(), l1::http::HttpLimits::default()).unwrap();
    node.call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
}

pub fn quantity(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

pub async fn query(url: &str, statement: &str) -> Vec<Row> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let rows = client.query(statement, &[]).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    rows
}

async fn deploy_mill(rpc: &str, operator: &str, circuit: &Circuit) -> Deployed {
    let vk = circuit.key.verifying_key();
    let key = AccountKey::from_hex(operator).unwrap();
    let pinned = CircuitKey {
        number: SHAPE.number(),
        slots: u32::try_from(SHAPE.slots()).unwrap(),
        mint_places: u32::try_from(SHAPE.mint_places()).unwrap(),
        dev_key: true,
        digest: circuit.key.circuit(),
        key: VerifyingKey {
            alpha: vk.alpha_g1,
            beta: vk.beta_g2,
            gamma: vk.gamma_g2,
            delta: vk.delta_g2,
            ic: vk.ic.clone().try_into().unwrap(),
        },
    };
    deploy(rpc, &key, &Config::new(key.address()), &[pinned]).await.unwrap()
}

/// Opens a store that only reads.
pub fn reader(url: &str) -> PostgresStore {
    let settings = store::PostgresSettings::new(url, "audit");
    PostgresStore::connect(settings).unwrap()
}
