//! The forms of answers, compressed ones among them, and the shapes and parameters of views.

use std::io::{Read as _, Write as _};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use axum::http::StatusCode;
use orderwire_query::{Freshness, ParamDef, Shape, ViewDef, check_view};
use orderwire_types::dataset::{DatasetDef, FieldType};
use serde_json::{Value, json};

use crate::bench::{AIR, Answer, Bench, public, view};

const NDJSON: &str = "application/x-ndjson";
const PARQUET: &str = "application/vnd.apache.parquet";

/// Many rows of one station, so that an answer is worth compressing.
async fn many(bench: &Bench, station: &str) {
    let row = |n: u32| {
        format!(
            "{{\"TimeInstant\":\"2026-01-01T{:02}:{:02}:00Z\",\"id_entity\":\"{station}\",\"n\":{n}}}",
            n / 60,
            n % 60
        )
    };
    let rows: Vec<String> = (0..600).map(row).collect();
    bench.record("default", &format!("[{}]", rows.join(","))).await;
}

fn decoded(answer: &Answer) -> String {
    let mut text = String::new();
    match answer.header("content-encoding") {
        "gzip" => {
            flate2::read::GzDecoder::new(&answer.bytes[..]).read_to_string(&mut text).map(drop).unwrap();
        }
        "zstd" => text = String::from_utf8(zstd::stream::decode_all(&answer.bytes[..]).unwrap()).unwrap(),
        other => panic!("encoding {other:?}"),
    }
    text
}

fn rows_of(parquet: &[u8]) -> Vec<Value> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(parquet).unwrap();
    let (mut rows, mut json) = (orderwire_parquet::Rows::open(file).unwrap(), String::new());
    let mut all = Vec::new();
    while rows.next(&mut json).unwrap() {
        all.push(serde_json::from_str(&json).unwrap());
    }
    all
}

#[tokio::test]
async fn rows_come_as_lines_and_as_parquet() {
    let bench = Bench::new(vec![view("/api/air")]).await;
    bench.sample().await;
    let path = "/rest/air?select=n,no2,ok,raw,at:TimeInstant,_event_id&order=n";
    let json = bench.get(path).await.json();
    let lines = bench.get_with(path, ("accept", NDJSON)).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson; charset=utf-8");
    let rows: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::from(rows), json);
    let parquet = bench.get_with(path, ("accept", PARQUET)).await;
    assert_eq!(parquet.header("content-type"), PARQUET);
    assert_eq!(Value::from(rows_of(&parquet.bytes)), json);
    // From the cache, too, and each form for itself.
    let again = bench.get_with(path, ("accept", PARQUET)).await;
    assert_eq!((again.header("cache-status"), &again.bytes), ("orderwire; hit", &parquet.bytes));
    assert_ne!(lines.header("etag"), parquet.header("etag"));
    let of_view = bench.get_with("/api/air?n=lt.4", ("accept", NDJSON)).await;
    assert_eq!(of_view.text.lines().count(), 2, "{}", of_view.text);
    assert!(!of_view.text.contains("\"cache\""));
    let of_view = bench.get_with("/api/air?n=lt.4", ("accept", PARQUET)).await;
    assert_eq!(rows_of(&of_view.bytes).len(), 2);
    // A view refuses nobody for what a browser says.
    let browser = bench.get_with("/api/air", ("accept", "text/html,image/png")).await;
    assert_eq!((browser.status, browser.json()["cache"].clone()), (StatusCode::OK, false.into()));
}

