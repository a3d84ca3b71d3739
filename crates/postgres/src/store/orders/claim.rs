//! Which releases are worked on next: those that somebody waits for, but for one of the
//! others now and then, fair over clients.

use jiff::Timestamp;
use orderwire_store::orders::{Claimed, Lease, PATROL};
use uuid::Uuid;

use super::due::refresh;
use super::rows::{entry, integer, known_order, known_release, number};
use crate::store::error::{Failure, damaged};
use crate::store::session::Session;
use crate::store::value::Moment;

/// The most entries of a journal that a claim hands out: the newest ones.
const JOURNAL: i64 = 1_000;

/// Whether there may be something to claim: without it nobody's turn is taken.
pub(super) async fn is_due(session: &Session, target: &str, now: Timestamp) -> Result<bool, Failure> {
    let sql = "SELECT EXISTS (SELECT 1 FROM store.release_turn WHERE target = $1 AND ready) \
               OR EXISTS (SELECT 1 FROM store.release_turn WHERE target = $1 AND NOT ready AND at <= $2)";
    match session.row(sql, &[&target, &Moment(now)]).await? {
        Some(row) => Ok(row.try_get(0)?),
        None => Ok(false),
    }
}

pub(super) async fn claim(
    session: &Session,
    target: &str,
    max: usize,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Claimed>, Failure> {
    let mut claimed = Vec::new();
    while claimed.len() < max
        && let Some((client, release)) = next(session, target, now).await?
    {
        claimed.push(hand_out(session, target, &client, release, until).await?);
    }
    Ok(claimed)
}

/// The release that is to be claimed next, and its client.
async fn next(session: &Session, target: &str, now: Timestamp) -> Result<Option<(String, Uuid)>, Failure> {
    let sql = "UPDATE store.release_turn SET ready = true WHERE target = $1 AND NOT ready AND at <= $2";
    session.execute(sql, &[&target, &Moment(now)]).await?;
    let claims = session.row("SELECT claims FROM store.target_claims WHERE target = $1", &[&target]).await?;
    let claims = claims.map_or(Ok(0), |row| number(&row, 0))?;
    let others_first = (claims + 1).is_multiple_of(PATROL);
    for ordered in [!others_first, others_first] {
        while let Some(client) = next_client(session, target, ordered).await? {
            if let Some(release) = longest_due(session, target, ordered, &client, now).await? {
                return Ok(Some((client, release)));
            }
            // An earlier claim looked at a clock that was ahead of this one.
            refresh(session, target, &client).await?;
        }
    }
    Ok(None)
}

/// Of the clients of whom something is due, the one that was served longest ago.
async fn next_client(session: &Session, target: &str, ordered: bool) -> Result<Option<String>, Failure> {
    let sql = "SELECT client FROM store.release_turn WHERE target = $1 AND ordered = $2 AND ready \
               ORDER BY turn, client LIMIT 1";
    let row = session.row(sql, &[&target, &ordered]).await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Of this client's releases, the one that is due longest.
async fn longest_due(
    session: &Session,
    target: &str,
    ordered: bool,
    client: &str,
    now: Timestamp,
) -> Result<Option<Uuid>, Failure> {
    let sql = "SELECT release FROM store.release_work \
               WHERE target = $1 AND client = $2 AND ordered = $3 AND at <= $4 ORDER BY at, release LIMIT 1";
    let row = session.row(sql, &[&target, &client, &ordered, &Moment(now)]).await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

async fn hand_out(
    session: &Session,
    target: &str,
    client: &str,
    id: Uuid,
    until: Timestamp,
) -> Result<Claimed, Failure> {
    let sql = "INSERT INTO store.target_claims AS c VALUES ($1, 1) \
               ON CONFLICT (target) DO UPDATE SET claims = c.claims + 1 RETURNING claims";
    let row = session.row(sql, &[&target]).await?.ok_or_else(|| damaged("number of claims"))?;
    let turn = number(&row, 0)?;
    let sql = "UPDATE store.release_turn SET turn = $3 WHERE target = $1 AND client = $2";
    session.execute(sql, &[&target, &client, &integer(turn)]).await?;
    let sql = "UPDATE store.release_work SET lease = lease + 1, until = $2, at = $2, woken = NULL \
               WHERE release = $1 RETURNING lease";
    let row = session.row(sql, &[&id, &Moment(until)]).await?.ok_or_else(|| damaged("lease"))?;
    let number = number(&row, 0)?;
    refresh(session, target, client).await?;
    let release = known_release(session, id).await?;
    let newest = known_order(session, release.order).await?;
    let order = Some(newest).filter(|order| !order.state.is_final());
    let mut journal = Vec::new();
    if let Some(order) = &order {
        let sql = "UPDATE store.release_order SET claimed = true WHERE id = $1";
        session.execute(sql, &[&order.id.0]).await?;
        let sql = "SELECT n, at, step, outcome, detail FROM store.order_journal WHERE order_id = $1 \
                   ORDER BY n DESC LIMIT $2";
        let rows = session.rows(sql, &[&order.id.0, &JOURNAL]).await?;
        journal = rows.iter().rev().map(entry).collect::<Result<Vec<_>, _>>()?;
    }
    Ok(Claimed { lease: Lease { release: id, number }, release, order, journal })
}
