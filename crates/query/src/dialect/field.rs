//! A column or the way to a part of it: `raw`, `raw->a->0`, `raw->>"b.c"`.

use std::fmt::{self, Display, Formatter};

use orderwire_store::Arrow;

use super::scan::Scan;
use super::show::Quoted;
use crate::error::Error;

/// More than anybody nests.
const ARROWS_MAX: usize = 32;

/// A column, or the way to a part of it, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    /// The column.
    pub(crate) name: String,
    /// The way from there, if a part is meant.
    pub(crate) path: Vec<Arrow>,
    /// Whether the last arrow is `->>`.
    pub(crate) as_text: bool,
}

impl Field {
    /// A column as a whole.
    pub(crate) fn column(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A text that is a field and nothing else.
    pub(super) fn of(text: &str) -> Result<Self, Error> {
        let mut scan = Scan::new(text);
        let field = Self::read(&mut scan, &[])?;
        match scan.rest() {
            "" => Ok(field),
            rest if rest.starts_with("::") => Err(casts(text)),
            _ => Err(scan.fault("the end")),
        }
    }

    /// Reads a field, of which unquoted parts end before one of these characters.
    pub(super) fn read(scan: &mut Scan<'_>, ends: &[char]) -> Result<Self, Error> {
        let mut field = Self::column(word(scan, ends)?);
        while !field.as_text && scan.rest().starts_with("->") {
            if field.path.len() == ARROWS_MAX {
                return Err(scan.fault(&format!("at most {ARROWS_MAX} arrows")));
            }
            field.as_text = scan.take("->>");
            if !field.as_text {
                scan.take("->");
            }
            let is_quoted = scan.rest().starts_with('"');
            let key = word(scan, ends)?;
            field.path.push(match place(&key) {
                Some(_) if is_quoted => Arrow::Member(key),
                Some(place) => Arrow::Element(place.map_err(|_| scan.fault("a place of 32 bits"))?),
                None => Arrow::Member(key),
            });
        }
        Ok(field)
    }

    /// The name of its value in an answer: the last member on the way, else the column.
    pub(crate) fn own_name(&self) -> &str {
        let member = self.path.iter().rev().find_map(|arrow| match arrow {
            Arrow::Member(name) => Some(name.as_str()),
            Arrow::Element(_) => None,
        });
        member.unwrap_or(&self.name)
    }

    /// Its last word, where that may be followed by something else.
    pub(super) fn last_word(&mut self) -> Option<&mut String> {
        match self.path.last_mut() {
            None => Some(&mut self.name),
            Some(Arrow::Member(name)) => Some(name),
            Some(Arrow::Element(_)) => None,
        }
    }
}

/// A word, in quotes or without.
fn word(scan: &mut Scan<'_>, ends: &[char]) -> Result<String, Error> {
    if let Some(word) = scan.quoted() {
        return Ok(word);
    }
    let word = scan.until_text(ends, &["->", "::"]).trim();
    if word.is_empty() {
        return Err(scan.fault("the name of a column"));
    }
    Ok(word.to_owned())
}

/// The place of an element, where a key is one.
fn place(key: &str) -> Option<Result<i32, std::num::ParseIntError>> {
    let digits = key.strip_prefix('-').unwrap_or(key);
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| key.parse())
}

/// Casts where there are none.
fn casts(text: &str) -> Error {
    Error::syntax(format!("{:?}: casts are for select alone", super::params::shorten(text)))
        .hint("operands are read in the type of their column")
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Quoted(&self.name).fmt(f)?;
        for (i, arrow) in self.path.iter().enumerate() {
            let last = i + 1 == self.path.len();
            f.write_str(if last && self.as_text { "->>" } else { "->" })?;
            match arrow {
                Arrow::Member(name) => Quoted(name).fmt(f)?,
                Arrow::Element(place) => place.fmt(f)?,
            }
        }
        Ok(())
    }
}
