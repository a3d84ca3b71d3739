//! Rows as a Parquet file.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use orderwire_parquet::{Column, Kind, Value, Writer};
use orderwire_store::Cell;

use super::Shape;
use super::json::value;

/// Rows are written together up to this many bytes.
const GROUP_BYTES: usize = 1 << 20;

/// Rows as a Parquet file.
pub(crate) struct ParquetRows {
    kinds: Vec<Kind>,
    /// None when something failed.
    writer: Option<Writer<Written>>,
    written: Written,
    /// The values of a row that are no values of Parquet, as text.
    texts: Vec<Vec<u8>>,
    failed: Failed,
}

/// Why the file cannot be written, if it cannot: a sink has no way to say so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failed(Arc<Mutex<Option<String>>>);

impl Failed {
    /// What failed.
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, detail: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(detail);
    }
}

impl ParquetRows {
    pub(crate) fn new(columns: &[Column], failed: Failed) -> Self {
        let written = Written::default();
        let writer = match Writer::new(written.clone(), columns, GROUP_BYTES) {
            Ok(writer) => Some(writer),
            Err(error) => {
                failed.set(error.to_string());
                None
            }
        };
        let kinds: Vec<Kind> = columns.iter().map(|column| column.kind).collect();
        let texts = vec![Vec::new(); kinds.len()];
        Self { kinds, writer, written, texts, failed }
    }
}

impl Shape for ParquetRows {
    fn open(&mut self, out: &mut Vec<u8>) {
        self.written.hand_to(out);
    }

    fn row(&mut self, out: &mut Vec<u8>, cells: &mut dyn Iterator<Item = Cell<'_>>, _: bool) {
        let Some(writer) = &mut self.writer else { return };
        enum Seen {
            Value(Value<'static>),
            Text,
        }
        let mut seen = Vec::with_capacity(self.kinds.len());
        for ((cell, kind), text) in cells.zip(&self.kinds).zip(&mut self.texts) {
            text.clear();
            seen.push(match cell {
                Cell::Null => Seen::Value(Value::Null),
                Cell::Integer(number) if *kind == Kind::Integer => Seen::Value(Value::Integer(number)),
                Cell::Float(number) if *kind == Kind::Float => Seen::Value(Value::Float(number)),
                Cell::Boolean(yes) if *kind == Kind::Boolean => Seen::Value(Value::Boolean(yes)),
                Cell::Timestamp(moment) if *kind == Kind::Timestamp => {
                    Seen::Value(Value::Timestamp(moment.as_microsecond()))
                }
                Cell::Text(string) => {
                    text.extend_from_slice(string.as_bytes());
                    Seen::Text
                }
                // Whatever has no form of its own there is its text in JSON, without quotes around it.
                other => {
                    value(text, other);
                    if *kind == Kind::Text && text.len() >= 2 && text[0] == b'"' {
                        text.remove(0);
                        text.pop();
                    }
                    Seen::Text
                }
            });
        }
        let values = seen.into_iter().zip(&self.texts).map(|(seen, text)| match seen {
            Seen::Value(value) => value,
            Seen::Text => Value::Text(std::str::from_utf8(text).unwrap_or_default()),
        });
        if let Err(error) = writer.row(values) {
            self.failed.set(error.to_string());
            self.writer = None;
        }
        self.written.hand_to(out);
    }

    fn close(&mut self, out: &mut Vec<u8>, _: bool) {
        if let Some(writer) = self.writer.take()
            && let Err(error) = writer.finish()
        {
            self.failed.set(error.to_string());
        }
        self.written.hand_to(out);
    }

    fn held(&self) -> usize {
        self.writer.as_ref().map_or(0, Writer::held)
    }
}

/// What the writer wrote and nobody has taken yet: the writer owns where it writes.
#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn hand_to(&self, out: &mut Vec<u8>) {
        out.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
