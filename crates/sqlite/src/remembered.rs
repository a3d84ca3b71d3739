//! Ids that were seen, so that a repetition is noticed: in the queue those that producers
//! named, in the store those of events that were recorded.
//!
//! They are random, and random inserts into one large tree are what slows a
//! durable file down. So they are kept in parts: inserts go to the newest, a
//! look-up probes all that are left, the oldest is dropped. And they go there
//! [`Late`], so that neighbours are inserted together. A [`Filter`] saves most of
//! the probes.
//!
//! Memory and file belong together: after a transaction that failed all is loaded anew.

mod filter;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use self::filter::Filter;
use crate::late::{Late, LateOptions};

/// A part is closed when it is full, or as old as this, in nanoseconds: four hours.
const PART_AGE: i64 = 4 * 3_600 * 1_000_000_000;

/// For each id that a commit may write beyond those that came, so many may be read to make
/// a filter: they are read in their order, many from one page.
const READ: usize = 16;

/// What is remembered. The same id may be of both kinds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    Event,
    Request,
}

/// An id as it is sorted: its kind first.
type Key = (i64, [u8; 16]);

/// The ids of one file.
#[derive(Debug)]
pub(crate) struct Ids {
    /// On their way to the newest part.
    fresh: Late<Key, Fresh>,
    /// The newest last.
    parts: Vec<Part>,
    /// Ids from before are treated as forgotten, whether or not their rows are gone.
    forgotten_before: i64,
    options: LateOptions,
}

/// What is kept of an id on its way.
#[derive(Debug)]
struct Fresh {
    at: i64,
    fingerprint: Option<[u8; 16]>,
}

/// A part of the memory.
#[derive(Debug)]
struct Part {
    id: i64,
    opened: i64,
    latest: i64,
    count: i64,
    changed: bool,
    /// Of what it holds. One that was open at a start has none at first.
    filter: Option<Filter>,
    /// What becomes that filter, and the last id of those that were read for it.
    making: Option<(Filter, Key)>,
}

/// What is known of a remembered id.
#[derive(Debug)]
pub(crate) struct Remembered {
    pub(crate) fingerprint: Option<[u8; 16]>,
}

impl Part {
    fn load_all(db: &Connection) -> rusqlite::Result<Vec<Self>> {
        db.prepare("SELECT part, opened, latest, count, bits FROM remembered_part LEFT JOIN remembered_filter USING (part) ORDER BY part")?
            .query_map([], |row| {
                Ok(Self {
                    id: row.get(0)?,
                    opened: row.get(1)?,
                    latest: row.get(2)?,
                    count: row.get(3)?,
                    changed: false,
                    filter: row.get::<_, Option<Vec<u8>>>(4)?.and_then(Filter::from_bytes),
                    making: None,
                })
            })?
            .collect()
    }

    fn save(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.changed = false;
        db.prepare_cached("INSERT OR REPLACE INTO remembered_part VALUES (?1, ?2, ?3, ?4)")?.execute([
            self.id,
            self.opened,
            self.latest,
            self.count,
        ])?;
        Ok(())
    }

    /// Stores the filter of a part that takes no more.
    fn close(&self, db: &Connection) -> rusqlite::Result<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        db.prepare_cached("INSERT OR REPLACE INTO remembered_filter VALUES (?1, ?2)")?
            .execute(params![self.id, filter.as_bytes()])?;
        Ok(())
    }

    /// Adds an id to what is known of the part.
    fn note(&mut self, id: &[u8; 16]) {
        let making = self.making.as_mut().map(|(filter, _)| filter);
        self.filter.iter_mut().chain(making).for_each(|filter| filter.add(id));
    }

    /// Reads at most so many of its ids for its filter; whether that is complete.
    fn make_filter(&mut self, db: &Connection, options: &LateOptions) -> rusqlite::Result<bool> {
        let ids = options.part.max(u32::try_from(self.count).unwrap_or(0));
        let (filter, read) = self.making.get_or_insert_with(|| {
            (Filter::new(usize::try_from(ids).expect("an index")), (i64::MIN, [0; 16]))
        });
        let limit = options.slice.max(1).saturating_mul(READ);
        let mut next = db.prepare_cached(
            "SELECT kind, id FROM remembered WHERE part = ?1 AND (kind, id) > (?2, ?3)
             ORDER BY kind, id LIMIT ?4",
        )?;
        let bound = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = next.query(params![self.id, read.0, read.1, bound])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            *read = (row.get(0)?, row.get(1)?);
            filter.add(&read.1);
            count += 1;
        }
        if count < limit {
            self.filter = self.making.take().map(|(filter, _)| filter);
        }
        Ok(count < limit)
    }

    fn may_hold(&self, id: &[u8; 16]) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_hold(id))
    }
}

