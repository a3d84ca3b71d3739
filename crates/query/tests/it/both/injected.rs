//! Whatever stands in a parameter stays a value: nothing of it reaches the database as SQL. Here chance
//! chooses what stands there, and the fuzzer what a request is made of (`fuzz/`).

use orderwire_requests::sound;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::engines::{Answer, Both, encoded};

/// Where a caller may write something; `{}` is it.
const PLACES: [&str; 24] = [
    "/rest/{}",
    "/rest/d?{}=eq.1",
    "/rest/d?t={}",
    "/rest/d?t={}.a",
    "/rest/d?t=eq.{}",
    "/rest/d?n=gt.{}",
    "/rest/d?d=lte.{}",
    "/rest/d?day=eq.{}",
    "/rest/d?id=neq.{}",
    "/rest/d?tags=cs.{}",
    "/rest/d?tags=ov.%7B{}%7D",
    "/rest/d?t=in.({})",
    "/rest/d?t=like.{}",
    "/rest/d?t=imatch.{}",
    "/rest/d?t=is.{}",
    "/rest/d?t=ilike(any).%7B{}%7D",
    "/rest/d?or=({})",
    "/rest/d?and=(t.eq.{},n.gt.0)",
    "/rest/d?select={}",
    "/rest/d?select={}:t",
    "/rest/d?select=t&order={}",
    "/rest/d?order=t.{}",
    "/rest/d?limit={}",
    "/rest/d?_client=eq.{}&offset={}",
];

const ATTACKS: [&str; 22] = [
    "'",
    "\"",
    "';DROP TABLE data.d;--",
    "\"; DROP TABLE data_d; --",
    "1; DELETE FROM data.d",
    "' OR '1'='1",
    "1 OR 1=1",
    "') OR (1=1",
    "a') UNION SELECT 1,2,3--",
    "t\" FROM data.d; --",
    "t) FROM data_d--",
    "\\'; SELECT pg_sleep(60);--",
    "$1",
    "$$",
    "?1",
    ":name",
    "E'\\x27'",
    "/**/",
    "t,(SELECT 1)",
    "pg_sleep(60)",
    "t COLLATE \"C\"",
    "\u{2019}\u{ff07}ʼ",
];

fn parts() -> impl Strategy<Value = String> {
    let attack = prop::sample::select(ATTACKS.to_vec()).prop_map(str::to_owned);
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
    let definition = r#"{"fields":[{"name":"t","type":"text"},{"name":"n","type":"integer"},{"name":"d","type":"decimal"},
        {"name":"day","type":"date"},{"name":"id","type":"uuid"},{"name":"tags","type":"text[]"}]}"#;
    let rows = r#"[{"t":"a","n":1,"d":1.5,"day":"2024-01-01","id":"00000000-0000-0000-0000-000000000001","tags":["a"]},
        {"t":"it's","n":2},{"t":"\"; --"}]"#;
    let both = runtime.block_on(Both::with("d", definition, rows));
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
    // Each attack in each place, and in the headers that are read.
    for place in PLACES {
        for attack in ATTACKS {
            let answer = runtime.block_on(both.ask(&place.replace("{}", &encoded(attack)), &[]));
            sound(attack, answer.status, &answer.text)
                .unwrap_or_else(|wrong| panic!("{place} {attack}: {wrong}"));
        }
    }
    for name in ["range", "prefer", "accept", "orderwire-client"] {
        for attack in ATTACKS.iter().filter(|attack| attack.is_ascii()) {
            let answer = runtime.block_on(both.ask("/rest/d?order=_seq", &[(name, attack)]));
            sound(attack, answer.status, &answer.text)
                .unwrap_or_else(|wrong| panic!("{name}: {attack}: {wrong}"));
        }
    }
    assert_eq!(runtime.block_on(untouched(&both)), before, "rows are as they were");
    assert_eq!(both.datasets(), [1, 1]);
}
