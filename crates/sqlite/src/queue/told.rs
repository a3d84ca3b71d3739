//! What the row of an event tells of its trace.
//!
//! The steps of an append are not written with it: as long as the event waits, its
//! row tells them. They are stored when its first attempt ends, in one row with
//! that attempt's step, under the event's position.

use orderwire_queue::engine::Appended;
use orderwire_types::QueueName;
use orderwire_types::step::Step;
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::state::damaged;
use super::timestamp;
use super::writer::{Stop, Tx};

/// An attempt that ends within this time, in nanoseconds, is stored with the steps
/// of the append. Later ones are not, because what is stored together is kept until
/// the append is past its retention.
const TOGETHER: i64 = 3_600 * 1_000_000_000;

/// The ids of task queues, four bytes each.
#[derive(Debug, Default)]
pub(super) struct Tasks(Vec<u8>);

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.as_chunks().0.iter().map(|id| i64::from(u32::from_be_bytes(*id)))
    }
}

impl FromIterator<i64> for Tasks {
    fn from_iter<I: IntoIterator<Item = i64>>(ids: I) -> Self {
        let bytes = ids.into_iter().flat_map(|id| u32::try_from(id).expect("queues are few").to_be_bytes());
        Self(bytes.collect())
    }
}

/// What an event's row said when an attempt at it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) event_id: Uuid,
    pub(super) trace: Uuid,
    pub(super) client: String,
    /// Unsettled deliveries, this one included.
    refs: i64,
    accepted_at: i64,
    queued_at: i64,
    event_type: String,
    principal: String,
    /// Empty once the steps of the append are stored.
    tasks: Tasks,
}

impl Ended {
    fn load(db: &Connection, position: i64) -> rusqlite::Result<Option<Self>> {
        db.prepare_cached(
            "SELECT event_id, trace, client, refs, accepted_at, queued_at, type, principal, tasks
             FROM event WHERE position = ?1",
        )?
        .query_row([position], Self::from_row)
        .optional()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            event_id: Uuid::from_bytes(row.get(0)?),
            trace: Uuid::from_bytes(row.get(1)?),
            client: row.get(2)?,
            refs: row.get(3)?,
            accepted_at: row.get(4)?,
            queued_at: row.get(5)?,
            event_type: row.get(6)?,
            principal: row.get(7)?,
            tasks: Tasks(row.get(8)?),
        })
    }

    fn appended_steps(&self, task_queues: &[QueueName]) -> Vec<Step> {
        let appended = Appended {
            event_id: self.event_id,
            event_type: &self.event_type,
            principal: &self.principal,
            accepted_at: timestamp(self.accepted_at),
        };
        appended.steps(task_queues, timestamp(self.queued_at))
    }
}

impl Tx<'_> {
    /// An event that has a delivery.
    pub(super) fn event(&self, position: i64) -> Result<Ended, Stop> {
        Ended::load(self.db, position)?.ok_or_else(|| missing(position))
    }

    /// One unsettled delivery less; without any the event is gone.
    pub(super) fn unref(&mut self, position: i64) -> Result<Ended, Stop> {
        let ended = self.event(position)?;
        let mut change = if ended.refs == 1 {
            self.db.prepare_cached("DELETE FROM event WHERE position = ?1")?
        } else {
            self.db.prepare_cached("UPDATE event SET refs = refs - 1 WHERE position = ?1")?
        };
        change.execute([position])?;
        Ok(ended)
    }

    /// Stores the step of an attempt that ended and, with the first one, those of the
    /// append.
    pub(super) fn write_attempt(
        &mut self,
        position: i64,
        ended: &Ended,
        attempt: Step,
    ) -> rusqlite::Result<()> {
        let (trace, client) = (ended.trace.as_bytes(), ended.client.as_str());
        if ended.tasks.is_empty() {
            return self.write_steps(trace, client, &[attempt]);
        }
        // Where the row is gone already, this changes nothing.
        self.db.prepare_cached("UPDATE event SET tasks = x'' WHERE position = ?1")?.execute([position])?;
        let names: Vec<QueueName> = ended.tasks.ids().map(|id| self.state.queue(id).name.clone()).collect();
        let mut steps = ended.appended_steps(&names);
        let together = self.now - ended.queued_at < TOGETHER;
        if together {
            steps.push(attempt.clone());
        }
        self.write_row(position, ended.queued_at, trace, client, &steps)?;
        if together { Ok(()) } else { self.write_steps(trace, client, &[attempt]) }
    }
}

/// The steps of its append that the row of an event with this trace still tells: its
/// client and the steps.
pub(super) fn appended(
    db: &Connection,
    position: i64,
    trace: Uuid,
) -> rusqlite::Result<Option<(String, Vec<Step>)>> {
    let Some(ended) = Ended::load(db, position)? else { return Ok(None) };
    if ended.trace != trace || ended.tasks.is_empty() {
        return Ok(None);
    }
    let mut name = db.prepare_cached("SELECT name FROM queue WHERE id = ?1")?;
    let names = ended
        .tasks
        .ids()
        .map(|id| damaged(name.query_row([id], |row| row.get::<_, String>(0))?.parse()))
        .collect::<rusqlite::Result<Vec<QueueName>>>()?;
    let steps = ended.appended_steps(&names);
    Ok(Some((ended.client, steps)))
}

pub(super) fn missing(position: i64) -> Stop {
    Stop::Damaged(format!("event {position} is missing, though it has unsettled deliveries"))
}
