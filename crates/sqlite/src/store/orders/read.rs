//! Reads: what is outside the scope is not there.

use std::collections::BTreeSet;

use orderwire_store::orders::{
    JournalEntry, Order, OrderFilter, Release, ReleaseFilter, ResourceFilter, Revision, RevisionResource,
    StateChange, TraceOrders,
};
use orderwire_types::scope::Clients;
use orderwire_types::{EventId, OrderState, Scope};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use super::rows::{
    self, CHANGING, FIXED, ORDER_COLUMNS, RELEASE, REVISION, bytes, client, entry, integer, limit, micros,
    stored_order, stored_release,
};
use crate::store::filter::{Binding, clients_clause};

/// A statement under way.
pub(super) struct Query {
    pub(super) sql: String,
    bound: Vec<Binding>,
}

impl Query {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Binding>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.bound.extend(values);
    }

    fn and_text(&mut self, condition: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.and(condition, [Binding::Text(value.clone())]);
        }
    }

    fn and_id(&mut self, condition: &str, value: Option<Uuid>) {
        if let Some(value) = value {
            self.and(condition, [Binding::Uuid(value)]);
        }
    }

    fn end(mut self, order: &str, max: usize) -> Self {
        self.sql.push_str(order);
        self.sql.push_str(" LIMIT ?");
        self.bound.push(Binding::Integer(limit(max)));
        self
    }

    fn run<T>(
        self,
        db: &Connection,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        db.prepare_cached(&self.sql)?.query_map(params_from_iter(self.bound), read)?.collect()
    }
}

pub(super) fn order(db: &Connection, scope: &Scope, id: EventId) -> rusqlite::Result<Option<Order>> {
    Ok(stored_order(db, id)?.filter(|order| scope.covers(&order.client)))
}

pub(super) fn orders(
    db: &Connection,
    scope: &Scope,
    filter: &OrderFilter,
    after: Option<EventId>,
    max: usize,
) -> rusqlite::Result<Vec<Order>> {
    let after = match after {
        None => None,
        Some(id) => match order(db, scope, id)? {
            None => return Ok(Vec::new()),
            after => after,
        },
    };
    orders_query(scope, filter, after.as_ref(), max).run(db, rows::order)
}

pub(super) fn orders_query(scope: &Scope, filter: &OrderFilter, after: Option<&Order>, max: usize) -> Query {
    let sql = format!("SELECT {FIXED}, {CHANGING} FROM release_order o WHERE 1");
    let mut query = Query { sql, bound: Vec::new() };
    clients_clause(&scope.clients, "o.client", &mut query.sql, &mut query.bound);
    query.and_id("o.trace = ?", filter.trace);
    query.and_id("o.release = ?", filter.release);
    query.and_text("o.state = ?", filter.state.map(|state| state.to_string()).as_ref());
    query.and_text("o.product = ?", filter.product.as_ref());
    query.and_text("o.environment = ?", filter.environment.as_ref());
    if let Some(after) = after {
        let place = [Binding::Integer(micros(after.created_at)), Binding::Uuid(after.id.0)];
        query.and("(o.created_at, o.id) < (?, ?)", place);
    }
    query.end(" ORDER BY o.created_at DESC, o.id DESC", max)
}

pub(super) fn journal(
    db: &Connection,
    scope: &Scope,
    id: EventId,
    after: u64,
    max: usize,
) -> rusqlite::Result<Vec<JournalEntry>> {
    if order(db, scope, id)?.is_none() {
        return Ok(Vec::new());
    }
    db.prepare_cached(
        "SELECT n, at, step, outcome, detail FROM order_journal WHERE order_id = ?1 AND n > ?2 \
         ORDER BY n LIMIT ?3",
    )?
    .query_map(params![bytes(&id.0), integer(after), limit(max)], entry)?
    .collect()
}

pub(super) fn release(db: &Connection, scope: &Scope, id: Uuid) -> rusqlite::Result<Option<Release>> {
    Ok(stored_release(db, id)?.filter(|release| scope.covers(&release.client)))
}

pub(super) fn releases(
    db: &Connection,
    scope: &Scope,
    filter: &ReleaseFilter,
    after: Option<Uuid>,
    max: usize,
) -> rusqlite::Result<Vec<Release>> {
    let after = match after {
        None => None,
        Some(id) => match release(db, scope, id)? {
            None => return Ok(Vec::new()),
            after => after,
        },
    };
    releases_query(scope, filter, after.as_ref(), max).run(db, rows::release)
}

