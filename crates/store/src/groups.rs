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
    /// `Invalid` where json, a list or a decimal is to group, or an order is not by what groups are made of.
    pub fn of(def: &DatasetDef, select: &'s Select) -> Result<Option<Self>, Error> {
        if !select.is_grouped() {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for (i, column) in select.columns.iter().enumerate() {
            let Value::Row(expr) = &column.value else { continue };
            // Equal values of these are written in more than one way.
            let kind = expr.known(def)?.kind;
            if matches!(kind, Kind::Json | Kind::Texts | Kind::Decimal) {
                return Err(invalid(&format!(
                    "column {:?} cannot group rows: equal values of it have several spellings",
                    expr.column()
                )));
            }
            columns.push((i + 1, expr));
        }
        let mut order = Vec::new();
        for by in &select.order {
            let Some((place, _)) = columns.iter().find(|(_, expr)| **expr == by.column) else {
                let name = by.column.column();
                return Err(invalid(&format!(
                    "groups are ordered by what they are made of, not by {name:?}"
                )));
            };
            order.push(ByPlace { place: *place, descending: by.descending, nulls: by.nulls });
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
