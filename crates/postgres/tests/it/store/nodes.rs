//! Several processes on one database: here each is a store of its own.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use orderwire_store::orders::{Advance, NewOrder};
use orderwire_store::{Datasets, Defined, ErrorKind, Orders, Store, Turns, testkit};
use orderwire_types::{DatasetName, EventId, Scope};
use uuid::Uuid;

use super::support::{batch, def, numbers, open, rows};
use crate::support::{TestDatabase, connect};

/// What others did is seen within this time. It is a second that is promised, and half of one
/// that it takes at most where nobody tells; a machine that runs tests has other things to do.
const SEEN: Duration = Duration::from_secs(5);

/// Waits until it holds; how long that took.
async fn until(mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "it never holds");
        // tidy: sleep because the other store sees it at a moment of its own
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

fn scope() -> Scope {
    Scope::internal("test")
}

fn name() -> DatasetName {
    "d".parse().unwrap()
}

/// A change on one node is seen by the other: definition, generation, removal.
async fn changes_are_seen(here: &impl Store, there: &impl Store, database: &TestDatabase, deaf: bool) {
    let now = Timestamp::UNIX_EPOCH;
    let mut from = here.position("data").await.unwrap();
    let deafen = async || {
        if deaf {
            // The connections that listen, of both.
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
            let killed = connect(&database.url()).await.query(kill, &[]).await.unwrap();
            assert!(!killed.is_empty(), "nobody listens");
        }
    };
    let made = numbers();
    deafen().await;
    assert_eq!(here.define(&scope(), &name(), &made, now).await.unwrap(), Defined::Created);
    let took = until(|| there.dataset(&scope(), &name()).is_some_and(|found| found.def == made)).await;
    assert!(took < SEEN, "a new dataset: {took:?}");
    let changed = def(r#"{"fields":[{"name":"n","type":"integer"},{"name":"m","type":"text"}]}"#);
    here.define(&scope(), &name(), &changed, now).await.unwrap();
    let took = until(|| there.dataset(&scope(), &name()).is_some_and(|found| found.def == changed)).await;
    assert!(took < SEEN, "a changed dataset: {took:?}");
    for _ in 0..3 {
        let before = there.generation(&name());
        here.record(batch(from, from + 1, r#"{"n":1}"#)).await.unwrap();
        from += 1;
        let ours = here.generation(&name());
        assert!(ours > before, "the node that wrote knows it at once");
        let took = until(|| there.generation(&name()) == ours).await;
        assert!(took < SEEN, "rows: {took:?}");
    }
    here.remove(&scope(), &name()).await.unwrap();
    let took = until(|| there.dataset(&scope(), &name()).is_none()).await;
    assert!(took < SEEN, "a removed dataset: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_changes_the_other_sees_within_a_second() {
    let database = TestDatabase::new().await;
    let (a, b) = (open(&database).await.unwrap(), open(&database).await.unwrap());
    changes_are_seen(&a, &b, &database, false).await;
    changes_are_seen(&b, &a, &database, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_changes_is_seen_though_the_message_is_lost() {
    let database = TestDatabase::new().await;
    let (a, b) = (open(&database).await.unwrap(), open(&database).await.unwrap());
    changes_are_seen(&a, &b, &database, true).await;
}

/// Nobody tells of this change at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_tells_is_looked_for() {
    let database = TestDatabase::new().await;
    let store = open(&database).await.unwrap();
    store.define(&scope(), &name(), &numbers(), Timestamp::UNIX_EPOCH).await.unwrap();
    let client = connect(&database.url()).await;
    for _ in 0..3 {
        let sql = "UPDATE store.dataset SET generation = nextval('store.generation') RETURNING generation";
        let generation: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        let took = until(|| store.generation(&name()) == generation.unsigned_abs()).await;
        assert!(took < SEEN, "{took:?}");
    }
}

/// Before it has heard of it, a node neither writes by an old definition nor reads by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_that_was_made_anew_elsewhere_is_written_and_read_as_it_is() {
    let database = TestDatabase::new().await;
    let (a, b) = (open(&database).await.unwrap(), open(&database).await.unwrap());
    let now = Timestamp::UNIX_EPOCH;
    a.define(&scope(), &name(), &numbers(), now).await.unwrap();
    until(|| b.dataset(&scope(), &name()).is_some()).await;
    b.record(batch(0, 1, r#"{"n":1}"#)).await.unwrap();
    assert_eq!(rows(&b, "n").await.unwrap(), ["Integer(1)"]);
    a.remove(&scope(), &name()).await.unwrap();
    let text = def(r#"{"fields":[{"name":"n","type":"text","required":true}]}"#);
    a.define(&scope(), &name(), &text, now).await.unwrap();
    let wrong = b.record(batch(1, 2, r#"{"n":2}"#)).await.unwrap_err();
    assert_eq!((wrong.kind(), wrong.entry()), (ErrorKind::Invalid, Some(0)), "{wrong}");
    b.record(batch(1, 2, r#"{"n":"x"}"#)).await.unwrap();
    assert_eq!(rows(&b, "n").await.unwrap(), ["Text(\"x\")"]);
    // And by reading first.
    a.remove(&scope(), &name()).await.unwrap();
    a.define(&scope(), &name(), &numbers(), now).await.unwrap();
    a.record(batch(2, 3, r#"{"n":3}"#)).await.unwrap();
    let began = Instant::now();
    let found = loop {
        match rows(&b, "n").await {
            // It may have seen that it was gone.
            Err(error) if error.kind() == ErrorKind::NotFound => assert!(began.elapsed() < SEEN),
            found => break found.unwrap(),
        }
    };
    assert_eq!(found, ["Integer(3)"]);
}

/// The gateway of one node takes rows, the recorder of another gets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_recorded_by_what_another_node_defined_a_moment_ago() {
    let database = TestDatabase::new().await;
    let (a, b) = (open(&database).await.unwrap(), open(&database).await.unwrap());
    let mut fields = String::new();
    for n in 0..10 {
        fields.push_str(&format!(r#"{}{{"name":"c{n}","type":"integer"}}"#, if n == 0 { "" } else { "," }));
        let next = def(&format!(r#"{{"fields":[{fields}]}}"#));
        a.define(&scope(), &name(), &next, Timestamp::UNIX_EPOCH).await.unwrap();
        b.record(batch(n, n + 1, &format!(r#"{{"c{n}":1}}"#))).await.unwrap();
    }
    assert_eq!(rows(&a, "c9").await.unwrap().len(), 10);
}

/// Whoever reads on by `_seq` misses nothing, whichever node recorded it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seq_becomes_visible_in_its_order_on_all_nodes() {
    let database = TestDatabase::new().await;
    let stores = [open(&database).await.unwrap(), open(&database).await.unwrap()];
    stores[0].define(&scope(), &name(), &numbers(), Timestamp::UNIX_EPOCH).await.unwrap();
    until(|| stores[1].dataset(&scope(), &name()).is_some()).await;
    let writers = stores.map(std::sync::Arc::new);
    let mut writing = tokio::task::JoinSet::new();
    for writer in 0..4_i64 {
        let store = writers[usize::try_from(writer).unwrap() % 2].clone();
        writing.spawn(async move {
            for n in 0..25 {
                let mut recording = batch(n, n + 1, r#"[{"n":1},{"n":2},{"n":3}]"#);
                recording.reader = format!("reader-{writer}");
                store.record(recording).await.unwrap();
            }
        });
    }
    let client = connect(&database.url()).await;
    let (mut last, mut seen) = (0_i64, 0);
    while seen < 300 {
        let more =
            client.query("SELECT _seq FROM data.d WHERE _seq > $1 ORDER BY _seq", &[&last]).await.unwrap();
        seen += more.len();
        last = more.last().map_or(last, |row| row.get(0));
        if more.is_empty() && writing.is_empty() {
            break;
        }
        if let Some(done) = writing.try_join_next() {
            done.unwrap();
        }
    }
    assert_eq!(seen, 300, "rows with lower numbers came later");
    let all: i64 = client.query_one("SELECT count(DISTINCT _seq) FROM data.d", &[]).await.unwrap().get(0);
    assert_eq!(all, 300);
}

/// A release has one writer, of all processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_claimed_by_one_node_and_fenced_against_the_other() {
    let database = TestDatabase::new().await;
    let stores = [open(&database).await.unwrap(), open(&database).await.unwrap()].map(std::sync::Arc::new);
    let at = |second: i64| Timestamp::from_second(1_760_000_400 + second).unwrap();
    for n in 1..=20_u128 {
        let mut order = testkit::sample_order(EventId(Uuid::from_u128(n)), at(0));
        order.name = format!("web-{n}");
        let new = NewOrder { order, record_refused: false, steps: Vec::new() };
        stores[0].accept(new).await.unwrap();
    }
    let mut claiming = tokio::task::JoinSet::new();
    for n in 0..8 {
        let store = stores[n % 2].clone();
        claiming.spawn(async move { store.claim("local", 4, at(1), at(30)).await.unwrap() });
    }
    let claims = claiming.join_all().await.concat();
    let mut releases: Vec<Uuid> = claims.iter().map(|claimed| claimed.lease.release).collect();
    releases.sort_unstable();
    releases.dedup();
    assert_eq!((claims.len(), releases.len()), (20, 20), "each release once");
    // The lease of the first node ends, the second one claims: the first writes no more.
    let old = claims[0].lease;
    let again = stores[1].claim("local", 20, at(31), at(60)).await.unwrap();
    assert!(again.iter().any(|claimed| claimed.lease.release == old.release));
    assert_eq!(stores[0].extend(old, at(90)).await.unwrap_err().kind(), ErrorKind::Conflict);
    let order = again.iter().find(|claimed| claimed.lease.release == old.release).unwrap();
    let id = order.order.as_ref().unwrap().id;
    let advance = Advance { at: at(32), ..Default::default() };
    assert_eq!(stores[0].advance(old, id, advance.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
    stores[1].advance(order.lease, id, advance).await.unwrap();
}

/// Whoever waits has it a moment after the other's process, or its way to the server, is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_is_one_nodes_until_it_is_gone() {
    const SOON: Duration = Duration::from_secs(5);
    let database = TestDatabase::new().await;
    let (a, b) = (open(&database).await.unwrap(), open(&database).await.unwrap());
    let mut first = tokio::time::timeout(SOON, a.turn("x")).await.unwrap();
    let waiting = b.turn("x");
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut waiting).await.is_err(), "two have it");
    // Its connection ends: it is told, and the other has it.
    let client = connect(&database.url()).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                AND classid::int8 = 1870094700 AND pid <> pg_backend_pid()";
    assert_eq!(client.query(kill, &[]).await.unwrap().len(), 1, "who has the turn");
    tokio::time::timeout(SOON, first.lost()).await.unwrap();
    let second = tokio::time::timeout(SOON, waiting).await.unwrap();
    // It ends with the value.
    let third = a.turn("x");
    tokio::pin!(third);
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut third).await.is_err(), "two have it");
    drop(second);
    tokio::time::timeout(SOON, third).await.unwrap();
}

/// The reconciler of one node hears of the orders that another takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_one_node_are_noticed_by_the_other_within_a_second() {
    let database = TestDatabase::new().await;
    let (a, b) = (open(&database).await.unwrap(), open(&database).await.unwrap());
    for n in 1..=5_u128 {
        let mut changes = b.changes();
        let mut order = testkit::sample_order(EventId(Uuid::from_u128(n)), Timestamp::UNIX_EPOCH);
        order.name = format!("web-{n}");
        a.accept(NewOrder { order, record_refused: false, steps: Vec::new() }).await.unwrap();
        tokio::time::timeout(SEEN, changes.changed()).await.expect("it is noticed").unwrap();
    }
    // And nothing is noticed when nothing changes, so that nobody looks in vain.
    // tidy: sleep because it is waited for nothing to come
    tokio::time::sleep(SEEN).await;
    let mut changes = b.changes();
    changes.borrow_and_update();
    assert!(tokio::time::timeout(SEEN, changes.changed()).await.is_err(), "a change out of nothing");
}
