//! Every row of a request against its dataset.

use std::fmt;

use orderwire_api::Problem;
use orderwire_types::envelope::lines;
use orderwire_types::json::nests_at_most;
use orderwire_types::row::{Reader, Value, csv_open_quote};
use orderwire_types::{Fault, Limits, RawJson};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Form;
use crate::faults::Faults;
use crate::problems::{invalid, malformed, too_large};

/// How much larger than a body its rows may be as JSON: CSV names its columns
/// once, JSON in every row.
const GROWTH_MAX: usize = 4;

/// The rows of a request.
pub(super) struct Rows {
    /// The rows without fault, as a JSON array.
    pub(super) json: RawJson,
    /// How many rows the request holds.
    pub(super) entries: u64,
    pub(super) faults: Faults,
}

/// Checks every row of a body.
///
/// # Errors
/// When the body as a whole cannot be read or is over a limit.
pub(super) fn rows(reader: &Reader, form: Form, body: &[u8], limits: &Limits) -> Result<Rows, Problem> {
    let text = text(body)?;
    let mut collect = Collect::new(reader, limits, text.len());
    match form {
        Form::Json => {
            check_depth(text, limits)?;
            if text.trim_start().starts_with('[') {
                each(text, &mut collect)?;
            } else {
                // A single row keeps the status of its own fault.
                reader.read(text, &mut Vec::new())?;
                collect.row(1, text.trim(), None)?;
            }
        }
        Form::Lines => {
            for (line, row) in lines(body) {
                let row = std::str::from_utf8(row).expect("a line of UTF-8 is UTF-8");
                collect.row(line as u64, row, None)?;
            }
        }
        Form::Csv => csv(text, &mut collect)?,
    }
    collect.finish()
}

/// Checks the rows that an event carries; `prefix` is the pointer of its data.
///
/// # Errors
/// 422 with the pointer of the first field that is wrong.
pub(crate) fn check_event(reader: &Reader, json: &str, prefix: &str, limits: &Limits) -> Result<(), Problem> {
    let below = |problem: Problem, prefix: &str| match (&problem.pointer, prefix) {
        (None, "") => problem,
        (pointer, prefix) => {
            let pointer = format!("{prefix}{}", pointer.as_deref().unwrap_or_default());
            problem.at(pointer)
        }
    };
    if !json.starts_with('[') {
        return reader.read(json, &mut Vec::new()).map_err(|fault| below(fault.into(), prefix));
    }
    let mut first =
        FirstFault { reader, values: Vec::new(), fault: None, count: 0, max: limits.batch_entries };
    each(json, &mut first).map_err(|problem| below(problem, prefix))?;
    match first.fault {
        None => Ok(()),
        Some((index, fault)) => Err(below(fault.into(), &format!("{prefix}/{index}"))),
    }
}

/// Checks what of a body can be checked without a dataset.
///
/// # Errors
/// As [`rows`].
pub(super) fn syntax(form: Form, body: &[u8], limits: &Limits) -> Result<(), Problem> {
    let text = text(body)?;
    match form {
        Form::Csv => closed(text),
        Form::Json => {
            check_depth(text, limits)?;
            json(text)
        }
        Form::Lines => lines(body).try_for_each(|(line, row)| {
            let row = std::str::from_utf8(row).expect("a line of UTF-8 is UTF-8");
            check_depth(row, limits)?;
            json(row).map_err(|problem| malformed(format!("line {line}: {}", problem.detail)))
        }),
    }
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|err| malformed(format!("not UTF-8: {err}")))
}

fn json(text: &str) -> Result<(), Problem> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|err| malformed(format!("not JSON: {err}")))
}

fn check_depth(text: &str, limits: &Limits) -> Result<(), Problem> {
    // An array around the rows is one level more.
    if nests_at_most(text.as_bytes(), limits.json_depth + 1) {
        Ok(())
    } else {
        Err(invalid("", format!("nested deeper than {} levels", limits.json_depth)))
    }
}

/// Takes the rows of a request one at a time.
trait Take<'b> {
    /// Takes a row: its line (from 1), its text and, in an array, its index.
    ///
    /// # Errors
    /// When no more rows are taken at all.
    fn row(&mut self, line: u64, row: &'b str, index: Option<u64>) -> Result<(), Problem>;
}

/// Collects rows without fault and the faults of the others.
struct Collect<'r, 'b> {
    reader: &'r Reader,
    values: Vec<Value<'b>>,
    out: String,
    bytes_max: usize,
    entries: u64,
    entries_max: usize,
    faults: Faults,
}

