//! Rows of orders, releases and revisions, in and out.

use std::str::FromStr;

use orderwire_store::orders::{
    JournalEntry, Order, Release, ReleaseStatus, ResourceName, Revision, RevisionResource,
};
use orderwire_types::{EventId, RawJson, TraceId};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::store::error::{Failure, damaged};
use crate::store::session::Session;
use crate::store::value::{Moment, escaped, unescaped};

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
     r.applied, r.keys_made, r.keys_revoked, r.resources, r.created_at, r.updated_at, r.handed_over";

pub(super) const REVISION: &str =
    "v.number, v.hash, v.content, v.order_id, v.trace, v.trace_given, v.created_at, v.ready_at";

/// A number as it is stored: one that is beyond every stored one stays so.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) async fn stored_order(session: &Session, id: EventId) -> Result<Option<Order>, Failure> {
    let sql = format!("SELECT {FIXED}, {CHANGING} FROM store.release_order o WHERE o.id = $1");
    session.row(&sql, &[&id.0]).await?.as_ref().map(order).transpose()
}

pub(super) async fn stored_release(session: &Session, id: Uuid) -> Result<Option<Release>, Failure> {
    let sql = format!("SELECT {RELEASE} FROM store.release r WHERE r.id = $1");
    session.row(&sql, &[&id]).await?.as_ref().map(release).transpose()
}

/// An order that must be there.
pub(super) async fn known_order(session: &Session, id: EventId) -> Result<Order, Failure> {
    Ok(stored_order(session, id).await?.ok_or_else(|| damaged("order"))?)
}

/// A release that must be there.
pub(super) async fn known_release(session: &Session, id: Uuid) -> Result<Release, Failure> {
    Ok(stored_release(session, id).await?.ok_or_else(|| damaged("release"))?)
}

/// An order from its columns.
pub(super) fn order(row: &Row) -> Result<Order, Failure> {
    let fingerprint: &[u8] = row.try_get(15)?;
    let depth: i16 = row.try_get(19)?;
    Ok(Order {
        id: EventId(row.try_get(0)?),
        trace: trace(row, 1)?,
        client: parsed(row, 3)?,
        name: row.try_get(4)?,
        product: row.try_get(5)?,
        environment: row.try_get(6)?,
        archtype: row.try_get(7)?,
        hardware: row.try_get(8)?,
        namespace: row.try_get(9)?,
        target: row.try_get(10)?,
        action: parsed(row, 11)?,
        to_revision: number_or_null(row, 12)?,
        parameters: json(row, 13)?,
        principal: row.try_get(14)?,
        fingerprint: fingerprint.try_into().map_err(|_| damaged("fingerprint"))?,
        ordered_at: row.try_get::<_, Moment>(16)?.0,
        release: row.try_get(17)?,
        created_at: row.try_get::<_, Moment>(18)?.0,
        depth: u8::try_from(depth).map_err(|_| damaged("depth of an order"))?,
        state: parsed(row, 20)?,
        reason: text_or_null(row, 21)?,
        revision: number_or_null(row, 22)?,
        cancel: row.try_get(23)?,
        removed: row.try_get(24)?,
        updated_at: row.try_get::<_, Moment>(25)?.0,
    })
}

/// Writes a new order, of a state that counts as its first change.
pub(super) async fn insert_order(session: &Session, order: &Order, newest: bool) -> Result<(), Failure> {
    let sql = "INSERT INTO store.release_order (id, trace, trace_given, client, name, product, environment, \
               archtype, hardware, namespace, target, action, to_revision, parameters, principal, fingerprint, \
               ordered_at, release, state, reason, revision, cancel, removed, created_at, updated_at, changes, \
               open, newest, claimed, depth) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
               $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, 1, $26, $27, false, $28)";
    session
        .execute(
            sql,
            &[
                &order.id.0,
                &order.trace.id,
                &order.trace.given,
                &order.client.as_str(),
                &order.name,
                &order.product,
                &order.environment,
                &order.archtype,
                &order.hardware,
                &order.namespace,
                &order.target,
                &order.action.as_str(),
                &order.to_revision.map(integer),
                &order.parameters.get(),
                &order.principal,
                &&order.fingerprint[..],
                &Moment(order.ordered_at),
                &order.release,
                &order.state.as_str(),
                &order.reason.as_deref().map(escaped),
                &order.revision.map(integer),
                &order.cancel,
                &order.removed,
                &Moment(order.created_at),
                &Moment(order.updated_at),
                &!order.state.is_final(),
                &newest,
                &i16::from(order.depth),
            ],
        )
        .await?;
    Ok(())
}

