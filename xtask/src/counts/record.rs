//! What was recorded, and how counts compare with it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::callgrind::Counts;
use super::tools::Tools;

/// The file, within the checkout.
pub(super) const FILE: &str = "bench/counts.json";

/// What was counted, and with what.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) tools: Tools,
    pub(super) instructions: Counts,
}

/// One path of the comparison.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    recorded: Option<u64>,
    now: Option<u64>,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// It got slower.
    More,
    /// It got faster: recorded anew, it cannot get slower again unnoticed.
    Fewer,
    New,
    Gone,
}

impl Verdict {
    pub(super) fn is_fine(self) -> bool {
        self == Self::Fine
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Fine => "",
            Self::More => "MORE than recorded",
            Self::Fewer => "FEWER than recorded: record it",
            Self::New => "NEW: record it",
            Self::Gone => "GONE: record that",
        }
    }
}

impl Record {
    /// What is recorded, if anything.
    pub(super) fn read(root: &Path) -> Result<Option<Self>> {
        match std::fs::read_to_string(root.join(FILE)) {
            Ok(text) => Self::parse(&text).map(Some).with_context(|| format!("read {FILE}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {FILE}")),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let json: serde_json::Value = serde_json::from_str(text)?;
        let entries = json["instructions"].as_object().context("instructions are missing")?;
        let count = |(name, count): (&String, &serde_json::Value)| {
            let count = count.as_u64().with_context(|| format!("{name} is no count"))?;
            Ok((name.clone(), count))
        };
        let instructions = entries.iter().map(count).collect::<Result<_>>()?;
        Ok(Self { tools: Tools::from_json(&json["tools"])?, instructions })
    }

    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let json = json!({"tools": self.tools.to_json(), "instructions": self.instructions});
        let text = serde_json::to_string_pretty(&json)? + "\n";
        std::fs::write(root.join(FILE), text).with_context(|| format!("write {FILE}"))
    }

    /// The record after these rows. With the same tools a count that is fine stays as it
    /// was recorded: many small steps in one direction would pass unseen otherwise.
    pub(super) fn renewed(recorded: Option<Self>, tools: Tools, rows: Vec<Row>) -> Self {
        let same_tools = recorded.is_some_and(|recorded| recorded.tools == tools);
        let count = |row: Row| {
            let kept = row.recorded.filter(|_| same_tools && row.verdict.is_fine());
            Some((row.name, kept.or(row.now)?))
        };
        Self { tools, instructions: rows.into_iter().filter_map(count).collect() }
    }
}

/// Every path of either side, by name.
pub(super) fn compare(recorded: &Counts, now: &Counts, tolerance: f64) -> Vec<Row> {
    let mut names: Vec<&String> = recorded.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let row = |name: &String| {
        let (recorded, now) = (recorded.get(name).copied(), now.get(name).copied());
        let verdict = match (recorded, now) {
            (None, _) => Verdict::New,
            (_, None) => Verdict::Gone,
            (Some(recorded), Some(now)) => match change(recorded, now) {
                change if change > tolerance => Verdict::More,
                change if change < -tolerance => Verdict::Fewer,
                _ => Verdict::Fine,
            },
        };
        Row { name: name.clone(), recorded, now, verdict }
    };
    names.into_iter().map(row).collect()
}

/// By how much a count differs, as a share of the recorded one.
#[expect(clippy::cast_precision_loss, reason = "a share, to be compared with some per cent")]
fn change(recorded: u64, now: u64) -> f64 {
    (now as f64 - recorded as f64) / recorded.max(1) as f64
}

/// The rows as a Markdown table.
pub(super) fn table(rows: &[Row]) -> String {
    let mut out = String::from("\n| path | recorded | now | change | |\n|---|---:|---:|---:|---|\n");
    let shown = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), digits);
    for Row { name, recorded, now, verdict } in rows {
        let change = match (recorded, now) {
            (Some(recorded), Some(now)) => format!("{:+.1} %", change(*recorded, *now) * 100.0),
            _ => "-".to_owned(),
        };
        let (recorded, now, verdict) = (shown(*recorded), shown(*now), verdict.shown());
        writeln!(out, "| {name} | {recorded} | {now} | {change} | {verdict} |").expect("writing to a string");
    }
    out
}

/// A count with its thousands apart.
pub(super) fn digits(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(entries: &[(&str, u64)]) -> Counts {
        entries.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn verdicts(recorded: &[(&str, u64)], now: &[(&str, u64)]) -> Vec<Verdict> {
        compare(&counts(recorded), &counts(now), 0.03).iter().map(|row| row.verdict).collect()
    }

    fn tools(rustc: &str) -> Tools {
        let json = json!({"rustc": rustc, "cc": "c", "libc": "l", "valgrind": "v", "processor": "p"});
        Tools::from_json(&json).unwrap()
    }

    #[test]
    fn a_count_beyond_the_tolerance_is_told_either_way() {
        assert_eq!(verdicts(&[("a", 1_000)], &[("a", 1_030)]), [Verdict::Fine]);
        assert_eq!(verdicts(&[("a", 1_000)], &[("a", 1_031)]), [Verdict::More]);
        assert_eq!(verdicts(&[("a", 1_000)], &[("a", 970)]), [Verdict::Fine]);
        assert_eq!(verdicts(&[("a", 1_000)], &[("a", 969)]), [Verdict::Fewer]);
    }

    #[test]
    fn a_path_on_one_side_only_is_told() {
        assert_eq!(
            verdicts(&[("a", 1), ("c", 1)], &[("b", 1), ("c", 1)]),
            [Verdict::Gone, Verdict::New, Verdict::Fine]
        );
    }

    #[test]
    fn small_steps_do_not_ride_along_with_an_update() {
        let rows = || {
            let recorded = counts(&[("creeps", 1_000), ("grew", 1_000), ("gone", 1_000)]);
            compare(&recorded, &counts(&[("creeps", 1_020), ("grew", 1_200), ("new", 7)]), 0.03)
        };
        let record = |rustc| Some(Record { tools: tools(rustc), instructions: counts(&[]) });
        let same = Record::renewed(record("1"), tools("1"), rows());
        assert_eq!(same.instructions, counts(&[("creeps", 1_000), ("grew", 1_200), ("new", 7)]));
        let other = Record::renewed(record("0"), tools("1"), rows());
        assert_eq!(other.instructions, counts(&[("creeps", 1_020), ("grew", 1_200), ("new", 7)]));
        assert_eq!(other.tools, tools("1"));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("orderwire-counts-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("bench")).unwrap();
        assert!(Record::read(&folder).unwrap().is_none());
        Record { tools: tools("1"), instructions: counts(&[("a", 12)]) }.write(&folder).unwrap();
        let read = Record::read(&folder).unwrap().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((read.tools, read.instructions), (tools("1"), counts(&[("a", 12)])));
        assert!(Record::parse(r#"{"instructions":{"a":-1}}"#).is_err());
    }

    #[test]
    fn the_table_shows_counts_and_what_is_wrong() {
        let rows = compare(&counts(&[("a", 1_234_567), ("b", 10)]), &counts(&[("a", 1_300_000)]), 0.03);
        let table = table(&rows);
        assert!(table.contains("| a | 1,234,567 | 1,300,000 | +5.3 % | MORE than recorded |"), "{table}");
        assert!(table.contains("| b | 10 | - | - | GONE: record that |"), "{table}");
    }
}
