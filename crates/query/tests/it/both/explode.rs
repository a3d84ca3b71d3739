//! Regular expressions and documents that are made to explode.

use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::engines::{Both, encoded};

/// Far less than backtracking over them would take, and than the longest read.
const PATIENCE: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_made_to_explode_is_answered_in_time_or_refused() {
    let definition = r#"{"fields":[{"name":"n","type":"integer"},{"name":"t","type":"text"}]}"#;
    let long = "a".repeat(20_000);
    let rows = format!(
        r#"[{{"n":1,"t":"{long}"}},{{"n":2,"t":"{long}b"}},{{"n":3,"t":"xxxxxxxxxxxxxxxxxxxxxxxxx"}}]"#
    );
    let both = Both::with("d", definition, &rows).await;
    for (expression, expected) in [
        ("^(a*)*$", Some("1")),
        ("^(a|aa)+$", Some("1")),
        ("^(a+)+b$", Some("2")),
        ("(x+x+)+y", Some("")),
        ("^([a-z]+)*[0-9]$", Some("")),
        ("^(a|a)*(a|a)*(a|a)*c", Some("")),
        ("(a|b)*a(a|b){12}$", Some("1,2")),
        (".*.*.*.*.*.*c", Some("")),
        ("^(.?){100}.{100}$", Some("")),
        // With their repetitions written out they are enormous.
        ("(a{1,200}){1,200}", None),
        ("((a{9}){9}){9}", Some("1,2")),
        ("(((((a{9}){9}){9}){9}){9}){9}", None),
        ("(.*){255}{255}", None),
        ("[^a]{255}[^b]{255}[^c]{255}[^d]{255}[^e]{255}", None),
    ] {
        let began = Instant::now();
        let answer =
            both.ask(&format!("/rest/d?select=n&order=n&t=match.{}", encoded(expression)), &[]).await;
        assert!(began.elapsed() < PATIENCE, "{expression} took {:?}", began.elapsed());
        let Some(expected) = expected else {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{expression}: {}", answer.text);
            continue;
        };
        assert_eq!(answer.status, StatusCode::OK, "{expression}: {}", answer.text);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&answer.text).unwrap();
        let found: Vec<String> = rows.iter().map(|row| row["n"].to_string()).collect();
        assert_eq!(found.join(","), expected, "{expression}");
    }
}

/// Each value of the condition is looked for among all of the row's document.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_made_to_explode_is_answered_in_time_or_refused() {
    let definition = r#"{"fields":[{"name":"n","type":"integer"},{"name":"j","type":"json"}]}"#;
    let ones = format!("{}2", "1,".repeat(120_000));
    let nested = format!("{}[2]", "[1],".repeat(60_000));
    let both =
        Both::with("d", definition, &format!(r#"[{{"n":1,"j":[{ones}]}},{{"n":2,"j":[{nested}]}}]"#)).await;
    for (element, expected) in [("2", "1"), ("[2]", "2"), ("3", ""), ("[3]", "")] {
        // An array is a value, too.
        let most = if element.starts_with('[') { 98 } else { 198 };
        for (count, is_taken) in [(most, true), (most + 1, false), (1_000, false)] {
            let document = format!("[{}{element}]", format!("{element},").repeat(count));
            let path = format!("/rest/d?select=n&j=cs.{}", encoded(&document));
            let began = Instant::now();
            let answer = both.ask(&path, &[]).await;
            assert!(began.elapsed() < PATIENCE, "{count} {element} took {:?}", began.elapsed());
            if is_taken {
                let found: Vec<serde_json::Value> = serde_json::from_str(&answer.text).unwrap();
                let found: Vec<String> = found.iter().map(|row| row["n"].to_string()).collect();
                assert_eq!(
                    (answer.status, found.join(",").as_str()),
                    (StatusCode::OK, expected),
                    "{count} {element}"
                );
            } else {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{count} {element}: {}", answer.text);
            }
        }
    }
}
