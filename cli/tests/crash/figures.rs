//! How long a farm takes to recover, by the stamps of its own log: real processes, proofs of 0.7 s, the defaults of lease and
//! heartbeat.
//!
//! First how much of its time a worker with a full queue proves nothing, and how soon the first worker after minutes without any
//! proves something. Then two numbers per load: from the SIGKILL of a
//! worker to its job granted to another, and from the SIGKILL of a leading coordinator to the first job that its standby
//! grants. A worker that is evicted although nobody killed it fails the run.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sequencer::{
    farm::{AttemptEnd, FarmRecord},
    state::event::Event,
};
use store::Store as _;
use tokio::time::{Instant, sleep};

use crate::{
    eventually, fresh, number,
    people::PATIENCE,
    world::{self, DEATH, World},
};

/// Rounds between two looks at the whole log.
const CHAPTER: u32 = 10;

/// A process that was killed: a worker that held this batch, or a coordinator.
struct Killed {
    at: u64,
    worker: Option<(i32, String)>,
    /// Workers that were taken away before.
    retired: Vec<String>,
}

#[derive(Default)]
struct Figures {
    moved: Vec<u64>,
    dispatched: Vec<u64>,
    /// Kills after which the job was not granted again: its proof was on its way already.
    delivered: u32,
    /// Heard of by nobody for a lease although nobody killed it.
    evicted: Vec<String>,
}

/// Keeps every core busy at normal priority.
struct Burners(Arc<AtomicBool>);

