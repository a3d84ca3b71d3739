//! What a read computes, as SQL; and the functions for what SQLite lacks.

use std::sync::Arc;

use orderwire_store::typed::Kind;
use orderwire_store::{Aggregate, Arrow, Error, Expr, Value, part};
use orderwire_types::dataset::DatasetDef;
use rusqlite::Connection;
use rusqlite::functions::{Aggregate as Steps, Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::filter::Binding;
use super::table::{push, quoted};
use crate::decimal;

/// A statement under way: what was written, and the values that belong to it.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) bound: Vec<Binding>,
}

impl Query {
    pub(super) fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), bound: Vec::new() }
    }

    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Writes what is read of a row.
    pub(super) fn expr(&mut self, def: &DatasetDef, expr: &Expr) -> Result<(), Error> {
        expr.known(def)?;
        let written = written(expr, &mut self.bound);
        self.push(&written);
        Ok(())
    }

    /// The same where rows are grouped by it: what is equal and differs, as 0.0 and -0.0 or 1.1 and
    /// 1.10, shows as one of them.
    fn grouping(&mut self, def: &DatasetDef, expr: &Expr) -> Result<(), Error> {
        let kind = expr.known(def)?.kind;
        let written = written(expr, &mut self.bound);
        self.one_of_equals(kind, &written);
        Ok(())
    }

    fn one_of_equals(&mut self, kind: Kind, written: &str) {
        match kind {
            Kind::Float => push(&mut self.sql, format_args!("{written} + 0.0")),
            Kind::Decimal => push(&mut self.sql, format_args!("ow_plain({written}) COLLATE ow_decimal")),
            _ => self.push(written),
        }
    }

    /// Writes a column of an answer; `grouped`: of groups.
    pub(super) fn value(&mut self, def: &DatasetDef, value: &Value, grouped: bool) -> Result<(), Error> {
        let (aggregate, expr) = match value {
            Value::Row(expr) if grouped => return self.grouping(def, expr),
            Value::Row(expr) => return self.expr(def, expr),
            Value::Rows => {
                self.push("count(*)");
                return Ok(());
            }
            Value::Of(aggregate, expr) => (aggregate, expr),
        };
        let kind = expr.known(def)?.kind;
        let of = written(expr, &mut self.bound);
        let sql = &mut self.sql;
        match (aggregate, kind) {
            // A text that is a number.
            (Aggregate::Sum, Kind::Integer | Kind::Decimal) => {
                push(sql, format_args!("ow_sum({of}) COLLATE ow_decimal"));
            }
            (Aggregate::Sum, _) => push(sql, format_args!("ow_sum({of})")),
            (Aggregate::Avg, _) => push(sql, format_args!("ow_avg({of})")),
            (Aggregate::Count, _) => push(sql, format_args!("count({of})")),
            (Aggregate::Min | Aggregate::Max, kind) => {
                self.one_of_equals(kind, &format!("{}({of})", aggregate.name()));
            }
        }
        Ok(())
    }
}

/// What is read of a row, which was found to be there. A value of it is the next that is
/// bound and has its number, so that the text may stand in several places.
pub(super) fn written(expr: &Expr, bound: &mut Vec<Binding>) -> String {
    let column = quoted(expr.column());
    match expr {
        Expr::Column(_) => column,
        Expr::Part { path, as_text, .. } => {
            bound.push(Binding::Text(path_as_text(path)));
            let function = if *as_text { "ow_part_text" } else { "ow_part" };
            format!("{function}({column}, ?{})", bound.len())
        }
        // Towards the past, also before 1970.
        Expr::Bucket { micros, .. } => format!("({column} - ({column} % {micros} + {micros}) % {micros})"),
    }
}

fn path_as_text(path: &[Arrow]) -> String {
    let arrows = path.iter().map(|arrow| match arrow {
        Arrow::Member(name) => serde_json::Value::from(name.as_str()),
        Arrow::Element(place) => serde_json::Value::from(*place),
    });
    serde_json::Value::Array(arrows.collect()).to_string()
}

fn path(text: &str) -> Option<Vec<Arrow>> {
    let arrows: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let arrow = |value: serde_json::Value| match value {
        serde_json::Value::String(name) => Some(Arrow::Member(name)),
        value => Some(Arrow::Element(i32::try_from(value.as_i64()?).ok()?)),
    };
    arrows.into_iter().map(arrow).collect()
}

