//! A tree of conditions as SQL with bound values.

use orderwire_store::like::PATTERN;
use orderwire_store::typed::{CONDITIONS, DEPTH, JSON_VALUES, Kind, VALUES};
use orderwire_store::{Compare, Error, Expr, Filter, Operand, regular};
use orderwire_types::Client;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::scope::Clients;

use super::error::invalid;
use super::expr::written;
use super::pattern;
use super::table::push;
use super::value::{Bound, Day, Exact, Moment};

/// A statement under way: what was written, and the values that belong to it.
#[derive(Default)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) bound: Vec<Bound>,
}

impl Query {
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), bound: Vec::new() }
    }

    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Writes a value.
    pub(super) fn bind(&mut self, value: Bound) {
        let number = self.value(value);
        push(&mut self.sql, format_args!("${number}"));
    }

    /// Binds a value that is still to be written: its number.
    pub(super) fn value(&mut self, value: Bound) -> usize {
        self.bound.push(value);
        self.bound.len()
    }

    /// Appends ` AND …` so that only rows of these clients remain.
    pub(super) fn and_clients(&mut self, clients: &Clients, column: &str) {
        let Clients::Only(only) = clients else { return };
        push(&mut self.sql, format_args!(" AND {column} = "));
        let mut names = only.iter().map(|client| client.as_str().to_owned());
        match (names.next(), only.len()) {
            (Some(name), 1) => self.bind(Box::new(name)),
            (first, _) => {
                self.push("ANY (");
                self.bind(Box::new(first.into_iter().chain(names).collect::<Vec<_>>()));
                self.push(")");
            }
        }
    }

    /// Appends ` AND column = value` when there is a value.
    pub(super) fn and_text(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            push(&mut self.sql, format_args!(" AND {column} = "));
            self.bind(Box::new(value.to_owned()));
        }
    }

    /// The same for an id.
    pub(super) fn and_id(&mut self, column: &str, value: Option<uuid::Uuid>) {
        if let Some(value) = value {
            push(&mut self.sql, format_args!(" AND {column} = "));
            self.bind(Box::new(value));
        }
    }

    /// Appends a limit.
    pub(super) fn limit(&mut self, max: usize) {
        self.push(" LIMIT ");
        self.bind(Box::new(limit(max)));
    }

    /// The values as a statement takes them.
    pub(super) fn values(&self) -> Vec<&(dyn tokio_postgres::types::ToSql + Sync)> {
        self.bound.iter().map(|value| &**value as &(dyn tokio_postgres::types::ToSql + Sync)).collect()
    }
}

/// A number of rows as a limit.
pub(super) fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

/// The clients of the scope that are wanted.
pub(super) fn both(scope: &Clients, wanted: Option<&[Client]>) -> Clients {
    let Some(wanted) = wanted else { return scope.clone() };
    let wanted: std::collections::BTreeSet<_> = wanted.iter().cloned().collect();
    match scope {
        Clients::All => Clients::Only(wanted),
        Clients::Only(covered) => Clients::Only(covered.intersection(&wanted).cloned().collect()),
    }
}

/// Writes the condition.
pub(super) fn write(def: &DatasetDef, filter: &Filter, query: &mut Query) -> Result<(), Error> {
    Builder { def, query, conditions: 0, values: 0, json_values: 0 }.filter(filter, 0)
}

struct Builder<'b> {
    def: &'b DatasetDef,
    query: &'b mut Query,
    conditions: usize,
    json_values: usize,
    values: usize,
}

