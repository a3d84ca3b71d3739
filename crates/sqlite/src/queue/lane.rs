//! Lanes: their rows, their states, and the turns of their clients.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::state::Queue;
use super::writer::{Stop, Tx};

/// A segment holds this many positions.
const SEGMENT_BITS: u32 = 16;

/// The segment of a position.
pub(super) fn segment(position: i64) -> i64 {
    position >> SEGMENT_BITS
}

/// Where in its life a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneState {
    Ready,
    Leased,
    Delayed,
}

/// A row of `lane`.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) queue: i64,
    pub(super) id: i64,
    pub(super) client: String,
    pub(super) key: Option<String>,
    pub(super) state: LaneState,
    pub(super) head: i64,
    pub(super) tail: i64,
    pub(super) count: i64,
    pub(super) held: i64,
    pub(super) held_to: i64,
    pub(super) lease: i64,
    pub(super) leased_at: i64,
    pub(super) until: i64,
    pub(super) not_before: i64,
    pub(super) holder: String,
}

impl Lane {
    /// A new, ready lane that is opened by the delivery at `position`.
    pub(super) fn new(queue: i64, position: i64, client: &str, key: Option<&str>) -> Self {
        Self {
            queue,
            id: position,
            client: client.to_owned(),
            key: key.map(str::to_owned),
            state: LaneState::Ready,
            head: position,
            tail: position,
            count: 0,
            held: 0,
            held_to: 0,
            lease: 0,
            leased_at: 0,
            until: 0,
            not_before: i64::MIN,
            holder: String::new(),
        }
    }

    /// The lane of a stream whose first entry is not before `head`.
    pub(super) fn stream(queue: i64, head: i64) -> Self {
        Self { id: 0, head, tail: i64::MAX, ..Self::new(queue, 0, "", None) }
    }

    /// Whether it is leased or delayed.
    pub(super) fn is_timed(&self) -> bool {
        self.state != LaneState::Ready
    }

    /// Whether the delivery at this position, if it is unsettled, is under the lease.
    pub(super) fn holds(&self, position: i64) -> bool {
        self.state == LaneState::Leased && position <= self.held_to
    }

    pub(super) fn load(db: &Connection, queue: i64, id: i64) -> rusqlite::Result<Option<Self>> {
        db.prepare_cached("SELECT * FROM lane WHERE queue = ?1 AND lane = ?2")?
            .query_row([queue, id], Self::from_row)
            .optional()
    }

    /// The ready lane of a client whose first delivery is the oldest.
    pub(super) fn oldest_ready(db: &Connection, queue: i64, client: &str) -> rusqlite::Result<Option<Self>> {
        db.prepare_cached(
            "SELECT * FROM lane WHERE queue = ?1 AND client = ?2 AND state = 0 ORDER BY head LIMIT 1",
        )?
        .query_row((queue, client), Self::from_row)
        .optional()
    }

    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let state: i64 = row.get(4)?;
        Ok(Self {
            queue: row.get(0)?,
            id: row.get(1)?,
            client: row.get(2)?,
            key: row.get(3)?,
            state: match state {
                0 => LaneState::Ready,
                1 => LaneState::Leased,
                2 => LaneState::Delayed,
                other => return Err(rusqlite::Error::IntegralValueOutOfRange(4, other)),
            },
            head: row.get(5)?,
            tail: row.get(6)?,
            count: row.get(7)?,
            held: row.get(8)?,
            held_to: row.get(9)?,
            lease: row.get(10)?,
            leased_at: row.get(11)?,
            until: row.get(12)?,
            not_before: row.get(13)?,
            holder: row.get(14)?,
        })
    }

    /// A new row.
    pub(super) fn insert(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached(
            "INSERT INTO lane VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            self.queue,
            self.id,
            self.client,
            self.key,
            self.state as i64,
            self.head,
            self.tail,
            self.count,
            self.held,
            self.held_to,
            self.lease,
            self.leased_at,
            self.until,
            self.not_before,
            self.holder,
        ])?;
        Ok(())
    }

    /// What changes in a lane's row; whether it has one. Its tail is the
    /// append's alone.
    pub(super) fn update(&self, db: &Connection) -> rusqlite::Result<bool> {
        let rows = db
            .prepare_cached(
                "UPDATE lane SET state = ?3, head = ?4, count = ?5, held = ?6, held_to = ?7, lease = ?8,
                    leased_at = ?9, until = ?10, not_before = ?11, holder = ?12
                 WHERE queue = ?1 AND lane = ?2",
            )?
            .execute(params![
                self.queue,
                self.id,
                self.state as i64,
                self.head,
                self.count,
                self.held,
                self.held_to,
                self.lease,
                self.leased_at,
                self.until,
                self.not_before,
                self.holder,
            ])?;
        Ok(rows > 0)
    }

    pub(super) fn delete(db: &Connection, queue: i64, id: i64) -> rusqlite::Result<()> {
        db.prepare_cached("DELETE FROM lane WHERE queue = ?1 AND lane = ?2")?.execute([queue, id])?;
        Ok(())
    }
}

