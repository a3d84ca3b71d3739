//! Times as producers spell them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// The moment of a `published_on` or `time`: the dotted form of
/// `date +%Y.%m.%d.%H.%M.%N` (parts may be unpadded; it has no seconds and is
/// in UTC), a date (its first moment in UTC) or RFC 3339.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    parse_rfc3339(text).or_else(|| dotted(text)).or_else(|| midnight(text))
}

/// The moment of an RFC 3339 time, which has an offset or `Z`. A leap second
/// counts as the second before it; digits beyond the nanosecond are cut.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, time, offset) = moment(text, false)?;
    at(date, time, offset?)
}

/// As [`parse_rfc3339`], but a time without offset is in UTC, an offset may be
/// as short as `+02`, and a date is its first moment in UTC: how spreadsheets
/// and databases export.
pub(crate) fn parse_csv_time(text: &str) -> Option<Timestamp> {
    match moment(text, true) {
        Some((date, time, offset)) => at(date, time, offset.unwrap_or(Offset::UTC)),
        None => midnight(text),
    }
}

/// The first moment of a date in UTC.
fn midnight(text: &str) -> Option<Timestamp> {
    let (date, rest) = Scan(text.as_bytes()).date()?;
    rest.0.is_empty().then(|| in_utc(date, (0, 0, 0, 0)))?
}

type Date = (i16, i8, i8);
type Time = (i8, i8, i8, i32);

fn at((year, month, day): Date, (hour, minute, second, nanos): Time, offset: Offset) -> Option<Timestamp> {
    let second = if second == 60 { 59 } else { second };
    let local = DateTime::new(year, month, day, hour, minute, second, nanos).ok()?;
    offset.to_timestamp(local).ok()
}

fn in_utc(date: Date, time: Time) -> Option<Timestamp> {
    at(date, time, Offset::UTC)
}

fn dotted(text: &str) -> Option<Timestamp> {
    let mut parts = text.split('.');
    let mut part = |max: usize| -> Option<i32> {
        let digits = parts.next()?;
        let valid = (1..=max).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        valid.then(|| digits.parse().ok())?
    };
    let year = part(4)?;
    let [month, day, hour, minute] = [part(2)?, part(2)?, part(2)?, part(2)?];
    let nanos = part(9)?;
    if parts.next().is_some() {
        return None;
    }
    let small = |number: i32| i8::try_from(number).ok();
    let date = (i16::try_from(year).ok()?, small(month)?, small(day)?);
    in_utc(date, (small(hour)?, small(minute)?, 0, nanos))
}

fn moment(text: &str, lenient: bool) -> Option<(Date, Time, Option<Offset>)> {
    let (date, scan) = Scan(text.as_bytes()).date()?;
    let (&separator, rest) = scan.0.split_first()?;
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let (hour, scan) = Scan(rest).digits(2)?;
    let (minute, scan) = scan.byte(b':')?.digits(2)?;
    let (second, scan) = scan.byte(b':')?.digits(2)?;
    let (nanos, scan) = match scan.byte(b'.') {
        Some(scan) => scan.fraction()?,
        None => (0, scan),
    };
    let small = |number: i32| i8::try_from(number).ok();
    let time = (small(hour)?, small(minute)?, small(second)?, nanos);
    Some((date, time, scan.offset(lenient)?))
}