impl Builder<'_> {
    fn filter(&mut self, filter: &Filter, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(invalid(format!("filter: conditions nest deeper than {DEPTH} levels")));
        }
        match filter {
            Filter::And(all) => self.list(all, " AND ", "TRUE", depth),
            Filter::Or(any) => self.list(any, " OR ", "FALSE", depth),
            Filter::Not(filter) => {
                self.query.push("NOT ");
                self.filter(filter, depth + 1)
            }
            Filter::From { values, descending } => self.from(values, *descending),
            Filter::Compare { column, compare } => self.compare(column, compare),
        }
    }

    fn list(&mut self, filters: &[Filter], word: &str, empty: &str, depth: usize) -> Result<(), Error> {
        self.query.push("(");
        for (i, filter) in filters.iter().enumerate() {
            if i > 0 {
                self.query.push(word);
            }
            self.filter(filter, depth + 1)?;
        }
        if filters.is_empty() {
            self.query.push(empty);
        }
        self.query.push(")");
        Ok(())
    }

    /// As a comparison of rows, which an index on these columns gives in one piece.
    fn from(&mut self, values: &[(Expr, Operand)], descending: bool) -> Result<(), Error> {
        self.count(values.len())?;
        let mut columns = Vec::with_capacity(values.len());
        for (expr, value) in values {
            let kind = expr.known(self.def)?.kind;
            kind.compares(expr.column(), value)?;
            columns.push(compared(expr, kind, self.query));
        }
        let operator = if descending { "<=" } else { ">=" };
        push(&mut self.query.sql, format_args!("(ROW({}) {operator} ROW(", columns.join(", ")));
        for (i, (_, value)) in values.iter().enumerate() {
            self.query.push(if i == 0 { "" } else { ", " });
            self.query.bind(bound(value.clone()));
        }
        self.query.push("))");
        Ok(())
    }

    fn compare(&mut self, expr: &Expr, compare: &Compare) -> Result<(), Error> {
        self.conditions += 1;
        if self.conditions > CONDITIONS {
            return Err(invalid(format!("filter: more than {CONDITIONS} conditions")));
        }
        let kind = expr.known(self.def)?.kind;
        let column = Compared { name: expr.column(), sql: compared(expr, kind, self.query), kind };
        match compare {
            Compare::Eq(value) => self.binary(&column, "=", value),
            Compare::Neq(value) => self.binary(&column, "<>", value),
            Compare::Distinct(value) => self.binary(&column, DISTINCT, value),
            Compare::Gt(value) => self.by_order(&column, ">", value),
            Compare::Gte(value) => self.by_order(&column, ">=", value),
            Compare::Lt(value) => self.by_order(&column, "<", value),
            Compare::Lte(value) => self.by_order(&column, "<=", value),
            Compare::Contains(texts) => self.elements(&column, Elements::All, texts),
            Compare::ContainedBy(texts) => self.elements(&column, Elements::NoOther, texts),
            Compare::Overlaps(texts) => self.elements(&column, Elements::One, texts),
            Compare::ContainsJson(document) => self.document(&column, "@>", document),
            Compare::ContainedByJson(document) => self.document(&column, "<@", document),
            Compare::Match { pattern, ignore_case } => {
                self.count(1)?;
                column.kind.searches(column.name)?;
                let common = regular::common(pattern, *ignore_case)?;
                push(&mut self.query.sql, format_args!("({} ~ ", column.sql));
                self.query.bind(Box::new(common));
                self.query.push(")");
                Ok(())
            }
            Compare::In(values) => self.any_of(&column, values),
            Compare::Like { pattern, ignore_case } => self.like(&column, pattern, *ignore_case),
            Compare::IsNull => {
                push(&mut self.query.sql, format_args!("({} IS NULL)", column.sql));
                Ok(())
            }
            Compare::Is(value) => {
                if column.kind != Kind::Boolean {
                    return Err(column.kind.mismatch(column.name, "a boolean"));
                }
                let value = if *value { "TRUE" } else { "FALSE" };
                push(&mut self.query.sql, format_args!("({} IS {value})", column.sql));
                Ok(())
            }
        }
    }

    fn binary(&mut self, column: &Compared<'_>, operator: &str, value: &Operand) -> Result<(), Error> {
        self.count(1)?;
        column.kind.compares(column.name, value)?;
        let holds_nul = |text: &String| text.contains('\0');
        let (operator, value) = match value {
            // What no row can hold differs from all, null as well.
            Operand::Text(text) if operator == DISTINCT && holds_nul(text) => {
                self.query.push("TRUE");
                return Ok(());
            }
            Operand::Texts(texts) if texts.iter().any(holds_nul) => {
                self.query.push(&match operator {
                    DISTINCT => "TRUE".to_owned(),
                    operator => column.holds(operator == "<>"),
                });
                return Ok(());
            }
            Operand::Text(text) => match without_nul(operator, text) {
                Some((operator, text)) => (operator, Operand::Text(text.to_owned())),
                None => {
                    self.query.push(&column.holds(operator == "<>"));
                    return Ok(());
                }
            },
            value => (operator, value.clone()),
        };
        push(&mut self.query.sql, format_args!("({} {operator} ", column.sql));
        self.query.bind(bound(value));
        self.query.push(")");
        Ok(())
    }

    fn by_order(&mut self, column: &Compared<'_>, operator: &str, value: &Operand) -> Result<(), Error> {
        column.kind.compares_by_order(column.name, value)?;
        self.binary(column, operator, value)
    }

    fn elements(&mut self, column: &Compared<'_>, which: Elements, texts: &[String]) -> Result<(), Error> {
        self.count(1)?;
        column.kind.lists(column.name)?;
        // No list has a text with NUL.
        let some: Vec<String> = texts.iter().filter(|text| !text.contains('\0')).cloned().collect();
        if which == Elements::All && some.len() < texts.len() {
            self.query.push(&column.holds(false));
            return Ok(());
        }
        let operator = match which {
            Elements::All => "@>",
            Elements::NoOther => "<@",
            Elements::One => "&&",
        };
        push(&mut self.query.sql, format_args!("({} {operator} ", column.sql));
        self.query.bind(Box::new(some));
        self.query.push("::text[])");
        Ok(())
    }

    fn document(&mut self, column: &Compared<'_>, operator: &str, document: &str) -> Result<(), Error> {
        self.count(1)?;
        self.json_values += column.kind.json_values(column.name, document)?;
        if self.json_values > JSON_VALUES {
            return Err(invalid(format!("filter: json documents of more than {JSON_VALUES} values")));
        }
        push(&mut self.query.sql, format_args!("(store.document({}) {operator} ", column.sql));
        self.query.bind(Box::new(document.to_owned()));
        self.query.push("::text::jsonb)");
        Ok(())
    }

    fn any_of(&mut self, column: &Compared<'_>, values: &[Operand]) -> Result<(), Error> {
        self.count(values.len())?;
        for value in values {
            column.kind.compares(column.name, value)?;
        }
        let storable = |value: &&Operand| match value {
            Operand::Text(text) => !text.contains('\0'),
            Operand::Texts(texts) => !texts.iter().any(|text| text.contains('\0')),
            _ => true,
        };
        let some: Vec<Operand> = values.iter().filter(storable).cloned().collect();
        // In an empty list is nothing, not even null; in one of what no row can hold
        // null is unknown.
        if some.is_empty() && !values.is_empty() {
            self.query.push(&column.holds(false));
            return Ok(());
        }
        if some.is_empty() {
            self.query.push("FALSE");
            return Ok(());
        }
        if let [Operand::Texts(_), ..] = some.as_slice() {
            // Lists of different lengths are no array.
            push(&mut self.query.sql, format_args!("({} IN (", column.sql));
            for (i, value) in some.into_iter().enumerate() {
                self.query.push(if i == 0 { "" } else { ", " });
                self.query.bind(bound(value));
                self.query.push("::text[]");
            }
            self.query.push("))");
            return Ok(());
        }
        push(&mut self.query.sql, format_args!("({} = ANY (", column.sql));
        self.query.bind(bound_list(some));
        self.query.push("))");
        Ok(())
    }

    fn like(&mut self, column: &Compared<'_>, text: &str, ignore_case: bool) -> Result<(), Error> {
        self.count(1)?;
        column.kind.searches(column.name)?;
        if text.chars().count() > PATTERN {
            return Err(invalid(format!("filter: the pattern is longer than {PATTERN} characters")));
        }
        if text.contains('\0') {
            self.query.push(&column.holds(false));
            return Ok(());
        }
        let (operator, pattern) =
            if ignore_case { ("~", pattern::regular(text)) } else { ("LIKE", pattern::like(text)) };
        push(&mut self.query.sql, format_args!("({} {operator} ", column.sql));
        self.query.bind(Box::new(pattern));
        self.query.push(")");
        Ok(())
    }

    fn count(&mut self, values: usize) -> Result<(), Error> {
        self.values += values;
        if self.values > VALUES {
            return Err(invalid(format!("filter: more than {VALUES} values")));
        }
        Ok(())
    }
}