/// What adds to the list of those that are on their way: for [`Ids::remember`].
pub(crate) fn list(db: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    db.prepare_cached("INSERT INTO fresh_id (n, kind, id, at, fingerprint) VALUES (?1, ?2, ?3, ?4, ?5)")
}

impl Ids {
    /// Those that were remembered at the last commit.
    pub(crate) fn load(db: &Connection, options: LateOptions) -> rusqlite::Result<Self> {
        let mut fresh = Late::new(options.ids, options.slice);
        let mut list = db.prepare("SELECT n, kind, id, at, fingerprint FROM fresh_id ORDER BY n")?;
        let mut rows = list.query([])?;
        while let Some(row) = rows.next()? {
            let kept = Fresh { at: row.get(3)?, fingerprint: row.get(4)? };
            fresh.restore(row.get(0)?, (row.get(1)?, row.get(2)?), kept);
        }
        Ok(Self { fresh, parts: Part::load_all(db)?, forgotten_before: i64::MIN, options })
    }

    /// What is remembered of an id.
    pub(crate) fn recall(
        &self,
        db: &Connection,
        kind: Memory,
        id: &[u8; 16],
    ) -> rusqlite::Result<Option<Remembered>> {
        if let Some(fresh) = self.fresh.get(&(kind as i64, *id))
            && fresh.at >= self.forgotten_before
        {
            return Ok(Some(Remembered { fingerprint: fresh.fingerprint }));
        }
        let mut probe = db.prepare_cached(
            "SELECT at, fingerprint FROM remembered WHERE part = ?1 AND kind = ?2 AND id = ?3",
        )?;
        for part in self.parts.iter().rev().filter(|part| part.may_hold(id)) {
            let found = probe
                .query_row(params![part.id, kind as i64, id], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<[u8; 16]>>(1)?))
                })
                .optional()?;
            if let Some((at, fingerprint)) = found
                && at >= self.forgotten_before
            {
                return Ok(Some(Remembered { fingerprint }));
            }
        }
        Ok(None)
    }

    /// Remembers an id that [`Self::recall`] does not know, in the open transaction; `at`
    /// in nanoseconds.
    pub(crate) fn remember(
        &mut self,
        list: &mut CachedStatement<'_>,
        at: i64,
        kind: Memory,
        id: &[u8; 16],
        fingerprint: Option<&[u8; 16]>,
    ) -> rusqlite::Result<()> {
        let (n, kind) = (self.fresh.next(), kind as i64);
        list.execute(params![n, kind, id, at, fingerprint])?;
        self.fresh.add(n, (kind, *id), Fresh { at, fingerprint: fingerprint.copied() });
        Ok(())
    }

    /// Forgets ids from before a time, dropping at most `limit` rows.
    pub(crate) fn forget(&mut self, db: &Connection, before: i64, limit: usize) -> rusqlite::Result<usize> {
        self.forgotten_before = self.forgotten_before.max(before);
        let mut dropped = self.forget_fresh(db, before, limit)?;
        while dropped < limit {
            let Some(oldest) = self.parts.first().filter(|part| part.latest < before) else { break };
            let room = i64::try_from(limit - dropped).unwrap_or(i64::MAX);
            let gone = db
                .prepare_cached(
                    "DELETE FROM remembered WHERE (part, kind, id) IN
                        (SELECT part, kind, id FROM remembered WHERE part = ?1 LIMIT ?2)",
                )?
                .execute([oldest.id, room])?;
            dropped += gone;
            if gone < usize::try_from(room).unwrap_or(usize::MAX) {
                db.prepare_cached("DELETE FROM remembered_part WHERE part = ?1")?.execute([oldest.id])?;
                db.prepare_cached("DELETE FROM remembered_filter WHERE part = ?1")?.execute([oldest.id])?;
                self.parts.remove(0);
            }
        }
        Ok(dropped)
    }

    /// The same of ids that are still on their way: the list is in order of time.
    fn forget_fresh(&mut self, db: &Connection, before: i64, limit: usize) -> rusqlite::Result<usize> {
        let mut oldest = db.prepare_cached("SELECT n, kind, id, at FROM fresh_id ORDER BY n LIMIT ?1")?;
        let mut rows = oldest.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let (mut dropped, mut until) = (0, None);
        while let Some(row) = rows.next()? {
            let (n, kind, id, at): (i64, i64, [u8; 16], i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            if at >= before {
                break;
            }
            self.fresh.remove(n, &(kind, id));
            dropped += 1;
            until = Some(n + 1);
        }
        if let Some(until) = until {
            db.prepare_cached("DELETE FROM fresh_id WHERE n < ?1")?.execute([until])?;
        }
        Ok(dropped)
    }

    /// Writes what is due, before each commit.
    pub(crate) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.write_due(db)?;
        self.make_filters(db)?;
        for part in self.parts.iter_mut().filter(|part| part.changed) {
            part.save(db)?;
        }
        Ok(())
    }

    /// Brings ids that are due to the newest part.
    fn write_due(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let Some(due) = self.fresh.due() else { return Ok(()) };
        let mut insert = db.prepare_cached(
            "INSERT OR IGNORE INTO remembered (part, kind, id, at, fingerprint) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        // A row of the same id may be there: one that counts as forgotten, or the same,
        // written before a start. It is counted already.
        let mut replace = db.prepare_cached(
            "UPDATE remembered SET at = ?4, fingerprint = ?5 WHERE part = ?1 AND kind = ?2 AND id = ?3",
        )?;
        for ((kind, id), fresh) in due.entries {
            if fresh.at < self.forgotten_before {
                continue;
            }
            let part = newest(db, &mut self.parts, fresh.at, &self.options)?;
            part.changed = true;
            part.latest = part.latest.max(fresh.at);
            part.note(&id);
            let row = params![part.id, kind, id, fresh.at, fresh.fingerprint];
            if insert.execute(row)? == 0 {
                replace.execute(row)?;
            } else {
                part.count += 1;
            }
        }
        db.prepare_cached(
            "DELETE FROM fresh_id WHERE n IN (SELECT n FROM fresh_id WHERE n < ?1 ORDER BY n LIMIT ?2)",
        )?
        .execute([due.done, due.drop])?;
        Ok(())
    }

    /// Makes the filter of a part that has none, as that one which was open at the start,
    /// a piece with each commit: at the start it would keep everybody waiting.
    fn make_filters(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let newest = self.parts.last().map(|part| part.id);
        let Some(part) = self.parts.iter_mut().rfind(|part| part.filter.is_none()) else { return Ok(()) };
        // That of the newest is stored once it takes no more.
        if part.make_filter(db, &self.options)? && newest != Some(part.id) {
            part.close(db)?;
        }
        Ok(())
    }
}

/// The part that takes ids now.
fn newest<'p>(
    db: &Connection,
    parts: &'p mut Vec<Part>,
    now: i64,
    options: &LateOptions,
) -> rusqlite::Result<&'p mut Part> {
    let room = |part: &Part| part.count < i64::from(options.part);
    let open = parts.last().is_some_and(|part| room(part) && now - part.opened < PART_AGE);
    if !open {
        if let Some(full) = parts.last() {
            full.close(db)?;
        }
        let id = parts.last().map_or(1, |part| part.id + 1);
        let filter = Some(Filter::new(usize::try_from(options.part).expect("an index")));
        parts.push(Part { id, opened: now, latest: now, count: 0, changed: true, filter, making: None });
    }
    Ok(parts.last_mut().expect("one was pushed"))
}
