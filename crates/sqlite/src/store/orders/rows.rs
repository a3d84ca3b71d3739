//! Rows of orders, releases and revisions, in and out.

use std::str::FromStr;

use jiff::Timestamp;
use orderwire_store::orders::{
    JournalEntry, Order, Release, ReleaseStatus, ResourceName, Revision, RevisionResource,
};
use orderwire_types::{Client, EventId, RawJson, TraceId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::store::error::damaged_value;
use crate::store::table::{moment, moment_or_null, uuid};

/// The columns of an order that never change.
pub(super) const FIXED: &str = "o.id, o.trace, o.trace_given, o.client, o.name, o.product, o.environment, \
     o.archtype, o.hardware, o.namespace, o.target, o.action, o.to_revision, o.parameters, o.principal, \
     o.fingerprint, o.ordered_at, o.release, o.created_at, o.depth";

/// Those that do, behind the fixed ones.
pub(super) const CHANGING: &str = "o.state, o.reason, o.revision, o.cancel, o.removed, o.updated_at";

/// How many columns an order has.
pub(super) const ORDER_COLUMNS: usize = 26;

pub(super) const RELEASE: &str = "r.id, r.client, r.environment, r.name, r.product, r.archtype, r.hardware, \
     r.target, r.namespace, r.order_id, r.trace, r.trace_given, r.revisions, r.state, r.reason, r.ready, \
     r.applied, r.keys_made, r.keys_revoked, r.resources, r.created_at, r.updated_at, \
     r.handed_over";

pub(super) const REVISION: &str =
    "v.number, v.hash, v.content, v.order_id, v.trace, v.trace_given, v.created_at, v.ready_at";

/// The bytes of an id, as they are bound.
pub(super) fn bytes(id: &Uuid) -> &[u8] {
    &id.as_bytes()[..]
}

/// A number as it is stored: one that is beyond every stored one stays so.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of rows as a limit.
pub(super) fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

pub(super) fn stored_order(db: &Connection, id: EventId) -> rusqlite::Result<Option<Order>> {
    db.prepare_cached(&format!("SELECT {FIXED}, {CHANGING} FROM release_order o WHERE o.id = ?1"))?
        .query_row([bytes(&id.0)], order)
        .optional()
}

pub(super) fn stored_release(db: &Connection, id: Uuid) -> rusqlite::Result<Option<Release>> {
    db.prepare_cached(&format!("SELECT {RELEASE} FROM release r WHERE r.id = ?1"))?
        .query_row([bytes(&id)], release)
        .optional()
}

/// An order from its columns.
pub(super) fn order(row: &Row<'_>) -> rusqlite::Result<Order> {
    let removed =
        serde_json::from_str(row.get_ref(24)?.as_str()?).map_err(|_| damaged_value(24, "removed"))?;
    Ok(Order {
        id: EventId(uuid(row, 0)?),
        trace: trace(row, 1)?,
        client: parsed(row, 3)?,
        name: row.get(4)?,
        product: row.get(5)?,
        environment: row.get(6)?,
        archtype: row.get(7)?,
        hardware: row.get(8)?,
        namespace: row.get(9)?,
        target: row.get(10)?,
        action: parsed(row, 11)?,
        to_revision: number_or_null(row, 12)?,
        parameters: json(row, 13)?,
        principal: row.get(14)?,
        fingerprint: row.get_ref(15)?.as_blob()?.try_into().map_err(|_| damaged_value(15, "fingerprint"))?,
        ordered_at: moment(row, 16)?,
        release: match row.get_ref(17)? {
            ValueRef::Null => None,
            _ => Some(uuid(row, 17)?),
        },
        created_at: moment(row, 18)?,
        depth: row.get(19)?,
        state: parsed(row, 20)?,
        reason: row.get(21)?,
        revision: number_or_null(row, 22)?,
        cancel: row.get(23)?,
        removed,
        updated_at: moment(row, 25)?,
    })
}

/// Writes a new order, of a state that counts as its first change.
pub(super) fn insert_order(db: &Connection, order: &Order, newest: bool) -> rusqlite::Result<()> {
    let removed = texts(&order.removed);
    db.prepare_cached(
        "INSERT INTO release_order (id, trace, trace_given, client, name, product, environment, archtype, \
         hardware, namespace, target, action, to_revision, parameters, principal, fingerprint, ordered_at, \
         release, state, reason, revision, cancel, removed, created_at, updated_at, changes, open, newest, \
         claimed, depth) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, \
         ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, 1, ?26, ?27, 0, ?28)",
    )?
    .execute(params![
        bytes(&order.id.0),
        bytes(&order.trace.id),
        order.trace.given,
        order.client.as_str(),
        order.name,
        order.product,
        order.environment,
        order.archtype,
        order.hardware,
        order.namespace,
        order.target,
        order.action.as_str(),
        order.to_revision.map(integer),
        order.parameters.get(),
        order.principal,
        &order.fingerprint[..],
        order.ordered_at.as_microsecond(),
        order.release.as_ref().map(bytes),
        order.state.as_str(),
        order.reason,
        order.revision.map(integer),
        order.cancel,
        removed,
        order.created_at.as_microsecond(),
        order.updated_at.as_microsecond(),
        !order.state.is_final(),
        newest,
        order.depth,
    ])?;
    Ok(())
}

/// A list of texts as it is stored.
pub(super) fn texts(list: &[String]) -> String {
    serde_json::to_string(list).expect("a list of texts is JSON")
}

pub(super) fn release(row: &Row<'_>) -> rusqlite::Result<Release> {
    Ok(Release {
        id: uuid(row, 0)?,
        client: parsed(row, 1)?,
        environment: row.get(2)?,
        name: row.get(3)?,
        product: row.get(4)?,
        archtype: row.get(5)?,
        hardware: row.get(6)?,
        target: row.get(7)?,
        namespace: row.get(8)?,
        order: EventId(uuid(row, 9)?),
        trace: trace(row, 10)?,
        revisions: number(row, 12)?,
        status: ReleaseStatus {
            state: parsed(row, 13)?,
            reason: row.get(14)?,
            ready: number_or_null(row, 15)?,
            applied: number_or_null(row, 16)?,
            handed_over: row.get(22)?,
            keys_made: number(row, 17)?,
            keys_revoked: number(row, 18)?,
            resources: json(row, 19)?,
        },
        created_at: moment(row, 20)?,
        updated_at: moment(row, 21)?,
    })
}

/// Makes the release that this order asks for.
pub(super) fn insert_release(db: &Connection, id: Uuid, order: &Order) -> rusqlite::Result<()> {
    let status = ReleaseStatus::new();
    db.prepare_cached(
        "INSERT INTO release (id, client, environment, name, product, archtype, hardware, target, namespace, \
         order_id, trace, trace_given, revisions, state, reason, ready, applied, keys_made, keys_revoked, \
         resources, created_at, updated_at, removed_at, stored, handed_over) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
         ?10, ?11, ?12, 0, ?13, NULL, NULL, NULL, 0, 0, ?14, ?15, ?15, NULL, 0, 0)",
    )?
    .execute(params![
        bytes(&id),
        order.client.as_str(),
        order.environment,
        order.name,
        order.product,
        order.archtype,
        order.hardware,
        order.target,
        order.namespace,
        bytes(&order.id.0),
        bytes(&order.trace.id),
        order.trace.given,
        status.state.as_str(),
        status.resources.get(),
        order.created_at.as_microsecond(),
    ])?;
    Ok(())
}

