//! The rows of a file, one by one: constant memory whatever its size.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::StringRecord;
use orderwire_api::problem::ProblemError;
use sha2::{Digest, Sha256};

use super::quotes::Quotes;
use crate::args::FileFormat;
use crate::error::{Error, ErrorKind};

/// The largest row. A quote that is never closed would otherwise hold the
/// rest of the file in memory.
const ROW_BYTES_MAX: u64 = 8 << 20;
const BUFFER: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Where rows come from. It is read twice.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    place: Place,
    pub(super) format: FileFormat,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Text { name: &'static str, text: &'static str },
}

impl Source {
    pub(crate) fn file(path: &Path, format: FileFormat) -> Self {
        Self { place: Place::File(path.to_owned()), format }
    }

    /// Rows that are part of the program.
    pub(crate) fn text(name: &'static str, text: &'static str, format: FileFormat) -> Self {
        Self { place: Place::Text { name, text }, format }
    }

    /// Its name for people.
    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Text { name, .. } => (*name).to_owned(),
        }
    }

    /// Opens it at its beginning.
    pub(super) fn open(&self) -> Result<Rows, Error> {
        let (bytes, reader): (u64, Box<dyn Read>) = match &self.place {
            Place::Text { text, .. } => (text.len() as u64, Box::new(text.as_bytes())),
            Place::File(path) => {
                let file = File::open(path).map_err(|error| unreadable(path, &error))?;
                let meta = file.metadata().map_err(|error| unreadable(path, &error))?;
                if !meta.is_file() {
                    return Err(Error::usage(format!(
                        "{} is not a file; import reads one twice",
                        path.display()
                    )));
                }
                (meta.len(), Box::new(file))
            }
        };
        Rows::new(self.name(), self.format, bytes, reader)
    }
}

/// What a file that cannot be read means.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let kind =
        if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Failed };
    Error::new(kind, format!("cannot read {}: {error}", path.display()))
}

/// One row as it stands in the file.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// Its values, of CSV.
    pub(super) record: StringRecord,
    /// Its text, of NDJSON.
    pub(super) json: String,
}

/// A file that is being read.
pub(super) struct Rows {
    name: String,
    /// Bytes of the whole file.
    pub(super) bytes: u64,
    meter: Rc<Meter>,
    inner: Inner,
}

enum Inner {
    Csv { reader: Box<csv::Reader<Quotes<BufReader<Metered>>>>, header: StringRecord, crlf: bool },
    Ndjson { reader: BufReader<Metered>, line: u64, buffer: Vec<u8> },
}

impl Rows {
    fn new(name: String, format: FileFormat, bytes: u64, reader: Box<dyn Read>) -> Result<Self, Error> {
        let meter = Rc::new(Meter { hash: Cell::new(Some(Sha256::new())), ..Meter::default() });
        let mut reader = BufReader::with_capacity(BUFFER, Metered { reader, meter: meter.clone() });
        let failed = |error: std::io::Error| read_failed(&name, None, &error);
        // The start tells the delimiter and whether there is a mark.
        let start = reader.fill_buf().map_err(failed)?;
        if start.starts_with(BYTE_ORDER_MARK) {
            reader.consume(BYTE_ORDER_MARK.len());
            meter.mark.set(BYTE_ORDER_MARK.len() as u64);
        }
        let inner = match format {
            FileFormat::Ndjson => Inner::Ndjson { reader, line: 0, buffer: Vec::new() },
            FileFormat::Csv => {
                let (delimiter, crlf) = (delimiter(reader.buffer()), ends_in_crlf(reader.buffer()));
                let mut reader = Box::new(
                    csv::ReaderBuilder::new()
                        .delimiter(delimiter)
                        .flexible(true)
                        .has_headers(true)
                        .from_reader(Quotes::new(reader, delimiter)),
                );
                let header = reader.headers().map_err(|error| csv_failed(&name, &error))?.clone();
                closed(&name, &reader)?;
                if header.iter().all(|column| column.trim().is_empty()) {
                    return Err(empty(&name));
                }
                Inner::Csv { reader, header, crlf }
            }
        };
        Ok(Self { name, bytes, meter, inner })
    }

    /// The names of the columns, of CSV.
    pub(super) fn header(&self) -> Option<&StringRecord> {
        match &self.inner {
            Inner::Csv { header, .. } => Some(header),
            Inner::Ndjson { .. } => None,
        }
    }

