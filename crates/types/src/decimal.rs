//! Exact decimal numbers.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The most digits of a decimal, written out without an exponent; the zero that stands alone
/// before a point is none.
pub const DECIMAL_DIGITS: usize = 38;

/// An exact decimal number of at most [`DECIMAL_DIGITS`] digits.
///
/// It keeps how many digits stand behind its point, so that `1.10` comes back as `1.10`, and
/// compares by value, so that `1.10` is `1.1`. An exponent is written out: `15e-1` is `1.5`.
/// Zero has no sign.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    unscaled: i128,
    scale: u8,
}

/// A text that is no such number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDecimal {
    /// It is not a number as JSON spells it.
    #[error("not a number")]
    Malformed,
    /// It has more digits than are kept.
    #[error("more than {DECIMAL_DIGITS} digits")]
    TooLong,
}

impl Decimal {
    /// A number from its digits and how many of them stand behind the point; `None` beyond
    /// [`DECIMAL_DIGITS`].
    pub fn new(unscaled: i128, scale: u8) -> Option<Self> {
        let number = Self { unscaled, scale };
        let fits = unscaled.unsigned_abs() < 10u128.pow(38) && usize::from(scale) <= DECIMAL_DIGITS;
        fits.then_some(number)
    }

    /// All its digits as one integer.
    pub fn unscaled(self) -> i128 {
        self.unscaled
    }

    /// How many of the digits stand behind the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// The same value without zeros at the end of its fraction: equal numbers are then the same.
    #[must_use]
    pub fn normalized(self) -> Self {
        let Self { mut unscaled, mut scale } = self;
        while scale > 0 && unscaled % 10 == 0 {
            unscaled /= 10;
            scale -= 1;
        }
        Self { unscaled, scale }
    }
}

impl From<i64> for Decimal {
    fn from(integer: i64) -> Self {
        Self { unscaled: integer.into(), scale: 0 }
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    /// Reads a number as JSON spells it.
    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return Err(InvalidDecimal::Malformed),
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let leads = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leads || !digits(whole) || !digits(fraction) {
            return Err(InvalidDecimal::Malformed);
        }
        let significant = whole.trim_start_matches('0').bytes().chain(fraction.bytes());
        let mut unscaled: i128 = 0;
        for (count, digit) in significant.skip_while(|digit| *digit == b'0').enumerate() {
            if count == DECIMAL_DIGITS {
                return Err(InvalidDecimal::TooLong);
            }
            unscaled = unscaled * 10 + i128::from(digit - b'0');
        }
        let fraction = i64::try_from(fraction.len()).map_err(|_| InvalidDecimal::TooLong)?;
        let mut scale = fraction - exponent;
        // Zeros that an exponent asks for before the point.
        while scale < 0 && unscaled != 0 {
            unscaled = unscaled
                .checked_mul(10)
                .filter(|unscaled| *unscaled < 10i128.pow(38))
                .ok_or(InvalidDecimal::TooLong)?;
            scale += 1;
        }
        let scale = u8::try_from(scale.max(0)).map_err(|_| InvalidDecimal::TooLong)?;
        Self::new(if negative { -unscaled } else { unscaled }, scale).ok_or(InvalidDecimal::TooLong)
    }
}

fn read_exponent(text: &str) -> Result<i64, InvalidDecimal> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidDecimal::Malformed);
    }
    // What is further away than this is too far whatever it is.
    let size: i64 = digits.parse().unwrap_or(i64::MAX).min(1_000_000_000);
    Ok(if text.starts_with('-') { -size } else { size })
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = self.unscaled.unsigned_abs();
        match u32::from(self.scale) {
            0 => write!(f, "{sign}{digits}"),
            scale => {
                let unit = 10u128.pow(scale);
                let width = usize::from(self.scale);
                write!(f, "{sign}{}.{:0width$}", digits / unit, digits % unit)
            }
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let parts = |number: &Self| {
            let unit = 10i128.pow(u32::from(number.scale));
            (number.unscaled / unit, number.unscaled % unit)
        };
        // The whole parts first: brought to one scale the digits might be too many.
        let ((whole, fraction), (others_whole, others_fraction)) = (parts(self), parts(other));
        whole.cmp(&others_whole).then_with(|| {
            let scale = self.scale.max(other.scale);
            let raised = |fraction: i128, from: u8| fraction * 10i128.pow(u32::from(scale - from));
            raised(fraction, self.scale).cmp(&raised(others_fraction, other.scale))
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { unscaled, scale } = self.normalized();
        (unscaled, scale).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Result<String, InvalidDecimal> {
        text.parse::<Decimal>().map(|number| number.to_string())
    }

    #[test]
    fn numbers_come_back_digit_for_digit_without_exponent() {
        let many = "12345678901234567890123456789012345678";
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.00", "0.00"),
            ("1.10", "1.10"),
            ("-0.5", "-0.5"),
            ("15e-1", "1.5"),
            ("1.5E+3", "1500"),
            ("1.50e1", "15.0"),
            ("0e99", "0"),
            (many, many),
            ("0.00000000000000000000000000000000000001", "0.00000000000000000000000000000000000001"),
            ("1e37", "10000000000000000000000000000000000000"),
        ] {
            assert_eq!(shown(text).unwrap(), expected, "{text}");
        }
        for text in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1_0", "NaN", " 1", "0x1", "1,5", "٣"] {
            assert_eq!(shown(text), Err(InvalidDecimal::Malformed), "{text}");
        }
        for text in ["1e38", "1e-39", "123456789012345678901234567890123456789", "1e99999999999999999999"] {
            assert_eq!(shown(text), Err(InvalidDecimal::TooLong), "{text}");
        }
    }

    #[test]
    fn they_compare_by_value() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        let sorted = ["-10", "-9.5", "-0.1", "0", "0.09", "0.1", "9", "9.01", "10", "1e37"];
        assert!(sorted.map(number).is_sorted());
        assert_eq!(number("1.10"), number("1.1"));
        assert_eq!(number("0.00"), number("-0"));
        let wide = number("9999999999999999999999999999999999999");
        assert!(number("0.00000000000000000000000000000000000001") < wide);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(unscaled in -10i128.pow(38) + 1..10i128.pow(38), scale in 0u8..=38) {
            let number = Decimal::new(unscaled, scale).unwrap();
            let read: Decimal = number.to_string().parse().unwrap();
            prop_assert_eq!((read.unscaled(), read.scale()), (unscaled, scale));
            prop_assert_eq!(number.normalized(), number);
        }
    }
}
