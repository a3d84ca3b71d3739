//! The list of bad inputs, each with its status, type and pointer.

use orderwire_types::Limits;
use serde_json::json;

use crate::support::{CSV, JSON, NDJSON, Server, bearer};

#[tokio::test]
async fn what_is_not_json_is_400() {
    let server = Server::start().await;
    for body in ["", "{", "{\"a\":NaN}", "nope", "{\"a\":1}x", "{'a':1}"] {
        server.call("POST", "/v1/events/shop.a", &[JSON], body).await.problem(400, "malformed");
    }
    server
        .call("POST", "/v1/events/shop.a", &[JSON], &b"{\"a\":\"\xff\xfe\"}"[..])
        .await
        .problem(400, "malformed");
    server.call("PUT", "/v1/datasets/x", &[JSON], "{\"fields\":").await.problem(400, "malformed");
    assert!(server.waiting("shop").await.is_empty());
}

#[tokio::test]
async fn deep_nesting_is_422() {
    let server = Server::start().await;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    server.call("POST", "/v1/events/shop.a", &[JSON], deep.clone()).await.problem(422, "invalid");
    server.air().await;
    server.call("POST", "/v1/datasets/air/rows", &[JSON], deep.clone()).await.problem(422, "invalid");
    server.call("POST", "/v1/datasets/none/rows", &[JSON], deep.clone()).await.problem(422, "invalid");
    server.call("PUT", "/v1/datasets/x", &[JSON], deep.clone()).await.problem(422, "invalid");
    let batch = [("content-type", "application/cloudevents-batch+json")];
    server.call("POST", "/v1/events", &batch, deep.clone()).await.problem(422, "invalid");
    server.call("POST", "/v1/events/shop.a", &[NDJSON], deep).await.problem(422, "invalid");
}

#[tokio::test]
async fn a_large_body_is_413_also_without_its_length() {
    let server = Server::start().await;
    let large = format!("\"{}\"", "x".repeat(20 << 20));
    let length = large.len().to_string();
    server.call("POST", "/v1/events/shop.a", &[JSON], large.clone()).await.problem(413, "too-large");
    let headers = [JSON, ("content-length", length.as_str())];
    server.call("POST", "/v1/events/shop.a", &headers, large).await.problem(413, "too-large");
}

#[tokio::test]
async fn a_large_event_or_batch_is_413() {
    let server = Server::with(Limits { event_bytes: 1_000, batch_entries: 3, ..Limits::default() }).await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000));
    server.call("POST", "/v1/events/shop.a", &[JSON], large).await.problem(413, "too-large");
    server.call("POST", "/v1/events/shop.a", &[NDJSON], "1\n2\n3\n4").await.problem(413, "too-large");
    server.air().await;
    let commas = format!("[{}1]", "1,".repeat(100));
    server.call("POST", "/v1/datasets/air/rows", &[JSON], commas).await.problem(413, "too-large");
}

#[tokio::test]
async fn wrong_types_and_names_are_422_with_a_pointer() {
    let server = Server::start().await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": 7});
    let problem = server.post("/v1/events", &event).await.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/type");
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "shop.a", "client": "a b"});
    let problem = server.post("/v1/events", &event).await.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/client");
    server.post("/v1/events", &json!({"no": "type"})).await.problem(422, "invalid");
    server.post("/v1/events/a..b", &json!({})).await.problem(422, "invalid");
    let problem = server.post("/v1/queues", &json!({"name": "q", "types": ["a", "a b"]})).await;
    assert_eq!(problem.problem(422, "invalid")["pointer"], "/types/1");
    let problem = server.post("/v1/queues/shop/lease", &json!({"max": "many"})).await;
    let problem = problem.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/max");
    assert!(!problem["detail"].as_str().unwrap().contains("column"), "{problem}");
    let client = server.call("POST", "/v1/events/shop.a", &[JSON, ("orderwire-client", "a b")], "{}").await;
    client.problem(422, "invalid");
    server.call("POST", "/v1/events/shop.a?on_error=perhaps", &[JSON], "{}").await.problem(422, "invalid");
}

