//! The rows of a batch, read and checked, column by column as they are stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use orderwire_store::{Error, Recording, RowsRecorded, each_row, evolve};
use orderwire_types::dataset::OnConflict;
use orderwire_types::identity;
use orderwire_types::row::Value;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::catalogue::{Catalogue, Entry};
use super::error::{Failure, damaged, invalid, not_found};
use super::imports::Known;
use super::session::Session;
use super::value::{Field, Moment};

/// The most rows of one statement.
const ROWS: usize = 5_000;

/// A batch on its way into its datasets.
pub(super) struct Batch<'a> {
    /// What goes into one dataset each, by name; those without rows are left out.
    pub(super) parts: Vec<Part<'a>>,
    /// One per event, so far nothing of it written.
    pub(super) results: Vec<RowsRecorded>,
}

/// The rows of one dataset.
pub(super) struct Part<'a> {
    pub(super) entry: Arc<Entry>,
    /// The events that carry them.
    pub(super) events: Vec<usize>,
    pub(super) rows: Vec<Place>,
    columns: Vec<Vec<Value<'a>>>,
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) event: usize,
    /// Its index there.
    index: usize,
}

impl<'a> Batch<'a> {
    /// Reads the rows of all events.
    ///
    /// # Errors
    /// `NotFound` or `Invalid` with the entry that cannot be recorded.
    pub(super) fn read(catalogue: &Catalogue, recording: &'a Recording) -> Result<Self, Error> {
        let mut parts: Vec<Part<'a>> = Vec::new();
        let mut results = Vec::with_capacity(recording.events.len());
        let mut values = Vec::new();
        for (i, event) in recording.events.iter().enumerate() {
            let part = match parts.iter_mut().find(|part| part.entry.dataset.name == event.dataset) {
                Some(part) => part,
                None => {
                    let entry = catalogue.get(&event.dataset).ok_or_else(|| {
                        not_found(format!("recording event {}: no dataset {}", event.event_id, event.dataset))
                            .at_entry(i)
                    })?;
                    parts.push(Part::new(entry));
                    parts.last_mut().expect("just put there")
                }
            };
            let entry = part.entry.clone();
            let is_past = evolve::may_be_of_the_past(&entry.dataset, event.accepted_at);
            let reader = if is_past { &entry.filler.past } else { &entry.filler.reader };
            let mut rows = 0;
            each_row(event, |json| {
                reader.read(json, &mut values).map_err(|fault| {
                    let at =
                        if fault.pointer.is_empty() { String::new() } else { format!("{}: ", fault.pointer) };
                    invalid(format!("row {rows} of event {}: {at}{}", event.event_id, fault.detail))
                })?;
                part.push(Place { event: i, index: rows }, &mut values);
                rows += 1;
                Ok(())
            })
            .map_err(|error: Error| error.at_entry(i))?;
            if rows > 0 {
                part.events.push(i);
            }
            results.push(RowsRecorded { rows: rows as u64, ..RowsRecorded::default() });
        }
        parts.retain(|part| !part.rows.is_empty());
        // Everybody holds datasets in this order.
        parts.sort_by(|a, b| a.entry.dataset.name.cmp(&b.entry.dataset.name));
        Ok(Self { parts, results })
    }
}

impl<'a> Part<'a> {
    fn new(entry: Arc<Entry>) -> Self {
        let columns = entry.dataset.def.columns().map(|_| Vec::new()).collect();
        Self { entry, events: Vec::new(), rows: Vec::new(), columns }
    }

    fn push(&mut self, place: Place, values: &mut Vec<Value<'a>>) {
        self.rows.push(place);
        for (column, value) in self.columns.iter_mut().zip(values.drain(..)) {
            column.push(value);
        }
    }

    /// The times of its rows, where it has a time column.
    pub(super) fn times(&self) -> impl Iterator<Item = Timestamp> {
        let column = self.entry.filler.time.and_then(|at| self.columns.get(at));
        column.into_iter().flatten().filter_map(|value| match value {
            Value::Timestamp(at) => Some(*at),
            _ => None,
        })
    }

    /// Whether none of its events is new.
    pub(super) fn is_repeated(&self, results: &[RowsRecorded]) -> bool {
        self.events.iter().all(|&event| results[event].repeated)
    }

