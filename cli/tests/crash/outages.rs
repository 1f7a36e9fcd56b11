//! What else can happen to a farm: services that die or forget, networks that are cut, processes that freeze, a chain that
//! takes blocks back.

use std::time::Duration;

use serde_json::{Value, json};
use testbed::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{
    eventually,
    points::{Died, in_business},
    proxy::Network,
    world::{DEATH, DEEP, SHALLOW, World},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    RedisWiped,
    RedisKilled,
    RedisCutFromProver,
    RedisSilentToLeader,
    PostgresRestarted,
    PostgresKilled,
    PostgresCutFromLeader,
    PostgresSilentToLeader,
    LeaderFrozen,
    ChainCut,
    BothCoordinatorsKilled,
    ProverKilled,
    TwoProversOnOneJob,
    EverythingKilled,
    Reorg(u64),
}

pub struct Outage {
    pub name: &'static str,
    pub what: &'static str,
    kind: Kind,
    pub fast: bool,
}

const fn outage(name: &'static str, what: &'static str, kind: Kind) -> Outage {
    Outage { name, what, kind, fast: false }
}

const fn fast(name: &'static str, what: &'static str, kind: Kind) -> Outage {
    Outage { name, what, kind, fast: true }
}

pub const OUTAGES: &[Outage] = &[
    fast("redis.wiped", "FLUSHALL during a proof", Kind::RedisWiped),
    outage("redis.killed", "SIGKILL of Redis, then its restart", Kind::RedisKilled),
    outage("redis.cut", "worker and Redis are cut off for 6 s", Kind::RedisCutFromProver),
    outage("redis.silent", "coordinator and Redis hear nothing for 5 s", Kind::RedisSilentToLeader),
    outage("postgres.restarted", "restart of PostgreSQL", Kind::PostgresRestarted),
    fast("postgres.killed", "SIGKILL of PostgreSQL, then its restart", Kind::PostgresKilled),
    outage("postgres.cut", "coordinator and PostgreSQL are cut off for 1 s", Kind::PostgresCutFromLeader),
    outage("postgres.silent", "coordinator and PostgreSQL hear nothing", Kind::PostgresSilentToLeader),
    fast("leader.frozen", "SIGSTOP until deposed, then SIGCONT", Kind::LeaderFrozen),
    outage("chain.cut", "coordinators and node are cut off for 4 s", Kind::ChainCut),
    outage("coordinators.killed", "SIGKILL of both coordinators", Kind::BothCoordinatorsKilled),
    outage("prover.killed", "SIGKILL of a worker during a proof", Kind::ProverKilled),
    outage("prover.doubled", "two workers prove one job", Kind::TwoProversOnOneJob),
    outage("everything.killed", "SIGKILL of everything but the node", Kind::EverythingKilled),
    outage("reorg.1", "1 block is replaced", Kind::Reorg(1)),
    outage("reorg.2", "2 blocks are replaced", Kind::Reorg(2)),
    outage("reorg.3", "3 blocks are replaced", Kind::Reorg(3)),
    outage("reorg.4", "4 blocks are replaced", Kind::Reorg(4)),
    outage("reorg.5", "5 blocks are replaced", Kind::Reorg(5)),
    outage("reorg.6", "6 blocks are replaced", Kind::Reorg(6)),
    outage("reorg.7", "7 blocks are replaced", Kind::Reorg(7)),
    fast("reorg.8", "8 blocks are replaced", Kind::Reorg(8)),
];

/// Has it happen in the middle of business, and the farm survive it.
pub async fn survive(world: &mut World, outage: &Outage) {
    world.finality(if matches!(outage.kind, Kind::Reorg(_)) { DEEP } else { SHALLOW }).await;
    let healed = in_business(world, async |world: &mut World| {
        world.lease().await;
        let at = Instant::now();
        let then = happen(world, outage.kind).await;
        Died::at(at, world, then).await
    })
    .await;
    world.settle().await;
    println!("{:28} {:11} {}", outage.name, "outage", healed.words());
}

