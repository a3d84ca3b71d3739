//! What is read of a row, and of several rows: once for every engine.

use std::fmt;

use orderwire_types::dataset::DatasetDef;

use crate::error::{Error, ErrorKind};
use crate::typed::{Kind, Known, column};

/// What is read of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A column, of the dataset or hidden.
    Column(String),
    /// A part of a json column, digit for digit; null where there is none. Of several members
    /// of one name it is the last. A document that holds what no text can, `\u0000` or
    /// half of a surrogate pair, has no parts.
    Part {
        /// The column.
        column: String,
        /// The way to the part.
        path: Vec<Arrow>,
        /// Whether it is text: a string without its quotes, `null` as null, all else as it
        /// is written. Otherwise it is json.
        as_text: bool,
    },
    /// The beginning of the bucket of time that a timestamp lies in. Buckets are equally
    /// long, and one begins with 1970.
    Bucket {
        /// The column.
        column: String,
        /// The length of a bucket in microseconds, more than 0.
        micros: i64,
    },
}

/// One step into a json value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrow {
    /// The member of this name.
    Member(String),
    /// The element at this place, from 0; below it counts from the end, -1 is the last.
    Element(i32),
}

/// What a column of an answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Something of each row, or what the rows of a group have in common.
    Row(Expr),
    /// How many rows there are.
    Rows,
    /// An aggregate of the values of rows; nulls are left out.
    Of(Aggregate, Expr),
}

/// What becomes of many values. Of none all are null, but the count, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// How many there are.
    Count,
    /// Their sum: of integers and decimals exact, a JSON number of any size, with as many digits
    /// behind the point as the decimal that has most; of floats added as they are read, so that
    /// the last digits depend on the order. `Invalid` beyond the range.
    Sum,
    /// The sum, as a float, by the count.
    Avg,
    /// The least; a decimal without zeros at the end of its fraction, because equal ones may have
    /// several.
    Min,
    /// The greatest, as the least.
    Max,
}

impl Aggregate {
    /// Its name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

impl Expr {
    /// The column that is read.
    pub fn column(&self) -> &str {
        match self {
            Self::Column(name) | Self::Part { column: name, .. } | Self::Bucket { column: name, .. } => name,
        }
    }

    /// Whether it is this column as it is.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Column(column) if column == name)
    }

    /// The type of its values.
    ///
    /// # Errors
    /// `Invalid` for a column that is not there, or not of the type that this needs.
    pub fn known(&self, def: &DatasetDef) -> Result<Known, Error> {
        let name = self.column();
        let known = column(def, name).ok_or_else(|| invalid(&format!("no column {name:?}")))?;
        match self {
            Self::Column(_) => Ok(known),
            Self::Part { as_text, .. } => {
                needs(name, known.kind, &[Kind::Json], "a part")?;
                Ok(Known { kind: if *as_text { Kind::Text } else { Kind::Json }, nullable: true })
            }
            Self::Bucket { micros, .. } => {
                needs(name, known.kind, &[Kind::Timestamp], "a bucket")?;
                match *micros > 0 {
                    true => Ok(known),
                    false => Err(invalid(&format!("a bucket of {name:?} has no length"))),
                }
            }
        }
    }
}

impl From<String> for Expr {
    fn from(column: String) -> Self {
        Self::Column(column)
    }
}

impl From<&str> for Expr {
    fn from(column: &str) -> Self {
        Self::Column(column.to_owned())
    }
}

impl<T: Into<Expr>> From<T> for Value {
    fn from(expr: T) -> Self {
        Self::Row(expr.into())
    }
}

/// As it is named to callers.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(expr) => write!(f, "{:?}", expr.column()),
            Self::Rows => f.write_str("count()"),
            Self::Of(aggregate, expr) => write!(f, "{:?}.{}()", expr.column(), aggregate.name()),
        }
    }
}

impl Value {
    /// Whether it is this column of each row as it is.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Row(expr) if expr.is(name))
    }

    /// What is read of each row.
    ///
    /// # Errors
    /// `Invalid` for an aggregate, which single rows do not have.
    pub fn of_a_row(&self) -> Result<&Expr, Error> {
        match self {
            Self::Row(expr) => Ok(expr),
            Self::Rows | Self::Of(..) => Err(invalid("single rows have no aggregate")),
        }
    }

    /// The type of what it holds.
    ///
    /// # Errors
    /// `Invalid` where there is none.
    pub fn kind(&self, def: &DatasetDef) -> Result<Kind, Error> {
        let (aggregate, expr) = match self {
            Self::Row(expr) => return Ok(expr.known(def)?.kind),
            Self::Rows => return Ok(Kind::Integer),
            Self::Of(aggregate, expr) => (aggregate, expr),
        };
        let (kind, name) = (expr.known(def)?.kind, expr.column());
        match aggregate {
            Aggregate::Count => Ok(Kind::Integer),
            Aggregate::Sum | Aggregate::Avg => {
                needs(name, kind, &NUMBERS, aggregate.name())?;
                Ok(match (aggregate, kind) {
                    (Aggregate::Sum, Kind::Integer | Kind::Decimal) => Kind::Json,
                    _ => Kind::Float,
                })
            }
            Aggregate::Min | Aggregate::Max => {
                needs(name, kind, &ORDERED, aggregate.name())?;
                Ok(kind)
            }
        }
    }
}

/// The types that are added up.
pub const NUMBERS: [Kind; 3] = [Kind::Integer, Kind::Float, Kind::Decimal];

/// The types of which there is a least and a greatest value.
pub const ORDERED: [Kind; 6] =
    [Kind::Integer, Kind::Float, Kind::Decimal, Kind::Text, Kind::Timestamp, Kind::Date];

fn needs(name: &str, kind: Kind, wanted: &[Kind], what: &str) -> Result<(), Error> {
    if wanted.contains(&kind) {
        return Ok(());
    }
    let kind = format!("{kind:?}").to_lowercase();
    Err(invalid(&format!("{what} of column {name:?}: there is none of the type {kind}")))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("reading a dataset: {message}"))
}
