//! Bringing the table of a dataset to another definition.
//!
//! New columns are added where the table is. SQLite cannot change the type of a column, and
//! drops one only by writing every row anew: then the rows are copied into a new table, and the
//! old one is swept, a piece at a time, as that of a dataset that was removed.

use orderwire_store::evolve::{EXACT, Evolution, Retyped, has_rows, value_lost};
use orderwire_store::{Dataset, Error};
use orderwire_types::dataset::{DatasetDef, Field, FieldType, HIDDEN_COLUMNS};
use rusqlite::{Connection, ToSql};

use super::error::{Failure, invalid};
use super::indexes::{self, Indexes};
use super::table::{self, Bound, push, quoted, sql_type, table_name};

/// The microseconds of a day, and the last one that a moment can be.
const DAY: i64 = 86_400_000_000;
const LAST: i64 = 253_402_207_200_000_000;

/// Does what the evolution asks for. `generations` are the one that the dataset has, and the
/// one that it gets.
pub(super) fn evolve_table(
    connection: &Connection,
    dataset: &Dataset,
    def: &DatasetDef,
    evolution: &Evolution<'_>,
    generations: (u64, u64),
) -> Result<(), Failure> {
    let name = &dataset.name;
    let (before, after) = generations;
    let table = table_name(name);
    // One table holds all partitions here; whether they may change is the same everywhere.
    if evolution.repartitioned
        && connection.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {table})"), [], |row| row.get(0))?
    {
        return Err(has_rows(name).into());
    }
    for retyped in evolution.retyped.iter().filter(|retyped| retyped.checked) {
        if let Some(lost) = lost(retyped) {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {lost})");
            if connection.query_row(&sql, [], |row| row.get(0))? {
                return Err(value_lost(name, retyped).into());
            }
        }
    }
    if evolution.dropped.is_empty() && evolution.retyped.is_empty() {
        for field in &evolution.added {
            let column = quoted(field.name.as_str());
            let kind = sql_type(field.field_type.into());
            let default = default(field)?.map_or_else(String::new, |literal| format!(" DEFAULT {literal}"));
            connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind}{default}"))?;
        }
        let present = Indexes::read(connection)?;
        connection.execute_batch(&indexes::mend(name, def, present.of(name), after))?;
        return Ok(());
    }
    let next = quoted(&format!("next_{after}"));
    let mut columns = HIDDEN_COLUMNS.join(", ");
    let mut values = columns.clone();
    for field in def.columns() {
        push(&mut columns, format_args!(", {}", quoted(field.name.as_str())));
        let retyped = evolution.retyped.iter().find(|retyped| retyped.field.name == field.name);
        let value = match retyped {
            Some(retyped) => converted(retyped)?,
            None if evolution.added.iter().any(|added| added.name == field.name) => {
                default(field)?.unwrap_or_else(|| "NULL".to_owned())
            }
            None => quoted(field.name.as_str()),
        };
        push(&mut values, format_args!(", {value}"));
    }
    let gone = table::gone_name(before);
    let sql = format!(
        "{}INSERT INTO {next} ({columns}) SELECT {values} FROM {table} ORDER BY _seq;\n\
         ALTER TABLE {table} RENAME TO {gone};\nALTER TABLE {next} RENAME TO {table};\n{}",
        table::create_bare(&next, def),
        indexes::mend(name, def, &[], after),
    );
    connection.execute_batch(&sql)?;
    Ok(())
}

/// Which rows have a value that the new type cannot hold.
fn lost(retyped: &Retyped<'_>) -> Option<String> {
    let column = quoted(retyped.field.name.as_str());
    match (retyped.from, retyped.field.field_type) {
        (FieldType::Integer, FieldType::Float) => Some(format!("{column} NOT BETWEEN -{EXACT} AND {EXACT}")),
        (FieldType::Date, FieldType::Timestamp) => Some(format!("{column} > '9999-12-30'")),
        _ => None,
    }
}

/// The value of the new type.
fn converted(retyped: &Retyped<'_>) -> Result<String, Error> {
    let column = quoted(retyped.field.name.as_str());
    Ok(match (retyped.from, retyped.field.field_type) {
        (FieldType::Integer, FieldType::Decimal) => format!("CAST({column} AS TEXT)"),
        (FieldType::Integer, FieldType::Float) => format!("CAST({column} AS REAL)"),
        (FieldType::Date, FieldType::Timestamp) => {
            format!("min(CAST(strftime('%s', {column}) AS INTEGER) * 1000000, {LAST})")
        }
        (FieldType::Timestamp, FieldType::Date) => {
            // Days are counted downward, before 1970, too.
            format!("date(({column} - (({column} % {DAY}) + {DAY}) % {DAY}) / 1000000, 'unixepoch')")
        }
        (FieldType::Uuid, FieldType::Text) => {
            let piece = |from, count| format!("substr(lower(hex({column})), {from}, {count})");
            let pieces = [piece(1, 8), piece(9, 4), piece(13, 4), piece(17, 4), piece(21, 12)];
            // Of null there would be dashes.
            format!("CASE WHEN {column} IS NOT NULL THEN {} END", pieces.join(" || '-' || "))
        }
        (from, to) => {
            return Err(invalid(format!("column {column}: {} cannot become {}", from.as_str(), to.as_str())));
        }
    })
}

/// The default of a column as a literal.
fn default(field: &Field) -> Result<Option<String>, Failure> {
    use rusqlite::types::{ToSqlOutput, Value, ValueRef};
    let Some(value) = field.default_value().map_err(invalid)? else { return Ok(None) };
    let bound = Bound(&value);
    let bound = bound.to_sql()?;
    let value = match &bound {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(Value::Text(text)) => ValueRef::Text(text.as_bytes()),
        _ => return Err(invalid(format!("column {}: its default cannot be stored", field.name)).into()),
    };
    Ok(Some(match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(integer) => integer.to_string(),
        // With a point or an exponent, and all digits that it needs.
        ValueRef::Real(float) => format!("{float:?}"),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text).replace('\'', "''")),
        ValueRef::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{hex}'")
        }
    }))
}
