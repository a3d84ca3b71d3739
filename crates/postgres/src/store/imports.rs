//! Which lines of imported files are recorded: ranges that do not touch, so
//! that pieces may come again, overlap, or come after one that was put aside.

use orderwire_store::{Imported, ImportedLines, RowsEvent};
use orderwire_types::{Client, DatasetName};

use super::error::{Failure, invalid};
use super::session::Session;

/// Lines `first` up to, but without, `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) first: i64,
    pub(super) until: i64,
}

impl Lines {
    /// The lines of a piece with so many rows.
    pub(super) fn of(import: &ImportedLines, rows: usize) -> Result<Self, Failure> {
        let first = i64::try_from(import.first).ok();
        let until = first.and_then(|first| first.checked_add(i64::try_from(rows).ok()?));
        match (first, until) {
            (Some(first), Some(until)) => Ok(Self { first, until }),
            _ => Err(invalid("a file has no such line").into()),
        }
    }

    fn hold(self, line: i64) -> bool {
        self.first <= line && line < self.until
    }
}

/// Which rows of a piece were known.
#[derive(Debug, Default)]
pub(super) struct Known {
    first: i64,
    ranges: Vec<Lines>,
}

impl Known {
    pub(super) fn has(&self, row: usize) -> bool {
        if self.ranges.is_empty() {
            return false;
        }
        let line = i64::try_from(row).ok().and_then(|row| self.first.checked_add(row));
        line.is_some_and(|line| self.ranges.iter().any(|range| range.hold(line)))
    }
}

/// Notes the lines of this piece. Whoever does holds the row of the dataset, so that
/// nobody else notes lines of it at the same time.
pub(super) async fn note(
    session: &Session,
    event: &RowsEvent,
    import: &ImportedLines,
    piece: Lines,
) -> Result<Known, Failure> {
    if piece.first >= piece.until {
        return Ok(Known::default());
    }
    let (dataset, client, file) = (event.dataset.as_str(), event.client.as_str(), import.file.as_str());
    // Ranges that overlap the piece or touch it. They are few: one, unless a
    // piece was put aside.
    let sql = "SELECT first, until FROM store.import WHERE dataset = $1 AND client = $2 AND file = $3 \
               AND first <= $5 AND until >= $4 ORDER BY first";
    let mut ranges = Vec::new();
    for row in session.rows(sql, &[&dataset, &client, &file, &piece.first, &piece.until]).await? {
        ranges.push(Lines { first: row.try_get(0)?, until: row.try_get(1)? });
    }
    if !ranges.iter().any(|range| range.first <= piece.first && piece.until <= range.until) {
        let first = ranges.first().map_or(piece.first, |range| range.first.min(piece.first));
        let until = ranges.last().map_or(piece.until, |range| range.until.max(piece.until));
        let sql = "DELETE FROM store.import WHERE dataset = $1 AND client = $2 AND file = $3 \
                   AND first BETWEEN $4 AND $5";
        session.execute(sql, &[&dataset, &client, &file, &first, &until]).await?;
        let sql =
            "INSERT INTO store.import (dataset, client, file, first, until) VALUES ($1, $2, $3, $4, $5)";
        session.execute(sql, &[&dataset, &client, &file, &first, &until]).await?;
    }
    Ok(Known { first: piece.first, ranges })
}

/// How many lines are recorded: from the first on without a gap, and wherever they stand.
pub(super) async fn count(
    session: &Session,
    dataset: &DatasetName,
    client: &Client,
    file: &str,
) -> Result<Imported, Failure> {
    let sql = "SELECT coalesce(max(until) FILTER (WHERE first = 0), 0), coalesce(sum(until - first), 0)::bigint \
               FROM store.import WHERE dataset = $1 AND client = $2 AND file = $3";
    match session.row(sql, &[&dataset.as_str(), &client.as_str(), &file]).await? {
        Some(row) => Ok(Imported {
            rows: row.try_get::<_, i64>(0)?.unsigned_abs(),
            lines: row.try_get::<_, i64>(1)?.unsigned_abs(),
        }),
        None => Ok(Imported::default()),
    }
}
