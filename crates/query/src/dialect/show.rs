//! The canonical text of what was read: read again, it gives the same tree.

use std::fmt::{self, Display, Formatter};

use orderwire_types::array;

use super::{Condition, Item, Output, Term, Test};

/// A text in double quotes.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test { column, negated, test } => {
                write!(f, "{column}.{}{test}", if *negated { "not." } else { "" })
            }
            Self::Group { negated, all, of } => {
                f.write_str(if *negated { "not." } else { "" })?;
                f.write_str(if *all { "and(" } else { "or(" })?;
                commas(f, of)?;
                f.write_str(")")
            }
        }
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(operator, value) => write!(f, "{}.{}", operator.name(), Quoted(value)),
            Self::Each(operator, each, values) => {
                write!(f, "{}({}).{}", operator.name(), each.name(), Quoted(&array::to_literal(values)))
            }
            Self::In(values) => {
                f.write_str("in.(")?;
                commas(f, values.iter().map(|value| Quoted(value)))?;
                f.write_str(")")
            }
            Self::Is(is) => write!(f, "is.{}", is.name()),
        }
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::One { output, cast, alias } => {
                if let Some(alias) = alias {
                    write!(f, "{}:", Quoted(alias))?;
                }
                match output {
                    Output::Field(field) => field.fmt(f)?,
                    Output::Rows => f.write_str("count()")?,
                    Output::Of(aggregate, field) => write!(f, "{field}.{}()", aggregate.name())?,
                    Output::Bucket(span, field) => write!(f, "{field}.bucket({span})")?,
                }
                cast.map_or(Ok(()), |cast| write!(f, "::{}", cast.name()))
            }
        }
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.column, if self.descending { ".desc" } else { ".asc" })?;
        match self.nulls_first {
            None => Ok(()),
            Some(true) => f.write_str(".nullsfirst"),
            Some(false) => f.write_str(".nullslast"),
        }
    }
}

pub(super) fn commas<T: Display>(f: &mut impl fmt::Write, items: impl IntoIterator<Item = T>) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_char(',')?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}
