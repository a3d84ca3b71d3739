//! Keyset cursors: where a page ended, so that the next one begins there, whatever was
//! written in between, at the cost of the first.
//!
//! A cursor holds the values by which the last row was ordered, and its `_seq`. It is no
//! secret and no right: whoever makes one up reads from another place on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use orderwire_store::{Column, Compare, Count, Expr, Filter, Nulls, Operand, OrderBy, Select, Value};
use sha2::{Digest, Sha256};

use crate::dialect::{Columns, Named, Query, Term, operand};
use crate::error::Error;

/// The longest cursor: it travels in a header and in a URL.
const BYTES_MAX: usize = 4 << 10;

/// What the first page is asked for with.
const START: &str = "start";

/// The form of cursors.
const FORM: &str = "1.";

/// A column that a row is ordered by.
struct By {
    named: Named,
    order: OrderBy,
}

/// How a read goes on from page to page.
pub(crate) struct Pages {
    by: Vec<By>,
    /// Of the question that the cursor belongs to.
    mark: String,
    after: Option<Vec<Option<Operand>>>,
}

impl Pages {
    /// The pages of a query, if it asks for them.
    ///
    /// # Errors
    /// `Invalid` for a cursor that cannot be read, or that belongs to another question.
    pub(crate) fn of(query: &Query, columns: &Columns, select: &Select) -> Result<Option<Self>, Error> {
        let Some(cursor) = &query.cursor else { return Ok(None) };
        let refused = |what: &str| Err(Error::syntax(format!("a cursor does not go with {what}")));
        if select.is_grouped() {
            return refused("aggregates");
        }
        if !select.latest.is_empty() {
            return refused("latest");
        }
        if select.count == Count::Exact {
            return refused("a count; count once without it");
        }
        if query.limit == Some(0) {
            return refused("a page of no rows");
        }
        if query.offset > 0 {
            return refused("an offset: it says where a page begins");
        }
        let mut by = Vec::new();
        for (term, order) in query.order.iter().zip(&select.order) {
            // Its name may be that of a column, which is not what rows are ordered by.
            if matches!(order.column, Value::Row(Expr::Bucket { .. })) {
                return refused("an order by a bucket");
            }
            by.push(By { named: columns.field(&term.column)?, order: order.clone() });
        }
        let seq =
            Term { column: crate::dialect::Field::column("_seq"), descending: false, nulls_first: None };
        let order = columns.order(std::slice::from_ref(&seq))?.remove(0);
        by.push(By { named: columns.field(&seq.column)?, order });
        let mut pages = Self { by, mark: mark(query), after: None };
        if cursor != START {
            pages.after = Some(pages.read(cursor)?);
        }
        Ok(Some(pages))
    }

    /// The columns that a page reads beside those that it shows.
    pub(crate) fn columns(&self) -> impl Iterator<Item = Column> {
        self.by.iter().map(|by| Column { value: Value::Row(by.named.expr()), alias: String::new() })
    }

    /// The rows behind the place of the cursor.
    pub(crate) fn filter(&self) -> Option<Filter> {
        let after = self.after.as_ref()?;
        let mut beyond = Filter::Or(Vec::new());
        for (by, value) in self.by.iter().zip(after).rev() {
            let tie = Filter::And(vec![by.equal(value), beyond]);
            beyond = Filter::Or(vec![by.beyond(value), tie]);
        }
        // The same is implied, but an index tells at once where it begins.
        let descending = self.by.first()?.order.descending;
        let range: Vec<(Expr, Operand)> = self
            .by
            .iter()
            .zip(after)
            .map_while(|(by, value)| {
                let value = value.clone().filter(|_| !by.named.nullable && by.order.descending == descending);
                Some((by.named.expr(), value?))
            })
            .collect();
        if range.is_empty() {
            return Some(beyond);
        }
        Some(Filter::And(vec![Filter::From { values: range, descending }, beyond]))
    }

    /// The cursor behind a row that was ordered by these values.
    ///
    /// # Errors
    /// `Invalid` when it would be too long.
    pub(crate) fn after(&self, values: &[Option<String>]) -> Result<String, Error> {
        let json = serde_json::to_string(&(&self.mark, values)).expect("texts are JSON");
        let cursor = format!("{FORM}{}", BASE64.encode(json));
        if cursor.len() > BYTES_MAX {
            return Err(Error::syntax("the values that rows are ordered by are too long for a cursor")
                .hint("order by shorter columns, or page by limit and offset"));
        }
        Ok(cursor)
    }

    fn read(&self, cursor: &str) -> Result<Vec<Option<Operand>>, Error> {
        let unreadable = || {
            Error::syntax("the cursor cannot be read").hint("take it from the answer before, or cursor=start")
        };
        if cursor.len() > BYTES_MAX {
            return Err(unreadable());
        }
        let json = cursor.strip_prefix(FORM).and_then(|text| BASE64.decode(text).ok());
        let (mark, values): (String, Vec<Option<String>>) =
            json.and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(unreadable)?;
        if mark != self.mark {
            return Err(Error::syntax("the cursor belongs to another question")
                .hint("conditions and order stay the same from page to page; begin with cursor=start"));
        }
        if values.len() != self.by.len() {
            return Err(unreadable());
        }
        let mut after = Vec::with_capacity(values.len());
        for (by, value) in self.by.iter().zip(values) {
            after.push(match value {
                Some(text) => Some(operand(&by.named, &text).map_err(|_| unreadable())?),
                None if by.named.nullable => None,
                None => return Err(unreadable()),
            });
        }
        Ok(after)
    }
}

impl By {
    fn compare(&self, compare: Compare) -> Filter {
        Filter::Compare { column: self.named.expr(), compare }
    }

    fn equal(&self, value: &Option<Operand>) -> Filter {
        self.compare(value.clone().map_or(Compare::IsNull, Compare::Eq))
    }

    /// What comes after this value.
    fn beyond(&self, value: &Option<Operand>) -> Filter {
        let nulls_last = self.order.nulls == Nulls::Last;
        match value {
            None if nulls_last => Filter::Or(Vec::new()),
            None => Filter::Not(Box::new(self.compare(Compare::IsNull))),
            Some(value) => {
                let value = value.clone();
                let further =
                    self.compare(if self.order.descending { Compare::Lt(value) } else { Compare::Gt(value) });
                match self.named.nullable && nulls_last {
                    true => Filter::Or(vec![further, self.compare(Compare::IsNull)]),
                    false => further,
                }
            }
        }
    }
}

/// What tells a question from others: all of it but its page.
fn mark(query: &Query) -> String {
    let question = Query { cursor: None, limit: None, select: None, ..query.clone() };
    Sha256::digest(question.canonical())[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