#[tokio::test]
async fn values_that_a_column_cannot_hold_are_422_with_a_pointer() {
    let server = Server::start().await;
    server.air().await;
    let at = "2024-01-01T00:00:00Z";
    for (field, value) in [
        ("station", "\"a\\u0000b\""),
        ("station", "7"),
        ("count", "9223372036854775808"),
        ("count", "1.5"),
        ("no2", "\"1\""),
        ("no2", "1e999"),
        ("at", "\"yesterday\""),
        ("station", "null"),
        ("nowhere", "1"),
    ] {
        let base = [("station", "\"s\""), ("at", &format!("\"{at}\""))];
        let mut row: Vec<String> = base
            .iter()
            .filter(|(name, _)| *name != field)
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        row.push(format!("\"{field}\":{value}"));
        let row = format!("{{{}}}", row.join(","));
        let answer = server.call("POST", "/v1/datasets/air/rows", &[JSON], row.clone()).await;
        assert_eq!(answer.problem(422, "invalid")["pointer"], format!("/{field}"), "{row}");
        let answer = server.call("POST", "/v1/events/orderwire.rows.air", &[JSON], row.clone()).await;
        assert_eq!(answer.problem(422, "invalid")["pointer"], format!("/{field}"), "{row}");
        let event = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"orderwire.rows.air","data":[{row}]}}"#
        );
        let answer = server.call("POST", "/v1/events", &[JSON], event).await;
        assert_eq!(answer.problem(422, "invalid")["pointer"], format!("/data/0/{field}"), "{row}");
    }
    server
        .call("POST", "/v1/datasets/air/rows", &[JSON], r#"{"station":NaN}"#)
        .await
        .problem(400, "malformed");
    assert!(server.waiting("data").await.is_empty());
}

#[tokio::test]
async fn an_event_that_no_queue_takes_is_422_and_not_accepted() {
    let server = Server::start().await;
    let problem = server.post("/v1/events/nobody.cares", &json!({})).await.problem(422, "unroutable");
    assert!(problem["detail"].as_str().unwrap().contains("nobody.cares"));
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "nobody.cares"});
    let problem = server.post("/v1/events", &event).await.problem(422, "unroutable");
    assert_eq!(problem["pointer"], "/type");
}

#[tokio::test]
async fn what_does_not_exist_is_404_after_the_body() {
    let server = Server::start().await;
    for (method, path, body) in [
        ("GET", "/v1/queues/nope", ""),
        ("GET", "/v1/queues/No%20Such", ""),
        ("GET", "/v1/queues/nope/peek", ""),
        ("POST", "/v1/queues/nope/lease", "{}"),
        ("POST", "/v1/queues/nope/ack", r#"{"delivery_ids":["1-1-1"]}"#),
        ("POST", "/v1/queues/nope/pause", ""),
        ("GET", "/v1/datasets/nope", ""),
        ("DELETE", "/v1/datasets/nope", ""),
        ("POST", "/v1/datasets/nope/rows", "[]"),
        ("GET", "/v1/datasets/nope/latest/x", ""),
        ("GET", "/v1/dead/7", ""),
        ("GET", "/v1/dead/x", ""),
        ("GET", "/v1/traces/nobody-knows", ""),
        ("GET", "/v1/clients/nobody", ""),
        ("GET", "/nothing/here", ""),
        ("DELETE", "/v1/keys/nope", ""),
    ] {
        server.call(method, path, &[JSON], body).await.problem(404, "not-found");
    }
    server.call("POST", "/v1/datasets/nope/rows", &[JSON], "[").await.problem(400, "malformed");
    server.call("POST", "/v1/queues/nope/lease", &[JSON], "[").await.problem(400, "malformed");
    server.call("POST", "/v1/queues/nope/ack", &[JSON], "{}").await.problem(422, "invalid");
    let rows = server.call("POST", "/v1/events/orderwire.rows.nope", &[JSON], "{}").await;
    rows.problem(422, "invalid");
}

#[tokio::test]
async fn other_media_types_and_methods_are_refused() {
    let server = Server::start().await;
    for (name, value) in [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "text/plain"),
        ("content-type", "application/json; charset=latin1"),
        ("content-encoding", "gzip"),
    ] {
        server
            .call("POST", "/v1/events/shop.a", &[(name, value)], "{}")
            .await
            .problem(415, "unsupported-media-type");
    }
    server.call("POST", "/v1/events", &[CSV], "a").await.problem(415, "unsupported-media-type");
    server.air().await;
    let xml = [("content-type", "text/xml")];
    server.call("POST", "/v1/datasets/air/rows", &xml, "<a/>").await.problem(415, "unsupported-media-type");
    let answer = server.call("PATCH", "/v1/events", &[JSON], "{}").await;
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.headers["allow"], "POST");
}

