//! The write-ahead log stays short while reads overlap without end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::{Options, SqliteStore};
use orderwire_store::{Cell, Datasets, Error, ErrorKind, RowSink, Selected};

use super::faults::{define, recording, scope, select};

const LIMIT: u64 = 1 << 20;

struct Bench {
    root: tempfile::TempDir,
    store: SqliteStore,
    written: Written,
}

/// How many writes there were, and whether there will be more.
#[derive(Default)]
struct Written(Arc<(Mutex<(u64, bool)>, Condvar)>);

impl Written {
    fn note(&self, ended: bool) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        *state = (state.0 + 1, ended);
        changed.notify_all();
    }
}

/// Goes on by one row with each write.
struct Slow(Arc<(Mutex<(u64, bool)>, Condvar)>, u64);

impl RowSink for Slow {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        let (state, changed) = &*self.0;
        let state = changed.wait_while(state.lock().unwrap(), |(count, ended)| *count <= self.1 && !*ended);
        self.1 = state.unwrap().0;
        cells.count() > 0
    }
}

impl Bench {
    async fn new(rows: u32) -> Self {
        let root = tempfile::tempdir().unwrap();
        let options = Options { log_bytes_max: LIMIT, selects: 6, ..Options::default() };
        let store = SqliteStore::open(&DataDir::open(root.path()).unwrap(), options).unwrap();
        define(&store).await;
        store.record(recording(0, rows, 1)).await.unwrap();
        Self { root, store, written: Written::default() }
    }

    async fn read(&self, limit: u64) -> Result<Selected, Error> {
        let now = self.written.0.0.lock().unwrap().0;
        let sink = Box::new(Slow(self.written.0.clone(), now));
        let select = select(usize::try_from(limit).unwrap());
        Ok(self.store.select(&scope(), select, sink, Duration::from_secs(60)).await?.0)
    }

    async fn write(&self, position: i64) {
        self.store.record(recording(position, 1, 20_000)).await.unwrap();
        self.written.note(false);
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.root.path().join("store.db-wal")).unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_short_while_reads_overlap() {
    let bench = Bench::new(100).await;
    let ended = AtomicBool::new(false);
    let reads = async |rows: u64| {
        let mut count = 0;
        while !ended.load(Ordering::SeqCst) {
            assert_eq!(bench.read(rows).await.unwrap().rows, rows, "none is ended early");
            count += 1;
        }
        count
    };
    let writes = async {
        let mut longest = 0;
        for position in 1..=600 {
            bench.write(position).await;
            longest = longest.max(bench.log_bytes());
        }
        ended.store(true, Ordering::SeqCst);
        bench.written.note(true);
        longest
    };
    // Of different lengths, so that there is always one.
    let (a, b, c, d, longest) = tokio::join!(reads(3), reads(5), reads(7), reads(9), writes);
    assert!([a, b, c, d].iter().all(|count| *count > 3), "{a} {b} {c} {d}");
    assert!(longest > LIMIT, "{longest}: the limit was never reached");
    assert!(longest < 4 * LIMIT, "{longest} bytes of log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_keeps_the_log_too_long_is_ended() {
    let bench = Bench::new(50_000).await;
    let ended = AtomicBool::new(false);
    let read = async {
        let read = bench.read(50_000).await;
        ended.store(true, Ordering::SeqCst);
        read
    };
    let writes = async {
        let mut position = 1;
        while !ended.load(Ordering::SeqCst) {
            bench.write(position).await;
            position += 1;
        }
        // Emptied between two writes at the latest.
        bench.write(position).await;
        bench.write(position + 1).await;
    };
    let (read, ()) = tokio::join!(read, writes);
    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("write-ahead log"), "{error}");
    assert!(bench.log_bytes() < 2 * LIMIT, "{}", bench.log_bytes());
}
