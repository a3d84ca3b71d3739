//! One read of a dataset by a query of the dialect.

use axum::http::StatusCode;
use bytes::Bytes;
use orderwire_store::{Count, Dataset, Filter, Select};
use orderwire_types::Scope;

use super::answer::Meta;
use super::headers::{self, Media};
use super::rest::content_range;
use super::{Service, table};
use crate::cursor::Pages;
use crate::dialect::{Columns, Query, picked_order};
use crate::error::{Error, ErrorKind};
use crate::read::Plan;
use crate::sink::{Changes, Frame};

/// What is asked for.
pub(super) struct Asked<'q> {
    pub(super) query: &'q Query,
    pub(super) media: Media,
    pub(super) count: Count,
    /// A condition beside those of the query.
    pub(super) also: Option<Filter>,
}

/// The read of a query, and how its pages go on.
struct Prepared {
    plan: Plan,
    pages: Option<Pages>,
}

/// Whether a query can be answered, as far as that is known without reading.
///
/// # Errors
/// As those of the read.
pub(super) fn check(service: &Service, dataset: &Dataset, asked: Asked<'_>) -> Result<(), Error> {
    prepare(service, dataset, asked).map(|_| ())
}

/// Reads the rows into an answer.
pub(super) async fn load(
    service: &Service,
    scope: &Scope,
    dataset: &Dataset,
    asked: Asked<'_>,
) -> Result<(Bytes, Meta), Error> {
    let (query, media) = (asked.query, asked.media);
    let Prepared { plan, pages } = prepare(service, dataset, asked)?;
    let frame = if media == Media::Single { Frame::Single } else { Frame::Array };
    let (read, body) = table::read(service, scope, plan, &dataset.def, media, frame).await?;
    if media == Media::Single && (read.rows != 1 || read.cut) {
        let found = if read.cut { "2 or more" } else { "0" };
        let message = "Cannot coerce the result to a single JSON object";
        return Err(Error::new(ErrorKind::NotAcceptable, "PGRST116", message)
            .details(format!("The result contains {found} rows"))
            .hint("narrow the filter, or accept application/json"));
    }
    let total = read.total;
    if let Some(total) = total.filter(|total| query.offset > *total) {
        let message = "the range begins after the last row".to_owned();
        return Err(headers::out_of_range(message)
            .details(format!("offset {} was asked for, and there are {total} rows", query.offset))
            .total(Some(total)));
    }
    let next = match &pages {
        Some(pages) if read.cut => Some(pages.after(&read.last)?),
        _ => None,
    };
    let status = match total {
        _ if read.cut && media != Media::Single && pages.is_none() => StatusCode::PARTIAL_CONTENT,
        Some(total) if read.rows < total => StatusCode::PARTIAL_CONTENT,
        _ => StatusCode::OK,
    };
    // Of a page behind a cursor nobody knows which rows in all it holds.
    let content_range = pages.is_none().then(|| content_range(query.offset, read.rows, total));
    Ok((body, Meta { status, media, flagged: false, content_range, next }))
}

fn prepare(service: &Service, dataset: &Dataset, asked: Asked<'_>) -> Result<Prepared, Error> {
    let Asked { query, media, count, also } = asked;
    let columns = Columns::of_dataset(dataset.name.as_str(), &dataset.def);
    let chosen = columns.select(query.select.as_deref())?;
    let order = picked_order(&columns, &chosen, &query.order)?;
    let mut filter = vec![columns.filter(&query.conditions)?];
    filter.extend(also);
    let mut select = Select {
        dataset: dataset.name.clone(),
        columns: chosen.columns,
        filter: Filter::And(Vec::new()),
        latest: columns.key(&query.latest)?,
        order,
        limit: 0,
        offset: query.offset,
        count,
    };
    let mut changes = Changes { casts: chosen.casts, shown: None };
    let mut limit = query.limit;
    let mut rows_max = if media == Media::Single { 1 } else { service.options.rows };
    let pages = Pages::of(query, &columns, &select)?;
    if let Some(pages) = &pages {
        changes.shown = Some(select.columns.len());
        select.columns.extend(pages.columns());
        filter.extend(pages.filter());
        // One row more than the page is asked for: it says whether there is another page.
        let page = limit.take().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        rows_max = rows_max.min(page);
    }
    select.filter = Filter::And(filter);
    Ok(Prepared { plan: Plan { select, limit, rows_max, changes }, pages })
}
