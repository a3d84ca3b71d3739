//! What fails in a commit fails alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orderwire_queue::engine::{Append, Engine as _, LaneKey, Op};
use orderwire_queue::{Clock, ErrorKind, LeaseRequest, Options, Publication, Queues};
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_types::envelope::Incoming;
use orderwire_types::{Data, Event, EventId, RawJson, Scope, testkit};
use uuid::Uuid;

use super::support::{Bench, at, definitions, entry, name};

fn event(n: u128, bytes: usize) -> Incoming {
    let id = EventId(Uuid::from_u128(n));
    let data = Data::Json(RawJson::parse(format!("\"{}\"", "x".repeat(bytes))).unwrap());
    let event = Event { data, accepted_at: at(0), ..testkit::event(id, "a.b", "a") };
    Incoming { event, named: false }
}

/// On one thread calls that are made together share a commit.
#[tokio::test]
async fn an_ack_succeeds_beside_an_append_that_finds_no_space() {
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::open(root.path()).unwrap();
    let options =
        orderwire_sqlite::Options { page_count_max: Some(300), ..orderwire_sqlite::Options::for_testing() };
    let engine = Arc::new(SqliteQueue::open(&dir, &options).unwrap());
    let definitions = definitions().into_iter().take(1).collect();
    let (queues, service) =
        Queues::open(engine, definitions, HashMap::new(), Options::for_testing(), Clock::system())
            .await
            .unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = tokio::spawn(service.run(async move { drop(stopped.await) }));
    let scope = Scope::internal("key:1");
    let publish = |n, bytes| queues.publish(&scope, Publication::of(event(n, bytes)));

    publish(1, 10).await.unwrap();
    let request = LeaseRequest { max: 1, lease: Duration::from_secs(600), wait: Duration::ZERO };
    let held = queues.lease(&scope, &name("t1"), request).await.unwrap().remove(0);
    let (t1, ids) = (name("t1"), [held.id]);
    let (big, acked) = tokio::join!(publish(2, 2_000_000), queues.ack(&scope, &t1, &ids));
    assert_eq!(big.unwrap_err().kind(), ErrorKind::Unavailable);
    acked.unwrap().remove(0).unwrap();
    assert_eq!(queues.state(&scope, &name("t1")).await.unwrap().in_flight, 0);
    stop.send(()).unwrap();
    service.await.unwrap();
}

#[tokio::test]
async fn a_commit_without_operations_writes_after_a_failure() {
    let options =
        orderwire_sqlite::Options { page_count_max: Some(100), ..orderwire_sqlite::Options::for_testing() };
    let bench = Bench::with(&options).await;
    let file = rusqlite::Connection::open(bench.file()).unwrap();
    let version = || file.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
    let before = version();
    bench.commit(Vec::new(), at(0)).await;
    assert_eq!(version(), before, "there is nothing to write");
    let mut large = entry(1, "a", &[("t1", LaneKey::Alone)]);
    large.body = vec![b'x'; 1 << 20].into();
    let append = Op::Append(Append { entries: vec![large], request: None });
    bench.queue.commit(vec![append], at(0)).await.unwrap_err();
    assert_eq!(version(), before);
    bench.commit(Vec::new(), at(0)).await;
    assert_ne!(version(), before, "to see whether the file can be written");
}
