//! Dropping what is past its retention, a bounded piece at a time.

use jiff::{SignedDuration, Timestamp};
use orderwire_store::{Error, Sweep};

use super::catalogue::Entry;
use super::error::Failure;
use super::links;
use super::open::Shared;
use super::partitions;
use super::remembered;
use super::session::{Session, transact, write};
use super::table::{quoted, table_name};
use super::traces::part;
use super::value::Moment;

const DATASET: &str = "sweeping a dataset";

pub(super) async fn sweep(shared: &Shared, sweep: Sweep) -> Result<u64, Error> {
    let Sweep { now, traces_before, remembered_before, limit } = sweep;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut dropped = 0;
    let mut held = Vec::new();
    for entry in shared.catalogue.all() {
        let Some(retention) = entry.dataset.def.retention else { continue };
        let Ok(before) = now.checked_sub(SignedDuration::from(retention)) else { continue };
        let before = entry.dataset.def.kept_from(before);
        if dropped < limit {
            match of_a_dataset(shared, &entry, before, limit - dropped).await {
                Ok(gone) => dropped += gone,
                // Nobody else waits for those who read it: the next sweep tries again.
                Err(failure) if failure.is_of_a_lock() => held.push(entry.dataset.name.to_string()),
                Err(failure) => return Err(failure.into_error(DATASET)),
            }
        }
    }
    if !held.is_empty() {
        tracing::warn!(datasets = %held.join(", "), "nothing past its retention is dropped while somebody reads the table for long");
    }
    let records = write!(&shared.database, "sweeping traces", |session| {
        traces(session, traces_before, limit).await
    })?;
    let forgotten = write!(&shared.database, "forgetting events", |session| {
        remembered::forget(session, remembered_before, limit).await
    })?;
    let ended = write!(&shared.database, "forgetting transactions", |session| ended(session, limit).await)?;
    Ok(dropped + records + forgotten + ended)
}

/// Forgets transactions of which nobody asks any more what became of them.
async fn ended(session: &Session, limit: u64) -> Result<u64, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = "DELETE FROM store.ended WHERE token IN (SELECT token FROM store.ended \
               WHERE at < now() - interval '1 hour' ORDER BY at LIMIT $1)";
    session.execute(sql, &[&limit]).await
}

/// Drops at most `limit` rows from before `before`.
async fn of_a_dataset(shared: &Shared, entry: &Entry, before: Timestamp, limit: u64) -> Result<u64, Failure> {
    let name = &entry.dataset.name;
    let swept = transact!(&shared.database, DATASET, partitions::TRIES, |session| {
        // First the dataset, as whoever records holds it before its rows.
        let sql = "SELECT 1 FROM store.dataset WHERE name = $1 AND defined = $2 FOR UPDATE";
        session.row(sql, &[&name.as_str(), &entry.defined]).await?.ok_or(Failure::Stale)?;
        let gone = match entry.dataset.def.partition {
            None => rows(session, entry, before, limit).await?,
            Some(partition) => partitions::sweep(session, entry, partition, before, limit).await?,
        };
        if gone == 0 {
            return Ok((0, 0));
        }
        let sql = "UPDATE store.dataset SET generation = nextval('store.generation') \
                   WHERE name = $1 RETURNING generation";
        let row = session.row(sql, &[&name.as_str()]).await?.ok_or(Failure::Stale)?;
        Ok((gone, row.try_get(0)?))
    });
    match swept {
        Ok((0, _)) => Ok(0),
        Ok((gone, generation)) => {
            shared.catalogue.changed(name, generation);
            shared.tell();
            Ok(gone)
        }
        // It has another definition, perhaps without a retention: the next sweep sees it.
        Err(failure) if failure.is_stale() => Ok(0),
        Err(failure) => Err(failure),
    }
}

async fn rows(session: &Session, entry: &Entry, before: Timestamp, limit: u64) -> Result<u64, Failure> {
    let table = table_name(&entry.dataset.name);
    let Some(time) = &entry.dataset.def.time else {
        return drop_some(session, &untimed(&table, "TRUE"), before, limit).await;
    };
    let time = quoted(time.as_str());
    let by_time = format!(
        "DELETE FROM {table} WHERE _seq IN (SELECT _seq FROM {table} WHERE {time} < $1 ORDER BY {time} LIMIT $2)"
    );
    let gone = drop_some(session, &by_time, before, limit).await?;
    if gone == limit {
        return Ok(gone);
    }
    Ok(gone + drop_some(session, &untimed(&table, &format!("{time} IS NULL")), before, limit - gone).await?)
}

/// The statement that drops rows without a time, which are as old as their record: records
/// grow with `_seq`.
fn untimed(table: &str, condition: &str) -> String {
    format!(
        "DELETE FROM {table} WHERE _seq IN (SELECT _seq FROM (SELECT _seq, _recorded_at FROM {table} \
         WHERE {condition} ORDER BY _seq LIMIT $2) AS oldest WHERE _recorded_at < $1)"
    )
}

async fn drop_some(session: &Session, sql: &str, before: Timestamp, limit: u64) -> Result<u64, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    session.execute(sql, &[&Moment(before), &limit]).await
}

/// Drops records of windows that ended before `before`, so that one is kept at
/// most an hour longer; and what was remembered of changes of that time.
async fn traces(session: &Session, before: Timestamp, limit: u64) -> Result<u64, Failure> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = "DELETE FROM store.trace_record WHERE (part, trace, n) IN ( \
               SELECT part, trace, n FROM store.trace_record WHERE part < $1 ORDER BY part, trace, n LIMIT $2)";
    let records = session.execute(sql, &[&part(before), &limit]).await?;
    let sql = "DELETE FROM store.client_change WHERE (at, event_id) IN ( \
               SELECT at, event_id FROM store.client_change WHERE at < $1 ORDER BY at, event_id LIMIT $2)";
    session.execute(sql, &[&Moment(before), &limit]).await?;
    Ok(records + links::sweep(session, before, limit).await?)
}
