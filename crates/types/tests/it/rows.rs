//! Rows against their definition.

use orderwire_types::dataset::{DatasetDef, Unknown};
use orderwire_types::row::{KEY_BYTES, Reader, Value};
use orderwire_types::{FaultKind, Limits};
use proptest::prelude::*;

fn def() -> DatasetDef {
    serde_json::from_str(
        r#"{"fields":[{"name":"station","type":"text","required":true},{"name":"count","type":"integer"},
            {"name":"so2","type":"float"},{"name":"ok","type":"boolean"},{"name":"at","type":"timestamp"},
            {"name":"raw","type":"json"}]}"#,
    )
    .unwrap()
}

fn reader() -> Reader {
    Reader::new(&def(), &Limits::default())
}

fn read(json: &str) -> Result<Vec<Value<'_>>, (FaultKind, String)> {
    let mut out = vec![Value::Null; 99];
    reader().read(json, &mut out).map_err(|fault| (fault.kind, fault.pointer))?;
    Ok(out)
}

#[test]
fn values_come_in_the_order_of_the_fields() {
    let json = r#" {"raw":{"n":1.10},"at":"2024-05-01T12:00:00.1234567+02:00","ok":true,"so2":91,
        "count":-9223372036854775808,"station":"Ä \"\u00e9"} "#;
    let expected = vec![
        Value::Text("Ä \"é".into()),
        Value::Integer(i64::MIN),
        Value::Float(91.0),
        Value::Boolean(true),
        Value::Timestamp("2024-05-01T10:00:00.123456Z".parse().unwrap()),
        Value::Json(r#"{"n":1.10}"#.into()),
    ];
    assert_eq!(read(json).unwrap(), expected);
    let last = read(r#"{"station":"s","at":"9999-12-30T22:00:00.999999999Z"}"#).unwrap();
    assert_eq!(last[4], Value::Timestamp("9999-12-30T22:00:00Z".parse().unwrap()));
}

#[test]
fn missing_and_null_are_null() {
    let mut expected = vec![Value::Null; 6];
    expected[0] = Value::Text("s".into());
    assert_eq!(read(r#"{"station":"s"}"#).unwrap(), expected);
    assert_eq!(
        read(r#"{"station":"s","count":null,"so2":null,"ok":null,"at":null,"raw":null}"#).unwrap(),
        expected
    );
}

#[test]
fn types_never_turn_into_each_other() {
    for (member, field) in [
        (r#""station":5"#, "/station"),
        (r#""station":null"#, "/station"),
        (r#""station":"a\u0000b""#, "/station"),
        (r#""station":"\ud800""#, "/station"),
        (r#""count":"5""#, "/count"),
        (r#""count":91.0"#, "/count"),
        (r#""count":1e3"#, "/count"),
        (r#""count":9223372036854775808"#, "/count"),
        (r#""count":true"#, "/count"),
        (r#""so2":"1.5""#, "/so2"),
        (r#""so2":"NaN""#, "/so2"),
        (r#""so2":1e400"#, "/so2"),
        (r#""ok":1"#, "/ok"),
        (r#""ok":"true""#, "/ok"),
        (r#""at":"2024-05-01""#, "/at"),
        (r#""at":"2024-05-01T12:00:00""#, "/at"),
        (r#""at":1588114545387"#, "/at"),
        (r#""other":1"#, "/other"),
        (r#""a/b~":1"#, "/a~1b~0"),
        (r#""count":1,"count":1"#, "/count"),
        (r#""count":null,"count":1"#, "/count"),
    ] {
        let json = if field == "/station" {
            format!("{{{member}}}")
        } else {
            format!(r#"{{"station":"s",{member}}}"#)
        };
        assert_eq!(read(&json).unwrap_err(), (FaultKind::Invalid, field.to_owned()), "{json}");
    }
    assert_eq!(read("{}").unwrap_err(), (FaultKind::Invalid, "/station".to_owned()));
}

#[test]
fn hostile_rows_are_refused() {
    for (json, kind, pointer) in [
        ("", FaultKind::Malformed, ""),
        ("{", FaultKind::Malformed, ""),
        (r#"{"station":"s"}{}"#, FaultKind::Malformed, ""),
        (r#"{"station":"s","so2":NaN}"#, FaultKind::Malformed, ""),
        ("[]", FaultKind::Invalid, ""),
        ("5", FaultKind::Invalid, ""),
    ] {
        assert_eq!(read(json).unwrap_err(), (kind, pointer.to_owned()), "{json}");
    }
    let deep = format!(r#"{{"station":"s","raw":{}1{}}}"#, "[".repeat(64), "]".repeat(64));
    assert_eq!(read(&deep).unwrap_err(), (FaultKind::Invalid, "/raw".to_owned()));
    assert!(read(&deep.replacen('[', "", 1).replacen(']', "", 1)).is_ok());
    let bottomless = format!(r#"{{"station":"s","raw":{}"#, "[".repeat(10_000));
    assert!(read(&bottomless).is_err());
    let long = format!(r#"{{"station":"{}"}}"#, "x".repeat(300_000));
    assert_eq!(read(&long).unwrap_err(), (FaultKind::TooLarge, "/station".to_owned()));
    let huge = format!(r#"{{"station":"{}"}}"#, "x".repeat(2_000_000));
    assert_eq!(read(&huge).unwrap_err(), (FaultKind::TooLarge, String::new()));
}

#[test]
fn unknown_fields_may_be_ignored() {
    let reader = Reader::new(&DatasetDef { unknown: Unknown::Ignore, ..def() }, &Limits::default());
    let mut out = Vec::new();
    reader.read(r#"{"x":[{}],"station":"s","y":1,"count":2}"#, &mut out).unwrap();
    assert_eq!(out[..2], [Value::Text("s".into()), Value::Integer(2)]);
    let header = reader.csv_header(["x", "station"]).unwrap();
    assert_eq!(reader.read_csv(&header, ["1", "s"]).unwrap(), r#"{"station":"s"}"#);
}

#[test]
fn unknown_fields_may_be_kept() {
    let limits = Limits { field_bytes: 60, json_depth: 4, ..Limits::default() };
    let reader = Reader::new(&DatasetDef { unknown: Unknown::Keep, ..def() }, &limits);
    let read = |json: &str| {
        let mut out = Vec::new();
        reader.read(json, &mut out).map_err(|fault| (fault.kind, fault.pointer))?;
        let Some(Value::Json(kept)) = out.pop() else { return Ok(String::new()) };
        Ok(kept.into_owned())
    };
    for (json, kept) in [
        (r#"{"station":"s"}"#, ""),
        (r#"{"x":[{}, 1.10],"station":"s","a\"b":null}"#, r#"{"x":[{}, 1.10],"a\"b":null}"#),
        // As it is exported; its names are nobody's columns.
        (
            r#"{"station":"s","_extra":{"x":1,"station":2,"_extra":3},"y":4}"#,
            r#"{"x":1,"station":2,"_extra":3,"y":4}"#,
        ),
        (r#"{"station":"s","_extra":null}"#, ""),
        (r#"{"station":"s","_extra":{}}"#, ""),
    ] {
        assert_eq!(read(json), Ok(kept.to_owned()), "{json}");
    }
    let many = format!(r#"{{"station":"s","a":"{0}","b/":"{0}"}}"#, "x".repeat(30));
    for (json, kind, pointer) in [
        (r#"{"station":"s","x":1,"x":2}"#, FaultKind::Invalid, "/x"),
        (r#"{"station":"s","x":1,"_extra":{"x":2}}"#, FaultKind::Invalid, "/x"),
        (r#"{"station":"s","_extra":{},"_extra":{}}"#, FaultKind::Invalid, "/_extra"),
        (r#"{"station":"s","_extra":[]}"#, FaultKind::Invalid, "/_extra"),
        // As deep as it may still be when it is exported.
        (r#"{"station":"s","x":[[[1]]]}"#, FaultKind::Invalid, "/x"),
        (&many, FaultKind::TooLarge, "/b~1"),
    ] {
        assert_eq!(read(json), Err((kind, pointer.to_owned())), "{json}");
    }
    assert!(read(r#"{"station":"s","x":[[1]]}"#).is_ok());
    // A value of CSV has no type.
    let header = reader.csv_header(["x", "station", "_extra", "e"]).unwrap();
    let row = reader.read_csv(&header, ["1.10", "s", r#"{"y":[1.0]}"#, ""]).unwrap();
    assert_eq!(row, r#"{"x":"1.10","station":"s","_extra":{"y":[1.0]},"e":null}"#);
    assert_eq!(read(&row), Ok(r#"{"x":"1.10","y":[1.0],"e":null}"#.to_owned()));
    let twice = reader.read_csv(&header, ["1", "s", r#"{"x":1}"#, ""]);
    assert_eq!(twice.unwrap_err().pointer, "/x");
    assert_eq!(reader.csv_header(["x", "station", "x"]).unwrap_err().pointer, "/x");
    assert_eq!(reader.filled("{}", &[("x", "1")]).unwrap(), r#"{"x":"1"}"#);
}

/// What was passed over when a row was accepted is no fault of it since it is kept.
#[test]
fn what_was_passed_over_before_is_kept_as_far_as_it_can_be() {
    let limits = Limits { field_bytes: 60, json_depth: 4, ..Limits::default() };
    let reader = Reader::new(&DatasetDef { unknown: Unknown::Keep, ..def() }, &limits);
    let many = format!(r#"{{"station":"s","a":"{0}","b":"{0}"}}"#, "x".repeat(30));
    for (json, kept) in [
        (r#"{"station":"s","x":1,"x":2,"y":3}"#, r#"{"x":1,"y":3}"#),
        (r#"{"station":"s","_extra":{"x":1},"_extra":{"x":2,"y":3}}"#, r#"{"x":1,"y":3}"#),
        (r#"{"station":"s","_extra":[],"x":1}"#, r#"{"_extra":[],"x":1}"#),
        (r#"{"station":"s","x":[[[1]]]}"#, r#"{"x":[[[1]]]}"#),
        (&many, &many.replace(r#""station":"s","#, "")),
    ] {
        let mut out = Vec::new();
        assert!(reader.read(json, &mut out).is_err(), "{json}");
        reader.for_the_past().read(json, &mut out).unwrap();
        let Some(Value::Json(text)) = out.pop() else { panic!("nothing is kept of {json}") };
        assert_eq!(text, kept, "{json}");
    }
}

#[test]
fn csv_values_become_json_of_their_column() {
    let reader = reader();
    let header = reader.csv_header(["\u{feff}station", "count", "so2", "ok", "at", "raw"]).unwrap();
    let row = |record: [&'static str; 6]| reader.read_csv(&header, record).map_err(|fault| fault.pointer);
    assert_eq!(
        row(["a \"b\"", "-7", "5.1229960", "T", "2024-05-01 12:00:00", "{\"n\":1.10}"]).unwrap(),
        r#"{"station":"a \"b\"","count":-7,"so2":5.1229960,"ok":true,"at":"2024-05-01T12:00:00Z","raw":{"n":1.10}}"#
    );
    assert_eq!(
        row(["s", "", "", "", "", ""]).unwrap(),
        r#"{"station":"s","count":null,"so2":null,"ok":null,"at":null,"raw":null}"#
    );
    for (record, pointer) in [
        (["", "", "", "", "", ""], "/station"),
        (["a\0", "", "", "", "", ""], "/station"),
        (["s", "1.0", "", "", "", ""], "/count"),
        (["s", "007", "", "", "", ""], "/count"),
        (["s", "+7", "", "", "", ""], "/count"),
        (["s", " 7", "", "", "", ""], "/count"),
        (["s", "9223372036854775808", "", "", "", ""], "/count"),
        (["s", "", "NaN", "", "", ""], "/so2"),
        (["s", "", "inf", "", "", ""], "/so2"),
        (["s", "", "1e999", "", "", ""], "/so2"),
        (["s", "", "1,5", "", "", ""], "/so2"),
        (["s", "", "", "yes", "", ""], "/ok"),
        (["s", "", "", "", "yesterday", ""], "/at"),
        (["s", "", "", "", "", "{"], "/raw"),
        (["s", "", "", "", "", "1,\"x\":2"], "/raw"),
    ] {
        assert_eq!(row(record).unwrap_err(), pointer, "{record:?}");
    }
    assert!(reader.read_csv(&header, ["s"]).is_err());
    assert!(reader.read_csv(&header, ["s", "", "", "", "", "", ""]).is_err());
    for (names, pointer) in [
        (vec!["station", "other"], "/other"),
        (vec!["station", "station"], "/station"),
        (vec!["count"], "/station"),
    ] {
        assert_eq!(reader.csv_header(names).unwrap_err().pointer, pointer);
    }
}

#[test]
fn a_quote_that_nothing_closes_is_found() {
    for (document, line) in [
        ("a,b\n1,\"x\n2,y\n", Some(2)),
        ("a\n\"x\ny\"\n\"z\n\n", Some(4)),
        ("\u{feff}\"a\n1\n", Some(1)),
        ("a\n\"x\"\"", Some(2)),
        ("a\n\"x\"", None),
        ("a\n\"x\"\"y\"\n", None),
        ("a\n5\" pipe\n", None),
        ("a\n\"x\"y\"\n", None),
        ("", None),
    ] {
        assert_eq!(orderwire_types::row::csv_open_quote(document.as_bytes()), line, "{document:?}");
    }
}

proptest! {
    /// Whatever the order of the members, each value is what was written, and
    /// CSV gives the same row.
    #[test]
    fn rows_are_read_as_written(
        station in "[^\\x00]{1,12}", count: i64, so2 in -1e300..1e300, ok: bool, micros in -60_000_000_000_000_000i64..60_000_000_000_000_000,
        order in Just([0usize, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let at = jiff::Timestamp::from_microsecond(micros).unwrap();
        let text = serde_json::to_string(&station).unwrap();
        let members = [
            format!("\"station\":{text}"), format!("\"count\": {count}"), format!("\"so2\":{so2:e}"),
            format!("\"ok\":{ok}"), format!("\"at\":\"{at}\""),
        ];
        let json = format!("{{{}}}", order.map(|i| members[i].clone()).join(" , "));
        let expected = vec![
            Value::Text(station.clone().into()), Value::Integer(count), Value::Float(so2), Value::Boolean(ok),
            Value::Timestamp(at), Value::Null,
        ];
        prop_assert_eq!(read(&json), Ok(expected.clone()));

        let reader = reader();
        let header = reader.csv_header(["at", "ok", "so2", "count", "station"]).unwrap();
        let record = [at.to_string(), ok.to_string(), format!("{so2:e}"), count.to_string(), station];
        let json = reader.read_csv(&header, record.iter().map(String::as_str)).unwrap();
        prop_assert_eq!(read(&json), Ok(expected));
    }

    /// No text makes the reader panic.
    #[test]
    fn any_text_is_a_row_or_a_fault(json in "[{\"a-z0-9:,.\\[\\]}\\\\ ]{0,64}") {
        let _ = read(&json);
    }
}

fn exact() -> Reader {
    let def: DatasetDef = serde_json::from_str(
        r#"{"fields":[{"name":"d","type":"decimal"},{"name":"day","type":"date"},{"name":"id","type":"uuid"},
            {"name":"tags","type":"text[]","default":["x"]}]}"#,
    )
    .unwrap();
    assert!(def.faults().is_empty());
    Reader::new(&def, &Limits::default())
}

#[test]
fn exact_values_are_read_from_json_and_csv() {
    let reader = exact();
    let mut out = Vec::new();
    let json = r#"{"d":-1.50e0,"day":"2024-02-29","id":"9A2AE9DE-3f82-4f55-966b-47df50ff51ff","tags":["a","\u00e4"]}"#;
    reader.read(json, &mut out).unwrap();
    let expected = vec![
        Value::Decimal("-1.50".parse().unwrap()),
        Value::Date("2024-02-29".parse().unwrap()),
        Value::Uuid("9a2ae9de-3f82-4f55-966b-47df50ff51ff".parse().unwrap()),
        Value::Texts(vec!["a".into(), "ä".into()]),
    ];
    assert_eq!(out, expected);
    reader.read("{}", &mut out).unwrap();
    assert_eq!(out[3], Value::Texts(vec!["x".into()]), "the default");
    reader.read(r#"{"tags":null}"#, &mut out).unwrap();
    assert_eq!(out[3], Value::Null, "null is no value");
    for (member, pointer) in [
        (r#""d":"1.5""#, "/d"),
        (r#""d":1e39"#, "/d"),
        (r#""d":[1]"#, "/d"),
        (r#""day":"2024-2-9""#, "/day"),
        (r#""day":20240229"#, "/day"),
        (r#""id":"{9a2ae9de-3f82-4f55-966b-47df50ff51ff}""#, "/id"),
        (r#""tags":"a""#, "/tags"),
        (r#""tags":["a",null]"#, "/tags"),
        (r#""tags":["a\u0000"]"#, "/tags"),
    ] {
        let fault = reader
            .read(&format!("{{{member}}}"), &mut Vec::new())
            .map_err(|fault| (fault.kind, fault.pointer));
        assert_eq!(fault, Err((FaultKind::Invalid, pointer.to_owned())), "{member}");
    }
    let header = reader.csv_header(["d", "day", "id", "tags"]).unwrap();
    let row = |record: [&'static str; 4]| reader.read_csv(&header, record).map_err(|fault| fault.pointer);
    let id = "9A2AE9DE-3f82-4f55-966b-47df50ff51ff";
    let read =
        r#"{"d":1.10,"day":"2024-02-29","id":"9a2ae9de-3f82-4f55-966b-47df50ff51ff","tags":["a","b,c"]}"#;
    assert_eq!(row(["1.10", "2024-02-29", id, "{a,\"b,c\"}"]).unwrap(), read);
    assert_eq!(row(["1.10", "2024-02-29", id, "[\"a\", \"b,c\"]"]).unwrap(), read);
    assert_eq!(row(["", "", "", ""]).unwrap(), r#"{"d":null,"day":null,"id":null,"tags":null}"#);
    for (record, pointer) in [
        (["1,5", "", "", ""], "/d"),
        (["01", "", "", ""], "/d"),
        (["", "29.02.2024", "", ""], "/day"),
        (["", "", "x", ""], "/id"),
        (["", "", "", "a"], "/tags"),
        (["", "", "", "{a,null}"], "/tags"),
        (["", "", "", "[1]"], "/tags"),
    ] {
        assert_eq!(row(record).unwrap_err(), pointer, "{record:?}");
    }
}

#[test]
fn rows_of_an_earlier_definition_are_read_by_the_present_one() {
    let def: DatasetDef = serde_json::from_str(
        r#"{"fields":[{"name":"at","type":"timestamp"},{"name":"d","type":"decimal"},{"name":"day","type":"date"}]}"#,
    )
    .unwrap();
    let reader = Reader::new(&def, &Limits::default());
    let row = r#"{"at":"2024-02-29","d":7,"gone":"x","day":"2024-02-29T23:30:00-01:00"}"#;
    assert!(reader.read(row, &mut Vec::new()).is_err());
    let mut out = Vec::new();
    reader.for_the_past().read(row, &mut out).unwrap();
    let moment = |text: &str| Value::Timestamp(text.parse().unwrap());
    let day = |text: &str| Value::Date(text.parse().unwrap());
    assert_eq!(
        out,
        [moment("2024-02-29T00:00:00Z"), Value::Decimal("7".parse().unwrap()), day("2024-03-01")]
    );
    // What has no like in the new type is what it becomes in the rows that are there.
    let edges = r#"{"at":"9999-12-31","day":"0000-01-01T00:00:00+01:00"}"#;
    reader.for_the_past().read(edges, &mut out).unwrap();
    assert_eq!(out, [moment("9999-12-30T22:00:00Z"), Value::Null, day("0000-01-01")]);
    for row in [r#"{"day":"2024-02-29T00:00:00Z"}"#, r#"{"at":"2024-02-29"}"#] {
        assert!(reader.read(row, &mut Vec::new()).is_err(), "a new row is of the present type: {row}");
    }
    for wrong in [r#"{"at":"soon"}"#, r#"{"d":"7"}"#, r#"{"day":"soon"}"#, r#"{"day":"2024-02-29T00:00:00"}"#]
    {
        assert!(reader.for_the_past().read(wrong, &mut out).is_err(), "{wrong}");
    }
}

#[test]
fn the_texts_of_a_key_are_bounded_together() {
    let def: DatasetDef = serde_json::from_str(
        r#"{"fields":[{"name":"v","type":"text"},{"name":"n","type":"integer","required":true},
            {"name":"a","type":"text","required":true},{"name":"b","type":"text","required":true,"default":"ää"}],
            "key":["b","n","a"]}"#,
    )
    .unwrap();
    assert!(def.faults().is_empty());
    let reader = Reader::new(&def, &Limits::default());
    let header = reader.csv_header(["v", "n", "a"]).unwrap();
    let full = reader.csv_header(["n", "a", "b"]).unwrap();
    let value = "v".repeat(5_000);
    let both = |a: &str, b: Option<&str>| {
        let b = b.map(|b| format!(r#","b":"{b}""#)).unwrap_or_default();
        let json = format!(r#"{{"v":"{value}","n":1,"a":"{a}"{b}}}"#);
        let from_json = reader.read(&json, &mut Vec::new()).map_err(|fault| (fault.kind, fault.pointer));
        reader.clone().for_recording().read(&json, &mut Vec::new()).unwrap();
        reader.clone().for_recording().for_the_past().read(&json, &mut Vec::new()).unwrap();
        let from_csv = if b.is_empty() {
            reader.read_csv(&header, [&value, "1", a])
        } else {
            reader.read_csv(&full, ["1", a, &b[6..b.len() - 1]])
        };
        assert_eq!(from_csv.map(drop).map_err(|fault| (fault.kind, fault.pointer)), from_json);
        from_json
    };
    let longest = "ä".repeat(KEY_BYTES / 2 - 2);
    let wrong = Err((FaultKind::Invalid, "/a".to_owned()));
    assert_eq!(both(&longest, None), Ok(()), "4 bytes are the default's");
    assert_eq!(both(&format!("{longest}x"), None), wrong);
    assert_eq!(both(&longest, Some("xxxx")), Ok(()));
    let longer =
        reader.read(&format!(r#"{{"n":1,"a":"","b":"{}"}}"#, "b".repeat(KEY_BYTES + 1)), &mut Vec::new());
    assert_eq!(longer.unwrap_err().pointer, "/b");
}
