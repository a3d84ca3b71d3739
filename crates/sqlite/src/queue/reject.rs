//! What came in for a queue and can never be a delivery of it.

use orderwire_queue::engine::{Appended, LaneKey, Outcome, Reject};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::step::Step;
use rusqlite::params;

use super::nanos;
use super::writer::{Stop, Tx};

/// The attempts of what was rejected: to read it was one.
const ATTEMPTS: u32 = 1;

impl Tx<'_> {
    pub(super) fn reject(&mut self, Reject { entry, cause }: &Reject) -> Result<Outcome, Stop> {
        let [(queue, key)] = self.route(entry)?[..] else {
            return Err(Error::new(ErrorKind::Conflict, "reject: an event is rejected for one queue").into());
        };
        if !self.is_new(entry)? {
            return Ok(Outcome::Appended(vec![false]));
        }
        let key = match key {
            LaneKey::Key(key) => Some(key.as_str()),
            LaneKey::Stream | LaneKey::Alone => None,
        };
        let (trace, client) = (entry.trace.as_bytes(), entry.client.as_str());
        self.db
            .prepare_cached(
                "INSERT INTO dead (queue, key, event_id, trace, accepted_at, client, type, attempts, cause, died_at, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                queue,
                key,
                entry.event_id.0.as_bytes(),
                trace,
                nanos(entry.accepted_at),
                client,
                entry.event_type.as_str(),
                ATTEMPTS,
                cause,
                self.now,
                entry.body.as_ref(),
            ])?;
        self.state.queue_mut(queue).dead += 1;
        let mut steps = Appended::from(entry).steps(&[], self.time);
        steps.push(Step {
            detail: Some(cause.clone()),
            attempt: Some(ATTEMPTS),
            ..self.step("queue", "dead-lettered", "failed", queue, entry.event_id.0)
        });
        self.write_steps(trace, client, &steps)?;
        Ok(Outcome::Appended(vec![true]))
    }
}
