//! Making, changing and removing datasets, one at a time in the whole database.
//!
//! What changes a table waits for all that read and write it, and all that come later wait
//! for it. It waits a moment only, then makes way and tries again.

use std::time::Duration;

use jiff::Timestamp;
use orderwire_store::{Defined, Error, Loss, evolve};
use orderwire_types::DatasetName;
use orderwire_types::dataset::DatasetDef;

use super::catalogue::definition;
use super::error::{Failure, invalid, not_found};
use super::evolve as table_evolve;
use super::open::Shared;
use super::session::{Session, Tries, transact};
use super::table::{self, push, table_name};
use super::value::Moment;

/// How long a change of a table waits for those that use it, in milliseconds.
const LOCK_MS: u32 = 500;

/// How often it tries to have it. In the pauses others get through.
const TRIES: Tries =
    Tries { count: 20, pause: Duration::from_millis(100), locks: true, longest: Some(LONGEST) };

/// The longest that the statements of one change may take: an index of a large table takes its time.
const LONGEST: Duration = Duration::from_secs(600);

/// The keys of advisory locks: "owst" and what it is for.
const DEFINITIONS: i64 = 0x6f77_7374_0001;

pub(super) async fn define(
    shared: &Shared,
    name: &DatasetName,
    def: &DatasetDef,
    loss: Loss,
    now: Timestamp,
) -> Result<Defined, Error> {
    let text = serde_json::to_string(def)
        .map_err(|error| invalid(format!("defining dataset {name}: it cannot be stored: {error}")))?;
    let what = "defining a dataset";
    let done = transact!(&shared.database, what, TRIES, |session| {
        begin(session).await?;
        let sql = "SELECT def FROM store.dataset WHERE name = $1 FOR UPDATE";
        let Some(row) = session.row(sql, &[&name.as_str()]).await? else {
            make(session, name, def, &text, now).await?;
            return Ok(Defined::Created);
        };
        let old = definition(row.try_get(0)?)?;
        if old == *def {
            return Ok(Defined::Unchanged);
        }
        let evolution = evolve::evolution(name, &old, def, loss)?;
        table_evolve::check(session, name, &evolution).await?;
        let change = match evolution.repartitioned {
            // It has no rows.
            true => format!("DROP TABLE {};\n{}", table_name(name), table::create(name, def)),
            false => table_evolve::alter(name, &old, def, &evolution)?,
        };
        session.batch(&change).await?;
        mend_indexes(session, name, def).await?;
        let sql = "WITH next AS (SELECT nextval('store.generation') AS generation) \
                   UPDATE store.dataset SET def = $2, changed_at = $3, defined = next.generation, \
                   generation = next.generation FROM next WHERE name = $1";
        session.execute(sql, &[&name.as_str(), &text, &Moment(now)]).await?;
        Ok(Defined::Changed)
    });
    after(shared, what, done).await
}

pub(super) async fn remove(shared: &Shared, name: &DatasetName) -> Result<(), Error> {
    let what = "removing a dataset";
    let done = transact!(&shared.database, what, TRIES, |session| {
        begin(session).await?;
        // Those that record hold this row, then the table.
        let sql = "DELETE FROM store.dataset WHERE name = $1";
        if session.execute(sql, &[&name.as_str()]).await? == 0 {
            return Err(not_found(format!("removing dataset {name}: there is none")).into());
        }
        session.execute("DELETE FROM store.import WHERE dataset = $1", &[&name.as_str()]).await?;
        session.batch(&format!("DROP TABLE {}", table_name(name))).await
    });
    after(shared, what, done).await
}

/// Has others told of a change, and memory follow it before it returns.
async fn after<T>(shared: &Shared, what: &str, done: Result<T, Failure>) -> Result<T, Error> {
    let done = done.map_err(|failure| failure.into_error(what))?;
    shared.tell();
    shared.follow().await?;
    Ok(done)
}

/// One change at a time, which does not wait long for a table.
async fn begin(session: &Session) -> Result<(), Failure> {
    let mut sql = format!("SELECT pg_advisory_xact_lock({DEFINITIONS});\n");
    push(
        &mut sql,
        format_args!(
            "SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL statement_timeout = {}; \
             SET LOCAL standard_conforming_strings = on",
            LONGEST.as_millis()
        ),
    );
    session.batch(&sql).await
}

async fn make(
    session: &Session,
    name: &DatasetName,
    def: &DatasetDef,
    text: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    session.batch(&table::create(name, def)).await?;
    mend_indexes(session, name, def).await?;
    let sql = "WITH next AS (SELECT nextval('store.generation') AS generation) \
               INSERT INTO store.dataset (name, def, created_at, changed_at, last_seq, defined, generation) \
               SELECT $1, $2, $3, $3, 0, next.generation, next.generation FROM next";
    session.execute(sql, &[&name.as_str(), &text, &Moment(now)]).await?;
    Ok(())
}

/// Drops the indexes that should not be and makes those that are missing.
async fn mend_indexes(session: &Session, name: &DatasetName, def: &DatasetDef) -> Result<(), Failure> {
    let sql = "SELECT format('%I.%I', n.nspname, c.relname), array( \
                   SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place) \
                   JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
                   ORDER BY k.place) \
               FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE i.indrelid = $1::text::regclass AND NOT i.indisprimary";
    let mut wanted = table::indexes(def);
    let mut change = String::new();
    for row in session.rows(sql, &[&table_name(name)]).await? {
        let (there, columns): (String, Vec<String>) = (row.try_get(0)?, row.try_get(1)?);
        if !wanted.remove(&columns) {
            push(&mut change, format_args!("DROP INDEX {there};\n"));
        }
    }
    for columns in wanted {
        change.push_str(&table::index(name, &columns));
    }
    session.batch(&change).await
}
