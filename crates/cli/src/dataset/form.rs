//! The forms of an exported file, row by row: what is held does not grow with the file.

use std::io::Write as _;

use jiff::Timestamp;
use orderwire_parquet::{Column, Kind, Value, Writer};
use orderwire_types::dataset::{DatasetDef, EXTRA, FieldType};
use serde_json::value::RawValue;

use super::page::Row;
use super::sink::Sink;
use crate::args::FileFormat;
use crate::error::Error;

/// Text is handed on in pieces of about this many bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Rows of a Parquet file are written together up to this many bytes.
const GROUP_BYTES: usize = 8 << 20;

/// A file that is being written.
pub(super) struct Form {
    names: Vec<String>,
    inner: Inner,
}

enum Inner {
    Csv { out: Vec<u8>, sink: Sink },
    Ndjson { out: Vec<u8>, sink: Sink },
    Parquet { writer: Box<Writer<Sink>>, kinds: Vec<Kind> },
}

impl Form {
    pub(super) fn new(format: FileFormat, def: &DatasetDef, sink: Sink) -> Result<Self, Error> {
        Self::with(format, def, sink, GROUP_BYTES)
    }

    fn with(format: FileFormat, def: &DatasetDef, sink: Sink, group_bytes: usize) -> Result<Self, Error> {
        let names: Vec<String> = def.columns().map(|field| field.name.to_string()).collect();
        let inner = match format {
            FileFormat::Csv => {
                let mut out = Vec::with_capacity(2 * PIECE_BYTES);
                for (i, name) in names.iter().enumerate() {
                    csv_value(&mut out, i, Some(name));
                }
                out.extend_from_slice(b"\r\n");
                Inner::Csv { out, sink }
            }
            FileFormat::Ndjson => Inner::Ndjson { out: Vec::with_capacity(2 * PIECE_BYTES), sink },
            FileFormat::Parquet => {
                let kinds: Vec<Kind> = def.columns().map(|field| kind(field.field_type)).collect();
                let columns = names.iter().zip(&kinds);
                let columns: Vec<Column> =
                    columns.map(|(name, kind)| Column { name: name.clone(), kind: *kind }).collect();
                let writer =
                    Box::new(Writer::new(sink, &columns, group_bytes).map_err(|error| unwritable(&error))?);
                Inner::Parquet { writer, kinds }
            }
        };
        Ok(Self { names, inner })
    }

    /// Adds a row.
    pub(super) fn row(&mut self, row: &Row<'_>) -> Result<(), Error> {
        let unreadable =
            |detail: String| Error::failed(format!("the server's rows cannot be read: {detail}"));
        let value = |(at, name): (usize, &String)| row.value(at, name);
        match &mut self.inner {
            Inner::Csv { out, sink } => {
                for (i, value) in self.names.iter().enumerate().map(value).enumerate() {
                    match value.map(RawValue::get) {
                        None | Some("null") => csv_value(out, i, None),
                        Some(raw) if raw.starts_with('"') => {
                            csv_value(out, i, Some(&string(raw).map_err(unreadable)?));
                        }
                        Some(raw) => csv_value(out, i, Some(raw)),
                    }
                }
                out.extend_from_slice(b"\r\n");
                hand_on(out, sink, PIECE_BYTES)
            }
            Inner::Ndjson { out, sink } => {
                let mut open = b'{';
                // What is not there is left out, as a row has it that is sent.
                let is_there = |(name, value): &&(_, &RawValue)| name != EXTRA || value.get() != "null";
                for (name, value) in row.members.iter().filter(is_there) {
                    out.push(std::mem::replace(&mut open, b','));
                    serde_json::to_writer(&mut *out, name).map_err(|error| unreadable(error.to_string()))?;
                    out.push(b':');
                    out.extend_from_slice(value.get().as_bytes());
                }
                out.extend_from_slice(if open == b'{' { b"{}\n" } else { b"}\n" });
                hand_on(out, sink, PIECE_BYTES)
            }
            Inner::Parquet { writer, kinds } => {
                // Texts have to live until the row is written.
                let texts: Vec<Option<String>> = (self.names.iter().enumerate().map(value).zip(&*kinds))
                    .map(|(value, kind)| match (kind, value.map(RawValue::get)) {
                        (Kind::Text | Kind::Timestamp, Some(raw)) if raw.starts_with('"') => {
                            string(raw).map(Some)
                        }
                        (_, None | Some("null")) => Ok(None),
                        (_, Some(raw)) => Ok(Some(raw.to_owned())),
                    })
                    .collect::<Result<_, _>>()
                    .map_err(unreadable)?;
                let values = texts.iter().zip(&*kinds).map(|(text, kind)| typed(text.as_deref(), *kind));
                let values: Vec<Value<'_>> = values.collect::<Result<_, _>>().map_err(unreadable)?;
                writer.row(values).map_err(|error| unwritable(&error))
            }
        }
    }

    /// Bytes that are held and not handed on yet.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        match &self.inner {
            Inner::Csv { out, .. } | Inner::Ndjson { out, .. } => out.len(),
            Inner::Parquet { writer, .. } => writer.held(),
        }
    }

    /// Writes the end of the file; it is there then.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.inner {
            Inner::Csv { mut out, mut sink } | Inner::Ndjson { mut out, mut sink } => {
                hand_on(&mut out, &mut sink, 0)?;
                sink.finish()
            }
            Inner::Parquet { writer, .. } => writer.finish().map_err(|error| unwritable(&error))?.finish(),
        }
    }
}

/// Hands on what is held, once it is this much.
fn hand_on(out: &mut Vec<u8>, sink: &mut Sink, least: usize) -> Result<(), Error> {
    if out.len() >= least {
        sink.write_all(out).map_err(|error| sink.failed(&error))?;
        out.clear();
    }
    Ok(())
}

