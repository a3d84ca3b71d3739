//! Lists in pages.

use std::str::FromStr;

use orderwire_types::Fault;

use crate::problem::Problem;

/// The size of a page by default, and at most.
const SIZE: usize = 100;
const SIZE_MAX: usize = 1_000;

/// How many entries a page has.
pub fn size(limit: Option<usize>) -> usize {
    limit.unwrap_or(SIZE).clamp(1, SIZE_MAX)
}

/// The cursor that a caller sends back.
///
/// # Errors
/// 422 when it is none.
pub fn cursor<T: FromStr>(after: Option<String>) -> Result<Option<T>, Problem> {
    let read = |after: String| {
        after.parse().map_err(|_| Fault::invalid("", "the query of the URL: after is no cursor").into())
    };
    after.map(read).transpose()
}

/// Cuts what was read with one more than asked for; the cursor of the next page.
pub fn cut<T, C: ToString>(items: &mut Vec<T>, size: usize, cursor: impl Fn(&T) -> C) -> Option<String> {
    let more = items.len() > size;
    items.truncate(size);
    items.last().filter(|_| more).map(|last| cursor(last).to_string())
}
