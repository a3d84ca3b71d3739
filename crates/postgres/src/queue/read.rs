//! Reads that change nothing, over the pool.

use bytes::Bytes;
use orderwire_queue::engine::LOOK;
use orderwire_queue::model::{Entry, Figures, Position, QueueState};
use orderwire_types::QueueName;
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::scope::Clients;
use tokio_postgres::Row;

use super::plan::not_a_stream;
use super::{long, names, timestamp};
use crate::db::Database;
use crate::error::Error;

/// Name and settings of a queue, as they are stored.
pub(super) fn definition(stored: &str, def: &str) -> Result<(QueueName, QueueDef), Error> {
    let name = named(stored)?;
    let def = serde_json::from_str(def)
        .map_err(|error| Error::damaged(format!("the definition of {name}: {error}")))?;
    Ok((name, def))
}

fn named(stored: &str) -> Result<QueueName, Error> {
    stored.parse().map_err(|error| Error::damaged(format!("a queue's name: {error}")))
}

/// Every queue with its settings, by name.
pub(super) async fn definitions(database: &Database) -> Result<Vec<(QueueName, QueueDef)>, Error> {
    let rows =
        database.query("listing queues", "SELECT name, def FROM queue.queue ORDER BY name", &[]).await?;
    rows.iter().map(|row| definition(row.get(0), row.get(1))).collect()
}

/// The state of one queue, or of all, by name.
pub(super) async fn states(database: &Database, queue: Option<&QueueName>) -> Result<Vec<QueueState>, Error> {
    // The oldest is the first one by position.
    let ask = "SELECT q.name, q.waiting, q.in_flight, q.delayed, q.dead, q.paused, q.def, (
            SELECT e.accepted_at FROM queue.delivery d JOIN queue.event e ON e.position = d.position
            WHERE d.queue = q.id ORDER BY d.queue, abs(d.position) LIMIT 1
        ) FROM queue.queue q WHERE $1::text IS NULL OR q.name = $1 ORDER BY q.name";
    let rows = database.query("reading the queues' states", ask, &[&queue.map(QueueName::as_str)]).await?;
    rows.iter().map(state).collect()
}

fn state(row: &Row) -> Result<QueueState, Error> {
    let (name, def) = definition(row.get(0), row.get(6))?;
    let Figures { ready, in_flight, delayed, dead, paused } = figures_of(row)?;
    let oldest = row.get::<_, Option<i64>>(7).map(timestamp);
    Ok(QueueState { name, def, ready, in_flight, delayed, dead, oldest, paused })
}

/// The figures of all queues, by name.
pub(super) async fn figures(database: &Database) -> Result<Vec<(QueueName, Figures)>, Error> {
    let ask = "SELECT name, waiting, in_flight, delayed, dead, paused FROM queue.queue ORDER BY name";
    let rows = database.query("reading the queues' figures", ask, &[]).await?;
    rows.iter().map(|row| Ok((named(row.get(0))?, figures_of(row)?))).collect()
}

/// The figures of a queue from the second column on.
fn figures_of(row: &Row) -> Result<Figures, Error> {
    let count = |column: usize| {
        let count: i64 = row.get(column);
        let queue: &str = row.get(0);
        u64::try_from(count).map_err(|_| Error::damaged(format!("queue {queue} counts {count}")))
    };
    Ok(Figures {
        ready: count(1)?,
        in_flight: count(2)?,
        delayed: count(3)?,
        dead: count(4)?,
        paused: row.get(5),
    })
}

/// Id and kind of a queue, and whether it is paused.
async fn find(database: &Database, name: &QueueName) -> Result<Option<(i32, Kind, bool)>, Error> {
    let ask = "SELECT id, stream, paused FROM queue.queue WHERE name = $1";
    let rows = database.query("looking for a queue", ask, &[&name.as_str()]).await?;
    let kind = |stream: bool| if stream { Kind::Stream } else { Kind::Task };
    Ok(rows.first().map(|row| (row.get(0), kind(row.get(1)), row.get(2))))
}

