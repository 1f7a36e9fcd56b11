//! Who gets in to the Redis queue, what each user may do, and what a bad network does to it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use queue::{
    CoordinatorQueue, QueueError, WorkerQueue,
    redis::{
        RedisCoordinator, RedisWorker, SetUser, Settings, Verdict, inspect, inspect_pool, pool_user,
        remove_pool_user, set_pool_user,
    },
};
use redis::aio::MultiplexedConnection;
use testbed::redis::{Redis, Settings as Server, Transport};
use wire::JobId;

use super::{
    PROCESS, QUIET, SOON, directive, event,
    farm::{Farm, command, connection},
    from, input, job, open, pool,
    proxy::Proxy,
    worker,
};

const USERS: &str = include_str!("../../../../infra/redis/users.acl");

/// One job from its directive to its end.
async fn one_job(coordinator: &RedisCoordinator, w: &RedisWorker) {
    let of = w.id().pool.as_str();
    coordinator.write(&[open(&[of]), input(of, 1, b"input"), directive(w.id(), job(1))]).await.unwrap();
    assert_eq!(w.next_control(SOON).await.unwrap(), Some(job(1)));
    assert_eq!(w.input(JobId(1)).await.unwrap(), b"input");
    w.emit(&event(1)).await.unwrap();
    w.liveness().unwrap().beat(&event(2)).unwrap();
    let mut events = Vec::new();
    while events.len() < 2 {
        let batch = coordinator.next_events(SOON).await.unwrap();
        coordinator.write(&[queue::QueueWrite::Acknowledge(batch.up_to.unwrap())]).await.unwrap();
        events.extend(batch.events);
    }
    assert_eq!(events, [from(w.id(), event(1)), from(w.id(), event(2))]);
}

/// Every command of the server, subcommands as `NAME SUB`, each with as many words as it needs at least.
async fn all_commands(admin: &mut MultiplexedConnection) -> Vec<(String, usize)> {
    type Described = Vec<redis::Value>;
    fn add(described: &redis::Value, commands: &mut Vec<(String, usize)>) {
        let redis::Value::Array(fields) = described else { panic!("{described:?}") };
        let name: String = redis::from_redis_value(fields[0].clone()).unwrap();
        let arity: i64 = redis::from_redis_value(fields[1].clone()).unwrap();
        let redis::Value::Array(below) = &fields[9] else { panic!("{described:?}") };
        if below.is_empty() {
            commands.push((name, arity.unsigned_abs() as usize));
        }
        below.iter().for_each(|described| add(described, commands));
    }
    let described: Described = redis::cmd("COMMAND").query_async(admin).await.unwrap();
    let mut commands = Vec::new();
    described.iter().for_each(|described| add(described, &mut commands));
    commands
}

/// What `ACL DRYRUN` lets this user do of all commands, whatever their keys.
async fn permitted(admin: &mut MultiplexedConnection, user: &str) -> BTreeSet<String> {
    let all = all_commands(admin).await;
    assert!(all.len() > 300, "{} commands", all.len());
    let mut permitted = BTreeSet::new();
    for (name, words) in all {
        let mut dry = redis::cmd("ACL");
        dry.arg("DRYRUN").arg(user);
        let parts: Vec<&str> = name.split('|').collect();
        for part in &parts {
            dry.arg(*part);
        }
        for _ in parts.len()..words {
            dry.arg("1");
        }
        let answer: String = dry.query_async(admin).await.unwrap();
        if !answer.contains("no permissions to run") {
            permitted.insert(name);
        }
    }
    permitted
}

