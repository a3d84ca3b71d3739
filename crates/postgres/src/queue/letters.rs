//! Dead letters, found by filter: first their ids in order, from an index where one fits,
//! then what the filter asks for, and the bodies last, of those alone that are shown.

use std::collections::HashMap;

use bytes::Bytes;
use orderwire_queue::model::{DeadFilter, DeadLetter, DeadPage, DeadRef, DeadRefs};
use orderwire_types::scope::Clients;
use orderwire_types::{Client, EventId, EventType, QueueName};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{nanos, timestamp};
use crate::db::Database;
use crate::error::Error;

/// At most about this many letters are looked at for one page.
const LOOK: usize = 10_000;
/// Ids that are read at once.
const CHUNK: usize = 256;

const WHAT: &str = "listing dead letters";

/// A page of dead letters by ascending id.
pub(super) async fn page(
    database: &Database,
    clients: &Clients,
    filter: &DeadFilter,
    after: i64,
    max: usize,
    max_bytes: usize,
) -> Result<DeadPage, Error> {
    let (letters, next) = scan(database, clients, filter, after, max, max_bytes).await?;
    let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
    let rows = database.query(WHAT, "SELECT id, body FROM queue.dead WHERE id = ANY ($1)", &[&ids]).await?;
    let mut bodies: HashMap<i64, Bytes> =
        rows.iter().map(|row| (row.get(0), Bytes::copy_from_slice(row.get(1)))).collect();
    // One that went away meanwhile is gone.
    let items = letters
        .into_iter()
        .filter_map(|letter| bodies.remove(&letter.id).map(|body| letter.with_body(body)))
        .collect();
    Ok(DeadPage { items, next })
}

/// The same without what is in them.
pub(super) async fn refs(
    database: &Database,
    clients: &Clients,
    filter: &DeadFilter,
    after: i64,
    max: usize,
) -> Result<DeadRefs, Error> {
    let (letters, next) = scan(database, clients, filter, after, max, usize::MAX).await?;
    let refs =
        letters.into_iter().map(|letter| DeadRef { id: letter.id, queue: letter.queue, bytes: letter.bytes });
    Ok(DeadRefs { items: refs.collect(), next })
}

/// The letters of a page without their bodies, and the id after which to go on; none at the
/// end.
async fn scan(
    database: &Database,
    clients: &Clients,
    filter: &DeadFilter,
    mut after: i64,
    max: usize,
    max_bytes: usize,
) -> Result<(Vec<Letter>, Option<i64>), Error> {
    let source = Source::of(clients, filter);
    let (mut found, mut bytes, mut looked): (Vec<Letter>, _, _) = (Vec::new(), 0, 0);
    loop {
        let rows = source.rows(database, after).await?;
        for row in &rows {
            after = row.get(0);
            let Some(letter) = Letter::from_row(row)? else { continue };
            if !letter.is_selected(clients, filter) {
                continue;
            }
            if let Some(last) = found.last().map(|letter| letter.id)
                && (found.len() >= max || bytes >= max_bytes)
            {
                return Ok((found, Some(last)));
            }
            bytes += letter.bytes;
            found.push(letter);
        }
        looked += rows.len();
        if rows.len() < CHUNK {
            return Ok((found, None));
        }
        if looked >= LOOK {
            return Ok((found, Some(after)));
        }
    }
}

/// Where the ids come from. Some that the filter does not select may be among them.
enum Source {
    Ids(Vec<i64>),
    Clients(Vec<String>),
    Queue(QueueName),
    All,
}

impl Source {
    fn of(clients: &Clients, filter: &DeadFilter) -> Self {
        if let Some(ids) = &filter.ids {
            return Self::Ids(ids.clone());
        }
        if let Some(client) = &filter.client {
            return Self::Clients(vec![client.to_string()]);
        }
        if let Clients::Only(clients) = clients {
            return Self::Clients(clients.iter().map(ToString::to_string).collect());
        }
        filter.queue.clone().map_or(Self::All, Self::Queue)
    }