#[tokio::test]
async fn an_answer_is_compressed_once_and_ends_as_it_has_to() {
    let open = ViewDef { read: public(&["default"]), ..view("/api/open") };
    let bench = Bench::new(vec![open]).await;
    many(&bench, "s1").await;
    let plain = bench.get("/api/open").await;
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(plain.header("vary"), "Accept, Accept-Encoding");
    for (accept, coding) in [("gzip", "gzip"), ("gzip, br, zstd", "zstd")] {
        bench
            .record(
                "default",
                &format!(r#"[{{"TimeInstant":"2026-02-01T00:00:00Z","id_entity":"{coding}"}}]"#),
            )
            .await;
        let miss = bench.get_with("/api/open", ("accept-encoding", accept)).await;
        assert_eq!(miss.header("content-encoding"), coding);
        assert_eq!(miss.header("cache-status"), "orderwire; fwd=miss");
        assert_eq!(miss.header("content-length"), miss.bytes.len().to_string());
        let text = decoded(&miss);
        assert!(text.ends_with("\"cache\": false}") && text.contains(&format!("\"{coding}\"")), "{coding}");
        let hit = bench.get_with("/api/open", ("accept-encoding", accept)).await;
        assert_eq!(hit.header("cache-status"), "orderwire; hit");
        assert_eq!(decoded(&hit), text.replace("\"cache\": false", "\"cache\": true"));
        assert_eq!(hit.header("content-length"), hit.bytes.len().to_string());
        assert!(hit.bytes.len() < text.len() / 5, "{} of {}", hit.bytes.len(), text.len());
        // The same content, whichever way it comes.
        let plain = bench.get("/api/open").await;
        assert_eq!(
            (plain.header("cache-status"), plain.header("etag")),
            ("orderwire; hit", hit.header("etag"))
        );
        let tag = ("if-none-match", plain.header("etag"));
        let known = bench.send("GET", "/api/open", &[("accept-encoding", accept), tag]).await;
        assert_eq!((known.status, known.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    }
    assert_eq!(bench.selects(), 3, "compressing asks nobody");
}

#[tokio::test]
async fn rest_compresses_what_is_worth_it() {
    let bench = Bench::new(vec![]).await;
    many(&bench, "s1").await;
    let gzip = ("accept-encoding", "gzip");
    let plain = bench.get("/rest/air?select=n,id_entity").await;
    let coded = bench.get_with("/rest/air?select=n,id_entity", gzip).await;
    assert_eq!(decoded(&coded), plain.text);
    assert!(coded.header("vary").contains("Accept-Encoding"));
    assert_eq!(bench.get_with("/rest/air?limit=1", gzip).await.header("content-encoding"), "");
    let parquet =
        bench.send("GET", "/rest/air", &[("authorization", "Bearer all"), gzip, ("accept", PARQUET)]).await;
    assert_eq!(parquet.header("content-encoding"), "", "it is compressed inside");
    let past = [("authorization", "Bearer all"), gzip, ("cache-control", "no-store")];
    let past = bench.send("GET", "/rest/air?select=n,id_entity", &past).await;
    assert_eq!((past.header("cache-status"), decoded(&past)), ("orderwire; fwd=bypass", plain.text));
}

/// Compressing must not make an answer younger, nor hide that the store is away.
#[tokio::test]
async fn a_compressed_answer_has_the_age_of_its_rows() {
    let hour = Duration::from_secs(3_600);
    let open =
        ViewDef { read: public(&["default"]), freshness: Freshness::Within(hour), ..view("/api/open") };
    let bench = Bench::new(vec![open]).await;
    many(&bench, "s1").await;
    bench.get("/api/open").await;
    bench.record("default", r#"[{"TimeInstant":"2026-02-01T00:00:00Z","id_entity":"new"}]"#).await;
    bench.pass(hour - Duration::from_secs(10));
    let gzip = ("accept-encoding", "gzip");
    let coded = bench.get_with("/api/open", gzip).await;
    assert_eq!((coded.header("cache-status"), coded.header("age")), ("orderwire; hit", "3590"));
    assert!(decoded(&coded).ends_with("\"cache\": true}"));
    bench.pass(Duration::from_secs(10));
    let fresh = bench.get_with("/api/open", gzip).await;
    assert_eq!(fresh.header("cache-status"), "orderwire; fwd=miss");
    assert!(decoded(&fresh).contains("\"new\""));
    bench.pass(hour - Duration::from_secs(1));
    bench.store.away.store(true, SeqCst);
    assert_eq!(bench.get_with("/api/open", gzip).await.header("cache-status"), "orderwire; hit");
}

fn shaped(path: &str, shape: Shape) -> ViewDef {
    let columns = Some(vec!["TimeInstant".to_owned(), "n".to_owned()]);
    ViewDef { columns, shape, ..view(path) }
}

#[tokio::test]
async fn the_latest_row_of_each_key_is_shown() {
    let latest = shaped("/api/latest", Shape::Latest { by: "id_entity".to_owned() });
    let bench = Bench::new(vec![latest]).await;
    bench.sample().await;
    // Another client's station of the same name is another station; a late row is not the newest.
    bench.record("acme", r#"[{"TimeInstant":"2025-01-01T00:00:00Z","id_entity":"s1","n":8}]"#).await;
    bench.record("default", r#"[{"TimeInstant":"2025-01-01T00:00:00Z","id_entity":"s1","n":9}]"#).await;
    let numbers = |answer: &Answer| -> Vec<i64> {
        let values = answer.json()["values"].clone();
        values.as_array().unwrap().iter().filter_map(|row| row["n"].as_i64()).collect()
    };
    let all = bench.get("/api/latest").await;
    assert_eq!(numbers(&all), [8, 3, 2, 4], "{}", all.text);
    assert_eq!(numbers(&bench.get("/api/latest?_client=eq.default").await), [3, 2]);
    assert_eq!(numbers(&bench.get("/api/latest?limit=2&offset=1").await), [3, 2]);
    assert_eq!(bench.get("/api/latest?limit=2").await.status, StatusCode::OK, "nothing was cut");
    // What a condition leaves out is not the newest.
    assert_eq!(numbers(&bench.get("/api/latest?n=gt.3&_client=eq.default").await), [9_007_199_254_740_993]);
    let lines = bench.get_with("/api/latest", ("accept", NDJSON)).await;
    assert_eq!(lines.text.lines().count(), 4);
}

#[tokio::test]
async fn the_latest_row_of_each_key_can_be_asked_for() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    bench.record("default", r#"[{"TimeInstant":"2025-01-01T00:00:00Z","id_entity":"s1","n":9}]"#).await;
    for (query, expected) in [
        ("latest=id_entity", r#"[{"n":2},{"n":3},{"n":4}]"#),
        ("latest=id_entity&n=neq.3&order=n.desc", r#"[{"n":9007199254740993},{"n":4},{"n":2}]"#),
        ("latest=id_entity&order=n.desc&limit=1&offset=1", r#"[{"n":3}]"#),
        ("latest=_client", r#"[{"n":3},{"n":4}]"#),
        ("latest=id_entity,ok&id_entity=eq.s1", r#"[{"n":9007199254740993},{"n":3}]"#),
    ] {
        let answer = bench.get(&format!("/rest/air?select=n&{query}")).await;
        assert_eq!(answer.text.replace('\n', ""), expected, "{query}");
    }
    let counted = bench.get_with("/rest/air?latest=id_entity&limit=1", ("prefer", "count=exact")).await;
    assert_eq!(counted.header("content-range"), "0-0/3");
    let sum = bench.get("/rest/air?latest=id_entity&select=n.sum()").await;
    assert_eq!(sum.text, r#"[{"sum":9}]"#);
    for (query, detail) in [
        ("latest=nope", "does not exist"),
        ("latest=no2", "is float, whose values are no keys"),
        ("latest=raw", "is json, whose values are no keys"),
        ("latest=id_entity&cursor=start", "a cursor does not go with latest"),
    ] {
        let answer = bench.get(&format!("/rest/air?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text.contains(detail), "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn series_are_arrays_over_time() {
    let bench = Bench::new(vec![
        shaped("/api/series", Shape::Series { by: None }),
        shaped("/api/stations", Shape::Series { by: Some("id_entity".to_owned()) }),
    ])
    .await;
    bench.sample().await;
    let all = bench.get("/api/series?_client=eq.default").await.json();
    assert_eq!(all["series"]["n"], json!([9_007_199_254_740_993_i64, 2, 3]));
    assert_eq!(all["series"]["TimeInstant"][1], "2026-01-01T01:00:00.25Z");
    let stations = bench.get("/api/stations").await.json();
    assert_eq!(stations["s1"]["n"], json!([9_007_199_254_740_993_i64, 3]));
    assert_eq!(stations["x,1"]["n"], json!([4]));
    assert_eq!(stations["cache"], false);
    assert_eq!(bench.get("/api/stations").await.json()["cache"], true);
}

fn param(name: &str, of: FieldType, required: bool) -> ParamDef {
    ParamDef { name: name.to_owned(), of, required, default: None, description: None }
}

#[tokio::test]
async fn parameters_stand_for_values_of_the_filter() {
    let def = ViewDef {
        filter: Some("id_entity=eq.{station}&TimeInstant=gte.{since}".to_owned()),
        params: vec![param("since", FieldType::Timestamp, false), param("station", FieldType::Text, true)],
        read: public(&["default"]),
        ..view("/api/station")
    };
    let bench = Bench::new(vec![def]).await;
    bench.sample().await;
    let count = |answer: Answer| answer.json()["values"].as_array().unwrap().len();
    assert_eq!(count(bench.get("/api/station?station=s1").await), 2);
    assert_eq!(count(bench.get("/api/station?station=s2").await), 1, "another answer than for s1");
    assert_eq!(count(bench.get("/api/station?station=s1&since=2026-01-01T01:00:00Z").await), 1);
    assert_eq!(count(bench.get("/api/station?station=s1&n=eq.3").await), 1);
    for hostile in ["s1),or(n.gt.0", "s1%26n=gt.0", "*", "%25", "{since}", "in.(s1)", "%22s1%22", "s1'--"] {
        assert_eq!(count(bench.get(&format!("/api/station?station={hostile}")).await), 0, "{hostile}");
    }
    for (query, wanted) in [
        ("", "station is missing"),
        ("?station=s1&since=yesterday", "since"),
        ("?station=s1&station=s2", "twice"),
        ("?station=s1&other=eq.1", "other"),
    ] {
        let refused = bench.get(&format!("/api/station{query}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(refused.text.contains(wanted), "{query}: {}", refused.text);
    }
}

#[test]
fn shapes_and_parameters_are_checked() {
    let air: DatasetDef = serde_json::from_str(AIR).unwrap();
    let timeless: DatasetDef =
        serde_json::from_str(r#"{"fields":[{"name":"n","type":"integer"},{"name":"raw","type":"json"}]}"#)
            .unwrap();
    let latest = |by: &str| Shape::Latest { by: by.to_owned() };
    let with = |filter: &str, params: Vec<ParamDef>| ViewDef {
        filter: Some(filter.to_owned()),
        params,
        ..view("/a")
    };
    let options = orderwire_query::Options::for_testing();
    for (def, dataset, key, wanted) in [
        (ViewDef { shape: latest("gone"), ..view("/a") }, &air, "group_by", "does not exist"),
        (ViewDef { shape: latest("raw"), ..view("/a") }, &air, "group_by", "it is json"),
        (
            ViewDef { shape: latest("n"), order: Some("n".into()), ..view("/a") },
            &air,
            "order",
            "remove order",
        ),
        (ViewDef { shape: Shape::Series { by: None }, ..view("/a") }, &timeless, "shape", "has none"),
        (with("n=eq.{x}", vec![]), &air, "filter", "{x} is no parameter"),
        (with("n=eq.{x}", vec![param("x", FieldType::Text, true)]), &air, "filter", "type integer"),
        (with("n=gt.1", vec![param("x", FieldType::Text, true)]), &air, "params", "does not use {x}"),
        (with("n=eq.{n}", vec![param("n", FieldType::Integer, true)]), &air, "params", "is a column"),
        (
            with("n=eq.{limit}", vec![param("limit", FieldType::Integer, true)]),
            &air,
            "params",
            "choose another name",
        ),
    ] {
        let faults = check_view(&def, dataset, &options);
        let found = faults.iter().any(|fault| fault.key == key && fault.detail.contains(wanted));
        assert!(found, "{key} {wanted}: {faults:?}");
    }
    let sound = with("n=eq.{x}", vec![param("x", FieldType::Integer, true)]);
    assert_eq!(check_view(&sound, &air, &options), []);
    let series = ViewDef { shape: Shape::Series { by: None }, order: Some("n".into()), ..view("/a") };
    assert_eq!(check_view(&series, &timeless, &options), []);
}
