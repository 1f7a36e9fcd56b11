//! Two coordinators and one database. The frozen one is a child process, stopped as a whole by SIGSTOP.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use store::{Store, StoreError};
use testbed::postgres::Postgres;

use crate::fixtures::{commit, connect, count, event, last_event, leading, settings, term};

const URL: &str = "PROOFMILL_STORE_TEST_URL";
/// The lease, plus what the polls of a busy machine may take.
const TAKEOVER: Duration = Duration::from_secs(10);

/// A coordinator in a process of its own: for each line that it reads it commits one event and says how that went.
struct Other {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Other {
    fn start(url: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "leadership::other_coordinator", "--ignored", "--nocapture"])
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut other = Self { process, orders, answers: BufReader::new(answers) };
        assert_eq!(other.answer(), "leads");
        other
    }

    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the other coordinator ended");
            // What the test harness prints stands before or between.
            if let Some((_, answer)) = line.trim_end().split_once("answer: ") {
                return answer.to_owned();
            }
        }
    }

    fn order(&mut self) {
        writeln!(self.orders, "commit").unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
#[ignore = "the child process of the other tests"]
fn other_coordinator() {
    let Ok(url) = std::env::var(URL) else { return };
    let mut store = leading(&url, "other");
    println!("answer: leads");
    for (number, _) in (1..).zip(std::io::stdin().lines()) {
        let answer = loop {
            match commit(&mut store, number) {
                Ok(()) => break "committed".to_owned(),
                Err(StoreError::Unavailable(_)) => {}
                Err(StoreError::Deposed { holder }) => break format!("deposed by {holder}"),
                Err(other) => break other.to_string(),
            }
        };
        println!("answer: {answer}");
    }
}

/// Asks for the lead as a standby does, and says how long it took.
fn take_over(store: &mut store::PostgresStore) -> Duration {
    let began = Instant::now();
    while term(store).is_none() {
        assert!(began.elapsed() < TAKEOVER, "the standby never took over");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

#[test]
fn a_standby_follows_while_the_leader_lives_even_if_it_is_idle() {
    let server = Postgres::start().unwrap();
    let mut other = Other::start(&server.url());
    let mut standby = connect(&server.url(), "standby");
    let began = Instant::now();
    // Longer than a lease without any commit: it is renewed in the background.
    while began.elapsed() < Duration::from_secs(4) {
        assert_eq!(term(&mut standby), None);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(matches!(commit(&mut standby, 1), Err(StoreError::Deposed { holder }) if holder == "other"));
    other.order();
    assert_eq!(other.answer(), "committed");
}

#[test]
fn a_frozen_leader_is_replaced_and_writes_nothing_more_after_it_thaws() {
    let server = Postgres::start().unwrap();
    let mut other = Other::start(&server.url());
    other.order();
    assert_eq!(other.answer(), "committed");
    let mut standby = connect(&server.url(), "standby");
    other.signal(Signal::STOP);
    let took = take_over(&mut standby);
    println!("took over {took:?} after the leader froze");
    // Not what the frozen one is about to write under this number.
    standby.commit(2, &[event(7)], &[]).unwrap();
    other.order();
    other.signal(Signal::CONT);
    assert_eq!(other.answer(), "deposed by standby");
    let mut log = Vec::new();
    let mut each = |_, stamped| {
        log.push(stamped);
        Ok(())
    };
    standby.replay(0, &mut each).unwrap();
    assert_eq!(log, [event(1), event(7)]);
    assert_eq!(term(&mut standby), Some(2), "the thawed one did not take the lead back");
}

#[test]
fn a_killed_leader_is_replaced() {
    let server = Postgres::start().unwrap();
    let mut other = Other::start(&server.url());
    other.order();
    assert_eq!(other.answer(), "committed");
    let mut standby = connect(&server.url(), "standby");
    other.signal(Signal::KILL);
    let took = take_over(&mut standby);
    println!("took over {took:?} after the leader was killed");
    commit(&mut standby, 2).unwrap();
    assert_eq!(last_event(&mut standby), 2);
}

#[test]
fn a_leader_that_freezes_inside_a_transaction_holds_nobody_up() {
    let server = Postgres::start().unwrap();
    let url = server.url();
    drop(leading(&url, "first"));
    let session = "proofmill frozen";
    // What a frozen leader may leave behind: its term, and a transaction with the next event in it that never ends.
    server
        .execute(&format!(
            "UPDATE leader SET holder = 'frozen', session = '{session}', expires_at = clock_timestamp() + interval '1 s'"
        ))
        .unwrap();
    let separator = if url.contains('?') { '&' } else { '?' };
    let frozen_url = format!("{url}{separator}application_name={}", session.replace(' ', "%20"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let frozen = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&frozen_url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
            .batch_execute(
                "BEGIN; INSERT INTO events VALUES (1, 1, 'x'); UPDATE leader SET expires_at = clock_timestamp() + \
                 interval '1 hour'",
            )
            .await
            .unwrap();
        client
    });
    let mut standby = connect(&url, "standby");
    take_over(&mut standby);
    commit(&mut standby, 1).unwrap();
    assert_eq!(last_event(&mut standby), 1);
    assert!(runtime.block_on(frozen.batch_execute("COMMIT")).is_err(), "its connection was cut");
}

#[test]
fn a_leader_that_closes_its_store_hands_over_without_waiting_for_the_lease() {
    let server = Postgres::start().unwrap();
    let mut first =
        store::PostgresSettings { lease: Duration::from_secs(3_600), ..settings(&server.url(), "first") };
    first.connections = 1;
    let mut first = store::PostgresStore::connect(first).unwrap();
    assert_eq!(term(&mut first), Some(1));
    let mut standby = connect(&server.url(), "standby");
    assert_eq!(term(&mut standby), None);
    drop(first);
    assert_eq!(term(&mut standby), Some(2));
}

#[test]
fn of_many_standbys_exactly_one_wins() {
    let server = Postgres::start().unwrap();
    let url = server.url();
    drop(leading(&url, "former"));
    let winners: usize = std::thread::scope(|scope| {
        let ask = |n: u32| {
            let url = url.clone();
            scope.spawn(move || {
                let mut store = connect(&url, &format!("standby {n}"));
                // A winner keeps its store open until all have asked.
                (term(&mut store), store)
            })
        };
        let asked: Vec<_> = (0..4).map(ask).collect();
        let asked: Vec<_> = asked.into_iter().map(|thread| thread.join().unwrap()).collect();
        asked.iter().filter(|(term, _)| term.is_some()).count()
    });
    assert_eq!(winners, 1);
    assert_eq!(count(&url, "SELECT count(*) FROM leader"), 1);
}
