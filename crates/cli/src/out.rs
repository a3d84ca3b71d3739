//! What commands print: tables for people, JSON for scripts.

use std::borrow::Cow;
use std::io::Write as _;

use serde::Serialize;

use crate::args::Output;
use crate::error::Error;

/// Standard output in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    pub(crate) json: bool,
}

impl Out {
    pub(crate) fn new(output: Output) -> Self {
        Self { json: output == Output::Json }
    }

    /// One line as it is.
    pub(crate) fn line(self, text: &str) -> Result<(), Error> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n"));
        written.and_then(|()| stdout.flush()).map_err(|error| Error::output(&error))
    }

    /// Bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Error> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| Error::output(&error))
    }

    /// A table.
    pub(crate) fn table(self, table: &Table) -> Result<(), Error> {
        self.bytes(table.render().as_bytes())
    }

    /// One JSON document on a line.
    pub(crate) fn json<T: Serialize>(self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_string(value)
            .map_err(|error| Error::failed(format!("cannot show the answer as JSON: {error}")))?;
        self.line(&text)
    }

    /// JSON for scripts, a sentence for people.
    pub(crate) fn done<T: Serialize>(self, value: &T, sentence: &str) -> Result<(), Error> {
        if self.json { self.json(value) } else { self.line(&plain(sentence)) }
    }
}

/// Aligned columns under a header.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.header.len(), "a cell for every column");
        // Line breaks and control characters of what others wrote must not
        // move the cursor of a terminal.
        self.rows.push(cells.map(clean).to_vec());
    }

    /// Numbers are aligned right, everything else left.
    pub(crate) fn render(&self) -> String {
        let columns = self.header.len();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].chars().count()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let numeric = |column: usize| {
            let mut cells = self.rows.iter().map(|row| row[column].as_str()).filter(|cell| *cell != ABSENT);
            let digits = |cell: &str| {
                cell.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'+' | b'-'))
            };
            !self.rows.is_empty() && cells.all(|cell| !cell.is_empty() && digits(cell))
        };
        let right: Vec<bool> = (0..columns).map(numeric).collect();
        let mut out = String::new();
        let header: Vec<String> = self.header.iter().map(|name| name.to_uppercase()).collect();
        for cells in std::iter::once(&header).chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                let width = widths[column];
                let padded =
                    if right[column] { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
                line.push_str(&padded);
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// What stands where there is no value.
pub(crate) const ABSENT: &str = "-";

/// A value, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), |value| value.to_string())
}

/// Text without control characters, line breaks aside of tables included:
/// what others wrote must not steer a terminal.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn clean(text: String) -> String {
    match plain(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(clean) => clean,
    }
}

/// A number with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A length of time for people: `0 ms`, `1.5 s`, `3 min`, `2 h`, `4 d`.
pub(crate) fn age(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min", millis / 60_000),
        3_600_000..86_400_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} d", millis / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let mut table = Table::new(["name", "ready", "age"]);
        table.row(["infra".into(), "7".into(), "1.5 s".into()]);
        table.row(["a-long-name".into(), "1,234".into(), ABSENT.into()]);
        assert_eq!(
            table.render(),
            "NAME         READY  AGE\ninfra            7  1.5 s\na-long-name  1,234  -\n"
        );
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(Table::new(["name", "ready"]).render(), "NAME  READY\n");
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(plain("µg/m³"), "µg/m³");
    }

    #[test]
    fn numbers_and_ages_are_readable() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [5, 1_550, 61_000, 7_200_000, 172_800_000].map(age),
            ["5 ms", "1.5 s", "1 min", "2 h", "2 d"]
        );
    }
}
