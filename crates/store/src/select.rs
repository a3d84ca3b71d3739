//! A read of a dataset as a tree: parsed and typed by the query side, turned
//! into the engine's language by the engine. Values are always bound, never
//! written into a statement.

use jiff::Timestamp;
use jiff::civil::Date;
use orderwire_types::{DatasetName, Decimal};
use uuid::Uuid;

use crate::expr::{Expr, Value};

/// A read of one dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// The dataset.
    pub dataset: DatasetName,
    /// The columns, in order: of the dataset or hidden. An engine answers
    /// `Invalid` to any other name. Where one of them is an aggregate, the rows are
    /// grouped: those whose other columns are equal become one, and without other columns
    /// all of them do, also where there is none. A decimal that they have in common is without
    /// zeros at the end of its fraction, because equal ones may have several.
    pub columns: Vec<Column>,
    /// Which rows.
    pub filter: Filter,
    /// Of these, only the newest of each client and of each value of these columns: by the
    /// dataset's time (rows without one last), those of the same time by `_seq`. Without a column,
    /// all of them. The columns are no json.
    pub latest: Vec<String>,
    /// In which order; ties and the end of the list go by `_seq`. Groups are ordered by columns of
    /// the answer alone, ties by the rest of what they are made of, in the order of the columns,
    /// nulls last.
    pub order: Vec<OrderBy>,
    /// At most this many rows or groups.
    pub limit: usize,
    /// After this many.
    pub offset: u64,
    /// Whether to count all rows or groups that match.
    pub count: Count,
}

impl Select {
    /// Whether rows are grouped.
    pub fn is_grouped(&self) -> bool {
        self.columns.iter().any(|column| !matches!(column.value, Value::Row(_)))
    }
}

/// A column of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it holds.
    pub value: Value,
    /// Its name in the answer.
    pub alias: String,
}

impl Column {
    /// A column of the dataset under this name.
    pub fn named(name: impl Into<String>, alias: impl Into<String>) -> Self {
        Self { value: Value::Row(Expr::Column(name.into())), alias: alias.into() }
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them hold; an empty list always does.
    And(Vec<Filter>),
    /// One of them holds; an empty list never does.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// What is read of a row, one after the other, is not before these values: where rows are
    /// ordered by it, this is where reading goes on. None of it can be null, and all of it
    /// runs in one direction.
    From {
        /// What is read of a row, with its value: one at least.
        values: Vec<(Expr, Operand)>,
        /// Whether the greatest come first.
        descending: bool,
    },
    /// A comparison of a column. As in SQL, a comparison with null is unknown,
    /// and neither it nor its `Not` holds.
    Compare {
        /// The column, or what is read of it.
        column: Expr,
        /// How.
        compare: Compare,
    },
}

/// A comparison. Text compares by code point (collation C).
#[derive(Clone, Debug, PartialEq)]
pub enum Compare {
    /// Equal.
    Eq(Operand),
    /// Not equal.
    Neq(Operand),
    /// Greater.
    Gt(Operand),
    /// Greater or equal.
    Gte(Operand),
    /// Less.
    Lt(Operand),
    /// Less or equal.
    Lte(Operand),
    /// One of these.
    In(Vec<Operand>),
    /// A pattern over text: `%` any run, `_` one character, `\` quotes the next.
    Like {
        /// The pattern.
        pattern: String,
        /// Whether case is ignored (Unicode simple folding).
        ignore_case: bool,
    },
    /// A [regular expression](crate::regular) matches a part of the text.
    Match {
        /// The expression.
        pattern: String,
        /// Whether case is ignored (Unicode simple folding).
        ignore_case: bool,
    },
    /// Not equal, with null as if it were a value: never unknown.
    Distinct(Operand),
    /// A list has all of these; any has all of none.
    Contains(Vec<String>),
    /// A list has no other than these.
    ContainedBy(Vec<String>),
    /// A list has one of these.
    Overlaps(Vec<String>),
    /// A json document [contains](crate::contain) this one, which is a [`Document`](crate::contain::Document);
    /// unknown for one that is none.
    ContainsJson(String),
    /// The other way round.
    ContainedByJson(String),
    /// Is null.
    IsNull,
    /// Is true or false, never unknown.
    Is(bool),
}

/// A value of the column's own type.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// For text columns, and json compared as text.
    Text(String),
    /// For integer columns, `_seq` included.
    Integer(i64),
    /// For float columns.
    Float(f64),
    /// For decimal columns.
    Decimal(Decimal),
    /// For boolean columns.
    Boolean(bool),
    /// For timestamp columns, `_recorded_at` included.
    Timestamp(Timestamp),
    /// For date columns.
    Date(Date),
    /// For uuid columns, `_event_id` and `_trace_id`.
    Uuid(Uuid),
    /// For lists of texts, which are compared for equality alone.
    Texts(Vec<String>),
}

/// An order of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The column, or what is read of it; of groups also an aggregate.
    pub column: Value,
    /// Greatest first?
    pub descending: bool,
    /// Where nulls stand.
    pub nulls: Nulls,
}

/// Where nulls stand in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// Before all values.
    First,
    /// After all values.
    Last,
}

/// Whether a read counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Count {
    /// No.
    #[default]
    None,
    /// All rows that match, whatever the limit.
    Exact,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Rows handed to the sink.
    pub rows: u64,
    /// Rows that match, when asked for.
    pub total: Option<u64>,
    /// Whether the sink stopped the read before the limit or the end.
    pub cut: bool,
}

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// Text.
    Text(&'a str),
    /// An integer.
    Integer(i64),
    /// A finite float.
    Float(f64),
    /// An exact number, with the digits that it was given.
    Decimal(Decimal),
    /// A boolean.
    Boolean(bool),
    /// A moment.
    Timestamp(Timestamp),
    /// A day.
    Date(Date),
    /// An id.
    Uuid(Uuid),
    /// JSON, digit for digit.
    Json(&'a str),
    /// A list of texts, as a JSON array without white space.
    Texts(&'a str),
}

/// Takes rows one at a time, on a thread of the engine's or on the task of the call: must not
/// block.
pub trait RowSink: Send {
    /// Takes one row, its cells in the order of [`Select::columns`]. Returns
    /// whether it wants more; with false the row was not taken.
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool;
}
