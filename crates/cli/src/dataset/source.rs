//! The rows of a file, one by one: constant memory whatever its size.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::StringRecord;
use encoding_rs::{Encoding, UTF_8};
use orderwire_api::problem::ProblemError;
use orderwire_types::dataset::DatasetDef;
use sha2::{Digest, Sha256};

use super::decode::Decoding;
use super::dialect::{Dialect, Header, Quote};
use super::quotes::Quotes;
use crate::args::FileFormat;
use crate::error::{Error, ErrorKind};

/// The largest row. A quote that is never closed would otherwise hold the
/// rest of the file in memory.
const ROW_BYTES_MAX: u64 = 8 << 20;
const BUFFER: usize = 256 << 10;

/// Where rows come from. It is read twice.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    place: Place,
    pub(super) format: FileFormat,
    dialect: Dialect,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Text { name: &'static str, text: &'static str },
}

impl Source {
    pub(super) fn file(path: &Path, format: FileFormat, dialect: Dialect) -> Self {
        Self { place: Place::File(path.to_owned()), format, dialect }
    }

    /// Rows that are part of the program.
    pub(crate) fn text(name: &'static str, text: &'static str, format: FileFormat) -> Self {
        Self { place: Place::Text { name, text }, format, dialect: Dialect::default() }
    }

    /// Its name for people.
    pub(super) fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Text { name, .. } => (*name).to_owned(),
        }
    }

    /// Opens it at its beginning. `def` is of the dataset that the rows are for, when it is there.
    pub(super) fn open(&self, def: Option<&DatasetDef>) -> Result<Rows, Error> {
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
                if self.format == FileFormat::Parquet {
                    return Rows::parquet(self.name(), file, meta.len());
                }
                (meta.len(), Box::new(file))
            }
        };
        Rows::new(self, def, bytes, reader)
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

type Text = Box<dyn BufRead>;

enum Inner {
    Csv { reader: Box<csv::Reader<Quotes<Text>>>, header: StringRecord, crlf: bool },
    Ndjson { reader: Text, line: u64, buffer: Vec<u8> },
    Parquet { rows: Box<orderwire_parquet::Rows>, file: File, at: u64 },
}

impl Rows {
    fn new(
        source: &Source,
        def: Option<&DatasetDef>,
        bytes: u64,
        reader: Box<dyn Read>,
    ) -> Result<Self, Error> {
        let (name, dialect) = (source.name(), &source.dialect);
        let meter = Rc::new(Meter { hash: Cell::new(Some(Sha256::new())), ..Meter::default() });
        let reader = BufReader::with_capacity(BUFFER, Metered { reader, meter: meter.clone() });
        let failed = |error: std::io::Error| read_failed(&name, None, &error);
        let mut reader = as_utf8(reader, dialect.encoding).map_err(failed)?;
        let inner = match source.format {
            FileFormat::Csv => {
                // The start tells the delimiter and how lines end.
                let start = reader.fill_buf().map_err(failed)?;
                let (delimiter, crlf) = (dialect.delimiter(start), ends_in_crlf(start));
                let quote = match dialect.quote {
                    Quote::None => None,
                    Quote::Byte(quote) => Some(quote),
                };
                let mut reader = Box::new(
                    csv::ReaderBuilder::new()
                        .delimiter(delimiter)
                        .quote(quote.unwrap_or(b'"'))
                        .quoting(quote.is_some())
                        .flexible(true)
                        .has_headers(dialect.header == Header::First)
                        .from_reader(Quotes::new(reader, delimiter, quote)),
                );
                let first = reader.headers().map_err(|error| csv_failed(&name, &error))?.clone();
                closed(&name, &reader)?;
                let named = dialect.header == Header::First;
                if first.is_empty() || named && first.iter().all(|column| column.trim().is_empty()) {
                    return Err(empty(&name));
                }
                let header = names(&dialect.header, first, def);
                Inner::Csv { reader, header, crlf }
            }
            // Parquet that is no file does not exist.
            FileFormat::Ndjson | FileFormat::Parquet => Inner::Ndjson { reader, line: 0, buffer: Vec::new() },
        };
        Ok(Self { name, bytes, meter, inner })
    }

    /// Of a Parquet file, which is not read from its beginning to its end: its hash is taken first.
    fn parquet(name: String, file: File, bytes: u64) -> Result<Self, Error> {
        let failed = |error: std::io::Error| read_failed(&name, None, &error);
        let hash = hash_of(&file).map_err(failed)?;
        let rows = orderwire_parquet::Rows::open(file.try_clone().map_err(failed)?)
            .map_err(|error| parquet_failed(&name, &error))?;
        let meter = Rc::new(Meter { hash: Cell::new(Some(hash)), ..Meter::default() });
        Ok(Self { name, bytes, meter, inner: Inner::Parquet { rows: Box::new(rows), file, at: 0 } })
    }

