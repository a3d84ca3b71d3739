//! From what is written to what the store reads: names become columns,
//! operands get the type of their column.

use jiff::Timestamp;
use orderwire_store::{Column, Compare, Filter, Nulls, Operand, OrderBy};
use orderwire_types::dataset::FieldType;
use orderwire_types::envelope::{parse_rfc3339, parse_time};

use super::columns::{ColumnType, Columns, Named};
use super::params::shorten;
use super::{Condition, Is, Item, Operator, Term, Test};
use crate::error::{Error, ErrorKind};

impl Columns {
    /// All conditions as one filter.
    pub(crate) fn filter(&self, conditions: &[Condition]) -> Result<Filter, Error> {
        Ok(Filter::And(
            conditions.iter().map(|condition| self.condition(condition)).collect::<Result<_, _>>()?,
        ))
    }

    /// The columns of an answer.
    pub(crate) fn select(&self, items: Option<&[Item]>) -> Result<Vec<Column>, Error> {
        let mut columns: Vec<Column> = Vec::new();
        let mut push = |name: &str, alias: &str| {
            if columns.iter().any(|column| column.alias == alias) {
                let message = format!("select names {:?} twice", shorten(alias));
                return Err(Error::syntax(message).hint("give one of them another name: alias:column"));
            }
            columns.push(Column { name: name.to_owned(), alias: alias.to_owned() });
            Ok(())
        };
        for item in items.unwrap_or(&[Item::All]) {
            match item {
                Item::All => self.own().try_for_each(|column| push(&column.name, &column.shown))?,
                Item::Column { name, alias } => {
                    push(&self.find(name)?.name, alias.as_ref().unwrap_or(name))?;
                }
            }
        }
        Ok(columns)
    }

    /// The order of an answer. Nulls stand where PostgreSQL puts them: as if
    /// they were greater than every value.
    pub(crate) fn order(&self, terms: &[Term]) -> Result<Vec<OrderBy>, Error> {
        terms
            .iter()
            .map(|term| {
                let column = self.find(&term.column)?;
                if column.of == ColumnType::Field(FieldType::Json) {
                    let message = format!("order: column {} is json, which has no order", column.shown);
                    return Err(Error::new(ErrorKind::Invalid, "42883", message));
                }
                let nulls_first = term.nulls_first.unwrap_or(term.descending);
                Ok(OrderBy {
                    column: column.name.clone(),
                    descending: term.descending,
                    nulls: if nulls_first { Nulls::First } else { Nulls::Last },
                })
            })
            .collect()
    }

    fn condition(&self, condition: &Condition) -> Result<Filter, Error> {
        let (negated, filter) = match condition {
            Condition::Test { column, negated, test } => (*negated, tested(self.find(column)?, test)?),
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
        Test::Binary(operator @ (Operator::Like | Operator::ILike), text) => Compare::Like {
            pattern: pattern(column, *operator, text)?,
            ignore_case: *operator == Operator::ILike,
        },
        Test::Binary(operator, text) => {
            comparable(column, *operator)?;
            let operand = operand(column, text)?;
            match operator {
                Operator::Eq => Compare::Eq(operand),
                Operator::Neq => Compare::Neq(operand),
                Operator::Gt => Compare::Gt(operand),
                Operator::Gte => Compare::Gte(operand),
                Operator::Lt => Compare::Lt(operand),
                Operator::Lte | Operator::Like | Operator::ILike => Compare::Lte(operand),
            }
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
                    let null = Filter::Compare { column: column.name.clone(), compare };
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
    Ok(Filter::Compare { column: column.name.clone(), compare })
}

fn comparable(column: &Named, operator: Operator) -> Result<(), Error> {
    let equality = matches!(operator, Operator::Eq | Operator::Neq);
    if column.of == ColumnType::Field(FieldType::Json) && !equality {
        return Err(mismatch(
            column,
            operator.name(),
            "a column that is not json (eq, neq, in and is.null work)",
        ));
    }
    Ok(())
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

fn operand(column: &Named, text: &str) -> Result<Operand, Error> {
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
        ColumnType::Field(FieldType::Boolean) => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Operand::Boolean(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Operand::Boolean(false),
            _ => return Err(wrong("22P02", "true or false")),
        },
        ColumnType::Field(FieldType::Timestamp) => Operand::Timestamp(
            moment(trimmed)
                .ok_or_else(|| wrong("22007", "an RFC 3339 time such as 2026-01-31T12:00:00Z, or a date"))?,
        ),
        ColumnType::Uuid => Operand::Uuid(trimmed.parse().map_err(|_| wrong("22P02", "a UUID"))?),
    })
}

/// A moment, cut to the microsecond as stored ones are. Without an offset it
/// is in UTC. A `+` before an offset that was not written as `%2B` has become
/// a space, which can mean nothing else there.
fn moment(text: &str) -> Option<Timestamp> {
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
