//! What may happen to the file.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use orderwire_sqlite::store::{Options, SqliteStore};
use orderwire_sqlite::{DataDir, ErrorKind};
use orderwire_store::{
    Cell, Column, Count, Datasets, Error, Filter, Keys, Recording, RowSink, RowsEvent, Select, Selected,
    Source, Traces,
};
use orderwire_types::{DatasetName, EventId, RawJson, Scope, TraceId};
use uuid::Uuid;

use super::support::Folder;

fn name() -> DatasetName {
    "d".parse().unwrap()
}

pub(super) fn scope() -> Scope {
    Scope::internal("test")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_760_000_000).unwrap()
}

/// Rows with `n` and a text, as one event.
pub(super) fn recording(position: i64, rows: u32, bytes: usize) -> Recording {
    let text = "x".repeat(bytes);
    let rows: Vec<String> = (0..rows).map(|n| format!(r#"{{"n":{n},"t":"{text}"}}"#)).collect();
    let event = RowsEvent {
        dataset: name(),
        client: "a".parse().unwrap(),
        event_id: EventId(Uuid::from_u128(7)),
        trace: TraceId::from_given("t").id,
        rows: RawJson::parse(format!("[{}]", rows.join(","))).unwrap(),
        accepted_at: now(),
        import: None,
        remembered: false,
    };
    let source = Source::Stream { from: position, to: position + 1 };
    Recording { reader: "data".to_owned(), source, events: vec![event], now: now() }
}

pub(super) async fn define(store: &SqliteStore) {
    let def = r#"{"fields":[{"name":"n","type":"integer"},{"name":"t","type":"text"}]}"#;
    store.define(&scope(), &name(), &serde_json::from_str(def).unwrap(), now()).await.unwrap();
}

/// The first `limit` rows.
pub(super) fn select(limit: usize) -> Select {
    let column = |name: &str| Column::named(name, name);
    Select {
        dataset: name(),
        columns: vec![column("n"), column("t")],
        filter: Filter::And(Vec::new()),
        latest: Vec::new(),
        order: Vec::new(),
        limit,
        offset: 0,
        count: Count::None,
    }
}

struct Nothing;

impl RowSink for Nothing {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        cells.count() > 0
    }
}

async fn read(store: &SqliteStore) -> Result<Selected, Error> {
    Ok(store.select(&scope(), select(1_000_000), Box::new(Nothing), Duration::from_secs(60)).await?.0)
}

/// Stops at its first row until it is told to go on.
struct Slow {
    begun: tokio::sync::mpsc::UnboundedSender<()>,
    go_on: std::sync::mpsc::Receiver<()>,
}

impl RowSink for Slow {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        self.begun.send(()).unwrap();
        self.go_on.recv().unwrap();
        cells.count() > 0
    }
}

#[tokio::test]
async fn rows_and_their_count_are_of_one_moment() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    define(&store).await;
    store.record(recording(0, 2, 1)).await.unwrap();
    let select = || Select {
        dataset: name(),
        columns: vec![Column::named("n", "n")],
        filter: Filter::And(Vec::new()),
        latest: Vec::new(),
        order: Vec::new(),
        limit: 1,
        offset: 0,
        count: Count::Exact,
    };
    let (begun, mut first) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, waits) = std::sync::mpsc::channel();
    let (scope, minute) = (scope(), Duration::from_secs(60));
    let read = store.select(&scope, select(), Box::new(Slow { begun, go_on: waits }), minute);
    let write = async {
        // The rows are being read, the count is not.
        first.recv().await.unwrap();
        let mut more = recording(1, 3, 1);
        more.events[0].event_id = EventId(Uuid::from_u128(8));
        store.record(more).await.unwrap();
        go_on.send(()).unwrap();
    };
    let (read, ()) = tokio::join!(read, write);
    assert_eq!(read.unwrap().0.total, Some(2));
    let later = store.select(&scope, select(), Box::new(Nothing), minute).await.unwrap().0;
    assert_eq!(later.total, Some(5));
}

