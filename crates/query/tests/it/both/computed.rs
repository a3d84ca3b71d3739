//! Generated queries over what is computed of rows: casts, parts of json, aggregates, groups and
//! buckets, with nulls and text beyond ASCII.

use std::fmt::Write as _;

use axum::http::StatusCode;
use fastrand::Rng;

use super::engines::{Both, encoded};
use super::generated::{COLUMNS, Column, OPERATORS, chance, condition, definition, rows};

pub(super) const PARTS: [&str; 12] = [
    "raw->a",
    "raw->>a",
    "raw->a->b",
    "raw->a->b->>0",
    "raw->a->b->-1",
    "raw->0",
    "raw->>1",
    "raw->-2->>a",
    "raw->\"ä\"",
    "raw->>\"ä\"",
    "raw->>t",
    "raw->a->>\"0\"",
];

/// What parts as text are compared with.
const TEXTS: [&str; 8] = ["42", "1.10", "true", "ÄÖ", "世界", "x", "", "[1, 2]"];

const CASTS: [&str; 7] = ["text", "integer", "float", "boolean", "timestamp", "date", "json"];

/// Those that a value of the type becomes, whatever it is.
fn casts(kind: &str) -> &'static [&'static str] {
    match kind {
        "integer" => &["text", "integer", "float", "boolean"],
        "float" => &["text", "float"],
        "decimal" => &["text", "float"],
        "boolean" => &["text", "integer", "boolean"],
        "timestamp" => &["text", "timestamp", "date"],
        "json" => &["text", "json"],
        _ => &["text"],
    }
}

/// A cast, mostly one that goes well.
fn cast(kind: &str, random: &mut Rng) -> String {
    match random.u8(..9) {
        0..3 => format!("::{}", random.choice(casts(kind)).unwrap()),
        3 if random.bool() => format!("::{}", random.choice(CASTS).unwrap()),
        _ => String::new(),
    }
}

fn part(random: &mut Rng) -> (&'static str, &'static str) {
    let part = *random.choice(&PARTS).unwrap();
    (part, if part.contains("->>") { "text" } else { "json" })
}

/// A condition on a column or on a part of one.
fn filter(random: &mut Rng) -> String {
    if random.bool() {
        let (column, operator) = (random.choice(&COLUMNS).unwrap(), random.choice(OPERATORS).unwrap());
        return format!("{}={}", column.name, encoded(&condition(column, operator, random, false)));
    }
    let (part, _) = part(random);
    let text = *random.choice(&TEXTS).unwrap();
    let test = match random.u8(..8) {
        0 => "is.null".to_owned(),
        1 => "not.is.null".to_owned(),
        2 => format!("in.(\"{text}\",x)"),
        3 => format!("isdistinct.{text}"),
        4 => format!("gte.{text}"),
        5 => format!("ilike.*{text}*"),
        6 => format!("neq.{text}"),
        _ => format!("eq.{text}"),
    };
    format!("{}={}", encoded(part), encoded(&test))
}

pub(super) fn direction(random: &mut Rng) -> String {
    let direction = random.choice(["", ".asc", ".desc"]).unwrap();
    let nulls = random.choice(["", ".nullsfirst", ".nullslast"]).unwrap();
    format!("{direction}{nulls}")
}

/// Columns as they are, and parts, some cast.
fn plain(random: &mut Rng) -> String {
    let columns: Vec<String> = (0..random.usize(1..5))
        .map(|i| {
            let (name, kind) = match random.bool() {
                true => part(random),
                false => random.choice(&COLUMNS).map(|column| (column.name, column.kind)).unwrap(),
            };
            format!("c{i}:{name}{}", cast(kind, random))
        })
        .collect();
    let mut query = format!("select=i,{}", encoded(&columns.join(",")));
    if random.bool() {
        let by = *random.choice(&["raw->>a", "raw->>1", "t", "n", "d", "id"]).unwrap();
        write!(query, "&order={}", encoded(&format!("{by}{}", direction(random)))).unwrap();
    }
    query
}

