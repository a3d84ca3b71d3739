use axum::http::StatusCode;
use orderwire_query::Options;

use crate::bench::Bench;

#[tokio::test]
async fn rows_come_in_their_types_digit_for_digit() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    let answer = bench.get("/rest/air?_client=eq.default&order=TimeInstant").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(answer.header("content-range"), "0-2/*");
    assert_eq!(answer.header("range-unit"), "items");
    assert_eq!(
        answer.text,
        "[{\"TimeInstant\":\"2026-01-01T00:00:00Z\",\"id_entity\":\"s1\",\"no2\":1.5,\
         \"n\":9007199254740993,\"ok\":true,\"raw\":{\"a\":1.10}},\n\
         {\"TimeInstant\":\"2026-01-01T01:00:00.25Z\",\"id_entity\":\"s2\",\"no2\":2.5,\"n\":2,\
         \"ok\":false,\"raw\":null},\n\
         {\"TimeInstant\":\"2026-01-01T02:00:00Z\",\"id_entity\":\"s1\",\"no2\":null,\"n\":3,\"ok\":null,\
         \"raw\":null}]"
    );
}

#[tokio::test]
async fn filters_select_the_rows_that_they_say() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    for (query, expected) in [
        ("", "[9007199254740993,2,3,4]"),
        ("n=eq.9007199254740993", "[9007199254740993]"),
        ("n=neq.2", "[9007199254740993,3,4]"),
        ("n=gt.2&n=lte.4", "[3,4]"),
        ("n=in.(2,4,99)", "[2,4]"),
        ("n=in.()", "[]"),
        ("n=not.in.()", "[9007199254740993,2,3,4]"),
        ("no2=is.null", "[3,4]"),
        ("no2=not.is.null", "[9007199254740993,2]"),
        // As in SQL, null is neither greater nor not greater.
        ("no2=gt.2", "[2]"),
        ("no2=not.gt.2", "[9007199254740993]"),
        ("ok=is.true", "[9007199254740993]"),
        ("ok=is.unknown", "[3,4]"),
        ("id_entity=like.s*", "[9007199254740993,2,3]"),
        ("id_entity=ilike.S1", "[9007199254740993,3]"),
        ("id_entity=in.(%22x,1%22,s2)", "[2,4]"),
        ("or=(n.eq.2,and(id_entity.eq.s1,no2.is.null))", "[2,3]"),
        ("not.or=(n.eq.2,n.eq.3)", "[9007199254740993,4]"),
        ("TimeInstant=gte.2026-01-01T03:00:00+02:00", "[2,3,4]"),
        ("TimeInstant=eq.2026-01-01T01:00:00.25Z", "[2]"),
        ("raw=eq.{\"a\":1.10}", "[9007199254740993]"),
        ("_client=eq.acme", "[4]"),
        ("_trace_id=eq.00000000-0000-0000-0000-000000000007&n=lt.4", "[2,3]"),
        ("order=n.desc&limit=2", "[9007199254740993,4]"),
        ("order=no2.desc.nullslast,n.desc", "[2,9007199254740993,4,3]"),
        ("order=no2.asc.nullsfirst,n", "[3,4,9007199254740993,2]"),
        ("limit=2&offset=1", "[2,3]"),
        ("limit=0", "[]"),
        ("offset=100", "[]"),
    ] {
        let encoded = query.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
        let answer = bench.get(&format!("/rest/air?select=n&{encoded}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
        let numbers: Vec<String> =
            answer.json().as_array().unwrap().iter().map(|row| row["n"].to_string()).collect();
        assert_eq!(format!("[{}]", numbers.join(",")), expected, "{query}");
    }
}

#[tokio::test]
async fn columns_are_picked_renamed_and_hidden_ones_named() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    let answer = bench.get("/rest/air?select=station:id_entity,_client,_trace_id&n=eq.4").await;
    assert_eq!(
        answer.text,
        "[{\"station\":\"x,1\",\"_client\":\"acme\",\"_trace_id\":\"00000000-0000-0000-0000-000000000007\"}]"
    );
    assert_eq!(bench.get("/rest/air?select=*&n=eq.4").await.json()[0].as_object().unwrap().len(), 6);
}

#[tokio::test]
async fn ranges_and_counts_answer_as_postgrest_does() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    let key = ("authorization", "Bearer all");
    let exact = ("prefer", "count=exact");
    for (query, headers, status, range) in [
        ("", vec![exact], 200, "0-3/4"),
        ("", vec![exact, ("range", "0-1"), ("range-unit", "items")], 206, "0-1/4"),
        ("", vec![("range", "0-1")], 200, "0-1/*"),
        ("limit=2&offset=1", vec![exact], 206, "1-2/4"),
        ("limit=2", vec![], 200, "0-1/*"),
        ("n=eq.99", vec![exact], 200, "*/0"),
        ("n=eq.99", vec![], 200, "*/*"),
        ("offset=4", vec![exact], 206, "*/4"),
        ("offset=5", vec![exact], 416, "*/4"),
        ("", vec![("range", "5-2")], 416, "*/*"),
        ("", vec![("range", "bytes=0-1")], 200, "0-3/*"),
    ] {
        let headers = [vec![key], headers].concat();
        let answer = bench.send("GET", &format!("/rest/air?{query}"), &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{query} {headers:?}: {}", answer.text);
        assert_eq!(answer.header("content-range"), range, "{query} {headers:?}");
        let applied = if headers.contains(&exact) && status != 416 { "count=exact" } else { "" };
        assert_eq!(answer.header("preference-applied"), applied);
    }
}

