//! Which lines of imported files are recorded: ranges that do not touch, so
//! that pieces may come again, overlap, or come after one that was put aside.

use orderwire_store::{Imported, ImportedLines, RowsEvent};
use orderwire_types::{Client, DatasetName};
use rusqlite::{Connection, params};

/// Lines `first` up to, but without, `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) first: i64,
    pub(super) until: i64,
}

impl Lines {
    pub(super) fn hold(self, line: i64) -> bool {
        self.first <= line && line < self.until
    }
}

/// Notes the lines of this piece; returns the ranges of them that were known.
pub(super) fn note(
    connection: &Connection,
    event: &RowsEvent,
    import: &ImportedLines,
    piece: Lines,
) -> rusqlite::Result<Vec<Lines>> {
    if piece.first >= piece.until {
        return Ok(Vec::new());
    }
    let (dataset, client) = (event.dataset.as_str(), event.client.as_str());
    // Ranges that overlap the piece or touch it. They are few: one, unless a
    // piece was put aside.
    let mut statement = connection.prepare_cached(
        "SELECT first, until FROM import WHERE dataset = ?1 AND client = ?2 AND file = ?3 \
         AND first <= ?5 AND until >= ?4 ORDER BY first",
    )?;
    let read = |row: &rusqlite::Row<'_>| Ok(Lines { first: row.get(0)?, until: row.get(1)? });
    let known = statement
        .query_map(params![dataset, client, import.file, piece.first, piece.until], read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if known.iter().any(|range| range.first <= piece.first && piece.until <= range.until) {
        return Ok(known);
    }
    let first = known.first().map_or(piece.first, |range| range.first.min(piece.first));
    let until = known.last().map_or(piece.until, |range| range.until.max(piece.until));
    connection
        .prepare_cached(
            "DELETE FROM import WHERE dataset = ?1 AND client = ?2 AND file = ?3 \
             AND first BETWEEN ?4 AND ?5",
        )?
        .execute(params![dataset, client, import.file, first, until])?;
    connection
        .prepare_cached(
            "INSERT INTO import (dataset, client, file, first, until) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![dataset, client, import.file, first, until])?;
    Ok(known)
}

/// How many lines are recorded: from the first on without a gap, and wherever they stand.
pub(super) fn count(
    connection: &Connection,
    dataset: &DatasetName,
    client: &Client,
    file: &str,
) -> rusqlite::Result<Imported> {
    let read = |row: &rusqlite::Row<'_>| {
        let (rows, lines): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Imported { rows: rows.unsigned_abs(), lines: lines.unsigned_abs() })
    };
    connection
        .prepare_cached(
            "SELECT coalesce(max(CASE WHEN first = 0 THEN until END), 0), coalesce(sum(until - first), 0) \
             FROM import WHERE dataset = ?1 AND client = ?2 AND file = ?3",
        )?
        .query_row(params![dataset.as_str(), client.as_str(), file], read)
}
