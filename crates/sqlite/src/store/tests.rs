//! What needs a job of its own making.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use orderwire_store::{Datasets, Defined, ErrorKind, Keys, Recording, RowsEvent, Source, Sweep};
use orderwire_types::{EventId, RawJson, Scope};
use uuid::Uuid;

use super::open::{Options, SqliteStore};
use crate::lock::DataDir;

fn open(root: &tempfile::TempDir) -> SqliteStore {
    let options = Options { page_count_max: Some(200), ..Options::default() };
    SqliteStore::open(&DataDir::open(root.path()).unwrap(), options).unwrap()
}

#[tokio::test]
async fn after_a_panic_nothing_is_written_and_everybody_is_told() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    store.skip("r", 0, 5).await.unwrap();
    let panicking = store.write("moving on", |transaction| -> Result<(), _> {
        transaction.connection.execute("UPDATE reader SET position = 6", [])?;
        panic!("on purpose")
    });
    let told = panicking.await.unwrap_err();
    let later = store.skip("r", 5, 7).await.unwrap_err();
    // Which readiness asks for.
    let position = store.position("r").await.unwrap_err();
    for error in [told, later, position] {
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.to_string().contains("restart"), "{error}");
    }
    assert_eq!(store.key("k").await.unwrap(), None, "reads go on");
    drop(store);
    assert_eq!(open(&root).position("r").await.unwrap(), 5, "half a write is none");
}

/// Else what waits for a writer that hangs would be taken to be at fault.
#[tokio::test]
async fn a_position_is_told_behind_the_writes_that_came_before() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let mut hangs = std::pin::pin!(store.write("moving on", move |transaction| {
        wait.recv().ok();
        let sql = "INSERT INTO reader VALUES ('r', 5)";
        Ok(transaction.connection.execute(sql, []).map(drop)?)
    }));
    // It is handed over, and no more.
    tokio::select! {
        biased;
        done = &mut hangs => panic!("{done:?}"),
        () = std::future::ready(()) => {}
    }
    let mut position = std::pin::pin!(store.position("r"));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut position).await;
    assert!(early.is_err(), "{early:?}");
    drop(release);
    hangs.await.unwrap();
    assert_eq!(position.await.unwrap(), 5);
}

#[tokio::test]
async fn a_write_that_cannot_be_done_fails_alone() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let begun = std::sync::Mutex::new(Some(begun));
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let first = store.write("waiting", move |_| {
        begun.lock().unwrap().take().map(|begun| begun.send(()));
        wait.recv().ok();
        Ok(())
    });
    let too_much = store.write("writing too much", |transaction| {
        let sql = "INSERT INTO import VALUES ('d', 'c', hex(zeroblob(4000000)), 0, 1)";
        Ok(transaction.connection.execute(sql, []).map(drop)?)
    });
    let runs = Arc::new(AtomicUsize::new(0));
    let little = |reader: &'static str| {
        let runs = runs.clone();
        store.write("writing little", move |transaction| {
            runs.fetch_add(1, Ordering::SeqCst);
            let sql = "INSERT INTO reader VALUES (?1, 3)";
            Ok(transaction.connection.execute(sql, [reader]).map(drop)?)
        })
    };
    let others = async {
        has_begun.await.unwrap();
        // Polled in turn, so that all wait when the writer goes on.
        let release = async { drop(release) };
        tokio::join!(little("a"), too_much, little("b"), release)
    };
    let (first, (a, too_much, b, ())) = tokio::join!(first, others);
    first.unwrap();
    a.unwrap();
    b.unwrap();
    let too_much = too_much.unwrap_err();
    assert_eq!(too_much.kind(), ErrorKind::Unavailable, "{too_much}");
    assert_eq!(runs.load(Ordering::SeqCst), 3, "one ran in the transaction that was taken back");
    drop(store);
    let store = open(&root);
    assert_eq!((store.position("a").await.unwrap(), store.position("b").await.unwrap()), (3, 3));
}

/// Dropping a table takes as long as it is large, and all other writes wait.
#[tokio::test]
async fn the_rows_of_a_removed_dataset_go_a_piece_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    let (scope, name, now) = (Scope::internal("test"), "d".parse().unwrap(), Timestamp::UNIX_EPOCH);
    let def = r#"{"fields":[{"name":"at","type":"timestamp"},{"name":"k","type":"text","required":true}],
        "time":"at","key":["k"]}"#;
    let def = serde_json::from_str(def).unwrap();
    // Twice, as one of the same name may come and go before the first is swept.
    for _ in 0..2 {
        assert_eq!(store.define(&scope, &name, &def, now).await.unwrap(), Defined::Created);
        let fill = |transaction: &mut super::writer::Transaction<'_>| {
            let sql = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 25)
                INSERT INTO data_d SELECT x, 'c', x'', x'', 0, x, x FROM n";
            Ok(transaction.connection.execute(sql, []).map(drop)?)
        };
        store.write("filling", fill).await.unwrap();
        store.remove(&scope, &name).await.unwrap();
    }
    let timeless = serde_json::from_str(r#"{"fields":[{"name":"k","type":"text"}]}"#).unwrap();
    store.define(&scope, &name, &timeless, now).await.unwrap();
    let tables = async || {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'gone_*' OR name GLOB '*_d#*'";
        store.look_up("counting", |db| db.query_row(sql, [], |row| row.get::<_, i64>(0))).await.unwrap()
    };
    assert_eq!(tables().await, 2 * 6 + 1, "tables and indexes of both, and an index of the third");
    let sweep = Sweep { now, traces_before: now, remembered_before: now, limit: 20 };
    for swept in [20, 20, 10, 0] {
        assert_eq!(store.sweep(sweep).await.unwrap(), swept);
    }
    assert_eq!(tables().await, 1);
    assert!(store.dataset(&scope, &name).is_some());
}

/// What a transaction that failed has remembered was not recorded.
#[tokio::test]
async fn memory_and_file_agree_after_a_transaction_that_failed() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root);
    let def = serde_json::from_str(r#"{"fields":[{"name":"n","type":"integer"}]}"#).unwrap();
    store.define(&Scope::internal("test"), &"d".parse().unwrap(), &def, Timestamp::UNIX_EPOCH).await.unwrap();
    let recording = |n| Recording {
        reader: "data".to_owned(),
        source: Source::Broker,
        events: vec![RowsEvent {
            dataset: "d".parse().unwrap(),
            client: "c".parse().unwrap(),
            event_id: EventId(Uuid::from_u128(n)),
            trace: Uuid::from_u128(n),
            rows: RawJson::parse(r#"{"n":1}"#.to_owned()).unwrap(),
            accepted_at: Timestamp::UNIX_EPOCH,
            import: None,
            remembered: true,
        }],
        now: Timestamp::UNIX_EPOCH,
    };
    let is_repeated = async |n| store.record(recording(n)).await.unwrap()[0].repeated;
    assert!(!is_repeated(1).await);
    let failing = recording(2);
    let failing = store.write("recording", move |transaction| -> Result<(), _> {
        super::record::record(transaction, &failing)?;
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        Err(super::error::Failure::Engine(rusqlite::Error::SqliteFailure(full, None)))
    });
    assert_eq!(failing.await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!([is_repeated(1).await, is_repeated(2).await, is_repeated(2).await], [true, false, true]);
}