#[tokio::test]
async fn csv_and_single_objects_are_served_by_accept() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    let answer = bench.get_with("/rest/air?select=id_entity,no2,raw&order=n", ("accept", "text/csv")).await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        answer.text,
        "id_entity,no2,raw\r\ns2,2.5,\r\ns1,,\r\n\"x,1\",,\r\ns1,1.5,\"{\"\"a\"\":1.10}\"\r\n"
    );
    let single = ("accept", "application/vnd.pgrst.object+json");
    let answer = bench.get_with("/rest/air?select=n&n=eq.4", single).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "{\"n\":4}"));
    for query in ["n=eq.99", "n=lt.5"] {
        let answer = bench.get_with(&format!("/rest/air?{query}"), single).await;
        assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
        assert_eq!(answer.json()["code"], "PGRST116");
    }
    let answer = bench.get_with("/rest/air", ("accept", "image/png")).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (StatusCode::NOT_ACCEPTABLE, Some("PGRST107"))
    );
}

#[tokio::test]
async fn an_error_is_a_problem_with_postgrests_members() {
    let bench = Bench::new(vec![]).await;
    let answer = bench.get("/rest/air?nope=eq.1").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["type"], "https://orderwire.dev/problems/invalid-query");
    assert_eq!(body["status"], 400);
    assert_eq!(body["code"], "42703");
    assert_eq!(body["message"], "column \"nope\" does not exist in dataset air");
    assert!(body["details"].as_str().unwrap().starts_with("it has TimeInstant, id_entity, no2"), "{body}");
    assert!(body["detail"].as_str().unwrap().contains("it has TimeInstant"), "{body}");
    assert!(body["hint"].is_null());

    for path in ["/rest/nope", "/rest/N%20O", "/rest/%FF"] {
        let answer = bench.get(path).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (StatusCode::NOT_FOUND, Some("42P01")),
            "{path}"
        );
    }
    for method in ["PATCH", "PUT", "DELETE"] {
        let answer = bench.send(method, "/rest/air", &[("authorization", "Bearer all")]).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(
            (answer.header("allow"), answer.json()["code"].as_str()),
            ("GET, HEAD, POST", Some("PGRST117"))
        );
    }
}

#[tokio::test]
async fn an_answer_over_a_limit_is_cut_and_says_so() {
    let bench = Bench::with(Options { rows: 3, ..Options::for_testing() }, vec![]).await;
    bench.sample().await;
    let answer = bench.get("/rest/air?select=n").await;
    assert_eq!((answer.status, answer.header("content-range")), (StatusCode::PARTIAL_CONTENT, "0-2/*"));
    assert_eq!(answer.json().as_array().unwrap().len(), 3);
    // Rows that were not asked for are not cut off.
    assert_eq!(bench.get("/rest/air?limit=3").await.status, StatusCode::OK);
    assert_eq!(bench.get("/rest/air?limit=4").await.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(bench.get("/rest/air?n=lt.5").await.status, StatusCode::OK);

    let bench = Bench::with(Options { answer_bytes: 20, ..Options::for_testing() }, vec![]).await;
    bench.sample().await;
    let answer = bench.get_with("/rest/air?select=n&order=n.desc", ("prefer", "count=exact")).await;
    assert_eq!((answer.status, answer.header("content-range")), (StatusCode::PARTIAL_CONTENT, "0-0/4"));
    assert_eq!(answer.text, "[{\"n\":9007199254740993}]");
}

#[tokio::test]
async fn head_says_what_get_would() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    let headers = [("authorization", "Bearer all"), ("prefer", "count=exact")];
    let get = bench.send("GET", "/rest/air?limit=1", &headers).await;
    let head = bench.send("HEAD", "/rest/air?limit=1", &headers).await;
    assert_eq!(head.text, "");
    assert_eq!(head.status, get.status);
    for name in ["content-range", "etag", "content-type", "content-length"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
        assert_ne!(head.header(name), "", "{name}");
    }
}

#[tokio::test]
async fn values_are_cast_and_parts_taken() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    let answer = bench.get("/rest/air?select=n::text,no2::integer,day:TimeInstant::date,ok::integer,a:raw-%3Ea,b:raw-%3E%3Ea::float&n=eq.9007199254740993").await;
    assert_eq!(
        answer.text,
        "[{\"n\":\"9007199254740993\",\"no2\":2,\"day\":\"2026-01-01\",\"ok\":1,\"a\":1.10,\"b\":1.1}]"
    );
    let answer = bench.get("/rest/air?select=n&raw-%3E%3Ea=eq.1.10&order=raw-%3E%3Ea.desc").await;
    assert_eq!(answer.text, "[{\"n\":9007199254740993}]");
    // A value that cannot become what it is cast to ends the read.
    let answer = bench.get("/rest/air?select=id_entity::integer").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (StatusCode::BAD_REQUEST, Some("22P02")));
}

