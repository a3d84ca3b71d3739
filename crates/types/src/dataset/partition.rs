//! How the rows of a dataset lie apart by time.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span as Distance, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DatasetDef, Span};
use crate::problem::Fault;

/// Which rows lie together: those of a day or of a month, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// Those of a day.
    Day,
    /// Those of a month.
    Month,
}

impl Partition {
    /// The longest retention of partitions by day, in days: of months there are as many after ten years.
    pub const DAYS_MAX: i32 = 100;

    /// So many partitions as a distance.
    pub fn length(self, count: i32) -> Distance {
        match self {
            Self::Day => Distance::new().days(count),
            Self::Month => Distance::new().months(count),
        }
    }

    /// The first day of the partition that a moment lies in.
    pub fn first_day(self, at: Timestamp) -> Date {
        let day = TimeZone::UTC.to_datetime(at).date();
        match self {
            Self::Day => day,
            Self::Month => day.first_of_month(),
        }
    }

    /// The first day of the partition behind the one that begins on this day; none behind the last.
    pub fn next(self, first_day: Date) -> Option<Date> {
        first_day.checked_add(self.length(1)).ok()
    }

    /// The moment at which the partition of this one begins.
    pub fn begin(self, at: Timestamp) -> Timestamp {
        let begin = self.first_day(at).to_zoned(TimeZone::UTC);
        // Only before all that there is.
        begin.map_or(Timestamp::MIN, |begin| begin.timestamp())
    }
}

impl DatasetDef {
    /// From when on rows are kept where those from before this moment are past their retention:
    /// partitions go as a whole.
    pub fn kept_from(&self, before: Timestamp) -> Timestamp {
        self.partition.map_or(before, |partition| partition.begin(before))
    }

    /// What is in the way of partitions.
    pub(super) fn partition_fault(&self) -> Option<Fault> {
        let partition = self.partition?;
        let wrong = |detail: String| Some(Fault::invalid("/partition", detail));
        let Some(time) = &self.time else {
            return wrong("partitions need a time column: name it with time".to_owned());
        };
        if self.field(time.as_str()).is_some_and(|field| !field.required) {
            return wrong(format!("partitions need a time in every row: {time} must be required: true"));
        }
        if !self.key.is_empty() && !self.key.contains(time) {
            return wrong(format!(
                "a key is unique within a partition only, so that it must hold the time column {time}; add it to \
                 the key, or leave out partition"
            ));
        }
        let days = Partition::DAYS_MAX;
        let is_short = |Span(retention): Span| retention.as_secs() <= u64::from(days.unsigned_abs()) * 86_400;
        if partition == Partition::Day && !self.retention.is_some_and(is_short) {
            return wrong(format!(
                "partitions of a day need a retention of at most {days}d: there would be too many of them; take \
                 month"
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_lie_in_their_day_and_month_in_utc() {
        for (at, day, month, next) in [
            ("2026-01-31T23:59:59.999999Z", "2026-01-31", "2026-01-01", Some("2026-02-01")),
            ("2026-02-01T00:30:00+01:00", "2026-01-31", "2026-01-01", Some("2026-02-01")),
            ("2024-02-29T00:00:00Z", "2024-02-29", "2024-02-01", Some("2024-03-01")),
            ("0000-01-01T00:00:00Z", "0000-01-01", "0000-01-01", Some("0000-02-01")),
            ("1969-12-31T23:59:59Z", "1969-12-31", "1969-12-01", Some("1970-01-01")),
            ("9999-12-30T22:00:00Z", "9999-12-30", "9999-12-01", None),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!(Partition::Day.first_day(at).to_string(), day);
            assert_eq!(Partition::Month.first_day(at).to_string(), month);
            let behind = Partition::Month.next(Partition::Month.first_day(at));
            assert_eq!(behind.map(|day| day.to_string()).as_deref(), next);
            assert_eq!(Partition::Month.begin(at).to_string(), format!("{month}T00:00:00Z"));
        }
    }

    #[test]
    fn partitions_need_the_time_in_every_row_and_in_the_key() {
        let fault = |partition: &str, required: bool, rest: &str| {
            let text = format!(
                r#"{{"fields":[{{"name":"at","type":"timestamp","required":{required}}},
                    {{"name":"k","type":"text","required":true}}],"partition":"{partition}"{rest}}}"#
            );
            let def: DatasetDef = serde_json::from_str(&text).unwrap();
            let faults = def.faults();
            assert!(faults.iter().all(|fault| fault.pointer == "/partition"), "{faults:?}");
            faults.into_iter().next().map(|fault| fault.detail).unwrap_or_default()
        };
        assert!(fault("month", true, "").contains("name it with time"));
        assert!(fault("month", false, r#","time":"at""#).contains("required"));
        assert!(fault("month", true, r#","time":"at","key":["k"]"#).contains("must hold the time column at"));
        assert!(fault("day", true, r#","time":"at""#).contains("at most 100d"));
        assert!(fault("day", true, r#","time":"at","retention":"101d""#).contains("take month"));
        assert_eq!(fault("day", true, r#","time":"at","retention":"100d""#), "");
        assert_eq!(fault("month", true, r#","time":"at""#), "");
        assert_eq!(fault("month", true, r#","time":"at","key":["k","at"]"#), "");
    }

    #[test]
    fn what_goes_as_a_whole_is_kept_to_the_end_of_its_partition() {
        let def = |partition: &str| -> DatasetDef {
            let text = format!(
                r#"{{"fields":[{{"name":"at","type":"timestamp","required":true}}],"time":"at"{partition}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let before: Timestamp = "2026-03-17T12:00:00Z".parse().unwrap();
        assert_eq!(def("").kept_from(before), before);
        assert_eq!(def(r#","partition":"month""#).kept_from(before).to_string(), "2026-03-01T00:00:00Z");
    }
}
