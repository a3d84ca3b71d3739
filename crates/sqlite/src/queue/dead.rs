//! Dead letters: listed, replayed, discarded.

use orderwire_queue::engine::Outcome;
use orderwire_queue::model::{DeadFilter, DeadLetter, DeadPage};
use orderwire_types::EventId;
use orderwire_types::scope::Clients;
use orderwire_types::step::Step;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use uuid::Uuid;

use super::append::NewEvent;
use super::settle::Ended;
use super::state::damaged;
use super::writer::{Stop, Tx};
use super::{nanos, timestamp};

/// A row of `dead` on its way back into its queue.
struct Letter {
    queue: i64,
    key: Option<String>,
    event_id: [u8; 16],
    trace: [u8; 16],
    accepted_at: i64,
    client: String,
    event_type: String,
    body: Vec<u8>,
}

impl Tx<'_> {
    pub(super) fn replay(&mut self, ids: &[i64], principal: &str) -> Result<Outcome, Stop> {
        let mut count = 0;
        for id in ids {
            let letter = self
                .db
                .prepare_cached(
                    "DELETE FROM dead WHERE id = ?1
                     RETURNING queue, key, event_id, trace, accepted_at, client, type, body",
                )?
                .query_row([id], Letter::from_row)
                .optional()?;
            let Some(letter) = letter else { continue };
            self.state.queue_mut(letter.queue).dead -= 1;
            let event = NewEvent {
                event_id: &letter.event_id,
                trace: &letter.trace,
                accepted_at: letter.accepted_at,
                client: &letter.client,
                event_type: &letter.event_type,
                body: &letter.body,
            };
            let position = self.insert_event(&event, 1)?;
            self.deliver(letter.queue, &letter.client, letter.key.as_deref(), position)?;
            let event_id = Uuid::from_bytes(letter.event_id);
            let step = self.step(principal, "replayed", "ok", letter.queue, event_id);
            self.write_steps(&letter.trace, &letter.client, &[step])?;
            count += 1;
        }
        Ok(Outcome::Count(count))
    }

    pub(super) fn discard(&mut self, ids: &[i64], principal: &str, reason: &str) -> Result<Outcome, Stop> {
        let mut count = 0;
        for id in ids {
            let gone = self
                .db
                .prepare_cached("DELETE FROM dead WHERE id = ?1 RETURNING event_id, trace, client, queue")?
                .query_row([id], |row| Ok((Ended::from_row(row)?, row.get::<_, i64>(3)?)))
                .optional()?;
            let Some((ended, queue)) = gone else { continue };
            self.state.queue_mut(queue).dead -= 1;
            let step = Step {
                detail: Some(reason.to_owned()),
                ..self.step(principal, "discarded", "ok", queue, ended.event_id)
            };
            self.write_steps(ended.trace.as_bytes(), &ended.client, &[step])?;
            count += 1;
        }
        Ok(Outcome::Count(count))
    }
}

impl Letter {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            queue: row.get(0)?,
            key: row.get(1)?,
            event_id: row.get(2)?,
            trace: row.get(3)?,
            accepted_at: row.get(4)?,
            client: row.get(5)?,
            event_type: row.get(6)?,
            body: row.get(7)?,
        })
    }
}

/// A page of dead letters by ascending id.
pub(super) fn page(
    db: &Connection,
    clients: &Clients,
    filter: &DeadFilter,
    after: i64,
    max: usize,
) -> rusqlite::Result<DeadPage> {
    let (conditions, values) = conditions(clients, filter, after);
    let sql = format!(
        "SELECT d.id, q.name, d.event_id, d.type, d.client, d.trace, d.attempts, d.cause, d.died_at, d.body
         FROM dead d CROSS JOIN queue q ON q.id = d.queue WHERE {conditions} ORDER BY d.id"
    );
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = DeadPage::default();
    while let Some(row) = rows.next()? {
        let letter_type: String = row.get(3)?;
        let event_type = damaged(letter_type.parse())?;
        if filter.event_type.as_ref().is_some_and(|pattern| !pattern.matches(&event_type)) {
            continue;
        }
        page.items.push(letter(row, event_type)?);
        if page.items.len() >= max.max(1) {
            page.next = page.items.last().map(|letter| letter.id);
            break;
        }
    }
    // A page that ends with the last letter is the last page.
    if page.next.is_some() && rows.next()?.is_none() {
        page.next = None;
    }
    Ok(page)
}

/// The part of the filter that SQL decides. The plan walks ids upwards,
/// through an index where there is one.
fn conditions(clients: &Clients, filter: &DeadFilter, after: i64) -> (String, Vec<Value>) {
    let mut sql = String::from("d.id > ?");
    let mut values = vec![Value::Integer(after)];
    let mut add = |condition: &str, value: Value| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if let Clients::Only(clients) = clients {
        let names: Vec<&str> = clients.iter().map(orderwire_types::Client::as_str).collect();
        add("d.client IN (SELECT value FROM json_each(?))", json(&names));
    }
    if let Some(ids) = &filter.ids {
        add("d.id IN (SELECT value FROM json_each(?))", json(ids));
    }
    if let Some(queue) = &filter.queue {
        add("d.queue = (SELECT id FROM queue WHERE name = ?)", Value::Text(queue.to_string()));
    }
    if let Some(client) = &filter.client {
        add("d.client = ?", Value::Text(client.to_string()));
    }
    if let Some(cause) = &filter.cause {
        add("instr(lower(d.cause), ?) > 0", Value::Text(cause.to_ascii_lowercase()));
    }
    if let Some(since) = filter.since {
        add("d.died_at >= ?", Value::Integer(nanos(since)));
    }
    if let Some(until) = filter.until {
        add("d.died_at < ?", Value::Integer(nanos(until)));
    }
    (sql, values)
}

fn json<T: serde::Serialize>(values: &[T]) -> Value {
    Value::Text(serde_json::to_string(values).expect("plain data"))
}

fn letter(row: &Row<'_>, event_type: orderwire_types::EventType) -> rusqlite::Result<DeadLetter> {
    let text = |column| row.get::<_, String>(column);
    Ok(DeadLetter {
        id: row.get(0)?,
        queue: damaged(text(1)?.parse())?,
        event_id: EventId(Uuid::from_bytes(row.get(2)?)),
        event_type,
        client: damaged(text(4)?.parse())?,
        trace: Uuid::from_bytes(row.get(5)?),
        attempts: row.get(6)?,
        cause: row.get(7)?,
        died_at: timestamp(row.get(8)?),
        body: row.get::<_, Vec<u8>>(9)?.into(),
    })
}
