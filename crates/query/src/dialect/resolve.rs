//! From what is written to what the store reads: names become columns,
//! operands get the type of their column.

use jiff::Timestamp;
use orderwire_store::contain::Document;
use orderwire_store::{Aggregate, Column, Compare, Expr, Filter, Nulls, Operand, OrderBy, Value, regular};
use orderwire_types::array;
use orderwire_types::dataset::FieldType;
use orderwire_types::decimal::InvalidDecimal;
use orderwire_types::envelope::{parse_rfc3339, parse_time};
use orderwire_types::row::parse_date;

use super::cast::truth;
use super::columns::{ColumnType, Columns, Named};
use super::params::shorten;
use super::{Cast, Condition, Each, Is, Item, Operator, Output, Term, Test};
use crate::error::{Error, ErrorKind};

/// The columns of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) columns: Vec<Column>,
    /// What becomes of each at last.
    pub(crate) casts: Vec<Option<Cast>>,
}

impl Chosen {
    fn push(&mut self, value: Value, alias: &str, cast: Option<Cast>) -> Result<(), Error> {
        if self.columns.iter().any(|column| column.alias == alias) {
            let message = format!("select names {:?} twice", shorten(alias));
            return Err(Error::syntax(message).hint("give one of them another name: alias:column"));
        }
        self.columns.push(Column { value, alias: alias.to_owned() });
        self.casts.push(cast);
        Ok(())
    }
}

/// The order of an answer, in which the names of buckets and aggregates stand for them.
pub(crate) fn picked_order(
    columns: &Columns,
    chosen: &Chosen,
    terms: &[Term],
) -> Result<Vec<OrderBy>, Error> {
    let computed = |term: &Term| {
        let name = term.column.path.is_empty().then_some(&term.column.name)?;
        let column = chosen.columns.iter().find(|column| column.alias == *name)?;
        match &column.value {
            Value::Row(Expr::Column(_) | Expr::Part { .. }) => None,
            value => Some(value.clone()),
        }
    };
    let by = |term: &Term| match computed(term) {
        Some(column) => Ok(ordered(column, term)),
        None => Ok(columns.order(std::slice::from_ref(term))?.remove(0)),
    };
    terms.iter().map(by).collect()
}

/// Nulls stand where PostgreSQL puts them: as if they were greater than every value.
fn ordered(column: impl Into<Value>, term: &Term) -> OrderBy {
    let nulls_first = term.nulls_first.unwrap_or(term.descending);
    let nulls = if nulls_first { Nulls::First } else { Nulls::Last };
    OrderBy { column: column.into(), descending: term.descending, nulls }
}

impl Columns {
    /// All conditions as one filter.
    pub(crate) fn filter(&self, conditions: &[Condition]) -> Result<Filter, Error> {
        Ok(Filter::And(
            conditions.iter().map(|condition| self.condition(condition)).collect::<Result<_, _>>()?,
        ))
    }

    /// The columns of an answer.
    pub(crate) fn select(&self, items: Option<&[Item]>) -> Result<Chosen, Error> {
        let mut chosen = Chosen::default();
        let mut grouping: Vec<Cast> = Vec::new();
        for item in items.unwrap_or(&[Item::All]) {
            match item {
                Item::All => {
                    for column in self.own() {
                        chosen.push(Value::Row(column.expr()), &column.shown, None)?;
                    }
                }
                Item::One { output, cast, alias } => {
                    let (value, of, name) = self.output(output)?;
                    if let Some(cast) = cast {
                        cast.check(of, alias.as_deref().unwrap_or(name))?;
                        grouping.extend(matches!(value, Value::Row(_)).then_some(*cast));
                    }
                    chosen.push(value, alias.as_deref().unwrap_or(name), *cast)?;
                }
            }
        }
        let grouped = chosen.columns.iter().any(|column| !matches!(column.value, Value::Row(_)));
        for column in chosen.columns.iter().filter(|_| grouped) {
            // Nobody says which documents are equal.
            let Value::Row(Expr::Column(name) | Expr::Part { column: name, as_text: false, .. }) =
                &column.value
            else {
                continue;
            };
            let json = ColumnType::Field(FieldType::Json);
            if self.named.iter().any(|named| named.name == *name && named.of == json) {
                let message = format!("select: column {:?} is json, which cannot group rows", column.alias);
                return Err(Error::new(ErrorKind::Invalid, "42883", message)
                    .hint("take a part as text: column->>name"));
            }
        }
        // Values that differ may become one by any other cast.
        if grouped && let Some(cast) = grouping.iter().find(|cast| **cast != Cast::Text) {
            let message =
                format!("select: what rows are grouped by is cast to text alone, not to {}", cast.name());
            return Err(Error::syntax(message).hint("group times by column.bucket(1d)"));
        }
        Ok(chosen)
    }