#[tokio::test]
async fn rows_are_grouped_by_what_is_not_an_aggregate() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    for (query, expected) in [
        ("select=count()", "[{\"count\":4}]"),
        ("select=count()&n=eq.99", "[{\"count\":0}]"),
        (
            "select=id_entity,count(),no2.avg(),n.sum()::text&order=id_entity.desc&limit=2",
            "[{\"id_entity\":\"x,1\",\"count\":1,\"avg\":null,\"sum\":\"4\"},\n\
             {\"id_entity\":\"s2\",\"count\":1,\"avg\":2.5,\"sum\":\"2\"}]",
        ),
        (
            "select=day:TimeInstant.bucket(1d),many:count()&order=day.desc",
            "[{\"day\":\"2026-01-02T00:00:00Z\",\"many\":1},\n{\"day\":\"2026-01-01T00:00:00Z\",\"many\":3}]",
        ),
        ("select=id_entity,no2.max()&n=eq.99", "[]"),
    ] {
        let answer = bench.get(&format!("/rest/air?{query}")).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, expected), "{query}");
    }
    let answer = bench.get("/rest/air?select=count()&order=n").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
}

#[tokio::test]
async fn a_cursor_goes_on_where_the_page_before_ended() {
    let bench = Bench::new(vec![]).await;
    bench.sample().await;
    for (order, expected) in [
        ("", "9007199254740993 2 3 4"),
        ("order=TimeInstant.desc", "4 3 2 9007199254740993"),
        ("order=id_entity,TimeInstant", "9007199254740993 3 2 4"),
        ("order=no2", "9007199254740993 2 3 4"),
        ("order=no2.desc", "3 4 2 9007199254740993"),
        ("order=no2.desc.nullslast,n.desc", "2 9007199254740993 4 3"),
        ("order=no2.nullsfirst,n.desc", "4 3 9007199254740993 2"),
        ("order=ok,raw-%3E%3Ea", "2 9007199254740993 3 4"),
    ] {
        for limit in 1..=5 {
            let mut seen = Vec::new();
            let mut path = format!("/rest/air?select=n&{order}&limit={limit}&cursor=start");
            loop {
                let answer = bench.get(&path).await;
                assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
                assert_eq!(answer.header("content-range"), "");
                seen.extend(answer.json().as_array().unwrap().iter().map(|row| row["n"].to_string()));
                let link = answer.header("link").to_owned();
                assert_eq!(link.is_empty(), answer.header("orderwire-next").is_empty());
                let Some(next) = link.strip_prefix('<').and_then(|link| link.split_once(">; rel=\"next\""))
                else {
                    break;
                };
                path = next.0.to_owned();
            }
            assert_eq!(seen.join(" "), expected, "{order} {limit}");
        }
    }
    // Rows that come in between move nothing.
    let first = bench.get("/rest/air?select=n&order=TimeInstant&limit=2&cursor=start").await;
    bench.record("default", r#"[{"TimeInstant":"2025-01-01T00:00:00Z","id_entity":"s9","n":9}]"#).await;
    let next = first.header("orderwire-next");
    let second = bench.get(&format!("/rest/air?select=n&order=TimeInstant&limit=2&cursor={next}")).await;
    assert_eq!(second.text, "[{\"n\":3},\n{\"n\":4}]");
    for query in [
        format!("order=n&cursor={next}"),
        format!("order=TimeInstant&n=gt.1&cursor={next}"),
        format!("order=TimeInstant&offset=1&cursor={next}"),
        format!("order=TimeInstant&select=count()&cursor={next}"),
        // The column and the bucket have one name, and are ordered by as the other.
        "select=TimeInstant:TimeInstant.bucket(1h),n&order=TimeInstant&limit=1&cursor=start".to_owned(),
        "cursor=nonsense".to_owned(),
        "cursor=1.e30".to_owned(),
        "cursor=".to_owned(),
        "limit=0&cursor=start".to_owned(),
    ] {
        let answer = bench.get(&format!("/rest/air?{query}")).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (StatusCode::BAD_REQUEST, Some("PGRST100")),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_root_describes_the_datasets_of_the_key() {
    let bench = Bench::new(vec![]).await;
    let answer = bench.get("/rest/").await;
    assert_eq!(answer.header("content-type"), "application/openapi+json; charset=utf-8");
    let api = answer.json();
    assert_eq!(api["definitions"]["air"]["required"], serde_json::json!(["TimeInstant", "id_entity"]));
    assert_eq!(api["definitions"]["air"]["properties"]["no2"]["format"], "double precision");
    assert!(api["parameters"]["rowFilter.air.n"].is_object(), "{api}");
    let other = bench.send("GET", "/rest", &[("authorization", "Bearer other")]).await;
    assert_eq!(other.json()["definitions"], serde_json::json!({}));
    assert_eq!(bench.send("GET", "/rest/", &[]).await.status, StatusCode::UNAUTHORIZED);
}
