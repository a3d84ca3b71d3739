//! When releases are to be worked on, and by whom.
//!
//! Whatever changes the moment at which a release may be claimed, or whether it
//! has an unfinished order, also writes the earliest such moment of its client
//! ([`refresh`]), apart for releases with an unfinished order and for the others;
//! a claim then needs nothing but the turns.

use jiff::Timestamp;
use orderwire_store::Error;
use orderwire_store::orders::{Lease, Order};
use orderwire_types::EventId;
use tokio_postgres::Row;
use uuid::Uuid;

use super::rows::integer;
use crate::store::error::{Failure, conflict};
use crate::store::session::Session;
use crate::store::value::Moment;

/// Makes a new release due, for its first order.
pub(super) async fn begin(session: &Session, release: Uuid, order: &Order) -> Result<(), Failure> {
    let client = order.client.as_str();
    let sql = "INSERT INTO store.release_work (release, target, client, at, lease, until, woken, ordered) \
               VALUES ($1, $2, $3, $4, 0, NULL, NULL, true)";
    session.execute(sql, &[&release, &order.target, &client, &Moment(order.created_at)]).await?;
    let sql = "INSERT INTO store.release_turn (target, client, ordered, turn, at, ready) \
               VALUES ($1, $2, false, 0, NULL, false), ($1, $2, true, 0, NULL, false) \
               ON CONFLICT (target, client, ordered) DO NOTHING";
    session.execute(sql, &[&order.target, &client]).await?;
    refresh(session, &order.target, client).await
}

/// Makes a release due at `at` at the latest; one that is held, when it is handed
/// back. Whether it is there.
pub(super) async fn wake(session: &Session, release: Uuid, at: Timestamp) -> Result<bool, Failure> {
    // The least of a null and a moment is the moment.
    let sql = "UPDATE store.release_work SET \
               at = CASE WHEN until IS NULL THEN least(at, $2) ELSE at END, \
               woken = CASE WHEN until IS NULL THEN NULL ELSE least(woken, $2) END \
               WHERE release = $1 \
               AND EXISTS (SELECT 1 FROM store.release r WHERE r.id = $1 AND r.removed_at IS NULL) \
               RETURNING target, client";
    let woken = session.row(sql, &[&release, &Moment(at)]).await?;
    refresh_of(session, woken.as_ref()).await?;
    Ok(woken.is_some())
}

/// A release has an unfinished order, accepted at `at`: it is due at once.
pub(super) async fn order_began(session: &Session, release: Uuid, at: Timestamp) -> Result<(), Failure> {
    session.execute("UPDATE store.release_work SET ordered = true WHERE release = $1", &[&release]).await?;
    wake(session, release, at).await.map(drop)
}

/// An order ended: until another one comes, nobody waits for its release.
pub(super) async fn order_ended(session: &Session, order: EventId) -> Result<(), Failure> {
    let sql = "UPDATE store.release_work SET ordered = false \
               WHERE release = (SELECT o.release FROM store.release_order o WHERE o.id = $1) \
               RETURNING target, client";
    let ended = session.row(sql, &[&order.0]).await?;
    refresh_of(session, ended.as_ref()).await
}

/// The same as [`refresh`] for a row of target and client.
async fn refresh_of(session: &Session, row: Option<&Row>) -> Result<(), Failure> {
    match row {
        Some(row) => refresh(session, row.try_get(0)?, row.try_get(1)?).await,
        None => Ok(()),
    }
}

/// Writes the earliest moments at which one of a client's releases may be claimed.
pub(super) async fn refresh(session: &Session, target: &str, client: &str) -> Result<(), Failure> {
    let sql = "UPDATE store.release_turn t SET ready = false, at = (SELECT w.at FROM store.release_work w \
               WHERE w.target = $1 AND w.client = $2 AND w.ordered = t.ordered \
               AND w.at IS NOT NULL ORDER BY w.at LIMIT 1) WHERE t.target = $1 AND t.client = $2";
    session.execute(sql, &[&target, &client]).await?;
    Ok(())
}

/// What is known of a release that is held.
pub(super) struct Held {
    target: String,
    client: String,
    woken: Option<Moment>,
    /// Whether the release was removed meanwhile.
    pub(super) removed: bool,
}

