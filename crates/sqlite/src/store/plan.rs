//! A read as statements, with the index that suits it.
//!
//! A table has `_seq` as its key and the [indexes](super::indexes) of one client
//! and of all clients. SQLite keeps no statistics that would let it choose
//! between these three; [`Access`] does.

use orderwire_store::groups::{ByPlace, Groups};
use orderwire_store::latest::Latest;
use orderwire_store::typed::Kind;
use orderwire_store::{Compare, Count, Error, Filter, Nulls, Select, Value};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::scope::Clients;
use orderwire_types::{ColumnName, Scope};

use super::expr::Query;
use super::filter::{self, Binding, clients_clause};
use super::indexes::ALL_CLIENTS;
use super::latest;
use super::table::{push, table_name};

/// A read as statements.
#[derive(Debug)]
pub(super) struct Plan {
    /// The values of limit and offset follow.
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
            rows.value(def, &column.value, select.is_grouped())?;
        }
        if select.columns.is_empty() {
            rows.push("1");
        }
        from(def, scope, select, &mut rows)?;
        let count = (select.count == Count::Exact).then(|| counting(def, scope, select)).transpose()?;
        match Groups::of(def, select)? {
            Some(groups) => {
                group_by(groups.columns.iter().map(|(place, _)| *place), &mut rows);
                rows.push(" ORDER BY ");
                for ByPlace { place, descending, nulls } in groups.order {
                    push(&mut rows.sql, format_args!("{place}{}", direction(descending, Some(nulls))));
                }
                // Of one group there is no order.
                rows.push("NULL");
            }
            None => order(def, select, &mut rows)?,
        }
        rows.push(" LIMIT ? OFFSET ?");
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
        count.value(def, &Value::Row((*expr).clone()), true)?;
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
    filter::write(def, &select.filter, &mut query.sql, &mut query.bound)?;
    access(def, scope, select).write(scope, &mut query.sql, &mut query.bound);
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
        query.expr(def, expr)?;
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

/// How the clients of the scope enter the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// As they are: SQLite finds the index that begins with the client.
    Client,
    /// So that no index on the client is used: rows are taken by `_seq`.
    Seq,
    /// With the condition of the indexes of all clients, which lets these be
    /// used; no row is left out.
    All,
}

fn access(def: &DatasetDef, scope: &Scope, select: &Select) -> Access {
    let first = select.order.first().map(|by| &by.column);
    // Groups come in no order of the table.
    let by_seq = !select.is_grouped() && first.is_none_or(|column| column.is("_seq"));
    let by_time = first.zip(def.time.as_ref()).is_some_and(|(column, time)| column.is(time.as_str()));
    let narrow = narrowing(def, &select.filter);
    match &scope.clients {
        Clients::All if narrow.client => Access::Client,
        Clients::All if narrow.exact || (narrow.from && narrow.until) || by_time => Access::All,
        // A range that is open at one side may be most rows: then it is only
        // better than all rows where these would be sorted as well.
        Clients::All if (narrow.from || narrow.until) && !by_seq => Access::All,
        Clients::All => Access::Client,
        // The rows of several clients would be gathered and sorted for every page.
        Clients::Only(only) if only.len() > 1 && by_seq && !narrow.client && !narrow.exact => Access::Seq,
        Clients::Only(_) => Access::Client,
    }
}

impl Access {
    fn write(self, scope: &Scope, from: &mut String, bound: &mut Vec<Binding>) {
        match self {
            Self::Client => clients_clause(&scope.clients, "_client", from, bound),
            Self::Seq => clients_clause(&scope.clients, "+_client", from, bound),
            Self::All => push(from, format_args!(" AND {ALL_CLIENTS}")),
        }
    }
}

/// What must hold for every row that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Narrowing {
    /// It is of a named client.
    client: bool,
    /// Its first key column or its time is one of some values.
    exact: bool,
    /// Its time is not before some moment.
    from: bool,
    /// Its time is not after some moment.
    until: bool,
}

fn narrowing(def: &DatasetDef, filter: &Filter) -> Narrowing {
    match filter {
        Filter::And(all) => {
            all.iter().map(|filter| narrowing(def, filter)).fold(Narrowing::default(), |sum, one| Narrowing {
                client: sum.client || one.client,
                exact: sum.exact || one.exact,
                from: sum.from || one.from,
                until: sum.until || one.until,
            })
        }
        Filter::Compare { column, compare } => {
            let key = def.key.first().is_some_and(|key| column.is(key.as_str()));
            let time = def.time.as_ref().is_some_and(|time| column.is(time.as_str()));
            let one = matches!(compare, Compare::Eq(_) | Compare::In(_));
            Narrowing {
                client: one && column.is("_client"),
                exact: one && (key || time),
                from: time && matches!(compare, Compare::Gt(_) | Compare::Gte(_)),
                until: time && matches!(compare, Compare::Lt(_) | Compare::Lte(_)),
            }
        }
        Filter::From { values, descending } => {
            let first = values.first().map(|(expr, _)| expr);
            let is = |column: Option<&ColumnName>| {
                first.zip(column).is_some_and(|(expr, column)| expr.is(column.as_str()))
            };
            let time = is(def.time.as_ref());
            Narrowing {
                // Rows come in the order of the key, so that one page ends the read.
                exact: is(def.key.first()),
                from: time && !descending,
                until: time && *descending,
                ..Narrowing::default()
            }
        }
        Filter::Or(_) | Filter::Not(_) => Narrowing::default(),
    }
}

#[cfg(test)]
mod tests;
