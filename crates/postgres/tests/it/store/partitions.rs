//! Partitions as the server has them.

use std::time::Duration;

use jiff::Timestamp;
use orderwire_postgres::store::PostgresStore;
use orderwire_store::{Datasets, Recording, Sweep};
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;
use tokio_postgres::Client;

use super::support::{batch, column, def, open, read};
use crate::support::{TestDatabase, connect};

const PATIENCE: Duration = Duration::from_secs(60);

fn months(rest: &str) -> DatasetDef {
    def(&format!(
        r#"{{"fields":[{{"name":"n","type":"integer","required":true}},{{"name":"at","type":"timestamp","required":true}}],
            "key":["n","at"],"time":"at","partition":"month"{rest}}}"#
    ))
}

async fn store(database: &TestDatabase, def: &DatasetDef) -> PostgresStore {
    let store = open(database).await.unwrap();
    store.define(&Scope::internal("test"), &"d".parse().unwrap(), def, Timestamp::UNIX_EPOCH).await.unwrap();
    store
}

/// A batch of a row for each of these times.
fn rows(position: i64, times: &[&str]) -> Recording {
    let row = |(n, at): (usize, &&str)| format!(r#"{{"n":{n},"at":"{at}"}}"#);
    let rows: Vec<String> = times.iter().enumerate().map(row).collect();
    batch(position, position + 1, &format!("[{}]", rows.join(",")))
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The tables of the dataset, each with its rows.
async fn tables(client: &Client) -> Vec<String> {
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = 'data.d'::regclass ORDER BY 1";
    let mut tables = Vec::new();
    for name in texts(client, sql).await {
        let count: i64 =
            client.query_one(&format!(r#"SELECT count(*) FROM data."{name}""#), &[]).await.unwrap().get(0);
        tables.push(format!("{name} {count}"));
    }
    tables
}

#[tokio::test]
async fn rows_lie_in_the_partition_of_their_month_and_reads_look_into_that_alone() {
    let database = TestDatabase::new().await;
    let store = store(&database, &months("")).await;
    let client = connect(&database.url()).await;
    assert_eq!(tables(&client).await, [""; 0], "none is made before a row needs it");
    let times = [
        "2026-01-31T23:59:59.999999Z",
        "2026-02-01T00:00:00Z",
        "2026-02-28T00:00:00Z",
        "0000-01-01T00:00:00Z",
    ];
    store.record(rows(0, &times)).await.unwrap();
    store.record(rows(1, &times[..2])).await.unwrap();
    assert_eq!(tables(&client).await, ["d#0000-01 1", "d#2026-01 1", "d#2026-02 2"]);
    let indexes =
        "SELECT count(*)::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname = ";
    let of_parent = texts(&client, &format!("{indexes} 'd'")).await;
    assert_eq!(texts(&client, &format!("{indexes} 'd#2026-02'")).await, of_parent);
    let explain =
        "EXPLAIN SELECT n FROM data.d WHERE at >= '2026-02-01Z' AND at < '2026-03-01Z' AND _client = 'acme'";
    let plan = texts(&client, explain).await.join("\n");
    assert!(plan.contains("d#2026-02") && !plan.contains("d#2026-01") && !plan.contains("d#0000"), "{plan}");
}

#[tokio::test]
async fn a_partition_is_made_while_the_others_are_read() {
    let database = TestDatabase::new().await;
    let store = store(&database, &months("")).await;
    store.record(rows(0, &["2026-01-01T00:00:00Z"])).await.unwrap();
    let client = connect(&database.url()).await;
    // A read that goes on for as long as somebody likes.
    client.batch_execute("BEGIN; SELECT count(*) FROM data.d").await.unwrap();
    let recorded = tokio::time::timeout(PATIENCE, store.record(rows(1, &["2026-02-01T00:00:00Z"]))).await;
    recorded.expect("it does not wait for who reads").unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(tables(&client).await, ["d#2026-01 1", "d#2026-02 1"]);
}

#[tokio::test]
async fn nodes_that_need_the_same_partitions_make_them_once() {
    let database = TestDatabase::new().await;
    let first = store(&database, &months("")).await;
    let second = open(&database).await.unwrap();
    let times: Vec<String> = (1..=12).map(|month| format!("2026-{month:02}-01T00:00:00Z")).collect();
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    let other = |mut recording: Recording| {
        recording.reader = "other".to_owned();
        recording.events[0].client = "other".parse().unwrap();
        recording
    };
    let (a, b) = tokio::join!(first.record(rows(0, &times)), second.record(other(rows(0, &times))));
    a.unwrap();
    b.unwrap();
    let client = connect(&database.url()).await;
    let tables = tables(&client).await;
    assert_eq!(tables.len(), 12, "{tables:?}");
    assert!(tables.iter().all(|table| table.ends_with(" 2")), "{tables:?}");
}

#[tokio::test]
async fn retention_drops_whole_partitions_and_rows_that_come_late_make_them_anew() {
    let database = TestDatabase::new().await;
    let store = store(&database, &months(r#","retention":"30d""#)).await;
    let times =
        ["2025-11-01T00:00:00Z", "2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z", "2026-02-10T00:00:00Z"];
    store.record(rows(0, &times)).await.unwrap();
    let client = connect(&database.url()).await;
    let now: Timestamp = "2026-02-15T00:00:00Z".parse().unwrap();
    let old = Timestamp::UNIX_EPOCH;
    let sweep = Sweep { now, traces_before: old, remembered_before: old, limit: 100 };
    let generation = store.generation(&"d".parse().unwrap());
    assert_eq!(store.sweep(sweep).await.unwrap(), 2, "a partition counts as one");
    assert_eq!(tables(&client).await, ["d#2026-01 1", "d#2026-02 1"]);
    assert!(store.generation(&"d".parse().unwrap()) > generation);
    assert_eq!(store.sweep(sweep).await.unwrap(), 0);
    store.record(rows(1, &times[..1])).await.unwrap();
    assert_eq!(tables(&client).await, ["d#2025-11 1", "d#2026-01 1", "d#2026-02 1"]);
}

/// A sweep of datasets alone.
fn sweep_at(now: &str) -> Sweep {
    let old = Timestamp::UNIX_EPOCH;
    Sweep { now: now.parse().unwrap(), traces_before: old, remembered_before: old, limit: 1_000 }
}

/// The same batch, recorded at another moment.
fn recorded_at(now: &str, mut recording: Recording) -> Recording {
    recording.now = now.parse().unwrap();
    recording
}

/// The first moments of so many months from a year on.
fn months_from(year: u32, count: u32) -> Vec<String> {
    (0..count).map(|month| format!("{}-{:02}-01T00:00:00Z", year + month / 12, month % 12 + 1)).collect()
}

#[tokio::test]
async fn times_far_from_the_present_lie_in_one_more_and_the_present_keeps_its_partitions() {
    let database = TestDatabase::new().await;
    let store = store(&database, &months(r#","retention":"90d""#)).await;
    let stray = months_from(2100, 20);
    let stray: Vec<&str> = stray.iter().map(String::as_str).collect();
    let now = "2026-02-15T00:00:00Z";
    store.record(recorded_at(now, rows(0, &stray))).await.unwrap();
    let client = connect(&database.url()).await;
    let there = tables(&client).await;
    assert_eq!((there.len(), there.last().map(String::as_str)), (18, Some("d#rest 3")));
    // Conflicts are found there as well.
    store.record(recorded_at(now, rows(1, &stray))).await.unwrap();
    assert_eq!(tables(&client).await, there);
    store.record(recorded_at(now, rows(2, &["2026-02-10T00:00:00Z"]))).await.unwrap();
    assert_eq!(tables(&client).await.first().map(String::as_str), Some("d#2026-02 1"), "beside the rest");
    // Not beside rows of its own month, and not while somebody reads the rest; which ends by itself.
    client.batch_execute("BEGIN; SELECT count(*) FROM data.d").await.unwrap();
    let march = rows(3, &["2026-03-01T00:00:00Z"]);
    store.record(recorded_at("2026-03-01T00:00:00Z", march)).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    store.record(recorded_at("2026-03-02T00:00:00Z", rows(4, &["2026-03-02T00:00:00Z"]))).await.unwrap();
    store.record(recorded_at("2026-04-01T00:00:00Z", rows(5, &["2026-04-01T00:00:00Z"]))).await.unwrap();
    let there = tables(&client).await;
    assert_eq!(there[..2], ["d#2026-02 1", "d#2026-04 1"]);
    assert_eq!(there.last().map(String::as_str), Some("d#rest 5"));
    assert_eq!(read(&store, column("n"), PATIENCE).await.unwrap().len(), 24);
    while store.sweep(sweep_at("2111-01-01T00:00:00Z")).await.unwrap() > 0 {}
    assert_eq!(tables(&client).await, [""; 0]);
    store.remove(&Scope::internal("test"), &"d".parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn rows_past_the_retention_make_no_partitions() {
    let database = TestDatabase::new().await;
    let store = store(&database, &months(r#","retention":"90d""#)).await;
    let past = months_from(2020, 3);
    let times: Vec<&str> = past.iter().map(String::as_str).chain(["2026-02-10T00:00:00Z"]).collect();
    let now = "2026-02-15T00:00:00Z";
    store.record(recorded_at(now, rows(0, &times))).await.unwrap();
    let client = connect(&database.url()).await;
    assert_eq!(tables(&client).await, ["d#2026-02 1", "d#rest 3"]);
    while store.sweep(sweep_at(now)).await.unwrap() > 0 {}
    assert_eq!(tables(&client).await, ["d#2026-02 1"]);
}

#[tokio::test]
async fn a_long_read_of_one_dataset_holds_up_the_retention_of_no_other() {
    let database = TestDatabase::new().await;
    let store = store(&database, &months(r#","retention":"30d""#)).await;
    let scope = Scope::internal("test");
    let other = months(r#","retention":"30d""#);
    store.define(&scope, &"e".parse().unwrap(), &other, Timestamp::UNIX_EPOCH).await.unwrap();
    let mut both = rows(0, &["2025-11-01T00:00:00Z"]);
    let mut of_the_other = rows(1, &["2025-11-01T00:00:00Z"]).events;
    of_the_other[0].dataset = "e".parse().unwrap();
    both.events.append(&mut of_the_other);
    store.record(both).await.unwrap();
    let client = connect(&database.url()).await;
    client.batch_execute("BEGIN; SELECT count(*) FROM data.d").await.unwrap();
    let sweep = sweep_at("2026-02-15T00:00:00Z");
    assert_eq!(store.sweep(sweep).await.unwrap(), 1, "that of the other one");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.sweep(sweep).await.unwrap(), 1);
    assert_eq!(tables(&client).await, [""; 0]);
}

#[tokio::test]
async fn rows_of_a_partition_that_somebody_took_out_lie_in_the_rest() {
    let database = TestDatabase::new().await;
    let store = store(&database, &months("")).await;
    store.record(rows(0, &["2026-01-01T00:00:00Z"])).await.unwrap();
    let client = connect(&database.url()).await;
    client.batch_execute(r#"ALTER TABLE data.d DETACH PARTITION data."d#2026-01""#).await.unwrap();
    store.record(rows(1, &["2026-01-02T00:00:00Z", "2026-02-01T00:00:00Z"])).await.unwrap();
    store.record(rows(2, &["2026-01-03T00:00:00Z"])).await.unwrap();
    assert_eq!(tables(&client).await, ["d#2026-02 1", "d#rest 2"]);
    assert_eq!(texts(&client, r#"SELECT count(*)::text FROM data."d#2026-01""#).await, ["1"]);
}
