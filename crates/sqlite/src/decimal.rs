//! How decimals compare: they are stored as texts, with the digits that they were given.

use std::cmp::Ordering;

use rusqlite::Connection;

/// Makes the collation `ow_decimal` known, which puts decimals in the order of their values:
/// every connection needs it, because indexes are built and searched by it.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_collation("ow_decimal", compare)
}

/// Compares two numbers as [`Decimal`](orderwire_types::Decimal) writes them: without exponent,
/// without zeros before the first digit. What is none compares as a text.
fn compare(a: &str, b: &str) -> Ordering {
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (None, None) => size(a, b),
        (Some(a), Some(b)) => size(b, a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
    }
}

fn size(a: &str, b: &str) -> Ordering {
    let parts = |number| -> (&str, &str) { str::split_once(number, '.').unwrap_or((number, "")) };
    let ((whole, fraction), (others_whole, others_fraction)) = (parts(a), parts(b));
    whole
        .len()
        .cmp(&others_whole.len())
        .then_with(|| whole.cmp(others_whole))
        .then_with(|| fraction.trim_end_matches('0').cmp(others_fraction.trim_end_matches('0')))
}

#[cfg(test)]
mod tests {
    use orderwire_types::Decimal;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_compare_as_their_numbers(a in "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?", b in "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?") {
            let number = |text: &str| text.parse::<Decimal>().unwrap();
            let (a, b) = (number(&a), number(&b));
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), a.cmp(&b));
        }
    }
}