/// Entries of a stream.
pub(super) async fn entries(
    database: &Database,
    name: &QueueName,
    after: Position,
    max: usize,
    max_bytes: usize,
) -> Result<Result<Vec<Entry>, orderwire_queue::Error>, Error> {
    let ask = "SELECT q.stream, x.position, x.body FROM queue.queue q LEFT JOIN LATERAL (
            SELECT y.position, y.body, sum(octet_length(y.body)) OVER (ORDER BY y.position) AS bytes,
                row_number() OVER (ORDER BY y.position) AS place
            FROM (
                SELECT d.position, e.body FROM queue.delivery d JOIN queue.event e ON e.position = d.position
                WHERE d.queue = q.id AND abs(d.position) > $2 ORDER BY d.queue, abs(d.position) LIMIT $3
            ) y
        ) x ON q.stream AND NOT q.paused AND (x.bytes <= $4 OR x.place = 1)
        WHERE q.name = $1 ORDER BY x.position";
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&name.as_str(), &after.0, &long(max), &long(max_bytes)];
    let rows = database.query("reading a stream", ask, params).await?;
    match rows.first().map(|row| row.get(0)) {
        None => return Ok(Err(orderwire_queue::Error::no_queue(name))),
        Some(false) => return Ok(Err(not_a_stream(name))),
        Some(true) => {}
    }
    // A stream without entries has a row without one.
    let found = rows.iter().filter_map(|row| Some((row.get::<_, Option<i64>>(1)?, row.get::<_, &[u8]>(2))));
    Ok(Ok(found.map(|(position, body)| entry(position, body)).collect()))
}

fn entry(position: i64, body: &[u8]) -> Entry {
    Entry { position: Position(position), body: Bytes::copy_from_slice(body) }
}

/// The first unsettled deliveries of these clients; none when there is no such queue.
pub(super) async fn peek(
    database: &Database,
    name: &QueueName,
    clients: &Clients,
    max: usize,
    max_bytes: usize,
) -> Result<Option<Vec<(u32, Entry)>>, Error> {
    let Some((id, kind, _)) = find(database, name).await? else { return Ok(None) };
    let names = names(clients);
    let source = match (kind, &names) {
        (Kind::Task, Some(_)) => BY_LANE,
        _ => BY_POSITION,
    };
    let ask = format!(
        "SELECT y.position, y.attempt, y.body FROM (
            SELECT x.position, x.attempt, x.body, octet_length(x.body) AS size,
                sum(octet_length(x.body)) OVER (ORDER BY x.position) AS bytes
            FROM (
                SELECT d.position, e.body,
                    d.attempt + CASE WHEN l.state = 1 AND d.position <= l.held_to THEN 1 ELSE 0 END AS attempt
                FROM ({source}) d JOIN queue.event e ON e.position = d.position
                    JOIN queue.lane l ON l.queue = $1 AND l.lane = d.lane
                WHERE $2::text[] IS NULL OR e.client = ANY ($2)
                ORDER BY d.position LIMIT $3
            ) x
        ) y WHERE y.bytes - y.size < $4 OR y.bytes = y.size ORDER BY y.position"
    );
    let look = long(if names.is_some() { LOOK } else { max });
    let rows = database.query("peeking", &ask, &[&id, &names, &long(max), &long(max_bytes), &look]).await?;
    let found = rows.iter().map(|row| {
        let attempt = u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX);
        (attempt, entry(row.get(0), row.get(2)))
    });
    Ok(Some(found.collect()))
}

/// The first deliveries of a queue.
const BY_POSITION: &str = "SELECT x.position, x.attempt, x.lane FROM queue.delivery x WHERE x.queue = $1
    ORDER BY x.queue, abs(x.position) LIMIT $5";

/// The first deliveries of some clients: those of the lanes that begin first. In a lane the
/// segments are stepped over that hold nothing of the queue.
const BY_LANE: &str = "SELECT x.position, x.attempt, o.lane
    FROM (
        SELECT l.lane, l.head, l.tail FROM queue.lane l WHERE l.queue = $1 AND l.client = ANY ($2)
        ORDER BY l.head LIMIT least($3::bigint, $5::bigint)
    ) o, LATERAL (
        WITH RECURSIVE s (segment) AS (
            SELECT o.head >> 16
            UNION ALL
            SELECT (
                SELECT n.segment FROM queue.delivery n WHERE n.queue = $1 AND n.segment > s.segment
                ORDER BY n.queue, n.segment LIMIT 1
            ) FROM s WHERE s.segment < o.tail >> 16
        )
        SELECT d.position, d.attempt FROM s, LATERAL (
            SELECT i.position, i.attempt FROM queue.delivery i
            WHERE i.queue = $1 AND i.segment = s.segment AND i.lane = o.lane AND i.position >= o.head
            ORDER BY i.queue, i.segment, i.lane, i.position LIMIT $3
        ) d LIMIT $3
    ) x";
