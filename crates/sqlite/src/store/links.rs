//! Which events caused which.

use jiff::Timestamp;
use orderwire_store::{KnownCause, Lineage, Link};
use orderwire_types::scope::Clients;
use orderwire_types::{Client, EventId, Scope};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::error::damaged_value;

/// The length of a part, in microseconds: a day. Few enough to probe each.
const DAY: i64 = 86_400_000_000;
/// How many ids a walk remembers at most, for each link that is asked for.
const WALK: i64 = 16;

pub(super) fn part(at: Timestamp) -> i64 {
    at.as_microsecond().div_euclid(DAY)
}

/// Notes links; one that is there stays as it is.
pub(super) fn add(connection: &Connection, links: &[Link]) -> rusqlite::Result<()> {
    for link in links {
        let part = part(link.at);
        let known = link.known.as_ref();
        connection.prepare_cached("INSERT OR IGNORE INTO link_part (part) VALUES (?1)")?.execute([part])?;
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO link (part, effect, cause, at, client, trace, type, cause_client, \
                 cause_trace, cause_type, made_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                part,
                &link.effect.0.as_bytes()[..],
                &link.cause.0.as_bytes()[..],
                link.at.as_microsecond(),
                link.client.as_str(),
                &link.trace.as_bytes()[..],
                link.effect_type,
                known.map(|known| known.client.as_str()),
                known.map(|known| &known.trace.as_bytes()[..]),
                known.map(|known| known.event_type.as_str()),
                link.by,
            ])?;
    }
    Ok(())
}

/// Each end goes from part to part, by its key: CROSS JOIN keeps the order of the loops, and INDEXED BY keeps
/// the planner from reading a day as a whole. UNION passes over what was reached already, which ends circles. What is
/// nearest is reached first: SQLite takes what it has reached in the order in which it came, which is its way and no promise,
/// and a case of the contract would notice.
const AROUND: &str = "\
    WITH RECURSIVE \
    up(id) AS ( \
        SELECT unhex(value) FROM json_each(?1) UNION \
        SELECT l.cause FROM up w CROSS JOIN link_part p CROSS JOIN link l \
        WHERE l.part = p.part AND l.effect = w.id \
        AND (?3 IS NULL OR l.client IN (SELECT value FROM json_each(?3)) \
            AND (l.cause_client IS NULL OR l.cause_client IN (SELECT value FROM json_each(?3)))) \
        LIMIT ?2), \
    down(id) AS ( \
        SELECT unhex(value) FROM json_each(?1) UNION \
        SELECT l.effect FROM down w CROSS JOIN link_part p \
            CROSS JOIN link l INDEXED BY link_cause \
        WHERE l.part = p.part AND l.cause = w.id \
        AND (?3 IS NULL OR l.client IN (SELECT value FROM json_each(?3)) \
            AND (l.cause_client IS NULL OR l.cause_client IN (SELECT value FROM json_each(?3)))) \
        LIMIT ?2) \
    SELECT * FROM (SELECT l.* FROM up w CROSS JOIN link_part p CROSS JOIN link l \
    WHERE l.part = p.part AND l.effect = w.id \
    LIMIT ?2) \
    UNION ALL \
    SELECT * FROM (SELECT l.* FROM down w CROSS JOIN link_part p \
        CROSS JOIN link l INDEXED BY link_cause \
    WHERE l.part = p.part AND l.cause = w.id LIMIT ?2)";

/// The links around these events. One link more than asked for, so that it is known whether there is more.
pub(super) fn around(
    connection: &Connection,
    scope: &Scope,
    events: &[Uuid],
    links_max: usize,
) -> rusqlite::Result<Lineage> {
    let hex: Vec<String> = events.iter().map(|event| event.simple().to_string()).collect();
    let hex = serde_json::Value::from(hex).to_string();
    let clients = match &scope.clients {
        Clients::All => None,
        Clients::Only(clients) => {
            let names: Vec<&str> = clients.iter().map(Client::as_str).collect();
            Some(serde_json::Value::from(names).to_string())
        }
    };
    let most = i64::try_from(links_max).unwrap_or(i64::MAX).saturating_add(1).saturating_mul(WALK);
    let most = most.saturating_add(i64::try_from(events.len()).unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(AROUND)?;
    let mut rows = statement.query(params![hex, most, clients])?;
    let mut found = Vec::new();
    let mut read_rows = 0;
    while let Some(row) = rows.next()? {
        read_rows += 1;
        let link = read(row)?;
        if link.is_visible(scope) {
            found.push(link);
        }
    }
    let cut = read_rows >= most;
    let lineage = Lineage::nearest(events, found, links_max);
    Ok(Lineage { cut: lineage.cut || cut, ..lineage })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Link> {
    let id = |at: usize| {
        Uuid::from_slice(row.get_ref(at)?.as_blob()?).map_err(|_| damaged_value(at, "id of a link"))
    };
    let client =
        |at: usize, text: &str| text.parse::<Client>().map_err(|_| damaged_value(at, "client of a link"));
    let moment = Timestamp::from_microsecond(row.get(3)?).map_err(|_| damaged_value(3, "time of a link"))?;
    let known = match row.get::<_, Option<String>>(7)? {
        None => None,
        Some(name) => Some(KnownCause { client: client(7, &name)?, trace: id(8)?, event_type: row.get(9)? }),
    };
    Ok(Link {
        effect: EventId(id(1)?),
        cause: EventId(id(2)?),
        at: moment,
        client: client(4, row.get_ref(4)?.as_str()?)?,
        trace: id(5)?,
        effect_type: row.get(6)?,
        known,
        by: row.get(10)?,
    })
}

/// Drops at most `limit` links of days that ended before `before`.
pub(super) fn sweep(connection: &Connection, before: Timestamp, limit: i64) -> rusqlite::Result<usize> {
    let until = part(before);
    let dropped = connection
        .prepare_cached(
            "DELETE FROM link WHERE (part, effect, cause) IN (SELECT part, effect, cause FROM link \
             WHERE part < ?1 ORDER BY part, effect, cause LIMIT ?2)",
        )?
        .execute(params![until, limit])?;
    connection
        .prepare_cached(
            "DELETE FROM link_part WHERE part < ?1 \
             AND NOT EXISTS (SELECT 1 FROM link l WHERE l.part = link_part.part)",
        )?
        .execute([until])?;
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_by_their_ends_and_never_by_looking_through_all() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../migrations/store/0007_link.sql")).unwrap();
        around(&connection, &Scope::internal("test"), &[Uuid::from_u128(1)], 9).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {AROUND}")).unwrap();
        let lines =
            statement.query_map(params!["[]", 9, None::<String>], |row| row.get::<_, String>("detail"));
        let lines = lines.unwrap().collect::<rusqlite::Result<Vec<_>>>().unwrap();
        let of_links: Vec<&String> = lines.iter().filter(|line| line.contains(" l ")).collect();
        assert_eq!(of_links.len(), 4, "{lines:?}");
        for line in of_links {
            assert!(
                line.contains("(part=? AND effect=?)") || line.contains("(part=? AND cause=?)"),
                "{lines:?}"
            );
        }
    }
}
