//! One read of the store into bytes.

use bytes::Bytes;
use orderwire_store::Select;
use orderwire_types::Scope;

use crate::error::Error;
use crate::http::Service;
use crate::sink::{Changes, Shape, Sink, Slot};

/// What is read.
pub(crate) struct Plan {
    /// Its `limit` is set here.
    pub(crate) select: Select,
    /// At most this many rows, as the caller or the definition says.
    pub(crate) limit: Option<u64>,
    /// At most this many rows, as the server says: an answer that would have
    /// more is cut.
    pub(crate) rows_max: usize,
    /// What becomes of the values that are read.
    pub(crate) changes: Changes,
}

/// What a read brought.
pub(crate) struct Read {
    pub(crate) rows: u64,
    pub(crate) total: Option<u64>,
    /// Whether a limit of the server ended it.
    pub(crate) cut: bool,
    /// Of the last row, the values that are not shown.
    pub(crate) last: Vec<Option<String>>,
}

/// Reads rows in a shape.
pub(crate) async fn rows<S: Shape>(
    service: &Service,
    scope: &Scope,
    plan: Plan,
    shape: S,
) -> Result<(Read, Bytes), Error> {
    let Plan { mut select, limit, rows_max, changes } = plan;
    // One more than may be sent: so that the answer says whether it was cut.
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    select.limit = limit.min(rows_max.saturating_add(1));
    let slot = Slot::default();
    let rows_max = u64::try_from(rows_max).unwrap_or(u64::MAX);
    let sink = Sink::new(shape, rows_max, service.options.answer_bytes, changes, slot.clone());
    let (selected, sink) =
        service.store.select(scope, select, Box::new(sink), service.options.time_out).await?;
    drop(sink);
    let written = slot.take();
    if let Some(fault) = written.fault {
        return Err(fault);
    }
    let read = Read { rows: written.rows, total: selected.total, cut: selected.cut, last: written.last };
    Ok((read, written.body.into()))
}