/// Makes the functions known to a connection.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("ow_part", 2, flags, |context| {
        let path = path_of(context)?;
        Ok(document(context)?.and_then(|document| part::part(document, &path)).map(str::to_owned))
    })?;
    connection.create_scalar_function("ow_part_text", 2, flags, |context| {
        let path = path_of(context)?;
        let text = document(context)?.and_then(|document| part::part_as_text(document, &path));
        Ok(text.map(std::borrow::Cow::into_owned))
    })?;
    connection.create_scalar_function("ow_plain", 1, flags, |context| match context.get_raw(0) {
        ValueRef::Null => Ok(None),
        text => decimal::plain(text.as_str()?).map(Some).ok_or_else(no_decimal),
    })?;
    connection.create_aggregate_function("ow_sum", 1, flags, Total::Sum)?;
    connection.create_aggregate_function("ow_avg", 1, flags, Total::Avg)
}

fn no_decimal() -> rusqlite::Error {
    rusqlite::Error::UserFunctionError("a stored decimal is none".into())
}

fn document<'c>(context: &'c Context<'_>) -> rusqlite::Result<Option<&'c str>> {
    match context.get_raw(0) {
        ValueRef::Null => Ok(None),
        text => Ok(Some(text.as_str()?)),
    }
}

fn path_of(context: &Context<'_>) -> rusqlite::Result<Arc<Vec<Arrow>>> {
    context.get_or_create_aux(1, |value| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        path(value.as_str()?).ok_or_else(|| "not a path".into())
    })
}

/// What becomes of numbers.
#[derive(Clone, Copy, Debug)]
enum Total {
    Sum,
    Avg,
}

/// Numbers so far.
#[derive(Clone, Copy, Debug, Default)]
struct Added {
    count: u64,
    sum: Sum,
}

/// Those of a column are all of one type.
#[derive(Clone, Copy, Debug, Default)]
enum Sum {
    #[default]
    Nothing,
    Integer(i128),
    Float(f64),
    Decimal(decimal::Sum),
}

impl Steps<Added, Option<rusqlite::types::Value>> for Total {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Added> {
        Ok(Added::default())
    }

    fn step(&self, context: &mut Context<'_>, added: &mut Added) -> rusqlite::Result<()> {
        added.sum = match (context.get_raw(0), added.sum) {
            (ValueRef::Null, _) => return Ok(()),
            (ValueRef::Integer(integer), Sum::Nothing) => Sum::Integer(integer.into()),
            (ValueRef::Integer(integer), Sum::Integer(sum)) => Sum::Integer(sum + i128::from(integer)),
            // Zero has one sign, whatever is added up.
            (ValueRef::Real(float), Sum::Nothing) => Sum::Float(0.0 + float),
            (ValueRef::Real(float), Sum::Float(sum)) => Sum::Float(sum + float),
            (ValueRef::Text(_), Sum::Nothing) => Sum::Decimal(
                decimal::Sum::default().plus(context.get_raw(0).as_str()?).ok_or_else(no_decimal)?,
            ),
            (ValueRef::Text(_), Sum::Decimal(sum)) => {
                Sum::Decimal(sum.plus(context.get_raw(0).as_str()?).ok_or_else(no_decimal)?)
            }
            _ => {
                return Err(rusqlite::Error::UserFunctionError("stored numbers are of several types".into()));
            }
        };
        added.count += 1;
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        added: Option<Added>,
    ) -> rusqlite::Result<Option<rusqlite::types::Value>> {
        use rusqlite::types::Value;
        let Some(added) = added else { return Ok(None) };
        Ok(match (self, added.sum) {
            (_, Sum::Nothing) => None,
            (Self::Sum, Sum::Integer(sum)) => Some(Value::Text(sum.to_string())),
            (Self::Sum, Sum::Float(sum)) => Some(Value::Real(sum)),
            (Self::Sum, Sum::Decimal(sum)) => Some(Value::Text(sum.to_string())),
            #[expect(clippy::cast_precision_loss, reason = "an average is a float")]
            (Self::Avg, sum) => {
                let sum = match sum {
                    Sum::Integer(sum) => sum as f64,
                    Sum::Float(sum) => sum,
                    Sum::Decimal(sum) => sum.to_f64(),
                    Sum::Nothing => return Ok(None),
                };
                Some(Value::Real(sum / added.count as f64))
            }
        })
    }
}
