//! What the writer keeps in memory: the queues with their counters, and the
//! numbers that it gives out.

use std::collections::HashMap;
use std::sync::Arc;

use orderwire_queue::engine::Origin;
use orderwire_queue::{Error, ErrorKind};
use orderwire_types::QueueName;
use orderwire_types::queue::{Kind, QueueDef};
use rusqlite::{Connection, params};

use super::Options;
use super::ends::Ends;
use super::lane::Lane;
use super::steps::{self, Traces};
use super::writer::Stop;
use crate::late::LateOptions;
use crate::remembered::Ids;

/// Positions are reserved in blocks of this size.
const BLOCK: i64 = 1 << 16;

/// The committed state, plus what the open transaction changed.
#[derive(Debug)]
pub(super) struct State {
    pub(super) queues: HashMap<i64, Queue>,
    ids: HashMap<QueueName, i64>,
    next_position: i64,
    reserved: i64,
    reserved_changed: bool,
    late: LateOptions,
    /// There from the first commit on: they take long to read, so that a start does not.
    lists: Option<Lists>,
    /// What the open transaction's last appends did to lanes.
    pub(super) ends: Ends,
}

/// What is on its way to a large index.
#[derive(Debug)]
pub(super) struct Lists {
    /// That producers named.
    pub(super) remembered: Ids,
    /// Of steps.
    pub(super) traces: Traces,
}

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) id: i64,
    pub(super) name: QueueName,
    pub(super) def: Arc<QueueDef>,
    origin: Origin,
    gone: bool,
    pub(super) paused: bool,
    pub(super) waiting: i64,
    pub(super) in_flight: i64,
    pub(super) delayed: i64,
    pub(super) dead: i64,
    pub(super) served: i64,
    pub(super) entered: i64,
    /// The lane of a stream that has entries.
    pub(super) stream: Option<Lane>,
    /// Whether that lane has a row.
    pub(super) stream_stored: bool,
    pub(super) changed: bool,
}

impl Queue {
    /// Deliveries of any state.
    pub(super) fn deliveries(&self) -> i64 {
        self.waiting + self.in_flight + self.delayed
    }

    pub(super) fn is_stream(&self) -> bool {
        self.def.kind == Kind::Stream
    }
}