impl<'r> Collect<'r, '_> {
    fn new(reader: &'r Reader, limits: &Limits, bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes + 2);
        out.push('[');
        Self {
            reader,
            values: Vec::new(),
            out,
            bytes_max: limits.body_bytes.saturating_mul(GROWTH_MAX),
            entries: 0,
            entries_max: limits.batch_entries,
            faults: Faults::default(),
        }
    }

    fn count(&mut self) -> Result<(), Problem> {
        if self.entries == self.entries_max as u64 {
            return Err(too_large(format!("the request holds more than {} rows", self.entries_max)));
        }
        self.entries += 1;
        Ok(())
    }

    fn keep(&mut self, row: &str) -> Result<(), Problem> {
        if self.out.len() + row.len() > self.bytes_max {
            return Err(too_large("the rows are too large as JSON; send fewer at once"));
        }
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.out.push_str(row);
        Ok(())
    }

    fn finish(mut self) -> Result<Rows, Problem> {
        self.out.push(']');
        let json = RawJson::parse(self.out)
            .map_err(|err| Problem::internal(format!("rows that were checked are not JSON: {err}")))?;
        Ok(Rows { json, entries: self.entries, faults: self.faults })
    }
}

impl<'b> Take<'b> for Collect<'_, 'b> {
    fn row(&mut self, line: u64, row: &'b str, index: Option<u64>) -> Result<(), Problem> {
        self.count()?;
        match self.reader.read(row, &mut self.values) {
            Ok(()) => self.keep(row),
            Err(mut fault) => {
                if let Some(index) = index {
                    fault.pointer = format!("/{index}{}", fault.pointer);
                }
                self.faults.add(line, fault.into());
                Ok(())
            }
        }
    }
}

/// Stops at the first fault.
struct FirstFault<'r, 'b> {
    reader: &'r Reader,
    values: Vec<Value<'b>>,
    fault: Option<(u64, Fault)>,
    count: usize,
    max: usize,
}

impl<'b> Take<'b> for FirstFault<'_, 'b> {
    fn row(&mut self, _: u64, row: &'b str, index: Option<u64>) -> Result<(), Problem> {
        self.count += 1;
        if self.count > self.max {
            return Err(too_large(format!("the event holds more than {} rows", self.max)));
        }
        if self.fault.is_none()
            && let Err(fault) = self.reader.read(row, &mut self.values)
        {
            self.fault = Some((index.unwrap_or_default(), fault));
        }
        Ok(())
    }
}

/// Hands the members of a JSON array over, one at a time.
fn each<'b>(array: &'b str, take: &mut impl Take<'b>) -> Result<(), Problem> {
    let mut refused = None;
    let mut deserializer = serde_json::Deserializer::from_str(array);
    let members = Members { take, refused: &mut refused };
    let read = members.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (refused, read) {
        (Some(problem), _) => Err(problem),
        (None, Err(err)) => Err(malformed(format!("not JSON: {err}"))),
        (None, Ok(())) => Ok(()),
    }
}

struct Members<'t, T> {
    take: &'t mut T,
    refused: &'t mut Option<Problem>,
}

impl<'de, T: Take<'de>> DeserializeSeed<'de> for Members<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Take<'de>> Visitor<'de> for Members<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(row) = seq.next_element::<&RawValue>()? {
            if let Err(problem) = self.take.row(index + 1, row.get(), Some(index)) {
                *self.refused = Some(problem);
                return Err(serde::de::Error::custom("refused"));
            }
            index += 1;
        }
        Ok(())
    }
}

/// Every quote of a CSV document is closed: what is behind an open one would
/// silently become one value.
fn closed(text: &str) -> Result<(), Problem> {
    match csv_open_quote(text.as_bytes()) {
        None => Ok(()),
        Some(line) => {
            Err(malformed(format!("not CSV: line {line}: a value begins with a quote that is never closed")))
        }
    }
}

fn csv(text: &str, collect: &mut Collect<'_, '_>) -> Result<(), Problem> {
    closed(text)?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let refused = |err: &csv::Error| malformed(format!("not CSV: {err}"));
    let header = reader.headers().map_err(|err| refused(&err))?;
    if header.is_empty() {
        return Err(malformed("not CSV: the header is missing"));
    }
    let header = collect.reader.csv_header(header.iter())?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|err| refused(&err))? {
        collect.count()?;
        match collect.reader.read_csv(&header, record.iter()) {
            Ok(row) => collect.keep(&row)?,
            Err(fault) => {
                let line = record.position().map_or(0, csv::Position::line);
                collect.faults.add(line, fault.into());
            }
        }
    }
    Ok(())
}
