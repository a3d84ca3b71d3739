//! Streams: their reader's position, and entries that it gives up.

use orderwire_queue::engine::Outcome;
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::step::Step;
use orderwire_types::{Event, QueueName};
use rusqlite::OptionalExtension;

use super::lane::{Lane, LaneState, segment, segment_after};
use super::writer::{Stop, Tx};

impl Tx<'_> {
    pub(super) fn advance(&mut self, queue: &QueueName, to: i64) -> Result<Outcome, Stop> {
        let id = self.stream_id(queue)?;
        let last = self.state.last_position();
        if to > last {
            let message =
                format!("stream {queue} cannot be done up to {to}: its last entry is at most at {last}");
            return Err(Error::new(ErrorKind::Conflict, message).into());
        }
        let Some(mut lane) = self.state.queue_mut(id).stream.take() else { return Ok(Outcome::Done) };
        let mut done = Vec::new();
        let mut next = segment_after(self.db, id, i64::MIN)?;
        while let Some(here) = next.filter(|here| *here <= segment(to)) {
            self.db
                .prepare_cached(
                    "DELETE FROM delivery WHERE queue = ?1 AND segment = ?2 AND lane = 0 AND position <= ?3
                     RETURNING position",
                )?
                .query_map([id, here, to], |row| row.get(0))?
                .try_for_each(|position| position.map(|position| done.push(position)))?;
            next = segment_after(self.db, id, here)?;
        }
        done.sort_unstable();
        for position in done {
            self.uncount(&mut lane, position);
            self.unref_unseen(position)?;
        }
        lane.head = lane.head.max(to.saturating_add(1));
        self.settle_stream(lane)
    }

    pub(super) fn bury_entry(
        &mut self,
        queue: &QueueName,
        position: i64,
        attempts: u32,
        cause: &str,
    ) -> Result<Outcome, Stop> {
        let id = self.stream_id(queue)?;
        let known: Option<(Vec<u8>, String, [u8; 16])> = self
            .db
            .prepare_cached(
                "SELECT e.body, e.client, e.trace FROM delivery d CROSS JOIN event e ON e.position = d.position
                 WHERE d.queue = ?1 AND d.segment = ?2 AND d.lane = 0 AND d.position = ?3",
            )?
            .query_row([id, segment(position), position], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let (Some((body, client, trace)), Some(mut lane)) = (known, self.state.queue(id).stream.clone())
        else {
            let message = format!("stream {queue} has no unsettled entry at {position}");
            return Err(Error::new(ErrorKind::NotFound, message).into());
        };
        self.write_steps(&trace, &client, &arrival_steps(&body, queue))?;
        self.bury(&mut lane, position, attempts, cause)?;
        self.settle_stream(lane)
    }

    /// Stores a stream's lane after entries of it went away.
    fn settle_stream(&mut self, mut lane: Lane) -> Result<Outcome, Stop> {
        let queue = self.state.queue_mut(lane.queue);
        if lane.count == 0 {
            queue.stream = None;
            return Ok(Outcome::Done);
        }
        match lane.state {
            LaneState::Leased if lane.held == 0 => self.release(lane)?,
            // The entry that was waited for is gone: so is the pause.
            LaneState::Delayed if queue.delayed == 0 => self.make_ready(lane)?,
            LaneState::Ready | LaneState::Leased | LaneState::Delayed => {
                lane.tail = i64::MAX;
                self.save_lane(lane)?;
            }
        }
        Ok(Outcome::Done)
    }

    /// As [`Self::unref`], for entries that leave no step.
    fn unref_unseen(&mut self, position: i64) -> Result<(), Stop> {
        let last = self
            .db
            .prepare_cached("DELETE FROM event WHERE position = ?1 AND refs = 1")?
            .execute([position])?;
        if last == 0 {
            self.unref(position)?;
        }
        Ok(())
    }

    fn stream_id(&self, queue: &QueueName) -> Result<i64, Error> {
        let id = self.state.id(queue)?;
        if self.state.queue(id).is_stream() { Ok(id) } else { Err(not_a_stream(queue)) }
    }
}

pub(super) fn not_a_stream(queue: &QueueName) -> Error {
    Error::new(ErrorKind::Conflict, format!("queue {queue} is a task queue, not a stream"))
}

/// How an entry came into a stream, from the stamps that travel with it. A body
/// that is no event has none.
fn arrival_steps(body: &[u8], queue: &QueueName) -> Vec<Step> {
    let Ok(event) = Event::decode(body) else { return Vec::new() };
    let step = |role: &str, step: &str| Step {
        event_id: Some(event.id.0),
        ..Step::ok(event.accepted_at, role, step)
    };
    vec![
        Step {
            detail: Some(format!("{} from {}", event.event_type, event.principal)),
            ..step("gateway", "accepted")
        },
        Step { queue: Some(queue.clone()), ..step("queue", "queued") },
    ]
}
