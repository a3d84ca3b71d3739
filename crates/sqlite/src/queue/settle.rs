//! The end of leases: settlement, expiry, dead letters.

use std::time::Duration;

use jiff::Timestamp;
use orderwire_queue::engine::{Outcome, Settle, Settled};
use orderwire_queue::model::{DeliveryId, Settlement};
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::QueueName;
use orderwire_types::scope::Clients;
use orderwire_types::step::{Millis, Step};
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::lane::{Lane, LaneState, first_delivery, segment, segment_after};
use super::told::{Ended, missing};
use super::writer::{Stop, Tx};
use super::{nanos, timestamp};

/// Lanes are expired until this many bytes became dead letters.
const EXPIRE_BYTES: i64 = 8 << 20;

impl Tx<'_> {
    pub(super) fn settle(&mut self, settle: &Settle) -> Result<Outcome, Stop> {
        let (mut lane, ended_attempts) = self.held(&settle.queue, settle.delivery, &settle.clients)?;
        let position = settle.delivery.position.0;
        let attempt = ended_attempts + 1;
        let def = self.state.queue(lane.queue).def.clone();
        let settled = match &settle.settlement {
            Settlement::Ack => {
                self.take(&mut lane, position)?;
                let ended = self.unref(position)?;
                self.attempt_step(&lane, position, &ended, attempt, "ok", None)?;
                Settled::Acked
            }
            Settlement::Fail { cause } => {
                self.attempt_to_death(&mut lane, position, attempt, "failed", cause)?;
                Settled::Dead
            }
            Settlement::Retry { cause, .. } if attempt >= def.attempts => {
                self.unhold_behind(&mut lane, position)?;
                self.attempt_to_death(&mut lane, position, attempt, "failed", cause)?;
                Settled::Dead
            }
            Settlement::Retry { delay, cause } => {
                let pause = delay.unwrap_or_else(|| def.backoff.after(attempt));
                self.unhold_behind(&mut lane, position)?;
                self.give_back(&mut lane, position, attempt)?;
                lane.not_before = lane.not_before.max(self.after(pause));
                let ended = self.event(position)?;
                self.attempt_step(&lane, position, &ended, attempt, "retry", Some(cause.clone()))?;
                Settled::Returned(pause)
            }
            Settlement::Release => {
                self.unhold_behind(&mut lane, position)?;
                self.unhold(&mut lane, position - 1, 1);
                Settled::Returned(Duration::ZERO)
            }
        };
        self.end_or_keep(lane)?;
        Ok(Outcome::Settled(settled))
    }

    pub(super) fn extend(
        &mut self,
        queue: &QueueName,
        delivery: DeliveryId,
        clients: &Clients,
        until: Timestamp,
    ) -> Result<Outcome, Stop> {
        let (mut lane, _) = self.held(queue, delivery, clients)?;
        lane.until = nanos(until);
        self.save_lane(lane)?;
        Ok(Outcome::Done)
    }

    pub(super) fn expire(&mut self, limit: usize) -> Result<Outcome, Stop> {
        // A stream's lane has its row only after the flush.
        let mut due: Vec<Lane> = self
            .state
            .queues
            .values()
            .filter_map(|queue| queue.stream.clone())
            .filter(|lane| lane.is_timed() && lane.until <= self.now)
            .take(limit)
            .collect();
        let room = i64::try_from(limit - due.len()).unwrap_or(i64::MAX);
        let rows = self
            .db
            .prepare_cached(
                "SELECT * FROM lane WHERE state <> 0 AND until <= ?1 AND lane <> 0 ORDER BY until LIMIT ?2",
            )?
            .query_map([self.now, room], Lane::from_row)?
            .collect::<Result<Vec<_>, _>>()?;
        due.extend(rows);
        let mut count = 0;
        for mut lane in due {
            if self.buried_bytes >= EXPIRE_BYTES {
                break;
            }
            count += 1;
            if lane.state == LaneState::Leased {
                self.expire_lease(lane)?;
            } else {
                let queue = self.state.queue_mut(lane.queue);
                queue.delayed -= 1;
                queue.waiting += 1;
                lane.not_before = i64::MIN;
                self.make_ready(lane)?;
            }
        }
        Ok(Outcome::Count(count))
    }

    fn expire_lease(&mut self, mut lane: Lane) -> Result<(), Stop> {
        let (first, ended_attempts) = first_delivery(self.db, lane.queue, lane.id, lane.head, lane.held_to)?
            .ok_or_else(|| {
                Stop::Damaged(format!("lane {} holds {} deliveries but no first", lane.id, lane.held))
            })?;
        let attempt = ended_attempts + 1;
        let cause = "the lease ran out";
        self.unhold_behind(&mut lane, first)?;
        if attempt >= self.state.queue(lane.queue).def.attempts {
            self.attempt_to_death(&mut lane, first, attempt, "expired", cause)?;
        } else {
            self.give_back(&mut lane, first, attempt)?;
            let ended = self.event(first)?;
            self.attempt_step(&lane, first, &ended, attempt, "expired", Some(cause.to_owned()))?;
        }
        self.release(lane)
    }

    /// The lane of a delivery whose lease is good, and how many of its attempts
    /// ended before this one.
    pub(super) fn held(
        &self,
        queue: &QueueName,
        delivery: DeliveryId,
        clients: &Clients,
    ) -> Result<(Lane, u32), Stop> {
        let id = self.state.id(queue)?;
        let position = delivery.position.0;
        let lost = || {
            let message =
                format!("delivery {delivery} of queue {queue}: the lease ran out or it was settled already");
            Stop::Refused(Error::new(ErrorKind::LeaseLost, message))
        };
        let lane = self.lane(id, delivery.lane)?.ok_or_else(lost)?;
        let covered = match clients {
            Clients::All => true,
            Clients::Only(clients) => clients.iter().any(|client| client.as_str() == lane.client),
        };
        if !covered {
            let message = format!("queue {queue} has no delivery {delivery}");
            return Err(Error::new(ErrorKind::NotFound, message).into());
        }
        if lane.lease != delivery.lease || !lane.holds(position) || lane.until <= self.now {
            return Err(lost());
        }
        let attempts = self
            .db
            .prepare_cached(
                "SELECT attempt FROM delivery WHERE queue = ?1 AND segment = ?2 AND lane = ?3 AND position = ?4",
            )?
            .query_row([id, segment(position), lane.id, position], |row| row.get(0))
            .optional()?;
        Ok((lane, attempts.ok_or_else(lost)?))
    }

    /// Removes a delivery from its lane.
    pub(super) fn take(&mut self, lane: &mut Lane, position: i64) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "DELETE FROM delivery WHERE queue = ?1 AND segment = ?2 AND lane = ?3 AND position = ?4",
            )?
            .execute([lane.queue, segment(position), lane.id, position])?;
        self.uncount(lane, position);
        Ok(())
    }

    /// Returns a held delivery, all behind it being returned already; its
    /// attempt counts.
    fn give_back(&mut self, lane: &mut Lane, position: i64, attempts: u32) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "UPDATE delivery SET attempt = ?5
                 WHERE queue = ?1 AND segment = ?2 AND lane = ?3 AND position = ?4",
            )?
            .execute([lane.queue, segment(position), lane.id, position, i64::from(attempts)])?;
        self.unhold(lane, position - 1, 1);
        Ok(())
    }

    /// Returns what is held behind a held delivery; those attempts never were.
    fn unhold_behind(&mut self, lane: &mut Lane, position: i64) -> rusqlite::Result<()> {
        let mut behind = 0;
        if lane.held > 1 {
            let mut count = self.db.prepare_cached(
                "SELECT count(*) FROM delivery
                 WHERE queue = ?1 AND segment = ?2 AND lane = ?3 AND position > ?4 AND position <= ?5",
            )?;
            let mut next = Some(segment(position));
            while let Some(here) = next.filter(|here| *here <= segment(lane.held_to)) {
                behind += count.query_row([lane.queue, here, lane.id, position, lane.held_to], |row| {
                    row.get::<_, i64>(0)
                })?;
                next = segment_after(self.db, lane.queue, here)?;
            }
        }
        self.unhold(lane, position, behind);
        Ok(())
    }

    fn unhold(&mut self, lane: &mut Lane, held_to: i64, returned: i64) {
        lane.held_to = held_to;
        lane.held -= returned;
        let queue = self.state.queue_mut(lane.queue);
        queue.in_flight -= returned;
        queue.waiting += returned;
    }

    fn end_or_keep(&mut self, lane: Lane) -> Result<(), Stop> {
        if lane.held == 0 { self.release(lane) } else { Ok(self.save_lane(lane)?) }
    }

    fn after(&self, pause: Duration) -> i64 {
        self.now.saturating_add(i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX))
    }

    /// An attempt that ends the delivery as a dead letter.
    fn attempt_to_death(
        &mut self,
        lane: &mut Lane,
        position: i64,
        attempts: u32,
        outcome: &str,
        cause: &str,
    ) -> Result<(), Stop> {
        let ended = self.event(position)?;
        self.attempt_step(lane, position, &ended, attempts, outcome, Some(cause.to_owned()))?;
        self.bury(lane, position, attempts, cause)
    }

    /// Moves a delivery to the dead letters.
    pub(super) fn bury(
        &mut self,
        lane: &mut Lane,
        position: i64,
        attempts: u32,
        cause: &str,
    ) -> Result<(), Stop> {
        let bytes: i64 = self
            .db
            .prepare_cached(
                "INSERT INTO dead (queue, key, event_id, trace, accepted_at, client, type, attempts, cause, died_at, body)
                 SELECT ?2, ?3, event_id, trace, accepted_at, client, type, ?4, ?5, ?6, body
                 FROM event WHERE position = ?1 RETURNING length(body)",
            )?
            .query_row(params![position, lane.queue, lane.key, attempts, cause, self.now], |row| row.get(0))
            .optional()?
            .ok_or_else(|| missing(position))?;
        self.buried_bytes += bytes;
        self.take(lane, position)?;
        let ended = self.unref(position)?;
        let queue = self.state.queue_mut(lane.queue);
        queue.dead += 1;
        let step = Step {
            detail: Some(cause.to_owned()),
            attempt: Some(attempts),
            ..self.step("queue", "dead-lettered", "failed", lane.queue, ended.event_id)
        };
        Ok(self.write_steps(ended.trace.as_bytes(), &ended.client, &[step])?)
    }

    /// The attempt under the present lease of the lane ended.
    fn attempt_step(
        &mut self,
        lane: &Lane,
        position: i64,
        ended: &Ended,
        attempt: u32,
        outcome: &str,
        detail: Option<String>,
    ) -> rusqlite::Result<()> {
        let step = Step {
            attempt: Some(attempt),
            duration_ms: Some(Millis::between(timestamp(lane.leased_at), self.time)),
            detail,
            ..self.step(&lane.holder, "attempt", outcome, lane.queue, ended.event_id)
        };
        self.write_attempt(position, ended, step)
    }

    /// A step of this moment.
    pub(super) fn step(&self, role: &str, step: &str, outcome: &str, queue: i64, event_id: Uuid) -> Step {
        Step {
            outcome: outcome.to_owned(),
            queue: Some(self.state.queue(queue).name.clone()),
            event_id: Some(event_id),
            ..Step::ok(self.time, role, step)
        }
    }
}