/// The rest of a text.
#[derive(Clone, Copy)]
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn byte(self, byte: u8) -> Option<Self> {
        self.0.strip_prefix(&[byte]).map(Scan)
    }

    fn digits(self, count: usize) -> Option<(i32, Self)> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            number = number * 10 + i32::from(digit - b'0');
        }
        Some((number, Scan(rest)))
    }

    fn date(self) -> Option<(Date, Scan<'a>)> {
        let (year, scan) = self.digits(4)?;
        let (month, scan) = scan.byte(b'-')?.digits(2)?;
        let (day, scan) = scan.byte(b'-')?.digits(2)?;
        Some(((i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?), scan))
    }

    /// The digits of a fraction of a second, as nanoseconds.
    fn fraction(self) -> Option<(i32, Self)> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let kept = count.min(9);
        let (number, _) = self.digits(kept)?;
        let scale = 10i32.pow(u32::try_from(9 - kept).ok()?);
        Some((number * scale, Scan(&self.0[count..])))
    }

    /// The offset that ends the text; `None` inside where there is none.
    #[expect(clippy::option_option, reason = "outside: malformed; inside: absent, which only CSV allows")]
    fn offset(self, lenient: bool) -> Option<Option<Offset>> {
        let (&sign, rest) = match self.0.split_first() {
            None => return lenient.then_some(None),
            Some((b'Z' | b'z', rest)) => return rest.is_empty().then_some(Some(Offset::UTC)),
            Some(split) => split,
        };
        let sign = match sign {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, scan) = Scan(rest).digits(2)?;
        let minutes = match scan.byte(b':') {
            Some(scan) => scan.digits(2)?,
            None if !lenient => return None,
            None if scan.0.is_empty() => (0, scan),
            None => scan.digits(2)?,
        };
        let (minutes, scan) = minutes;
        if !scan.0.is_empty() || hours > 23 || minutes > 59 {
            return None;
        }
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(moment: Option<Timestamp>) -> String {
        moment.map_or("none".into(), |moment| moment.to_string())
    }

    #[test]
    fn producers_spellings_are_read() {
        for (text, moment) in [
            ("2023.01.2.23.02.642883101", "2023-01-02T23:02:00.642883101Z"),
            ("2023.1.2.3.4.5", "2023-01-02T03:04:00.000000005Z"),
            ("2023-01-02", "2023-01-02T00:00:00Z"),
            ("2023-01-02T03:04:05Z", "2023-01-02T03:04:05Z"),
            ("2023-01-02t03:04:05.1234567899z", "2023-01-02T03:04:05.123456789Z"),
            ("2023-01-02 03:04:05+02:30", "2023-01-02T00:34:05Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ] {
            assert_eq!(shown(parse_time(text)), moment, "{text:?}");
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "now",
            "2023",
            "2023.13.2.23.02.1",
            "2023.01.32.23.02.1",
            "2023.01.2.24.02.1",
            "2023.01.2.23.02",
            "2023.01.2.23.02.6428831010",
            "2023.01.2.23.02.1.1",
            "2023.+1.2.23.02.1",
            "2023-02-29",
            "2023-01-02T03:04:05",
            "2023-01-02T03:04Z",
            "2023-01-02T25:04:05Z",
            "2023-01-02T03:04:05.Z",
            "2023-01-02T03:04:05+2:00",
            "2023-01-02T03:04:05+02",
            "2023-01-02T03:04:05+24:00",
            "2023-01-02T03:04:05Z ",
            "20é3-01-02",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
    }

    #[test]
    fn csv_times_may_lack_their_offset() {
        for (text, moment) in [
            ("2023-01-02 03:04:05", "2023-01-02T03:04:05Z"),
            ("2023-01-02 03:04:05.5", "2023-01-02T03:04:05.5Z"),
            ("2023-01-02T03:04:05+02", "2023-01-02T01:04:05Z"),
            ("2023-01-02 03:04:05-0230", "2023-01-02T05:34:05Z"),
            ("2023-01-02 03:04:05Z", "2023-01-02T03:04:05Z"),
            ("2023-01-02", "2023-01-02T00:00:00Z"),
            ("2023-02-29", "none"),
            ("2023-01-02 ", "none"),
            ("2023-01-02 03:04", "none"),
            ("2023-01-02 03:04:05 UTC", "none"),
        ] {
            assert_eq!(shown(parse_csv_time(text)), moment, "{text:?}");
        }
    }
}
