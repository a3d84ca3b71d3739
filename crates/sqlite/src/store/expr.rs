//! What a read computes, as SQL; and the functions for what SQLite lacks.

use std::sync::Arc;

use orderwire_store::typed::Kind;
use orderwire_store::{Aggregate, Arrow, Error, Expr, Value, part};
use orderwire_types::dataset::DatasetDef;
use rusqlite::Connection;
use rusqlite::functions::{Aggregate as Steps, Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::filter::Binding;
use super::table::quoted;

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

    /// The same where rows are grouped by it: -0.0 and 0.0 are equal, and one of them shows.
    pub(super) fn grouping(&mut self, def: &DatasetDef, expr: &Expr) -> Result<(), Error> {
        self.expr(def, expr)?;
        if expr.known(def)?.kind == Kind::Float {
            self.push(" + 0.0");
        }
        Ok(())
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
        self.push(match aggregate {
            Aggregate::Count => "count(",
            Aggregate::Sum => "ow_sum(",
            Aggregate::Avg => "ow_avg(",
            Aggregate::Min => "min(",
            Aggregate::Max => "max(",
        });
        self.expr(def, expr)?;
        self.push(")");
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
    connection.create_aggregate_function("ow_sum", 1, flags, Total::Sum)?;
    connection.create_aggregate_function("ow_avg", 1, flags, Total::Avg)
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

/// Numbers so far, those of a column are all of one type.
#[derive(Clone, Copy, Debug, Default)]
struct Added {
    count: u64,
    integers: i128,
    floats: f64,
    is_float: bool,
}

impl Steps<Added, Option<rusqlite::types::Value>> for Total {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Added> {
        Ok(Added::default())
    }

    fn step(&self, context: &mut Context<'_>, added: &mut Added) -> rusqlite::Result<()> {
        match context.get_raw(0) {
            ValueRef::Integer(integer) => added.integers += i128::from(integer),
            ValueRef::Real(float) => {
                added.is_float = true;
                added.floats += float;
            }
            _ => return Ok(()),
        }
        added.count += 1;
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        added: Option<Added>,
    ) -> rusqlite::Result<Option<rusqlite::types::Value>> {
        use rusqlite::types::Value;
        let Some(added) = added.filter(|added| added.count > 0) else { return Ok(None) };
        Ok(Some(match self {
            Self::Sum if added.is_float => Value::Real(added.floats),
            Self::Sum => Value::Text(added.integers.to_string()),
            #[expect(clippy::cast_precision_loss, reason = "an average is a float")]
            Self::Avg => {
                let sum = if added.is_float { added.floats } else { added.integers as f64 };
                Value::Real(sum / added.count as f64)
            }
        }))
    }
}
