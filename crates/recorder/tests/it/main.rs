//! The recorder on the real store.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_queue::{Clock, Delivery, DeliveryId, Position};
use orderwire_recorder::{ClientChanges, Rows};
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::testkit::forward::{Forward, ForwardDatasets};
use orderwire_store::{
    Cell, Clients as _, Column, Count, Datasets, Error, ErrorKind, Filter, Recording, RowSink, RowsRecorded,
    Select, Store, Traces as _,
};
use orderwire_types::envelope::{Arrival, Incoming, from_json};
use orderwire_types::{Client, Event, EventType, Limits, QueueName, Scope};
use orderwire_worker::{
    DirectHandler, DirectWorker, Handled, StreamEntry, StreamHandler, StreamOptions, Task, TaskHandler as _,
    Verdict,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

struct Fixture {
    _folder: tempfile::TempDir,
    store: Arc<SqliteStore>,
    rows: Rows,
}

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn scope() -> Scope {
    Scope::internal("test")
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path().join("data")).unwrap();
    let store = Arc::new(SqliteStore::open(&dir, orderwire_sqlite::store::Options::default()).unwrap());
    let def = serde_json::from_str(r#"{"fields":[{"name":"n","type":"integer","required":true}]}"#).unwrap();
    store.define(&scope(), &"air".parse().unwrap(), &def, now()).await.unwrap();
    let rows = Rows::new(store.clone(), &"data".parse().unwrap(), Clock::new(now), true);
    Fixture { _folder: folder, store, rows }
}

fn event(event_type: &str, body: &str) -> Event {
    let event_type: EventType = event_type.parse().unwrap();
    let arrival = Arrival {
        principal: "test",
        client: Client::default_client(),
        event_type: Some(&event_type),
        source: None,
        traceparent: None,
        message_id: None,
        request: None,
        now: now(),
        new_id: Uuid::now_v7(),
        limits: &Limits::default(),
    };
    from_json(body.as_bytes(), &arrival).unwrap().event
}

fn entry(position: i64, dataset: &str, body: &str) -> StreamEntry {
    StreamEntry { position: Position(position), event: event(&format!("orderwire.rows.{dataset}"), body) }
}

/// Collects the one integer column of a select.
struct Numbers(Vec<i64>);

impl RowSink for Numbers {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        if let Some(Cell::Integer(n)) = cells.next() {
            self.0.push(n);
        }
        true
    }
}

async fn numbers(store: &SqliteStore) -> Vec<i64> {
    let shared = Arc::new(std::sync::Mutex::new(Vec::new()));
    struct Shared(Arc<std::sync::Mutex<Vec<i64>>>, Numbers);
    impl RowSink for Shared {
        fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
            let more = self.1.row(cells);
            self.0.lock().unwrap().clone_from(&self.1.0);
            more
        }
    }
    let select = Select {
        dataset: "air".parse().unwrap(),
        columns: vec![Column::named("n", "n")],
        filter: Filter::And(Vec::new()),
        latest: Vec::new(),
        order: Vec::new(),
        limit: 1_000,
        offset: 0,
        count: Count::None,
    };
    let sink = Box::new(Shared(shared.clone(), Numbers(Vec::new())));
    store.select(&scope(), select, sink, std::time::Duration::from_secs(5)).await.unwrap();
    shared.lock().unwrap().clone()
}

