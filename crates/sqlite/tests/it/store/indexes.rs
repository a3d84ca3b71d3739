//! Reads over all clients, and the indexes that they go by.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::{Options, SqliteStore};
use orderwire_store::{
    Cell, Column, Compare, Count, Datasets, Filter, Nulls, Operand, OrderBy, Recording, RowSink, RowsEvent,
    Select, Source,
};
use orderwire_types::{DatasetName, EventId, RawJson, Scope, TraceId};
use uuid::Uuid;

use super::support::Folder;

const DEF: &str = r#"{"fields":[{"name":"k","type":"text","required":true},
    {"name":"n","type":"integer","required":true},{"name":"at","type":"timestamp"}],
    "key":["k","n"],"time":"at"}"#;

fn name() -> DatasetName {
    "d".parse().unwrap()
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + second).unwrap()
}

/// A row as it was recorded last.
#[derive(Clone, Debug)]
struct Row {
    seq: i64,
    client: &'static str,
    k: &'static str,
    n: i64,
    at: Option<i64>,
}

/// Fills a store with rows of four clients which share keys and moments; some
/// take the place of others, some have no time. Returns what is there then.
async fn fill(store: &SqliteStore) -> Vec<Row> {
    store
        .define(&Scope::internal("test"), &name(), &serde_json::from_str(DEF).unwrap(), moment(0))
        .await
        .unwrap();
    let mut rows = BTreeMap::new();
    for seq in 1..=240 {
        let client = ["a", "b", "c", "d"][usize::try_from(seq * 7 % 4).unwrap()];
        let k = ["x", "y", "z"][usize::try_from(seq / 4 % 3).unwrap()];
        let at = (seq % 11 > 0).then_some(seq * 37 % 13);
        let row = Row { seq, client, k, n: seq * 5 % 19, at };
        let time = row.at.map_or_else(|| "null".to_owned(), |at| format!("\"{}\"", moment(at)));
        let json = format!(r#"{{"k":"{k}","n":{},"at":{time}}}"#, row.n);
        let event = RowsEvent {
            dataset: name(),
            client: client.parse().unwrap(),
            event_id: EventId(Uuid::from_u128(u128::try_from(seq).unwrap())),
            trace: TraceId::from_given("t").id,
            rows: RawJson::parse(json).unwrap(),
            accepted_at: moment(0),
            import: None,
            remembered: false,
        };
        let source = Source::Stream { from: seq - 1, to: seq };
        let reader = "data".to_owned();
        store.record(Recording { reader, source, events: vec![event], now: moment(0) }).await.unwrap();
        rows.insert((client, k, row.n), row);
    }
    assert!(rows.len() < 240, "some took the place of others");
    rows.into_values().collect()
}

struct Seqs(Arc<Mutex<Vec<i64>>>);

impl RowSink for Seqs {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        let Some(Cell::Integer(seq)) = cells.next() else { panic!("no _seq") };
        self.0.lock().unwrap().push(seq);
        true
    }
}

/// The `_seq` of each row, and how many there are in all.
async fn read(store: &SqliteStore, select: Select) -> (Vec<i64>, Option<u64>) {
    let seqs = Arc::new(Mutex::new(Vec::new()));
    let sink = Box::new(Seqs(seqs.clone()));
    let (selected, _) =
        store.select(&Scope::internal("test"), select, sink, Duration::from_secs(60)).await.unwrap();
    let seqs = seqs.lock().unwrap().clone();
    (seqs, selected.total)
}

fn of(filter: Filter, order: &[OrderBy]) -> Select {
    Select {
        dataset: name(),
        columns: vec![Column::named("_seq", "_seq")],
        filter,
        latest: Vec::new(),
        order: order.to_vec(),
        limit: 1_000,
        offset: 0,
        count: Count::Exact,
    }
}

fn compare(column: &str, compare: Compare) -> Filter {
    Filter::Compare { column: column.into(), compare }
}

type Test = fn(&Row) -> bool;

/// Conditions, and what they mean.
fn filters() -> Vec<(Filter, Test)> {
    let text = |text: &str| Operand::Text(text.to_owned());
    let at = |second| Operand::Timestamp(moment(second));
    let x = || compare("k", Compare::Eq(text("x")));
    let from = || compare("at", Compare::Gte(at(4)));
    let until = || compare("at", Compare::Lt(at(9)));
    vec![
        (Filter::And(Vec::new()), |_| true),
        (x(), |row| row.k == "x"),
        (compare("k", Compare::In(vec![text("z"), text("x")])), |row| row.k != "y"),
        (Filter::And(vec![x(), compare("n", Compare::Eq(Operand::Integer(5)))]), |row| {
            row.k == "x" && row.n == 5
        }),
        (from(), |row| row.at.is_some_and(|at| at >= 4)),
        (until(), |row| row.at.is_some_and(|at| at < 9)),
        (Filter::And(vec![from(), until()]), |row| row.at.is_some_and(|at| (4..9).contains(&at))),
        (Filter::And(vec![x(), from(), until()]), |row| {
            row.k == "x" && row.at.is_some_and(|at| (4..9).contains(&at))
        }),
        (compare("at", Compare::Eq(at(7))), |row| row.at == Some(7)),
        (compare("at", Compare::IsNull), |row| row.at.is_none()),
        (Filter::And(vec![x(), compare("_client", Compare::Eq(text("b")))]), |row| {
            row.k == "x" && row.client == "b"
        }),
        (Filter::And(vec![x(), compare("_client", Compare::Neq(text("b")))]), |row| {
            row.k == "x" && row.client != "b"
        }),
    ]
}

