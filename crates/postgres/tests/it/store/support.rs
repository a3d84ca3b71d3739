//! Stores on databases of a test's own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_postgres::store::{Options, PostgresStore};
use orderwire_store::testkit::Factory;
use orderwire_store::{Cell, Column, Count, Filter, Recording, RowSink, RowsEvent, Select, Source, Store};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::{EventId, RawJson, Scope};
use uuid::Uuid;

use crate::support::{TestDatabase, connect};

/// Opens the store of a database.
pub(super) async fn open(database: &TestDatabase) -> Result<PostgresStore, orderwire_postgres::Error> {
    PostgresStore::open(Options::new(database.options())).await
}

/// A database for one case after the other, which is emptied before it is opened first: making
/// one takes the server long.
pub(super) struct Place {
    database: Arc<TestDatabase>,
    is_empty: AtomicBool,
}

impl Place {
    pub(super) fn on(database: &Arc<TestDatabase>) -> Self {
        Self { database: database.clone(), is_empty: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Factory for Place {
    async fn open(&self) -> Result<Arc<dyn Store>, String> {
        if !self.is_empty.swap(true, Ordering::SeqCst) {
            let client = connect(&self.database.url()).await;
            let ours = "DROP SCHEMA IF EXISTS store, data, orderwire CASCADE";
            client.batch_execute(ours).await.map_err(|error| format!("emptying the database: {error}"))?;
        }
        match open(&self.database).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(format!("opening the store: {error}")),
        }
    }
}

/// A definition.
pub(super) fn def(json: &str) -> DatasetDef {
    serde_json::from_str(json).unwrap()
}

/// A definition with one column.
pub(super) fn numbers() -> DatasetDef {
    def(r#"{"fields":[{"name":"n","type":"integer"}]}"#)
}

/// A batch of one event for dataset `d`, whose id follows from its position.
pub(super) fn batch(from: i64, to: i64, rows: &str) -> Recording {
    let event_id = Uuid::from_u128(u128::from(from.unsigned_abs()) + 1);
    let event = RowsEvent {
        dataset: "d".parse().unwrap(),
        client: "acme".parse().unwrap(),
        event_id: EventId(event_id),
        trace: event_id,
        rows: RawJson::parse(rows.to_owned()).unwrap(),
        accepted_at: Timestamp::UNIX_EPOCH,
        import: None,
        remembered: false,
    };
    let source = Source::Stream { from, to };
    Recording { reader: "data".to_owned(), source, events: vec![event], now: Timestamp::UNIX_EPOCH }
}

/// A read of one column of dataset `d`, in order of arrival.
pub(super) fn column(name: &str) -> Select {
    Select {
        dataset: "d".parse().unwrap(),
        columns: vec![Column::named(name, name)],
        filter: Filter::And(Vec::new()),
        latest: Vec::new(),
        order: Vec::new(),
        limit: 1_000_000,
        offset: 0,
        count: Count::None,
    }
}

/// What a read finds, as texts that show the types.
pub(super) async fn read(
    store: &dyn Store,
    select: Select,
    time_out: Duration,
) -> Result<Vec<String>, orderwire_store::Error> {
    let texts = Arc::new(Mutex::new(Vec::new()));
    let sink = Box::new(Texts(texts.clone()));
    store.select(&Scope::internal("test"), select, sink, time_out).await?;
    Ok(std::mem::take(&mut *texts.lock().unwrap()))
}

/// All rows of a column.
pub(super) async fn rows(store: &dyn Store, name: &str) -> Result<Vec<String>, orderwire_store::Error> {
    read(store, column(name), Duration::from_secs(30)).await
}

struct Texts(Arc<Mutex<Vec<String>>>);

impl RowSink for Texts {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        let row = cells.map(|cell| format!("{cell:?}")).collect::<Vec<_>>().join(" ");
        self.0.lock().unwrap().push(row);
        true
    }
}
