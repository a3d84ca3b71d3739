//! Pages by cursor, walked to their end.

use axum::http::StatusCode;
use fastrand::Rng;

use super::computed::direction;
use super::engines::{Both, encoded};
use super::generated::{COLUMNS, OPERATORS, chance, condition, definition, rows};

/// More than there are rows.
const PAGES_MAX: usize = 200;

/// What rows can be ordered by.
const ORDERS: [&str; 13] =
    ["t", "n", "f", "d", "b", "at", "day", "id", "e", "raw->>a", "raw->>\"ä\"", "_seq", "_recorded_at"];

/// Conditions and an order, without pages.
fn question(random: &mut Rng) -> String {
    let orders: Vec<String> = (0..random.usize(..4))
        .map(|_| format!("{}{}", random.choice(&ORDERS).unwrap(), direction(random)))
        .collect();
    let mut question = String::from("select=i,t,d,raw");
    if !orders.is_empty() {
        question.push_str(&format!("&order={}", encoded(&orders.join(","))));
    }
    if random.bool() {
        let (column, operator) = (random.choice(&COLUMNS).unwrap(), random.choice(OPERATORS).unwrap());
        let condition = condition(column, operator, random, false);
        question.push_str(&format!("&{}={}", column.name, encoded(&condition)));
    }
    question
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_go_through_the_same_pages_to_the_end() {
    let mut random = chance();
    let both = Both::with("d", &definition(), &rows(&mut random)).await;
    let lines = ("accept", "application/x-ndjson");
    let (mut walks, mut pages) = (0, 0);
    for _ in 0..80 {
        let question = question(&mut random);
        let whole = both.ask(&format!("/rest/d?{question}"), &[lines]).await;
        if whole.status == StatusCode::BAD_REQUEST {
            continue;
        }
        let (mut cursor, mut seen) = (Some("start".to_owned()), String::new());
        for page in 0.. {
            let Some(from) = cursor else { break };
            assert!(page < PAGES_MAX, "{question}: there is no end");
            // Pages may be of different sizes.
            let limit = random.usize(1..30);
            let path = format!("/rest/d?{question}&limit={limit}&cursor={from}");
            let answer = both.ask(&path, &[lines]).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            let rows = answer.text.lines().count();
            assert!(rows == limit || rows < limit && answer.next.is_none(), "{path}: {rows} rows");
            seen.push_str(&answer.text);
            (cursor, pages) = (answer.next, pages + 1);
        }
        assert_eq!(seen, whole.text, "{question}: the pages are all rows in their order");
        walks += 1;
    }
    assert!(walks >= 30 && pages >= 150, "{walks} walks over {pages} pages");
}
