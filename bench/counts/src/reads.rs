//! Paths of the store and of what is read from it.

use anyhow::{Result, ensure};
use orderwire_store::{Recording, RowsEvent, Source, Store};
use orderwire_types::{Client, EventId, RawJson};
use uuid::Uuid;

use crate::inputs;
use crate::path::Run;
use crate::server::{Server, VIEW};

/// Batches of rows that are there: 150 rows of each station.
const REST_BATCHES: usize = 3;
/// The same for the view, which shows them all.
const VIEW_BATCHES: usize = 5;
/// The smallest body of the view, in bytes.
const VIEW_BYTES_MIN: usize = 300_000;

pub(crate) async fn record(run: Run) -> Result<()> {
    let server = Server::start(&run).await?;
    let batches = (0..run.times_max).map(event).collect::<Result<Vec<_>>>()?;
    for (batch, event) in (0..).zip(batches).take(run.times) {
        record_one(server.store.as_ref(), batch, event).await?;
    }
    Ok(())
}

pub(crate) async fn rest(run: Run) -> Result<()> {
    let server = with_rows(&run, REST_BATCHES).await?;
    let path = "/rest/air?select=TimeInstant,id_entity,so2,no2,co,o3,pm10,pm2_5&id_entity=eq.air-station-03\
                &no2=gte.1&order=TimeInstant.desc&limit=100";
    for _ in 0..run.times {
        let body = server.get(path).await?;
        let rows = body.iter().filter(|byte| **byte == b'{').count();
        ensure!(rows == 100, "{rows} rows instead of 100");
    }
    Ok(())
}

pub(crate) async fn view_hit(run: Run) -> Result<()> {
    let server = with_rows(&run, VIEW_BATCHES).await?;
    server.get(VIEW).await?;
    for _ in 0..run.times {
        let body = server.get(VIEW).await?;
        ensure!(body.len() >= VIEW_BYTES_MIN, "the view has only {} bytes", body.len());
        ensure!(body.ends_with(br#""cache": true}"#), "the view does not come from the cache");
    }
    Ok(())
}

async fn with_rows(run: &Run, batches: usize) -> Result<Server> {
    let server = Server::start(run).await?;
    for batch in 0..batches {
        record_one(server.store.as_ref(), i64::try_from(batch)?, event(batch)?).await?;
    }
    Ok(server)
}

/// The event of one batch of rows.
fn event(batch: usize) -> Result<RowsEvent> {
    let number = u128::try_from(batch)?;
    Ok(RowsEvent {
        dataset: "air".parse()?,
        client: Client::default_client(),
        event_id: EventId(Uuid::from_u128(1 + number)),
        trace: Uuid::from_u128(1_000 + number),
        rows: RawJson::parse(format!("[{}]", inputs::rows(batch).join(",")))?,
        accepted_at: inputs::now(),
        import: None,
        remembered: false,
    })
}

/// Records a batch as the stream's entry `batch + 1`.
async fn record_one(store: &dyn Store, batch: i64, event: RowsEvent) -> Result<()> {
    let recording = Recording {
        reader: "data".to_owned(),
        source: Source::Stream { from: batch, to: batch + 1 },
        events: vec![event],
        now: inputs::now(),
    };
    let recorded = store.record(recording).await?;
    ensure!(
        recorded.iter().all(|event| event.written == inputs::ROWS as u64),
        "every row is new: {recorded:?}"
    );
    Ok(())
}
