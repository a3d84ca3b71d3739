//! Numbers as they are written in decimal, compared without loss.

use std::cmp::Ordering;

/// A decimal number: `0.` and these digits, times ten to the power of `magnitude`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    is_negative: bool,
    /// Neither begins nor ends with a zero; empty for zero.
    digits: Vec<u8>,
    magnitude: i64,
}

impl Decimal {
    /// Reads a number of JSON, which this must be.
    pub(super) fn of(number: &str) -> Self {
        let (is_negative, unsigned) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = whole.bytes().chain(fraction.bytes());
        let leading = all.clone().take_while(|digit| *digit == b'0').count();
        let mut digits: Vec<u8> = all.skip(leading).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Self { is_negative: false, digits, magnitude: 0 };
        }
        let shift = signed(whole.len()).saturating_sub(signed(leading));
        Self { is_negative, digits, magnitude: exponent_of(exponent).saturating_add(shift) }
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.sign();
        if sign != other.sign() || sign == 0 {
            return sign.cmp(&other.sign());
        }
        // Without zeros at their ends, digits are ordered as texts are.
        let size = self.magnitude.cmp(&other.magnitude).then_with(|| self.digits.cmp(&other.digits));
        if sign < 0 { size.reverse() } else { size }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An exponent; one that is beyond every bound stays so.
fn exponent_of(text: &str) -> i64 {
    let beyond = if text.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    text.parse::<i64>().map_or(beyond, |exponent| exponent.clamp(i64::MIN / 2, i64::MAX / 2))
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_by_what_they_are_worth() {
        let ascending = [
            "-1e999999999999999999999",
            "-123456789012345678901234567891",
            "-123456789012345678901234567890",
            "-10",
            "-9.5",
            "-0.001",
            "0",
            "1e-999999999999999999999",
            "0.001",
            "0.0011",
            "9.5",
            "9.51",
            "10",
            "9007199254740993",
            "9007199254740993.5",
            "123456789012345678901234567890",
            "123456789012345678901234567891",
            "1e999999999999999999999",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(Decimal::of(a).cmp(&Decimal::of(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn spellings_of_one_number_are_equal() {
        for (a, b) in [
            ("1.10", "1.1"),
            ("1e3", "1000"),
            ("10.0e+2", "1000"),
            ("0.5e1", "5"),
            ("-0", "0"),
            ("0.000", "0"),
            ("0e999999999999999999999", "0"),
            ("120e-1", "12"),
        ] {
            assert_eq!(Decimal::of(a), Decimal::of(b), "{a} {b}");
        }
    }
}