    /// The next row; false at the end.
    ///
    /// # Errors
    /// `Invalid` for what is not UTF-8 and for a row over the limit.
    pub(super) fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        self.meter.of_row.set(0);
        match &mut self.inner {
            Inner::Csv { reader, crlf, .. } => {
                let more =
                    reader.read_record(&mut row.record).map_err(|error| csv_failed(&self.name, &error))?;
                closed(&self.name, reader)?;
                row.line = first_line(reader.position(), &row.record, *crlf, &self.meter);
                Ok(more)
            }
            Inner::Ndjson { reader, line, buffer } => loop {
                buffer.clear();
                *line += 1;
                let read = (&mut *reader)
                    .take(ROW_BYTES_MAX + 1)
                    .read_until(b'\n', buffer)
                    .map_err(|error| read_failed(&self.name, Some(*line), &error))?;
                if read == 0 {
                    return Ok(false);
                }
                if read as u64 > ROW_BYTES_MAX {
                    return Err(too_large(&self.name, Some(*line)));
                }
                let text = std::str::from_utf8(buffer).map_err(|_| not_utf8(&self.name, Some(*line)))?.trim();
                if !text.is_empty() {
                    row.line = *line;
                    row.json.clear();
                    row.json.push_str(text);
                    return Ok(true);
                }
            },
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.meter.total.get()
    }

    /// The SHA-256 of the file in hex, once its end was reached.
    pub(super) fn sha256(&self) -> String {
        let hash = self.meter.hash.take().expect("a file is hashed once").finalize();
        hash.iter().fold(String::with_capacity(64), |mut hex, byte| {
            hex.push_str(&format!("{byte:02x}"));
            hex
        })
    }
}

/// What was read, shared with the reader inside the parser.
#[derive(Default)]
struct Meter {
    total: Cell<u64>,
    /// Since the row began.
    of_row: Cell<u64>,
    hash: Cell<Option<Sha256>>,
    /// Bytes of the byte order mark, which the parser does not see.
    mark: Cell<u64>,
    /// The last byte so far.
    last: Cell<u8>,
}

struct Metered {
    reader: Box<dyn Read>,
    meter: Rc<Meter>,
}

impl Read for Metered {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(out)?;
        let of_row = self.meter.of_row.get() + read as u64;
        if of_row > ROW_BYTES_MAX + 2 * BUFFER as u64 {
            return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
        }
        self.meter.of_row.set(of_row);
        self.meter.total.set(self.meter.total.get() + read as u64);
        if let Some(last) = out[..read].last() {
            self.meter.last.set(*last);
        }
        if let Some(mut hash) = self.meter.hash.take() {
            hash.update(&out[..read]);
            self.meter.hash.set(Some(hash));
        }
        Ok(read)
    }
}

/// What separates the values: a comma, unless the header has none of them but
/// semicolons or tabs.
fn delimiter(start: &[u8]) -> u8 {
    let header = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in header {
        quoted ^= *byte == b'"';
        for (delimiter, count) in &mut counts {
            *count += usize::from(!quoted && byte == delimiter);
        }
    }
    let [comma, semicolon, tab] = counts;
    if comma.1 > 0 || semicolon.1 + tab.1 == 0 {
        return b',';
    }
    if semicolon.1 >= tab.1 { semicolon.0 } else { tab.0 }
}

/// Whether the lines of the file end in CRLF.
fn ends_in_crlf(start: &[u8]) -> bool {
    start.iter().position(|byte| *byte == b'\n').is_some_and(|at| start[..at].ends_with(b"\r"))
}

/// The line on which a record that was just read begins. The parser knows
/// where a record ended; where one began it tells wrongly behind blank lines
/// and behind CRLF, whose second half it leaves for later.
fn first_line(end: &csv::Position, record: &StringRecord, crlf: bool, meter: &Meter) -> u64 {
    let within =
        record.iter().map(|value| value.bytes().filter(|byte| *byte == b'\n').count()).sum::<usize>();
    let ended = end.byte() + meter.mark.get() >= meter.total.get() && meter.last.get() != b'\n';
    let behind = u64::from(!crlf && !ended);
    end.line().saturating_sub(behind + within as u64).max(1)
}

pub(super) fn empty(name: &str) -> Error {
    Error::invalid(format!("{name} is empty: there is nothing to import"))
}

/// Refuses a record that ends with the file inside its quotes.
fn closed<R: Read>(name: &str, reader: &csv::Reader<Quotes<R>>) -> Result<(), Error> {
    let Some(line) = reader.get_ref().open() else { return Ok(()) };
    let detail = "a quote opens here that nothing closes; is the file cut, or a quote missing?".to_owned();
    let fault = ProblemError { line: Some(line), pointer: String::new(), detail };
    Err(Error::invalid(format!("{name} does not end as CSV does; nothing was imported"))
        .with_faults(vec![fault]))
}

fn csv_failed(name: &str, error: &csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Io(error) => read_failed(name, line, error),
        csv::ErrorKind::Utf8 { .. } => not_utf8(name, line),
        _ => Error::invalid(format!("{name} is no CSV: {error}")),
    }
}