fn unwritable(error: &orderwire_parquet::Error) -> Error {
    match error {
        orderwire_parquet::Error::Io(error) => Error::output(error),
        orderwire_parquet::Error::Invalid(detail) => Error::failed(format!("cannot write Parquet: {detail}")),
    }
}

/// What a column is in Parquet. What has no form of its own there is its text.
fn kind(field_type: FieldType) -> Kind {
    match field_type {
        FieldType::Integer => Kind::Integer,
        FieldType::Float => Kind::Float,
        FieldType::Boolean => Kind::Boolean,
        FieldType::Timestamp => Kind::Timestamp,
        FieldType::Json => Kind::Json,
        _ => Kind::Text,
    }
}

fn typed(text: Option<&str>, kind: Kind) -> Result<Value<'_>, String> {
    let Some(text) = text else { return Ok(Value::Null) };
    let wrong = || format!("{text} is no {kind:?}");
    Ok(match kind {
        Kind::Text | Kind::Json => Value::Text(text),
        Kind::Integer => Value::Integer(text.parse().map_err(|_| wrong())?),
        Kind::Float => Value::Float(text.parse().map_err(|_| wrong())?),
        Kind::Boolean => Value::Boolean(text.parse().map_err(|_| wrong())?),
        Kind::Timestamp => Value::Timestamp(text.parse::<Timestamp>().map_err(|_| wrong())?.as_microsecond()),
    })
}

fn string(raw: &str) -> Result<String, String> {
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

/// A value of CSV (RFC 4180): none is nothing, an empty text is `""`.
fn csv_value(out: &mut Vec<u8>, at: usize, value: Option<&str>) {
    if at > 0 {
        out.push(b',');
    }
    let Some(text) = value else { return };
    let plain = !text.is_empty()
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains(['"', ',', '\r', '\n']);
    if plain {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn def() -> DatasetDef {
        serde_json::from_str(
            r#"{"fields":[{"name":"t","type":"text"},{"name":"n","type":"integer"},{"name":"f","type":"float"},
                {"name":"b","type":"boolean"},{"name":"at","type":"timestamp"},{"name":"j","type":"json"}]}"#,
        )
        .unwrap()
    }

    const ROWS: [&str; 3] = [
        r#"{"t":"a,\"b\"","n":9007199254740993,"f":1.5,"b":true,"at":"2026-01-01T00:00:00.25Z","j":{"x":1.10},"_seq":1}"#,
        r#"{"t":"","n":null,"f":null,"b":null,"at":null,"j":null,"_seq":2}"#,
        r#"{"j":"x","t":null,"_seq":3}"#,
    ];

    fn exported(format: FileFormat, group_bytes: usize) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let sink = Sink::open(Some(&path)).unwrap();
        let mut form = Form::with(format, &def(), sink, group_bytes).unwrap();
        for row in ROWS {
            form.row(&Row::read(row).unwrap()).unwrap();
        }
        form.finish().unwrap();
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn csv_tells_absent_from_empty() {
        assert_eq!(
            String::from_utf8(exported(FileFormat::Csv, 1)).unwrap(),
            "t,n,f,b,at,j\r\n\"a,\"\"b\"\"\",9007199254740993,1.5,true,2026-01-01T00:00:00.25Z,\"{\"\"x\"\":1.10}\"\r\n\
             \"\",,,,,\r\n,,,,,x\r\n"
        );
    }

    #[test]
    fn ndjson_keeps_every_digit() {
        let text = String::from_utf8(exported(FileFormat::Ndjson, 1)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], ROWS[0].replace(",\"_seq\":1", ""));
        assert_eq!(lines[2], r#"{"j":"x","t":null}"#);
    }

    #[test]
    fn parquet_is_read_back() {
        let bytes = exported(FileFormat::Parquet, 1);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut rows = orderwire_parquet::Rows::open(file).unwrap();
        let mut json = String::new();
        assert!(rows.next(&mut json).unwrap());
        assert_eq!(json, ROWS[0].replace(",\"_seq\":1", ""));
        assert!(rows.next(&mut json).unwrap());
        assert_eq!(json, ROWS[1].replace(",\"_seq\":2", ""));
        assert!(rows.next(&mut json).unwrap());
        assert_eq!(json, r#"{"t":null,"n":null,"f":null,"b":null,"at":null,"j":"x"}"#);
        assert!(!rows.next(&mut json).unwrap());
    }

    /// Not by a clock, not by what the system says of the process: by what is held.
    #[test]
    fn what_is_held_does_not_grow_with_the_rows() {
        let folder = tempfile::tempdir().unwrap();
        for (format, limit) in [
            (FileFormat::Csv, PIECE_BYTES),
            (FileFormat::Ndjson, PIECE_BYTES),
            (FileFormat::Parquet, 1 << 20),
        ] {
            let sink = Sink::open(Some(&folder.path().join("out"))).unwrap();
            let mut form = Form::with(format, &def(), sink, 1 << 20).unwrap();
            let (mut most, mut lines) = (0, super::super::page::Lines::default());
            for seq in 0..50_000_i64 {
                let row = format!("{{\"t\":\"station {seq}\",\"n\":{seq},\"f\":0.5,\"_seq\":{seq}}}\n");
                let (first, second) = row.split_at(row.len() / 2);
                for piece in [first, second] {
                    lines
                        .push(piece.as_bytes(), |line| {
                            form.row(&Row::read(line)?).map_err(|error| error.to_string())
                        })
                        .unwrap();
                    most = most.max(lines.held() + form.held());
                }
            }
            assert!(most < limit + 4_096, "{format:?}: {most}");
            form.finish().unwrap();
        }
    }
}