impl Burners {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub async fn measure() {
    let runs = number("PROOFMILL_CRASH_RUNS", 200);
    let mut world = World::new().await;
    idle(&mut world).await;
    let longest = u64::from(number("PROOFMILL_CRASH_MINUTES", 6));
    for minutes in [2, 4, 6].into_iter().filter(|minutes| *minutes <= longest) {
        deserted(&mut world, minutes).await;
    }
    for load in ["idle", "full load"] {
        let burners = (load == "full load").then(Burners::start);
        let mut figures = Figures::default();
        let mut turn = 0;
        while figures.moved.len() < usize::try_from(runs).unwrap() {
            world = fresh(world).await;
            let mut killed = Vec::new();
            for _ in 0..CHAPTER.min(runs) {
                turn += 1;
                world.everybody_up().await;
                killed.push(kill_one(&mut world, turn).await);
            }
            world.settle().await;
            tokio::task::block_in_place(|| figures.read(&world, &killed));
        }
        drop(burners);
        figures.print(load);
        assert!(figures.evicted.is_empty(), "evicted although alive: {:?}", figures.evicted);
    }
}

/// A payment, and a kill while its batch is proved; every tenth time (or as `PROOFMILL_CRASH_LEADER_EVERY` says) the leader,
/// else the worker. Whatever was killed before has been made good by then: one death is measured, not two of the same job.
async fn kill_one(world: &mut World, turn: u32) -> Killed {
    assert!(
        eventually(PATIENCE, async || jobs(world).await == 0).await,
        "the jobs of the dead are not proved"
    );
    if turn.is_multiple_of(number("PROOFMILL_CRASH_LEADER_EVERY", 10)) {
        // More than the workers hold, so that there is something left to grant; they prove faster than deposits come.
        let retired = world.workers.iter().map(|seat| seat.id.clone()).collect();
        world.workers.iter_mut().for_each(|seat| seat.kill());
        let queued = 3 * world.workers.len() as u64;
        backlog(world, queued, queued).await;
        for seat in &mut world.workers {
            let id = format!("{}-again-{turn}", seat.name);
            seat.start_worker(&world.settings, &id, None);
        }
        proving(world).await;
        let leader = world.leader().await;
        let at = now();
        world.coordinators[leader].kill();
        // Started again at once it would lead at once, and nothing would be learnt of the standby.
        world.leads_or_is_dead(1 - leader).await;
        return Killed { at, worker: None, retired };
    }
    let [alice, bob, ..] = &world.people.all;
    let (from, to) = if turn.is_multiple_of(2) { (alice, bob) } else { (bob, alice) };
    let paid = from.pay(&world.api, Some(to.address()), 1_000, &format!("figures.{turn}")).await;
    world.book.note(paid);
    let (batch, seat) = proving(world).await;
    // Not always at the same moment of a proof.
    sleep(Duration::from_millis(u64::from(turn % 7) * 60)).await;
    let seat = &mut world.workers[seat];
    let holder = seat.id.clone();
    let at = now();
    seat.kill();
    // Under another name: nobody tells of the end of the first.
    let id = format!("{}-figures-{turn}", seat.name);
    seat.start_worker(&world.settings, &id, None);
    Killed { at, worker: Some((batch, holder)), retired: Vec::new() }
}

/// Waits until a living worker holds a lease: one that was killed before may hold another still.
async fn proving(world: &World) -> (i32, usize) {
    let mut found = None;
    let held = eventually(DEATH, async || {
        let leases = world.query("SELECT batch_no, worker FROM jobs WHERE phase = 'leased'").await;
        found = leases.iter().find_map(|lease| {
            let (batch, holder): (i32, String) = (lease.get(0), lease.get(1));
            let seat = world.workers.iter().position(|seat| seat.id == world::seat_of(&holder))?;
            Some((batch, seat))
        });
        found.is_some()
    });
    assert!(held.await, "no living worker proves anything");
    found.unwrap()
}

impl Figures {
    fn read<'a>(&mut self, world: &World, killed: &'a [Killed]) {
        let mut grants: Vec<(u64, i32, String)> = Vec::new();
        let mut silent: Vec<(u64, String)> = Vec::new();
        let mut store = world::reader(&world.settings.postgres_url);
        let read = store.replay(0, &mut |_, stamped| {
            match stamped.event {
                Event::Farm(FarmRecord::Granted { batch_no, worker, .. }) => {
                    grants.push((
                        stamped.at,
                        i32::try_from(batch_no).unwrap(),
                        world::seat_of(&worker.to_string()),
                    ));
                }
                Event::Farm(FarmRecord::AttemptEnded { worker, end: AttemptEnd::Died, .. }) => {
                    silent.push((stamped.at, world::seat_of(&worker.to_string())));
                }
                _ => {}
            }
            Ok(())
        });
        read.unwrap();
        for Killed { at, worker, .. } in killed {
            let again = grants.iter().find(|(when, batch, to)| {
                when >= at && worker.as_ref().is_none_or(|(of, from)| batch == of && to != from)
            });
            match (again, worker) {
                (Some((when, ..)), Some(_)) => self.moved.push(when - at),
                (Some((when, ..)), None) => self.dispatched.push(when - at),
                (None, _) => self.delivered += 1,
            }
        }
        let names = |killed: &'a Killed| {
            let worker = killed.worker.as_ref().map(|(_, name)| name);
            worker.into_iter().chain(&killed.retired).map(String::as_str)
        };
        let dead: BTreeSet<&str> = killed.iter().flat_map(names).collect();
        let began = killed.first().map_or(0, |first| first.at);
        let alive = silent.into_iter().filter(|(at, worker)| *at >= began && !dead.contains(worker.as_str()));
        self.evicted.extend(alive.map(|(_, worker)| worker));
    }

    fn print(&mut self, load: &str) {
        line(load, "worker SIGKILL to its job granted elsewhere", &mut self.moved);
        line(load, "leader SIGKILL to the next grant, by the standby", &mut self.dispatched);
        let (delivered, evicted) = (self.delivered, self.evicted.len());
        println!("{load:10} proofs already on their way {delivered}; evicted although alive {evicted}");
    }
}

fn line(load: &str, what: &str, times: &mut [u64]) {
    times.sort_unstable();
    let Some(last) = times.len().checked_sub(1) else { return };
    let [half, most, worst] =
        [last / 2, (times.len() * 99).div_ceil(100) - 1, last].map(|place| times[place]);
    println!("{load:10} {what}: n {}, p50 {half} ms, p99 {most} ms, max {worst} ms", times.len());
}

/// In the unit of the log's stamps.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Deposits, each of which becomes a batch of its own.
const BACKLOG: u64 = 40;