impl State {
    /// Reads the committed state. Positions that are given out from now on are
    /// above [`Options::position_min`].
    pub(super) fn load(db: &Connection, options: &Options) -> rusqlite::Result<Self> {
        let reserved: i64 = db.query_row("SELECT reserved FROM meta", [], |row| row.get(0))?;
        let reserved = reserved.max(options.position_min).max(steps::last(db)?);
        let mut queues = HashMap::new();
        let mut ids = HashMap::new();
        let mut statement = db.prepare("SELECT * FROM queue")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut queue = Queue::from_row(row)?;
            if queue.is_stream() && queue.deliveries() > 0 {
                let stored = Lane::load(db, queue.id, 0)?;
                queue.stream_stored = stored.is_some();
                let lane = stored.unwrap_or_else(|| Lane::stream(queue.id, 0));
                queue.stream = Some(Lane { count: queue.deliveries(), tail: i64::MAX, ..lane });
            }
            ids.insert(queue.name.clone(), queue.id);
            queues.insert(queue.id, queue);
        }
        Ok(Self {
            queues,
            ids,
            next_position: reserved + 1,
            reserved,
            reserved_changed: false,
            late: options.late,
            lists: None,
            ends: Ends::default(),
        })
    }

    /// The same, with something to write in the next transaction. SQLite writes
    /// no page whose content stays the same.
    pub(super) fn touched(&mut self) -> &mut Self {
        self.reserved += 1;
        self.reserved_changed = true;
        self
    }

    /// What is on its way, read from the file by the first who asks.
    pub(super) fn lists(&mut self, db: &Connection) -> rusqlite::Result<&mut Lists> {
        match &mut self.lists {
            Some(lists) => Ok(lists),
            unread => Ok(unread.insert(Lists {
                remembered: Ids::load(db, self.late)?,
                traces: steps::load_fresh(db, &self.late)?,
            })),
        }
    }

    /// The queue's id.
    pub(super) fn id(&self, name: &QueueName) -> Result<i64, Error> {
        self.ids.get(name).copied().ok_or_else(|| Error::no_queue(name))
    }

    /// A queue whose id came from [`Self::id`] or from a row.
    pub(super) fn queue(&self, id: i64) -> &Queue {
        self.queues.get(&id).expect("rows name queues that exist")
    }

    /// The same, to be changed.
    pub(super) fn queue_mut(&mut self, id: i64) -> &mut Queue {
        let queue = self.queues.get_mut(&id).expect("rows name queues that exist");
        queue.changed = true;
        queue
    }

    /// The next position. Steps are numbered with positions, too, so that an event's is
    /// free for its own.
    pub(super) fn position(&mut self) -> i64 {
        let position = self.next_position;
        self.next_position += 1;
        if position > self.reserved {
            self.reserved = position + BLOCK;
            self.reserved_changed = true;
        }
        position
    }

    /// The last position that was given out, or one behind it that never will be.
    pub(super) fn last_position(&self) -> i64 {
        self.next_position - 1
    }

    /// Makes the queues exist; see [`orderwire_queue::engine::Engine::declare`].
    pub(super) fn declare(
        &mut self,
        db: &Connection,
        queues: &[(QueueName, QueueDef)],
        origin: Origin,
    ) -> Result<(), Stop> {
        for (name, def) in queues {
            let old = self.ids.get(name).map(|id| self.queue(*id));
            if let Some(old) = old
                && old.def.kind != def.kind
                && old.deliveries() > 0
            {
                let message = format!(
                    "queue {name} holds {} deliveries as a {:?} and cannot become a {:?}",
                    old.deliveries(),
                    old.def.kind,
                    def.kind
                );
                return Err(Error::new(ErrorKind::Conflict, message.to_lowercase()).into());
            }
        }
        Ok(self.replace(db, queues, origin)?)
    }

    fn replace(
        &mut self,
        db: &Connection,
        queues: &[(QueueName, QueueDef)],
        origin: Origin,
    ) -> rusqlite::Result<()> {
        if origin == Origin::Configuration {
            for queue in self.queues.values_mut() {
                if queue.origin == Origin::Configuration
                    && !queues.iter().any(|(name, _)| *name == queue.name)
                {
                    queue.def = Arc::new(QueueDef { types: Vec::new(), ..(*queue.def).clone() });
                    queue.gone = true;
                    queue.changed = true;
                }
            }
        }
        for (name, def) in queues {
            if !self.ids.contains_key(name) {
                let queue = Queue::insert(db, name, def, origin)?;
                self.ids.insert(name.clone(), queue.id);
                self.queues.insert(queue.id, queue);
                continue;
            }
            let queue = self.queue_mut(self.ids[name]);
            queue.def = Arc::new(def.clone());
            queue.origin = origin;
            queue.gone = false;
        }
        Ok(())
    }

    /// Writes what the transaction changed.
    pub(super) fn flush(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.ends.write(db)?;
        if let Some(lists) = &mut self.lists {
            lists.remembered.write(db)?;
            steps::write_due(&mut lists.traces, db)?;
        }
        let mut removed = Vec::new();
        for queue in self.queues.values_mut().filter(|queue| queue.changed) {
            queue.changed = false;
            queue.flush_stream(db)?;
            if queue.gone && queue.deliveries() == 0 && queue.dead == 0 {
                db.prepare_cached("DELETE FROM queue WHERE id = ?1")?.execute([queue.id])?;
                removed.push((queue.id, queue.name.clone()));
            } else {
                queue.update(db)?;
            }
        }
        for (id, name) in removed {
            self.queues.remove(&id);
            self.ids.remove(&name);
        }
        if self.reserved_changed {
            db.prepare_cached("UPDATE meta SET reserved = ?1")?.execute([self.reserved])?;
            self.reserved_changed = false;
        }
        Ok(())
    }
}

