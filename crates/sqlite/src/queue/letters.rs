//! Dead letters, found by filter: first their ids in order, from an index
//! where one fits, then what the filter asks for, and the bodies last, of those
//! alone that are shown.

use std::ops::ControlFlow;

use orderwire_queue::model::{DeadFilter, DeadLetter, DeadPage, DeadRef, DeadRefs};
use orderwire_types::scope::Clients;
use orderwire_types::{Client, EventId, EventType, QueueName};
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::state::damaged;
use super::{nanos, timestamp};

/// At most about this many letters are looked at for one page.
const LOOK: usize = 10_000;
/// Ids that are read at once.
const CHUNK: usize = 256;

/// A page of dead letters by ascending id.
pub(super) fn page(
    db: &Connection,
    clients: &Clients,
    filter: &DeadFilter,
    after: i64,
    max: usize,
    max_bytes: usize,
) -> rusqlite::Result<DeadPage> {
    let mut page = DeadPage::default();
    let mut bytes = 0;
    page.next = scan(db, clients, filter, after, |letter| {
        if let Some(last) = page.items.last()
            && (page.items.len() >= max || bytes >= max_bytes)
        {
            return Ok(ControlFlow::Break(last.id));
        }
        bytes += letter.bytes;
        page.items.push(letter.with_body(db)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(page)
}

/// The same without what is in them.
pub(super) fn refs(
    db: &Connection,
    clients: &Clients,
    filter: &DeadFilter,
    after: i64,
    max: usize,
) -> rusqlite::Result<DeadRefs> {
    let mut page = DeadRefs::default();
    page.next = scan(db, clients, filter, after, |letter| {
        if let Some(last) = page.items.last()
            && page.items.len() >= max
        {
            return Ok(ControlFlow::Break(last.id));
        }
        page.items.push(DeadRef { id: letter.id, queue: letter.queue, bytes: letter.bytes });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(page)
}

/// Shows every selected letter until one breaks; the id after which to go on,
/// `None` at the end.
fn scan(
    db: &Connection,
    clients: &Clients,
    filter: &DeadFilter,
    mut after: i64,
    mut show: impl FnMut(Letter) -> rusqlite::Result<ControlFlow<i64>>,
) -> rusqlite::Result<Option<i64>> {
    let source = Source::of(db, clients, filter)?;
    let mut looked = 0;
    loop {
        let ids = source.ids(db, after)?;
        for id in &ids {
            after = *id;
            let Some(letter) = Letter::load(db, *id)? else { continue };
            if letter.is_selected(clients, filter)
                && let ControlFlow::Break(next) = show(letter)?
            {
                return Ok(Some(next));
            }
        }
        looked += ids.len();
        if ids.len() < CHUNK {
            return Ok(None);
        }
        if looked >= LOOK {
            return Ok(Some(after));
        }
    }
}

/// Where the ids come from. Some that the filter does not select may be among
/// them.
enum Source {
    Ids(Vec<i64>),
    Clients(Vec<String>),
    Queue(i64),
    All,
}

impl Source {
    fn of(db: &Connection, clients: &Clients, filter: &DeadFilter) -> rusqlite::Result<Self> {
        if let Some(ids) = &filter.ids {
            let mut ids = ids.clone();
            ids.sort_unstable();
            ids.dedup();
            return Ok(Self::Ids(ids));
        }
        if let Some(client) = &filter.client {
            return Ok(Self::Clients(vec![client.as_str().to_owned()]));
        }
        if let Clients::Only(clients) = clients {
            return Ok(Self::Clients(clients.iter().map(|client| client.as_str().to_owned()).collect()));
        }
        let Some(queue) = &filter.queue else { return Ok(Self::All) };
        let id = db
            .prepare_cached("SELECT id FROM queue WHERE name = ?1")?
            .query_row([queue.as_str()], |row| row.get(0))
            .optional()?;
        Ok(id.map_or(Self::Ids(Vec::new()), Self::Queue))
    }

    /// The next ids after one, in order; fewer than [`CHUNK`] are the last.
    fn ids(&self, db: &Connection, after: i64) -> rusqlite::Result<Vec<i64>> {
        let limit = i64::try_from(CHUNK).expect("a small number");
        match self {
            Self::Ids(ids) => {
                let first = ids.partition_point(|id| *id <= after);
                Ok(ids[first..].iter().take(CHUNK).copied().collect())
            }
            Self::Clients(clients) => {
                let mut of_one = db.prepare_cached(
                    "SELECT id FROM dead INDEXED BY dead_client WHERE client = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                )?;
                let mut ids = Vec::new();
                for client in clients {
                    for id in of_one.query_map((client, after, limit), |row| row.get(0))? {
                        ids.push(id?);
                    }
                }
                ids.sort_unstable();
                ids.truncate(CHUNK);
                Ok(ids)
            }
            Self::Queue(queue) => db
                .prepare_cached(
                    "SELECT id FROM dead INDEXED BY dead_queue WHERE queue = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                )?
                .query_map((queue, after, limit), |row| row.get(0))?
                .collect(),
            Self::All => db
                .prepare_cached("SELECT id FROM dead WHERE id > ?1 ORDER BY id LIMIT ?2")?
                .query_map((after, limit), |row| row.get(0))?
                .collect(),
        }
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
    fn load(db: &Connection, id: i64) -> rusqlite::Result<Option<Self>> {
        // The length of a body is known without reading it.
        db.prepare_cached(
            "SELECT d.id, q.name, d.event_id, d.type, d.client, d.trace, d.attempts, d.cause, d.died_at,
                length(d.body)
             FROM dead d CROSS JOIN queue q ON q.id = d.queue WHERE d.id = ?1",
        )?
        .query_row([id], Self::from_row)
        .optional()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = |column| row.get::<_, String>(column);
        Ok(Self {
            id: row.get(0)?,
            queue: damaged(text(1)?.parse())?,
            event_id: EventId(Uuid::from_bytes(row.get(2)?)),
            event_type: damaged(text(3)?.parse())?,
            client: damaged(text(4)?.parse())?,
            trace: Uuid::from_bytes(row.get(5)?),
            attempts: row.get(6)?,
            cause: row.get(7)?,
            died_at: row.get(8)?,
            bytes: damaged(usize::try_from(row.get::<_, i64>(9)?))?,
        })
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

    fn with_body(self, db: &Connection) -> rusqlite::Result<DeadLetter> {
        let body: Vec<u8> = db
            .prepare_cached("SELECT body FROM dead WHERE id = ?1")?
            .query_row([self.id], |row| row.get(0))?;
        Ok(DeadLetter {
            id: self.id,
            queue: self.queue,
            event_id: self.event_id,
            event_type: self.event_type,
            client: self.client,
            trace: self.trace,
            attempts: self.attempts,
            cause: self.cause,
            died_at: timestamp(self.died_at),
            body: body.into(),
        })
    }
}
