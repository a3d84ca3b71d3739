//! A read as statements.

use orderwire_store::groups::{ByPlace, Groups};
use orderwire_store::latest::Latest;
use orderwire_store::typed::Kind;
use orderwire_store::{Count, Error, Nulls, Select, Value};
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;

use super::expr;
use super::filter::{self, Query};
use super::latest;
use super::table::{push, table_name};

/// A read as statements.
pub(super) struct Plan {
    pub(super) rows: Query,
    pub(super) count: Option<Query>,
    pub(super) kinds: Vec<Kind>,
    pub(super) limit: u64,
    pub(super) offset: u64,
}

impl Plan {
    pub(super) fn new(def: &DatasetDef, scope: &Scope, select: &Select) -> Result<Self, Error> {
        let mut kinds = Vec::with_capacity(select.columns.len());
        let mut rows = Query::new("SELECT ");
        for (i, column) in select.columns.iter().enumerate() {
            kinds.push(column.value.kind(def)?);
            rows.push(if i == 0 { "" } else { ", " });
            expr::value(&mut rows, def, &column.value, select.is_grouped())?;
        }
        from(def, scope, select, &mut rows)?;
        let count = (select.count == Count::Exact).then(|| counting(def, scope, select)).transpose()?;
        match Groups::of(def, select)? {
            Some(groups) => {
                group_by(groups.columns.iter().map(|(place, _)| *place), &mut rows);
                rows.push(" ORDER BY ");
                for ByPlace { place, descending, nulls } in groups.order {
                    expr::by_place(&mut rows, select, place);
                    rows.push(direction(descending, Some(nulls)));
                }
                // Of one group there is no order.
                rows.push("count(*)");
            }
            None => order(def, select, &mut rows)?,
        }
        rows.limit(select.limit);
        rows.push(" OFFSET ");
        rows.bind(Box::new(i64::try_from(select.offset).unwrap_or(i64::MAX)));
        let limit = u64::try_from(select.limit).unwrap_or(u64::MAX);
        Ok(Self { rows, count, kinds, limit, offset: select.offset })
    }
}

/// How many rows or groups there are.
fn counting(def: &DatasetDef, scope: &Scope, select: &Select) -> Result<Query, Error> {
    let Some(groups) = Groups::of(def, select)? else {
        let mut count = Query::new("SELECT count(*)");
        from(def, scope, select, &mut count)?;
        return Ok(count);
    };
    let mut count = Query::new("SELECT count(*) FROM (SELECT ");
    for (_, expr) in &groups.columns {
        expr::value(&mut count, def, &Value::Row((*expr).clone()), true)?;
        count.push(", ");
    }
    count.push("count(*)");
    from(def, scope, select, &mut count)?;
    group_by(1..=groups.columns.len(), &mut count);
    count.push(") AS groups");
    Ok(count)
}

fn from(def: &DatasetDef, scope: &Scope, select: &Select, query: &mut Query) -> Result<(), Error> {
    push(&mut query.sql, format_args!(" FROM {} WHERE ", table_name(&select.dataset)));
    if let Some(latest) = Latest::of(def, select)? {
        return latest::write(def, scope, select, &latest, query);
    }
    filter::write(def, &select.filter, query)?;
    query.and_clients(&scope.clients, "_client");
    Ok(())
}

fn group_by(places: impl Iterator<Item = usize>, query: &mut Query) {
    for (i, place) in places.enumerate() {
        push(&mut query.sql, format_args!("{}{place}", if i == 0 { " GROUP BY " } else { ", " }));
    }
}

fn order(def: &DatasetDef, select: &Select, query: &mut Query) -> Result<(), Error> {
    query.push(" ORDER BY ");
    for by in &select.order {
        let expr = by.column.of_a_row()?;
        let known = expr.known(def)?;
        known.kind.orders(expr.column())?;
        let column = filter::compared(expr, known.kind, query);
        query.push(&column);
        // Said only where there can be nulls: an index then gives the order.
        let nulls = known.nullable.then_some(by.nulls);
        query.push(direction(by.descending, nulls));
    }
    query.push("_seq");
    Ok(())
}

/// A direction, and what stands between it and the next column.
fn direction(descending: bool, nulls: Option<Nulls>) -> &'static str {
    match (descending, nulls) {
        (false, None) => " ASC, ",
        (true, None) => " DESC, ",
        (false, Some(Nulls::First)) => " ASC NULLS FIRST, ",
        (false, Some(Nulls::Last)) => " ASC NULLS LAST, ",
        (true, Some(Nulls::First)) => " DESC NULLS FIRST, ",
        (true, Some(Nulls::Last)) => " DESC NULLS LAST, ",
    }
}
