//! Whatever stands in a parameter stays a value: nothing of it reaches the database as SQL. Here chance
//! chooses what stands there, and the fuzzer what a request is made of (`fuzz/`).

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use orderwire_requests::{DEFINITION, sound, views};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::engines::{Answer, Both, encoded};

/// Where a caller may write something; `{}` is it.
const PLACES: [&str; 64] = [
    "/rest/{}",
    "/rest/d?{}=eq.1",
    "/rest/d?t={}",
    "/rest/d?t={}.a",
    "/rest/d?t=not.{}",
    "/rest/d?t=eq.{}",
    "/rest/d?n=gt.{}",
    "/rest/d?d=lte.{}",
    "/rest/d?f=lt.{}",
    "/rest/d?ok=neq.{}",
    "/rest/d?at=gte.{}",
    "/rest/d?day=eq.{}",
    "/rest/d?id=neq.{}",
    "/rest/d?t=isdistinct.{}",
    "/rest/d?id=isdistinct.{}",
    "/rest/d?tags=isdistinct.{}",
    "/rest/d?tags=cs.{}",
    "/rest/d?tags=cd.{}",
    "/rest/d?tags=ov.{}",
    "/rest/d?tags=cd.%7B{}%7D",
    "/rest/d?tags=ov.%7B{}%7D",
    "/rest/d?raw=eq.{}",
    "/rest/d?raw=cs.{}",
    "/rest/d?raw-%3Ea=cs.{}",
    "/rest/d?raw=cd.%7B%22a%22:{}%7D",
    "/rest/d?t=in.({})",
    "/rest/d?n=in.({},1)",
    "/rest/d?t=like.{}",
    "/rest/d?t=imatch.{}",
    "/rest/d?t=is.{}",
    "/rest/d?t=ilike({}).%7Ba%7D",
    "/rest/d?t=ilike(any).%7B{}%7D",
    "/rest/d?n=gt(all).%7B1,{}%7D",
    "/rest/d?t=eq(any).{}",
    "/rest/d?or=({})",
    "/rest/d?or=({}.eq.1,t.eq.a)",
    "/rest/d?or=(t.{}.a,n.gt.0)",
    "/rest/d?and=(t.eq.{},n.gt.0)",
    "/rest/d?not.and=(n.gt.0,or({}.is.null,t.eq.a))",
    "/rest/d?and=(t.like(any).%7B{}%7D,tags.cs.{})",
    "/rest/d?select={}",
    "/rest/d?select={}:t",
    "/rest/d?select=t::{}",
    "/rest/d?select=n.sum()::{}",
    "/rest/d?select=n.{}()",
    "/rest/d?select={}.max()",
    "/rest/d?select=raw-%3E{}",
    "/rest/d?select=x:raw-%3Ea-%3E%3E{}",
    "/rest/d?raw-%3E%3E{}=eq.{}",
    "/rest/d?select=b:at.bucket({}),count()",
    "/rest/d?select={}:at.bucket(1h),count()",
    "/rest/d?select=t&order={}",
    "/rest/d?order=t.{}",
    "/rest/d?order=raw-%3E%3E{}.desc",
    "/rest/d?latest={}",
    "/rest/d?latest=t,{}",
    "/rest/d?limit={}",
    "/rest/d?_client=eq.{}&offset={}",
    "/rest/d?cursor={}",
    "/view/{}",
    "/view/rows?text={}",
    "/view/grouped?number={}&until={}",
    "/view/latest?list={}",
    "/view/series?{}=eq.1&limit={}",
];

/// The headers that are read.
const HEADERS: [(&str, &str); 16] = [
    ("range", "{}"),
    ("range", "0-{}"),
    ("range-unit", "{}"),
    ("prefer", "{}"),
    ("prefer", "count={}"),
    ("prefer", "handling=strict, {}"),
    ("accept", "{}"),
    ("accept", "text/{}"),
    ("accept", "application/json;q={}"),
    ("accept-encoding", "{}"),
    ("accept-profile", "{}"),
    ("cache-control", "{}"),
    ("if-none-match", "{}"),
    ("orderwire-client", "{}"),
    ("traceparent", "{}"),
    ("x-request-id", "{}"),
];

