use std::fs::File;
use std::io::Write as _;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType};
use parquet::data_type::{Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

fn column(name: &str, kind: Kind) -> Column {
    Column { name: name.to_owned(), kind }
}

fn columns() -> Vec<Column> {
    vec![
        column("t", Kind::Text),
        column("i", Kind::Integer),
        column("f", Kind::Float),
        column("b", Kind::Boolean),
        column("at", Kind::Timestamp),
        column("j", Kind::Json),
    ]
}

fn written(columns: &[Column], rows: &[Vec<Value<'_>>], group_bytes: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), columns, group_bytes).unwrap();
    for row in rows {
        writer.row(row.iter().copied()).unwrap();
    }
    writer.finish().unwrap()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn read(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut rows = Rows::open(file(bytes))?;
    let (mut all, mut json) = (Vec::new(), String::new());
    while rows.next(&mut json)? {
        all.push(json.clone());
    }
    assert_eq!(rows.total, all.len() as u64);
    Ok(all)
}

#[test]
fn values_of_every_kind_come_back_as_they_were() {
    let rows = [
        vec![
            Value::Text("ä\"\u{1}"),
            Value::Integer(i64::MIN),
            Value::Float(0.1),
            Value::Boolean(true),
            Value::Timestamp(1_767_225_600_250_000),
            Value::Text("{\"n\":9007199254740993,\"f\":1.10}"),
        ],
        vec![Value::Null; 6],
        vec![Value::Text(""), Value::Integer(i64::MAX), Value::Float(1.0)],
    ];
    for group_bytes in [1, 1 << 20] {
        assert_eq!(
            read(&written(&columns(), &rows, group_bytes)).unwrap(),
            [
                "{\"t\":\"ä\\\"\\u0001\",\"i\":-9223372036854775808,\"f\":0.1,\"b\":true,\
                 \"at\":\"2026-01-01T00:00:00.25Z\",\"j\":{\"n\":9007199254740993,\"f\":1.10}}",
                "{\"t\":null,\"i\":null,\"f\":null,\"b\":null,\"at\":null,\"j\":null}",
                "{\"t\":\"\",\"i\":9223372036854775807,\"f\":1.0,\"b\":null,\"at\":null,\"j\":null}",
            ]
        );
    }
    assert!(read(&written(&columns(), &[], 1)).unwrap().is_empty());
}

#[test]
fn decimals_of_every_scale_are_numbers_digit_for_digit() {
    let schema = "message rows {
        required int32 whole (DECIMAL(9, 0));
        required int64 cents (DECIMAL(18, 2));
        required fixed_len_byte_array (2) part (DECIMAL(4, 4));
        required binary long (DECIMAL(38, 0));
    }";
    let longest = 99_999_999_999_999_999_999_999_999_999_999_999_999_i128;
    let bytes = |number: i128| ByteArray::from(number.to_be_bytes().to_vec());
    let two = |number: i16| FixedLenByteArray::from(number.to_be_bytes().to_vec());
    let file = foreign(schema, |group| {
        put::<Int32Type>(group, &[0, 123, -123, -1_000], None);
        put::<Int64Type>(group, &[0, 5, -5, -123_456], None);
        put::<FixedLenByteArrayType>(group, &[two(0), two(1), two(-9_999), two(-10)], None);
        put::<ByteArrayType>(group, &[bytes(0), bytes(longest), bytes(-longest), bytes(-7)], None);
    });
    let rows = read(&file).unwrap();
    assert_eq!(
        rows,
        [
            r#"{"whole":0,"cents":0.00,"part":0.0000,"long":0}"#.to_owned(),
            format!(r#"{{"whole":123,"cents":0.05,"part":0.0001,"long":{longest}}}"#),
            format!(r#"{{"whole":-123,"cents":-0.05,"part":-0.9999,"long":-{longest}}}"#),
            r#"{"whole":-1000,"cents":-1234.56,"part":-0.0010,"long":-7}"#.to_owned(),
        ]
    );
    assert!(rows.iter().all(|row| serde_json::from_str::<&RawValue>(row).is_ok()), "{rows:?}");
}

#[test]
fn whole_decimals_are_plain_names_and_values_in_maps() {
    let schema = "message rows {
        required group m (MAP) {
            repeated group key_value {
                required int32 key (DECIMAL(9, 0));
                required int32 value (DECIMAL(9, 0));
            }
        }
    }";
    let file = foreign(schema, |group| {
        put::<Int32Type>(group, &[-7, 8], Some(&[0, 1]));
        put::<Int32Type>(group, &[70, -80], Some(&[0, 1]));
    });
    assert_eq!(read(&file).unwrap(), [r#"{"m":{"-7":70,"8":-80}}"#]);
}

/// A file as other programs write them.
fn foreign(schema: &str, fill: impl FnOnce(&mut SerializedRowGroupWriter<'_, Vec<u8>>)) -> Vec<u8> {
    let schema = parse_message_type(schema).unwrap();
    let properties = WriterProperties::builder().build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), properties.into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    fill(&mut group);
    group.close().unwrap();
    writer.into_inner().unwrap()
}

/// Writes the next column; `repeated` says of each value whether it goes on with its list.
fn put<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    repeated: Option<&[i16]>,
) {
    let there = repeated.map(|repeated| vec![1; repeated.len()]);
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, there.as_deref(), repeated).unwrap();
    column.close().unwrap();
}

#[test]
fn what_is_held_does_not_grow_with_the_file() {
    let columns = [column("n", Kind::Integer), column("t", Kind::Text)];
    let mut writer = Writer::new(std::io::sink(), &columns, 64 << 10).unwrap();
    let text = "x".repeat(100);
    let mut most = 0;
    for n in 0..100_000 {
        writer.row([Value::Integer(n), Value::Text(&text)]).unwrap();
        most = most.max(writer.held());
    }
    assert!(most < 64 << 10, "{most}");
    assert_eq!(writer.rows(), 100_000);
    writer.finish().unwrap();
}

#[test]
fn a_value_that_its_column_does_not_hold_is_refused() {
    let mut writer = Writer::new(Vec::new(), &[column("n", Kind::Integer)], 1).unwrap();
    assert!(writer.row([Value::Text("1")]).is_err());
    assert!(Writer::new(Vec::new(), &[], 1).is_err());
}

#[test]
fn what_is_no_parquet_is_refused_without_a_panic() {
    let whole = written(&columns(), &[vec![Value::Text("a"), Value::Integer(1)]], 1);
    for bytes in [b"".as_slice(), b"PAR1", b"a,b\n1,2\n", &whole[..whole.len() - 1], &whole[4..]] {
        assert!(read(bytes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_file_never_panics(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let row = vec![Value::Text("some text"), Value::Integer(7), Value::Float(1.5), Value::Boolean(true)];
        let mut bytes = written(&columns(), &vec![row; 20], 400);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Whatever comes of it.
        drop(read_any(&bytes));
    }

    #[test]
    fn texts_and_numbers_come_back(rows in prop::collection::vec((any::<String>(), any::<i64>()), 1..50)) {
        let columns = [column("t", Kind::Text), column("n", Kind::Integer)];
        let values: Vec<_> = rows.iter().map(|(t, n)| vec![Value::Text(t), Value::Integer(*n)]).collect();
        let back = read(&written(&columns, &values, 300)).unwrap();
        for (json, (t, n)) in back.iter().zip(&rows) {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            prop_assert_eq!(value["t"].as_str(), Some(t.as_str()));
            prop_assert_eq!(value["n"].as_i64(), Some(*n));
        }
    }
}

fn read_any(bytes: &[u8]) -> Result<(), Error> {
    let mut rows = Rows::open(file(bytes))?;
    let mut json = String::new();
    // A damaged count of rows must not keep a test busy.
    for _ in 0..1_000 {
        if !rows.next(&mut json)? {
            break;
        }
    }
    Ok(())
}
