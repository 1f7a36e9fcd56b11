use super::*;

#[test]
fn what_was_committed_survives_a_kill_and_the_server_comes_back_at_the_same_address() {
    let mut postgres = Postgres::start_private(Settings::default()).unwrap();
    postgres.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").unwrap();
    let url = postgres.url();
    postgres.kill().unwrap();
    assert!(matches!(postgres.execute("SELECT 1"), Err(PostgresError::Sql(_))));
    postgres.restart().unwrap();
    assert_eq!(postgres.url(), url);
    postgres.execute("DO $$ BEGIN ASSERT (SELECT n FROM kept) = 1; END $$").unwrap();
}

#[test]
fn a_paused_server_answers_after_it_is_resumed_and_takes_tcp_with_a_password() {
    let postgres = Postgres::start_private(Settings { fsync: false, ..Settings::default() }).unwrap();
    postgres.pause().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| postgres.execute("SELECT 1"));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!asked.is_finished(), "a paused server answered");
        postgres.resume().unwrap();
        asked.join().unwrap().unwrap();
    });
    let tcp = postgres.tcp_url().unwrap();
    sql::execute(&tcp, "SELECT 1").unwrap();
    let stranger = tcp.replace(PASSWORD, "guessed");
    assert!(matches!(sql::execute(&stranger, "SELECT 1"), Err(PostgresError::Sql(_))));
}

#[test]
fn a_database_of_a_given_server_keeps_the_parameters_of_its_url() {
    let renamed = with_database("postgresql://me:secret@db.example:5433/old?sslmode=require", "new");
    assert_eq!(renamed, "postgresql://me:secret@db.example:5433/new?sslmode=require");
    assert_eq!(with_database("postgresql://localhost", "new"), "postgresql://localhost/new");
}