/// What would do harm as SQL, a line each.
const ATTACKS: &str = include_str!("../../../../../tests/requests/attacks.txt");

fn parts() -> impl Strategy<Value = String> {
    let attack = prop::sample::select(ATTACKS.lines().collect::<Vec<_>>()).prop_map(str::to_owned);
    let tokens = prop::sample::select(vec![
        "'",
        "\"",
        "\\",
        ";",
        "--",
        "/*",
        "*/",
        "(",
        ")",
        "{",
        "}",
        ",",
        ".",
        "$1",
        "?",
        "%",
        "_",
        " ",
        "=",
        "t",
        "n",
        "eq",
        "or",
        "not.",
        "NULL",
        "SELECT",
        "UNION",
        "DROP TABLE",
        "data.d",
        "::text",
        "->",
        "\u{1}",
        "ä",
        "\n",
    ]);
    let mixed = prop::collection::vec(tokens, 1..8).prop_map(|tokens| tokens.concat());
    prop_oneof![attack, mixed, "\\PC{0,12}"]
}

async fn untouched(both: &Both) -> Answer {
    both.ask("/rest/d?select=*,_seq,_client&order=_seq", &[("prefer", "count=exact")]).await
}

#[test]
fn nothing_that_a_caller_writes_is_read_as_sql() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let rows = r#"[{"at":"2024-01-01T00:00:00Z","t":"a","n":1,"d":1.5,"day":"2024-01-01",
        "id":"00000000-0000-0000-0000-000000000001","tags":["a"],"raw":{"a":{"'":1}}},
        {"at":"2024-01-02T00:00:00Z","t":"it's","n":2},{"at":"2024-01-03T00:00:00Z","t":"\"; --"}]"#;
    let both = runtime.block_on(Both::with_views("d", DEFINITION, rows, views()));
    let before = runtime.block_on(untouched(&both));
    assert_eq!(before.range, "0-2/3");
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let attempts = (prop::sample::select(PLACES.to_vec()), parts());
    let tried = runner.run(&attempts, |(place, part)| {
        let path = place.replace("{}", &encoded(&part));
        let answer = runtime.block_on(both.ask(&path, &[]));
        sound(&part, answer.status, &answer.text)
            .map_err(|wrong| TestCaseError::fail(format!("{path}: {wrong}")))
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
    // Each attack in each place, in the headers that are read, and in a cursor of the right form.
    let attack_at = |attack: &str, path: &str, headers: &[(&str, &str)]| {
        let answer = runtime.block_on(both.ask(path, headers));
        sound(attack, answer.status, &answer.text)
            .unwrap_or_else(|wrong| panic!("{attack} at {path} {headers:?}: {wrong}"));
        answer.status
    };
    for attack in ATTACKS.lines() {
        for place in PLACES {
            attack_at(attack, &place.replace("{}", &encoded(attack)), &[]);
        }
        for (name, place) in HEADERS.iter().filter(|_| attack.is_ascii()) {
            let value = place.replace("{}", attack);
            for path in ["/rest/d?order=_seq", "/view/rows"] {
                attack_at(attack, path, &[(name, &value)]);
            }
        }
        let page = "/rest/d?select=n&order=t&limit=1";
        let first = runtime.block_on(both.ask(&format!("{page}&cursor=start"), &[]));
        let forged = forged(&first.next.expect("there are more rows"), attack);
        assert_eq!(attack_at(attack, &format!("{page}&cursor={forged}"), &[]), StatusCode::OK);
    }
    assert_eq!(runtime.block_on(untouched(&both)), before, "rows are as they were");
    assert_eq!(both.datasets(), [1, 1]);
}

/// A cursor of the same question, behind a row with this text.
fn forged(cursor: &str, text: &str) -> String {
    let (form, told) = cursor.split_once('.').unwrap();
    let mut told: serde_json::Value = serde_json::from_slice(&BASE64.decode(told).unwrap()).unwrap();
    assert!(told[1][0].is_string(), "{told}");
    told[1][0] = text.into();
    format!("{form}.{}", BASE64.encode(told.to_string()))
}
