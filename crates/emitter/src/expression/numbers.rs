//! Numbers that keep their digits.
//!
//! A number whose spelling the engine's own numbers have as well becomes one of them.
//! Any other (`1.10`, `1e3`, more digits than 64 bits hold) is kept as it was written: it goes
//! out as it came in, and is compared by what it is worth.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::decimal::Decimal;

/// JSON that is kept as it was written: a number, or a text that is no valid Unicode.
pub(super) struct Digits(pub(super) String);

impl Digits {
    /// Whether it is a number.
    pub(super) fn is_number(&self) -> bool {
        !self.0.starts_with('"')
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Object for Digits {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.is_number() || Decimal::of(&self.0) != Decimal::of("0")
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number of JSON. One that is for computing with (`is_plain`) becomes one of the engine unless
/// that would make another of it.
pub(super) fn read(text: &str, is_plain: bool) -> Value {
    let kept = || Value::from_object(Digits(text.to_owned()));
    let same = |spelled: &str| spelled == text || is_plain && Decimal::of(spelled) == Decimal::of(text);
    if let Ok(number) = text.parse::<i64>() {
        return if same(&number.to_string()) { Value::from(number) } else { kept() };
    }
    if let Ok(number) = text.parse::<i128>() {
        return if same(&number.to_string()) { Value::from(number) } else { kept() };
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && same(&float_text(number)) => Value::from(number),
        _ => kept(),
    }
}

/// Whether the value is a number, of the engine or kept.
pub(super) fn is_number(value: &Value) -> bool {
    value.is_number() || value.downcast_object_ref::<Digits>().is_some_and(Digits::is_number)
}

/// A number as JSON has it.
///
/// # Errors
/// When the value is none, or JSON has no such number.
pub(super) fn number_text(value: &Value) -> Result<String, Error> {
    if let Some(digits) = value.downcast_object_ref::<Digits>().filter(|digits| digits.is_number()) {
        return Ok(digits.0.clone());
    }
    if value.is_integer() {
        return Ok(value.to_string());
    }
    let number = f64::try_from(value.clone())?;
    if number.is_finite() {
        Ok(float_text(number))
    } else {
        Err(wrong(format!("JSON has no number {number}")))
    }
}

/// A finite number as JSON has it.
fn float_text(number: f64) -> String {
    serde_json::Number::from_f64(number).map_or_else(String::new, |number| number.to_string())
}

/// A value without kept numbers, where the engine's own can be the same: for filters that compute. Of
/// lists and objects of an event, and of lists of values.
pub(super) fn plain(value: &Value) -> Value {
    if let Some(json) = value.downcast_object_ref::<super::json::Json>() {
        return json.plain();
    }
    if let Some(digits) = value.downcast_object_ref::<Digits>() {
        return if digits.is_number() { read(&digits.0, true) } else { value.clone() };
    }
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
        && let Ok(items) = value.try_iter()
    {
        return items.map(|item| plain(&item)).collect();
    }
    value.clone()
}

/// A number to compute with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    /// Whole.
    Whole(i128),
    /// Any other, to about 16 digits.
    Float(f64),
}

impl Operand {
    /// # Errors
    /// When the value is no number.
    pub(super) fn of(value: &Value) -> Result<Self, Error> {
        if let Some(digits) = value.downcast_object_ref::<Digits>().filter(|digits| digits.is_number()) {
            let float = || digits.0.parse::<f64>().map(Self::Float);
            return digits
                .0
                .parse::<i128>()
                .map(Self::Whole)
                .or_else(|_| float())
                .map_err(|_| wrong(format!("{} is no number to compute with", digits.0)));
        }
        if value.is_integer() {
            return i128::try_from(value.clone()).map(Self::Whole);
        }
        if value.is_number() {
            return f64::try_from(value.clone()).map(Self::Float);
        }
        Err(wrong(format!("{} is no number to compute with", super::operations::kind(value))))
    }

    pub(super) fn float(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "computing with fractions is approximate")]
            Self::Whole(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

pub(super) fn wrong(detail: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_goes_out_as_it_came_in() {
        for text in [
            "0",
            "-1",
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551615",
            "1588114545387",
            "170141183460469231731687303715884105728",
            "123456789012345678901234567890123456789012345678901234567890",
            "5.122996",
            "1.10",
            "91.0",
            "0.1234567890123456789",
            "1e3",
            "1E+3",
            "-0",
            "-0.0",
            "1e400",
        ] {
            assert_eq!(number_text(&read(text, false)).unwrap(), text);
            let plain = number_text(&read(text, true)).unwrap();
            assert_eq!(Decimal::of(&plain), Decimal::of(text), "{text} {plain}");
        }
    }

    #[test]
    fn what_is_for_computing_with_is_a_number_of_the_engine_unless_it_would_be_another() {
        for text in ["1.10", "1e3", "-0", "91.0", "9007199254740993"] {
            assert!(read(text, true).is_number(), "{text}");
        }
        for text in ["0.1234567890123456789", "1e400", "1234567890123456789012345678901234567890123"] {
            assert!(!read(text, true).is_number() && is_number(&read(text, true)), "{text}");
        }
    }

    #[test]
    fn a_kept_number_is_true_unless_it_is_zero() {
        assert!(read("1.10", false).is_true() && !read("0.00", false).is_true());
    }
}