/// The first unsettled delivery of a lane from `from` to `to`, and how many of
/// its attempts ended. Steps over the segments between, as far as they hold
/// anything of the queue.
pub(super) fn first_delivery(
    db: &Connection,
    queue: i64,
    lane: i64,
    from: i64,
    to: i64,
) -> rusqlite::Result<Option<(i64, u32)>> {
    let mut in_segment = db.prepare_cached(
        "SELECT position, attempt FROM delivery
         WHERE queue = ?1 AND segment = ?2 AND lane = ?3 AND position BETWEEN ?4 AND ?5
         ORDER BY position LIMIT 1",
    )?;
    let mut next = segment(from);
    loop {
        let found = in_segment
            .query_row([queue, next, lane, from, to], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if found.is_some() {
            return Ok(found);
        }
        match segment_after(db, queue, next)? {
            Some(later) if later <= segment(to) => next = later,
            _ => return Ok(None),
        }
    }
}

/// The next segment that holds anything of the queue.
pub(super) fn segment_after(db: &Connection, queue: i64, segment: i64) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(
        "SELECT segment FROM delivery WHERE queue = ?1 AND segment > ?2 ORDER BY segment LIMIT 1",
    )?
    .query_row([queue, segment], |row| row.get(0))
    .optional()
}

impl Tx<'_> {
    /// The lane, wherever it lives.
    pub(super) fn lane(&self, queue: i64, id: i64) -> rusqlite::Result<Option<Lane>> {
        let queue = self.state.queue(queue);
        if queue.is_stream() {
            Ok(queue.stream.clone().filter(|lane| lane.id == id))
        } else {
            Lane::load(self.db, queue.id, id)
        }
    }

    /// Stores a lane that has deliveries.
    pub(super) fn save_lane(&mut self, lane: Lane) -> rusqlite::Result<()> {
        let db = self.db;
        let queue = self.state.queue_mut(lane.queue);
        if queue.is_stream() {
            queue.stream = Some(lane);
            Ok(())
        } else {
            lane.update(db).map(drop)
        }
    }

    /// After the last held delivery of a lane was settled or returned: the lane
    /// becomes ready or delayed, or disappears.
    pub(super) fn release(&mut self, mut lane: Lane) -> Result<(), Stop> {
        debug_assert_eq!(lane.held, 0, "released while held");
        if lane.count == 0 {
            return Ok(self.remove_lane(&lane)?);
        }
        let (head, _) =
            first_delivery(self.db, lane.queue, lane.id, lane.head, lane.tail)?.ok_or_else(|| {
                Stop::Damaged(format!("lane {} has {} deliveries but no first", lane.id, lane.count))
            })?;
        lane.head = head;
        if lane.not_before > self.now {
            let queue = self.state.queue_mut(lane.queue);
            queue.waiting -= 1;
            queue.delayed += 1;
            lane.state = LaneState::Delayed;
            lane.until = lane.not_before;
            lane.not_before = i64::MIN;
            return Ok(self.save_lane(lane)?);
        }
        Ok(self.make_ready(lane)?)
    }

    /// Makes a lane ready whose `head` is right.
    pub(super) fn make_ready(&mut self, mut lane: Lane) -> rusqlite::Result<()> {
        lane.state = LaneState::Ready;
        lane.not_before = i64::MIN;
        lane.until = 0;
        lane.holder.clear();
        self.wake(lane.queue);
        self.enter(lane.queue, &lane.client, 0)?;
        self.save_lane(lane)
    }

    /// A delivery of the lane is gone, settled or moved away; the caller
    /// removed its row.
    pub(super) fn uncount(&mut self, lane: &mut Lane, position: i64) {
        let held = lane.holds(position);
        let delayed = lane.state == LaneState::Delayed && position == lane.head;
        let queue = self.state.queue_mut(lane.queue);
        lane.count -= 1;
        if held {
            lane.held -= 1;
            queue.in_flight -= 1;
        } else if delayed {
            queue.delayed -= 1;
        } else {
            queue.waiting -= 1;
        }
    }

    fn remove_lane(&mut self, lane: &Lane) -> rusqlite::Result<()> {
        let db = self.db;
        let queue = self.state.queue_mut(lane.queue);
        if queue.is_stream() {
            queue.stream = None;
            return Ok(());
        }
        Lane::delete(db, lane.queue, lane.id)?;
        let gone = db
            .prepare_cached("DELETE FROM turn WHERE queue = ?1 AND client = ?2 AND lanes = 1")?
            .execute((lane.queue, &lane.client))?;
        if gone == 0 {
            let kept = db
                .prepare_cached("UPDATE turn SET lanes = lanes - 1 WHERE queue = ?1 AND client = ?2")?
                .execute((lane.queue, &lane.client))?;
            if kept != 1 {
                return Err(rusqlite::Error::StatementChangedRows(kept));
            }
        }
        Ok(())
    }

    /// One more ready lane of a client, of which `new` are new lanes.
    pub(super) fn enter(&mut self, queue: i64, client: &str, new: i64) -> rusqlite::Result<()> {
        let db = self.db;
        let queue = self.state.queue_mut(queue);
        if queue.is_stream() {
            return Ok(());
        }
        let known = db
            .prepare_cached(
                "UPDATE turn SET ready = ready + 1, lanes = lanes + ?3 WHERE queue = ?1 AND client = ?2",
            )?
            .execute((queue.id, client, new))?;
        if known == 0 {
            let turn = queue.turn_entering();
            db.prepare_cached(
                "INSERT INTO turn (queue, client, turn, lanes, ready) VALUES (?1, ?2, ?3, 1, 1)",
            )?
            .execute((queue.id, client, turn))?;
        }
        Ok(())
    }

    /// A client was served from one of its ready lanes; whether it has more.
    pub(super) fn serve(&mut self, queue: i64, client: &str, turn: i64) -> rusqlite::Result<bool> {
        let ready: i64 = self
            .db
            .prepare_cached("SELECT ready FROM turn WHERE queue = ?1 AND client = ?2")?
            .query_row((queue, client), |row| row.get(0))?;
        self.db
            .prepare_cached("UPDATE turn SET ready = ready - 1, turn = ?3 WHERE queue = ?1 AND client = ?2")?
            .execute((queue, client, turn))?;
        Ok(ready > 1)
    }
}

/// Between two visits this many clients can become active in an order of their own.
const ENTRIES_BITS: u32 = 20;

impl Queue {
    /// The turn of a client that becomes active: behind those that wait
    /// longer, before the client served last.
    fn turn_entering(&mut self) -> i64 {
        let last = (1 << ENTRIES_BITS) - 2;
        let turn = (self.served << ENTRIES_BITS) + self.entered.min(last);
        self.entered += 1;
        turn
    }

    /// Begins a visit: the turn of the client that is served, behind all
    /// others. The visit's number is the lease's.
    pub(super) fn visit(&mut self) -> (i64, i64) {
        self.changed = true;
        self.served += 1;
        self.entered = 0;
        (self.served, (self.served << ENTRIES_BITS) + (1 << ENTRIES_BITS) - 1)
    }
}
