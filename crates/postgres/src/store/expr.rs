//! What a read computes, as SQL.

use orderwire_store::typed::Kind;
use orderwire_store::{Aggregate, Arrow, Error, Expr, Select, Value};
use orderwire_types::dataset::DatasetDef;

use super::filter::Query;
use super::table::{push, quoted};
use super::value::{Moment, earliest};

/// A json document that holds `\\u0000` or half of a surrogate pair has no parts: no text can
/// hold these, and PostgreSQL gives up on the whole read. Backslashes that stand for
/// themselves, and pairs, are taken out first.
const NO_TEXT: &str = r"regexp_replace({}, '\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}', '.', 'g') ~ '\\u(?:0000|[dD][89a-fA-F])'";

/// What is read of a row, which was found to be there and is of this kind; its values
/// are bound.
pub(super) fn written(expr: &Expr, kind: Kind, query: &mut Query) -> String {
    let column = quoted(expr.column());
    let of_a_row = match expr {
        Expr::Column(_) => column,
        Expr::Part { path, as_text, .. } => {
            let document = format!("{column}::text");
            let mut part = column;
            for (i, arrow) in path.iter().enumerate() {
                let operator = if *as_text && i + 1 == path.len() { "->>" } else { "->" };
                let (number, cast) = match arrow {
                    Arrow::Member(name) => (query.value(Box::new(name.clone())), "text"),
                    Arrow::Element(place) => (query.value(Box::new(*place)), "int4"),
                };
                part = format!("({part} {operator} ${number}::{cast})");
            }
            let no_text = NO_TEXT.replace("{}", &document);
            format!("(CASE WHEN strpos({document}, '\\u') = 0 OR NOT {no_text} THEN {part} END)")
        }
        Expr::Bucket { micros, .. } => {
            // From a beginning before all that there is, because what lies before it is
            // not put where it belongs by every version.
            let begin = query.value(Box::new(Moment(earliest(*micros))));
            format!("date_bin(interval '{micros} microseconds', {column}, ${begin}::timestamptz)")
        }
    };
    match (expr, kind) {
        (Expr::Part { .. }, Kind::Text) => format!("({of_a_row} COLLATE \"C\")"),
        _ => of_a_row,
    }
}

/// Writes a column of an answer; `grouped`: of groups.
pub(super) fn value(query: &mut Query, def: &DatasetDef, value: &Value, grouped: bool) -> Result<(), Error> {
    let (aggregate, expr) = match value {
        Value::Row(expr) => {
            let kind = expr.known(def)?.kind;
            let written = written(expr, kind, query);
            match kind {
                // Groups are put in the order of these texts.
                Kind::Texts => {
                    push(&mut query.sql, format_args!("(array_to_json({written})::text COLLATE \"C\")"));
                }
                _ if grouped => one_of_equals(&mut query.sql, kind, &written),
                _ => query.push(&written),
            }
            return Ok(());
        }
        Value::Rows => {
            query.push("count(*)");
            return Ok(());
        }
        Value::Of(aggregate, expr) => (aggregate, expr),
    };
    let kind = expr.known(def)?.kind;
    let of = written(expr, kind, query);
    let sql = &mut query.sql;
    match (aggregate, kind) {
        // Exact, and a number of any size.
        (Aggregate::Sum, Kind::Integer | Kind::Decimal) => push(sql, format_args!("to_json(sum({of}))")),
        (Aggregate::Avg, Kind::Integer | Kind::Decimal) => {
            push(sql, format_args!("sum({of})::float8 / count({of})"));
        }
        (Aggregate::Count, _) => push(sql, format_args!("count({of})")),
        _ => one_of_equals(sql, kind, &format!("{}({of})", aggregate.name())),
    }
    Ok(())
}

/// Writes a value of some that are equal and differ, as 0.0 and -0.0 or 1.1 and 1.10: always the
/// same one.
fn one_of_equals(sql: &mut String, kind: Kind, written: &str) {
    match kind {
        Kind::Float => push(sql, format_args!("{written} + 0.0")),
        Kind::Decimal => push(sql, format_args!("trim_scale({written})")),
        _ => sql.push_str(written),
    }
}

/// Writes what groups are ordered by: the column at this place, from 1.
pub(super) fn by_place(query: &mut Query, select: &Select, place: usize) {
    match select.columns.get(place - 1).map(|column| &column.value) {
        // It is shown as JSON, which has no order. What is added up is no part, and binds nothing.
        Some(Value::Of(Aggregate::Sum, expr)) => {
            push(&mut query.sql, format_args!("sum({})", quoted(expr.column())));
        }
        _ => push(&mut query.sql, format_args!("{place}")),
    }
}
