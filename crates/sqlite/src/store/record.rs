//! Recording: rows, position, trace and what is remembered in one transaction. The hot
//! path of telemetry.

use std::collections::HashSet;
use std::sync::Arc;

use orderwire_store::{Recording, RowsEvent, RowsRecorded, Source, each_row, evolve, recorded_steps};
use orderwire_types::row::Value;
use orderwire_types::{DatasetName, identity};
use rusqlite::{Connection, OptionalExtension, params};

use super::catalogue::Entry;
use super::error::{Failure, conflict, invalid, not_found};
use super::imports::{self, Lines};
use super::table::{Filler, Hidden, write_row};
use super::traces;
use super::writer::{Effect, Memory, Transaction};
use crate::queue::nanos;
use crate::remembered;

/// What is remembered here.
const RECORDED: remembered::Memory = remembered::Memory::Event;

pub(super) fn record(
    transaction: &mut Transaction<'_>,
    recording: &Recording,
) -> Result<Vec<RowsRecorded>, Failure> {
    if let Source::Stream { from, to } = recording.source {
        move_position(transaction.connection, &recording.reader, from, to)?;
    }
    let repeated = repeated(transaction, &recording.events)?;
    let mut touched: Vec<(Arc<Entry>, u64)> = Vec::new();
    let mut results = Vec::with_capacity(recording.events.len());
    for (i, event) in recording.events.iter().enumerate() {
        if repeated.contains(&i) {
            results.push(RowsRecorded { repeated: true, ..RowsRecorded::default() });
            continue;
        }
        let at = match touched.iter().position(|(entry, _)| entry.dataset.name == event.dataset) {
            Some(at) => at,
            None => {
                let entry = transaction.memory.catalogue.get(&event.dataset).ok_or_else(|| {
                    not_found(format!("recording event {}: no dataset {}", event.event_id, event.dataset))
                        .at_entry(i)
                })?;
                touched.push((entry, 0));
                touched.len() - 1
            }
        };
        let (entry, written) = &mut touched[at];
        let result = record_event(transaction, entry, event, recording).map_err(|failure| match failure {
            Failure::Refused(error) => Failure::Refused(error.at_entry(i)),
            Failure::Engine(error) => Failure::Engine(error),
        })?;
        *written += result.written;
        results.push(result);
    }
    for (entry, written) in touched {
        if written > 0 {
            note_change(transaction, entry)?;
        }
    }
    let now = recording.now;
    for record in recorded_steps(recording, &results) {
        traces::add(transaction.connection, &record, now)?;
    }
    // Last, because a write that is refused must have remembered nothing.
    remember(transaction, recording, &results)?;
    Ok(results)
}

/// Which of the events were recorded before, or stand in the same batch before.
fn repeated(transaction: &mut Transaction<'_>, events: &[RowsEvent]) -> rusqlite::Result<HashSet<usize>> {
    let mut repeated = HashSet::new();
    let mut seen = HashSet::new();
    for (i, event) in events.iter().enumerate().filter(|(_, event)| event.remembered) {
        let id = event.event_id.0.as_bytes();
        let ids = transaction.memory.remembered.ids(transaction.connection)?;
        if !seen.insert(id) || ids.recall(transaction.connection, RECORDED, id)?.is_some() {
            repeated.insert(i);
        }
    }
    Ok(repeated)
}

fn remember(
    transaction: &mut Transaction<'_>,
    recording: &Recording,
    results: &[RowsRecorded],
) -> rusqlite::Result<()> {
    let mut new = recording
        .events
        .iter()
        .zip(results)
        .filter(|(event, done)| event.remembered && !done.repeated)
        .peekable();
    if new.peek().is_none() {
        return Ok(());
    }
    let ids = transaction.memory.remembered.ids(transaction.connection)?;
    let mut list = remembered::list(transaction.connection)?;
    let at = nanos(recording.now);
    new.try_for_each(|(event, _)| ids.remember(&mut list, at, RECORDED, event.event_id.0.as_bytes(), None))
}