pub(super) fn releases_query(
    scope: &Scope,
    filter: &ReleaseFilter,
    after: Option<&Release>,
    max: usize,
) -> Query {
    let sql = format!("SELECT {RELEASE} FROM release r WHERE 1");
    let mut query = Query { sql, bound: Vec::new() };
    let clients = both(&scope.clients, filter.clients.as_deref());
    clients_clause(&clients, "r.client", &mut query.sql, &mut query.bound);
    query.and_text("r.name = ?", filter.name.as_ref());
    query.and_text("r.environment = ?", filter.environment.as_ref());
    query.and_text("r.product = ?", filter.product.as_ref());
    query.and_text("r.target = ?", filter.target.as_ref());
    if !filter.removed {
        query.and("r.removed_at IS NULL", []);
    }
    if let Some(after) = after {
        let text = |text: &str| Binding::Text(text.to_owned());
        query.and(
            "(r.client, r.environment, r.name, r.id) > (?, ?, ?, ?)",
            [
                text(after.client.as_str()),
                text(&after.environment),
                text(&after.name),
                Binding::Uuid(after.id),
            ],
        );
    }
    query.end(" ORDER BY r.client, r.environment, r.name, r.id", max)
}

/// The clients of the scope that are wanted.
fn both(scope: &Clients, wanted: Option<&[orderwire_types::Client]>) -> Clients {
    let Some(wanted) = wanted else { return scope.clone() };
    let wanted: BTreeSet<_> = wanted.iter().cloned().collect();
    match scope {
        Clients::All => Clients::Only(wanted),
        Clients::Only(covered) => Clients::Only(covered.intersection(&wanted).cloned().collect()),
    }
}

pub(super) fn revision(
    db: &Connection,
    scope: &Scope,
    id: Uuid,
    number: u64,
) -> rusqlite::Result<Option<Revision>> {
    if release(db, scope, id)?.is_none() {
        return Ok(None);
    }
    db.prepare_cached(&format!("SELECT {REVISION} FROM revision v WHERE v.release = ?1 AND v.number = ?2"))?
        .query_row(params![bytes(&id), integer(number)], rows::revision)
        .optional()
}

pub(super) fn revisions(
    db: &Connection,
    scope: &Scope,
    id: Uuid,
    before: Option<u64>,
    max: usize,
) -> rusqlite::Result<Vec<Revision>> {
    if release(db, scope, id)?.is_none() {
        return Ok(Vec::new());
    }
    let before = before.map_or(i64::MAX, integer);
    db.prepare_cached(&format!(
        "SELECT {REVISION} FROM revision v WHERE v.release = ?1 AND v.number < ?2 \
         ORDER BY v.number DESC LIMIT ?3"
    ))?
    .query_map(params![bytes(&id), before, limit(max)], rows::revision)?
    .collect()
}

pub(super) fn resources(
    db: &Connection,
    scope: &Scope,
    filter: &ResourceFilter,
    max: usize,
) -> rusqlite::Result<Vec<RevisionResource>> {
    resources_query(scope, filter, max).run(db, rows::resource)
}

pub(super) fn resources_query(scope: &Scope, filter: &ResourceFilter, max: usize) -> Query {
    let sql = "SELECT s.kind, s.name, r.client, s.release, s.number FROM revision_resource s \
               CROSS JOIN release r ON r.id = s.release WHERE 1";
    let mut query = Query { sql: sql.to_owned(), bound: Vec::new() };
    clients_clause(&scope.clients, "r.client", &mut query.sql, &mut query.bound);
    query.and_text("s.name = ?", filter.name.as_ref());
    query.and_text("s.kind = ?", filter.kind.as_ref());
    query.and_id("s.release = ?", filter.release);
    if let Some(number) = filter.revision {
        query.and("s.number = ?", [Binding::Integer(integer(number))]);
    }
    let is_there =
        " AND EXISTS (SELECT 1 FROM revision v WHERE v.release = s.release AND v.number = s.number)";
    query.sql.push_str(is_there);
    let order = match filter.release {
        Some(_) => " ORDER BY s.number DESC, s.name, s.kind",
        None => " ORDER BY s.name, s.kind, s.release, s.number DESC",
    };
    query.end(order, max)
}

pub(super) fn trace_orders(db: &Connection, scope: &Scope, trace: Uuid) -> rusqlite::Result<TraceOrders> {
    let mut statement = db.prepare_cached("SELECT client, state FROM release_order WHERE trace = ?1")?;
    let mut rows = statement.query([bytes(&trace)])?;
    let mut orders = TraceOrders::default();
    while let Some(row) = rows.next()? {
        if !scope.covers(&client(row, 0)?) {
            continue;
        }
        let state: OrderState = rows::parsed(row, 1)?;
        orders.open += u64::from(!state.is_final());
        orders.failed += u64::from(matches!(state, OrderState::Failed | OrderState::RolledBack));
    }
    Ok(orders)
}

pub(super) fn untold(db: &Connection, max: usize) -> rusqlite::Result<Vec<StateChange>> {
    db.prepare_cached(&format!(
        "SELECT {FIXED}, c.state, c.reason, c.revision, c.cancel, c.removed, c.at, c.seq, c.n \
         FROM order_change c CROSS JOIN release_order o ON o.id = c.order_id ORDER BY c.seq LIMIT ?1"
    ))?
    .query_map([limit(max)], |row| {
        Ok(StateChange {
            seq: row.get(ORDER_COLUMNS)?,
            order: rows::order(row)?,
            n: rows::number(row, ORDER_COLUMNS + 1)?,
        })
    })?
    .collect()
}