    /// The next letters after an id, in order; fewer than [`CHUNK`] are the last. One that is
    /// gone is a row without a queue.
    async fn rows(&self, database: &Database, after: i64) -> Result<Vec<Row>, Error> {
        let (ids, param): (_, Option<Box<dyn ToSql + Send + Sync>>) = match self {
            Self::Ids(ids) => {
                let of = "SELECT DISTINCT i AS id FROM unnest($2::bigint[]) i WHERE i > $1 ORDER BY i";
                (of, Some(Box::new(ids.clone())))
            }
            Self::Clients(clients) => {
                let of = "SELECT x.id FROM unnest($2::text[]) c, LATERAL (
                        SELECT y.id FROM queue.dead y WHERE y.client = c AND y.id > $1
                        ORDER BY y.client, y.id LIMIT {CHUNK}
                    ) x ORDER BY x.id";
                (of, Some(Box::new(clients.clone())))
            }
            Self::Queue(queue) => {
                let of = "SELECT y.id FROM queue.dead y
                    WHERE y.queue = (SELECT q.id FROM queue.queue q WHERE q.name = $2) AND y.id > $1
                    ORDER BY y.queue, y.id";
                (of, Some(Box::new(queue.to_string())))
            }
            Self::All => ("SELECT y.id FROM queue.dead y WHERE y.id > $1 ORDER BY y.id", None),
        };
        let ids = ids.replace("{CHUNK}", &CHUNK.to_string());
        // The length of a body is known without reading it.
        let ask = format!(
            "SELECT s.id, q.name, d.event_id, d.type, d.client, d.trace, d.attempts, d.cause, d.died_at,
                octet_length(d.body)
             FROM ({ids} LIMIT {CHUNK}) s LEFT JOIN (queue.dead d JOIN queue.queue q ON q.id = d.queue) ON d.id = s.id
             ORDER BY s.id"
        );
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&after];
        params.extend(param.iter().map(|param| &**param as &(dyn ToSql + Sync)));
        database.query(WHAT, &ask, &params).await
    }
}

/// A dead letter without its body.
struct Letter {
    id: i64,
    queue: QueueName,
    event_id: EventId,
    event_type: EventType,
    client: Client,
    trace: Uuid,
    attempts: u32,
    cause: String,
    died_at: i64,
    bytes: usize,
}

impl Letter {
    fn from_row(row: &Row) -> Result<Option<Self>, Error> {
        fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
            row: &Row,
            column: usize,
        ) -> Result<T, Error> {
            let text: &str = row.get(column);
            text.parse().map_err(|error| Error::damaged(format!("a dead letter's {text}: {error}")))
        }
        if row.get::<_, Option<&str>>(1).is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            id: row.get(0),
            queue: parsed(row, 1)?,
            event_id: EventId(row.get(2)),
            event_type: parsed(row, 3)?,
            client: parsed(row, 4)?,
            trace: row.get(5),
            attempts: u32::try_from(row.get::<_, i64>(6)).unwrap_or(u32::MAX),
            cause: row.get(7),
            died_at: row.get(8),
            bytes: usize::try_from(row.get::<_, i32>(9)).unwrap_or_default(),
        }))
    }

    fn is_selected(&self, clients: &Clients, filter: &DeadFilter) -> bool {
        let covered = match clients {
            Clients::All => true,
            Clients::Only(clients) => clients.contains(&self.client),
        };
        let says = |text: &String| self.cause.to_ascii_lowercase().contains(&text.to_ascii_lowercase());
        covered
            && filter.queue.as_ref().is_none_or(|queue| *queue == self.queue)
            && filter.event_type.as_ref().is_none_or(|pattern| pattern.matches(&self.event_type))
            && filter.client.as_ref().is_none_or(|client| *client == self.client)
            && filter.cause.as_ref().is_none_or(says)
            && filter.since.is_none_or(|since| self.died_at >= nanos(since))
            && filter.until.is_none_or(|until| self.died_at < nanos(until))
    }

    fn with_body(self, body: Bytes) -> DeadLetter {
        DeadLetter {
            id: self.id,
            queue: self.queue,
            event_id: self.event_id,
            event_type: self.event_type,
            client: self.client,
            trace: self.trace,
            attempts: self.attempts,
            cause: self.cause,
            died_at: timestamp(self.died_at),
            body,
        }
    }
}
