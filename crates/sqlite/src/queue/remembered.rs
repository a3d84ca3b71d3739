//! Ids that producers named, so that a repetition is noticed.
//!
//! They are random, and random inserts into one large tree are what slows a
//! durable queue down. So they are kept in parts: inserts go to the newest, a
//! look-up probes all that are left, the oldest is dropped.

use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Tx;

/// A part is closed when it holds this many ids,
const PART_COUNT: i64 = 1 << 20;
/// or when it is as old as this, in nanoseconds: four hours.
const PART_AGE: i64 = 4 * 3_600 * 1_000_000_000;

/// What is remembered. The same id may be of both kinds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Memory {
    Event,
    Request,
}

/// A part of the memory.
#[derive(Debug)]
pub(super) struct Part {
    id: i64,
    opened: i64,
    latest: i64,
    count: i64,
    pub(super) changed: bool,
}

/// What is known of a remembered id.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) fingerprint: Option<[u8; 16]>,
}

impl Part {
    pub(super) fn load_all(db: &Connection) -> rusqlite::Result<Vec<Self>> {
        db.prepare("SELECT part, opened, latest, count FROM remembered_part ORDER BY part")?
            .query_map([], |row| {
                Ok(Self {
                    id: row.get(0)?,
                    opened: row.get(1)?,
                    latest: row.get(2)?,
                    count: row.get(3)?,
                    changed: false,
                })
            })?
            .collect()
    }

    pub(super) fn save(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.changed = false;
        db.prepare_cached("INSERT OR REPLACE INTO remembered_part VALUES (?1, ?2, ?3, ?4)")?.execute([
            self.id,
            self.opened,
            self.latest,
            self.count,
        ])?;
        Ok(())
    }
}

impl Tx<'_> {
    /// What is remembered of an id.
    pub(super) fn recall(&self, kind: Memory, id: &[u8; 16]) -> rusqlite::Result<Option<Remembered>> {
        let mut probe = self.db.prepare_cached(
            "SELECT at, fingerprint FROM remembered WHERE part = ?1 AND kind = ?2 AND id = ?3",
        )?;
        for part in self.state.parts.iter().rev() {
            let found = probe
                .query_row(params![part.id, kind as i64, id], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<[u8; 16]>>(1)?))
                })
                .optional()?;
            if let Some((at, fingerprint)) = found
                && at >= self.state.forgotten_before
            {
                return Ok(Some(Remembered { fingerprint }));
            }
        }
        Ok(None)
    }

    /// Remembers an id that [`Self::recall`] does not know.
    pub(super) fn remember(
        &mut self,
        kind: Memory,
        id: &[u8; 16],
        fingerprint: Option<&[u8; 16]>,
    ) -> rusqlite::Result<()> {
        let now = self.now;
        let parts = &mut self.state.parts;
        let open = parts.last().is_some_and(|part| part.count < PART_COUNT && now - part.opened < PART_AGE);
        if !open {
            let id = parts.last().map_or(1, |part| part.id + 1);
            parts.push(Part { id, opened: now, latest: now, count: 0, changed: true });
        }
        let part = parts.last_mut().expect("one was pushed");
        part.changed = true;
        part.count += 1;
        part.latest = part.latest.max(now);
        // A row of the same id may be left that counts as forgotten.
        self.db
            .prepare_cached("INSERT OR REPLACE INTO remembered (part, kind, id, at, fingerprint) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![part.id, kind as i64, id, now, fingerprint])?;
        Ok(())
    }

    /// Forgets ids from before a time, dropping at most `limit` rows.
    pub(super) fn forget(&mut self, before: i64, limit: usize) -> rusqlite::Result<usize> {
        let db = self.db;
        self.state.forgotten_before = self.state.forgotten_before.max(before);
        let mut dropped = 0;
        while dropped < limit {
            let Some(oldest) = self.state.parts.first().filter(|part| part.latest < before) else { break };
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
                self.state.parts.remove(0);
            }
        }
        Ok(dropped)
    }
}
