//! The table of one dataset: names, types, and values in and out.

use std::fmt::Write as _;

use jiff::Timestamp;
use orderwire_store::typed::Kind;
use orderwire_types::array;
use orderwire_types::dataset::{DatasetDef, OnConflict};
use orderwire_types::row::{Reader, Value};
use orderwire_types::{DatasetName, Limits};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement, ToSql};
use uuid::Uuid;

use super::error::damaged_value;
use super::indexes;

/// The type of a column in SQLite, whose tables are strict.
pub(super) fn sql_type(kind: Kind) -> &'static str {
    match kind {
        // A list is a JSON array without white space, so that equal ones are equal texts; dates
        // are `YYYY-MM-DD`, which has their order.
        Kind::Text | Kind::Json | Kind::Texts | Kind::Date => "TEXT",
        // As it was given, compared by value.
        Kind::Decimal => "TEXT COLLATE ow_decimal",
        Kind::Integer | Kind::Boolean | Kind::Timestamp => "INTEGER",
        Kind::Float => "REAL",
        Kind::Uuid => "BLOB",
    }
}

/// A name as an identifier. What is passed here was found in a definition, so
/// that it holds no quote; doubling keeps that from mattering.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table of a dataset, as an identifier.
pub(super) fn table_name(name: &DatasetName) -> String {
    quoted(&format!("data_{name}"))
}

/// The table of a dataset that was removed, until its rows are swept; its
/// generation then makes it one of a kind.
pub(super) fn gone_name(generation: u64) -> String {
    quoted(&format!("gone_{generation}"))
}

/// The statements that make the table of a new dataset with its indexes.
///
/// Columns are not declared NOT NULL, because a definition may stop requiring
/// one; the row reader checks that. Those of the key stay what they are.
pub(super) fn create(name: &DatasetName, def: &DatasetDef, generation: u64) -> String {
    let table = table_name(name);
    let mut sql = create_bare(&table, def);
    sql.push_str(&indexes::mend(name, def, &[], generation));
    sql
}

/// The statement that makes a table of this name for rows of this definition.
pub(super) fn create_bare(table: &str, def: &DatasetDef) -> String {
    let mut sql = format!(
        "CREATE TABLE {table} (_seq INTEGER PRIMARY KEY, _client TEXT NOT NULL, _event_id BLOB NOT NULL, \
         _trace_id BLOB NOT NULL, _recorded_at INTEGER NOT NULL"
    );
    for field in def.columns() {
        let not_null = if def.key.contains(&field.name) { " NOT NULL" } else { "" };
        push(
            &mut sql,
            format_args!(", {} {}{not_null}", quoted(field.name.as_str()), sql_type(field.field_type.into())),
        );
    }
    sql.push_str(") STRICT;\n");
    sql
}

/// The columns that name a row, the client among them.
pub(super) fn key_columns(def: &DatasetDef) -> String {
    let mut columns = "_client".to_owned();
    for name in &def.key {
        push(&mut columns, format_args!(", {}", quoted(name.as_str())));
    }
    columns
}

/// What the writer needs to fill a table.
#[derive(Debug)]
pub(super) struct Filler {
    /// Reads rows.
    pub(super) reader: Reader,
    /// Reads rows of earlier definitions.
    pub(super) past: Reader,
    /// Inserts one: the hidden columns, then the others.
    pub(super) insert: String,
    /// The same in the place of the row that has the key, if that is what the
    /// dataset does.
    pub(super) replace: Option<String>,
    /// The greatest `_seq` that was given.
    pub(super) last_seq: i64,
}

impl Filler {
    pub(super) fn new(name: &DatasetName, def: &DatasetDef, limits: &Limits, last_seq: i64) -> Self {
        let reader = Reader::new(def, limits).for_recording();
        Self {
            past: reader.for_the_past(),
            reader,
            insert: insert(name, def),
            replace: replace(name, def),
            last_seq,
        }
    }
}

/// The statement that inserts one row, unless its key is there.
fn insert(name: &DatasetName, def: &DatasetDef) -> String {
    let mut sql = values("INSERT", name, def);
    if !def.key.is_empty() {
        push(&mut sql, format_args!(" ON CONFLICT ({}) DO NOTHING", key_columns(def)));
    }
    sql
}

/// The statement that deletes the row that has the key and inserts anew, with
/// a `_seq` of its own. It costs several times a plain insert even where
/// nothing is to be deleted, hence it is only tried second.
fn replace(name: &DatasetName, def: &DatasetDef) -> Option<String> {
    let replaces = !def.key.is_empty() && def.on_conflict == OnConflict::Update;
    replaces.then(|| values("REPLACE", name, def))
}

fn values(verb: &str, name: &DatasetName, def: &DatasetDef) -> String {
    let mut sql =
        format!("{verb} INTO {} (_seq, _client, _event_id, _trace_id, _recorded_at", table_name(name));
    for field in def.columns() {
        push(&mut sql, format_args!(", {}", quoted(field.name.as_str())));
    }
    sql.push_str(") VALUES (?");
    sql.push_str(&", ?".repeat(4 + def.columns().count()));
    sql.push(')');
    sql
}

/// The hidden values of one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hidden<'a> {
    pub(super) seq: i64,
    pub(super) client: &'a str,
    pub(super) event_id: Uuid,
    pub(super) trace: Uuid,
    pub(super) recorded_at: Timestamp,
}

/// Runs a statement of a [`Filler`]; whether it wrote the row.
pub(super) fn write_row(
    statement: &mut Statement<'_>,
    hidden: &Hidden<'_>,
    values: &[Value<'_>],
) -> rusqlite::Result<bool> {
    statement.raw_bind_parameter(1, hidden.seq)?;
    statement.raw_bind_parameter(2, hidden.client)?;
    statement.raw_bind_parameter(3, &hidden.event_id.as_bytes()[..])?;
    statement.raw_bind_parameter(4, &hidden.trace.as_bytes()[..])?;
    statement.raw_bind_parameter(5, hidden.recorded_at.as_microsecond())?;
    for (i, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(6 + i, Bound(value))?;
    }
    Ok(statement.raw_execute()? > 0)
}

/// A value of a row as it is stored.
pub(super) struct Bound<'v, 'a>(pub(super) &'v Value<'a>);

impl ToSql for Bound<'_, '_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let written = |text: String| Ok(ToSqlOutput::Owned(rusqlite::types::Value::Text(text)));
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Decimal(decimal) => return written(decimal.to_string()),
            Value::Date(date) => return written(date.to_string()),
            Value::Texts(texts) => return written(array::to_json(texts)),
            Value::Uuid(id) => ValueRef::Blob(id.as_bytes()),
            Value::Null => ValueRef::Null,
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Json(text) => ValueRef::Text(text.as_bytes()),
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Float(float) => ValueRef::Real(*float),
            Value::Boolean(boolean) => ValueRef::Integer(i64::from(*boolean)),
            Value::Timestamp(at) => ValueRef::Integer(at.as_microsecond()),
        }))
    }
}

/// The moment in a column that holds microseconds.
pub(super) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|_| damaged_value(column, "moment"))
}

/// The same in a column that may be null.
pub(super) fn moment_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => moment(row, column).map(Some),
    }
}

/// The id in a column that holds 16 bytes.
pub(super) fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Uuid::from_slice(row.get_ref(column)?.as_blob()?).map_err(|_| damaged_value(column, "id"))
}

/// Appends to a statement.
pub(super) fn push(sql: &mut String, arguments: std::fmt::Arguments<'_>) {
    sql.write_fmt(arguments).expect("writing to a string cannot fail");
}
