use orderwire_parquet::Kind;
use orderwire_store::Column;
use proptest::prelude::*;

use super::*;

fn columns(names: &[&str]) -> Vec<Column> {
    names.iter().map(|name| Column::named(*name, *name)).collect()
}

fn written<S: Shape>(shape: S, rows: &[Vec<Cell<'_>>]) -> String {
    let slot = Slot::default();
    let mut sink: Box<dyn RowSink> =
        Box::new(Sink::new(shape, 1_000, usize::MAX, Changes::default(), slot.clone()));
    for row in rows {
        assert!(sink.row(&mut row.iter().copied()));
    }
    drop(sink);
    let written = slot.take();
    assert_eq!(written.rows, rows.len() as u64);
    String::from_utf8(written.body).unwrap()
}

fn all_types() -> Vec<Cell<'static>> {
    vec![
        Cell::Null,
        Cell::Text("a\"b\\\n\u{1}ä"),
        Cell::Integer(i64::MIN),
        Cell::Float(0.1),
        Cell::Boolean(true),
        Cell::Timestamp("2026-01-31T12:00:00.25Z".parse().unwrap()),
        Cell::Uuid("9a2ae9de-3f82-4f55-966b-47df50ff51ff".parse().unwrap()),
        Cell::Json("{\"n\":9007199254740993,\"f\":1.10}"),
        Cell::Decimal("1.10".parse().unwrap()),
        Cell::Date("2026-01-31".parse().unwrap()),
        Cell::Texts("[\"a\",\"b,c\"]"),
    ]
}

#[test]
fn json_keeps_every_value_exactly() {
    let names = ["z", "t", "i", "f", "b", "at", "id", "raw", "d", "day", "tags"];
    let text = written(JsonRows::new(&columns(&names), Frame::Array), &[all_types()]);
    assert_eq!(
        text,
        "[{\"z\":null,\"t\":\"a\\\"b\\\\\\n\\u0001ä\",\"i\":-9223372036854775808,\"f\":0.1,\"b\":true,\
         \"at\":\"2026-01-31T12:00:00.25Z\",\"id\":\"9a2ae9de-3f82-4f55-966b-47df50ff51ff\",\
         \"raw\":{\"n\":9007199254740993,\"f\":1.10},\"d\":1.10,\"day\":\"2026-01-31\",\"tags\":[\"a\",\"b,c\"]}]"
    );
    assert_eq!(written(JsonRows::new(&columns(&names), Frame::Array), &[]), "[]");
    assert_eq!(written(JsonRows::new(&columns(&names), Frame::View), &[]), "{\"values\":[],\"cache\": true}");
}

#[test]
fn csv_tells_absent_from_empty() {
    let rows = [vec![Cell::Null, Cell::Text("")], vec![Cell::Text("a,\"b\"\r\n"), Cell::Json("[1,2]")]];
    assert_eq!(
        written(CsvRows::new(&columns(&["a", "b c"])), &rows),
        "a,b c\r\n,\"\"\r\n\"a,\"\"b\"\"\r\n\",\"[1,2]\"\r\n"
    );
    assert_eq!(written(CsvRows::new(&columns(&["a"])), &[]), "a\r\n");
    let exact = vec![
        Cell::Decimal("-0.50".parse().unwrap()),
        Cell::Date("2026-01-31".parse().unwrap()),
        Cell::Texts("[\"a\",\"b,c\"]"),
        Cell::Texts("[]"),
    ];
    assert_eq!(
        written(CsvRows::new(&columns(&["d", "day", "tags", "none"])), &[exact]),
        "d,day,tags,none\r\n-0.50,2026-01-31,\"{a,\"\"b,c\"\"}\",{}\r\n"
    );
}

#[test]
fn groups_are_closed_and_their_names_never_meet_the_flag() {
    let row = |key, n| vec![key, Cell::Integer(n)];
    let rows = [
        row(Cell::Text("a"), 1),
        row(Cell::Text("a"), 2),
        row(Cell::Text("cache"), 3),
        row(Cell::Text("cache_"), 4),
        row(Cell::Text("null"), 5),
        row(Cell::Null, 6),
    ];
    let text = written(Grouped::new(&columns(&["n"])), &rows);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "a": {"values": [{"n": 1}, {"n": 2}]}, "cache_": {"values": [{"n": 3}]},
            "cache__": {"values": [{"n": 4}]}, "null_": {"values": [{"n": 5}]},
            "null": {"values": [{"n": 6}]}, "cache": true
        })
    );
    assert_eq!(written(Grouped::new(&columns(&["n"])), &[]), "{\"cache\": true}");
}

#[test]
fn series_are_arrays_of_each_column() {
    let two = columns(&["at", "n"]);
    let rows = [vec![Cell::Text("x"), Cell::Integer(1)], vec![Cell::Null, Cell::Float(0.5)]];
    assert_eq!(
        written(SeriesRows::new(&two, false), &rows),
        "{\"series\":{\"at\":[\"x\",null],\n\"n\":[1,0.5]},\n\"cache\": true}"
    );
    assert_eq!(
        written(SeriesRows::new(&two, false), &[]),
        "{\"series\":{\"at\":[],\n\"n\":[]},\n\"cache\": true}"
    );
    assert_eq!(written(SeriesRows::new(&two, true), &[]), "{\"cache\": true}");
    let row = |key, n| vec![key, Cell::Integer(n)];
    let rows =
        [row(Cell::Text("a"), 1), row(Cell::Text("a"), 2), row(Cell::Text("cache"), 3), row(Cell::Null, 4)];
    assert_eq!(
        written(SeriesRows::new(&columns(&["n"]), true), &rows),
        "{\"a\":{\"n\":[1,2]},\n\"cache_\":{\"n\":[3]},\n\"null\":{\"n\":[4]},\n\"cache\": true}"
    );
}

