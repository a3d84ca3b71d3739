//! Reads: what is outside the scope is not there.

use orderwire_store::orders::{
    JournalEntry, Order, OrderFilter, Release, ReleaseFilter, ResourceFilter, Revision, RevisionResource,
    StateChange, TraceOrders,
};
use orderwire_types::{Client, EventId, OrderState, Scope};
use tokio_postgres::Row;
use uuid::Uuid;

use super::rows::{
    self, CHANGING, FIXED, ORDER_COLUMNS, RELEASE, REVISION, entry, integer, stored_order, stored_release,
};
use crate::store::error::Failure;
use crate::store::filter::{Query, both, limit};
use crate::store::session::Session;
use crate::store::value::{Moment, escaped};

async fn run<T>(
    session: &Session,
    query: &Query,
    read: impl Fn(&Row) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    session.rows(&query.sql, &query.values()).await?.iter().map(read).collect()
}

pub(super) async fn order(session: &Session, scope: &Scope, id: EventId) -> Result<Option<Order>, Failure> {
    Ok(stored_order(session, id).await?.filter(|order| scope.covers(&order.client)))
}

pub(super) async fn orders(
    session: &Session,
    scope: &Scope,
    filter: &OrderFilter,
    after: Option<EventId>,
    max: usize,
) -> Result<Vec<Order>, Failure> {
    let mut query = Query::new(format!("SELECT {FIXED}, {CHANGING} FROM store.release_order o WHERE true"));
    query.and_clients(&scope.clients, "o.client");
    query.and_id("o.trace", filter.trace);
    query.and_id("o.release", filter.release);
    query.and_text("o.state", filter.state.map(|state| state.to_string()).as_deref());
    query.and_text("o.product", filter.product.as_deref());
    query.and_text("o.environment", filter.environment.as_deref());
    if let Some(id) = after {
        let Some(after) = order(session, scope, id).await? else { return Ok(Vec::new()) };
        query.push(" AND (o.created_at, o.id) < (");
        query.bind(Box::new(Moment(after.created_at)));
        query.push(", ");
        query.bind(Box::new(after.id.0));
        query.push(")");
    }
    query.push(" ORDER BY o.created_at DESC, o.id DESC");
    query.limit(max);
    run(session, &query, rows::order).await
}

pub(super) async fn journal(
    session: &Session,
    scope: &Scope,
    id: EventId,
    after: u64,
    max: usize,
) -> Result<Vec<JournalEntry>, Failure> {
    if order(session, scope, id).await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = "SELECT n, at, step, outcome, detail FROM store.order_journal WHERE order_id = $1 AND n > $2 \
               ORDER BY n LIMIT $3";
    session.rows(sql, &[&id.0, &integer(after), &limit(max)]).await?.iter().map(entry).collect()
}

pub(super) async fn release(session: &Session, scope: &Scope, id: Uuid) -> Result<Option<Release>, Failure> {
    Ok(stored_release(session, id).await?.filter(|release| scope.covers(&release.client)))
}

pub(super) async fn releases(
    session: &Session,
    scope: &Scope,
    filter: &ReleaseFilter,
    after: Option<Uuid>,
    max: usize,
) -> Result<Vec<Release>, Failure> {
    let mut query = Query::new(format!("SELECT {RELEASE} FROM store.release r WHERE true"));
    query.and_clients(&both(&scope.clients, filter.clients.as_deref()), "r.client");
    query.and_text("r.name", filter.name.as_deref());
    query.and_text("r.environment", filter.environment.as_deref());
    query.and_text("r.product", filter.product.as_deref());
    query.and_text("r.target", filter.target.as_deref());
    if !filter.removed {
        query.push(" AND r.removed_at IS NULL");
    }
    if let Some(id) = after {
        let Some(after) = release(session, scope, id).await? else { return Ok(Vec::new()) };
        query.push(" AND (r.client, r.environment, r.name, r.id) > (");
        for text in [after.client.as_str(), &after.environment, &after.name] {
            query.bind(Box::new(text.to_owned()));
            query.push(", ");
        }
        query.bind(Box::new(after.id));
        query.push(")");
    }
    query.push(" ORDER BY r.client, r.environment, r.name, r.id");
    query.limit(max);
    run(session, &query, rows::release).await
}