/// Its values are of other types by then than when it was planned, and none is damage.
#[tokio::test]
async fn a_read_that_waits_while_its_dataset_changes_is_planned_anew() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { selects: 1, ..Options::default() };
    let store = SqliteStore::open(&DataDir::open(folder.path()).unwrap(), options).unwrap();
    define(&store).await;
    store.record(recording(0, 3, 1)).await.unwrap();
    let (begun, mut first) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, waits) = std::sync::mpsc::channel();
    let (scope, minute) = (scope(), Duration::from_secs(60));
    let reads = store.select(&scope, select(1), Box::new(Slow { begun, go_on: waits }), minute);
    // Polled before the change: it is planned, and waits for the connection.
    let waits = store.select(&scope, select(9), Box::new(Nothing), minute);
    let change = async {
        first.recv().await.unwrap();
        let def = r#"{"fields":[{"name":"n","type":"decimal"},{"name":"t","type":"text"}]}"#;
        store.define(&scope, &name(), &serde_json::from_str(def).unwrap(), now()).await.unwrap();
        go_on.send(()).unwrap();
    };
    let (read, waited, ()) = tokio::join!(reads, waits, change);
    assert_eq!((read.unwrap().0.rows, waited.unwrap().0.rows), (1, 3));
    let mut more = recording(1, 1, 1);
    more.events[0].event_id = EventId(Uuid::from_u128(8));
    store.record(more).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damaged_and_left_alone() {
    let folder = Folder::new();
    let other = "not a database, but somebody's notes. ".repeat(200);
    std::fs::write(folder.file(), &other).unwrap();
    let error = folder.open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains("store.db"), "{error}");
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), other);
}

#[tokio::test]
async fn the_queue_file_is_not_taken_for_the_store() {
    let folder = Folder::new();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("CREATE TABLE lane (x)").unwrap();
    drop(other);
    assert_eq!(folder.open().unwrap_err().kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused() {
    let folder = Folder::new();
    drop(folder.open().unwrap());
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    file.pragma_update(None, "user_version", 1_000).unwrap();
    drop(file);
    assert_eq!(folder.open().unwrap_err().kind(), ErrorKind::Later);
}

/// Damage that appears while the store runs: the read says so, the write says
/// so, and from then on nothing is written.
#[tokio::test]
async fn damage_while_running_stops_all_writes() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    define(&store).await;
    store.record(recording(0, 4_000, 2_000)).await.unwrap();
    drop(store);
    let store = folder.open().unwrap();
    // The pages after the first hold the tables. What was never read is not cached.
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(folder.file()).unwrap();
    let mut header = [0; 100];
    file.read_exact(&mut header).unwrap();
    let size = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(8_192)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(size).unwrap() - 8_192]).unwrap();
    file.sync_all().unwrap();
    let found = read(&store).await.unwrap_err();
    assert_eq!(found.kind(), orderwire_store::ErrorKind::Damaged, "{found}");
    let refused = store.record(recording(1, 1, 1)).await.unwrap_err();
    assert_eq!(refused.kind(), orderwire_store::ErrorKind::Damaged, "{refused}");
    let after = store.revoke_key("k", now()).await.unwrap_err();
    assert_eq!(after.kind(), orderwire_store::ErrorKind::Damaged, "{after}");
    drop(store);
    assert_eq!(folder.open().unwrap_err().kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn a_full_disk_refuses_a_batch_and_keeps_what_is_there() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { page_count_max: Some(200), ..Options::default() };
    let open = || SqliteStore::open(&DataDir::open(root.path()).unwrap(), options.clone()).unwrap();
    let store = open();
    define(&store).await;
    store.record(recording(0, 10, 1_000)).await.unwrap();
    let generation = store.generation(&name());
    let full = store.record(recording(1, 5_000, 1_000)).await.unwrap_err();
    assert_eq!(full.kind(), orderwire_store::ErrorKind::Unavailable, "{full}");
    assert!(full.is_retryable());
    assert_eq!(full.entry(), None, "the event is not at fault");
    assert_eq!(store.position("data").await.unwrap(), 1);
    assert_eq!(store.generation(&name()), generation);
    // What still fits is recorded.
    store.record(recording(1, 10, 1_000)).await.unwrap();
    assert_eq!(read(&store).await.unwrap().rows, 20);
    drop(store);
    let store = open();
    assert_eq!(read(&store).await.unwrap().rows, 20);
    assert_eq!(store.position("data").await.unwrap(), 2);
}