    /// What a column of an answer is, of which type, and how it is called.
    fn output<'o>(&self, output: &'o Output) -> Result<(Value, ColumnType, &'o str), Error> {
        let number = ColumnType::Field(FieldType::Integer);
        Ok(match output {
            Output::Rows => (Value::Rows, number, "count"),
            Output::Field(field) => {
                let named = self.field(field)?;
                (Value::Row(named.expr()), named.of, field.own_name())
            }
            Output::Bucket(span, field) => {
                let named = self.field(field)?;
                if named.of != ColumnType::Field(FieldType::Timestamp) {
                    return Err(mismatch(&named, "bucket()", "a timestamp column"));
                }
                let micros = i64::try_from(span.0.as_micros())
                    .map_err(|_| Error::syntax(format!("bucket({span}) is too long")))?;
                (Value::Row(Expr::Bucket { column: named.name, micros }), named.of, "bucket")
            }
            Output::Of(aggregate, field) => {
                let named = self.field(field)?;
                let of = match (aggregate, named.of) {
                    (Aggregate::Count, _) => number,
                    (
                        Aggregate::Sum,
                        of @ ColumnType::Field(FieldType::Integer | FieldType::Float | FieldType::Decimal),
                    ) => of,
                    (
                        Aggregate::Avg,
                        ColumnType::Field(FieldType::Integer | FieldType::Float | FieldType::Decimal),
                    ) => ColumnType::Field(FieldType::Float),
                    (Aggregate::Sum | Aggregate::Avg, _) => {
                        return Err(mismatch(
                            &named,
                            &format!("{}()", aggregate.name()),
                            "a column of numbers",
                        ));
                    }
                    (
                        Aggregate::Min | Aggregate::Max,
                        of @ ColumnType::Field(
                            FieldType::Integer
                            | FieldType::Float
                            | FieldType::Decimal
                            | FieldType::Text
                            | FieldType::Timestamp
                            | FieldType::Date,
                        ),
                    ) => of,
                    (Aggregate::Min | Aggregate::Max, _) => {
                        let needs = "a column of numbers, text or times";
                        return Err(mismatch(&named, &format!("{}()", aggregate.name()), needs));
                    }
                };
                (Value::Of(*aggregate, named.expr()), of, aggregate.name())
            }
        })
    }

    /// The order of an answer.
    pub(crate) fn order(&self, terms: &[Term]) -> Result<Vec<OrderBy>, Error> {
        terms
            .iter()
            .map(|term| {
                let column = self.field(&term.column)?;
                if !is_ordered(&column) {
                    let (shown, kind) = (&column.shown, column.of.name());
                    let message = format!("order: column {shown} is {kind}, which has no order");
                    return Err(Error::new(ErrorKind::Invalid, "42883", message));
                }
                Ok(ordered(column.expr(), term))
            })
            .collect()
    }

    fn condition(&self, condition: &Condition) -> Result<Filter, Error> {
        let (negated, filter) = match condition {
            Condition::Test { column, negated, test } => (*negated, tested(&self.field(column)?, test)?),
            Condition::Group { negated, all, of } => {
                let of = of.iter().map(|condition| self.condition(condition)).collect::<Result<_, _>>()?;
                (*negated, if *all { Filter::And(of) } else { Filter::Or(of) })
            }
        };
        Ok(if negated { Filter::Not(Box::new(filter)) } else { filter })
    }
}

