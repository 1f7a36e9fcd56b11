//! The crash matrix: a whole farm of real processes, killed at each named point and by each kind of outage.
//!
//! After each the same must hold: everything accepted becomes final; the balances of the API and of the database equal a
//! fresh replay of the log and the plain sum of what users were told; the contract stands at the ledger's root; every
//! answered operation is there exactly once; no batch landed twice and no transaction was refused.
//!
//! | command | what runs |
//! |---|---|
//! | `cargo test --release -p proofmill --features failpoints --test crash` | the points marked fast |
//! | the same with `PROOFMILL_CRASH=all` | everything, `PROOFMILL_CRASH_REPEATS` times |
//! | the same with `PROOFMILL_CRASH=settle.,redis` | what begins with one of these |
//! | the same with `PROOFMILL_CRASH=figures` | how long the farm takes to recover, over `PROOFMILL_CRASH_RUNS` runs |
//!
//! | file | concept |
//! |---|---|
//! | `points` | the matrix: where who dies, and how it is brought there |
//! | `outages` | what else can happen to a farm |
//! | `world` | the farm and its services |
//! | `process`, `proxy` | one process of it, and the network between |
//! | `people` | users, and what they were told |
//! | `audit` | what must hold |
//! | `figures` | recovery times |

#![allow(clippy::unwrap_used, reason = "helpers of tests panic with the rest of the test")]

mod audit;
mod figures;
mod outages;
mod people;
mod points;
mod process;
mod proxy;
mod world;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use outages::OUTAGES;
use points::POINTS;
use world::World;

/// A chain as long is exchanged for a new one: the node forgets old states, and goes back over none of them.
const LONGEST_CHAIN: u64 = 450;

/// Whether it became so in time.
async fn eventually(patience: Duration, mut so: impl AsyncFnMut() -> bool) -> bool {
    let began = Instant::now();
    while !so().await {
        if began.elapsed() > patience {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
    true
}

/// What the environment asks for.
fn wanted(name: &str, fast: bool) -> bool {
    match std::env::var("PROOFMILL_CRASH") {
        Ok(all) if all == "all" => true,
        Ok(names) => names.split(',').any(|wanted| name.starts_with(wanted)),
        Err(_) => fast,
    }
}

fn number(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() {
    let points: Vec<_> = POINTS.iter().filter(|point| wanted(point.name, point.fast)).collect();
    let outages: Vec<_> = OUTAGES.iter().filter(|outage| wanted(outage.name, outage.fast)).collect();
    if std::env::args().any(|argument| argument == "--list") {
        points.iter().for_each(|point| println!("{}: test", point.name));
        outages.iter().for_each(|outage| println!("{}: test", outage.name));
        return;
    }
    points::compare_with_the_table();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // On this thread, since Redis dies with the thread that started it.
    runtime.block_on(async {
        if std::env::var("PROOFMILL_CRASH").is_ok_and(|wanted| wanted == "figures") {
            return figures::measure().await;
        }
        let began = Instant::now();
        let mut world = World::new().await;
        let mut survived = 0u32;
        for repeat in 0..number("PROOFMILL_CRASH_REPEATS", 1) {
            for (place, point) in (0u32..).zip(&points) {
                world = fresh(world).await;
                points::survive(&mut world, point, place + repeat).await;
                survived += 1;
            }
            for outage in &outages {
                world = fresh(world).await;
                outages::survive(&mut world, outage).await;
                survived += 1;
            }
        }
        println!("{survived} deaths and outages survived in {:.0} s", began.elapsed().as_secs_f64());
    });
}

/// The same world, or another one when its chain is long.
async fn fresh(world: World) -> World {
    if world.head().await < LONGEST_CHAIN {
        return world;
    }
    drop(world);
    World::new().await
}
