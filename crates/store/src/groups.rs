//! What groups are made of and how they are ordered, once for every engine.

use orderwire_types::dataset::DatasetDef;

use crate::error::{Error, ErrorKind};
use crate::expr::{Expr, Value};
use crate::select::{Nulls, Select};
use crate::typed::Kind;

/// The groups of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups<'s> {
    /// What rows have in common, with its place among the columns, from 1.
    pub columns: Vec<(usize, &'s Expr)>,
    /// The order, which leaves no ties.
    pub order: Vec<ByPlace>,
}

/// An order by a column of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByPlace {
    /// Its place among the columns, from 1.
    pub place: usize,
    /// Greatest first?
    pub descending: bool,
    /// Where nulls stand.
    pub nulls: Nulls,
}

impl<'s> Groups<'s> {
    /// Those of a read, if it has any.
    ///
    /// # Errors
    /// `Invalid` where json is to group, or an order is not by a column of the answer.
    pub fn of(def: &DatasetDef, select: &'s Select) -> Result<Option<Self>, Error> {
        if !select.is_grouped() {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for (i, column) in select.columns.iter().enumerate() {
            let Value::Row(expr) = &column.value else { continue };
            // Nobody says which documents are equal.
            if expr.known(def)?.kind == Kind::Json {
                return Err(invalid(&format!("column {:?} is json, which cannot group rows", expr.column())));
            }
            columns.push((i + 1, expr));
        }
        let mut order = Vec::new();
        for by in &select.order {
            let Some(i) = select.columns.iter().position(|column| column.value == by.column) else {
                return Err(invalid(&format!(
                    "groups are ordered by columns of the answer, not by {}",
                    by.column
                )));
            };
            order.push(ByPlace { place: i + 1, descending: by.descending, nulls: by.nulls });
        }
        order.extend(columns.iter().map(|(place, _)| ByPlace {
            place: *place,
            descending: false,
            nulls: Nulls::Last,
        }));
        Ok(Some(Self { columns, order }))
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("reading a dataset: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Aggregate;

    #[test]
    fn values_are_named_as_callers_know_them() {
        let shown = [Value::from("n"), Value::Rows, Value::Of(Aggregate::Sum, "n".into())];
        assert_eq!(shown.map(|value| value.to_string()), [r#""n""#, "count()", r#""n".sum()"#]);
    }
}