    /// The names of the columns, of CSV.
    pub(super) fn header(&self) -> Option<&StringRecord> {
        match &self.inner {
            Inner::Csv { header, .. } => Some(header),
            Inner::Ndjson { .. } | Inner::Parquet { .. } => None,
        }
    }

    /// The next row; false at the end.
    ///
    /// # Errors
    /// `Invalid` for what is not text and for a row over the limit.
    pub(super) fn next(&mut self, row: &mut Row) -> Result<bool, Error> {
        self.meter.of_row.set(0);
        match &mut self.inner {
            Inner::Csv { reader, crlf, .. } => {
                let more =
                    reader.read_record(&mut row.record).map_err(|error| csv_failed(&self.name, &error))?;
                closed(&self.name, reader)?;
                row.line = first_line(reader, &row.record, *crlf);
                Ok(more)
            }
            Inner::Parquet { rows, at, .. } => {
                let more = rows.next(&mut row.json).map_err(|error| parquet_failed(&self.name, &error))?;
                *at += u64::from(more);
                row.line = *at;
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
        match &self.inner {
            // As many of its bytes as of its rows.
            Inner::Parquet { rows, at, .. } if rows.total > 0 => {
                let share = u128::from(self.bytes) * u128::from(*at) / u128::from(rows.total);
                u64::try_from(share).unwrap_or(self.bytes)
            }
            _ => self.meter.total.get(),
        }
    }

    /// The SHA-256 of the file in hex, once its end was reached.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn sha256(&self) -> Result<String, Error> {
        let hash = match &self.inner {
            // It may have changed since it was opened.
            Inner::Parquet { file, .. } => {
                hash_of(file).map_err(|error| read_failed(&self.name, None, &error))?
            }
            _ => self.meter.hash.take().expect("a file is hashed once"),
        };
        Ok(hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            hex.push_str(&format!("{byte:02x}"));
            hex
        }))
    }
}

/// The text of a file behind its byte order mark, as UTF-8. The mark has the last word on its encoding.
fn as_utf8(mut reader: BufReader<Metered>, said: Option<&'static Encoding>) -> std::io::Result<Text> {
    let marked = Encoding::for_bom(reader.fill_buf()?);
    if let Some((_, mark)) = marked {
        reader.consume(mark);
    }
    let encoding = marked.map(|(encoding, _)| encoding).or(said).unwrap_or(UTF_8);
    if encoding == UTF_8 {
        return Ok(Box::new(reader));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER, Decoding::new(reader, encoding))))
}

/// The names of the columns; `first` is the first record.
fn names(header: &Header, first: StringRecord, def: Option<&DatasetDef>) -> StringRecord {
    match (header, def) {
        (Header::First, _) => first,
        (Header::Given(names), _) => StringRecord::from(names.clone()),
        (Header::Nowhere, Some(def)) => def.fields.iter().map(|field| field.name.as_str()).collect(),
        (Header::Nowhere, None) => {
            (1..=first.len()).map(|n| format!("column_{n}")).collect::<Vec<_>>().into()
        }
    }
}

/// The hash of a whole file, wherever it is read.
fn hash_of(file: &File) -> std::io::Result<Sha256> {
    let mut reader = file;
    std::io::Seek::rewind(&mut reader)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hash),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// What was read, shared with the reader inside the parser.
#[derive(Default)]
struct Meter {
    total: Cell<u64>,
    /// Since the row began.
    of_row: Cell<u64>,
    hash: Cell<Option<Sha256>>,
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
        if let Some(mut hash) = self.meter.hash.take() {
            hash.update(&out[..read]);
            self.meter.hash.set(Some(hash));
        }
        Ok(read)
    }
}

/// Whether the lines of the file end in CRLF.
fn ends_in_crlf(start: &[u8]) -> bool {
    start.iter().position(|byte| *byte == b'\n').is_some_and(|at| start[..at].ends_with(b"\r"))
}

/// The line on which a record that was just read begins. The parser knows
/// where a record ended; where one began it tells wrongly behind blank lines
/// and behind CRLF, whose second half it leaves for later.
fn first_line<R: Read>(reader: &csv::Reader<Quotes<R>>, record: &StringRecord, crlf: bool) -> u64 {
    let end = reader.position();
    let within =
        record.iter().map(|value| value.bytes().filter(|byte| *byte == b'\n').count()).sum::<usize>();
    let behind = u64::from(!crlf && !reader.get_ref().ends_at(end.byte()));
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
    match error.kind() {
        std::io::ErrorKind::FileTooLarge => return too_large(name, line),
        // It says the line.
        std::io::ErrorKind::InvalidData => return Error::invalid(format!("{name}: {error}")),
        _ => {}
    }
    Error::failed(format!("cannot read {name}: {error}"))
}

