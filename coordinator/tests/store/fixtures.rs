//! The two engines under the conformance suite, and small helpers of the other tests.

use std::{path::Path, time::Duration};

use rusqlite::types::ValueRef;
use sequencer::state::event::{Event, Stamped};
use store::{
    Leadership, PostgresSettings, PostgresStore, SqliteStore, Store, StoreError,
    conformance::{Fixture, TextRow},
};
use testbed::postgres::Postgres;
use tokio_postgres::{NoTls, SimpleQueryMessage};

pub struct OnSqlite(tempfile::TempDir);

impl OnSqlite {
    pub fn fresh() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Fixture for OnSqlite {
    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SqliteStore::open(self.path())?))
    }

    fn table(&self, name: &str) -> Vec<TextRow> {
        let connection = rusqlite::Connection::open(self.path().join("coordinator.sqlite")).unwrap();
        let mut select = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns: Vec<String> = select.column_names().map(str::to_owned).collect();
        let text = |value: ValueRef<'_>| match value {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Some(hex::encode(bytes)),
        };
        let rows = select.query_map([], |row| {
            let value = |(i, column): (usize, &String)| Ok((column.clone(), text(row.get_ref(i)?)));
            columns.iter().enumerate().map(value).collect::<Result<TextRow, rusqlite::Error>>()
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }
}

/// A database of its own on a server.
pub struct OnPostgres {
    pub url: String,
}

impl OnPostgres {
    pub fn fresh(server: &Postgres) -> Self {
        Self { url: server.database().unwrap() }
    }
}

impl Fixture for OnPostgres {
    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(PostgresStore::connect(PostgresSettings::new(&self.url, "coordinator"))?))
    }

    fn table(&self, name: &str) -> Vec<TextRow> {
        let value = |text: &str, row: &mut TextRow, column: &str| {
            let plain = match text {
                "t" => "1",
                "f" => "0",
                other => other.strip_prefix("\\x").unwrap_or(other),
            };
            row.insert(column.to_owned(), Some(plain.to_owned()));
        };
        query(&self.url, &format!("SELECT * FROM {name}"), |found| {
            let mut row = TextRow::new();
            for (i, column) in found.columns().iter().enumerate() {
                match found.get(i) {
                    Some(text) => value(text, &mut row, column.name()),
                    None => drop(row.insert(column.name().to_owned(), None)),
                }
            }
            row
        })
    }
}

/// Asks the database itself.
pub fn query<T>(url: &str, sql: &str, row: impl Fn(tokio_postgres::SimpleQueryRow) -> T) -> Vec<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let found = client.simple_query(sql).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
        let rows = found.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(found) => Some(row(found)),
            _ => None,
        });
        rows.collect()
    })
}

pub fn count(url: &str, sql: &str) -> u64 {
    query(url, sql, |row| row.get(0).unwrap().parse().unwrap())[0]
}

pub fn settings(url: &str, holder: &str) -> PostgresSettings {
    PostgresSettings { statement_timeout: Duration::from_secs(2), ..PostgresSettings::new(url, holder) }
}

pub fn connect(url: &str, holder: &str) -> PostgresStore {
    PostgresStore::connect(settings(url, holder)).unwrap()
}

pub fn leading(url: &str, holder: &str) -> PostgresStore {
    let mut store = connect(url, holder);
    store.bind("chain 31337").unwrap();
    assert!(term(&mut store).is_some(), "{holder} leads");
    store
}

/// The term, if the store leads.
pub fn term(store: &mut PostgresStore) -> Option<u64> {
    match store.lead().unwrap() {
        Leadership::Leading { term } => Some(term),
        Leadership::Following { .. } => None,
    }
}

pub fn event(number: u64) -> Stamped {
    Stamped { at: number, event: Event::Opened { batch_no: number as u32, places: 60 } }
}

pub fn commit(store: &mut PostgresStore, number: u64) -> Result<(), StoreError> {
    store.commit(number, &[event(number)], &[])
}

/// The number of the last event, after checking that each is there and as it was written.
pub fn last_event(store: &mut PostgresStore) -> u64 {
    let mut last = 0;
    let each = &mut |sequence, stamped| {
        assert_eq!(stamped, event(sequence));
        last = sequence;
        Ok(())
    };
    store.replay(0, each).unwrap();
    last
}

/// Calls again while the database does not answer.
pub fn patiently<T>(mut call: impl FnMut() -> Result<T, StoreError>) -> T {
    for _ in 0..3_000 {
        match call() {
            Err(StoreError::Unavailable(_)) => std::thread::sleep(Duration::from_millis(10)),
            other => return other.unwrap(),
        }
    }
    panic!("the database never answered again");
}
