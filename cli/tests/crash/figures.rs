//! How long a farm takes to recover: SIGKILL of the worker that holds a lease → its job leased by another one.
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
    world::{DEATH, World},
};

const LOOK: Duration = Duration::from_millis(10);

pub async fn measure() {
    let runs = number("PROOFMILL_CRASH_RUNS", 200) as usize;
    let mut world = World::new().await;
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
