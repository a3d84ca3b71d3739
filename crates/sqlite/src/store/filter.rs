//! A tree of conditions as SQL with bound values.

use std::collections::BTreeSet;

use orderwire_store::like::PATTERN;
use orderwire_store::typed::{CONDITIONS, DEPTH, JSON_VALUES, Kind, VALUES};
use orderwire_store::{Compare, Error, Expr, Filter, Operand, regular};
use orderwire_types::Client;
use orderwire_types::array;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::scope::Clients;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use uuid::Uuid;

use super::error::invalid;
use super::expr::written;
use super::pattern;
use super::table::push;

/// A value that is bound to a statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Binding {
    Text(String),
    Integer(i64),
    Float(f64),
    Uuid(Uuid),
}

impl ToSql for Binding {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Float(float) => ValueRef::Real(*float),
            Self::Uuid(id) => ValueRef::Blob(id.as_bytes()),
        }))
    }
}

/// Appends ` AND …` so that only rows of these clients remain.
pub(super) fn clients_clause(clients: &Clients, column: &str, sql: &mut String, bound: &mut Vec<Binding>) {
    let Clients::Only(only) = clients else { return };
    // Beyond some hundred names, one JSON array keeps the statement short.
    if only.len() > 256 {
        push(sql, format_args!(" AND {column} IN (SELECT value FROM json_each(?))"));
        bound.push(Binding::Text(names(only)));
        return;
    }
    let marks = vec!["?"; only.len()].join(", ");
    push(sql, format_args!(" AND {column} IN ({marks})"));
    bound.extend(only.iter().map(|client| Binding::Text(client.as_str().to_owned())));
}

/// Names of clients as a JSON array.
pub(super) fn names(clients: &BTreeSet<Client>) -> String {
    let names: Vec<&str> = clients.iter().map(Client::as_str).collect();
    serde_json::to_string(&names).expect("a list of names is JSON")
}

/// Writes the condition into `sql` and its values into `bound`.
pub(super) fn write(
    def: &DatasetDef,
    filter: &Filter,
    sql: &mut String,
    bound: &mut Vec<Binding>,
) -> Result<(), Error> {
    Builder { def, sql, bound, conditions: 0, json_values: 0 }.filter(filter, 0)
}

struct Builder<'b> {
    def: &'b DatasetDef,
    sql: &'b mut String,
    bound: &'b mut Vec<Binding>,
    conditions: usize,
    json_values: usize,
}

