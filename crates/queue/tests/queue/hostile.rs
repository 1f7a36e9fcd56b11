//! What a stolen credential of one pool costs: that pool's share of work, and time. Each attack runs on a real Redis as the
//! pool's own user, beside a coordinator and an honest worker of another pool, which must go on: a directive with its input
//! goes out and an event comes back, each time within [`RECOVERY`], and the server's memory stays bounded.
//!
//! Known limit: Redis 7.0 takes seconds to let go of one read that waits for 100,000 streams, and answers nobody meanwhile.
//! Its memory stays bounded, but some dozens of such reads hold the farm up for longer than [`RECOVERY`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use queue::{
    CoordinatorQueue, PoolEvent, QueueError, QueueWrite, Replaced, Trouble, WorkerQueue,
    redis::{RedisCoordinator, RedisWorker},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
};
use wire::{InstanceName, JobId, PoolName, Report, codec::Message};

use super::{PROCESS, QUIET, SOON, directive, event, farm::Farm, from, input, job, open, pool};

/// The farm's promise: this long after trouble at the latest it goes on.
const RECOVERY: Duration = Duration::from_secs(10);
/// How long an attack that repeats goes on.
const ATTACK: Duration = Duration::from_secs(2);
/// `maxmemory` of the server under attack, and what may come on top of it between two looks of the server at it.
const MEMORY: u64 = 512 << 20;
const SLACK: u64 = 96 << 20;

/// A coordinator, an honest worker of pool `honest` and one of pool `stolen`, and the thief of the latter's credential.
struct Scene {
    farm: Farm,
    coordinator: RedisCoordinator,
    honest: RedisWorker,
    thief: Thief,
    memory: Memory,
    number: AtomicU64,
    _turn: MutexGuard<'static, ()>,
}

/// Attacks take turns: two at once would be another attack.
static TURN: Mutex<()> = Mutex::const_new(());

impl Scene {
    async fn start() -> Self {
        let turn = TURN.lock().await;
        let farm = Farm::with(&["maxmemory 512mb"]);
        let coordinator = farm.coordinator().await;
        let honest = farm.worker("honest/w").await;
        let thief = Thief::of(&farm, "stolen");
        let memory = Memory::watch(&farm).await;
        Self { farm, coordinator, honest, thief, memory, number: AtomicU64::new(0), _turn: turn }
    }

    /// One directive with its input, and one event back; answers what was read of the stolen pool meanwhile.
    async fn round(&self) -> Seen {
        let mut seen = Seen::default();
        let life = self.exchange(&mut seen);
        assert!(tokio::time::timeout(RECOVERY, life).await.is_ok(), "nothing went on for {RECOVERY:?}");
        seen
    }

    async fn exchange(&self, seen: &mut Seen) {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let id = self.honest.id();
        let bytes = vec![number as u8; 1 << 20];
        let writes =
            [open(&["honest", "stolen"]), input("honest", number, &bytes), directive(id, job(number))];
        let wanted = from(id, event(number as usize));
        let send = async {
            again(async || self.coordinator.write(&writes).await).await;
            while again(async || self.honest.next_control(SOON).await).await != Some(job(number)) {}
            assert!(again(async || self.honest.input(JobId(number)).await).await == bytes);
            again(async || self.honest.emit(&event(number as usize)).await).await;
        };
        // The coordinator polls whether or not the server takes its writes.
        let read = async {
            let mut arrived = false;
            while !arrived {
                let batch = again(async || self.coordinator.next_events(QUIET).await).await;
                arrived = batch.events.contains(&wanted);
                if let Some(up_to) = batch.up_to {
                    let acknowledge = [QueueWrite::Acknowledge(up_to)];
                    again(async || self.coordinator.write(&acknowledge).await).await;
                }
                seen.events.extend(batch.events.into_iter().filter(|found| found.worker.pool != id.pool));
                assert!(batch.troubles.iter().all(|(of, _)| *of != id.pool), "{:?}", batch.troubles);
                seen.troubles.extend(batch.troubles);
            }
        };
        tokio::join!(send, read);
        let over = [
            QueueWrite::RemoveInput { pool: id.pool.clone(), job: JobId(number) },
            QueueWrite::Forget { worker: id.clone() },
        ];
        again(async || self.coordinator.write(&over).await).await;
    }

    /// Lives on while the attack lasts and after it.
    async fn survives(&self, attack: impl Future<Output = ()> + Send + 'static) -> Seen {
        let attack = tokio::spawn(attack);
        let mut seen = Seen::default();
        while !attack.is_finished() {
            seen.add(self.round().await);
        }
        attack.await.unwrap();
        seen.add(self.round().await);
        self.check();
        seen
    }