fn too_large(name: &str, line: Option<u64>) -> Error {
    let place = line.map_or_else(String::new, |line| format!(" line {line}:"));
    Error::invalid(format!("{name}:{place} a row is larger than 8 MiB; is a quote or a line end missing?"))
}

fn not_utf8(name: &str, line: Option<u64>) -> Error {
    let place = line.map_or_else(String::new, |line| format!(" line {line}:"));
    Error::invalid(format!("{name}:{place} a byte that is not UTF-8; say its encoding with --encoding"))
}

fn parquet_failed(name: &str, error: &orderwire_parquet::Error) -> Error {
    match error {
        orderwire_parquet::Error::Io(error) => read_failed(name, None, error),
        orderwire_parquet::Error::Invalid(detail) => {
            Error::invalid(format!("{name} cannot be read as Parquet: {detail}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(format: FileFormat, bytes: Vec<u8>) -> Result<Vec<(u64, String)>, Error> {
        rows_in(Dialect::default(), format, bytes)
    }

    fn rows_in(dialect: Dialect, format: FileFormat, bytes: Vec<u8>) -> Result<Vec<(u64, String)>, Error> {
        let length = bytes.len() as u64;
        let source = Source { place: Place::Text { name: "f", text: "" }, format, dialect };
        let mut rows = Rows::new(&source, None, length, Box::new(std::io::Cursor::new(bytes)))?;
        let mut all = Vec::new();
        let mut row = Row::default();
        while rows.next(&mut row)? {
            let text = match format {
                FileFormat::Csv => row.record.iter().collect::<Vec<_>>().join("|"),
                FileFormat::Ndjson | FileFormat::Parquet => row.json.clone(),
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
        let mut rows = Source::text("abc", "abc", FileFormat::Csv).open(None).unwrap();
        while rows.next(&mut Row::default()).unwrap() {}
        assert_eq!(
            rows.sha256().unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_header_may_be_nowhere_or_said() {
        let nowhere = Dialect { header: Header::Nowhere, ..Dialect::default() };
        assert_eq!(rows_in(nowhere.clone(), FileFormat::Csv, "1,x\n2,y\n".into()).unwrap().len(), 2);
        let source = Source {
            place: Place::Text { name: "f", text: "1,x\n" },
            format: FileFormat::Csv,
            dialect: nowhere,
        };
        let header = |def: Option<&DatasetDef>| {
            source.open(def).unwrap().header().unwrap().iter().collect::<Vec<_>>().join("|")
        };
        assert_eq!(header(None), "column_1|column_2");
        let def = r#"{"fields":[{"name":"n","type":"integer"},{"name":"t","type":"text"}]}"#;
        assert_eq!(header(Some(&serde_json::from_str(def).unwrap())), "n|t");
        let given = Dialect { header: Header::Given(vec!["a".into(), "b".into()]), ..Dialect::default() };
        assert_eq!(rows_in(given, FileFormat::Csv, "1,x".into()).unwrap(), [line(1, "1|x")]);
    }

    #[test]
    fn values_are_quoted_as_the_dialect_says() {
        let single = Dialect { quote: Quote::Byte(b'\''), delimiter: Some(b'|'), ..Dialect::default() };
        assert_eq!(
            rows_in(single, FileFormat::Csv, "a|b\n'x|\ny'|\"\n2|z\n".into()).unwrap(),
            [line(2, "x|\ny|\""), line(4, "2|z")]
        );
        let none = Dialect { quote: Quote::None, ..Dialect::default() };
        assert_eq!(rows_in(none, FileFormat::Csv, "a,b\n\"1,2\n".into()).unwrap(), [line(2, "\"1|2")]);
    }

    #[test]
    fn encodings_are_said_by_their_mark_or_by_a_flag() {
        let text = "a;ö\r\n1;\"ß\nx\"\r\n2;π\r\n";
        let wanted = [line(2, "1|ß\nx"), line(4, "2|π")];
        let little = |mark: &str| format!("{mark}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(rows(FileFormat::Csv, little("\u{feff}")).unwrap(), wanted);
        assert_eq!(rows(FileFormat::Csv, big).unwrap(), wanted);
        let said = |encoding| Dialect { encoding: Some(encoding), ..Dialect::default() };
        assert_eq!(rows_in(said(encoding_rs::UTF_16LE), FileFormat::Csv, little("")).unwrap(), wanted);
        let latin = b"a;b\n1;\xe4\n".to_vec();
        assert_eq!(
            rows_in(said(encoding_rs::WINDOWS_1252), FileFormat::Csv, latin).unwrap(),
            [line(2, "1|ä")]
        );
        let cut = "{\"a\":1}\n{\"b\":2}".encode_utf16().flat_map(u16::to_le_bytes).chain([0x3d]).collect();
        let error = rows_in(said(encoding_rs::UTF_16LE), FileFormat::Ndjson, cut).unwrap_err();
        assert!(error.to_string().contains("line 2: bytes that are not UTF-16LE"), "{error}");
    }
}
