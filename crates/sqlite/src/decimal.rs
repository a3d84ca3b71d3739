//! How decimals compare, and what becomes of several: they are stored as texts, with the digits that
//! they were given.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use orderwire_types::Decimal;
use orderwire_types::decimal::DECIMAL_DIGITS;
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

/// The same number without zeros at the end of its fraction; `None` for what is none.
pub(crate) fn plain(number: &str) -> Option<String> {
    Some(number.parse::<Decimal>().ok()?.normalized().to_string())
}

/// How many digits a group of a sum has: half of those of a number.
const GROUP_DIGITS: usize = DECIMAL_DIGITS / 2;

const GROUP: i128 = 10i128.pow(19);

/// The sum of decimals, exact whatever its size.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    /// Its digits by groups, two before the point and two behind it. Until it is shown, each has
    /// a sign of its own and takes more than its digits: the numbers of more rows than there can be.
    groups: [i128; 4],
    /// The most digits behind the point of a number.
    scale: u8,
}

impl Sum {
    /// With one number more; `None` for what is none.
    pub(crate) fn plus(mut self, number: &str) -> Option<Self> {
        let number: Decimal = number.parse().ok()?;
        let unit = 10i128.pow(number.scale().into());
        let behind = DECIMAL_DIGITS - usize::from(number.scale());
        let whole = number.unscaled() / unit;
        let fraction = number.unscaled() % unit * 10i128.pow(u32::try_from(behind).ok()?);
        let parts = [whole / GROUP, whole % GROUP, fraction / GROUP, fraction % GROUP];
        self.groups.iter_mut().zip(parts).for_each(|(group, part)| *group += part);
        self.scale = self.scale.max(number.scale());
        Some(self)
    }

    /// The float that is nearest.
    pub(crate) fn to_f64(self) -> f64 {
        self.to_string().parse().expect("digits with a point are a float")
    }
}

/// With what is beyond a group in the one before it; only the first may be below zero.
fn carried(mut groups: [i128; 4]) -> [i128; 4] {
    for i in (1..groups.len()).rev() {
        groups[i - 1] += groups[i].div_euclid(GROUP);
        groups[i] = groups[i].rem_euclid(GROUP);
    }
    groups
}

impl Display for Sum {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut groups = carried(self.groups);
        if groups[0] < 0 {
            f.write_str("-")?;
            groups = carried(self.groups.map(|group| -group));
        }
        let [first, second, third, fourth] = groups;
        match first {
            0 => write!(f, "{second}")?,
            first => write!(f, "{first}{second:0GROUP_DIGITS$}")?,
        }
        let fraction = format!("{third:0GROUP_DIGITS$}{fourth:0GROUP_DIGITS$}");
        match usize::from(self.scale) {
            0 => Ok(()),
            scale => write!(f, ".{}", &fraction[..scale]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_compare_as_their_numbers(a in "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?", b in "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?") {
            let number = |text: &str| text.parse::<Decimal>().unwrap();
            let (a, b) = (number(&a), number(&b));
            prop_assert_eq!(compare(&a.to_string(), &b.to_string()), a.cmp(&b));
        }

        /// At one scale they are integers.
        #[test]
        fn sums_are_those_of_integers(numbers in prop::collection::vec((-10i64.pow(15)..10i64.pow(15), 0u8..=9), 1..40)) {
            let scale = numbers.iter().map(|(_, scale)| *scale).max().unwrap();
            let unscaled = |(number, of): &(i64, u8)| i128::from(*number) * 10i128.pow(u32::from(scale - of));
            let expected = Decimal::new(numbers.iter().map(unscaled).sum(), scale).unwrap();
            let add = |sum: Sum, (number, scale): &(i64, u8)| {
                sum.plus(&Decimal::new(i128::from(*number), *scale).unwrap().to_string()).unwrap()
            };
            prop_assert_eq!(numbers.iter().fold(Sum::default(), add).to_string(), expected.to_string());
        }
    }

    #[test]
    fn sums_have_as_many_digits_as_they_need() {
        let sum = |numbers: &[&str]| {
            numbers.iter().try_fold(Sum::default(), |sum, number| sum.plus(number)).unwrap().to_string()
        };
        let (most, least) = ("9".repeat(38), format!("0.{}1", "0".repeat(37)));
        assert_eq!(sum(&[&most, &most, "2"]), format!("2{}", "0".repeat(38)));
        assert_eq!(
            sum(&[&format!("-{most}"), &format!("-{most}"), &least]),
            format!("-1{}7.{}", "9".repeat(37), "9".repeat(38))
        );
        assert_eq!(sum(&["1.10", "-1.1"]), "0.00");
        assert_eq!(sum(&["-0.05", "0.01"]), "-0.04");
        assert_eq!(sum(&["0.999", "0.001"]), "1.000");
        assert_eq!(sum(&["10000000000000000000", "-1"]), "9999999999999999999");
    }
}