#[tokio::test]
async fn a_key_is_needed_and_its_scope_holds() {
    let server = Server::start().await;
    let wrong = format!("{}0", &server.admin[..server.admin.len() - 1]);
    let wrong = if wrong == server.admin { format!("{}1", &wrong[..wrong.len() - 1]) } else { wrong };
    for key in
        ["", "Bearer x", &bearer(&wrong), &bearer(&format!("ow_{}_{}", "0".repeat(16), "0".repeat(64)))]
    {
        let answer = server.call("POST", "/v1/events/shop.a", &[JSON, ("authorization", key)], "{}").await;
        answer.problem(401, "unauthorized");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    let acme =
        bearer(&server.key(json!({"name": "acme", "clients": ["acme"], "roles": ["read", "write"]})).await);
    let auth = ("authorization", acme.as_str());
    let answer =
        server.call("POST", "/v1/events/shop.a", &[JSON, auth, ("orderwire-client", "other")], "{}").await;
    answer.problem(403, "forbidden");
    let answer = server.call("POST", "/v1/events/shop.a", &[JSON, auth], r#"{"client":"other"}"#).await;
    assert_eq!(answer.problem(403, "forbidden")["pointer"], "/client");
    let answer = server.call("GET", "/v1/clients", &[auth, ("orderwire-client", "other")], "").await;
    answer.problem(403, "forbidden");
    server.call("POST", "/v1/queues/shop/lease", &[JSON, auth], "{}").await.problem(403, "forbidden");
    server.call("POST", "/v1/keys", &[JSON, auth], "{}").await.problem(403, "forbidden");
    server.call("POST", "/v1/events/shop.a", &[JSON, auth], "{}").await.ok(202);
    assert_eq!(server.waiting("shop").await[0]["client"], "acme");
}

#[tokio::test]
async fn own_types_are_closed_to_the_outside() {
    let server = Server::start().await;
    for event_type in ["orderwire.client.changed", "orderwire.order.ready", "orderwire.release.drifted"] {
        server.post(&format!("/v1/events/{event_type}"), &json!({})).await.problem(403, "forbidden");
    }
    let writer = bearer(&server.key(json!({"roles": ["write"]})).await);
    let order = "/v1/events/orderwire.order.requested";
    let body = r#"{"product":"m"}"#;
    server.call("POST", order, &[JSON, ("authorization", &writer)], body).await.problem(403, "forbidden");
    let orderer = bearer(&server.key(json!({"roles": ["order"]})).await);
    server.call("POST", order, &[JSON, ("authorization", &orderer)], body).await.ok(202);
    let other = server.call("POST", "/v1/events/shop.a", &[JSON, ("authorization", &orderer)], "{}").await;
    other.problem(403, "forbidden");
}

/// Over a real connection, because that is where an answer gets lost behind a
/// body that nobody reads.
#[tokio::test]
async fn who_sends_a_large_body_gets_to_read_its_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, server.app.clone()).into_future());
    let mut peer = tokio::net::TcpStream::connect(address).await.unwrap();
    let length = 20 << 20;
    let head = format!(
        "POST /v1/events/shop.a HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        server.admin
    );
    peer.write_all(head.as_bytes()).await.unwrap();
    peer.write_all(&vec![b'1'; length]).await.unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("problems/too-large"), "{answer}");
}

