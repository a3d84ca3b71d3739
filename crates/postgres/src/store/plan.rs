//! A read as statements.

use orderwire_store::typed::{Kind, column};
use orderwire_store::{Count, Error, Nulls, Select};
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;

use super::error::invalid;
use super::filter::{self, Query, expression};
use super::table::{answered, push, table_name};

/// How many values of a read are of its page: limit and offset, which come last.
pub(super) const PAGE: usize = 2;

/// A read as statements.
pub(super) struct Plan {
    pub(super) rows: Query,
    /// With the values of the condition alone.
    pub(super) count: Option<String>,
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
        let mut columns = Vec::with_capacity(select.columns.len());
        for column in &select.columns {
            let kind = known(&column.name)?.kind;
            kinds.push(kind);
            columns.push(answered(&column.name, kind));
        }
        let mut query = Query::new(format!("FROM {} WHERE ", table_name(name)));
        filter::write(def, &select.filter, &mut query)?;
        query.and_clients(&scope.clients, "_client");
        let count = (select.count == Count::Exact).then(|| format!("SELECT count(*) {}", query.sql));
        query.push(" ORDER BY ");
        for by in &select.order {
            let known = known(&by.column)?;
            known.kind.orders(&by.column)?;
            let direction = if by.descending { "DESC" } else { "ASC" };
            push(&mut query.sql, format_args!("{} {direction}", expression(&by.column, known.kind)));
            // Said only where there can be nulls: an index then gives the order.
            if known.nullable {
                query.push(match by.nulls {
                    Nulls::First => " NULLS FIRST",
                    Nulls::Last => " NULLS LAST",
                });
            }
            query.push(", ");
        }
        query.push("_seq");
        query.limit(select.limit);
        query.push(" OFFSET ");
        query.bind(Box::new(i64::try_from(select.offset).unwrap_or(i64::MAX)));
        query.sql.insert_str(0, &format!("SELECT {} ", columns.join(", ")));
        let limit = u64::try_from(select.limit).unwrap_or(u64::MAX);
        Ok(Self { rows: query, count, kinds, limit, offset: select.offset })
    }
}