pub(super) fn release(row: &Row) -> Result<Release, Failure> {
    Ok(Release {
        id: row.try_get(0)?,
        client: parsed(row, 1)?,
        environment: row.try_get(2)?,
        name: row.try_get(3)?,
        product: row.try_get(4)?,
        archtype: row.try_get(5)?,
        hardware: row.try_get(6)?,
        target: row.try_get(7)?,
        namespace: row.try_get(8)?,
        order: EventId(row.try_get(9)?),
        trace: trace(row, 10)?,
        revisions: number(row, 12)?,
        status: ReleaseStatus {
            state: parsed(row, 13)?,
            reason: text_or_null(row, 14)?,
            ready: number_or_null(row, 15)?,
            applied: number_or_null(row, 16)?,
            handed_over: row.try_get(22)?,
            keys_made: number(row, 17)?,
            keys_revoked: number(row, 18)?,
            resources: json(row, 19)?,
        },
        created_at: row.try_get::<_, Moment>(20)?.0,
        updated_at: row.try_get::<_, Moment>(21)?.0,
    })
}

/// Makes the release that this order asks for.
pub(super) async fn insert_release(session: &Session, id: Uuid, order: &Order) -> Result<(), Failure> {
    let status = ReleaseStatus::new();
    let sql = "INSERT INTO store.release (id, client, environment, name, product, archtype, hardware, target, \
               namespace, order_id, trace, trace_given, revisions, state, reason, ready, applied, keys_made, \
               keys_revoked, resources, created_at, updated_at, removed_at, stored, handed_over) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, NULL, NULL, NULL, 0, 0, $14, \
               $15, $15, NULL, 0, false)";
    session
        .execute(
            sql,
            &[
                &id,
                &order.client.as_str(),
                &order.environment,
                &order.name,
                &order.product,
                &order.archtype,
                &order.hardware,
                &order.target,
                &order.namespace,
                &order.id.0,
                &order.trace.id,
                &order.trace.given,
                &status.state.as_str(),
                &status.resources.get(),
                &Moment(order.created_at),
            ],
        )
        .await?;
    Ok(())
}

pub(super) fn revision(row: &Row) -> Result<Revision, Failure> {
    Ok(Revision {
        number: number(row, 0)?,
        hash: row.try_get(1)?,
        content: json(row, 2)?,
        order: EventId(row.try_get(3)?),
        trace: trace(row, 4)?,
        created_at: row.try_get::<_, Moment>(6)?.0,
        ready_at: row.try_get::<_, Option<Moment>>(7)?.map(|Moment(at)| at),
    })
}

/// A resource from `kind, name, client, release, number`.
pub(super) fn resource(row: &Row) -> Result<RevisionResource, Failure> {
    Ok(RevisionResource {
        resource: ResourceName { kind: unescaped(row.try_get(0)?), name: unescaped(row.try_get(1)?) },
        client: parsed(row, 2)?,
        release: row.try_get(3)?,
        revision: number(row, 4)?,
    })
}

/// An entry of a journal from `n, at, step, outcome, detail`.
pub(super) fn entry(row: &Row) -> Result<JournalEntry, Failure> {
    Ok(JournalEntry {
        n: number(row, 0)?,
        at: row.try_get::<_, Moment>(1)?.0,
        step: row.try_get(2)?,
        outcome: row.try_get(3)?,
        detail: text_or_null(row, 4)?,
    })
}

/// A text that was escaped.
fn text_or_null(row: &Row, column: usize) -> Result<Option<String>, Failure> {
    Ok(row.try_get::<_, Option<&str>>(column)?.map(unescaped))
}

/// A trace from its two columns.
fn trace(row: &Row, column: usize) -> Result<TraceId, Failure> {
    Ok(TraceId { id: row.try_get(column)?, given: row.try_get(column + 1)? })
}

/// A word or name in a column.
pub(super) fn parsed<T: FromStr>(row: &Row, column: usize) -> Result<T, Failure> {
    let text: &str = row.try_get(column)?;
    Ok(text.parse().map_err(|_| damaged("word"))?)
}

fn json(row: &Row, column: usize) -> Result<RawJson, Failure> {
    Ok(RawJson::parse(row.try_get(column)?).map_err(|_| damaged("JSON"))?)
}

/// A number that is never negative.
pub(super) fn number(row: &Row, column: usize) -> Result<u64, Failure> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?).map_err(|_| damaged("number"))?)
}

fn number_or_null(row: &Row, column: usize) -> Result<Option<u64>, Failure> {
    match row.try_get::<_, Option<i64>>(column)? {
        Some(_) => number(row, column).map(Some),
        None => Ok(None),
    }
}