/// Callers that go away do not stop what was handed over, nor those beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_caller_has_gone_disturbs_nobody() {
    let folder = Folder::new();
    let store = Arc::new(folder.open().unwrap());
    define(&store).await;
    for n in 0..20 {
        let call = tokio::spawn({
            let store = store.clone();
            async move { store.record(Recording { reader: format!("gone-{n}"), ..recording(0, 1, 1) }).await }
        });
        call.abort();
        let stays = Recording { reader: format!("stays-{n}"), ..recording(0, 1, 1) };
        store.record(stays).await.unwrap();
    }
    let rows = read(&store).await.unwrap().rows;
    assert!((20..=40).contains(&rows), "{rows}");
}

/// Selects that take every connection for them do not delay a key's look-up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_do_not_wait_for_selects() {
    struct Blocks(std::sync::mpsc::Receiver<()>, Option<tokio::sync::oneshot::Sender<()>>);
    impl RowSink for Blocks {
        fn row(&mut self, _: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
            if let Some(started) = self.1.take() {
                started.send(()).unwrap();
                self.0.recv().ok();
            }
            true
        }
    }
    let folder = Folder::new();
    let store = Arc::new(folder.open().unwrap());
    define(&store).await;
    store.record(recording(0, 1, 1)).await.unwrap();
    let mut releases = Vec::new();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..Options::default().selects {
        let (release, wait) = std::sync::mpsc::channel();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let select = Select {
            dataset: name(),
            columns: Vec::new(),
            filter: Filter::And(Vec::new()),
            latest: Vec::new(),
            order: Vec::new(),
            limit: 1,
            offset: 0,
            count: Count::None,
        };
        let store = store.clone();
        calls.spawn(async move {
            let sink = Box::new(Blocks(wait, Some(started)));
            store.select(&scope(), select, sink, Duration::from_secs(60)).await.map(|(selected, _)| selected)
        });
        has_started.await.unwrap();
        releases.push(release);
    }
    assert_eq!(store.key("none").await.unwrap(), None);
    assert!(store.trace(&scope(), Uuid::nil()).await.unwrap().steps.is_empty());
    drop(releases);
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap().unwrap().rows, 1);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_lies_in_an_open_folder_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let closed = |when: &str| {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name} {when}");
            names.push(name);
        }
        for name in ["lock", "queue.db", "queue.db-wal", "store.db", "store.db-shm", "store.db-wal"] {
            assert!(names.iter().any(|other| other == name), "{name} {when}: {names:?}");
        }
    };
    let open = || {
        let dir = DataDir::open(&path).unwrap();
        let queue = orderwire_sqlite::SqliteQueue::open(&dir, &orderwire_sqlite::Options::default()).unwrap();
        (SqliteStore::open(&dir, Options::default()).unwrap(), queue)
    };
    let (store, queue) = open();
    define(&store).await;
    closed("when new");
    // What a crash of an earlier version leaves.
    let kept = std::fs::read(path.join("store.db-wal")).unwrap();
    drop((store, queue));
    std::fs::write(path.join("store.db-wal"), kept).unwrap();
    for entry in std::fs::read_dir(&path).unwrap() {
        std::fs::set_permissions(entry.unwrap().path(), PermissionsExt::from_mode(0o644)).unwrap();
    }
    let (store, _queue) = open();
    define(&store).await;
    closed("when it was open before");
}