    /// Stores the rows that were not known, with the numbers after `last_seq`, and counts
    /// in `results` what was written.
    pub(super) async fn insert(
        &self,
        session: &Session,
        recording: &Recording,
        last_seq: i64,
        known: &HashMap<usize, Known>,
        results: &mut [RowsRecorded],
    ) -> Result<(), Failure> {
        for start in (0..self.rows.len()).step_by(ROWS) {
            let end = self.rows.len().min(start + ROWS);
            let new = |row: &usize| {
                let Place { event, index } = self.rows[*row];
                !results[event].repeated && known.get(&event).is_none_or(|known| !known.has(index))
            };
            let mut picked: Vec<usize> = (start..end).filter(new).collect();
            let on_conflict = self.entry.filler.on_conflict;
            if on_conflict != Some(OnConflict::Keep) {
                for &row in &picked {
                    results[self.rows[row].event].written += 1;
                }
            }
            if on_conflict == Some(OnConflict::Update) {
                picked = self.last_of_each_key(recording, &picked);
            }
            if picked.is_empty() {
                continue;
            }
            for seq in self.insert_some(session, recording, last_seq, &picked).await? {
                let row = usize::try_from(seq - last_seq - 1).ok().and_then(|row| self.rows.get(row));
                results[row.ok_or_else(|| damaged("number of a row"))?.event].written += 1;
            }
        }
        Ok(())
    }

    /// Stores some rows; the numbers of those that are said to have been written.
    async fn insert_some(
        &self,
        session: &Session,
        recording: &Recording,
        last_seq: i64,
        picked: &[usize],
    ) -> Result<Vec<i64>, Failure> {
        let number = |row: usize| last_seq + 1 + i64::try_from(row).unwrap_or(i64::MAX);
        let event = |row: usize| &recording.events[self.rows[row].event];
        let seqs: Vec<i64> = picked.iter().map(|&row| number(row)).collect();
        let clients: Vec<&str> = picked.iter().map(|&row| event(row).client.as_str()).collect();
        let ids: Vec<Uuid> = picked
            .iter()
            .map(|&row| identity::row_id(event(row).event_id, self.rows[row].index as u64))
            .collect();
        let traces: Vec<Uuid> = picked.iter().map(|&row| event(row).trace).collect();
        let columns: Vec<Vec<Field<'_, '_>>> = self
            .columns
            .iter()
            .map(|column| picked.iter().map(|&row| Field(&column[row])).collect())
            .collect();
        let now = Moment(recording.now);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&now, &seqs, &clients, &ids, &traces];
        values.extend(columns.iter().map(|column| column as &(dyn ToSql + Sync)));
        let rows = session.rows(&self.entry.filler.insert, &values).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Of the rows of each key the last one: one statement writes a key once.
    fn last_of_each_key(&self, recording: &Recording, picked: &[usize]) -> Vec<usize> {
        let mut keys = HashSet::with_capacity(picked.len());
        let mut last: Vec<usize> =
            picked.iter().rev().copied().filter(|&row| keys.insert(self.key(recording, row))).collect();
        last.reverse();
        last
    }

    /// What names a row, as bytes that are the same when PostgreSQL says so.
    fn key(&self, recording: &Recording, row: usize) -> Vec<u8> {
        let mut key = recording.events[self.rows[row].event].client.as_str().as_bytes().to_vec();
        for &column in &self.entry.filler.key {
            match &self.columns[column][row] {
                Value::Text(text) => {
                    key.extend((text.len() as u64).to_be_bytes());
                    key.extend(text.as_bytes());
                }
                Value::Integer(integer) => key.extend(integer.to_be_bytes()),
                // Zero has two signs and is one.
                Value::Float(float) => key.extend((float + 0.0).to_bits().to_be_bytes()),
                Value::Boolean(boolean) => key.push(u8::from(*boolean)),
                Value::Timestamp(at) => key.extend(at.as_microsecond().to_be_bytes()),
                Value::Decimal(decimal) => {
                    let decimal = decimal.normalized();
                    key.extend(decimal.unscaled().to_be_bytes());
                    key.push(decimal.scale());
                }
                Value::Date(date) => key.extend(date.to_string().bytes()),
                Value::Uuid(id) => key.extend(id.as_bytes()),
                // Columns of a key are none of these.
                Value::Null | Value::Json(_) | Value::Texts(_) => {}
            }
        }
        key
    }
}
