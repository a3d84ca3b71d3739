//! What reads hold of the process and of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::poll;
use jiff::Timestamp;
use orderwire_postgres::store::{Options, PostgresStore};
use orderwire_store::{Cell, Datasets, ErrorKind, RowSink, Select};
use orderwire_types::Scope;
use tokio_postgres::Client;

use super::support::{batch, column, numbers, read};
use crate::support::{TestDatabase, connect};

const PATIENCE: Duration = Duration::from_secs(60);

/// A store with one connection for reads, whose dataset `d` has the numbers 0 to 9.
async fn store(database: &TestDatabase) -> Arc<PostgresStore> {
    let options = orderwire_postgres::Options {
        connect_timeout: PATIENCE,
        lock_timeout: PATIENCE,
        statement_timeout: PATIENCE,
        ..database.options()
    };
    let store = PostgresStore::open(Options { selects: 1, ..Options::new(options) }).await.unwrap();
    let scope = Scope::internal("test");
    store.define(&scope, &"d".parse().unwrap(), &numbers(), Timestamp::UNIX_EPOCH).await.unwrap();
    let rows: Vec<String> = (0..10).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    store.record(batch(0, 1, &format!("[{}]", rows.join(",")))).await.unwrap();
    Arc::new(store)
}

#[test]
fn reads_that_wait_for_a_connection_leave_threads_to_others() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let database = TestDatabase::new().await;
        let store = store(&database).await;
        let client = connect(&database.url()).await;
        client.batch_execute("BEGIN; LOCK TABLE data.d IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let mut reads: Vec<_> = (0..4).map(|_| Box::pin(read(&*store, column("n"), PATIENCE))).collect();
        for read in &mut reads {
            assert!(poll!(read).is_pending(), "the table is locked");
        }
        let other = tokio::task::spawn_blocking(|| ());
        tokio::time::timeout(PATIENCE / 4, other).await.expect("a thread is left").unwrap();

        let late = read(&*store, column("n"), Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TooCostly, "{late}");

        client.batch_execute("COMMIT").await.unwrap();
        for rows in join_all(reads).await {
            assert_eq!(rows.unwrap().len(), 10);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_given_back_by_reads_that_failed_or_were_dropped() {
    let database = TestDatabase::new().await;
    let store = store(&database).await;
    let client = connect(&database.url()).await;
    for _ in 0..3 {
        client.batch_execute("BEGIN; LOCK TABLE data.d IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let late = read(&*store, column("n"), Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TooCostly, "{late}");
        let mut dropped = Box::pin(read(&*store, column("n"), PATIENCE));
        assert!(poll!(&mut dropped).is_pending(), "the table is locked");
        drop(dropped);
        client.batch_execute("COMMIT").await.unwrap();
        assert_eq!(read(&*store, column("n"), PATIENCE).await.unwrap().len(), 10);
    }
}

/// Takes so many rows and refuses the next one, as whoever looks whether there are more.
struct Page {
    left: usize,
}

impl RowSink for Page {
    fn row(&mut self, _: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        let wants = self.left > 0;
        self.left = self.left.saturating_sub(1);
        wants
    }
}

async fn page(store: &PostgresStore, rows: usize, limit: usize, offset: u64) {
    let select = Select { limit, offset, ..column("n") };
    let page = Box::new(Page { left: rows });
    let (selected, _) = store.select(&Scope::internal("test"), select, page, PATIENCE).await.unwrap();
    assert_eq!((selected.rows, selected.cut), (rows as u64, true));
}

/// The connections that read of the dataset last.
async fn readers(client: &Client) -> Vec<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT %FROM data.%' \
               AND pid <> pg_backend_pid()";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_look_for_one_row_more_keep_their_connection() {
    let database = TestDatabase::new().await;
    let store = store(&database).await;
    let client = connect(&database.url()).await;
    assert_eq!(read(&*store, column("n"), PATIENCE).await.unwrap().len(), 10);
    let first = readers(&client).await;
    assert_eq!(first.len(), 1);
    for offset in [0, 2, 4, 6] {
        page(&store, 2, 3, offset).await;
        assert_eq!(readers(&client).await, first, "after the page from {offset}");
    }
    // One that ends before what it asked for is cancelled at the server.
    page(&store, 2, 8, 0).await;
    let began = Instant::now();
    while readers(&client).await == first {
        assert!(began.elapsed() < PATIENCE, "its connection is still there");
    }
    assert_eq!(read(&*store, column("n"), PATIENCE).await.unwrap().len(), 10);
}