fn read_failed(name: &str, line: Option<u64>, error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        return too_large(name, line);
    }
    Error::failed(format!("cannot read {name}: {error}"))
}

fn too_large(name: &str, line: Option<u64>) -> Error {
    let place = line.map_or_else(String::new, |line| format!(" line {line}:"));
    Error::invalid(format!("{name}:{place} a row is larger than 8 MiB; is a quote or a line end missing?"))
}

fn not_utf8(name: &str, line: Option<u64>) -> Error {
    let place = line.map_or_else(String::new, |line| format!(" line {line}:"));
    Error::invalid(format!("{name}:{place} a byte that is not UTF-8; save the file as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(format: FileFormat, bytes: Vec<u8>) -> Result<Vec<(u64, String)>, Error> {
        let length = bytes.len() as u64;
        let mut rows = Rows::new("f".into(), format, length, Box::new(std::io::Cursor::new(bytes)))?;
        let mut all = Vec::new();
        let mut row = Row::default();
        while rows.next(&mut row)? {
            let text = match format {
                FileFormat::Csv => row.record.iter().collect::<Vec<_>>().join("|"),
                FileFormat::Ndjson => row.json.clone(),
            };
            all.push((row.line, text));
        }
        assert_eq!(rows.position(), length);
        Ok(all)
    }

    fn line(number: u64, text: &str) -> (u64, String) {
        (number, text.to_owned())
    }

    #[test]
    fn csv_lines_are_those_of_the_file() {
        let csv = "\u{feff}\"a\",b\r\n1,\"x\ny\"\r\n2,z\r\n";
        assert_eq!(rows(FileFormat::Csv, csv.into()).unwrap(), [line(2, "1|x\ny"), line(4, "2|z")]);
    }

    #[test]
    fn semicolons_and_tabs_are_found_by_the_header() {
        assert_eq!(rows(FileFormat::Csv, "a;b\n1;2,5\n".into()).unwrap(), [line(2, "1|2,5")]);
        assert_eq!(rows(FileFormat::Csv, "a\tb\n1\t2\n".into()).unwrap(), [line(2, "1|2")]);
        assert_eq!(rows(FileFormat::Csv, "\"a;b\"\n1\n".into()).unwrap(), [line(2, "1")]);
    }

    #[test]
    fn ndjson_skips_blank_lines_and_counts_them() {
        let text = "\u{feff}{\"a\":1}\n\n  \r\n{\"a\":2}";
        assert_eq!(
            rows(FileFormat::Ndjson, text.into()).unwrap(),
            [line(1, "{\"a\":1}"), line(4, "{\"a\":2}")]
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line() {
        for (format, bytes, wanted) in [
            (FileFormat::Csv, b"".to_vec(), "is empty"),
            (FileFormat::Csv, b"a\nx\n\xff\n".to_vec(), "line 3: a byte that is not UTF-8"),
            (FileFormat::Ndjson, b"{}\n\xff\n".to_vec(), "line 2: a byte that is not UTF-8"),
        ] {
            let error = rows(format, bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_file_that_ends_inside_quotes_is_refused_with_the_line_of_the_quote() {
        for (csv, wanted) in [
            ("a,b\n1,x\n2,\"y", 3),
            ("a,b\r\n1,\"x\ny\"\r\n2,\"y\r\n3,z\r\n4,z\r\n", 4),
            ("a;b\n1;\"x,\"\"\n", 2),
            ("\u{feff}\"a,b\n1,2\n", 1),
        ] {
            let error = rows(FileFormat::Csv, csv.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(error.faults()[0].line, Some(wanted), "{csv:?}: {error}");
        }
        // A quote inside a value is a character, and an empty value is whole.
        for csv in ["a,b\n1,5\" wide\n", "a,b\n\"\"\"x\"\"\",\"\"", "a\n\"x\"\"\"", "a\n\"x\"y\"z"] {
            assert_eq!(rows(FileFormat::Csv, csv.into()).unwrap().len(), 1, "{csv:?}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_fill_the_memory() {
        let mut csv = b"a\n\"".to_vec();
        csv.resize(20 << 20, b'x');
        let error = rows(FileFormat::Csv, csv).unwrap_err();
        assert!(error.to_string().contains("larger than 8 MiB"), "{error}");
        let error = rows(FileFormat::Ndjson, vec![b'x'; 20 << 20]).unwrap_err();
        assert!(error.to_string().contains("line 1: a row is larger than 8 MiB"), "{error}");
    }

    #[test]
    fn the_hash_is_of_the_whole_file() {
        let mut rows = Source::text("abc", "abc", FileFormat::Csv).open().unwrap();
        while rows.next(&mut Row::default()).unwrap() {}
        assert_eq!(rows.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
