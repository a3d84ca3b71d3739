//! Partitions by time: each a table of its own beside its dataset's, `air#2026-01` or
//! `air#2026-01-15`, which is made when a row needs it and dropped when all of it is past the
//! retention.
//!
//! Making one holds up nobody who reads: it is made alone and then attached, for which reads of
//! the others go on. That is why there is no default partition, as long as there are few
//! enough: an attachment looks through a default one, and holds up its readers meanwhile. Only
//! when there are as many as there may be, rows beyond them go into one, `air#rest`; while it has
//! rows no more are made, and it goes when retention has emptied it.
//!
//! Whoever makes or drops one holds the row of the dataset, as whoever changes the dataset does.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::{self, Date};
use orderwire_types::DatasetName;
use orderwire_types::dataset::Partition;

use super::batch::Batch;
use super::catalogue::Entry;
use super::error::Failure;
use super::open::Shared;
use super::session::{Session, Tries, read, transact};
use super::table::{identifier, literal, push, quoted, table_name};
use super::value::Moment;

/// The most partitions of a dataset: a read that is not of some of them alone locks each, with
/// its indexes, and the server has room for some thousand locks.
const MOST: usize = 120;

/// How many are made in one transaction, which holds locks on all of them.
const TOGETHER: usize = 20;

/// What the name of the one for rows of no other ends with.
const REST: &str = "rest";

/// How long dropping one waits for those who read, in milliseconds; it is tried again.
const LOCK_MS: u32 = 500;
pub(super) const TRIES: Tries =
    Tries { count: 5, pause: std::time::Duration::from_millis(200), locks: true, longest: None };

const WHAT: &str = "making partitions";

/// The name of a partition's table, without its schema.
fn name(dataset: &DatasetName, which: &str) -> String {
    format!("{dataset}#{which}")
}

/// What tells a partition: `2026-01` or `2026-01-15`, in whose order the partitions are.
fn label(partition: Partition, first_day: Date) -> String {
    match partition {
        Partition::Day => first_day.to_string(),
        Partition::Month => first_day.strftime("%Y-%m").to_string(),
    }
}

fn table(dataset: &DatasetName, which: &str) -> String {
    format!("data.{}", identifier(&name(dataset, which)))
}

/// The beginning of a day as a literal. Counted, because texts know no year 0.
fn moment(day: Date) -> String {
    let days = (day - civil::date(2000, 1, 1)).get_days();
    format!("(timestamptz '2000-01-01 00:00:00Z' + {days} * interval '24 hours')")
}

/// Makes the partitions that the rows of a batch need and that are not there.
pub(super) async fn make_for(shared: &Shared, batch: &Batch<'_>) -> Result<(), Failure> {
    for part in &batch.parts {
        let Some(partition) = part.entry.dataset.def.partition else { continue };
        let days: BTreeSet<Date> = part.times().map(|at| partition.first_day(at)).collect();
        let labels =
            days.iter().map(|day| label(partition, *day)).chain([REST.to_owned()]).collect::<Vec<_>>();
        let dataset = &part.entry.dataset.name;
        let there: BTreeSet<String> =
            read!(&shared.database, WHAT, |session| there(session, dataset, &labels).await)
                .map_err(Failure::Refused)?
                .into_iter()
                .collect();
        // What has no partition of its own goes there.
        if there.contains(REST) {
            continue;
        }
        let missing: Vec<Date> =
            days.into_iter().filter(|day| !there.contains(&label(partition, *day))).collect();
        for some in missing.chunks(TOGETHER) {
            let made = transact!(&shared.database, WHAT, TRIES, |session| {
                hold(session, &part.entry).await?;
                make(session, &part.entry, partition, some).await
            });
            if !made? {
                break;
            }
        }
    }
    Ok(())
}

/// Takes the row of the dataset, as whoever records holds it before its rows.
async fn hold(session: &Session, entry: &Entry) -> Result<(), Failure> {
    let sql = "SELECT 1 FROM store.dataset WHERE name = $1 AND defined = $2 FOR UPDATE";
    let name = entry.dataset.name.as_str();
    session.row(sql, &[&name, &entry.defined]).await?.ok_or(Failure::Stale)?;
    let locks = format!("SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL standard_conforming_strings = on");
    session.batch(&locks).await
}