/// Not equal, with null as if it were a value.
const DISTINCT: &str = "IS DISTINCT FROM";

/// Which elements a list has of some.
#[derive(Clone, Copy, PartialEq)]
enum Elements {
    All,
    NoOther,
    One,
}

/// A comparison with a text that holds NUL, which PostgreSQL does not take, as one with what
/// stands before the NUL: no row holds any, so that all which begins so and goes on is greater.
/// `None`: nothing is equal to it.
fn without_nul<'o, 't>(operator: &'o str, text: &'t str) -> Option<(&'o str, &'t str)> {
    let Some((before, _)) = text.split_once('\0') else { return Some((operator, text)) };
    match operator {
        "<" | "<=" => Some(("<=", before)),
        ">" | ">=" => Some((">", before)),
        _ => None,
    }
}

/// What is read of a row as an expression that compares by its kind.
pub(super) fn compared(expr: &Expr, kind: Kind, query: &mut Query) -> String {
    let written = written(expr, kind, query);
    match kind {
        // As text, letter by letter.
        Kind::Json => format!("({written}::text COLLATE \"C\")"),
        _ => written,
    }
}

struct Compared<'n> {
    name: &'n str,
    sql: String,
    kind: Kind,
}

impl Compared<'_> {
    /// True or false for every value, unknown for null.
    fn holds(&self, always: bool) -> String {
        format!("({0} {1} {0})", self.sql, if always { "=" } else { "<>" })
    }
}

