//! Dropping what is past its retention, a bounded piece at a time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::rows::integer;
use crate::store::error::Failure;
use crate::store::filter::limit;
use crate::store::session::Session;
use crate::store::value::Moment;

pub(super) async fn sweep(
    session: &Session,
    before: Timestamp,
    keep: u64,
    untold_for: Duration,
    max: usize,
) -> Result<u64, Failure> {
    let max = limit(max);
    changes(session, untold_for, max).await?;
    let orders = orders(session, before, max).await?;
    // After its orders, so that these never name a release that is not there.
    let releases = releases(session, before, max).await?;
    Ok(orders + releases + revisions(session, integer(keep), max).await?)
}

/// Forgets changes that nobody asked for; they do not count as swept.
async fn changes(session: &Session, untold_for: Duration, max: i64) -> Result<(), Failure> {
    let Ok(before) =
        Timestamp::now().checked_sub(SignedDuration::try_from(untold_for).unwrap_or(SignedDuration::MAX))
    else {
        return Ok(());
    };
    // They are in order of time but for the clocks of callers.
    let sql = "DELETE FROM store.order_change WHERE seq IN (SELECT seq FROM ( \
               SELECT seq, at FROM store.order_change ORDER BY seq LIMIT $2) AS oldest WHERE at <= $1)";
    session.execute(sql, &[&Moment(before), &max]).await?;
    Ok(())
}

async fn orders(session: &Session, before: Timestamp, max: i64) -> Result<u64, Failure> {
    // A change that is to be told needs its order.
    let sql = "WITH past AS (SELECT o.id FROM store.release_order o \
                   WHERE NOT o.open AND NOT o.newest AND o.updated_at < $1 \
                   AND NOT EXISTS (SELECT 1 FROM store.order_change c WHERE c.order_id = o.id) \
                   ORDER BY o.updated_at LIMIT $2), \
               journals AS (DELETE FROM store.order_journal j USING past WHERE j.order_id = past.id) \
               DELETE FROM store.release_order o USING past WHERE o.id = past.id";
    session.execute(sql, &[&Moment(before), &max]).await
}

async fn releases(session: &Session, before: Timestamp, max: i64) -> Result<u64, Failure> {
    let sql = "WITH past AS (SELECT r.id FROM store.release r WHERE r.removed_at < $1 \
                   AND NOT EXISTS (SELECT 1 FROM store.release_order o WHERE o.release = r.id) \
                   ORDER BY r.removed_at LIMIT $2), \
               resources AS (DELETE FROM store.revision_resource s USING past WHERE s.release = past.id), \
               revisions AS (DELETE FROM store.revision v USING past WHERE v.release = past.id), \
               work AS (DELETE FROM store.release_work w USING past WHERE w.release = past.id) \
               DELETE FROM store.release r USING past WHERE r.id = past.id RETURNING r.target, r.client";
    let gone = session.rows(sql, &[&Moment(before), &max]).await?;
    for row in &gone {
        let (target, client): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        // The turn of a client that has no release left.
        let sql = "DELETE FROM store.release_turn WHERE target = $1 AND client = $2 \
                   AND NOT EXISTS (SELECT 1 FROM store.release r WHERE r.client = $2)";
        session.execute(sql, &[&target, &client]).await?;
    }
    Ok(gone.len() as u64)
}

/// Drops revisions beyond the newest `keep` of each release that nothing needs.
async fn revisions(session: &Session, keep: i64, max: i64) -> Result<u64, Failure> {
    let sql = "WITH past AS (SELECT v.release, v.number FROM store.release r \
                   JOIN store.revision v ON v.release = r.id \
                   WHERE r.stored > $1 AND v.number <= r.revisions - $1 \
                   AND v.number IS DISTINCT FROM r.ready AND v.number IS DISTINCT FROM r.applied \
                   AND NOT EXISTS (SELECT 1 FROM store.release_order o WHERE o.release = r.id AND o.open \
                   AND (o.id = v.order_id OR o.revision = v.number OR o.to_revision = v.number)) LIMIT $2), \
               resources AS (DELETE FROM store.revision_resource s USING past \
                   WHERE s.release = past.release AND s.number = past.number), \
               gone AS (DELETE FROM store.revision v USING past \
                   WHERE v.release = past.release AND v.number = past.number), \
               counted AS (UPDATE store.release r SET stored = r.stored - fewer.n \
                   FROM (SELECT release, count(*) AS n FROM past GROUP BY release) AS fewer \
                   WHERE r.id = fewer.release) \
               SELECT count(*) FROM past";
    match session.row(sql, &[&keep, &max]).await? {
        Some(row) => Ok(row.try_get::<_, i64>(0)?.unsigned_abs()),
        None => Ok(0),
    }
}
