//! A file that is written row by row.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::Error;

/// What a text takes beside its bytes while it waits to be written.
const TEXT_OVERHEAD: usize = 48;
/// What another value takes.
const VALUE_BYTES: usize = 10;

/// What a column holds; every one may also hold nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// A signed integer of 64 bits.
    Integer,
    /// A float of 64 bits.
    Float,
    /// true or false.
    Boolean,
    /// A moment in UTC, to the microsecond.
    Timestamp,
    /// JSON as text, marked as such.
    Json,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// Of a text or JSON column.
    Text(&'a str),
    /// Of an integer column.
    Integer(i64),
    /// Of a float column.
    Float(f64),
    /// Of a boolean column.
    Boolean(bool),
    /// Of a timestamp column: microseconds since the epoch.
    Timestamp(i64),
}

/// Writes rows.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Held>,
    /// What is held may grow to this many bytes before it is written.
    group_bytes: usize,
    held: usize,
    rows: u64,
}

impl<W: Write + Send> Writer<W> {
    /// A file with these columns, whose rows are written in groups of about `group_bytes`.
    ///
    /// # Errors
    /// When it cannot be written; without any column.
    pub fn new(out: W, columns: &[Column], group_bytes: usize) -> Result<Self, Error> {
        if columns.is_empty() {
            return Err(Error::Invalid("a Parquet file has one column at least".to_owned()));
        }
        let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("rows").with_fields(fields).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by("orderwire".to_owned())
            .build();
        Ok(Self {
            file: SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?,
            columns: columns.iter().map(|column| Held::new(column.kind)).collect(),
            group_bytes,
            held: 0,
            rows: 0,
        })
    }

    /// Adds a row, its values in the order of the columns; what is left out is null.
    ///
    /// # Errors
    /// When it cannot be written; for a value that its column does not hold.
    pub fn row<'v>(&mut self, values: impl IntoIterator<Item = Value<'v>>) -> Result<(), Error> {
        let mut values = values.into_iter();
        for column in &mut self.columns {
            self.held += column.push(values.next().unwrap_or(Value::Null))?;
        }
        self.rows += 1;
        if self.held >= self.group_bytes { self.flush() } else { Ok(()) }
    }

    /// About how many bytes are held that are not written yet.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes what is held and the end of the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<W, Error> {
        self.flush()?;
        Ok(self.file.into_inner()?)
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.held == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            let mut writer = group.next_column()?.expect("the schema has as many columns");
            column.write(&mut writer)?;
            writer.close()?;
        }
        group.close()?;
        self.held = 0;
        Ok(())
    }
}

fn field(column: &Column) -> Result<TypePtr, Error> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Kind::Integer => (Physical::INT64, None),
        Kind::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Boolean => (Physical::BOOLEAN, None),
    };
    let field = Type::primitive_type_builder(&column.name, physical)
        .with_logical_type(logical)
        .with_repetition(Repetition::OPTIONAL)
        .build()?;
    Ok(Arc::new(field))
}

/// The values of a column that are not written yet.
struct Held {
    values: Values,
    /// 1 where there is a value, 0 where there is none.
    levels: Vec<i16>,
}

enum Values {
    Texts(Vec<ByteArray>),
    Integers(Vec<i64>),
    Moments(Vec<i64>),
    Floats(Vec<f64>),
    Booleans(Vec<bool>),
}

impl Held {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text | Kind::Json => Values::Texts(Vec::new()),
            Kind::Integer => Values::Integers(Vec::new()),
            Kind::Timestamp => Values::Moments(Vec::new()),
            Kind::Float => Values::Floats(Vec::new()),
            Kind::Boolean => Values::Booleans(Vec::new()),
        };
        Self { values, levels: Vec::new() }
    }

    /// Takes a value; how many bytes it takes.
    fn push(&mut self, value: Value<'_>) -> Result<usize, Error> {
        let bytes = match (&mut self.values, value) {
            (_, Value::Null) => {
                self.levels.push(0);
                return Ok(VALUE_BYTES);
            }
            (Values::Texts(texts), Value::Text(text)) => {
                texts.push(ByteArray::from(text));
                text.len() + TEXT_OVERHEAD
            }
            (Values::Integers(numbers), Value::Integer(number)) => {
                numbers.push(number);
                VALUE_BYTES
            }
            (Values::Moments(moments), Value::Timestamp(moment)) => {
                moments.push(moment);
                VALUE_BYTES
            }
            (Values::Floats(numbers), Value::Float(number)) => {
                numbers.push(number);
                VALUE_BYTES
            }
            (Values::Booleans(flags), Value::Boolean(flag)) => {
                flags.push(flag);
                VALUE_BYTES
            }
            (_, value) => return Err(Error::Invalid(format!("{value:?} is not of its column's kind"))),
        };
        self.levels.push(1);
        Ok(bytes)
    }

    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), Error> {
        let levels = Some(self.levels.as_slice());
        match &mut self.values {
            Values::Texts(texts) => {
                writer.typed::<ByteArrayType>().write_batch(texts, levels, None)?;
                texts.clear();
            }
            Values::Integers(numbers) | Values::Moments(numbers) => {
                writer.typed::<Int64Type>().write_batch(numbers, levels, None)?;
                numbers.clear();
            }
            Values::Floats(numbers) => {
                writer.typed::<DoubleType>().write_batch(numbers, levels, None)?;
                numbers.clear();
            }
            Values::Booleans(flags) => {
                writer.typed::<BoolType>().write_batch(flags, levels, None)?;
                flags.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}