/// One worker proves a backlog: the share of its time in which the backend waits.
async fn idle(world: &mut World) {
    world.everybody_up().await;
    world.workers.iter_mut().for_each(|seat| seat.kill());
    backlog(world, BACKLOG, BACKLOG).await;
    let before = proved_seconds(world).await;
    let seat = &mut world.workers[0];
    let id = seat.name.clone();
    seat.start_worker(&world.settings, &id, None);
    world.lease().await;
    let began = Instant::now();
    assert!(eventually(PATIENCE, async || jobs(world).await == 0).await, "the backlog is not proved");
    let (wall, busy) = (began.elapsed().as_secs_f64(), proved_seconds(world).await - before);
    println!(
        "one worker with {BACKLOG} batches queued: {wall:.1} s, of which its backend proved {busy:.1} s: idle {:.1} %, \
         {:.1} ms a proof",
        100.0 * (1.0 - busy / wall),
        1000.0 * (wall - busy) / BACKLOG as f64
    );
    world.settle().await;
}

/// Nobody proves for minutes while batches wait; then one worker comes. How long after it was seen first it proves.
async fn deserted(world: &mut World, minutes: u64) {
    world.everybody_up().await;
    world.workers.iter_mut().for_each(|seat| seat.kill());
    backlog(world, 3, 3).await;
    sleep(Duration::from_secs(60 * minutes)).await;
    let seat = &mut world.workers[0];
    let id = format!("{}-after-{minutes}", seat.name);
    seat.start_worker(&world.settings, &id, None);
    let (mut seen, mut proves) = (None, None);
    let worked = eventually(PATIENCE, async || {
        let workers = workers(world).await;
        let worker =
            workers.iter().find(|worker| world::seat_of(worker["id"].as_str().unwrap_or_default()) == id);
        if let Some(worker) = worker {
            seen.get_or_insert_with(Instant::now);
            if worker["holds"].to_string().contains("PROVING") || jobs(world).await < 3 {
                proves.get_or_insert_with(Instant::now);
            }
        }
        proves.is_some()
    });
    assert!(worked.await, "the first worker after {minutes} minutes proves nothing");
    let (Some(seen), Some(proves)) = (seen, proves) else { return };
    let took = proves.duration_since(seen).as_millis();
    println!("no worker for {minutes} min, then one: it proves {took} ms after it was seen first");
    world.settle().await;
}

/// The workers as the API shows them.
async fn workers(world: &World) -> Vec<serde_json::Value> {
    let port = world.coordinators[world.leader().await].port;
    let query = serde_json::json!({ "query": "{ workers(first: 10) { nodes { id holds { stage } } } }" });
    let url = format!("http://127.0.0.1:{port}/graphql");
    let Ok(answer) = reqwest::Client::new().post(url).json(&query).send().await else { return Vec::new() };
    let answer: serde_json::Value = answer.json().await.unwrap_or_default();
    answer["data"]["workers"]["nodes"].as_array().cloned().unwrap_or_default()
}

/// So many deposits, each a batch of its own, until that many batches wait to be proved.
async fn backlog(world: &mut World, deposits: u64, batches: u64) {
    for person in &world.people.all[..3] {
        for _ in 0..deposits.div_ceil(3) {
            let coins = person.deposit(100_000).await;
            world.book.add(person.address(), coins);
        }
    }
    assert!(eventually(PATIENCE, async || jobs(world).await >= batches).await, "there is no backlog");
}

/// Batches that are not proven.
async fn jobs(world: &World) -> u64 {
    world.query("SELECT 1 FROM jobs").await.len() as u64
}

/// Seconds that backends were busy with accepted proofs, by the metrics of the coordinator that leads.
async fn proved_seconds(world: &World) -> f64 {
    let port = world.coordinators[world.leader().await].port;
    let text = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.unwrap().text().await.unwrap();
    let sums = text.lines().filter(|line| line.starts_with("proofmill_proof_seconds_sum{"));
    let parts = ["sparse", "ntt", "msm", "finish"].map(|part| format!("part=\"{part}\""));
    let busy = sums.filter(|line| parts.iter().any(|part| line.contains(part)));
    busy.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
