//! Which events caused which.

use jiff::Timestamp;
use orderwire_store::{KnownCause, Lineage, Link};
use orderwire_types::scope::Clients;
use orderwire_types::{Client, EventId, Scope};
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::{Failure, damaged};
use super::session::Session;
use super::value::Moment;

/// How many ids a walk goes through at most, for each link that is asked for.
const WALK: i64 = 16;

/// Notes links; one that is there stays as it is.
pub(super) async fn add(session: &Session, links: &[Link]) -> Result<(), Failure> {
    // Others may note the same ones: always in the same order.
    let mut ordered: Vec<&Link> = links.iter().collect();
    ordered.sort_by_key(|link| (link.effect.0, link.cause.0));
    for link in ordered {
        let known = link.known.as_ref();
        let sql = "INSERT INTO store.link (effect, cause, at, client, trace, type, cause_client, cause_trace, \
                   cause_type, made_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
        session
            .execute(
                sql,
                &[
                    &link.effect.0,
                    &link.cause.0,
                    &Moment(link.at),
                    &link.client.as_str(),
                    &link.trace,
                    &link.effect_type,
                    &known.map(|known| known.client.as_str()),
                    &known.map(|known| known.trace),
                    &known.map(|known| known.event_type.as_str()),
                    &link.by,
                ],
            )
            .await?;
    }
    Ok(())
}

/// The links around these events. One link more than asked for, so that it is known whether there is more.
pub(super) async fn around(
    session: &Session,
    scope: &Scope,
    events: &[Uuid],
    links_max: usize,
) -> Result<Lineage, Failure> {
    // UNION passes over what was reached already, which ends circles. A walk is made only as far as its
    // rows are asked for (LIMIT). What is nearest is reached first, and its links are read first.
    const SQL: &str = "\
        WITH RECURSIVE up(id) AS ( \
            SELECT unnest($1::uuid[]) UNION \
            SELECT l.cause FROM up w JOIN store.link l ON l.effect = w.id \
            WHERE ($3::text[] IS NULL OR l.client = ANY ($3) \
                AND (l.cause_client IS NULL OR l.cause_client = ANY ($3)))), \
        down(id) AS ( \
            SELECT unnest($1::uuid[]) UNION \
            SELECT l.effect FROM down w JOIN store.link l ON l.cause = w.id \
            WHERE ($3::text[] IS NULL OR l.client = ANY ($3) \
                AND (l.cause_client IS NULL OR l.cause_client = ANY ($3)))) \
        SELECT effect, cause, at, client, trace, type, cause_client, cause_trace, cause_type, made_by \
        FROM ( \
            (SELECT l.* FROM (SELECT id, row_number() OVER () AS place FROM up LIMIT $2) w \
                JOIN store.link l ON l.effect = w.id ORDER BY w.place LIMIT $2) \
            UNION ALL \
            (SELECT l.* FROM (SELECT id, row_number() OVER () AS place FROM down LIMIT $2) w \
                JOIN store.link l ON l.cause = w.id ORDER BY w.place LIMIT $2) \
        ) found";
    let clients: Option<Vec<&str>> = match &scope.clients {
        Clients::All => None,
        Clients::Only(clients) => Some(clients.iter().map(Client::as_str).collect()),
    };
    let most = i64::try_from(links_max).unwrap_or(i64::MAX).saturating_add(1).saturating_mul(WALK);
    let most = most.saturating_add(i64::try_from(events.len()).unwrap_or(i64::MAX));
    let rows = session.rows(SQL, &[&events, &most, &clients]).await?;
    let cut = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= most;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let link = read(row)?;
        if link.is_visible(scope) {
            found.push(link);
        }
    }
    let lineage = Lineage::nearest(events, found, links_max);
    Ok(Lineage { cut: lineage.cut || cut, ..lineage })
}

fn read(row: &Row) -> Result<Link, Failure> {
    let client = |text: &str| text.parse::<Client>().map_err(|_| damaged("client of a link"));
    let known = match row.try_get::<_, Option<&str>>(6)? {
        None => None,
        Some(name) => {
            Some(KnownCause { client: client(name)?, trace: row.try_get(7)?, event_type: row.try_get(8)? })
        }
    };
    Ok(Link {
        effect: EventId(row.try_get(0)?),
        cause: EventId(row.try_get(1)?),
        at: row.try_get::<_, Moment>(2)?.0,
        client: client(row.try_get(3)?)?,
        trace: row.try_get(4)?,
        effect_type: row.try_get(5)?,
        known,
        by: row.try_get(9)?,
    })
}

/// Drops at most `limit` links from before `before`.
pub(super) async fn sweep(session: &Session, before: Timestamp, limit: i64) -> Result<u64, Failure> {
    let sql = "DELETE FROM store.link WHERE (effect, cause) IN ( \
               SELECT effect, cause FROM store.link WHERE at < $1 ORDER BY at LIMIT $2)";
    session.execute(sql, &[&Moment(before), &limit]).await
}
