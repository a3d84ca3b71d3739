//! Values: each type in and out without loss.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, refused, same};
use super::super::rows::{compare, of, only_if, read};
use super::case_list;
use orderwire_types::row::KEY_BYTES;

use crate::error::ErrorKind;
use crate::select::{Compare, Operand};

case_list![
    values_of_every_type_come_back_as_they_were,
    json_keeps_its_digits,
    the_least_and_greatest_values_are_kept_and_compared,
    a_value_of_another_type_or_with_nul_is_refused,
    the_longest_key_is_recorded_and_found,
];

pub(super) const TYPES: &str = r#"{"fields":[{"name":"t","type":"text"},{"name":"i","type":"integer"},
    {"name":"f","type":"float"},{"name":"b","type":"boolean"},{"name":"at","type":"timestamp"},
    {"name":"j","type":"json"}]}"#;

const COLUMNS: [&str; 6] = ["t", "i", "f", "b", "at", "j"];

async fn values_of_every_type_come_back_as_they_were(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &def(TYPES), at(0)).await?;
    let rows = r#"[
        {"t":"Grüße, 世界 🌍 \"q\" \\ '%_","i":-5,"f":0.1,"b":true,"at":"2024-05-01T12:00:00.123456789+02:00","j":{"a":[1,null]}},
        {"t":"","i":0,"f":1,"b":false,"at":"1969-12-31T23:59:59.999999Z","j":"x"},
        {"j":null},
        {"t":"a\nb","f":-1e-300,"j":[]}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    drop(store);
    let store = factory.open().await?;
    let expected = [
        r#"'Grüße, 世界 🌍 "q" \ '%_' -5 0.1 true 2024-05-01T10:00:00.123456Z json:{"a":[1,null]}"#,
        r#"'' 0 1.0 false 1969-12-31T23:59:59.999999Z json:"x""#,
        "null null null null null null",
        "'a\nb' null -1e-300 null null json:[]",
    ];
    let expected = expected.iter().map(|&row| row.to_owned()).collect();
    same("rows", read(&store, &all(), of(&COLUMNS)).await?, expected)?;
    // Columns in another order, and one of them twice.
    let some = only_if(of(&["f", "t", "f"]), compare("i", Compare::Eq(Operand::Integer(0))));
    same("some columns", read(&store, &all(), some).await?, vec!["1.0 '' 1.0".to_owned()])
}

async fn json_keeps_its_digits(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &def(TYPES), at(0)).await?;
    let texts = [
        "9007199254740993",
        "1.10",
        "1e400",
        "123456789012345678901234567890",
        r#"{"b": 1,"a":5.122996,"b2":"-23.831520"}"#,
        r#""\u0000 \u00e4""#,
        "false",
    ];
    for (n, text) in (0..).zip(texts) {
        let rows = format!(r#"{{"j":{text}}}"#);
        store.record(batch(n, n + 1, vec![event(n.unsigned_abs().into(), "a", &rows)])).await?;
    }
    let expected = texts.iter().map(|text| format!("json:{text}")).collect();
    same("rows", read(&store, &all(), of(&["j"])).await?, expected)
}

async fn the_least_and_greatest_values_are_kept_and_compared(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &def(TYPES), at(0)).await?;
    let rows = r#"[{"i":9223372036854775807,"f":1.7976931348623157e308,"at":"9999-12-30T00:00:00Z"},
        {"i":9223372036854775806,"f":5e-324,"at":"0001-01-01T00:00:00Z"},
        {"i":-9223372036854775808,"f":-1.7976931348623157e308,"at":"0000-01-01T00:00:00Z"}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    let expected = [
        "9223372036854775807 1.7976931348623157e308 9999-12-30T00:00:00Z",
        "9223372036854775806 5e-324 0001-01-01T00:00:00Z",
        "-9223372036854775808 -1.7976931348623157e308 0000-01-01T00:00:00Z",
    ];
    let expected: Vec<String> = expected.iter().map(|&row| row.to_owned()).collect();
    same("rows", read(&store, &all(), of(&["i", "f", "at"])).await?, expected)?;
    let greatest = only_if(of(&["i"]), compare("i", Compare::Gt(Operand::Integer(i64::MAX - 1))));
    same("greatest", read(&store, &all(), greatest).await?, vec![i64::MAX.to_string()])?;
    let least = only_if(of(&["i"]), compare("i", Compare::Eq(Operand::Integer(i64::MIN))));
    same("least", read(&store, &all(), least).await?, vec![i64::MIN.to_string()])
}

async fn a_value_of_another_type_or_with_nul_is_refused(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &def(TYPES), at(0)).await?;
    for rows in [
        r#"{"t":"a\u0000b"}"#,
        r#"{"t":1}"#,
        r#"{"i":9223372036854775808}"#,
        r#"{"i":1.0}"#,
        r#"{"i":"1"}"#,
        r#"{"f":1e999}"#,
        r#"{"f":"NaN"}"#,
        r#"{"b":1}"#,
        r#"{"at":"2024-05-01"}"#,
        r#"{"at":0}"#,
    ] {
        let result = store.record(batch(0, 1, vec![event(1, "a", rows)])).await;
        same("the entry is named", refused(rows, result, ErrorKind::Invalid)?.entry(), Some(0))?;
    }
    same("rows", read(&store, &all(), of(&["t"])).await?, Vec::new())
}

/// Of the longest client, with the greatest values of other types beside it, in each index.
async fn the_longest_key_is_recorded_and_found(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let columns: Vec<String> =
        ["k", "l"].map(str::to_owned).into_iter().chain((0..28).map(|n| format!("d{n}"))).collect();
    let field = |name: &String| {
        let kind = if name.starts_with('d') { "decimal" } else { "text" };
        format!(r#"{{"name":"{name}","type":"{kind}","required":true}}"#)
    };
    let fields: Vec<String> = columns.iter().map(field).collect();
    let definition = format!(
        r#"{{"fields":[{},{{"name":"v","type":"integer"}},{{"name":"at","type":"timestamp"}}],"key":{columns:?},"time":"at"}}"#,
        fields.join(",")
    );
    store.define(&all(), &dataset("d"), &def(&definition), at(0)).await?;
    let owner = "c".repeat(128);
    // Texts of no pattern: an engine that packs what repeats itself keeps more of such.
    let text = |seed: u32, bytes: usize| -> String {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(0x4e00 + (state >> 16) % 0x5000).expect("a CJK character")
        };
        let mut text: String = (0..bytes / 3).map(next).collect();
        text.push_str(&"x".repeat(bytes % 3));
        text
    };
    let (k, l) = (text(1, KEY_BYTES / 2), text(2, KEY_BYTES - KEY_BYTES / 2));
    same("bytes", k.len() + l.len(), KEY_BYTES)?;
    let decimals: String = columns[2..]
        .iter()
        .map(|name| format!(r#","{name}":0.{}"#, "9876543210123456789".repeat(2)))
        .collect();
    let row = |v: u8| format!(r#"{{"k":"{k}","l":"{l}"{decimals},"v":{v},"at":"2026-01-01T00:00:00Z"}}"#);
    store.record(batch(0, 1, vec![event(1, &owner, &row(1))])).await?;
    store.record(batch(1, 2, vec![event(2, &owner, &row(2))])).await?;
    let found = only_if(of(&["k", "l", "v"]), compare("k", Compare::Eq(Operand::Text(k.clone()))));
    same("rows", read(&store, &all(), found).await?, vec![format!("'{k}' '{l}' 2")])
}
