//! Generated queries over every operator and type, null and text beyond ASCII.

use std::fmt::Write as _;

use axum::http::StatusCode;
use fastrand::Rng;

use super::engines::{Both, encoded};

/// A column with values to compare with: those of rows, others near them, and what is none.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// Values as JSON and as operands.
    values: &'static [(&'static str, &'static str)],
    /// Operands that no row has.
    others: &'static [&'static str],
}

pub(super) const COLUMNS: [Column; 12] = [
    Column {
        name: "t",
        kind: "text",
        values: &[
            ("\"\"", ""),
            ("\"abc\"", "abc"),
            ("\"ABC\"", "ABC"),
            ("\"äöü\"", "äöü"),
            ("\"ÄÖÜ\"", "ÄÖÜ"),
            ("\"a\\nb\"", "a\nb"),
            ("\"a.b*c%d_e\\\\f\"", "a.b*c%d_e\\f"),
            ("\"世界 🌍\"", "世界 🌍"),
            ("\"\u{ffee}\"", "\u{ffee}"),
            ("\"null\"", "null"),
            ("\"it's \\\"q\\\", (x)\"", "it's \"q\", (x)"),
            ("\"straße 42\"", "straße 42"),
        ],
        others: &["b", "a", "Ω", "~", "{a,b}", "\u{10ffff}"],
    },
    Column {
        name: "n",
        kind: "integer",
        values: &[
            ("0", "0"),
            ("-1", "-1"),
            ("9007199254740993", "9007199254740993"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("42", "42"),
        ],
        others: &["1", "43", "9007199254740992", "x", "1.5"],
    },
    Column {
        name: "f",
        kind: "float",
        values: &[
            ("0.0", "0"),
            ("-0.0", "-0"),
            ("0.1", "0.1"),
            ("-1e-300", "-1e-300"),
            ("1.7976931348623157e308", "1.7976931348623157e308"),
            ("5e-324", "5e-324"),
            ("2.5", "2.5"),
        ],
        others: &["0.10000000000000001", "1e10", "NaN", "y"],
    },
    Column {
        name: "d",
        kind: "decimal",
        values: &[
            ("0", "0"),
            ("0.00", "0.00"),
            ("1.10", "1.10"),
            ("1.1", "1.1"),
            ("-9.5", "-9.5"),
            ("-10", "-10"),
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
            ("0.00000000000000000000000000000000000001", "0.00000000000000000000000000000000000001"),
            ("12345.6789", "12345.6789"),
        ],
        others: &["1.100", "1e3", "-9.49999", "1e39", "1,5"],
    },
    Column {
        name: "b",
        kind: "boolean",
        values: &[("true", "true"), ("false", "false")],
        others: &["t", "no", "maybe"],
    },
    Column {
        name: "at",
        kind: "timestamp",
        values: &[
            ("\"2024-02-29T12:00:00.123456Z\"", "2024-02-29T12:00:00.123456Z"),
            ("\"1969-12-31T23:59:59.999999Z\"", "1969-12-31T23:59:59.999999Z"),
            ("\"0001-01-01T00:00:00Z\"", "0001-01-01T00:00:00Z"),
            ("\"9999-12-30T00:00:00+01:00\"", "9999-12-29T23:00:00Z"),
        ],
        others: &["2024-02-29", "2024-02-29T13:00:00+01:00", "now"],
    },
    Column {
        name: "day",
        kind: "date",
        values: &[
            ("\"2024-02-29\"", "2024-02-29"),
            ("\"1969-12-31\"", "1969-12-31"),
            ("\"0000-01-01\"", "0000-01-01"),
            ("\"9999-12-31\"", "9999-12-31"),
        ],
        others: &["2024-03-01", "2023-02-29", "today"],
    },
    Column {
        name: "id",
        kind: "uuid",
        values: &[
            ("\"00000000-0000-0000-0000-000000000000\"", "00000000-0000-0000-0000-000000000000"),
            ("\"7FFFFFFF-ffff-ffff-ffff-ffffffffffff\"", "7fffffff-FFFF-ffff-ffff-ffffffffffff"),
            ("\"80000000-0000-0000-0000-000000000000\"", "80000000-0000-0000-0000-000000000000"),
        ],
        others: &["ffffffff-ffff-ffff-ffff-ffffffffffff", "7"],
    },
    Column {
        name: "tags",
        kind: "text[]",
        values: &[
            ("[]", "{}"),
            ("[\"a\"]", "{a}"),
            ("[\"a\",\"b\"]", "{a,b}"),
            ("[\"b\",\"a\",\"b\"]", "{b,a,b}"),
            ("[\"ä\",\"a,b\",\"\\\"\",\"\"]", "{ä,\"a,b\",\"\\\"\",\"\"}"),
        ],
        others: &["{c}", "{\"\"}", "{a,c}", "{null}", "a"],
    },
    Column {
        name: "raw",
        kind: "json",
        values: &[
            ("{\"a\":1.10}", "{\"a\":1.10}"),
            ("[1, 2]", "[1, 2]"),
            ("\"ä\"", "\"ä\""),
            (r#"{"a":{"b":["x",null,2.50]},"ä":"世界"}"#, r#"{"a":{"b":["x",null,2.50]},"ä":"世界"}"#),
            (r#"{"a":"42","t":"2024-02-29T12:00:00Z"}"#, "42"),
            (r#"[{"a":"\u00c4Ö"},-1]"#, r#"[{"a":"\u00c4Ö"},-1]"#),
            (r#"{"a":null,"b":true}"#, "true"),
            (r#"{"a":"x","bad":"\u0000"}"#, "x"),
        ],
        others: &["{\"a\":1.1}", "null"],
    },
    // Whose sums are exact, in whatever order.
    Column {
        name: "e",
        kind: "float",
        values: &[("0.5", "0.5"), ("-2.25", "-2.25"), ("1048576.125", "1048576.125"), ("-0.0", "-0.0")],
        others: &["0.25", "1e3"],
    },
    Column { name: "_event_id", kind: "", values: &[], others: &["00000000-0000-0000-0000-000000000001"] },
];

pub(super) const OPERATORS: [&str; 22] = [
    "eq",
    "neq",
    "gt",
    "gte",
    "lt",
    "lte",
    "like",
    "ilike",
    "match",
    "imatch",
    "isdistinct",
    "cs",
    "cd",
    "ov",
    "in",
    "is",
    "eq(any)",
    "eq(all)",
    "gte(any)",
    "lt(all)",
    "ilike(any)",
    "match(all)",
];

const PATTERNS: [&str; 12] =
    ["*a*", "A*", "_b_", "%ö%", "STRASSE*", "straẞe*", "a\\*b", "*\\\\*", "", "*", "世*", "*\\%d\\_e*"];

/// What json contains, and is contained in.
const DOCUMENTS: [&str; 10] = [
    "{}",
    "[]",
    "2",
    r#"{"a":1.1}"#,
    r#"{"a":{"b":[2.5]}}"#,
    r#"[2,1.0,3]"#,
    r#"{"a":null,"b":true,"c":{}}"#,
    r#""\u00e4""#,
    r#"[-1,{"a":"Ä\u00d6","b":[[]]}]"#,
    r#"{"a":{"b":["x",null,25e-1,[]]},"ä":"世界","x":1e400}"#,
];

const EXPRESSIONS: [&str; 16] = [
    "^a",
    "b$",
    "A|ö",
    "^[a-zä]+$",
    r"\d+",
    r"^\w*$",
    ".{3}",
    "(ab?|ä)c*",
    r"\*",
    "[^a-z]",
    "",
    "^$",
    "straSSe",
    "STRAßE",
    r"\bx",
    "(?i)a",
];

/// The rows: every value of every column, between nulls, in an order that means nothing.
pub(super) fn rows(random: &mut Rng) -> String {
    let mut rows = String::from("[");
    for i in 0..90 {
        write!(rows, "{}{{\"i\":{i}", if i == 0 { "" } else { "," }).unwrap();
        for column in COLUMNS.iter().filter(|column| !column.values.is_empty()) {
            if random.u8(..5) > 0 {
                let (json, _) = random.choice(column.values).unwrap();
                write!(rows, ",\"{}\":{json}", column.name).unwrap();
            }
        }
        rows.push('}');
    }
    rows + "]"
}

fn operand(column: &Column, random: &mut Rng) -> String {
    match (random.u8(..3), random.choice(column.values)) {
        (1.., Some((_, operand))) => (*operand).to_owned(),
        _ => (*random.choice(column.others).unwrap()).to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A condition behind the name of its column; in a tree, where its value is quoted.
pub(super) fn condition(column: &Column, operator: &str, random: &mut Rng, in_a_tree: bool) -> String {
    let one = |random: &mut Rng| match operator.split('(').next().unwrap() {
        "like" | "ilike" => (*random.choice(&PATTERNS).unwrap()).to_owned(),
        "match" | "imatch" => (*random.choice(&EXPRESSIONS).unwrap()).to_owned(),
        "cs" | "cd" if column.kind == "json" && random.u8(..3) > 0 => {
            (*random.choice(&DOCUMENTS).unwrap()).to_owned()
        }
        _ => operand(column, random),
    };
    let several =
        |random: &mut Rng| -> Vec<String> { (0..random.usize(..4)).map(|_| quoted(&one(random))).collect() };
    let value = match operator {
        "is" => (*random.choice(&["null", "not_null", "true", "false", "unknown"]).unwrap()).to_owned(),
        "in" => format!("({})", several(random).join(",")),
        // Its own list quotes what needs it.
        _ if operator.contains('(') => match format!("{{{}}}", several(random).join(",")) {
            list if in_a_tree => quoted(&list),
            list => list,
        },
        _ if in_a_tree => quoted(&one(random)),
        _ => one(random),
    };
    format!("{}{operator}.{value}", if random.u8(..4) == 0 { "not." } else { "" })
}

fn query(number: usize, random: &mut Rng) -> String {
    // Every operator with every type, over and over; the rest is chance.
    let column = &COLUMNS[number % COLUMNS.len()];
    let operator = OPERATORS[number / COLUMNS.len() % OPERATORS.len()];
    let pick = |random: &mut Rng| (random.choice(&COLUMNS).unwrap(), *random.choice(&OPERATORS).unwrap());
    let mut query = match random.u8(..3) {
        0 => {
            let (other, with) = pick(random);
            let first = condition(column, operator, random, true);
            let second = condition(other, with, random, true);
            let group = *random.choice(&["and", "or", "not.and", "not.or"]).unwrap();
            format!("{group}={}", encoded(&format!("({}.{first},{}.{second})", column.name, other.name)))
        }
        _ => format!("{}={}", column.name, encoded(&condition(column, operator, random, false))),
    };
    let orders: Vec<String> = (0..random.usize(..3))
        .map(|_| {
            let by = random.choice(&COLUMNS[..8]).unwrap().name;
            let direction = random.choice(["", ".asc", ".desc"]).unwrap();
            let nulls = random.choice(["", ".nullsfirst", ".nullslast"]).unwrap();
            format!("{by}{direction}{nulls}")
        })
        .collect();
    if !orders.is_empty() {
        write!(query, "&order={}", orders.join(",")).unwrap();
    }
    if random.bool() {
        write!(query, "&limit={}", random.u8(..40)).unwrap();
    }
    if random.u8(..4) == 0 {
        write!(query, "&offset={}", random.u8(..20)).unwrap();
    }
    if random.u8(..4) == 0 {
        query.push_str("&select=i,t,d,tags,_event_id");
    }
    query
}

pub(super) fn definition() -> String {
    let fields: Vec<String> = COLUMNS
        .iter()
        .filter(|column| !column.kind.is_empty())
        .map(|column| format!(r#"{{"name":"{}","type":"{}"}}"#, column.name, column.kind))
        .collect();
    format!(r#"{{"fields":[{{"name":"i","type":"integer"}},{}]}}"#, fields.join(","))
}

/// As `SEED` says, which is said where a test fails.
pub(super) fn chance() -> Rng {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    println!("SEED={seed}");
    Rng::with_seed(seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_answer_five_hundred_queries_the_same() {
    let mut random = chance();
    let both = Both::with("d", &definition(), &rows(&mut random)).await;
    let (mut answered, mut filled) = (0, 0);
    for number in 0..500 {
        let query = query(number, &mut random);
        let mut headers = Vec::new();
        if random.u8(..3) == 0 {
            headers.push(("prefer", "count=exact"));
        }
        if random.u8(..5) == 0 {
            headers.push(("accept", "text/csv"));
        }
        let answer = both.ask(&format!("/rest/d?{query}"), &headers).await;
        match answer.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                answered += 1;
                filled += u32::from(!answer.range.starts_with('*'));
            }
            // What an operator does not take, both refuse.
            StatusCode::BAD_REQUEST | StatusCode::RANGE_NOT_SATISFIABLE => {}
            other => panic!("{query}: {other}: {}", answer.text),
        }
    }
    assert!(answered >= 150 && filled >= 100, "{answered} answered, {filled} with rows");
}

/// What every type takes that has an order.
const ORDERED: &str = "eq neq gt gte lt lte isdistinct in is eq(any) eq(all) gte(any) lt(all)";

/// By which operators rows are found in which columns: those that its type takes.
const FOUND: [(&str, &str); 12] = [
    (
        "t",
        "eq neq gt gte lt lte like ilike match imatch isdistinct in is eq(any) eq(all) gte(any) lt(all) \
         ilike(any) match(all)",
    ),
    ("n", ORDERED),
    ("f", ORDERED),
    ("d", ORDERED),
    ("b", ORDERED),
    ("at", ORDERED),
    ("day", ORDERED),
    ("id", ORDERED),
    ("tags", "eq neq isdistinct cs cd ov in is"),
    ("raw", "eq neq isdistinct cs cd in is eq(any) eq(all)"),
    ("e", ORDERED),
    ("_event_id", ORDERED),
];

/// Conditions as they are generated above, which would say less and less if more and more were refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operator_finds_rows_by_each_type_that_takes_it() {
    const TRIES: usize = 60;
    let mut random = Rng::with_seed(6);
    let both = Both::with("d", &definition(), &rows(&mut random)).await;
    let mut found = Vec::new();
    for column in &COLUMNS {
        let mut operators = Vec::new();
        for operator in OPERATORS {
            for _ in 0..TRIES {
                let condition = condition(column, operator, &mut random, false);
                // A list of nothing says nothing of the type.
                if condition.ends_with(").{}") || condition.ends_with("in.()") {
                    continue;
                }
                let query = format!("{}={}", column.name, encoded(&condition));
                let answer = both.ask(&format!("/rest/d?{query}"), &[]).await;
                if answer.status == StatusCode::OK && !answer.range.starts_with('*') {
                    operators.push(operator);
                    break;
                }
            }
        }
        found.push((column.name, operators.join(" ")));
    }
    let found: Vec<(&str, &str)> =
        found.iter().map(|(name, operators)| (*name, operators.as_str())).collect();
    assert_eq!(found, FOUND);
}
