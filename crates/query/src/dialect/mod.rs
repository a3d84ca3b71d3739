//! The PostgREST dialect: a query string as a tree, and the tree as a typed
//! [`Select`](orderwire_store::Select).
//!
//! Reading and typing are two steps. [`Query`] knows only the grammar; its
//! text ([`Query::canonical`]) is the same for queries that mean the same, and
//! different for others, so it serves as a cache key. [`Columns`] knows what a
//! dataset has and gives every operand the type of its column.

mod cast;
mod columns;
mod field;
mod logic;
mod params;
mod query;
mod resolve;
mod scan;
mod select;
mod show;

pub(crate) use cast::{Cast, Casted, text_of};
pub(crate) use columns::Named;
pub(crate) use columns::{ColumnType, Columns};
pub(crate) use field::Field;
pub(crate) use params::pairs;
pub(crate) use query::{Allowed, Query};
pub(crate) use resolve::{fits, operand, picked_order};
pub(crate) use select::order_of;

use orderwire_store::Aggregate;
use orderwire_types::dataset::Span;

/// A condition as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// A test of one column.
    Test {
        /// The column, as written.
        column: Field,
        /// Whether `not.` stands before the operator.
        negated: bool,
        /// What is tested.
        test: Test,
    },
    /// Several conditions.
    Group {
        /// Whether `not.` stands before it.
        negated: bool,
        /// `and` or `or`.
        all: bool,
        /// The conditions, one at least.
        of: Vec<Condition>,
    },
}

/// A test of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// An operator with one operand.
    Binary(Operator, String),
    /// The same with each of several: `op(any)`, `op(all)`.
    Each(Operator, Each, Vec<String>),
    /// `in`: one of these.
    In(Vec<String>),
    /// `is`.
    Is(Is),
}

/// For how many operands of several a comparison has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Each {
    /// `any`
    Any,
    /// `all`
    All,
}

/// An operator with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `eq`
    Eq,
    /// `neq`
    Neq,
    /// `gt`
    Gt,
    /// `gte`
    Gte,
    /// `lt`
    Lt,
    /// `lte`
    Lte,
    /// `like`
    Like,
    /// `ilike`
    ILike,
    /// `match`
    Match,
    /// `imatch`
    IMatch,
    /// `isdistinct`
    IsDistinct,
    /// `cs`
    Contains,
    /// `cd`
    ContainedBy,
    /// `ov`
    Overlaps,
}

/// What `is` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    /// `null`
    Null,
    /// `not_null`
    NotNull,
    /// `true`
    True,
    /// `false`
    False,
    /// `unknown`: null, of a boolean column.
    Unknown,
}

impl Operator {
    const ALL: [(&'static str, Self); 14] = [
        ("eq", Self::Eq),
        ("neq", Self::Neq),
        ("gt", Self::Gt),
        ("gte", Self::Gte),
        ("lt", Self::Lt),
        ("lte", Self::Lte),
        ("like", Self::Like),
        ("ilike", Self::ILike),
        ("match", Self::Match),
        ("imatch", Self::IMatch),
        ("isdistinct", Self::IsDistinct),
        ("cs", Self::Contains),
        ("cd", Self::ContainedBy),
        ("ov", Self::Overlaps),
    ];

    /// Whether it may have `(any)` or `(all)`.
    fn takes_each(self) -> bool {
        !matches!(self, Self::Neq | Self::IsDistinct | Self::Contains | Self::ContainedBy | Self::Overlaps)
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }

    /// The name in the dialect.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, operator)| *operator == self).expect("every operator is listed").0
    }
}

impl Each {
    const ALL: [(&'static str, Self); 2] = [("any", Self::Any), ("all", Self::All)];

    /// The name in the dialect.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, each)| *each == self).expect("both are listed").0
    }
}

impl Is {
    const ALL: [(&'static str, Self); 5] = [
        ("null", Self::Null),
        ("not_null", Self::NotNull),
        ("true", Self::True),
        ("false", Self::False),
        ("unknown", Self::Unknown),
    ];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, is)| *is)
    }

    /// The name in the dialect.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, is)| *is == self).expect("every value is listed").0
    }
}

/// An entry of `select`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// `*`: the dataset's own columns.
    All,
    /// One column of the answer.
    One {
        /// What it is.
        output: Output,
        /// What it becomes at last.
        cast: Option<Cast>,
        /// Its name in the answer, if another.
        alias: Option<String>,
    },
}

/// What a column of an answer is, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A column, or a part of one.
    Field(Field),
    /// `count()`: how many rows.
    Rows,
    /// An aggregate of a column.
    Of(Aggregate, Field),
    /// The bucket of time that a column lies in.
    Bucket(Span, Field),
}

impl Item {
    /// A column as it is.
    pub(crate) fn column(name: &str) -> Self {
        Self::One { output: Output::Field(Field::column(name)), cast: None, alias: None }
    }
}

/// An entry of `order`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The column, as written.
    pub(crate) column: Field,
    /// Greatest first?
    pub(crate) descending: bool,
    /// Whether nulls come first, if it is said.
    pub(crate) nulls_first: Option<bool>,
}

#[cfg(test)]
mod tests;