/// Moves a reader on.
pub(super) fn move_position(
    connection: &Connection,
    reader: &str,
    from: i64,
    to: i64,
) -> Result<(), Failure> {
    let is = position(connection, reader)?;
    if is != from {
        return Err(conflict(format!(
            "recording for reader {reader} from position {from}: its position is {is}"
        ))
        .into());
    }
    connection
        .prepare_cached(
            "INSERT INTO reader (name, position) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        )?
        .execute(params![reader, to])?;
    Ok(())
}

/// Where a reader is.
pub(super) fn position(connection: &Connection, reader: &str) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT position FROM reader WHERE name = ?1")?;
    Ok(statement.query_row([reader], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Gives the changed rows a new generation; the greatest `_seq` goes with it.
pub(super) fn note_change(transaction: &mut Transaction<'_>, entry: Arc<Entry>) -> rusqlite::Result<()> {
    let name = &entry.dataset.name;
    let generation = transaction.memory.next_generation();
    let last_seq = transaction.memory.fillers.get(name).map_or(0, |filler| filler.last_seq);
    transaction
        .connection
        .prepare_cached("UPDATE dataset SET generation = ?2, last_seq = max(last_seq, ?3) WHERE name = ?1")?
        .execute(params![name.as_str(), generation.cast_signed(), last_seq])?;
    transaction.memory.effects.push(Effect::Rows(entry, generation));
    Ok(())
}

fn filler<'m>(
    connection: &Connection,
    memory: &'m mut Memory,
    entry: &Entry,
) -> rusqlite::Result<&'m mut Filler> {
    use std::collections::hash_map::Entry as Slot;
    let name: &DatasetName = &entry.dataset.name;
    match memory.fillers.entry(name.clone()) {
        Slot::Occupied(slot) => Ok(slot.into_mut()),
        Slot::Vacant(slot) => {
            let last_seq = connection.query_row(
                "SELECT last_seq FROM dataset WHERE name = ?1",
                [name.as_str()],
                |row| row.get(0),
            )?;
            Ok(slot.insert(Filler::new(name, &entry.dataset.def, &memory.limits, last_seq)))
        }
    }
}

fn record_event(
    transaction: &mut Transaction<'_>,
    entry: &Entry,
    event: &RowsEvent,
    recording: &Recording,
) -> Result<RowsRecorded, Failure> {
    let connection = transaction.connection;
    let known = match &event.import {
        Some(import) => {
            let count = count_rows(event)?;
            let first = i64::try_from(import.first).map_err(|_| invalid("a file has no such line"))?;
            let until = i64::try_from(count).ok().and_then(|count| first.checked_add(count));
            let until = until.ok_or_else(|| invalid("a file has no such line"))?;
            Known { first, ranges: imports::note(connection, event, import, Lines { first, until })? }
        }
        None => Known { first: 0, ranges: Vec::new() },
    };
    let Filler { reader, past, insert, replace, last_seq } = filler(connection, transaction.memory, entry)?;
    let reader =
        if evolve::may_be_of_the_past(&entry.dataset, event.accepted_at) { &*past } else { &*reader };
    let mut insert = connection.prepare_cached(insert)?;
    let mut replace = replace.as_deref().map(|sql| connection.prepare_cached(sql)).transpose()?;
    let mut values: Vec<Value<'_>> = Vec::new();
    let mut result = RowsRecorded::default();
    each_row::<Failure>(event, |json| {
        let index = result.rows;
        result.rows += 1;
        if known.has(index) {
            return Ok(());
        }
        reader.read(json, &mut values).map_err(|fault| {
            let at = if fault.pointer.is_empty() { String::new() } else { format!("{}: ", fault.pointer) };
            invalid(format!("row {index} of event {}: {at}{}", event.event_id, fault.detail))
        })?;
        *last_seq += 1;
        let hidden = Hidden {
            seq: *last_seq,
            client: event.client.as_str(),
            event_id: identity::row_id(event.event_id, index),
            trace: event.trace,
            recorded_at: recording.now,
        };
        let mut written = write_row(&mut insert, &hidden, &values)?;
        if let Some(replace) = replace.as_mut().filter(|_| !written) {
            written = write_row(replace, &hidden, &values)?;
        }
        result.written += u64::from(written);
        Ok(())
    })?;
    Ok(result)
}

/// The rows of a piece that are recorded already.
struct Known {
    /// The line of the piece's first row.
    first: i64,
    ranges: Vec<Lines>,
}

impl Known {
    fn has(&self, index: u64) -> bool {
        if self.ranges.is_empty() {
            return false;
        }
        let line = i64::try_from(index).ok().and_then(|index| self.first.checked_add(index));
        line.is_some_and(|line| self.ranges.iter().any(|range| range.hold(line)))
    }
}

fn count_rows(event: &RowsEvent) -> Result<u64, Failure> {
    let mut count = 0;
    each_row::<Failure>(event, |_| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}
