//! Appending events to their queues.

use orderwire_queue::engine::{Append, LaneKey, NewEntry, Outcome};
use orderwire_queue::{Error, ErrorKind};
use rusqlite::params;

use super::lane::{Lane, LaneState, segment};
use super::nanos;
use super::told::Tasks;
use super::writer::{Stop, Tx, kept};
use crate::remembered::{Memory, Remembered, list};

/// What an event table row needs.
pub(super) struct NewEvent<'a> {
    pub(super) event_id: &'a [u8],
    pub(super) trace: &'a [u8; 16],
    pub(super) accepted_at: i64,
    pub(super) client: &'a str,
    pub(super) event_type: &'a str,
    /// Who published it.
    pub(super) principal: &'a str,
    /// The task queues that it goes to, unless their steps are told otherwise.
    pub(super) tasks: Tasks,
    pub(super) body: &'a [u8],
}

impl Tx<'_> {
    pub(super) fn append(&mut self, append: &Append) -> Result<Outcome, Stop> {
        let routes =
            append.entries.iter().map(|entry| self.route(entry)).collect::<Result<Vec<_>, Error>>()?;
        if let Some(request) = &append.request {
            match self.recall(Memory::Request, request.id.as_bytes())? {
                Some(Remembered { fingerprint: Some(known) }) if known == request.fingerprint => {
                    return Ok(Outcome::Appended(vec![false; append.entries.len()]));
                }
                Some(_) => {
                    let message = "the same `Idempotency-Key` was used with another body";
                    return Err(Error::new(ErrorKind::IdempotencyConflict, message).into());
                }
                None => self.remember(Memory::Request, request.id.as_bytes(), Some(&request.fingerprint))?,
            }
        }
        let mut new = Vec::with_capacity(routes.len());
        for (entry, route) in append.entries.iter().zip(&routes) {
            new.push(self.append_entry(entry, route)?);
        }
        Ok(Outcome::Appended(new))
    }

    /// The queues of an entry, each once, with the key of its lane.
    pub(super) fn route<'e>(&self, entry: &'e NewEntry) -> Result<Vec<(i64, &'e LaneKey)>, Error> {
        let mut route: Vec<(i64, &LaneKey)> = Vec::with_capacity(entry.queues.len());
        for (name, key) in &entry.queues {
            let id = self.state.id(name)?;
            if self.state.queue(id).is_stream() != (*key == LaneKey::Stream) {
                let message = format!("queue {name} is of the other kind than the event's lane");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            if route.iter().all(|(other, _)| *other != id) {
                route.push((id, key));
            }
        }
        if route.is_empty() {
            let message = format!("no queue takes event {} of type {}", entry.event_id, entry.event_type);
            return Err(Error::new(ErrorKind::Unroutable, message));
        }
        Ok(route)
    }

    fn append_entry(&mut self, entry: &NewEntry, route: &[(i64, &LaneKey)]) -> Result<bool, Stop> {
        if !self.is_new(entry)? {
            return Ok(false);
        }
        let tasks = route.iter().filter(|(_, key)| **key != LaneKey::Stream).map(|(queue, _)| *queue);
        let event = NewEvent {
            event_id: entry.event_id.0.as_bytes(),
            trace: entry.trace.as_bytes(),
            accepted_at: nanos(entry.accepted_at),
            client: entry.client.as_str(),
            event_type: entry.event_type.as_str(),
            principal: &entry.principal,
            tasks: tasks.collect(),
            body: &entry.body,
        };
        let position = self.insert_event(&event, route.len())?;
        for (queue, key) in route {
            let key = match key {
                LaneKey::Key(key) => Some(key.as_str()),
                LaneKey::Stream | LaneKey::Alone => None,
            };
            self.deliver(*queue, event.client, key, position)?;
        }
        Ok(true)
    }

    /// Whether the entry did not come before; it is remembered now.
    pub(super) fn is_new(&mut self, entry: &NewEntry) -> Result<bool, Stop> {
        let Some(name) = &entry.remembered else { return Ok(true) };
        if self.recall(Memory::Event, name.as_bytes())?.is_some() {
            return Ok(false);
        }
        self.remember(Memory::Event, name.as_bytes(), None)?;
        Ok(true)
    }

    fn recall(&mut self, kind: Memory, id: &[u8; 16]) -> rusqlite::Result<Option<Remembered>> {
        self.state.lists(self.db)?.remembered.recall(self.db, kind, id)
    }

    fn remember(
        &mut self,
        kind: Memory,
        id: &[u8; 16],
        fingerprint: Option<&[u8; 16]>,
    ) -> rusqlite::Result<()> {
        let list = kept(&mut self.kept.list_id, || list(self.db))?;
        self.state.lists(self.db)?.remembered.remember(list, self.now, kind, id, fingerprint)
    }

    /// Stores an event under the next position. The steps of its append are not
    /// written but found by its trace, for as long as its row tells them.
    pub(super) fn insert_event(&mut self, event: &NewEvent<'_>, refs: usize) -> rusqlite::Result<i64> {
        let position = self.state.position();
        let insert = kept(&mut self.kept.insert_event, || {
            self.db.prepare_cached(
                "INSERT INTO event (position, refs, event_id, trace, accepted_at, queued_at, client, type,
                    principal, tasks, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )
        })?;
        insert.execute(params![
            position,
            i64::try_from(refs).expect("few queues"),
            event.event_id,
            event.trace,
            event.accepted_at,
            self.now,
            event.client,
            event.event_type,
            event.principal,
            event.tasks.as_bytes(),
            event.body,
        ])?;
        if !event.tasks.is_empty() {
            self.list_step(position, event.trace)?;
        }
        Ok(position)
    }

    /// Puts a stored event at the end of its lane in a queue.
    pub(super) fn deliver(
        &mut self,
        queue: i64,
        client: &str,
        key: Option<&str>,
        position: i64,
    ) -> rusqlite::Result<()> {
        let lane = self.lane_for(queue, client, key, position)?;
        let insert = kept(&mut self.kept.insert_delivery, || {
            self.db.prepare_cached(
                "INSERT INTO delivery (queue, segment, lane, position, attempt) VALUES (?1, ?2, ?3, ?4, 0)",
            )
        })?;
        insert.execute([queue, segment(position), lane, position])?;
        self.state.queue_mut(queue).waiting += 1;
        self.wake(queue);
        Ok(())
    }

    /// The lane that takes the delivery, counted; made where there is none.
    fn lane_for(
        &mut self,
        queue: i64,
        client: &str,
        key: Option<&str>,
        position: i64,
    ) -> rusqlite::Result<i64> {
        let db = self.db;
        if self.state.queue(queue).is_stream() {
            let queue = self.state.queue_mut(queue);
            queue.stream.get_or_insert_with(|| Lane::stream(queue.id, position)).count += 1;
            return Ok(0);
        }
        if let Some(key) = key
            && let Some(lane) = self.state.ends.extend(db, queue, client, key, position)?
        {
            return Ok(lane);
        }
        let lane = Lane { count: 1, state: LaneState::Ready, ..Lane::new(queue, position, client, key) };
        lane.insert(db)?;
        self.enter(queue, client, 1)?;
        if let Some(key) = key {
            self.state.ends.opened(queue, client, key, lane.id);
        }
        Ok(lane.id)
    }
}
