//! Partitions by time: each a table of its own beside its dataset's, `air#2026-01` or
//! `air#2026-01-15`, which is made when a row needs it and dropped when all of it is past the
//! retention.
//!
//! Making one holds up nobody who reads: it is made alone and then attached, for which reads of
//! the others go on. That is why there is no default partition without need. Rows that have
//! no partition of their own go into one, `air#rest`: those of more times than there may be
//! partitions, those that are past the retention when they come, and those whose partition
//! somebody took out of the table. Beside it a partition is still made as long as it has no
//! row of that time, for which nobody may read the rest at that moment; it goes when
//! retention has emptied it.
//!
//! Whoever makes or drops one holds the row of the dataset, as whoever changes the dataset does.

use std::collections::BTreeSet;

use jiff::civil::{self, Date};
use jiff::{SignedDuration, Timestamp};
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

/// How many partitions before the present one, and behind it, have their room kept: clocks
/// that are wrong, and history, fill no more than what is left. As many as a retention of
/// partitions by day can ask for.
const BEFORE: i32 = Partition::DAYS_MAX;
const BEHIND: i32 = 2;

/// The most partitions of other times.
const FAR: usize = MOST - (BEFORE + 1 + BEHIND) as usize;

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

/// A day as its number, because texts know no year 0.
fn number(day: Date) -> i32 {
    (day - civil::date(2000, 1, 1)).get_days()
}

/// The beginning of the day of this number.
fn moment(number: impl std::fmt::Display) -> String {
    format!("(timestamptz '2000-01-01 00:00:00Z' + {number} * interval '24 hours')")
}

/// Which partitions are worth making at a moment.
struct Wanted {
    /// Those whose room is kept: the first and the last.
    near: (Date, Date),
    /// The first that retention keeps.
    kept: Option<Date>,
}

impl Wanted {
    fn at(now: Timestamp, entry: &Entry, partition: Partition) -> Self {
        let today = partition.first_day(now);
        let retention = entry.dataset.def.retention.map(SignedDuration::from);
        let before = retention.and_then(|retention| now.checked_sub(retention).ok());
        Self {
            near: (
                today.saturating_sub(partition.length(BEFORE)),
                today.saturating_add(partition.length(BEHIND)),
            ),
            kept: before.map(|before| partition.first_day(before)),
        }
    }

    fn is_kept(&self, day: Date) -> bool {
        self.kept.is_none_or(|kept| kept <= day)
    }
}

/// Makes the partitions that the rows of a batch need at this moment and that are not there.
pub(super) async fn make_for(shared: &Shared, batch: &Batch<'_>, now: Timestamp) -> Result<(), Failure> {
    for part in &batch.parts {
        let entry = &part.entry;
        let Some(partition) = entry.dataset.def.partition else { continue };
        let wanted = Wanted::at(now, entry, partition);
        let days: BTreeSet<Date> = part.times().map(|at| partition.first_day(at)).collect();
        let (missing, rest) = read!(&shared.database, WHAT, |session| {
            missing(session, entry, partition, &wanted, &days).await
        })
        .map_err(Failure::Refused)?;
        let mut is_full = false;
        for some in missing.chunks(TOGETHER) {
            let made = transact!(&shared.database, WHAT, TRIES, |session| {
                hold(session, entry).await?;
                make(session, entry, partition, &wanted, some).await
            });
            match made {
                Ok(full) => is_full |= full,
                // Somebody reads the rest: the rows go there as well.
                Err(failure) if rest && failure.is_of_a_lock() => break,
                Err(failure) => return Err(failure),
            }
        }
        if is_full {
            tracing::warn!(dataset = %entry.dataset.name, partitions = MOST, "more partitions than there may be: rows of other times go into one");
        }
    }
    Ok(())
}