fn tested(column: &Named, test: &Test) -> Result<Filter, Error> {
    let compare = match test {
        Test::Binary(operator, text) => binary(column, *operator, text)?,
        Test::Each(operator, each, _) if column.of == ColumnType::Field(FieldType::Texts) => {
            let operator = format!("{}({})", operator.name(), each.name());
            return Err(mismatch(column, &operator, "a column that is no list"));
        }
        Test::Each(Operator::Eq, Each::Any, values) if !values.is_empty() => {
            Compare::In(values.iter().map(|value| operand(column, value)).collect::<Result<_, _>>()?)
        }
        // Any of none never holds, all of none always, for null as well: what the contract
        // promises of empty lists.
        Test::Each(operator, each, values) => {
            let one = |value: &String| {
                Ok(Filter::Compare { column: column.expr(), compare: binary(column, *operator, value)? })
            };
            let filters = values.iter().map(one).collect::<Result<_, Error>>()?;
            return Ok(match each {
                Each::Any => Filter::Or(filters),
                Each::All => Filter::And(filters),
            });
        }
        // Said with what the contract promises of an empty list.
        Test::In(values) if values.is_empty() => return Ok(Filter::Or(Vec::new())),
        Test::In(values) => {
            Compare::In(values.iter().map(|value| operand(column, value)).collect::<Result<_, _>>()?)
        }
        Test::Is(is) => {
            let boolean = column.of == ColumnType::Field(FieldType::Boolean);
            match is {
                Is::Null => Compare::IsNull,
                Is::NotNull => {
                    let compare = Compare::IsNull;
                    let null = Filter::Compare { column: column.expr(), compare };
                    return Ok(Filter::Not(Box::new(null)));
                }
                Is::Unknown if boolean => Compare::IsNull,
                Is::True if boolean => Compare::Is(true),
                Is::False if boolean => Compare::Is(false),
                Is::True | Is::False | Is::Unknown => {
                    return Err(mismatch(column, &format!("is.{}", is.name()), "a boolean column"));
                }
            }
        }
    };
    Ok(Filter::Compare { column: column.expr(), compare })
}

/// Whether a text is a value of a column.
pub(crate) fn fits(column: &Named, text: &str) -> Result<(), Error> {
    operand(column, text).map(drop)
}

/// A comparison with one operand.
fn binary(column: &Named, operator: Operator, text: &str) -> Result<Compare, Error> {
    let ordered = || -> Result<Operand, Error> {
        if !is_ordered(column) {
            let needs = "a column that has an order (eq, neq, isdistinct, in and is.null work)";
            return Err(mismatch(column, operator.name(), needs));
        }
        operand(column, text)
    };
    Ok(match operator {
        Operator::Eq => Compare::Eq(operand(column, text)?),
        Operator::Neq => Compare::Neq(operand(column, text)?),
        Operator::IsDistinct => Compare::Distinct(operand(column, text)?),
        Operator::Gt => Compare::Gt(ordered()?),
        Operator::Gte => Compare::Gte(ordered()?),
        Operator::Lt => Compare::Lt(ordered()?),
        Operator::Lte => Compare::Lte(ordered()?),
        Operator::Like | Operator::ILike => Compare::Like {
            pattern: pattern(column, operator, text)?,
            ignore_case: operator == Operator::ILike,
        },
        Operator::Match | Operator::IMatch => {
            let ignore_case = operator == Operator::IMatch;
            Compare::Match { pattern: expression(column, operator, text, ignore_case)?, ignore_case }
        }
        Operator::Contains if is_json(column) => Compare::ContainsJson(document(column, text)?),
        Operator::ContainedBy if is_json(column) => Compare::ContainedByJson(document(column, text)?),
        Operator::Contains => Compare::Contains(elements(column, operator, text)?),
        Operator::ContainedBy => Compare::ContainedBy(elements(column, operator, text)?),
        Operator::Overlaps => Compare::Overlaps(elements(column, operator, text)?),
    })
}

fn is_ordered(column: &Named) -> bool {
    match column.of {
        ColumnType::Field(field_type) => field_type.is_ordered(),
        ColumnType::Uuid => true,
    }
}

/// A regular expression, checked here so that it is refused before anything is read.
fn expression(column: &Named, operator: Operator, text: &str, ignore_case: bool) -> Result<String, Error> {
    if column.of != ColumnType::Field(FieldType::Text) {
        return Err(mismatch(column, operator.name(), "a text column"));
    }
    match regular::common(text, ignore_case) {
        Ok(_) => Ok(text.to_owned()),
        Err(refused) => Err(Error::new(ErrorKind::Invalid, "2201B", refused.to_string())
            .hint("the documentation of conditions lists what a regular expression is made of")),
    }
}

/// The elements of a list operator.
fn elements(column: &Named, operator: Operator, text: &str) -> Result<Vec<String>, Error> {
    if column.of != ColumnType::Field(FieldType::Texts) {
        let needs = match operator {
            Operator::Overlaps => "a text[] column",
            _ => "a text[] or json column",
        };
        return Err(mismatch(column, operator.name(), needs));
    }
    texts(column, text)
}

fn is_json(column: &Named) -> bool {
    column.of == ColumnType::Field(FieldType::Json)
}

/// A json document as it is written, checked here so that it is refused before anything is read.
fn document(column: &Named, text: &str) -> Result<String, Error> {
    let document = Document::read(text).map(|_| text.to_owned());
    document.ok_or_else(|| {
        let message = format!("invalid input syntax for column {} of type json: {:?}", column.shown, shorten(text));
        Error::new(ErrorKind::Invalid, "22P02", message)
            .details("expected a JSON document such as {\"a\":[1]}, at most 127 levels deep, without \\u0000 and numbers of more than 16,383 digits behind the point")
    })
}