fn names(of: &str) -> BTreeSet<String> {
    of.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn of_all_commands_a_pools_user_may_use_six_and_the_coordinators_what_it_needs() {
    let farm = Farm::with(&[]);
    farm.pool_url("a");
    let mut admin = farm.admin().await;
    let user = pool_user(&farm.prefix, &pool("a")).name;
    // Nobody can be denied QUIT and RESET.
    assert_eq!(permitted(&mut admin, &user).await, names("auth get hello ping xadd xread quit reset"));
    let coordinator = "acl|dryrun acl|whoami auth client|no-evict client|setname config|get eval get hello info \
                       memory|usage pexpire ping quit reset set time type unlink xadd xinfo|stream xlen xrange xtrim xread";
    assert_eq!(permitted(&mut admin, "proofmill-coordinator").await, names(coordinator));
}

/// Says each as the user of the URL; answers those that were not refused for missing rights.
async fn not_refused(url: &str, commands: &[String]) -> Vec<String> {
    let mut connection = connection(url).await;
    let mut through = Vec::new();
    for words in commands {
        let answer: Result<redis::Value, _> = command(words).query_async(&mut connection).await;
        if !matches!(&answer, Err(error) if error.code() == Some("NOPERM")) {
            through.push(format!("{words}: {answer:?}"));
        }
    }
    through
}

#[tokio::test]
async fn a_pools_user_reaches_the_keys_of_its_pool_and_in_one_direction() {
    let farm = Farm::with(&[]);
    let coordinator = farm.coordinator().await;
    let w = farm.worker("a/w").await;
    one_job(&coordinator, &w).await;
    let forbidden = [
        "FLUSHALL",
        "KEYS *",
        "SCAN 0",
        "CONFIG GET *",
        "ACL LIST",
        "CLIENT LIST",
        "EVAL return_0 0",
        "SUBSCRIBE x",
        "INFO",
        "GET secret",
        "GET PREFIX:pool:a:events",
        "GET PREFIX:pool:b:input:1",
        "GET PREFIX:mark",
        "SET PREFIX:pool:a:input:1 x",
        "DEL PREFIX:pool:a:input:1",
        "UNLINK PREFIX:pool:a:events",
        "XREAD STREAMS PREFIX:pool:a:events 0",
        "XREAD STREAMS PREFIX:pool:b:jobs:w 0",
        "XREAD STREAMS PREFIX:pool:a:jobs:w PREFIX:pool:b:jobs:w 0 0",
        "XRANGE PREFIX:pool:a:jobs:w - +",
        "XTRIM PREFIX:pool:a:events MAXLEN 0",
        "XDEL PREFIX:pool:a:events 1-1",
        "XGROUP CREATE PREFIX:pool:a:events g 0",
        "XSETID PREFIX:pool:a:events 99999999999999-0",
        "XADD PREFIX:pool:a:jobs:w * c x",
        "XADD PREFIX:pool:a:input:1 * c x",
        "XADD PREFIX:pool:b:events * e x",
        "XADD PREFIX:pool:a:events2 * e x",
        "XADD other * e x",
    ];
    let forbidden = forbidden.map(|words| words.replace("PREFIX", &farm.prefix));
    assert_eq!(not_refused(&farm.pool_url("a"), &forbidden).await, [] as [&str; 0]);
    one_job(&coordinator, &w).await;
}

#[tokio::test]
async fn the_coordinators_user_cannot_change_users_or_the_server_and_keeps_its_mark() {
    let farm = Farm::with(&[]);
    let url = farm.url();
    let forbidden = [
        "ACL SETUSER x on",
        "ACL DELUSER x",
        "ACL LIST",
        "CONFIG SET maxmemory 1",
        "FLUSHALL",
        "SHUTDOWN",
        "KEYS *",
        "REPLICAOF NO ONE",
        "SCRIPT FLUSH",
        "FUNCTION LIST",
        "SET other x",
        "GET other",
        "CLIENT KILL TYPE normal",
    ];
    let forbidden = forbidden.map(|words| words.replace("PREFIX", &farm.prefix));
    assert_eq!(not_refused(&url, &forbidden).await, [] as [&str; 0]);
    let mut connection = connection(&url).await;
    let mark = farm.key("mark");
    let () = redis::cmd("SET").arg(&mark).arg("7").query_async(&mut connection).await.unwrap();
    let kept: String = redis::cmd("GET").arg(&mark).query_async(&mut connection).await.unwrap();
    assert_eq!(kept, "7");
    // Nothing of it in a script, which runs with the same rights.
    let mut script = redis::cmd("EVAL");
    script.arg("return redis.call('FLUSHALL')").arg(0);
    let answer: Result<redis::Value, _> = script.query_async(&mut connection).await;
    assert!(answer.unwrap_err().to_string().contains("can't run this command"));
}

#[test]
fn the_example_of_the_users_file_is_what_the_program_makes() {
    let user = pool_user("pm:CHAIN:CONTRACT", &pool("default"));
    let line = USERS.lines().last().unwrap();
    assert_eq!(line, format!("user {} >CHANGE-ME-POOL {}", user.name, user.rules));
    let line = user.acl_line("guess");
    assert!(line.starts_with(&format!("user {} #", user.name)) && !line.contains("guess"), "{line}");
}

#[tokio::test]
async fn a_pools_user_is_made_kept_over_a_restart_and_removed_with_its_connections() {
    let farm = Farm::with(&[]);
    let admin = farm.settings(farm.admin_url());
    let pool = pool("rack-1");
    assert_eq!(set_pool_user(&admin, &pool, "first").await.unwrap(), SetUser::Saved);
    let user = pool_user(&farm.prefix, &pool).name;
    let url = |password: &str| format!("redis://{user}:{password}@127.0.0.1:{}", farm.port());
    let connect = async |password: &str| {
        RedisWorker::connect(&farm.settings(url(password)), worker("rack-1/w"), PROCESS).await
    };
    connect("first").await.unwrap();
    farm.redis.lock().unwrap().restart().unwrap();
    let coordinator = farm.coordinator().await;
    let w = connect("first").await.unwrap();
    one_job(&coordinator, &w).await;
    // A new password takes the place of the old one.
    set_pool_user(&admin, &pool, "second").await.unwrap();
    assert!(matches!(connect("first").await.err(), Some(QueueError::Refused(_))));
    one_job(&coordinator, &connect("second").await.unwrap()).await;
    assert_eq!(remove_pool_user(&admin, &pool).await.unwrap(), SetUser::Saved);
    assert!(matches!(w.emit(&event(9)).await, Err(QueueError::Refused(_))));
    assert!(matches!(connect("second").await.err(), Some(QueueError::Refused(_))));
    // The coordinator may not.
    let coordinators = farm.settings(farm.url());
    assert!(matches!(set_pool_user(&coordinators, &pool, "x").await, Err(QueueError::Refused(_))));
}

#[tokio::test]
async fn an_inspection_finds_what_is_unfit_and_passes_what_the_files_here_set_up() {
    let farm = Farm::with(&["maxmemory 1gb"]);
    let url = farm.pool_url("a");
    let settings = farm.settings(farm.url());
    let bad = |findings: Vec<queue::redis::Finding>| -> Vec<String> {
        let bad = findings.into_iter().filter(|finding| finding.verdict != Verdict::Good);
        bad.map(|finding| format!("{}: {}", finding.what, finding.detail)).collect()
    };
    assert_eq!(bad(inspect(&settings, &[pool("a")]).await.unwrap()), [] as [&str; 0]);
    assert_eq!(bad(inspect_pool(&farm.settings(url.clone()), &pool("a")).await.unwrap()), [] as [&str; 0]);
    let found = bad(inspect(&settings, &[pool("unknown")]).await.unwrap());
    assert!(found.len() == 1 && found[0].contains("ops pool add unknown"), "{found:?}");

    let mut admin = farm.admin().await;
    let user = pool_user(&farm.prefix, &pool("a")).name;
    for (rule, code) in [("+dbsize", "PM-QUEUE-013"), ("-xadd", "PM-QUEUE-012")] {
        let () = redis::cmd("ACL").arg("SETUSER").arg(&user).arg(rule).query_async(&mut admin).await.unwrap();
        for found in [
            bad(inspect(&settings, &[pool("a")]).await.unwrap()),
            bad(inspect_pool(&farm.settings(url.clone()), &pool("a")).await.unwrap()),
        ] {
            assert!(found.len() == 1 && found[0].contains(code), "{rule}: {found:?}");
        }
    }
    for (words, code) in [
        ("CONFIG SET maxmemory-policy allkeys-lru", "PM-QUEUE-011"),
        ("CONFIG SET maxmemory-clients 0", "PM-QUEUE-014"),
    ] {
        let () = command(words).query_async(&mut admin).await.unwrap();
        let found = bad(inspect(&settings, &[]).await.unwrap());
        assert!(found.iter().any(|found| found.contains(code)), "{words}: {found:?}");
    }
    // A pool's user may not look at the server.
    assert!(matches!(inspect(&farm.settings(url), &[]).await, Err(QueueError::Refused(_))));
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_says_so_without_showing_it() {
    let farm = Farm::with(&[]);
    let url = farm.url();
    let settings = Settings { password: Some("guess".to_owned()), ..farm.settings(url) };
    let refusal = RedisCoordinator::connect(&settings).await.err().unwrap();
    assert!(matches!(refusal, QueueError::Refused(_)), "{refusal}");
    assert!(
        refusal.to_string().contains("PM-QUEUE-004") && !refusal.to_string().contains("guess"),
        "{refusal}"
    );
    assert!(!format!("{settings:?}").contains("guess"));
    assert!(!format!("{:?}", farm.settings(farm.pool_url("a"))).contains("pool-secret"));
    let nobody = format!("redis://127.0.0.1:{}", farm.port());
    let refusal = RedisWorker::connect(&farm.settings(nobody), worker("a/w"), PROCESS).await.err().unwrap();
    assert!(matches!(refusal, QueueError::Refused(_)), "{refusal}");
}

#[tokio::test]
async fn a_worker_is_no_coordinator_and_none_of_another_pool() {
    let farm = Farm::with(&[]);
    let settings = farm.settings(farm.pool_url("a"));
    let refusal = RedisCoordinator::connect(&settings).await.err().unwrap();
    assert!(matches!(refusal, QueueError::Refused(_)), "{refusal}");
    let elsewhere = RedisWorker::connect(&settings, worker("b/w"), PROCESS).await.unwrap();
    assert!(matches!(elsewhere.emit(&event(1)).await, Err(QueueError::Refused(_))));
    assert!(matches!(elsewhere.next_control(QUIET).await, Err(QueueError::Refused(_))));
    assert!(matches!(elsewhere.input(JobId(1)).await, Err(QueueError::Refused(_))));
    assert!(matches!(elsewhere.liveness().unwrap().beat(&event(1)), Err(QueueError::Refused(_))));
}

#[tokio::test]
async fn nobody_there_is_an_error_and_not_a_hang() {
    let settings = Settings::new("redis://127.0.0.1:1", "pm:1:a");
    let nobody = RedisWorker::connect(&settings, worker("a/w"), PROCESS).await;
    assert!(matches!(nobody, Err(QueueError::Unreachable(_))));
}

#[tokio::test]
async fn the_queue_works_over_tls_and_only_with_the_right_authority() {
    let redis = Redis::with(Server { transport: Transport::Tls, ..Server::default() }).unwrap();
    let prefix = "pm:1:tls";
    let trusting =
        |url| Settings { authority: Some(redis.authority().unwrap()), ..Settings::new(url, prefix) };
    let pool_url = redis.pool_url(prefix, "a").unwrap();
    let coordinator = RedisCoordinator::connect(&trusting(redis.url())).await.unwrap();
    let w = RedisWorker::connect(&trusting(pool_url.clone()), worker("a/w"), PROCESS).await.unwrap();
    one_job(&coordinator, &w).await;
    let stranger = RedisWorker::connect(&Settings::new(pool_url, prefix), worker("a/w"), PROCESS).await;
    assert!(matches!(stranger, Err(QueueError::Unreachable(_))));
    let plain = redis.url().replace("rediss://", "redis://");
    assert!(RedisCoordinator::connect(&Settings::new(plain, prefix)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_repeated_arrives_over_a_network_that_cuts() {
    const JOBS: u64 = 40;
    let mut farm = Farm::with(&[]);
    let coordinator = farm.coordinator().await;
    coordinator.write(&[open(&["a"])]).await.unwrap();
    let proxy = Proxy::start(farm.port()).await;
    farm.port = Some(proxy.port);
    let w = Arc::new(farm.worker("a/w").await);
    let cuts = Arc::clone(&proxy.cut);
    let cutter = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(15)).await;
            cuts.notify_waiters();
        }
    });
    let (reader, id) = (Arc::clone(&w), w.id().clone());
    let work = tokio::spawn(async move {
        loop {
            let Ok(Some(control)) = reader.next_control(Duration::from_millis(200)).await else { continue };
            let wire::Control::Job(entry) = control else { panic!("{control:?}") };
            while reader.input(entry.job).await.is_err() {}
            while reader.emit(&event(entry.job.0 as usize)).await.is_err() {}
        }
    });
    let mut over = BTreeSet::new();
    let all = async {
        while over.len() < JOBS as usize {
            // A directive whose answer was cut off is lost; what is not over is sent again.
            for number in (1..=JOBS).filter(|number| !over.contains(number)) {
                coordinator
                    .write(&[input("a", number, b"input"), directive(&id, job(number))])
                    .await
                    .unwrap();
            }
            let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
            while over.len() < JOBS as usize && tokio::time::Instant::now() < deadline {
                let batch = coordinator.next_events(Duration::from_millis(100)).await.unwrap();
                over.extend((1..=JOBS).filter(|number| {
                    batch.events.iter().any(|found| found.event == event(*number as usize))
                }));
            }
        }
    };
    tokio::time::timeout(3 * SOON, all).await.unwrap();
    cutter.abort();
    work.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_everything_is_noticed() {
    let mut farm = Farm::with(&[]);
    let proxy = Proxy::start(farm.port()).await;
    farm.port = Some(proxy.port);
    let w = farm.worker("a/w").await;
    proxy.swallow(true);
    let answer = tokio::time::timeout(SOON, w.next_control(Duration::from_millis(10))).await.unwrap();
    assert!(matches!(answer, Err(QueueError::Unreachable(_))), "{answer:?}");
    proxy.swallow(false);
    let back = async { while w.next_control(QUIET).await.is_err() {} };
    tokio::time::timeout(SOON, back).await.unwrap();
}