#[tokio::test]
async fn a_batch_that_comes_again_is_recorded_once() {
    let f = fixture().await;
    let batch = [entry(3, "air", r#"[{"n":1},{"n":2}]"#), entry(5, "air", r#"{"n":3}"#)];
    StreamHandler::handle(&f.rows, &batch, Position(0)).await.unwrap();
    assert_eq!(f.rows.position().await.unwrap(), Position(5));
    let again = StreamHandler::handle(&f.rows, &batch, Position(0)).await.unwrap_err();
    assert!(again.retryable, "{again:?}");
    assert_eq!(numbers(&f.store).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_faulty_entry_is_named_and_nothing_of_its_batch_is_recorded() {
    let f = fixture().await;
    for (faulty, why) in [
        (entry(2, "air", r#"{"n":"one"}"#), "a value of another type"),
        (entry(2, "nowhere", r#"{"n":1}"#), "a dataset that is gone"),
    ] {
        let batch = [entry(1, "air", r#"{"n":1}"#), faulty, entry(3, "air", r#"{"n":3}"#)];
        let error = StreamHandler::handle(&f.rows, &batch, Position(0)).await.unwrap_err();
        assert_eq!(error.entry, Some(1), "{why}: {error:?}");
        assert!(!error.retryable, "{why}: {error:?}");
        assert_eq!(f.rows.position().await.unwrap(), Position(0));
    }
    assert_eq!(numbers(&f.store).await, [0_i64; 0]);
}

fn incoming(body: &str, named: bool) -> Incoming {
    Incoming { event: event("orderwire.rows.air", body), named }
}

#[tokio::test]
async fn what_comes_from_a_broker_is_recorded_once_where_it_is_named() {
    let f = fixture().await;
    let named = incoming(r#"[{"n":1},{"n":2}]"#, true);
    // What nothing names is another event each time that it comes.
    let other = || incoming(r#"{"n":3}"#, false);
    assert_eq!(DirectHandler::handle(&f.rows, &[&named, &other()]).await.unwrap(), [true, true]);
    assert_eq!(DirectHandler::handle(&f.rows, &[&other(), &named]).await.unwrap(), [true, false]);
    assert_eq!(numbers(&f.store).await, [1, 2, 3, 3]);
    assert_eq!(f.rows.position().await.unwrap(), Position(0));
    f.rows.check().await.unwrap();

    // The same by way of the queue, where it was put for a while.
    let entries = [StreamEntry { position: Position(4), event: named.event.clone() }];
    StreamHandler::handle(&f.rows, &entries, Position(0)).await.unwrap();
    assert_eq!(numbers(&f.store).await, [1, 2, 3, 3]);
    assert_eq!(f.rows.position().await.unwrap(), Position(4));
}

/// The store, whose word on the first recording gets lost on its way.
struct LosesOneWord {
    store: Arc<SqliteStore>,
    is_lost: AtomicBool,
}

impl Forward for LosesOneWord {
    fn inner(&self) -> &dyn Store {
        &*self.store
    }
}

#[async_trait]
impl ForwardDatasets for LosesOneWord {
    async fn record(&self, recording: Recording) -> Result<Vec<RowsRecorded>, Error> {
        let done = self.store.record(recording).await;
        if self.is_lost.swap(true, Ordering::Relaxed) {
            return done;
        }
        Err(Error::new(ErrorKind::Unavailable, "connection reset"))
    }
}

#[tokio::test]
async fn a_batch_is_recorded_once_when_it_is_tried_again_though_it_was() {
    let f = fixture().await;
    let store = LosesOneWord { store: f.store.clone(), is_lost: AtomicBool::new(false) };
    let queue: QueueName = "data".parse().unwrap();
    let rows = Rows::new(Arc::new(store), &queue, Clock::new(now), true);
    let worker = DirectWorker::new(queue, Arc::new(rows), StreamOptions::default());
    let (named, other) = (incoming(r#"{"n":1}"#, true), incoming(r#"{"n":2}"#, false));
    let handled = worker.handle(&[&named, &other], &CancellationToken::new()).await.unwrap();
    assert_eq!(handled, [Handled::Repeated, Handled::Repeated]);
    assert_eq!(numbers(&f.store).await, [1, 2]);
}

#[tokio::test]
async fn what_came_through_the_queue_is_not_recorded_again_from_the_broker() {
    let f = fixture().await;
    let entry = entry(1, "air", r#"{"n":1}"#);
    StreamHandler::handle(&f.rows, std::slice::from_ref(&entry), Position(0)).await.unwrap();
    let again = Incoming { event: entry.event, named: true };
    assert_eq!(DirectHandler::handle(&f.rows, &[&again]).await.unwrap(), [false]);
    assert_eq!(numbers(&f.store).await, [1]);
}

#[tokio::test]
async fn a_faulty_message_is_named_and_its_batch_comes_in_parts() {
    let f = fixture().await;
    let (good, faulty) = (incoming(r#"{"n":1}"#, true), incoming(r#"{"n":"one"}"#, true));
    let error = DirectHandler::handle(&f.rows, &[&good, &faulty]).await.unwrap_err();
    assert_eq!((error.entry, error.retryable), (Some(1), false), "{error:?}");
    assert_eq!(DirectHandler::handle(&f.rows, &[&good]).await.unwrap(), [true]);
}

#[tokio::test]
async fn a_skipped_entry_moves_the_position() {
    let f = fixture().await;
    f.rows.skip(Position(7)).await.unwrap();
    assert_eq!(f.rows.position().await.unwrap(), Position(7));
    StreamHandler::handle(&f.rows, &[entry(8, "air", r#"{"n":8}"#)], Position(7)).await.unwrap();
    assert_eq!(numbers(&f.store).await, [8]);
}

#[tokio::test]
async fn rows_leave_a_trace() {
    let f = fixture().await;
    let entry = entry(1, "air", r#"[{"n":1},{"n":2}]"#);
    let trace = entry.event.trace.id;
    StreamHandler::handle(&f.rows, &[entry], Position(0)).await.unwrap();
    let view = f.store.trace(&scope(), trace).await.unwrap();
    let steps: Vec<&str> = view.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["accepted", "queued", "recorded"]);
    assert!(view.steps[2].detail.as_deref().unwrap().contains("2 of 2 rows"), "{:?}", view.steps[2]);
}

fn task(body: &str) -> Task {
    let id = DeliveryId { lane: 1, position: Position(1), lease: 1 };
    let delivery = Delivery { id, attempt: 1, leased_until: now(), body: bytes::Bytes::new() };
    Task { delivery, event: event("orderwire.client.changed", body) }
}

#[tokio::test]
async fn a_client_is_registered_and_changed_once() {
    let f = fixture().await;
    let changes = ClientChanges::new(f.store.clone(), Clock::new(now));
    let first = task(r#"{"client":"acme","environment":"dev"}"#);
    assert_eq!(changes.handle(&first).await, Verdict::Ack);
    assert_eq!(changes.handle(&first).await, Verdict::Ack);
    let second = task(r#"{"client":"acme","environment":null,"archtype":"Edge"}"#);
    assert_eq!(changes.handle(&second).await, Verdict::Ack);
    let record = f.store.client(&scope(), &"acme".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(record.attributes.get(), r#"{"archtype":"Edge"}"#);
    let trace = f.store.trace(&scope(), first.event.trace.id).await.unwrap();
    assert_eq!(trace.steps.len(), 1, "{:?}", trace.steps);
}

#[tokio::test]
async fn a_change_that_is_no_object_fails_for_good() {
    let f = fixture().await;
    let changes = ClientChanges::new(f.store.clone(), Clock::new(now));
    let verdict = changes.handle(&task("[1]")).await;
    assert!(matches!(verdict, Verdict::Fail { .. }), "{verdict:?}");
}
