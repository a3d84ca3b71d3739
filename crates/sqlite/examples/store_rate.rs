//! How fast rows are recorded and read: `cargo run --release -p
//! orderwire-sqlite --example store_rate -- [rows] [rows per event] [events per batch]`.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::{Options, SqliteStore};
use orderwire_store::{
    Cell, Column, Compare, Count, Datasets, Filter, Operand, Recording, RowSink, RowsEvent, Select, Source,
};
use orderwire_types::{Client, DatasetName, EventId, RawJson, Scope};
use uuid::Uuid;

type Fault = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (rows, per_event, per_batch) = (next(100_000)?, next(500)?, next(8)?);
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(&DataDir::open(folder.path())?, Options::default())?;
    for (name, more) in
        [("plain", ""), ("keyed", r#","key":["id_entity","TimeInstant"],"time":"TimeInstant""#)]
    {
        let name: DatasetName = name.parse()?;
        define(&store, &name, more).await?;
        record(&store, &name, rows, per_event, per_batch).await?;
        read(&store, &name).await?;
    }
    Ok(())
}

async fn define(store: &SqliteStore, name: &DatasetName, more: &str) -> Result<(), Fault> {
    let float = |name: &str| format!(r#"{{"name":"{name}","type":"float"}}"#);
    let floats = ["so2", "no2", "co", "o3", "pm10", "pm2_5"].map(float).join(",");
    let def = format!(
        r#"{{"fields":[{{"name":"TimeInstant","type":"timestamp","required":true}},
        {{"name":"id_entity","type":"text","required":true}},{floats}]{more}}}"#
    );
    store.define(&Scope::internal("rate"), name, &serde_json::from_str(&def)?, Timestamp::now()).await?;
    Ok(())
}

async fn record(
    store: &SqliteStore,
    name: &DatasetName,
    rows: u64,
    per_event: u64,
    per_batch: u64,
) -> Result<(), Fault> {
    let mut at = Timestamp::from_second(1_700_000_000)?;
    let mut made = 0;
    let mut batches = Vec::new();
    while made < rows {
        let mut events = Vec::new();
        for _ in 0..per_batch {
            let mut json = Vec::new();
            for _ in 0..per_event {
                let station = made % 10;
                at += jiff::SignedDuration::from_secs(i64::from(station == 0));
                json.push(format!(
                    r#"{{"TimeInstant":"{at}","id_entity":"station-{station}","so2":1.25,"no2":{made}.5,"co":0.125,"o3":61.0,"pm10":12.75,"pm2_5":7.5}}"#
                ));
                made += 1;
            }
            events.push(RowsEvent {
                dataset: name.clone(),
                client: Client::default_client(),
                event_id: EventId(Uuid::now_v7()),
                trace: Uuid::now_v7(),
                rows: RawJson::parse(format!("[{}]", json.join(",")))?,
                accepted_at: at,
                import: None,
                remembered: false,
            });
        }
        batches.push(events);
    }
    let count = batches.len();
    let start = Instant::now();
    for (position, events) in (0..).zip(batches) {
        let reader = name.to_string();
        store
            .record(Recording {
                reader,
                source: Source::Stream { from: position, to: position + 1 },
                events,
                now: Timestamp::now(),
            })
            .await?;
    }
    report(&format!("{name}: recorded {made} rows in {count} batches"), made, start.elapsed());
    Ok(())
}

struct Counts(u64);

impl RowSink for Counts {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        self.0 += cells.count() as u64;
        true
    }
}

async fn read(store: &SqliteStore, name: &DatasetName) -> Result<(), Fault> {
    let column = |name: &str| Column::named(name, name);
    let all = Select {
        dataset: name.clone(),
        columns: ["TimeInstant", "id_entity", "so2", "pm2_5"].map(column).into(),
        filter: Filter::And(Vec::new()),
        latest: Vec::new(),
        order: Vec::new(),
        limit: usize::MAX,
        offset: 0,
        count: Count::None,
    };
    let own =
        Scope::internal("rate").narrowed_to(&Client::default_client()).expect("an internal scope covers all");
    let after = |seq| Filter::Compare { column: "_seq".into(), compare: Compare::Gt(Operand::Integer(seq)) };
    let recent = Filter::Compare {
        column: "TimeInstant".into(),
        compare: Compare::Lt(Operand::Timestamp(Timestamp::from_second(1_700_000_010)?)),
    };
    for (what, select) in [
        ("all rows", all.clone()),
        ("first page of 100 by _seq", Select { limit: 100, filter: after(0), ..all.clone() }),
        ("late page of 100 by _seq", Select { limit: 100, filter: after(90_000), ..all.clone() }),
        ("ten seconds by time", Select { filter: recent, ..all }),
    ] {
        for scope in [&Scope::internal("rate"), &own] {
            let start = Instant::now();
            let (selected, _) =
                store.select(scope, select.clone(), Box::new(Counts(0)), Duration::from_secs(60)).await?;
            report(&format!("{name}: {what}, {:?}", scope.clients), selected.rows, start.elapsed());
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn report(what: &str, rows: u64, took: Duration) {
    println!("{what}: {rows} rows in {took:.1?}, {:.0} rows/s", rows as f64 / took.as_secs_f64());
}