impl Builder<'_> {
    fn filter(&mut self, filter: &Filter, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(invalid(format!("filter: conditions nest deeper than {DEPTH} levels")));
        }
        match filter {
            Filter::And(all) => self.list(all, " AND ", "1", depth),
            Filter::Or(any) => self.list(any, " OR ", "0", depth),
            Filter::Not(filter) => {
                self.sql.push_str("NOT ");
                self.filter(filter, depth + 1)
            }
            Filter::From { values, descending } => self.from(values, *descending),
            Filter::Compare { column, compare } => self.compare(column, compare),
        }
    }

    fn list(&mut self, filters: &[Filter], word: &str, empty: &str, depth: usize) -> Result<(), Error> {
        self.sql.push('(');
        for (i, filter) in filters.iter().enumerate() {
            if i > 0 {
                self.sql.push_str(word);
            }
            self.filter(filter, depth + 1)?;
        }
        if filters.is_empty() {
            self.sql.push_str(empty);
        }
        self.sql.push(')');
        Ok(())
    }

    /// As a comparison of rows, which an index on these columns gives in one piece.
    fn from(&mut self, values: &[(Expr, Operand)], descending: bool) -> Result<(), Error> {
        let mut columns = Vec::with_capacity(values.len());
        let mut bindings = Vec::with_capacity(values.len());
        for (expr, value) in values {
            let kind = expr.known(self.def)?.kind;
            let column = Compared { name: expr.column(), quoted: written(expr, self.bound), kind };
            bindings.push(column.bind(value)?);
            columns.push(column.quoted);
        }
        let operator = if descending { "<=" } else { ">=" };
        let marks = vec!["?"; values.len()].join(", ");
        push(self.sql, format_args!("(({}) {operator} ({marks}))", columns.join(", ")));
        bindings.into_iter().try_for_each(|binding| self.bind(binding))
    }

    fn compare(&mut self, expr: &Expr, compare: &Compare) -> Result<(), Error> {
        self.conditions += 1;
        if self.conditions > CONDITIONS {
            return Err(invalid(format!("filter: more than {CONDITIONS} conditions")));
        }
        let kind = expr.known(self.def)?.kind;
        let column = Compared { name: expr.column(), quoted: written(expr, self.bound), kind };
        match compare {
            Compare::Eq(value) => self.binary(&column, "=", value),
            Compare::Neq(value) => self.binary(&column, "<>", value),
            Compare::Distinct(value) => self.binary(&column, "IS DISTINCT FROM", value),
            Compare::Gt(value) => self.by_order(&column, ">", value),
            Compare::Gte(value) => self.by_order(&column, ">=", value),
            Compare::Lt(value) => self.by_order(&column, "<", value),
            Compare::Lte(value) => self.by_order(&column, "<=", value),
            Compare::Contains(texts) => self.elements(&column, "ow_contains", texts),
            Compare::ContainedBy(texts) => self.elements(&column, "ow_contained", texts),
            Compare::Overlaps(texts) => self.elements(&column, "ow_overlaps", texts),
            Compare::ContainsJson(document) => self.document(&column, "ow_json_contains", document),
            Compare::ContainedByJson(document) => self.document(&column, "ow_json_contained", document),
            Compare::Match { pattern, ignore_case } => {
                column.kind.searches(column.name)?;
                let common = regular::common(pattern, *ignore_case)?;
                push(self.sql, format_args!("ow_match({}, ?)", column.quoted));
                self.bind(Binding::Text(common))
            }
            Compare::In(values) => self.any_of(&column, values),
            Compare::Like { pattern, ignore_case } => self.like(&column, pattern, *ignore_case),
            Compare::IsNull => {
                push(self.sql, format_args!("({} IS NULL)", column.quoted));
                Ok(())
            }
            Compare::Is(value) => {
                if column.kind != Kind::Boolean {
                    return Err(column.kind.mismatch(column.name, "a boolean"));
                }
                push(self.sql, format_args!("({} IS {})", column.quoted, i32::from(*value)));
                Ok(())
            }
        }
    }

    fn binary(&mut self, column: &Compared<'_>, operator: &str, value: &Operand) -> Result<(), Error> {
        push(self.sql, format_args!("({} {operator} ?)", column.quoted));
        let value = column.bind(value)?;
        self.bind(value)
    }

    fn by_order(&mut self, column: &Compared<'_>, operator: &str, value: &Operand) -> Result<(), Error> {
        column.kind.compares_by_order(column.name, value)?;
        self.binary(column, operator, value)
    }

    fn elements(&mut self, column: &Compared<'_>, function: &str, texts: &[String]) -> Result<(), Error> {
        column.kind.lists(column.name)?;
        push(self.sql, format_args!("{function}({}, ?)", column.quoted));
        self.bind(Binding::Text(array::to_json(texts)))
    }

    fn document(&mut self, column: &Compared<'_>, function: &str, document: &str) -> Result<(), Error> {
        self.json_values += column.kind.json_values(column.name, document)?;
        if self.json_values > JSON_VALUES {
            return Err(invalid(format!("filter: json documents of more than {JSON_VALUES} values")));
        }
        push(self.sql, format_args!("{function}({}, ?)", column.quoted));
        self.bind(Binding::Text(document.to_owned()))
    }

    fn any_of(&mut self, column: &Compared<'_>, values: &[Operand]) -> Result<(), Error> {
        // SQLite takes an empty list, and then neither null nor a value is in it.
        push(self.sql, format_args!("({} IN (", column.quoted));
        for (i, value) in values.iter().enumerate() {
            self.sql.push_str(if i == 0 { "?" } else { ", ?" });
            let value = column.bind(value)?;
            self.bind(value)?;
        }
        self.sql.push_str("))");
        Ok(())
    }

    fn like(&mut self, column: &Compared<'_>, text: &str, ignore_case: bool) -> Result<(), Error> {
        column.kind.searches(column.name)?;
        if text.chars().count() > PATTERN {
            return Err(invalid(format!("filter: the pattern is longer than {PATTERN} characters")));
        }
        let name = &column.quoted;
        let range = if ignore_case { None } else { pattern::range(text) };
        match range {
            // What begins with the same characters is one range of an index.
            Some((from, until)) => {
                push(self.sql, format_args!("({name} >= ? AND {name} < ? AND ow_like({name}, ?))"));
                self.bind(Binding::Text(from))?;
                self.bind(Binding::Text(until))?;
            }
            None if ignore_case => push(self.sql, format_args!("ow_ilike({name}, ?)")),
            None => push(self.sql, format_args!("ow_like({name}, ?)")),
        }
        self.bind(Binding::Text(text.to_owned()))
    }

    fn bind(&mut self, value: Binding) -> Result<(), Error> {
        if self.bound.len() >= VALUES {
            return Err(invalid(format!("filter: more than {VALUES} values")));
        }
        self.bound.push(value);
        Ok(())
    }
}

struct Compared<'n> {
    name: &'n str,
    quoted: String,
    kind: Kind,
}

impl Compared<'_> {
    fn bind(&self, value: &Operand) -> Result<Binding, Error> {
        self.kind.compares(self.name, value)?;
        Ok(match value {
            Operand::Text(text) => Binding::Text(text.clone()),
            Operand::Integer(integer) => Binding::Integer(*integer),
            Operand::Float(float) => Binding::Float(*float),
            Operand::Boolean(boolean) => Binding::Integer(i64::from(*boolean)),
            // Cut to the microsecond, as what is stored was.
            Operand::Timestamp(at) => Binding::Integer(at.as_microsecond()),
            Operand::Uuid(id) => Binding::Uuid(*id),
            // The column brings along how it is compared.
            Operand::Decimal(decimal) => Binding::Text(decimal.to_string()),
            Operand::Date(date) => Binding::Text(date.to_string()),
            Operand::Texts(texts) => Binding::Text(array::to_json(texts)),
        })
    }
}