/// What happens, and what ends it.
async fn happen(world: &mut World, kind: Kind) -> &'static str {
    let leader = world.leader().await;
    match kind {
        Kind::RedisWiped => {
            world.redis.wipe().unwrap();
            "laid out again"
        }
        Kind::RedisKilled => {
            world.redis.kill().unwrap();
            sleep(Duration::from_secs(1)).await;
            world.redis.restart().unwrap();
            "started again"
        }
        Kind::RedisCutFromProver => {
            let (_, holder) = world.lease().await;
            let seat = world.workers.iter().find(|seat| seat.id == holder).unwrap();
            seat.to_redis.set(Network::Cut);
            sleep(Duration::from_secs(6)).await;
            seat.to_redis.set(Network::Up);
            "joined again"
        }
        Kind::RedisSilentToLeader => {
            let line = &world.coordinators[leader].to_redis;
            line.set(Network::Silent);
            sleep(Duration::from_secs(5)).await;
            line.set(Network::Up);
            "joined again"
        }
        Kind::PostgresRestarted => {
            world.postgres.restart().unwrap();
            "started again"
        }
        Kind::PostgresKilled => {
            world.postgres.kill().unwrap();
            sleep(Duration::from_secs(1)).await;
            world.postgres.restart().unwrap();
            "started again"
        }
        Kind::PostgresCutFromLeader => {
            let line = &world.coordinators[leader].to_postgres;
            line.set(Network::Cut);
            sleep(Duration::from_secs(1)).await;
            line.set(Network::Up);
            "joined again"
        }
        Kind::PostgresSilentToLeader => {
            world.coordinators[leader].to_postgres.set(Network::Silent);
            follows(world, leader).await;
            world.coordinators[leader].to_postgres.set(Network::Up);
            is_deposed(world, leader).await;
            "the standby took over, the old leader ended"
        }
        Kind::LeaderFrozen => {
            world.coordinators[leader].running().signal(Signal::STOP);
            follows(world, leader).await;
            world.coordinators[leader].running().signal(Signal::CONT);
            is_deposed(world, leader).await;
            "the standby took over, the old leader ended"
        }
        Kind::ChainCut => {
            world.coordinators.iter().for_each(|seat| seat.to_chain.set(Network::Cut));
            sleep(Duration::from_secs(4)).await;
            world.coordinators.iter().for_each(|seat| seat.to_chain.set(Network::Up));
            "joined again"
        }
        Kind::BothCoordinatorsKilled => {
            world.coordinators.iter_mut().for_each(|seat| seat.kill());
            world.everybody_up().await;
            "started again"
        }
        Kind::ProverKilled => {
            world.kill_a_prover().await;
            "its lease ran out"
        }
        Kind::TwoProversOnOneJob => {
            two_prove_one_job(world).await;
            "the first proof counts"
        }
        Kind::EverythingKilled => {
            world.coordinators.iter_mut().chain(&mut world.workers).for_each(|seat| seat.kill());
            world.redis.kill().unwrap();
            world.postgres.kill().unwrap();
            world.postgres.restart().unwrap();
            world.redis.restart().unwrap();
            world.everybody_up().await;
            "started again"
        }
        Kind::Reorg(depth) => {
            landed(world).await;
            reorganise(world, depth).await;
            "mined again"
        }
    }
}

/// Waits until the other coordinator leads.
async fn follows(world: &World, deposed: usize) {
    let leads = eventually(DEATH, async || world.api.answers(1 - deposed).await);
    assert!(leads.await, "the standby does not take over");
}

/// A coordinator that finds another leading ends and says so.
async fn is_deposed(world: &mut World, deposed: usize) {
    let seat = &mut world.coordinators[deposed];
    let status = seat.running().ends("another one leads").await;
    assert!(!status.success() && seat.said("PM-STORE-007"), "{}", seat.running().output());
}

/// A worker that nobody hears proves on; its job goes to another; then both deliver.
async fn two_prove_one_job(world: &mut World) {
    let (batch, holder) = world.lease().await;
    let seat = world.workers.iter().find(|seat| seat.id == holder).unwrap();
    seat.to_redis.set(Network::Silent);
    let doubled = eventually(DEATH, async || {
        let jobs = "SELECT 1 FROM jobs WHERE phase = 'leased' AND batch_no = ";
        let rows =
            world.query(&format!("{jobs}{batch} AND worker NOT LIKE 'default/{holder}-________'")).await;
        !rows.is_empty()
    });
    assert!(doubled.await, "nobody else proves batch {batch}");
    seat.to_redis.set(Network::Up);
}

/// Waits until a batch of this round is in a block.
async fn landed(world: &World) {
    let landed = eventually(DEATH, async || {
        !world
            .query("SELECT 1 FROM batches WHERE stage = 'submitted' AND l1_block IS NOT NULL")
            .await
            .is_empty()
    });
    assert!(landed.await, "no batch lands");
}

/// Replaces the last blocks. What users sent is mined again at its height; what the operator sent is dropped.
pub async fn reorganise(world: &World, depth: u64) {
    let head = world.head().await;
    let operator = json!(world.audit.operator());
    let mut kept: Vec<Value> = Vec::new();
    for place in 0..depth {
        let number = format!("{:#x}", head + 1 - depth + place);
        let block = world.rpc("eth_getBlockByNumber", json!([number, true])).await;
        for tx in block["transactions"].as_array().unwrap() {
            if tx["from"] != operator {
                let raw = world.rpc("eth_getRawTransactionByHash", json!([tx["hash"]])).await;
                kept.push(json!([raw, place]));
            }
        }
    }
    world.rpc("anvil_reorg", json!([depth, kept])).await;
}
