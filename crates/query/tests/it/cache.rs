use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use axum::http::StatusCode;
use orderwire_query::{Freshness, ViewDef};
use tokio::task::JoinSet;

use crate::bench::{Bench, public, view};

const ROW: &str = r#"[{"TimeInstant":"2026-02-01T00:00:00Z","id_entity":"s9","n":9}]"#;

fn open(path: &str, freshness: Freshness) -> ViewDef {
    ViewDef { read: public(&["default"]), freshness, ..view(path) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_equal_misses_are_one_read() {
    let bench = Arc::new(Bench::new(vec![open("/api/open", Freshness::Strict)]).await);
    bench.sample().await;
    for (round, path) in ["/api/open", "/rest/air?order=n&n=gt.0"].into_iter().enumerate() {
        let mut calls = JoinSet::new();
        for _ in 0..1_000 {
            let bench = bench.clone();
            calls.spawn(async move { bench.get(path).await });
        }
        let mut misses = 0;
        while let Some(answer) = calls.join_next().await {
            let answer = answer.unwrap();
            assert_eq!(answer.status, StatusCode::OK);
            misses += u64::from(answer.header("cache-status") == "orderwire; fwd=miss");
        }
        assert!(misses >= 1);
        assert_eq!(bench.selects(), round as u64 + 1, "{path}");
    }
}

#[tokio::test]
async fn a_strict_read_after_a_write_is_never_older() {
    let bench = Bench::new(vec![open("/api/open", Freshness::Strict)]).await;
    bench.sample().await;
    for path in ["/rest/air?select=n&n=eq.9", "/api/open?n=eq.9"] {
        assert_eq!(bench.get(path).await.header("cache-status"), "orderwire; fwd=miss");
        let hit = bench.get(path).await;
        assert_eq!(hit.header("cache-status"), "orderwire; hit");
        assert!(!hit.text.contains("\"n\":9"));
    }
    bench.record("default", ROW).await;
    for path in ["/rest/air?select=n&n=eq.9", "/api/open?n=eq.9"] {
        let answer = bench.get(path).await;
        assert!(answer.text.contains("\"n\":9"), "{path}: {}", answer.text);
        assert_eq!(answer.header("age"), "");
    }
    assert_eq!(bench.selects(), 4);
}

#[tokio::test]
async fn a_view_within_a_span_is_at_most_that_old() {
    let hour = Duration::from_secs(3_600);
    let bench = Bench::new(vec![open("/api/open", Freshness::Within(hour))]).await;
    bench.sample().await;
    let miss = bench.get("/api/open").await;
    assert_eq!(miss.json()["cache"], false);
    assert_eq!(miss.header("cache-control"), "public, max-age=3600");
    bench.record("default", ROW).await;
    bench.pass(hour - Duration::from_secs(1));
    let hit = bench.get("/api/open").await;
    assert_eq!((hit.json()["cache"].clone(), hit.header("age")), (true.into(), "3599"));
    assert!(!hit.text.contains("s9"));
    bench.pass(Duration::from_secs(1));
    let fresh = bench.get("/api/open").await;
    assert_eq!(fresh.json()["cache"], false);
    assert!(fresh.text.contains("s9"));
}

#[tokio::test]
async fn while_the_store_is_away_an_old_answer_is_marked_and_nothing_else_is_made_up() {
    let bench = Bench::new(vec![open("/api/open", Freshness::Strict)]).await;
    bench.sample().await;
    bench.get("/api/open").await;
    bench.get("/rest/air").await;
    bench.record("default", ROW).await;
    bench.pass(Duration::from_secs(90));
    bench.store.away.store(true, SeqCst);
    for path in ["/api/open", "/rest/air"] {
        let stale = bench.get(path).await;
        assert_eq!(stale.status, StatusCode::OK);
        assert_eq!(stale.header("cache-status"), "orderwire; hit; detail=stale");
        assert!(stale.header("warning").starts_with("110 "));
        assert_eq!(stale.header("age"), "90");
        assert!(!stale.text.contains("s9"));
    }
    assert_eq!(bench.get("/api/open").await.json()["cache"], true);
    let unknown = bench.get("/rest/air?n=eq.9").await;
    assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unknown.header("retry-after"), "1");
    bench.store.away.store(false, SeqCst);
    assert!(bench.get("/api/open").await.text.contains("s9"));
    assert_eq!(bench.get("/rest/air?n=eq.9").await.status, StatusCode::OK);
}

#[tokio::test]
async fn whoever_has_the_answer_gets_304() {
    let bench = Bench::new(vec![open("/api/open", Freshness::Strict)]).await;
    bench.sample().await;
    for path in ["/api/open", "/rest/air"] {
        let first = bench.get(path).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        // The flag is not part of what the tag is over.
        let hit = bench.get(path).await;
        assert_eq!(hit.header("etag"), tag);
        assert_eq!(hit.header("content-length"), hit.text.len().to_string());
        let same = bench.get_with(path, ("if-none-match", &tag)).await;
        assert_eq!((same.status, same.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(same.header("etag"), tag);
        assert_ne!(same.header("cache-control"), "");
        bench.record("default", &ROW.replace("s9", &path.replace('/', "_"))).await;
        let changed = bench.get_with(path, ("if-none-match", &tag)).await;
        assert_eq!(changed.status, StatusCode::OK);
        assert_ne!(changed.header("etag"), tag);
    }
}

#[tokio::test]
async fn answers_in_different_forms_do_not_meet() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    let json = bench.get("/rest/air?select=n").await;
    let csv = bench.get_with("/rest/air?select=n", ("accept", "text/csv")).await;
    let counted = bench.get_with("/rest/air?select=n", ("prefer", "count=exact")).await;
    let part = bench.get_with("/rest/air?select=n", ("range", "0-0")).await;
    assert_eq!(bench.selects(), 4);
    assert!(csv.text.starts_with("n\r\n"));
    assert_eq!(counted.header("content-range"), "0-3/4");
    assert_eq!(part.json().as_array().unwrap().len(), 1);
    assert_ne!(json.header("etag"), csv.header("etag"));
    assert!(json.header("vary").contains("Accept"));
    assert_eq!(json.header("cache-control"), "private, no-cache");
}

#[tokio::test]
async fn no_store_goes_past_the_cache_of_rest_but_not_of_views() {
    let bench = Bench::new(vec![open("/api/open", Freshness::Strict)]).await;
    bench.sample().await;
    for path in ["/rest/air", "/api/open"] {
        bench.get(path).await;
    }
    let no_store = ("cache-control", "no-store");
    let rest = bench.get_with("/rest/air", no_store).await;
    assert_eq!(rest.header("cache-status"), "orderwire; fwd=bypass");
    let view = bench.get_with("/api/open", no_store).await;
    assert_eq!(view.header("cache-status"), "orderwire; hit");
    assert_eq!(bench.selects(), 3);
}

#[tokio::test]
async fn head_of_a_miss_announces_the_length_of_a_miss() {
    let bench = Bench::new(vec![open("/api/a", Freshness::Strict), open("/api/b", Freshness::Strict)]).await;
    bench.sample().await;
    let head = bench.send("HEAD", "/api/a", &[]).await;
    let get = bench.send("GET", "/api/b", &[]).await;
    assert_eq!(get.header("content-length"), get.text.len().to_string());
    assert_eq!((head.header("content-length"), head.text.as_str()), (get.header("content-length"), ""));
}