/// A body that begins with this and never ends.
fn endless(begin: &'static [u8]) -> axum::body::Body {
    use futures::StreamExt;
    let begin = futures::stream::iter([Ok::<_, std::io::Error>(begin)]);
    axum::body::Body::from_stream(begin.chain(futures::stream::pending()))
}

#[tokio::test]
async fn large_bodies_share_a_budget_of_memory() {
    static LARGE: [u8; 64 << 10] = [b' '; 64 << 10];
    let server = Server::with(Limits { body_bytes: 64 << 10, ..Limits::default() }).await;
    // From now on the key is known from memory: one poll leads to the body.
    server.get("/v1/whoami").await.ok(200);
    let length = LARGE.len().to_string();
    let large = [JSON, ("content-length", length.as_str())];
    let call = |begin| Box::pin(server.call("POST", "/v1/events/shop.a", &large, endless(begin)));
    // What is announced and does not come holds nothing.
    let mut announced: Vec<_> = (0..100).map(|_| call(b" ")).collect();
    for call in &mut announced {
        assert!(futures::poll!(call).is_pending());
    }
    let body = format!("{}{{}}", " ".repeat(LARGE.len() - 2));
    server.call("POST", "/v1/events/shop.a", &large, body.clone()).await.ok(202);
    // What came is held until the call ends.
    let mut held: Vec<_> = (0..32).map(|_| call(&LARGE)).collect();
    for call in &mut held {
        assert!(futures::poll!(call).is_pending());
    }
    call(&LARGE).await.problem(503, "overloaded");
    server.call("POST", "/v1/events/shop.a", &[JSON], "{}").await.ok(202);
    drop(held);
    server.call("POST", "/v1/events/shop.a", &large, body).await.ok(202);
}

#[tokio::test]
async fn a_body_that_stops_is_408() {
    let server = Server::start().await;
    // From now on the key is known from memory: nothing but the body is waited for.
    server.get("/v1/whoami").await.ok(200);
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let stopped = server.call("POST", "/v1/events/shop.a", &[JSON], endless(b"{")).await;
    stopped.problem(408, "body-timed-out");
    assert_eq!(begin.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn a_quote_that_is_never_closed_is_400_with_its_line() {
    let server = Server::start().await;
    server.air().await;
    let body = "station,at\ns1,2024-01-01\n\"s2,2024-01-01\ns3,2024-01-01\n";
    for path in ["/v1/datasets/air/rows", "/v1/datasets/none/rows", "/v1/datasets/air/rows?on_error=skip"] {
        let problem = server.call("POST", path, &[CSV], body).await.problem(400, "malformed");
        assert!(problem["detail"].as_str().unwrap().contains("line 3"), "{problem}");
    }
    let body = body.replace("\"s2,", "\"s2\",");
    let answer = server.call("POST", "/v1/datasets/air/rows", &[CSV], body).await.ok(202);
    assert_eq!(answer["accepted"], 3);
}

#[tokio::test]
async fn what_is_not_utf8_is_400_in_every_form() {
    let server = Server::start().await;
    server.air().await;
    for form in [JSON, NDJSON, CSV] {
        for path in ["/v1/datasets/air/rows", "/v1/datasets/air/rows?on_error=skip"] {
            let body = &b"station,at\ns\xff,2024-01-01\n"[..];
            server.call("POST", path, &[form], body).await.problem(400, "malformed");
        }
    }
    let lines = &b"{\"a\":\"\xff\"}\n"[..];
    server.call("POST", "/v1/events/shop.a", &[NDJSON], lines).await.problem(400, "malformed");
}
