//! A whole query string.

use std::fmt::Write;

use super::logic::{self, Budget};
use super::params::{pairs, shorten};
use super::select::{columns_of, names_of, order_of};
use super::show::commas;
use super::{Condition, Item, Output, Term};
use crate::error::Error;
use crate::options::Options;

/// How large a query may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The longest query string, in bytes.
    pub(crate) bytes: usize,
    /// The deepest nesting of `and` and `or`.
    pub(crate) depth: usize,
    /// The most conditions.
    pub(crate) conditions: usize,
    /// The most values of all `in` lists.
    pub(crate) values: usize,
}

impl From<&Options> for Bounds {
    fn from(options: &Options) -> Self {
        Self {
            bytes: options.query_bytes,
            depth: options.depth,
            conditions: options.conditions,
            values: options.values,
        }
    }
}

/// Which parameters a route takes, beside conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// All of them: `/rest`.
    Everything,
    /// `limit` and `offset`: what a view leaves to its caller.
    Page,
    /// None: the filter of a view's definition.
    Conditions,
}

/// A query string, read but not yet typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// What is asked for; `None` is `*`.
    pub(crate) select: Option<Vec<Item>>,
    /// All of these hold.
    pub(crate) conditions: Vec<Condition>,
    /// Of these, the newest of each value of these columns; all where there are none.
    pub(crate) latest: Vec<String>,
    /// In which order.
    pub(crate) order: Vec<Term>,
    /// At most this many rows.
    pub(crate) limit: Option<u64>,
    /// After this many rows.
    pub(crate) offset: u64,
    /// Where to go on reading, as an earlier answer said; or `start`.
    pub(crate) cursor: Option<String>,
}

impl Query {
    /// Reads a query string.
    ///
    /// # Errors
    /// `Invalid` for what cannot be read, is not supported or exceeds the bounds.
    pub(crate) fn parse(text: &str, bounds: Bounds, allowed: Allowed) -> Result<Self, Error> {
        let mut query = Self::default();
        let mut budget = Budget { depth: bounds.depth, conditions: bounds.conditions, values: bounds.values };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in pairs(text, bounds.bytes)? {
            let once = matches!(name.as_str(), "select" | "order" | "limit" | "offset" | "cursor" | "latest");
            if once {
                refuse(&name, allowed)?;
                if seen.contains(&name) {
                    return Err(Error::syntax(format!("parameter {name} is given twice")));
                }
                seen.push(name.clone());
            }
            match name.as_str() {
                "select" => query.select = Some(columns_of(&value)?),
                "order" => query.order = order_of(&value, bounds.conditions)?,
                "limit" => query.limit = Some(number(&name, &value)?),
                "offset" => query.offset = number(&name, &value)?,
                "cursor" => query.cursor = Some(value),
                "latest" => query.latest = names_of(&value)?,
                "and" | "or" | "not.and" | "not.or" => {
                    let all = name.ends_with("and");
                    query.conditions.push(logic::group(name.starts_with("not."), all, &value, &mut budget)?);
                }
                _ => query.conditions.push(logic::horizontal(&name, &value, &mut budget)?),
            }
        }
        Ok(query)
    }

    /// All rows, of which these columns are asked for.
    ///
    /// # Errors
    /// `Invalid` for what cannot be read.
    pub(crate) fn selecting(select: Option<&str>) -> Result<Self, Error> {
        let select = select.map(columns_of).transpose()?;
        if select
            .iter()
            .flatten()
            .any(|item| matches!(item, Item::One { output: Output::Rows | Output::Of(..), .. }))
        {
            return Err(Error::syntax("select: rows that were written are not grouped"));
        }
        Ok(Self { select, ..Self::default() })
    }

    /// A text that is the same for queries that differ in the order or the
    /// repetition of their conditions only, and different for all others.
    pub(crate) fn canonical(&self) -> String {
        let mut conditions: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        conditions.sort_unstable();
        conditions.dedup();
        let mut text = String::with_capacity(64);
        let written: std::fmt::Result = (|| {
            text.push_str("and(");
            commas(&mut text, &conditions)?;
            text.push_str(") select=");
            match &self.select {
                None => text.push('*'),
                Some(items) => commas(&mut text, items)?,
            }
            text.push_str(" order=");
            commas(&mut text, &self.order)?;
            // In quotes, so that no name looks like two.
            write!(text, " latest={:?}", self.latest)?;
            write!(text, " offset={}", self.offset)?;
            if let Some(limit) = self.limit {
                write!(text, " limit={limit}")?;
            }
            match &self.cursor {
                Some(cursor) => write!(text, " cursor={cursor:?}"),
                None => Ok(()),
            }
        })();
        written.expect("a string takes any text");
        text
    }
}

fn refuse(name: &str, allowed: Allowed) -> Result<(), Error> {
    let page = matches!(name, "limit" | "offset");
    match allowed {
        Allowed::Everything => Ok(()),
        Allowed::Page if page => Ok(()),
        Allowed::Page => {
            Err(Error::syntax(format!("a view does not take the parameter {name}: it is fixed"))
                .hint("a view takes conditions on its columns, limit and offset; /rest takes everything"))
        }
        Allowed::Conditions => {
            Err(Error::syntax(format!("{name} does not belong into the filter of a view")))
        }
    }
}

fn number(name: &str, text: &str) -> Result<u64, Error> {
    let whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Engines count in signed 64-bit integers.
    text.parse()
        .ok()
        .filter(|number| whole && *number <= i64::MAX.unsigned_abs())
        .ok_or_else(|| Error::syntax(format!("{name}={:?}: expected a whole number from 0", shorten(text))))
}
