//! Values of the types whose text has one form, and what is said where it is another.

use jiff::Timestamp;
use jiff::civil::{self, Date};
use jiff::tz::Offset;
use uuid::Uuid;

pub(super) const NUMBER: &str = "must be a number; a string is none";
pub(super) const DECIMAL: &str = "must be a number of at most 38 digits";
pub(super) const TIME: &str = "must be a time of RFC 3339 with an offset or Z, such as 2024-05-01T12:00:00Z";
pub(super) const DATE: &str = "must be a date such as 2024-05-01";
pub(super) const UUID: &str = "must be a UUID such as 9a2ae9de-3f82-4f55-966b-47df50ff51ff";
pub(super) const TEXTS: &str = "must be an array of strings, without null";

/// A day as `YYYY-MM-DD`, of the years that have four digits.
pub fn date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0i16, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i16::from(digit - b'0'))
        })
    };
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let [month, day] = [i8::try_from(number(5, 7)?).ok()?, i8::try_from(number(8, 10)?).ok()?];
    Date::new(number(0, 4)?, month, day).ok()
}

/// A UUID in its usual form, in either case.
pub fn uuid(text: &str) -> Option<Uuid> {
    // The library takes others as well, which no other database would.
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}

/// The first moment of a day in UTC; `None` of the last of all days, which has one beyond
/// the range of moments.
pub fn midnight(date: Date) -> Option<Timestamp> {
    Offset::UTC.to_timestamp(date.to_datetime(civil::Time::midnight())).ok()
}

/// A day as the moment that its column got when it was widened.
pub(super) fn widened(date: Date) -> Timestamp {
    midnight(date).unwrap_or_else(|| to_micros(Timestamp::MAX))
}

/// The day of a moment in UTC. An offset can reach before the first of all days.
pub(super) fn day(moment: Timestamp) -> Date {
    Offset::UTC.to_datetime(moment).date().max(civil::date(0, 1, 1))
}

/// A moment cut to the microsecond, as every engine can keep it. Of the last second there is,
/// the library makes no part from microseconds: there it is the second.
pub(super) fn to_micros(moment: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(moment.as_microsecond())
        .or_else(|_| Timestamp::from_second(moment.as_second()))
        .expect("a cut moment is within the range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_ids_have_one_form() {
        assert_eq!(date("2024-02-29").unwrap().to_string(), "2024-02-29");
        assert_eq!(date("0000-01-01").unwrap().to_string(), "0000-01-01");
        for wrong in
            ["", "2023-02-29", "2024-2-29", "24-02-29", "2024-02-29T00:00:00Z", "2024-13-01", "-024-01-01"]
        {
            assert_eq!(date(wrong), None, "{wrong}");
        }
        let id = "9A2AE9DE-3f82-4f55-966b-47df50ff51ff";
        assert_eq!(uuid(id).unwrap().to_string(), id.to_lowercase());
        for wrong in ["", "9a2ae9de3f824f55966b47df50ff51ff", "{9a2ae9de-3f82-4f55-966b-47df50ff51ff}"] {
            assert_eq!(uuid(wrong), None, "{wrong}");
        }
        let first = |text| midnight(date(text).unwrap()).map(|moment| moment.to_string());
        assert_eq!(first("1969-12-31").unwrap(), "1969-12-31T00:00:00Z");
        assert_eq!(first("9999-12-30").unwrap(), "9999-12-30T00:00:00Z");
        assert_eq!(first("9999-12-31"), None);
    }
}
