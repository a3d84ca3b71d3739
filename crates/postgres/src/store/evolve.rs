//! The statements that bring the table of a dataset to another definition.

use jiff::civil;
use orderwire_store::Error;
use orderwire_store::evolve::{EXACT, Evolution, Retyped, has_rows, value_lost};
use orderwire_types::DatasetName;
use orderwire_types::array;
use orderwire_types::dataset::{DatasetDef, Field, FieldType};
use orderwire_types::row::Value;

use super::error::{Failure, damaged, invalid};
use super::session::Session;
use super::table::{comment, declared, describe, literal, push, quoted, sql_type, table_name};

/// The last moment there is.
const LAST: &str = "'9999-12-30T22:00:00Z'::timestamptz";

/// Refuses a change that would lose values without leave, or that rows are in the way of.
pub(super) async fn check(
    session: &Session,
    name: &DatasetName,
    evolution: &Evolution<'_>,
) -> Result<(), Failure> {
    if evolution.repartitioned {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table_name(name));
        let row = session.row(&sql, &[]).await?.ok_or_else(|| damaged("answer about rows"))?;
        if row.try_get(0)? {
            return Err(has_rows(name).into());
        }
    }
    for retyped in evolution.retyped.iter().filter(|retyped| retyped.checked) {
        let Some(lost) = lost(retyped) else { continue };
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {lost})", table_name(name));
        let row = session.row(&sql, &[]).await?.ok_or_else(|| damaged("answer about lost values"))?;
        if row.try_get(0)? {
            return Err(value_lost(name, retyped).into());
        }
    }
    Ok(())
}

/// The statements, without those of indexes: PostgreSQL drops those of a column with it.
pub(super) fn alter(
    name: &DatasetName,
    old: &DatasetDef,
    new: &DatasetDef,
    evolution: &Evolution<'_>,
) -> Result<String, Error> {
    let table = table_name(name);
    let mut sql = String::new();
    for field in &evolution.dropped {
        push(&mut sql, format_args!("ALTER TABLE {table} DROP COLUMN {};\n", quoted(field.name.as_str())));
    }
    for field in new.columns() {
        let column = quoted(field.name.as_str());
        let kind = declared(field.field_type.into());
        let before = old.column(field.name.as_str());
        match before {
            None => {
                let default =
                    default(field)?.map_or_else(String::new, |literal| format!(" DEFAULT {literal}"));
                let not_null = if field.required { " NOT NULL" } else { "" };
                push(
                    &mut sql,
                    format_args!("ALTER TABLE {table} ADD COLUMN {column} {kind}{not_null}{default};\n"),
                );
                if !default.is_empty() {
                    // For the rows that are there alone: later ones bring theirs.
                    push(&mut sql, format_args!("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT;\n"));
                }
            }
            Some(before) if before.required && !field.required => {
                push(&mut sql, format_args!("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL;\n"));
            }
            Some(_) => {}
        }
        if let Some(retyped) = evolution.retyped.iter().find(|retyped| retyped.field.name == field.name) {
            let value = converted(retyped)?;
            push(
                &mut sql,
                format_args!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING {value};\n"),
            );
        }
        if before.is_none_or(|before| comment(before) != comment(field)) {
            describe(&mut sql, &table, field);
        }
    }
    Ok(sql)
}

/// Which rows have a value that the new type cannot hold.
fn lost(retyped: &Retyped<'_>) -> Option<String> {
    let column = quoted(retyped.field.name.as_str());
    match (retyped.from, retyped.field.field_type) {
        (FieldType::Integer, FieldType::Float) => Some(format!("{column} NOT BETWEEN -{EXACT} AND {EXACT}")),
        (FieldType::Date, FieldType::Timestamp) => Some(format!("{column} > '9999-12-30'::date")),
        _ => None,
    }
}

/// The value of the new type.
fn converted(retyped: &Retyped<'_>) -> Result<String, Error> {
    let column = quoted(retyped.field.name.as_str());
    Ok(match (retyped.from, retyped.field.field_type) {
        (FieldType::Integer, FieldType::Decimal) => format!("{column}::numeric"),
        (FieldType::Integer, FieldType::Float) => format!("{column}::double precision"),
        (FieldType::Date, FieldType::Timestamp) => {
            // Of null it is null, which LEAST alone would not be.
            format!(
                "CASE WHEN {column} IS NOT NULL THEN least({column}::timestamp AT TIME ZONE 'UTC', {LAST}) END"
            )
        }
        (FieldType::Timestamp, FieldType::Date) => format!("({column} AT TIME ZONE 'UTC')::date"),
        (FieldType::Uuid, FieldType::Text) => format!("{column}::text"),
        (from, to) => {
            return Err(invalid(format!("column {column}: {} cannot become {}", from.as_str(), to.as_str())));
        }
    })
}

/// The default of a column as a literal.
fn default(field: &Field) -> Result<Option<String>, Error> {
    let Some(value) = field.default_value().map_err(invalid)? else { return Ok(None) };
    // Moments and days are counted, because texts know no year 0.
    let text = match &value {
        Value::Null => return Ok(None),
        Value::Timestamp(at) => {
            let micros = at.as_microsecond();
            let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
            return Ok(Some(format!(
                "(timestamptz 'epoch' + {seconds} * interval '1 second' + {rest} * interval '1 microsecond')"
            )));
        }
        Value::Date(date) => {
            let days = (*date - civil::date(2000, 1, 1)).get_days();
            return Ok(Some(format!("(date '2000-01-01' + {days})")));
        }
        Value::Text(text) | Value::Json(text) => text.clone().into_owned(),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => format!("{float:?}"),
        Value::Decimal(decimal) => decimal.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Uuid(id) => id.to_string(),
        Value::Texts(texts) => array::to_literal(texts),
    };
    Ok(Some(format!("{}::{}", literal(&text), sql_type(field.field_type.into()))))
}