impl Queue {
    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let (name, def) = definition(row)?;
        let origin: i64 = row.get("origin")?;
        Ok(Self {
            id: row.get("id")?,
            name,
            def: Arc::new(def),
            origin: if origin == 0 { Origin::Configuration } else { Origin::Call },
            gone: row.get("gone")?,
            paused: row.get("paused")?,
            waiting: row.get("waiting")?,
            in_flight: row.get("in_flight")?,
            delayed: row.get("delayed")?,
            dead: row.get("dead")?,
            served: row.get("served")?,
            entered: row.get("entered")?,
            stream: None,
            stream_stored: false,
            changed: false,
        })
    }

    fn insert(db: &Connection, name: &QueueName, def: &QueueDef, origin: Origin) -> rusqlite::Result<Self> {
        // SQLite may give the id of a queue that disappeared again: that one was
        // empty, so no row names it any more.
        let id = db.query_row(
            "INSERT INTO queue (name, def, origin, gone, paused, waiting, in_flight, delayed, dead, served, entered)
             VALUES (?1, '', 0, 0, 0, 0, 0, 0, 0, 0, 0) RETURNING id",
            [name.as_str()],
            |row| row.get(0),
        )?;
        Ok(Self {
            id,
            name: name.clone(),
            def: Arc::new(def.clone()),
            origin,
            gone: false,
            paused: false,
            waiting: 0,
            in_flight: 0,
            delayed: 0,
            dead: 0,
            served: 0,
            entered: 0,
            stream: None,
            stream_stored: false,
            changed: true,
        })
    }

    fn update(&self, db: &Connection) -> rusqlite::Result<()> {
        let def = serde_json::to_string(&*self.def).expect("a definition is plain data");
        db.prepare_cached(
            "UPDATE queue SET def = ?2, origin = ?3, gone = ?4, paused = ?5, waiting = ?6, in_flight = ?7,
                delayed = ?8, dead = ?9, served = ?10, entered = ?11
             WHERE id = ?1",
        )?
        .execute(params![
            self.id,
            def,
            i64::from(self.origin == Origin::Call),
            self.gone,
            self.paused,
            self.waiting,
            self.in_flight,
            self.delayed,
            self.dead,
            self.served,
            self.entered,
        ])?;
        Ok(())
    }

    fn flush_stream(&mut self, db: &Connection) -> rusqlite::Result<()> {
        match self.stream.as_ref().filter(|lane| lane.is_timed()) {
            Some(lane) => {
                if !lane.update(db)? {
                    lane.insert(db)?;
                }
                self.stream_stored = true;
            }
            None if self.stream_stored => {
                Lane::delete(db, self.id, 0)?;
                self.stream_stored = false;
            }
            None => {}
        }
        Ok(())
    }
}

/// Name and settings from a row of `queue`.
pub(super) fn definition(row: &rusqlite::Row<'_>) -> rusqlite::Result<(QueueName, QueueDef)> {
    let name: String = row.get("name")?;
    let def: String = row.get("def")?;
    Ok((damaged(name.parse())?, damaged(serde_json::from_str(&def))?))
}

/// A stored value that cannot be read back is damage.
pub(super) fn damaged<T, E>(result: Result<T, E>) -> rusqlite::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    result.map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, Box::new(error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::SCHEMA;
    use crate::remembered::Memory;

    #[test]
    fn a_start_reads_no_list_and_the_first_who_asks_finds_all_of_it() {
        let db = Connection::open_in_memory().unwrap();
        for migration in SCHEMA.migrations {
            db.execute_batch(migration).unwrap();
        }
        let id = [7; 16];
        db.execute("INSERT INTO fresh_id VALUES (1, 0, ?1, 5, NULL)", [id]).unwrap();
        let traces = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100)
             INSERT INTO fresh_trace SELECT x, x FROM n";
        db.execute(traces, []).unwrap();
        let mut state = State::load(&db, &Options::for_testing()).unwrap();
        let queues = orderwire_types::queue::default_queues();
        state.declare(&db, &queues, Origin::Configuration).map_err(|stop| format!("{stop:?}")).unwrap();
        state.flush(&db).unwrap();
        assert!(state.lists.is_none(), "queues need none");
        let listed = |db: &Connection| {
            db.query_row("SELECT count(*) FROM step_trace", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(listed(&db), 0);
        let lists = state.lists(&db).unwrap();
        assert!(lists.remembered.recall(&db, Memory::Event, &id).unwrap().is_some());
        state.flush(&db).unwrap();
        assert!(listed(&db) > 0, "a list that was read is brought to its index");
    }
}