type Order = fn(&Row, &Row) -> Ordering;

/// Orders, and what they mean; ties are in order of arrival. `None` is less
/// than any moment.
fn orders() -> Vec<(Vec<OrderBy>, Order)> {
    let by = |column: &str, descending, nulls| OrderBy { column: column.into(), descending, nulls };
    vec![
        (Vec::new(), |_, _| Ordering::Equal),
        (vec![by("at", false, Nulls::First)], |a, b| a.at.cmp(&b.at)),
        (vec![by("at", false, Nulls::Last)], |a, b| (a.at.is_none(), a.at).cmp(&(b.at.is_none(), b.at))),
        (vec![by("at", true, Nulls::Last)], |a, b| b.at.cmp(&a.at)),
        (vec![by("n", true, Nulls::Last)], |a, b| b.n.cmp(&a.n)),
        (vec![by("k", false, Nulls::Last), by("n", false, Nulls::Last)], |a, b| (a.k, a.n).cmp(&(b.k, b.n))),
    ]
}

/// Every condition in every order, whole and page by page.
async fn reads_are_right(store: &SqliteStore, rows: &[Row]) {
    for (filter, test) in filters() {
        for (order, compares) in orders() {
            let what = format!("{filter:?} {order:?}");
            let mut expected: Vec<&Row> = rows.iter().filter(|row| test(row)).collect();
            expected.sort_by(|a, b| compares(a, b).then(a.seq.cmp(&b.seq)));
            let expected: Vec<i64> = expected.iter().map(|row| row.seq).collect();
            assert!(!expected.is_empty(), "{what}");
            let total = Some(expected.len() as u64);
            let select = of(filter.clone(), &order);
            assert_eq!(read(store, select.clone()).await, (expected.clone(), total), "{what}");
            let mut paged = Vec::new();
            for offset in (0..expected.len() as u64).step_by(7) {
                let (page, of_all) = read(store, Select { limit: 7, offset, ..select.clone() }).await;
                assert_eq!(of_all, total, "{what}");
                paged.extend(page);
            }
            assert_eq!(paged, expected, "pages of {what}");
        }
        // Pages by what was seen last.
        let mut expected: Vec<i64> = rows.iter().filter(|row| test(row)).map(|row| row.seq).collect();
        expected.sort_unstable();
        let mut paged = Vec::new();
        loop {
            let seen = paged.last().copied().unwrap_or(0);
            let after = compare("_seq", Compare::Gt(Operand::Integer(seen)));
            let both = Filter::And(vec![filter.clone(), after]);
            let (page, _) = read(store, Select { limit: 7, ..of(both, &[]) }).await;
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, expected, "pages by _seq of {filter:?}");
    }
}

#[tokio::test]
async fn reads_over_all_clients_find_every_row_once_and_in_order() {
    let folder = Folder::new();
    let store = folder.open().unwrap();
    let rows = fill(&store).await;
    reads_are_right(&store, &rows).await;
}

/// Every index with the statement that made it, and what is wrong with the file.
fn indexes(folder: &Folder) -> (Vec<(String, String)>, String) {
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND name LIKE '%#%' ORDER BY name";
    let mut statement = file.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let check = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    (rows.collect::<rusqlite::Result<_>>().unwrap(), check)
}

/// Makes of the file what the version before all-client indexes left.
fn without_all(folder: &Folder) {
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    let sql = "DROP INDEX \"all_key_d#1\"; DROP INDEX \"all_time_d#1\"; VACUUM";
    file.execute_batch(sql).unwrap();
}

fn names(indexes: &[(String, String)]) -> Vec<&str> {
    indexes.iter().map(|(name, _)| name.split('#').next().unwrap()).collect()
}

#[tokio::test]
async fn a_store_of_the_version_before_gets_the_indexes_of_all_clients_at_opening() {
    let folder = Folder::new();
    let rows = fill(&folder.open().unwrap()).await;
    without_all(&folder);
    let (before, _) = indexes(&folder);
    assert_eq!(names(&before), ["client_d", "key_d", "time_d"]);
    let store = folder.open().unwrap();
    reads_are_right(&store, &rows).await;
    drop(store);
    let (after, check) = indexes(&folder);
    assert_eq!(names(&after), ["all_key_d", "all_time_d", "client_d", "key_d", "time_d"]);
    assert!(before.iter().all(|index| after.contains(index)), "the others stay: {after:?}");
    assert_eq!(check, "ok");
    // Nothing more is to be done.
    drop(folder.open().unwrap());
    assert_eq!(indexes(&folder).0, after);
}

/// Rows matter more than what they cost.
#[tokio::test]
async fn a_store_without_room_for_its_indexes_opens_without_them() {
    let folder = Folder::new();
    let rows = fill(&folder.open().unwrap()).await;
    without_all(&folder);
    let (before, _) = indexes(&folder);
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    let pages = file.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    drop(file);
    let options = Options { page_count_max: Some(pages), ..Options::default() };
    let dir = DataDir::open(folder.file().parent().unwrap()).unwrap();
    let store = SqliteStore::open(&dir, options).unwrap();
    reads_are_right(&store, &rows).await;
    drop((store, dir));
    assert_eq!(indexes(&folder), (before, "ok".to_owned()));
    drop(folder.open().unwrap());
    assert_eq!(indexes(&folder).0.len(), 5, "once there is room");
}