fn texts(column: &Named, text: &str) -> Result<Vec<String>, Error> {
    array::from_literal(text).map_err(|wrong| {
        let message = format!("malformed list for column {}: {:?}", column.shown, shorten(text));
        Error::new(ErrorKind::Invalid, "22P02", message).details(format!("it needs {wrong}"))
    })
}

fn mismatch(column: &Named, operator: &str, needs: &str) -> Error {
    let message = format!("operator {operator} needs {needs}; {} is {}", column.shown, column.of.name());
    Error::new(ErrorKind::Invalid, "42883", message)
}

fn pattern(column: &Named, operator: Operator, text: &str) -> Result<String, Error> {
    if column.of != ColumnType::Field(FieldType::Text) {
        return Err(mismatch(column, operator.name(), "a text column"));
    }
    let mut pattern = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => pattern.push('%'),
            '\\' => match rest.next() {
                // To the store a star is a character like any other.
                Some('*') => pattern.push('*'),
                Some(quoted) => pattern.extend(['\\', quoted]),
                None => {
                    let text = shorten(text);
                    let message =
                        format!("{}: the pattern {text:?} ends with a lone backslash", column.shown);
                    return Err(Error::new(ErrorKind::Invalid, "22025", message));
                }
            },
            other => pattern.push(other),
        }
    }
    Ok(pattern)
}

/// An operand in the type of its column.
pub(crate) fn operand(column: &Named, text: &str) -> Result<Operand, Error> {
    let wrong = |code: &'static str, expected: &str| {
        let message = format!(
            "invalid input syntax for column {} of type {}: {:?}",
            column.shown,
            column.of.name(),
            shorten(text)
        );
        Error::new(ErrorKind::Invalid, code, message).details(format!("expected {expected}"))
    };
    let trimmed = text.trim();
    Ok(match column.of {
        ColumnType::Field(FieldType::Text | FieldType::Json) => Operand::Text(text.to_owned()),
        ColumnType::Field(FieldType::Integer) => Operand::Integer(trimmed.parse().map_err(|error| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let error: std::num::ParseIntError = error;
            let range = matches!(error.kind(), NegOverflow | PosOverflow);
            wrong(if range { "22003" } else { "22P02" }, "a whole number of 64 bits")
        })?),
        ColumnType::Field(FieldType::Float) => {
            let number: f64 = trimmed.parse().map_err(|_| wrong("22P02", "a number"))?;
            if !number.is_finite() {
                return Err(wrong("22003", "a finite number"));
            }
            Operand::Float(number)
        }
        ColumnType::Field(FieldType::Boolean) => {
            Operand::Boolean(truth(trimmed).ok_or_else(|| wrong("22P02", "true or false"))?)
        }
        ColumnType::Field(FieldType::Timestamp) => Operand::Timestamp(
            moment(trimmed)
                .ok_or_else(|| wrong("22007", "an RFC 3339 time such as 2026-01-31T12:00:00Z, or a date"))?,
        ),
        ColumnType::Field(FieldType::Decimal) => Operand::Decimal(trimmed.parse().map_err(|error| {
            let code = if error == InvalidDecimal::TooLong { "22003" } else { "22P02" };
            wrong(code, "a number of at most 38 digits")
        })?),
        ColumnType::Field(FieldType::Date) => {
            Operand::Date(parse_date(trimmed).ok_or_else(|| wrong("22007", "a date such as 2026-01-31"))?)
        }
        ColumnType::Field(FieldType::Texts) => Operand::Texts(texts(column, text)?),
        ColumnType::Field(FieldType::Uuid) | ColumnType::Uuid => {
            Operand::Uuid(trimmed.parse().map_err(|_| wrong("22P02", "a UUID"))?)
        }
    })
}

/// A moment, cut to the microsecond as stored ones are. Without an offset it
/// is in UTC. A `+` before an offset that was not written as `%2B` has become
/// a space, which can mean nothing else there.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let date_only = text.len() == 10 && text.as_bytes()[4] == b'-';
    let moment = parse_rfc3339(text)
        .or_else(|| parse_time(text).filter(|_| date_only))
        .or_else(|| parse_rfc3339(&format!("{text}Z")))
        .or_else(|| {
            let (moment, offset) = text.rsplit_once(' ')?;
            parse_rfc3339(&format!("{moment}+{offset}"))
        })?;
    Timestamp::from_microsecond(moment.as_microsecond()).ok()
}
