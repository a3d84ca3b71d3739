//! The oldest delivery of a queue.
//!
//! Deliveries are kept by segment and lane, and no index has them by position alone: it
//! would cost each append and each ack. But a lane's number is the position that opened
//! it, so that nothing in it is older than that. In the first segment lanes are gone
//! through in order of number, with the first delivery of each, until one was opened
//! behind the oldest so far: a queue without keys, one of few keys and a stream are
//! done after a few steps. Lanes that were opened before the segment are each looked at.
//! So what was found is remembered: as long as it waits, nothing older can come.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::lane::{segment, segment_after};
use super::timestamp;

/// So many further rows of a lane are stepped over before the next lane is looked up:
/// about what the look-up costs.
const STEPS: usize = 8;

/// The oldest delivery of each queue as it was last found: lane and position.
#[derive(Debug, Default)]
pub(super) struct Oldest(Mutex<HashMap<i64, (i64, i64)>>);

impl Oldest {
    /// When the event of the queue's oldest delivery was accepted.
    pub(super) fn accepted_at(&self, db: &Connection, queue: i64) -> rusqlite::Result<Option<Timestamp>> {
        let Some((_, position)) = self.find(db, queue)? else { return Ok(None) };
        db.prepare_cached("SELECT accepted_at FROM event WHERE position = ?1")?
            .query_row([position], |row| row.get(0))
            .optional()
            .map(|at| at.map(timestamp))
    }

    fn find(&self, db: &Connection, queue: i64) -> rusqlite::Result<Option<(i64, i64)>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&queue).copied();
        if let Some((lane, position)) = known {
            let waits = db
                .prepare_cached(
                    "SELECT 1 FROM delivery
                     WHERE queue = ?1 AND segment = ?2 AND lane = ?3 AND position = ?4",
                )?
                .exists([queue, segment(position), lane, position])?;
            if waits {
                return Ok(known);
            }
        }
        let found = match segment_after(db, queue, i64::MIN)? {
            Some(first) => oldest_of(db, queue, first)?,
            None => None,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(oldest) => all.insert(queue, oldest),
            None => all.remove(&queue),
        };
        Ok(found)
    }
}

/// The oldest delivery within a segment.
fn oldest_of(db: &Connection, queue: i64, segment: i64) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut from = lanes(db)?;
    let mut oldest: Option<(i64, i64)> = None;
    let mut seen = i64::MIN;
    loop {
        let bound = oldest.map_or(i64::MAX, |(_, position)| position);
        let mut rows = from.query([queue, segment, seen, bound])?;
        let mut steps = 0;
        loop {
            let Some(row) = rows.next()? else { return Ok(oldest) };
            let (lane, position) = (row.get(0)?, row.get(1)?);
            if oldest.is_some_and(|(_, oldest)| oldest < lane) {
                return Ok(oldest);
            }
            if lane == seen {
                steps += 1;
                if steps == STEPS {
                    break;
                }
                continue;
            }
            (seen, steps) = (lane, 0);
            if oldest.is_none_or(|(_, oldest)| position < oldest) {
                oldest = Some((lane, position));
            }
        }
    }
}

/// Deliveries of a segment, lane by lane.
fn lanes(db: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    db.prepare_cached(
        "SELECT lane, position FROM delivery
         WHERE queue = ?1 AND segment = ?2 AND lane > ?3 AND lane < ?4 ORDER BY lane, position",
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    /// A queue whose first segment is full of these: (lane, position).
    fn filled(rows: impl Iterator<Item = (i64, i64)>) -> Connection {
        let mut db = Connection::open_in_memory().unwrap();
        for migration in super::super::SCHEMA.migrations {
            db.execute_batch(migration).unwrap();
        }
        let tx = db.transaction().unwrap();
        {
            let mut insert = tx.prepare("INSERT INTO delivery VALUES (1, ?1, ?2, ?3, 0)").unwrap();
            for (lane, position) in rows {
                assert!(lane <= position, "a lane is opened by its first delivery");
                insert.execute([segment(position), lane, position]).unwrap();
            }
        }
        tx.commit().unwrap();
        db
    }

    fn least(db: &Connection) -> Option<i64> {
        db.query_row("SELECT min(position) FROM delivery WHERE queue = 1", [], |row| row.get(0)).unwrap()
    }

    /// How many rows the search stepped to, about.
    fn steps(db: &Connection, oldest: &Oldest) -> i32 {
        lanes(db).unwrap().reset_status(StatementStatus::VmStep);
        assert_eq!(oldest.find(db, 1).unwrap().map(|(_, position)| position), least(db));
        lanes(db).unwrap().get_status(StatementStatus::VmStep)
    }

    #[test]
    fn the_oldest_of_a_full_segment_is_found_in_a_few_steps() {
        type Lane = fn(i64) -> i64;
        let shapes: [(&str, Lane); 4] = [
            ("a stream", |_| 0),
            ("no keys", |position| position),
            ("64 keys, from here", |position| 70_000 + position % 64),
            ("64 keys, from before", |position| 1 + (9 * position) % 64),
        ];
        for (what, lane) in shapes {
            let db = filled((70_063..130_000).map(|position| (lane(position), position)));
            let steps = steps(&db, &Oldest::default());
            assert!((1..10_000).contains(&steps), "{what}: {steps}");
        }
    }

    #[test]
    fn the_oldest_is_looked_for_again_only_when_it_is_gone() {
        // Lanes opened long before, in an order of their own.
        let rows = (0..30_000).map(|n| (1 + n * 7_919 % 30_000, 70_000 + n));
        let (db, oldest) = (filled(rows), Oldest::default());
        assert!(steps(&db, &oldest) > 10_000, "each lane is looked at");
        assert_eq!(steps(&db, &oldest), 0, "it waits still");
        db.execute("DELETE FROM delivery WHERE position < 70_005", []).unwrap();
        assert!(steps(&db, &oldest) > 10_000);
        db.execute("DELETE FROM delivery", []).unwrap();
        assert_eq!(oldest.find(&db, 1).unwrap(), None);
        assert!(oldest.0.lock().unwrap().is_empty());
    }

    #[test]
    fn the_oldest_is_the_oldest_whatever_the_lanes() {
        let mut random = 7_u64;
        let mut draw = |below: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(random >> 33).unwrap() % below
        };
        for _ in 0..200 {
            let (count, lanes) = (draw(200), 1 + draw(90));
            let mut position = 65_536 + draw(100);
            let rows = (0..count).map(|_| {
                position += 1 + draw(3);
                // Some lanes were opened before the segment, some within.
                ((65_536 - lanes / 2 + draw(lanes)).min(position), position)
            });
            let db = filled(rows.collect::<Vec<_>>().into_iter());
            assert_eq!(Oldest::default().find(&db, 1).unwrap().map(|(_, position)| position), least(&db));
        }
    }
}