/// Which of these partitions are there.
async fn there(session: &Session, dataset: &DatasetName, labels: &[String]) -> Result<Vec<String>, Failure> {
    let tables: Vec<String> = labels.iter().map(|label| table(dataset, label)).collect();
    let sql = "SELECT label FROM unnest($1::text[], $2::text[]) AS wanted (label, name) \
               WHERE to_regclass(name) IS NOT NULL";
    session.rows(sql, &[&labels, &tables]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// What tells each partition of a dataset, the one for the rest aside; and whether that is there.
async fn all(session: &Session, dataset: &DatasetName) -> Result<(Vec<String>, bool), Failure> {
    let sql = "SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = $1::text::regclass ORDER BY c.relname";
    let mut labels = Vec::new();
    let mut rest = false;
    let before = name(dataset, "");
    for row in session.rows(sql, &[&table_name(dataset)]).await? {
        let name: &str = row.try_get(0)?;
        match name.strip_prefix(&before) {
            Some(REST) => rest = true,
            // Somebody else's is none of ours.
            other => labels.extend(other.map(str::to_owned)),
        }
    }
    Ok((labels, rest))
}

/// Makes these partitions; `false`: there is one for all rows that have none instead.
async fn make(
    session: &Session,
    entry: &Entry,
    partition: Partition,
    days: &[Date],
) -> Result<bool, Failure> {
    let dataset = &entry.dataset.name;
    let (labels, rest) = all(session, dataset).await?;
    if rest {
        return Ok(false);
    }
    let known: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
    let mut room = MOST.saturating_sub(labels.len());
    let mut is_full = false;
    let mut sql = String::new();
    for day in days {
        let label = label(partition, *day);
        // Another node may have made it meanwhile.
        if known.contains(label.as_str()) {
            continue;
        }
        if room == 0 {
            is_full = true;
            attach(&mut sql, dataset, REST, "DEFAULT");
            tracing::warn!(dataset = %dataset, partitions = MOST, "more partitions than there may be: rows of other times go into one");
            break;
        }
        room -= 1;
        let until = partition.next(*day).map_or_else(|| "MAXVALUE".to_owned(), moment);
        attach(&mut sql, dataset, &label, &format!("FOR VALUES FROM ({}) TO ({until})", moment(*day)));
    }
    session.batch(&sql).await?;
    Ok(!is_full)
}

fn attach(sql: &mut String, dataset: &DatasetName, which: &str, bounds: &str) {
    let (parent, table) = (table_name(dataset), table(dataset, which));
    push(
        sql,
        format_args!(
            "CREATE TABLE {table} (LIKE {parent});\n\
             COMMENT ON TABLE {table} IS {};\n\
             ALTER TABLE {parent} ATTACH PARTITION {table} {bounds};\n",
            literal(&format!("A partition of {dataset}."))
        ),
    );
}

/// Drops partitions of which all is from before `before`, the first moment of one that stays;
/// and at most `limit` rows of the one for the rest, or it, when it is empty. How many
/// partitions and rows went.
pub(super) async fn sweep(
    session: &Session,
    entry: &Entry,
    partition: Partition,
    before: Timestamp,
    limit: u64,
) -> Result<u64, Failure> {
    let dataset = &entry.dataset.name;
    let (labels, rest) = all(session, dataset).await?;
    let first_kept = label(partition, partition.first_day(before));
    let past: Vec<&String> = labels.iter().filter(|label| **label < first_kept).take(TOGETHER).collect();
    let mut gone = past.len() as u64;
    if !past.is_empty() || rest {
        let locks = format!("SET LOCAL lock_timeout = {LOCK_MS}");
        session.batch(&locks).await?;
    }
    let mut sql = String::new();
    for label in past {
        push(&mut sql, format_args!("DROP TABLE {};\n", table(dataset, label)));
    }
    let Some(time) = entry.dataset.def.time.as_ref().filter(|_| rest) else {
        session.batch(&sql).await?;
        return Ok(gone);
    };
    let (rest, time) = (table(dataset, REST), quoted(time.as_str()));
    let delete = format!(
        "DELETE FROM {rest} WHERE _seq IN (SELECT _seq FROM {rest} WHERE {time} < $1 ORDER BY {time} LIMIT $2)"
    );
    gone += session.execute(&delete, &[&Moment(before), &i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
    let is_empty = session.row(&format!("SELECT 1 FROM {rest} LIMIT 1"), &[]).await?.is_none();
    if is_empty {
        push(&mut sql, format_args!("DROP TABLE {rest};\n"));
        gone += 1;
    }
    session.batch(&sql).await?;
    Ok(gone)
}