pub(super) fn revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    Ok(Revision {
        number: number(row, 0)?,
        hash: row.get(1)?,
        content: json(row, 2)?,
        order: EventId(uuid(row, 3)?),
        trace: trace(row, 4)?,
        created_at: moment(row, 6)?,
        ready_at: moment_or_null(row, 7)?,
    })
}

/// A resource from `kind, name, client, release, number`.
pub(super) fn resource(row: &Row<'_>) -> rusqlite::Result<RevisionResource> {
    Ok(RevisionResource {
        resource: ResourceName { kind: row.get(0)?, name: row.get(1)? },
        client: parsed(row, 2)?,
        release: uuid(row, 3)?,
        revision: number(row, 4)?,
    })
}

/// An entry of a journal from `n, at, step, outcome, detail`.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<JournalEntry> {
    Ok(JournalEntry {
        n: number(row, 0)?,
        at: moment(row, 1)?,
        step: row.get(2)?,
        outcome: row.get(3)?,
        detail: row.get(4)?,
    })
}

pub(super) fn client(row: &Row<'_>, column: usize) -> rusqlite::Result<Client> {
    parsed(row, column)
}

/// A trace from its two columns.
fn trace(row: &Row<'_>, column: usize) -> rusqlite::Result<TraceId> {
    Ok(TraceId { id: uuid(row, column)?, given: row.get(column + 1)? })
}

/// A word or name in a column.
pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|_| damaged_value(column, "word"))
}

fn json(row: &Row<'_>, column: usize) -> rusqlite::Result<RawJson> {
    RawJson::parse(row.get(column)?).map_err(|_| damaged_value(column, "JSON"))
}

/// A number that is never negative.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| damaged_value(column, "number"))
}

fn number_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => number(row, column).map(Some),
    }
}

/// A moment as it is stored.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}
