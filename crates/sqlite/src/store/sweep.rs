//! Dropping what is past its retention, a bounded piece at a time.

use jiff::{SignedDuration, Timestamp};
use orderwire_store::Sweep;
use orderwire_types::dataset::DatasetDef;
use rusqlite::{Connection, OptionalExtension, params};

use super::catalogue::Entry;
use super::error::Failure;
use super::indexes::ALL_CLIENTS;
use super::links;
use super::record::note_change;
use super::table::{quoted, table_name};
use super::traces::part;
use super::writer::Transaction;
use crate::queue::nanos;

pub(super) fn sweep(transaction: &mut Transaction<'_>, sweep: &Sweep) -> Result<u64, Failure> {
    let Sweep { now, traces_before, remembered_before, limit: piece } = *sweep;
    let limit = i64::try_from(piece).unwrap_or(i64::MAX);
    let mut dropped = 0;
    for entry in transaction.memory.catalogue.all() {
        let Some(retention) = entry.dataset.def.retention else { continue };
        let Ok(before) = now.checked_sub(SignedDuration::from(retention)) else { continue };
        let before = entry.dataset.def.kept_from(before);
        let gone = rows(transaction.connection, &entry, before, limit - dropped)?;
        if gone > 0 {
            dropped += gone;
            note_change(transaction, entry)?;
        }
    }
    dropped += gone(transaction.connection, limit - dropped)?;
    dropped += traces(transaction.connection, traces_before, limit)?;
    dropped += counted(links::sweep(transaction.connection, traces_before, limit)?);
    let connection = transaction.connection;
    let remembered = transaction.memory.remembered.ids(connection)?;
    dropped += counted(remembered.forget(connection, nanos(remembered_before), piece)?);
    Ok(dropped.unsigned_abs())
}

/// Drops at most `limit` rows from before `before`.
fn rows(
    connection: &Connection,
    entry: &Entry,
    before: Timestamp,
    limit: i64,
) -> Result<i64, rusqlite::Error> {
    if limit <= 0 {
        return Ok(0);
    }
    let DatasetDef { time, .. } = &entry.dataset.def;
    let table = table_name(&entry.dataset.name);
    let before = before.as_microsecond();
    let Some(time) = time else {
        // `_recorded_at` grows with `_seq`, so the oldest rows are the first.
        let sql = format!(
            "DELETE FROM {table} WHERE _seq IN (SELECT _seq FROM (SELECT _seq, _recorded_at FROM {table} \
             ORDER BY _seq LIMIT ?2) WHERE _recorded_at < ?1)"
        );
        return Ok(counted(connection.execute(&sql, params![before, limit])?));
    };
    let mut dropped = 0;
    for sql in past(&table, &quoted(time.as_str())) {
        if dropped < limit {
            dropped += counted(connection.prepare_cached(&sql)?.execute(params![before, limit - dropped])?);
        }
    }
    Ok(dropped)
}

/// The statements that drop at most `?2` rows from before `?1`, oldest first.
fn past(table: &str, time: &str) -> [String; 2] {
    let from = format!("FROM {table} WHERE {ALL_CLIENTS}");
    let by_time = format!("SELECT _seq {from} AND {time} < ?1 ORDER BY {time} LIMIT ?2");
    // A row without a time is as old as its record, and records grow with `_seq`.
    let untimed = format!(
        "SELECT _seq FROM (SELECT _seq, _recorded_at {from} AND {time} IS NULL ORDER BY _seq LIMIT ?2) \
         WHERE _recorded_at < ?1"
    );
    [by_time, untimed].map(|rows| format!("DELETE FROM {table} WHERE _seq IN ({rows})"))
}

/// Drops at most `limit` rows of datasets that were removed, and the tables
/// that are empty then.
fn gone(connection: &Connection, limit: i64) -> Result<i64, rusqlite::Error> {
    let mut dropped = 0;
    while dropped < limit {
        let first = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'gone_*' LIMIT 1";
        let table: Option<String> =
            connection.prepare_cached(first)?.query_row([], |row| row.get(0)).optional()?;
        let Some(table) = table.as_deref().map(quoted) else { break };
        let sql =
            format!("DELETE FROM {table} WHERE _seq IN (SELECT _seq FROM {table} ORDER BY _seq LIMIT ?1)");
        dropped += counted(connection.execute(&sql, [limit - dropped])?);
        if dropped < limit {
            connection.execute_batch(&format!("DROP TABLE {table}"))?;
        }
    }
    Ok(dropped)
}

/// Drops records of windows that ended before `before`, so that one is kept at
/// most an hour longer; and what was remembered of changes of that time.
fn traces(connection: &Connection, before: Timestamp, limit: i64) -> Result<i64, rusqlite::Error> {
    let until = part(before);
    let records = connection
        .prepare_cached(
            "DELETE FROM trace_record WHERE (part, trace, n) IN (SELECT part, trace, n FROM trace_record \
             WHERE part < ?1 ORDER BY part, trace, n LIMIT ?2)",
        )?
        .execute(params![until, limit])?;
    connection
        .prepare_cached(
            "DELETE FROM trace_part WHERE part < ?1 \
             AND NOT EXISTS (SELECT 1 FROM trace_record r WHERE r.part = trace_part.part)",
        )?
        .execute([until])?;
    connection
        .prepare_cached(
            "DELETE FROM client_change WHERE (at, event_id) IN (SELECT at, event_id FROM client_change \
             WHERE at < ?1 ORDER BY at, event_id LIMIT ?2)",
        )?
        .execute(params![before.as_microsecond(), limit])?;
    Ok(counted(records))
}

fn counted(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    /// Not client by client: most have nothing to drop.
    #[test]
    fn rows_past_their_retention_are_found_by_the_time_of_all_clients() {
        let field = r#"{"name":"at","type":"timestamp","required":true}"#;
        for (key, index) in [("", "all_time_d#7"), (r#","key":["at"]"#, "all_key_d#7")] {
            let def = serde_json::from_str(&format!(r#"{{"fields":[{field}],"time":"at"{key}}}"#)).unwrap();
            let name = "d".parse().unwrap();
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(&table::create(&name, &def, 7)).unwrap();
            let explained = |sql: &str| {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let lines = statement.query_map([0, 9], |row| row.get::<_, String>("detail")).unwrap();
                lines.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("\n")
            };
            let [by_time, untimed] = past("data_d", "\"at\"").map(|sql| explained(&sql));
            assert!(by_time.contains(&format!("INDEX {index} (at<?)")), "{by_time}");
            assert!(!by_time.contains("B-TREE"), "{by_time}");
            assert!(!key.is_empty() || untimed.contains(&format!("INDEX {index} (at=?)")), "{untimed}");
            assert!(!untimed.contains("B-TREE"), "{untimed}");
        }
    }
}
