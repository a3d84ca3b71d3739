//! Dead letters: edited, replayed, discarded.

use orderwire_queue::engine::{Edit, Outcome};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::Client;
use orderwire_types::scope::Clients;
use orderwire_types::step::Step;
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::append::NewEvent;
use super::state::damaged;
use super::told::Tasks;
use super::writer::{Stop, Tx};

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
                principal,
                tasks: Tasks::default(),
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

    pub(super) fn edit(&mut self, edit: &Edit) -> Result<Outcome, Stop> {
        let Edit { id, clients, seen, body, principal, reason } = edit;
        let found = self
            .db
            .prepare_cached("SELECT client, queue, event_id, trace, body = ?2 FROM dead WHERE id = ?1")?
            .query_row(params![id, &seen[..]], |row| {
                let client: Client = damaged(row.get::<_, String>(0)?.parse())?;
                let is_seen: bool = row.get(4)?;
                Ok((client, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, [u8; 16]>(3)?, is_seen))
            })
            .optional()?;
        let covers = |client: &Client| match clients {
            Clients::All => true,
            Clients::Only(clients) => clients.contains(client),
        };
        let Some((client, queue, event_id, trace, is_seen)) = found.filter(|found| covers(&found.0)) else {
            return Err(Error::new(ErrorKind::NotFound, format!("dead letter {id} does not exist")).into());
        };
        if !is_seen {
            return Err(
                Error::new(ErrorKind::Conflict, format!("dead letter {id} was changed meanwhile")).into()
            );
        }
        self.db.prepare_cached("UPDATE dead SET body = ?2 WHERE id = ?1")?.execute(params![id, &body[..]])?;
        let step = Step {
            detail: reason.clone(),
            ..self.step(principal, "edited", "ok", queue, Uuid::from_bytes(event_id))
        };
        self.write_steps(&trace, client.as_str(), &[step])?;
        Ok(Outcome::Done)
    }

    pub(super) fn discard(&mut self, ids: &[i64], principal: &str, reason: &str) -> Result<Outcome, Stop> {
        let mut count = 0;
        for id in ids {
            let gone = self
                .db
                .prepare_cached("DELETE FROM dead WHERE id = ?1 RETURNING event_id, trace, client, queue")?
                .query_row([id], |row| {
                    Ok((row.get(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, String>(2)?, row.get(3)?))
                })
                .optional()?;
            let Some((event_id, trace, client, queue)) = gone else { continue };
            self.state.queue_mut(queue).dead -= 1;
            let step = Step {
                detail: Some(reason.to_owned()),
                ..self.step(principal, "discarded", "ok", queue, Uuid::from_bytes(event_id))
            };
            self.write_steps(&trace, &client, &[step])?;
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