fn bound(value: Operand) -> Bound {
    match value {
        Operand::Text(text) => Box::new(text),
        Operand::Integer(integer) => Box::new(integer),
        Operand::Float(float) => Box::new(float),
        Operand::Boolean(boolean) => Box::new(boolean),
        Operand::Timestamp(at) => Box::new(Moment(at)),
        Operand::Uuid(id) => Box::new(id),
        Operand::Decimal(decimal) => Box::new(Exact(decimal)),
        Operand::Date(date) => Box::new(Day(date)),
        Operand::Texts(texts) => Box::new(texts),
    }
}

/// Values of one type as an array.
fn bound_list(values: Vec<Operand>) -> Bound {
    let mut values = values.into_iter().peekable();
    macro_rules! all {
        ($kind:ident, $make:expr) => {
            Box::new(
                values
                    .filter_map(|value| match value {
                        Operand::$kind(value) => Some($make(value)),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            )
        };
    }
    match values.peek() {
        Some(Operand::Integer(_)) => all!(Integer, |value: i64| value),
        Some(Operand::Float(_)) => all!(Float, |value: f64| value),
        Some(Operand::Boolean(_)) => all!(Boolean, |value: bool| value),
        Some(Operand::Timestamp(_)) => all!(Timestamp, Moment),
        Some(Operand::Uuid(_)) => all!(Uuid, |value: uuid::Uuid| value),
        Some(Operand::Decimal(_)) => all!(Decimal, Exact),
        Some(Operand::Date(_)) => all!(Date, Day),
        Some(Operand::Text(_) | Operand::Texts(_)) | None => all!(Text, |value: String| value),
    }
}