/// What rows are grouped by: a name of its column, and what it is.
fn groups(random: &mut Rng) -> Vec<(String, String)> {
    let mut groups = Vec::new();
    for i in 0..random.usize(..3) {
        let by = match random.u8(..4) {
            0 => {
                let length = random.choice(["500ms", "7s", "15m", "1h", "1d", "7d", "36500d"]).unwrap();
                format!("at.bucket({length})")
            }
            1 => (*random.choice(&["raw->>a", "raw->>\"ä\"", "raw->a->b->>0"]).unwrap()).to_owned(),
            _ => (*random.choice(&GROUPING).unwrap()).to_owned(),
        };
        groups.push((format!("g{i}"), by));
    }
    groups
}

/// Columns that rows are grouped by, and one that they are not.
const GROUPING: [&str; 12] = ["t", "n", "f", "d", "b", "at", "day", "id", "tags", "_client", "raw", "i"];

fn aggregate(i: usize, random: &mut Rng) -> String {
    if random.u8(..4) == 0 {
        return format!("a{i}:count()");
    }
    let column: &Column = random.choice(&COLUMNS).unwrap();
    // Sums of other floats depend on the order in which they are added.
    let summed = random.choice(["n", "e", "d"]).unwrap();
    match *random.choice(&["count", "min", "max", "sum", "avg"]).unwrap() {
        function @ ("sum" | "avg") if random.u8(..5) > 0 => {
            let cast = if random.u8(..4) == 0 { "::text" } else { "" };
            format!("a{i}:{summed}.{function}(){cast}")
        }
        function if function != "sum" && function != "avg" || column.name != "f" => {
            format!("a{i}:{}.{function}()", column.name)
        }
        _ => format!("a{i}:count()"),
    }
}

/// Groups and their aggregates.
fn grouped(random: &mut Rng) -> String {
    let groups = groups(random);
    let mut columns: Vec<String> = groups.iter().map(|(name, by)| format!("{name}:{by}")).collect();
    let aggregates = random.usize(1..4);
    columns.extend((0..aggregates).map(|i| aggregate(i, random)));
    random.shuffle(&mut columns);
    let mut query = format!("select={}", encoded(&columns.join(",")));
    let mut orders = Vec::new();
    for (name, by) in &groups {
        if random.bool() {
            let by = if by.contains("bucket") { name } else { by };
            orders.push(format!("{by}{}", direction(random)));
        }
    }
    if random.bool() {
        orders.insert(0, format!("a{}{}", random.usize(..aggregates), direction(random)));
    }
    if !orders.is_empty() {
        write!(query, "&order={}", encoded(&orders.join(","))).unwrap();
    }
    query
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_compute_five_hundred_times_the_same() {
    let mut random = chance();
    let both = Both::with("d", &definition(), &rows(&mut random)).await;
    let mut filled = [0, 0];
    for number in 0..500 {
        let is_grouped = number % 2;
        let mut query = if is_grouped == 1 { grouped(&mut random) } else { plain(&mut random) };
        if random.bool() {
            write!(query, "&{}", filter(&mut random)).unwrap();
        }
        if random.u8(..4) == 0 {
            let key = *random.choice(&["t", "b", "id", "day,b", "_client", "n,t"]).unwrap();
            write!(query, "&latest={key}").unwrap();
        }
        if random.bool() {
            write!(query, "&limit={}", random.u8(..40)).unwrap();
        }
        if random.u8(..4) == 0 {
            write!(query, "&offset={}", random.u8(..4)).unwrap();
        }
        let mut headers = Vec::new();
        if random.u8(..3) == 0 {
            headers.push(("prefer", "count=exact"));
        }
        match random.u8(..6) {
            0 => headers.push(("accept", "text/csv")),
            1 => headers.push(("accept", "application/x-ndjson")),
            _ => {}
        }
        let answer = both.ask(&format!("/rest/d?{query}"), &headers).await;
        match answer.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                filled[is_grouped] += u32::from(!answer.range.starts_with('*'));
            }
            StatusCode::BAD_REQUEST | StatusCode::RANGE_NOT_SATISFIABLE => {}
            other => panic!("{query}: {other}: {}", answer.text),
        }
    }
    assert!(filled.iter().all(|filled| *filled >= 80), "{filled:?} answers with rows and with groups");
}