pub(super) async fn revision(
    session: &Session,
    scope: &Scope,
    id: Uuid,
    number: u64,
) -> Result<Option<Revision>, Failure> {
    if release(session, scope, id).await?.is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT {REVISION} FROM store.revision v WHERE v.release = $1 AND v.number = $2");
    session.row(&sql, &[&id, &integer(number)]).await?.as_ref().map(rows::revision).transpose()
}

pub(super) async fn revisions(
    session: &Session,
    scope: &Scope,
    id: Uuid,
    before: Option<u64>,
    max: usize,
) -> Result<Vec<Revision>, Failure> {
    if release(session, scope, id).await?.is_none() {
        return Ok(Vec::new());
    }
    let before = before.map_or(i64::MAX, integer);
    let sql = format!(
        "SELECT {REVISION} FROM store.revision v WHERE v.release = $1 AND v.number < $2 \
         ORDER BY v.number DESC LIMIT $3"
    );
    session.rows(&sql, &[&id, &before, &limit(max)]).await?.iter().map(rows::revision).collect()
}

pub(super) async fn resources(
    session: &Session,
    scope: &Scope,
    filter: &ResourceFilter,
    max: usize,
) -> Result<Vec<RevisionResource>, Failure> {
    let mut query = Query::new(
        "SELECT s.kind, s.name, r.client, s.release, s.number FROM store.revision_resource s \
         JOIN store.release r ON r.id = s.release \
         WHERE EXISTS (SELECT FROM store.revision v WHERE v.release = s.release AND v.number = s.number)",
    );
    query.and_clients(&scope.clients, "r.client");
    query.and_text("s.name", filter.name.as_deref().map(escaped).as_deref());
    query.and_text("s.kind", filter.kind.as_deref().map(escaped).as_deref());
    query.and_id("s.release", filter.release);
    if let Some(number) = filter.revision {
        query.push(" AND s.number = ");
        query.bind(Box::new(integer(number)));
    }
    query.push(match filter.release {
        Some(_) => " ORDER BY s.number DESC, s.name, s.kind",
        None => " ORDER BY s.name, s.kind, s.release, s.number DESC",
    });
    query.limit(max);
    run(session, &query, rows::resource).await
}

pub(super) async fn trace_orders(
    session: &Session,
    scope: &Scope,
    trace: Uuid,
) -> Result<TraceOrders, Failure> {
    let mut orders = TraceOrders::default();
    for row in
        session.rows("SELECT client, state FROM store.release_order WHERE trace = $1", &[&trace]).await?
    {
        let client: Client = rows::parsed(&row, 0)?;
        if !scope.covers(&client) {
            continue;
        }
        let state: OrderState = rows::parsed(&row, 1)?;
        orders.open += u64::from(!state.is_final());
        orders.failed += u64::from(matches!(state, OrderState::Failed | OrderState::RolledBack));
    }
    Ok(orders)
}

pub(super) async fn untold(session: &Session, max: usize) -> Result<Vec<StateChange>, Failure> {
    let sql = format!(
        "SELECT {FIXED}, c.state, c.reason, c.revision, c.cancel, c.removed, c.at, c.seq, c.n \
         FROM store.order_change c JOIN store.release_order o ON o.id = c.order_id ORDER BY c.seq LIMIT $1"
    );
    let change = |row: &Row| {
        Ok(StateChange {
            seq: row.try_get(ORDER_COLUMNS)?,
            order: rows::order(row)?,
            n: rows::number(row, ORDER_COLUMNS + 1)?,
        })
    };
    session.rows(&sql, &[&limit(max)]).await?.iter().map(change).collect()
}
