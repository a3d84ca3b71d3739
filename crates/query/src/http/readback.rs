//! Rows read back after they were written, for callers that ask for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use orderwire_api::{Caller, Problem};
use orderwire_cache::Cache;
use orderwire_store::{
    Cell, Column, Compare, Count, Dataset, Error as StoreError, Filter, Nulls, Operand, OrderBy, RowSink,
    Select, Store,
};
use orderwire_types::dataset::OnConflict;
use orderwire_types::{Client, EventId, Right, Scope, identity};
use tokio::time::Instant;
use uuid::Uuid;

use super::Service;
use super::answer::fresh;
use super::headers::Media;
use super::load::{Asked, check, load};
use super::rest::unknown;
use crate::cached::Cached;
use crate::dialect::Query;
use crate::error::Error;
use crate::options::Options;

/// The most rows that are read back.
const ROWS_MAX: u64 = 5_000;

/// How long rows are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two looks at what is in memory; it grows up to the longest.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// How often the store is asked at least, whatever is in memory.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Reads back what was written.
#[derive(Clone)]
pub struct Readback {
    service: Arc<Service>,
    store: Arc<dyn Store>,
}

/// What is to be read back, once it is recorded.
pub struct Expected {
    readback: Readback,
    scope: Arc<Scope>,
    dataset: Arc<Dataset>,
    query: Query,
    media: Media,
    /// What was there before.
    after: i64,
}

impl Readback {
    /// Over this store. Nothing that is read back is cached.
    pub fn new(options: Options, store: Arc<dyn Store>, cache: Arc<dyn Cache>) -> Self {
        let cached = Cached::new(cache, &options);
        Self { service: Arc::new(Service { store: store.clone(), cached, options }), store }
    }

    /// What a caller that is about to write rows of a client asks for: to be called before
    /// they are written, because afterwards it is too late to refuse.
    ///
    /// # Errors
    /// When the caller may not read, or asks for what is not there.
    pub async fn expect(
        &self,
        caller: &Caller,
        client: &Client,
        dataset: &str,
        select: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Expected, Error> {
        caller.require(Right::Read)?;
        caller.covering(client)?;
        let scope = Arc::new(
            caller
                .scope
                .narrowed_to(client)
                .ok_or_else(|| Problem::forbidden("the client is outside the scope of this key"))?,
        );
        let name = dataset.parse().ok();
        let dataset = name
            .and_then(|name| self.service.store.dataset(&scope, &name))
            .ok_or_else(|| unknown(dataset))?;
        let media = Media::accepted(headers)?;
        let query = Query::selecting(select)?;
        check(&self.service, &dataset, Asked { query: &query, media, count: Count::None, also: None })?;
        let expected = Expected { readback: self.clone(), scope, dataset, query, media, after: 0 };
        let after = expected.last().await?;
        Ok(Expected { after, ..expected })
    }
}

impl Expected {
    /// The rows of an event, once they are recorded; `None` when they are not in time.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn rows(&self, event: EventId, trace: Uuid, count: u64) -> Result<Option<Response>, Error> {
        if count > ROWS_MAX {
            return Ok(None);
        }
        let of_the_event = self.of(event, count);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Before the look, so that nothing is missed.
            let generation = self.readback.service.store.generation(&self.dataset.name);
            if self.is_recorded(event, trace).await? || self.count(&of_the_event).await? >= count {
                break;
            }
            let ask_again = Instant::now() + ASK_EVERY;
            let mut pause = PAUSE;
            while self.readback.service.store.generation(&self.dataset.name) == generation
                && Instant::now() < ask_again
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
        // Those of a request that came before are older than this one; which they are is not told.
        let keeps = self.dataset.def.on_conflict == OnConflict::Keep;
        if !keeps && self.count(&of_the_event).await? == 0 {
            return Ok(None);
        }
        let asked =
            Asked { query: &self.query, media: self.media, count: Count::None, also: Some(of_the_event) };
        let (body, meta) = load(&self.readback.service, &self.scope, &self.dataset, asked).await?;
        Ok(Some(fresh(StatusCode::CREATED, body, &meta)))
    }

    /// The rows of an event.
    fn of(&self, event: EventId, count: u64) -> Filter {
        let ids = (0..count).map(|index| Operand::Uuid(identity::row_id(event, index))).collect();
        Filter::And(vec![
            Filter::Compare { column: "_seq".into(), compare: Compare::Gt(Operand::Integer(self.after)) },
            Filter::Compare { column: "_event_id".into(), compare: Compare::In(ids) },
        ])
    }

    /// Whether the trace says that the event was recorded: not all of its rows need be there.
    async fn is_recorded(&self, event: EventId, trace: Uuid) -> Result<bool, Error> {
        let view = self.readback.store.trace(&self.scope, trace).await?;
        Ok(view.steps.iter().any(|step| step.step == "recorded" && step.event_id == Some(event.0)))
    }

    async fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let select = Select { filter: filter.clone(), count: Count::Exact, ..self.newest(0) };
        Ok(self.select(select).await?.1.unwrap_or_default())
    }

    /// The `_seq` of the newest row.
    async fn last(&self) -> Result<i64, Error> {
        Ok(self.select(self.newest(1)).await?.0.unwrap_or_default())
    }

    fn newest(&self, limit: usize) -> Select {
        Select {
            dataset: self.dataset.name.clone(),
            columns: vec![Column::named("_seq", "_seq")],
            filter: Filter::And(Vec::new()),
            latest: Vec::new(),
            order: vec![OrderBy { column: "_seq".into(), descending: true, nulls: Nulls::Last }],
            limit,
            offset: 0,
            count: Count::None,
        }
    }

    async fn select(&self, select: Select) -> Result<(Option<i64>, Option<u64>), StoreError> {
        let seq = Arc::new(Mutex::new(None));
        let sink = Box::new(Seq(seq.clone()));
        let Service { store, options, .. } = &*self.readback.service;
        let (selected, _) = store.select(&self.scope, select, sink, options.time_out).await?;
        let seq = *seq.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((seq, selected.total))
    }
}

/// Keeps the first cell of the last row.
struct Seq(Arc<Mutex<Option<i64>>>);

impl RowSink for Seq {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        if let Some(Cell::Integer(seq)) = cells.next() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seq);
        }
        true
    }
}
