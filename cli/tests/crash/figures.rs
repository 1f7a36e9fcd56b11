//! How long a farm takes to recover: SIGKILL of the worker that holds a lease → its job leased by another one. And how much of
//! the time a worker with a full queue proves nothing.
//!
//! Half of the runs with nothing else on the machine, half with two busy threads for each core. Every worker that was not
//! killed must keep its leases through all of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    eventually, number,
    people::PATIENCE,
    world::{DEATH, World},
};

const LOOK: Duration = Duration::from_millis(10);

pub async fn measure() {
    let runs = number("PROOFMILL_CRASH_RUNS", 200) as usize;
    let mut world = World::new().await;
    idle(&mut world).await;
    let (mut kills, mut missed) = (0, 0);
    for (name, loaded) in [("idle machine", false), ("machine under full load", true)] {
        let load = loaded.then(Load::start);
        let mut times = Vec::new();
        while times.len() < runs / 2 {
            // A proof that was on its way already ends the job without anybody else.
            let Some(time) = moved(&mut world, kills).await else {
                missed += 1;
                continue;
            };
            times.push(time);
            kills += 1;
        }
        drop(load);
        times.sort_unstable();
        let at = |share: f64| times[((times.len() as f64 * share).ceil() as usize).max(1) - 1].as_secs_f64();
        println!(
            "worker SIGKILL → its job leased by another, {name}: p50 {:.2} s, p99 {:.2} s, at most {:.2} s over {} runs",
            at(0.5),
            at(0.99),
            at(1.0),
            times.len()
        );
    }
    world.everybody_up().await;
    world.settle().await;
    let silent = "SELECT count(*) FROM lines WHERE text LIKE '%fell silent%'";
    let silent: i64 = world.query(silent).await[0].get(0);
    println!(
        "leases that ended in silence: {silent}, workers killed: {kills} with a lease, {missed} when it was over"
    );
    let silent = usize::try_from(silent).unwrap();
    assert!((kills..=kills + missed).contains(&silent), "a worker that lives lost its lease");
}

/// Deposits, each of which becomes a batch of its own.
const BACKLOG: u64 = 40;

/// One worker proves a backlog: the share of its time in which the backend waits.
async fn idle(world: &mut World) {
    world.everybody_up().await;
    world.workers.iter_mut().for_each(|seat| seat.kill());
    for person in &world.people.all[..3] {
        for _ in 0..BACKLOG.div_ceil(3) {
            let coins = person.deposit(100_000).await;
            world.book.add(person.address(), coins);
        }
    }
    let jobs = async |world: &World| world.query("SELECT 1 FROM jobs").await.len() as u64;
    assert!(eventually(PATIENCE, async || jobs(world).await >= BACKLOG).await, "there is no backlog");
    let before = proving(world).await;
    let seat = &mut world.workers[0];
    let id = seat.name.clone();
    seat.start_worker(&world.settings, &id, None);
    world.lease().await;
    let began = Instant::now();
    assert!(eventually(PATIENCE, async || jobs(world).await == 0).await, "the backlog is not proved");
    let (wall, busy) = (began.elapsed().as_secs_f64(), proving(world).await - before);
    println!(
        "one worker with {BACKLOG} batches queued: {wall:.1} s, of which its backend proved {busy:.1} s: idle {:.1} %",
        100.0 * (1.0 - busy / wall)
    );
    world.settle().await;
}

/// Seconds that backends were busy with accepted proofs, by the metrics of the coordinator that leads.
async fn proving(world: &World) -> f64 {
    let port = world.coordinators[world.leader().await].port;
    let text = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.unwrap().text().await.unwrap();
    let sums = text.lines().filter(|line| line.starts_with("proofmill_proof_seconds_sum{"));
    let parts = ["sparse", "ntt", "msm", "finish"].map(|part| format!("part=\"{part}\""));
    let busy = sums.filter(|line| parts.iter().any(|part| line.contains(part)));
    busy.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Kills the worker that holds the next lease; the time until another one holds its job.
async fn moved(world: &mut World, run: usize) -> Option<Duration> {
    world.everybody_up().await;
    let ready = eventually(DEATH, async || world.workers.iter().all(|seat| seat.said("is ready")));
    assert!(ready.await, "the workers do not start");
    let [alice, bob, ..] = &world.people.all;
    let (from, to) = if run.is_multiple_of(2) { (alice, bob) } else { (bob, alice) };
    let paid =
        from.pay(&world.api, Some(to.address()), 1_000, &format!("figure {run}.{:?}", Instant::now())).await;
    world.book.note(paid);
    let (batch, holder) = world.lease().await;
    let seat = world.workers.iter_mut().find(|seat| seat.id == holder).unwrap();
    let killed = Instant::now();
    seat.kill();
    loop {
        let rows = world.query(&format!("SELECT phase, worker FROM jobs WHERE batch_no = {batch}")).await;
        let (phase, worker): (String, Option<String>) = match rows.first() {
            Some(row) => (row.get(0), row.get(1)),
            None => return None,
        };
        match phase.as_str() {
            "leased" if worker.is_some_and(|worker| worker != holder) => return Some(killed.elapsed()),
            _ => assert!(killed.elapsed() < DEATH, "nobody takes the job of batch {batch}"),
        }
        sleep(LOOK).await;
    }
}

/// Threads that compute until they are dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..2 * cores {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
