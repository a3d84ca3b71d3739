use axum::http::StatusCode;
use orderwire_cache::MemoryCache;
use orderwire_query::{Options, Shape, ViewDef, check_view, router};
use orderwire_types::dataset::DatasetDef;

use crate::bench::{AIR, Bench, public, view};

fn grouped(path: &str) -> ViewDef {
    ViewDef {
        columns: Some(vec!["TimeInstant".to_owned(), "n".to_owned()]),
        shape: Shape::Grouped { by: "id_entity".to_owned() },
        read: public(&["default", "acme"]),
        ..view(path)
    }
}

#[tokio::test]
async fn a_grouped_view_is_an_object_of_groups_and_the_flag() {
    let bench = Bench::new(vec![grouped("/api/v1/measures/air")]).await;
    bench.sample().await;
    let answer = bench.send("GET", "/api/v1/measures/air", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.text,
        "{\"s1\":{\"values\":[{\"TimeInstant\":\"2026-01-01T00:00:00Z\",\"n\":9007199254740993},\n\
         {\"TimeInstant\":\"2026-01-01T02:00:00Z\",\"n\":3}]},\n\
         \"s2\":{\"values\":[{\"TimeInstant\":\"2026-01-01T01:00:00.25Z\",\"n\":2}]},\n\
         \"x,1\":{\"values\":[{\"TimeInstant\":\"2026-01-02T00:00:00Z\",\"n\":4}]},\n\"cache\": false}"
    );
    let again = bench.send("GET", "/api/v1/measures/air", &[]).await;
    assert_eq!(again.text, answer.text.replace("\"cache\": false", "\"cache\": true"));
}

#[tokio::test]
async fn a_view_keeps_to_its_definition_and_takes_narrower_questions() {
    let def = ViewDef {
        columns: Some(vec!["n".to_owned()]),
        filter: Some("n=lt.100&id_entity=like.s*".to_owned()),
        order: Some("n.desc".to_owned()),
        limit: Some(1),
        ..view("/api/small")
    };
    let bench = Bench::new(vec![def]).await;
    bench.sample().await;
    for (query, values) in [
        ("", "[{\"n\":3}]"),
        ("?n=eq.2", "[{\"n\":2}]"),
        ("?limit=5", "[{\"n\":3}]"),
        ("?limit=0", "[]"),
        ("?offset=1", "[{\"n\":2}]"),
        ("?or=(n.eq.4,n.gt.100)", "[]"),
    ] {
        let answer = bench.get(&format!("/api/small{query}")).await;
        assert_eq!(answer.text, format!("{{\"values\":{values},\"cache\": false}}"), "{query}");
    }
    for (query, part) in [
        ("?id_entity=eq.s1", "column \"id_entity\" does not exist in view /api/small"),
        ("?select=id_entity", "does not take the parameter select"),
        ("?order=n", "does not take the parameter order"),
        ("?foo=bar", "no known operator"),
    ] {
        let answer = bench.get(&format!("/api/small{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.json()["message"].as_str().unwrap().contains(part), "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_view_over_the_servers_limit_is_cut_and_says_so() {
    let views = vec![grouped("/api/g"), view("/api/rows")];
    let bench = Bench::with(Options { rows: 2, ..Options::for_testing() }, views).await;
    bench.sample().await;
    for path in ["/api/g", "/api/rows"] {
        for _ in 0..2 {
            let answer = bench.get(path).await;
            assert_eq!(
                (answer.status, answer.header("content-range")),
                (StatusCode::PARTIAL_CONTENT, "0-1/*")
            );
            answer.json();
        }
    }
}

#[tokio::test]
async fn a_view_on_a_dataset_that_is_not_there_says_so() {
    let missing = ViewDef { dataset: "later".parse().unwrap(), ..view("/api/later") };
    let bench = Bench::new(vec![missing]).await;
    let answer = bench.get("/api/later").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.json()["message"].as_str().unwrap().contains("later"));
}

#[tokio::test]
async fn every_fault_of_the_views_is_reported() {
    let bench = Bench::new(vec![]).await;
    let views = vec![
        view("/v1/mine"),
        view("/rest"),
        view("no-slash"),
        view("/a//b"),
        view("/{x}"),
        view("/same"),
        view("/same"),
        ViewDef { filter: Some("n=eq".to_owned()), ..view("/filter") },
        ViewDef { order: Some("n(".to_owned()), ..view("/order") },
    ];
    let cache = std::sync::Arc::new(MemoryCache::new(1 << 20));
    let faults = router(Options::default(), views, bench.store.clone(), cache).err().unwrap();
    assert_eq!(faults.len(), 8, "{faults:?}");
    assert!(faults[0].to_string().contains("/v1 is reserved"), "{faults:?}");

    let def: DatasetDef = serde_json::from_str(AIR).unwrap();
    let options = Options::default();
    assert_eq!(check_view(&grouped("/a"), &def, &options), []);
    for (wrong, key, part) in [
        (view("/v1/mine"), "path", "reserved"),
        (ViewDef { columns: Some(vec!["nope".to_owned()]), ..view("/a") }, "columns", "does not exist"),
        (filtered("n=eq.x"), "filter", "type integer"),
        (filtered("n=like.1*"), "filter", "needs a text column"),
        (filtered("or=(n.eq.1"), "filter", "expected"),
        (filtered("n=eq"), "filter", "operator"),
        (filtered("id_entity=eq.%00"), "filter", "NUL"),
        (filtered("id_entity=eq.\0"), "filter", "NUL"),
        (filtered("limit=1"), "filter", "does not belong"),
        (ViewDef { order: Some("raw".to_owned()), ..view("/a") }, "order", "no order"),
        (ViewDef { order: Some("n(".to_owned()), ..view("/a") }, "order", "cannot be read"),
        (
            ViewDef { shape: Shape::Grouped { by: "no2".to_owned() }, ..view("/a") },
            "group_by",
            "cannot group",
        ),
        (ViewDef { shape: Shape::Grouped { by: "raw".to_owned() }, ..view("/a") }, "group_by", "it is json"),
    ] {
        let faults = check_view(&wrong, &def, &options);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].key == key && faults[0].detail.contains(part), "{faults:?}");
    }
    let many = ViewDef { order: Some("raw,gone,n".to_owned()), ..filtered("n=eq.x&n=gt.1&gone=eq.1") };
    let keys: Vec<_> = check_view(&many, &def, &options).into_iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["filter", "filter", "order", "order"]);
}

fn filtered(filter: &str) -> ViewDef {
    ViewDef { filter: Some(filter.to_owned()), ..view("/a") }
}

#[tokio::test]
async fn the_description_lists_rest_and_every_view() {
    let bench = Bench::new(vec![]).await;
    let cache = std::sync::Arc::new(MemoryCache::new(1 << 20));
    let views = vec![grouped("/api/v1/measures/air"), view("/api/rows")];
    let router = router(Options::default(), views, bench.store.clone(), cache).unwrap();
    let document = serde_json::to_value(router.get_openapi()).unwrap();
    let paths = &document["paths"];
    assert!(paths["/rest/{dataset}"]["get"]["parameters"].as_array().unwrap().len() > 4);
    let either = serde_json::json!([{"bearer": []}, {"api_key": []}]);
    assert_eq!(paths["/rest/{dataset}"]["get"]["security"], either);
    assert_eq!(paths["/api/rows"]["get"]["security"], either);
    assert_eq!(paths["/api/v1/measures/air"]["get"]["security"], serde_json::json!([{}]), "anyone");
}