    fn check(&self) {
        let peak = self.memory.peak.load(Ordering::Relaxed);
        assert!(peak < MEMORY + SLACK, "the server used {} MiB", peak >> 20);
    }
}

/// Tries again until it works, as coordinator and worker do.
async fn again<T>(what: impl AsyncFn() -> Result<T, QueueError>) -> T {
    loop {
        match what().await {
            Ok(done) => return done,
            Err(QueueError::Refused(why)) => panic!("{why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// What the coordinator read of the stolen pool.
#[derive(Default)]
struct Seen {
    events: Vec<PoolEvent>,
    troubles: Vec<(PoolName, Trouble)>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.events.extend(other.events);
        self.troubles.extend(other.troubles);
    }

    fn replaced(&self, why: Replaced) -> bool {
        self.troubles.contains(&(pool("stolen"), Trouble::Replaced(why)))
    }
}

/// Watches what the server uses.
struct Memory {
    peak: Arc<AtomicU64>,
    watcher: JoinHandle<()>,
}

impl Memory {
    async fn watch(farm: &Farm) -> Self {
        let mut admin = farm.admin().await;
        let () = super::farm::command("CLIENT NO-EVICT ON").query_async(&mut admin).await.unwrap();
        let peak = Arc::new(AtomicU64::new(0));
        let highest = Arc::clone(&peak);
        let watcher = tokio::spawn(async move {
            loop {
                let info: String =
                    redis::cmd("INFO").arg("memory").query_async(&mut admin).await.unwrap_or_default();
                let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap_or("0");
                highest.fetch_max(used.parse().unwrap(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { peak, watcher }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Speaks to Redis with the stolen credential, byte by byte.
#[derive(Clone)]
struct Thief {
    port: u16,
    user: String,
    password: String,
    /// Of the stolen pool's keys.
    prefix: String,
}

impl Thief {
    fn of(farm: &Farm, pool: &str) -> Self {
        let url = farm.pool_url(pool);
        let (credential, address) = url.strip_prefix("redis://").unwrap().split_once('@').unwrap();
        let (user, password) = credential.split_once(':').unwrap();
        let (_, port) = address.split_once(':').unwrap();
        Self {
            port: port.parse().unwrap(),
            user: user.to_owned(),
            password: password.to_owned(),
            prefix: farm.key(&format!("pool:{pool}")),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    async fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(&resp(&[b"AUTH", self.user.as_bytes(), self.password.as_bytes()])).await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"+OK\r\n");
        stream
    }

    /// An event of the stolen pool: an id and fields with their values.
    fn add(&self, options: &[&str], id: &str, fields: &[&[u8]]) -> Vec<u8> {
        let key = self.key("events");
        let mut words: Vec<&[u8]> = vec![b"XADD", key.as_bytes()];
        words.extend(options.iter().map(|option| option.as_bytes()));
        words.push(id.as_bytes());
        words.extend(fields);
        resp(&words)
    }

    /// Sends these bytes again and again over a connection, which is opened again when the server closes it. What it answers
    /// is read and dropped.
    async fn flood(self, bytes: Arc<[u8]>, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let (mut answers, mut commands) = self.connect().await.into_split();
            let reader = tokio::spawn(async move {
                let mut piece = vec![0; 64 << 10];
                while matches!(answers.read(&mut piece).await, Ok(1..)) {}
            });
            while Instant::now() < end {
                let sent = tokio::time::timeout(time, commands.write_all(&bytes)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
            }
            reader.abort();
        }
    }
}

/// A command as the protocol has it.
fn resp(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn report(instance: &str, number: usize) -> Vec<u8> {
    let instance = InstanceName::new(instance).unwrap();
    Report { instance, process: PROCESS, event: event(number) }.encode().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn maximal_ids_make_no_stream_unwritable() {
    let scene = Scene::start().await;
    // The stolen pool has an honest worker too, whose events arrive when the thief pauses.
    let other = scene.farm.worker("stolen/w").await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let top = u64::MAX;
    let good = report("w", 1);
    for (options, id, why) in [
        (&[][..], format!("{top}-{top}"), Some(Replaced::Unwritable)),
        (&["MAXLEN", "0"], format!("{top}-{top}"), Some(Replaced::Unwritable)),
        (&[], format!("{}-{top}", now + 600_000), None),
        (&["MAXLEN", "0"], format!("{}-{top}", now + 1_200_000), None),
        (&[], format!("{}-0", now + 7_200_000), Some(Replaced::Unwritable)),
    ] {
        let bytes: Arc<[u8]> = scene.thief.add(options, &id, &[b"e", &good]).into();
        let seen = scene.survives(scene.thief.clone().flood(bytes, Duration::from_millis(300))).await;
        assert!(why.is_none_or(|why| seen.replaced(why)), "{options:?} {id}: {:?}", seen.troubles);
        let start = Instant::now();
        let wanted = from(other.id(), event(2));
        let mut arrived = false;
        while !arrived {
            assert!(start.elapsed() < RECOVERY, "{options:?} {id}");
            // It repeats what is not answered.
            let _ = other.emit(&event(2)).await;
            arrived = scene.round().await.events.contains(&wanted);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_speaks_for_no_worker_of_another_pool() {
    let scene = Scene::start().await;
    // The honest worker's own name, and names that look like other pools'.
    let mut bytes = Vec::new();
    for instance in ["w", "honest", "honest-w", "pool.honest"] {
        bytes.extend(scene.thief.add(&[], "*", &[b"e", &report(instance, 1)]));
    }
    let seen = scene.survives(scene.thief.clone().flood(bytes.into(), ATTACK / 4)).await;
    assert!(!seen.events.is_empty());
    assert!(seen.events.iter().all(|found| found.worker.pool == pool("stolen")));
    // A name that is none cannot be written at all.
    let mut forged = report("aaaaaaaa", 1);
    let at = forged.windows(8).position(|part| part == b"aaaaaaaa").unwrap();
    forged[at..at + 8].copy_from_slice(b"honest/w");
    let bytes = scene.thief.add(&[], "*", &[b"e", &forged]);
    let seen = scene.survives(scene.thief.clone().flood(bytes.into(), ATTACK / 4)).await;
    assert!(seen.troubles.iter().any(|(_, trouble)| matches!(trouble, Trouble::Malformed { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_fresh_names_is_read_in_bounded_pieces() {
    let scene = Scene::start().await;
    let mut bytes = Vec::new();
    for number in 0..5000 {
        bytes.extend(scene.thief.add(&[], "*", &[b"e", &report(&format!("fresh-{number}"), number)]));
    }
    let bytes: Arc<[u8]> = bytes.into();
    let thief = scene.thief.clone();
    let seen = scene
        .survives(async move {
            tokio::join!(thief.clone().flood(Arc::clone(&bytes), ATTACK), thief.flood(bytes, ATTACK));
        })
        .await;
    assert!(seen.replaced(Replaced::Oversized), "more than fits was written: {:?}", seen.troubles.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_other_shapes_are_counted_and_skipped() {
    let scene = Scene::start().await;
    let wide: Vec<&[u8]> = vec![b"1"; 200_000];
    let long = vec![b'x'; 100_000];
    let mut bytes = Vec::new();
    for fields in [&[&b"f"[..], b"v"][..], &[b"e", b""], &[b"e", &long], &[b"", b""], &wide] {
        bytes.extend(scene.thief.add(&[], "*", fields));
    }
    let seen = scene.survives(scene.thief.clone().flood(bytes.into(), ATTACK)).await;
    assert!(seen.events.is_empty());
    assert!(seen.troubles.iter().any(|(_, trouble)| matches!(trouble, Trouble::Malformed { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_millions_of_fields_do_not_hold_the_server_up() {
    let scene = Scene::start().await;
    // As many as fit the bytes that a stream may have.
    let wide: Vec<&[u8]> = vec![b"1"; 6_000_000];
    let bytes = scene.thief.add(&[], "*", &wide);
    scene.survives(scene.thief.clone().flood(bytes.into(), ATTACK)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_entries_are_replaced_unread() {
    let scene = Scene::start().await;
    let value = vec![b'x'; 3_600_000];
    let bytes = scene.thief.add(&[], "*", &[b"e", &value, b"f", &value]);
    let seen = scene.survives(scene.thief.clone().flood(bytes.into(), ATTACK)).await;
    assert!(seen.replaced(Replaced::Oversized), "{:?}", seen.troubles);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_past_the_servers_memory_ends_with_the_next_poll() {
    let scene = Scene::start().await;
    let value = vec![b'x'; 1 << 20];
    let bytes: Arc<[u8]> = scene.thief.add(&[], "*", &[b"e", &value]).into();
    let four = |time| {
        let (thief, bytes) = (scene.thief.clone(), Arc::clone(&bytes));
        async move {
            let flood = || thief.clone().flood(Arc::clone(&bytes), time);
            tokio::join!(flood(), flood(), flood(), flood());
        }
    };
    // Nobody reads until it has filled the server.
    let attack = tokio::spawn(four(3 * SOON));
    let full = async {
        while scene.memory.peak.load(Ordering::Relaxed) < MEMORY / 10 * 9 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, full).await.unwrap();
    assert!(scene.round().await.replaced(Replaced::Oversized));
    // It goes on, and is read meanwhile.
    let start = Instant::now();
    while start.elapsed() < ATTACK {
        scene.round().await;
    }
    attack.abort();
    scene.round().await;
    scene.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_are_never_finished_cost_bounded_memory() {
    let scene = Scene::start().await;
    let thief = scene.thief.clone();
    scene
        .survives(async move {
            let whole = thief.add(&[], "*", &[b"e", &vec![b'x'; 4 << 20]]);
            let mut open = Vec::new();
            for _ in 0..300 {
                let mut stream = thief.connect().await;
                // The server may close it before it has all: that is what is wanted.
                let _ = tokio::time::timeout(ATTACK, stream.write_all(&whole[..whole.len() - 3])).await;
                open.push(stream);
            }
            tokio::time::sleep(ATTACK).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_many_words_that_are_never_finished_cost_bounded_memory() {
    let scene = Scene::start().await;
    let thief = scene.thief.clone();
    scene
        .survives(async move {
            let mut whole = thief.add(&[], "*", &vec![&b"1"[..]; 1_000_000]);
            whole.truncate(whole.len() - 3);
            let mut open = Vec::new();
            for _ in 0..40 {
                let mut stream = thief.connect().await;
                let _ = tokio::time::timeout(ATTACK, stream.write_all(&whole)).await;
                open.push(stream);
            }
            tokio::time::sleep(ATTACK).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_cost_bounded_memory() {
    let scene = Scene::start().await;
    let large = input("stolen", 1, &vec![1; 4 << 20]);
    scene.coordinator.write(&[large]).await.unwrap();
    let thief = scene.thief.clone();
    scene
        .survives(async move {
            let get = resp(&[b"GET", thief.key("input:1").as_bytes()]).repeat(200);
            let mut open = Vec::new();
            for _ in 0..100 {
                let mut stream = thief.connect().await;
                let _ = tokio::time::timeout(ATTACK, stream.write_all(&get)).await;
                open.push(stream);
            }
            tokio::time::sleep(ATTACK).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_reads_in_masses_cost_bounded_memory() {
    let scene = Scene::start().await;
    let thief = scene.thief.clone();
    scene
        .survives(async move {
            let mut open = Vec::new();
            for number in 0..500 {
                let mut stream = thief.connect().await;
                let key = thief.key(&format!("jobs:w{}", number % 50));
                let read = resp(&[b"XREAD", b"BLOCK", b"0", b"STREAMS", key.as_bytes(), b"$"]);
                stream.write_all(&read).await.unwrap();
                open.push(stream);
            }
            tokio::time::sleep(ATTACK).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_reads_of_many_streams_cost_bounded_memory() {
    let scene = Scene::start().await;
    let thief = scene.thief.clone();
    scene
        .survives(async move {
            let mut open = Vec::new();
            for connection in 0..100 {
                let keys: Vec<String> =
                    (0..2_000).map(|number| thief.key(&format!("jobs:{connection}-{number}"))).collect();
                let mut words: Vec<&[u8]> = vec![b"XREAD", b"BLOCK", b"0", b"STREAMS"];
                words.extend(keys.iter().map(|key| key.as_bytes()));
                words.extend(vec![&b"$"[..]; keys.len()]);
                let mut stream = thief.connect().await;
                let _ = tokio::time::timeout(ATTACK, stream.write_all(&resp(&words))).await;
                open.push(stream);
            }
            tokio::time::sleep(ATTACK).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trims_by_adding_cost_the_stolen_pool_its_own_events_only() {
    let scene = Scene::start().await;
    let other = scene.farm.worker("stolen/w").await;
    let mut bytes = scene.thief.add(&["MAXLEN", "0"], "*", &[b"e", b"x"]);
    bytes.extend(scene.thief.add(&["MINID", "99999999999999"], "*", &[b"e", b"x"]));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let emitting = tokio::spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            let _ = other.emit(&event(1)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other
    });
    scene.survives(scene.thief.clone().flood(bytes.into(), ATTACK)).await;
    stop.store(true, Ordering::Relaxed);
    let other = emitting.await.unwrap();
    other.emit(&event(2)).await.unwrap();
    let start = Instant::now();
    while !scene.round().await.events.contains(&from(other.id(), event(2))) {
        assert!(start.elapsed() < RECOVERY);
    }
}