/// Which of the partitions that begin on these days are to be made; and whether the one for the
/// rest is there.
async fn missing(
    session: &Session,
    entry: &Entry,
    partition: Partition,
    wanted: &Wanted,
    days: &BTreeSet<Date>,
) -> Result<(Vec<Date>, bool), Failure> {
    let dataset = &entry.dataset.name;
    let names: Vec<String> = days
        .iter()
        .map(|day| label(partition, *day))
        .chain([REST.to_owned()])
        .map(|label| name(dataset, &label))
        .collect();
    let sql = "SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = to_regclass($1::text) AND NOT i.inhdetachpending AND c.relname = ANY($2)";
    let mut there = BTreeSet::new();
    for row in session.rows(sql, &[&table_name(dataset), &names]).await? {
        there.insert(row.try_get::<_, String>(0)?);
    }
    let rest = there.contains(&name(dataset, REST));
    let mut missing: Vec<Date> = days
        .iter()
        .copied()
        .filter(|day| !there.contains(&name(dataset, &label(partition, *day))))
        // The others are for the rest.
        .filter(|day| !rest || wanted.is_kept(*day))
        .collect();
    if rest && !missing.is_empty() {
        match of_the_rest(session, entry, partition, &missing).await {
            Ok(held) => missing.retain(|day| !held.contains(day)),
            // It was dropped meanwhile: whoever makes them looks again.
            Err(failure) if failure.is_stale() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok((missing, rest))
}

/// Of which of these days the one for the rest has rows: beside them no partition can be made.
async fn of_the_rest(
    session: &Session,
    entry: &Entry,
    partition: Partition,
    days: &[Date],
) -> Result<BTreeSet<Date>, Failure> {
    let Some(time) = &entry.dataset.def.time else { return Ok(BTreeSet::new()) };
    let time = quoted(time.as_str());
    let sql = format!(
        "SELECT first FROM unnest($1::int[], $2::int[]) AS days (first, next) WHERE EXISTS ( \
         SELECT 1 FROM {} WHERE {time} >= {} AND {time} < coalesce({}, 'infinity'))",
        table(&entry.dataset.name, REST),
        moment("first"),
        moment("next")
    );
    let first: Vec<i32> = days.iter().map(|day| number(*day)).collect();
    let next: Vec<Option<i32>> = days.iter().map(|day| partition.next(*day).map(number)).collect();
    let mut held = BTreeSet::new();
    for row in session.rows(&sql, &[&first, &next]).await? {
        held.insert(row.try_get::<_, i32>(0)?);
    }
    Ok(days.iter().copied().filter(|day| held.contains(&number(*day))).collect())
}

/// Takes the row of the dataset, as whoever records holds it before its rows.
async fn hold(session: &Session, entry: &Entry) -> Result<(), Failure> {
    let sql = "SELECT 1 FROM store.dataset WHERE name = $1 AND defined = $2 FOR UPDATE";
    let name = entry.dataset.name.as_str();
    session.row(sql, &[&name, &entry.defined]).await?.ok_or(Failure::Stale)?;
    let locks = format!("SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL standard_conforming_strings = on");
    session.batch(&locks).await
}

/// What tells each partition of a dataset, the one for the rest aside; and whether that is there.
async fn all(session: &Session, dataset: &DatasetName) -> Result<(Vec<String>, bool), Failure> {
    let sql = "SELECT c.relname FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = $1::text::regclass AND NOT i.inhdetachpending ORDER BY c.relname";
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

/// Makes these partitions, as far as they may be; whether there are too many.
async fn make(
    session: &Session,
    entry: &Entry,
    partition: Partition,
    wanted: &Wanted,
    days: &[Date],
) -> Result<bool, Failure> {
    let dataset = &entry.dataset.name;
    let (labels, rest) = all(session, dataset).await?;
    let known: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
    let near = label(partition, wanted.near.0)..=label(partition, wanted.near.1);
    let mut count = labels.len();
    let mut far = labels.iter().filter(|label| !near.contains(*label)).count();
    let held = if rest { of_the_rest(session, entry, partition, days).await? } else { BTreeSet::new() };
    let mut is_full = false;
    let mut needs_rest = false;
    let mut sql = String::new();
    for day in days {
        let label = label(partition, *day);
        // Another node may have made it meanwhile.
        if known.contains(label.as_str()) {
            continue;
        }
        if held.contains(day) || !wanted.is_kept(*day) || is_taken(session, dataset, &label).await? {
            needs_rest = true;
            continue;
        }
        let is_far = !near.contains(&label);
        if count >= MOST || (is_far && far >= FAR) {
            is_full = true;
            needs_rest = true;
            continue;
        }
        count += 1;
        far += usize::from(is_far);
        let until = partition.next(*day).map_or_else(|| "MAXVALUE".to_owned(), |next| moment(number(next)));
        let bounds = format!("FOR VALUES FROM ({}) TO ({until})", moment(number(*day)));
        attach(&mut sql, dataset, &label, &bounds);
    }
    if needs_rest && !rest {
        attach(&mut sql, dataset, REST, "DEFAULT");
    }
    session.batch(&sql).await?;
    Ok(is_full)
}

/// Whether a table has the name of this partition, which is none of the dataset: somebody took
/// it out.
async fn is_taken(session: &Session, dataset: &DatasetName, label: &str) -> Result<bool, Failure> {
    let sql = "SELECT 1 WHERE to_regclass($1::text) IS NOT NULL";
    Ok(session.row(sql, &[&table(dataset, label)]).await?.is_some())
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
