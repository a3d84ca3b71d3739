//! A read as statements, with the index that suits it.
//!
//! A table has `_seq` as its key and the [indexes](super::indexes) of one client
//! and of all clients. SQLite keeps no statistics that would let it choose
//! between these three; [`Access`] does.

use orderwire_store::typed::{Kind, column};
use orderwire_store::{Compare, Count, Error, Filter, Nulls, Select};
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::scope::Clients;

use super::error::invalid;
use super::filter::{self, Binding, clients_clause};
use super::indexes::ALL_CLIENTS;
use super::table::{push, quoted, table_name};

/// A read as statements.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) rows: String,
    pub(super) count: Option<String>,
    /// The values of the condition; those of limit and offset follow.
    pub(super) bound: Vec<Binding>,
    pub(super) kinds: Vec<Kind>,
    pub(super) limit: u64,
    pub(super) offset: u64,
}

impl Plan {
    pub(super) fn new(def: &DatasetDef, scope: &Scope, select: &Select) -> Result<Self, Error> {
        let name = &select.dataset;
        let known = |column_name: &str| {
            column(def, column_name)
                .ok_or_else(|| invalid(format!("reading dataset {name}: no column {column_name:?}")))
        };
        let mut kinds = Vec::with_capacity(select.columns.len());
        let mut columns = String::new();
        for column in &select.columns {
            kinds.push(known(&column.name)?.kind);
            let comma = if columns.is_empty() { "" } else { ", " };
            push(&mut columns, format_args!("{comma}{}", quoted(&column.name)));
        }
        if columns.is_empty() {
            columns.push('1');
        }
        let mut bound = Vec::new();
        let table = table_name(name);
        let mut from = format!("FROM {table} WHERE ");
        filter::write(def, &select.filter, &mut from, &mut bound)?;
        access(def, scope, select).write(scope, &mut from, &mut bound);
        let mut order = String::new();
        for by in &select.order {
            let known = known(&by.column)?;
            known.kind.orders(&by.column)?;
            let direction = if by.descending { "DESC" } else { "ASC" };
            push(&mut order, format_args!("{} {direction}", quoted(&by.column)));
            // Said only where there can be nulls: an index then gives the order.
            if known.nullable {
                order.push_str(match by.nulls {
                    Nulls::First => " NULLS FIRST",
                    Nulls::Last => " NULLS LAST",
                });
            }
            order.push_str(", ");
        }
        order.push_str("_seq");
        let rows = format!("SELECT {columns} {from} ORDER BY {order} LIMIT ? OFFSET ?");
        let count = (select.count == Count::Exact).then(|| format!("SELECT count(*) {from}"));
        let limit = u64::try_from(select.limit).unwrap_or(u64::MAX);
        Ok(Self { rows, count, bound, kinds, limit, offset: select.offset })
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
    let first = select.order.first().map(|by| by.column.as_str());
    let by_seq = first.is_none_or(|column| column == "_seq");
    let by_time = def.time.as_ref().is_some_and(|time| first == Some(time.as_str()));
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
            let key = def.key.first().is_some_and(|key| key.as_str() == column);
            let time = def.time.as_ref().is_some_and(|time| time.as_str() == column);
            let one = matches!(compare, Compare::Eq(_) | Compare::In(_));
            Narrowing {
                client: one && column == "_client",
                exact: one && (key || time),
                from: time && matches!(compare, Compare::Gt(_) | Compare::Gte(_)),
                until: time && matches!(compare, Compare::Lt(_) | Compare::Lte(_)),
            }
        }
        Filter::Or(_) | Filter::Not(_) => Narrowing::default(),
    }
}

#[cfg(test)]
mod tests;