/// Checks that this lease still holds its release.
pub(super) async fn held(session: &Session, lease: Lease) -> Result<Held, Failure> {
    let sql = "SELECT w.target, w.client, w.woken, r.removed_at IS NOT NULL FROM store.release_work w \
               JOIN store.release r ON r.id = w.release \
               WHERE w.release = $1 AND w.lease = $2 AND w.until IS NOT NULL";
    let row =
        session.row(sql, &[&lease.release, &integer(lease.number)]).await?.ok_or_else(|| lost(lease))?;
    Ok(Held {
        target: row.try_get(0)?,
        client: row.try_get(1)?,
        woken: row.try_get(2)?,
        removed: row.try_get(3)?,
    })
}

/// Whether somebody holds a release; also by a lease that ended and was not handed back.
pub(super) async fn is_held(session: &Session, release: Uuid) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM store.release_work WHERE release = $1 AND until IS NOT NULL";
    Ok(session.row(sql, &[&release]).await?.is_some())
}

fn lost(lease: Lease) -> Error {
    conflict(format!(
        "lease {} of release {} is over: another one may hold it now, nothing was done",
        lease.number, lease.release
    ))
}

pub(super) async fn extend(session: &Session, lease: Lease, until: Timestamp) -> Result<(), Failure> {
    let held = held(session, lease).await?;
    let at = (!held.removed).then_some(Moment(until));
    let sql = "UPDATE store.release_work SET until = $2, at = $3 WHERE release = $1";
    session.execute(sql, &[&lease.release, &Moment(until), &at]).await?;
    refresh(session, &held.target, &held.client).await
}

pub(super) async fn hand_back(
    session: &Session,
    lease: Lease,
    due: Option<Timestamp>,
) -> Result<(), Failure> {
    let held = held(session, lease).await?;
    let due = due.into_iter().chain(held.woken.map(|Moment(at)| at)).min();
    let at = due.filter(|_| !held.removed).map(Moment);
    let sql = "UPDATE store.release_work SET until = NULL, woken = NULL, at = $2 WHERE release = $1";
    session.execute(sql, &[&lease.release, &at]).await?;
    refresh(session, &held.target, &held.client).await
}

/// A release that was removed is never due again; its holder may still hand it back.
pub(super) async fn end(session: &Session, release: Uuid, held: &Held) -> Result<(), Failure> {
    let sql = "UPDATE store.release_work SET at = NULL, woken = NULL WHERE release = $1";
    session.execute(sql, &[&release]).await?;
    refresh(session, &held.target, &held.client).await
}

pub(super) async fn take_over(session: &Session, targets: &[String], at: Timestamp) -> Result<u64, Failure> {
    let sql = "UPDATE store.release_work w SET \
               at = CASE WHEN w.until IS NULL THEN least(w.at, $2) ELSE $2 END, until = NULL, woken = NULL \
               FROM store.release r WHERE w.target = ANY ($1) AND (w.until IS NOT NULL OR w.ordered) \
               AND r.id = w.release AND r.removed_at IS NULL";
    let due = session.execute(sql, &[&targets, &Moment(at)]).await?;
    // Those of removed releases, which are not due for that.
    let sql = "UPDATE store.release_work SET until = NULL WHERE target = ANY ($1) AND until IS NOT NULL";
    session.execute(sql, &[&targets]).await?;
    let sql = "UPDATE store.release_turn t SET ready = false, at = (SELECT w.at FROM store.release_work w \
               WHERE w.target = t.target AND w.client = t.client AND w.ordered = t.ordered \
               AND w.at IS NOT NULL ORDER BY w.at LIMIT 1) WHERE t.target = ANY ($1)";
    session.execute(sql, &[&targets]).await?;
    Ok(due)
}

pub(super) async fn next_due(session: &Session, target: &str) -> Result<Option<Timestamp>, Failure> {
    let sql = "SELECT least( \
                   (SELECT at FROM store.release_turn WHERE target = $1 AND ready ORDER BY ordered, turn, client LIMIT 1), \
                   (SELECT at FROM store.release_turn WHERE target = $1 AND NOT ready AND at IS NOT NULL \
                    ORDER BY at LIMIT 1))";
    let Some(row) = session.row(sql, &[&target]).await? else { return Ok(None) };
    Ok(row.try_get::<_, Option<Moment>>(0)?.map(|Moment(at)| at))
}
