use axum::http::StatusCode;

use crate::bench::{Bench, public, view};
use orderwire_query::ViewDef;

#[tokio::test]
async fn a_key_sees_its_own_clients_only_and_never_a_cached_answer_of_others() {
    let bench = Bench::new(vec![view("/api/rows")]).await;
    bench.sample().await;
    let rows = |answer: crate::bench::Answer, view: bool| {
        let json = answer.json();
        if view { json["values"].as_array().unwrap().len() } else { json.as_array().unwrap().len() }
    };
    for (path, is_view) in [("/rest/air", false), ("/api/rows", true)] {
        assert_eq!(rows(bench.get(path).await, is_view), 4, "{path}");
        let acme = bench.send("GET", path, &[("x-api-key", "acme")]).await;
        assert_eq!(rows(acme, is_view), 1, "{path}");
        let narrowed = bench.get_with(path, ("orderwire-client", "default")).await;
        assert_eq!(rows(narrowed, is_view), 3, "{path}");
        let filtered = bench.get(&format!("{path}?_client=eq.acme")).await;
        assert_eq!(rows(filtered, is_view), 1, "{path}");
        // A filter widens nothing.
        let outside =
            bench.send("GET", &format!("{path}?_client=eq.default"), &[("x-api-key", "acme")]).await;
        assert_eq!(rows(outside, is_view), 0, "{path}");
    }
}

#[tokio::test]
async fn whoever_may_not_read_is_refused() {
    let bench = Bench::new(vec![view("/api/rows")]).await;
    bench.sample().await;
    for path in ["/rest/air", "/api/rows"] {
        bench.get(path).await;
        for (headers, status, code) in [
            (vec![], StatusCode::UNAUTHORIZED, "PGRST301"),
            (vec![("authorization", "Bearer wrong")], StatusCode::UNAUTHORIZED, "PGRST301"),
            (vec![("x-api-key", "writer")], StatusCode::FORBIDDEN, "42501"),
            (vec![("x-api-key", "other")], StatusCode::NOT_FOUND, "42P01"),
            (vec![("x-api-key", "acme"), ("orderwire-client", "default")], StatusCode::FORBIDDEN, "42501"),
            (
                vec![("x-api-key", "all"), ("orderwire-client", "a b")],
                StatusCode::UNPROCESSABLE_ENTITY,
                "42501",
            ),
        ] {
            let answer = bench.send("GET", path, &headers).await;
            assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text);
            assert_eq!(answer.json()["code"], code, "{path} {headers:?}");
        }
        let refused = bench.send("GET", path, &[]).await;
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn a_public_view_shows_its_clients_to_anyone() {
    let views = vec![
        ViewDef { read: public(&["default"]), ..view("/api/open") },
        ViewDef { read: public(&["acme"]), ..view("/api/acme") },
    ];
    let bench = Bench::new(views).await;
    bench.sample().await;
    let open = bench.send("GET", "/api/open", &[]).await;
    assert_eq!((open.status, open.json()["values"].as_array().unwrap().len()), (StatusCode::OK, 3));
    // A key neither widens nor narrows it.
    for headers in [vec![("x-api-key", "wrong")], vec![("orderwire-client", "acme")]] {
        let answer = bench.send("GET", "/api/open", &headers).await;
        assert_eq!(answer.json()["values"].as_array().unwrap().len(), 3, "{headers:?}");
    }
    let acme = bench.send("GET", "/api/acme", &[]).await;
    assert_eq!(acme.json()["values"].as_array().unwrap().len(), 1);
    let hidden = bench.send("GET", "/api/open?_client=eq.acme", &[]).await;
    assert_eq!(hidden.status, StatusCode::BAD_REQUEST);
}