#[test]
fn lines_are_objects_of_their_own() {
    let rows = [vec![Cell::Integer(1)], vec![Cell::Null]];
    assert_eq!(written(LineRows::new(&columns(&["n"])), &rows), "{\"n\":1}\n{\"n\":null}\n");
    assert_eq!(written(LineRows::new(&columns(&["n"])), &[]), "");
}

fn parquet(kinds: &[(&str, Kind)], rows: &[Vec<Cell<'_>>]) -> Vec<String> {
    use std::io::Write as _;
    let columns: Vec<_> = kinds
        .iter()
        .map(|(name, kind)| orderwire_parquet::Column { name: (*name).into(), kind: *kind })
        .collect();
    let (slot, failed) = (Slot::default(), Failed::default());
    let mut sink = Sink::new(
        ParquetRows::new(&columns, failed.clone()),
        1_000,
        usize::MAX,
        Changes::default(),
        slot.clone(),
    );
    for row in rows {
        assert!(sink.row(&mut row.iter().copied()));
    }
    drop(sink);
    assert_eq!(failed.take(), None);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&slot.take().body).unwrap();
    let (mut all, mut json) = (Vec::new(), String::new());
    let mut read = orderwire_parquet::Rows::open(file).unwrap();
    while read.next(&mut json).unwrap() {
        all.push(json.clone());
    }
    all
}

#[test]
fn parquet_holds_every_type() {
    let names = ["z", "t", "i", "f", "b", "at", "id", "raw"];
    let kinds = [
        Kind::Text,
        Kind::Text,
        Kind::Integer,
        Kind::Float,
        Kind::Boolean,
        Kind::Timestamp,
        Kind::Text,
        Kind::Json,
    ];
    let kinds: Vec<_> = names.into_iter().zip(kinds).collect();
    assert_eq!(
        parquet(&kinds, &[all_types(), vec![Cell::Null; 8]]),
        [
            "{\"z\":null,\"t\":\"a\\\"b\\\\\\n\\u0001ä\",\"i\":-9223372036854775808,\"f\":0.1,\"b\":true,\
             \"at\":\"2026-01-31T12:00:00.25Z\",\"id\":\"9a2ae9de-3f82-4f55-966b-47df50ff51ff\",\
             \"raw\":{\"n\":9007199254740993,\"f\":1.10}}",
            "{\"z\":null,\"t\":null,\"i\":null,\"f\":null,\"b\":null,\"at\":null,\"id\":null,\"raw\":null}",
        ]
    );
    assert!(parquet(&[("n", Kind::Integer)], &[]).is_empty());
}

#[test]
fn what_parquet_holds_back_counts_as_written() {
    let columns = [orderwire_parquet::Column { name: "n".into(), kind: Kind::Integer }];
    let slot = Slot::default();
    let mut sink =
        Sink::new(ParquetRows::new(&columns, Failed::default()), 1_000, 500, Changes::default(), slot);
    let taken = (0..1_000).take_while(|n| sink.row(&mut [Cell::Integer(*n)].into_iter())).count();
    assert!((40..60).contains(&taken), "{taken}");
}

#[test]
fn rows_and_bytes_are_bounded_but_one_row_is_always_taken() {
    for (rows_max, bytes_max, expected) in [(2, usize::MAX, 2), (10, 1, 1), (10, 20, 3)] {
        let slot = Slot::default();
        let mut sink = Sink::new(
            JsonRows::new(&columns(&["n"]), Frame::Array),
            rows_max,
            bytes_max,
            Changes::default(),
            slot.clone(),
        );
        let taken = (0..10).take_while(|n| sink.row(&mut [Cell::Integer(*n)].into_iter())).count();
        drop(sink);
        let written = slot.take();
        assert_eq!((taken, written.rows), (expected, expected as u64), "{rows_max} {bytes_max}");
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&written.body).unwrap();
        assert_eq!(rows.len(), expected);
    }
}

proptest! {
    #[test]
    fn floats_read_back_the_same(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        let text = written(JsonRows::new(&columns(&["f"]), Frame::Single), &[vec![Cell::Float(number)]]);
        let digits = text.strip_prefix("{\"f\":").unwrap().strip_suffix('}').unwrap();
        prop_assert_eq!(digits.parse::<f64>().unwrap().to_bits(), number.to_bits());
    }

    #[test]
    fn csv_is_read_back_by_the_library(rows in prop::collection::vec((any::<String>(), any::<String>()), 1..5)) {
        let cells: Vec<_> = rows.iter().map(|(a, b)| vec![Cell::Text(a), Cell::Text(b)]).collect();
        let text = written(CsvRows::new(&columns(&["a", "b"])), &cells);
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let read: Vec<(String, String)> = reader.deserialize().map(Result::unwrap).collect();
        prop_assert_eq!(read, rows);
    }
}
