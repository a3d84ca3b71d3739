//! Events in, in every form.

use serde_json::json;

use crate::support::{JSON, NDJSON, Server, bearer};

#[tokio::test]
async fn an_accepted_event_is_in_its_queue_with_its_digits() {
    let server = Server::start().await;
    let body = r#"{"a":9007199254740993,"b":5.1229960,"c":null,"d":1.10E+2}"#;
    let answer = server.call("POST", "/v1/events/shop.a", &[JSON], body).await.ok(202);
    assert_eq!(answer["queues"], json!(["shop"]));
    assert_eq!(answer["status_url"], format!("/v1/traces/{}", answer["trace_id"].as_str().unwrap()));
    assert!(server.first_waiting("shop").await.contains(body));
    assert_eq!(server.waiting("shop").await[0]["id"], answer["event_id"]);
    let trace = server.get(answer["status_url"].as_str().unwrap()).await.ok(200);
    assert_eq!(trace["state"], "open");
    assert_eq!(trace["client"], "default");
    assert_eq!(trace["steps"][0]["step"], "accepted");
    assert_eq!(trace["steps"][0]["event_id"], answer["event_id"]);
}

#[tokio::test]
async fn every_form_is_taken() {
    let server = Server::start().await;
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "shop.a", "data": 1});
    let structured = [("content-type", "application/cloudevents+json; charset=UTF-8")];
    server.call("POST", "/v1/events", &structured, event.to_string()).await.ok(202);
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "2"),
        ("ce-source", "/s"),
        ("ce-type", "shop.b"),
        ("content-type", "image/png"),
    ];
    server.call("POST", "/v1/events", &binary, "png").await.ok(202);
    let attributes = json!({
        "client": "acme",
        "MessageAttributes": {
            "event_type": {"Type": "String", "Value": "shop.c"},
            "trace_id": "9a2ae9de-3f82-4f55-966b-47df50ff51ff",
        },
        "Metadata": {"host": "h", "publisher": "p"},
    });
    let answer = server.post("/v1/events", &attributes).await.ok(202);
    assert_eq!(answer["trace_id"], "9a2ae9de-3f82-4f55-966b-47df50ff51ff");
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let other = json!({"specversion": "1.0", "id": "3", "source": "/s", "type": "shop.d"});
    let answer = server.call("POST", "/v1/events", &batch, json!([event, other]).to_string()).await.ok(202);
    assert_eq!(answer["accepted"], 2);
    // The first of the batch came before.
    let types: Vec<_> = server.waiting("shop").await.into_iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["shop.a", "shop.b", "shop.c", "shop.d"]);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing_unless_faults_are_skipped() {
    let server = Server::start().await;
    let lines = "{\"n\":1}\n\nnope\n{\"n\":2}\n{\"client\":\"a b\"}\n";
    let problem = server.call("POST", "/v1/events/shop.a", &[NDJSON], lines).await.problem(422, "invalid");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2);
    assert_eq!((&errors[0]["line"], &errors[1]["line"]), (&json!(3), &json!(5)));
    assert_eq!(errors[1]["pointer"], "/client");
    assert!(server.waiting("shop").await.is_empty());

    let answer = server.call("POST", "/v1/events/shop.a?on_error=skip", &[NDJSON], lines).await.ok(202);
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(2)));
    assert_eq!(answer["errors"].as_array().unwrap().len(), 2);
    let waiting = server.waiting("shop").await;
    assert_eq!(waiting.len(), 2);
    // One request, one trace.
    assert!(waiting.iter().all(|event| event["trace"]["id"] == answer["trace_id"]));
}

#[tokio::test]
async fn a_batch_of_one_kind_of_fault_keeps_its_status() {
    let server = Server::start().await;
    server.call("POST", "/v1/events/shop.a", &[NDJSON], "x\ny").await.problem(400, "malformed");
    let lines = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"nobody.cares\"}\n";
    server.call("POST", "/v1/events", &[NDJSON], lines).await.problem(422, "unroutable");
    let answer = server.call("POST", "/v1/events?on_error=skip", &[NDJSON], lines).await.ok(202);
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn a_repeated_request_has_the_same_answer_and_another_body_is_409() {
    let server = Server::start().await;
    let named = [JSON, ("idempotency-key", "order-1")];
    let first = server.call("POST", "/v1/events/shop.a", &named, "{\"n\":1}").await.ok(202);
    let again = server.call("POST", "/v1/events/shop.a", &named, "{\"n\":1}").await.ok(202);
    assert_eq!(first, again);
    assert_eq!(server.waiting("shop").await.len(), 1);
    server.call("POST", "/v1/events/shop.a", &named, "{\"n\":2}").await.problem(409, "idempotency-conflict");
    server.call("POST", "/v1/events/shop.b", &named, "{\"n\":1}").await.problem(409, "idempotency-conflict");
    let lines = [NDJSON, ("idempotency-key", "lines-1")];
    let first = server.call("POST", "/v1/events/shop.a", &lines, "1\n2\n").await.ok(202);
    assert_eq!(first, server.call("POST", "/v1/events/shop.a", &lines, "1\n2\n").await.ok(202));
    assert_eq!(server.waiting("shop").await.len(), 3);
    for bad in ["", "a b", "ä", &"x".repeat(256)] {
        let headers = [JSON, ("idempotency-key", bad)];
        server.call("POST", "/v1/events/shop.a", &headers, "{}").await.problem(422, "invalid");
    }
}

#[tokio::test]
async fn a_named_request_that_would_now_go_through_in_full_is_409() {
    let server = Server::start().await;
    let named = [NDJSON, ("idempotency-key", "skip-1")];
    let event = |id: &str, event_type: &str, data: &str| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/s\",\"type\":\"{event_type}\",\"data\":{data}}}\n"
        )
    };
    let lines = event("1", "shop.a", "1")
        + &event("2", "orderwire.rows.air", "{\"station\":\"s1\",\"at\":\"2024-01-01T00:00:00Z\"}");
    let path = "/v1/events?on_error=skip";
    let first = server.call("POST", path, &named, lines.clone()).await.ok(202);
    assert_eq!((&first["accepted"], &first["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(first, server.call("POST", path, &named, lines.clone()).await.ok(202));
    server.air().await;
    server.call("POST", path, &named, lines.clone()).await.problem(409, "idempotency-conflict");
}

#[tokio::test]
async fn a_key_names_the_form_and_the_attributes_too() {
    let server = Server::start().await;
    let binary = |id: &'static str, event_type: &'static str| {
        [
            ("ce-specversion", "1.0"),
            ("ce-source", "/s"),
            ("ce-id", id),
            ("ce-type", event_type),
            ("content-type", "application/json"),
            ("idempotency-key", "binary-1"),
        ]
    };
    let first = server.call("POST", "/v1/events", &binary("1", "shop.a"), "{}").await.ok(202);
    let mut turned = binary("1", "shop.a");
    turned.reverse();
    assert_eq!(server.call("POST", "/v1/events", &turned, "{}").await.ok(202), first);
    for (id, event_type) in [("2", "shop.a"), ("1", "shop.b")] {
        let answer = server.call("POST", "/v1/events", &binary(id, event_type), "{}").await;
        answer.problem(409, "idempotency-conflict");
    }
    let json = [JSON, ("idempotency-key", "form-1")];
    let lines = [NDJSON, ("idempotency-key", "form-1")];
    server.call("POST", "/v1/events/shop.a", &json, "{}").await.ok(202);
    server.call("POST", "/v1/events/shop.a", &lines, "{}").await.problem(409, "idempotency-conflict");
    server.air().await;
    server.call("POST", "/v1/datasets/air/rows", &json, "[]").await.ok(202);
}

#[tokio::test]
async fn a_producers_id_names_the_event_whichever_request_brings_it() {
    let server = Server::start().await;
    server.knows_default_client().await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"shop.a"}"#;
    let plain = server.call("POST", "/v1/events", &[JSON], event).await.ok(202);
    let keyed = server.call("POST", "/v1/events", &[JSON, ("idempotency-key", "k-1")], event).await.ok(202);
    for member in ["event_id", "trace_id"] {
        assert_eq!(keyed[member], plain[member]);
    }
    let lines = [NDJSON, ("idempotency-key", "k-2")];
    let lined = server.call("POST", "/v1/events", &lines, event).await.ok(202);
    assert_eq!(lined["trace_id"], plain["trace_id"]);
    assert_eq!(server.waiting("shop").await.len(), 1);
    // The key still tells one request from another.
    let other = event.replace("shop.a", "shop.b");
    let answer = server.call("POST", "/v1/events", &[JSON, ("idempotency-key", "k-1")], other).await;
    answer.problem(409, "idempotency-conflict");
}

#[tokio::test]
async fn the_trace_of_the_caller_is_taken() {
    let server = Server::start().await;
    server.knows_default_client().await;
    let parent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let answer = server.call("POST", "/v1/events/shop.a", &[JSON, parent], "{}").await.ok(202);
    assert_eq!(answer["trace_id"], "4bf92f35-77b3-4da6-a3ce-929d0e0e4736");
    let answer = server.call("POST", "/v1/events/shop.a", &[NDJSON, parent], "1\n2").await.ok(202);
    assert_eq!(answer["trace_id"], "4bf92f35-77b3-4da6-a3ce-929d0e0e4736");
    for spelling in [
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "4BF92F3577B34DA6A3CE929D0E0E4736",
        "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
    ] {
        let trace = server.get(&format!("/v1/traces/{spelling}")).await.ok(200);
        assert_eq!(trace["trace_id"], answer["trace_id"]);
        assert_eq!(
            trace["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "accepted").count(),
            3
        );
    }
    let body = r#"{"trace_id":"my trace/1"}"#;
    let answer = server.call("POST", "/v1/events/shop.a", &[JSON], body).await.ok(202);
    assert_eq!(answer["trace_id"], "my trace/1");
    server.get(answer["status_url"].as_str().unwrap()).await.ok(200);
    assert_eq!(server.get("/v1/traces/my%20trace%2F1").await.ok(200)["trace_id"], "my trace/1");
}

#[tokio::test]
async fn a_trace_of_another_client_does_not_exist() {
    let server = Server::start().await;
    let answer =
        server.call("POST", "/v1/events/shop.a", &[JSON, ("orderwire-client", "acme")], "{}").await.ok(202);
    let url = answer["status_url"].as_str().unwrap();
    let other = bearer(&server.key(json!({"clients": ["other"], "roles": ["read"]})).await);
    server.call("GET", url, &[("authorization", &other)], "").await.problem(404, "not-found");
    server.call("GET", url, &[("orderwire-client", "other")], "").await.problem(404, "not-found");
    server.call("GET", url, &[("orderwire-client", "acme")], "").await.ok(200);
}

#[tokio::test]
async fn a_new_client_is_announced_once_in_the_same_trace() {
    let server = Server::start().await;
    let acme = [JSON, ("orderwire-client", "acme")];
    let first = server.call("POST", "/v1/events/shop.a", &acme, "{}").await.ok(202);
    server.call("POST", "/v1/events/shop.a", &acme, "{}").await.ok(202);
    assert_eq!(first["queues"], json!(["shop"]));
    let news = server.waiting("clients").await;
    assert_eq!(news.len(), 1);
    assert_eq!(news[0]["client"], "acme");
    assert_eq!(news[0]["cause"], first["event_id"]);
    assert_eq!(news[0]["trace"]["id"], first["trace_id"]);
    assert_eq!(news[0]["data"]["json"], json!({"client": "acme"}));
}

#[tokio::test]
async fn a_key_of_some_objects_reaches_no_other_queue() {
    let server = Server::start().await;
    server.air().await;
    let key =
        bearer(&server.key(json!({"roles": ["write"], "objects": ["queue/status", "dataset/other"]})).await);
    let auth = ("authorization", key.as_str());
    server.call("POST", "/v1/events/shop.a", &[JSON, auth], "{}").await.problem(403, "forbidden");
    server.call("POST", "/v1/events/orderwire.rows.air", &[JSON, auth], "{}").await.problem(403, "forbidden");
    server.call("POST", "/v1/datasets/air/rows", &[JSON, auth], "[]").await.problem(404, "not-found");
}

#[tokio::test]
async fn no_producer_speaks_in_the_name_of_orderwire() {
    let server = Server::start().await;
    let cloud = [("content-type", "application/cloudevents+json")];
    let batch = [("content-type", "application/cloudevents-batch+json")];
    for source in ["/orderwire", "/orderwire/gateway", "/orderwire/provisioner"] {
        let event = json!({"specversion": "1.0", "id": "seen", "source": source, "type": "shop.a"});
        let problem = server.call("POST", "/v1/events", &cloud, event.to_string()).await;
        assert_eq!(problem.problem(422, "invalid")["pointer"], "/source");
        server.call("POST", "/v1/events", &batch, json!([event]).to_string()).await.problem(422, "invalid");
        let binary =
            [("ce-specversion", "1.0"), ("ce-id", "seen"), ("ce-source", source), ("ce-type", "shop.a")];
        server.call("POST", "/v1/events", &binary, "").await.problem(422, "invalid");
    }
    for metadata in [json!({"publisher": "orderwire"}), json!({"publisher": "orderwire", "host": "gateway"})]
    {
        let attributes = json!({"MessageAttributes": {"event_type": "shop.a"}, "Metadata": metadata});
        let problem = server.post("/v1/events", &attributes).await.problem(422, "invalid");
        assert_eq!(problem["pointer"], "/Metadata/publisher");
    }
    assert!(server.waiting("shop").await.is_empty());
    let other =
        json!({"specversion": "1.0", "id": "seen", "source": "/orderwires/gateway", "type": "shop.a"});
    server.call("POST", "/v1/events", &cloud, other.to_string()).await.ok(202);
    assert_eq!(server.waiting("clients").await.len(), 1, "the client is announced");
}

#[tokio::test]
async fn a_client_that_the_store_knows_is_not_announced() {
    let server = Server::start().await;
    server.knows_default_client().await;
    server.post("/v1/events/shop.a", &json!({})).await.ok(202);
    assert!(server.waiting("clients").await.is_empty());
    let clients = server.get("/v1/clients").await.ok(200);
    assert_eq!(clients["items"][0]["client"], "default");
    server.get("/v1/clients/default").await.ok(200);
}

#[tokio::test]
async fn a_large_batch_is_taken_in_order() {
    let server = Server::start().await;
    let line = |n: u32| format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", "x".repeat(500));
    let lines: String = (0..1_000).map(line).collect();
    let answer = server.call("POST", "/v1/events/shop.a", &[NDJSON], lines).await.ok(202);
    assert_eq!(answer["accepted"], 1_000);
    let waiting = server.waiting("shop").await;
    let numbers: Vec<_> = waiting.iter().map(|event| event["data"]["json"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeated_event_is_said_to_be_one() {
    let server = Server::start().await;
    server.knows_default_client().await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"shop.a"}"#;
    let first = server.call("POST", "/v1/events", &[JSON], event).await.ok(202);
    assert_eq!(first.get("duplicate"), None);
    let mut again = server.call("POST", "/v1/events", &[JSON], event).await.ok(202);
    assert_eq!(again.as_object_mut().unwrap().remove("duplicate"), Some(json!(true)));
    assert_eq!(again, first);
    // A request with a name has the same answer each time.
    let named = [JSON, ("idempotency-key", "k")];
    let first = server.call("POST", "/v1/events", &named, event).await.ok(202);
    assert_eq!(server.call("POST", "/v1/events", &named, event).await.ok(202), first);
}

#[tokio::test]
async fn an_array_of_cloudevents_is_a_batch_and_another_is_not_taken() {
    let server = Server::start().await;
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": "shop.a"});
    let answer = server.post("/v1/events", &json!([event("1"), event("2")])).await.ok(202);
    assert_eq!(answer["accepted"], 2);
    for other in [json!([]), json!([{"no": "version"}, event("3")]), json!([[1]])] {
        let problem = server.post("/v1/events", &other).await.problem(422, "invalid");
        for form in ["application/cloudevents-batch+json", "application/x-ndjson"] {
            assert!(problem["detail"].as_str().unwrap().contains(form), "{problem}");
        }
    }
    server.call("POST", "/v1/events", &[JSON], "[{\"a\":1}").await.problem(400, "malformed");
    assert_eq!(server.waiting("shop").await.len(), 2);
    // Posted to a type an array is what the event says.
    server.post("/v1/events/shop.b", &json!([event("4")])).await.ok(202);
    assert_eq!(server.waiting("shop").await[2]["data"]["json"], json!([event("4")]));
}

#[tokio::test]
async fn pointers_of_a_batch_go_through_the_array() {
    let server = Server::start().await;
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "shop.a"});
    let nameless = json!({"specversion": "1.0", "source": "/s", "type": "shop.a"});
    let body = json!([event, nameless, 7]).to_string();
    let problem = server.call("POST", "/v1/events", &batch, body.clone()).await.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/1/id");
    assert_eq!(
        (&problem["errors"][0]["line"], &problem["errors"][0]["pointer"]),
        (&json!(2), &json!("/1/id"))
    );
    assert!(problem["errors"][1]["pointer"].as_str().unwrap().starts_with("/2"), "{problem}");
    let lines = format!("{event}\n{nameless}\n");
    let problem = server.call("POST", "/v1/events", &[NDJSON], lines).await.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/id");
}

#[tokio::test]
async fn one_client_is_named_once() {
    let server = Server::start().await;
    let twice = [JSON, ("orderwire-client", "a"), ("orderwire-client", "b")];
    server.call("POST", "/v1/events/shop.a", &twice, "{}").await.problem(422, "invalid");
    server.call("GET", "/v1/clients", &twice[1..], "").await.problem(422, "invalid");
}

#[tokio::test]
async fn a_trace_names_no_other_key_and_no_queue_outside_the_scope() {
    let server = Server::start().await;
    server.knows_default_client().await;
    server.post("/v1/queues", &json!({"name": "mine", "types": ["shop.*"]})).await.ok(201);
    let answer = server.post("/v1/events/shop.a", &json!({})).await.ok(202);
    let url = answer["status_url"].as_str().unwrap();
    let leased = server.post("/v1/queues/shop/lease", &json!({})).await.ok(200);
    let nack = json!({"delivery_ids": [leased["deliveries"][0]["delivery_id"]], "fail": true});
    server.post("/v1/queues/shop/nack", &nack).await.ok(200);
    server.post("/v1/dead/replay", &json!({"filter": {}})).await.ok(200);
    let all = server.get(url).await.ok(200);
    let own = server.get("/v1/whoami").await.ok(200)["principal"].as_str().unwrap().to_owned();
    assert!(own.starts_with("key:") && all.to_string().matches(&own).count() >= 2, "{all}");
    assert!(all["steps"].as_array().unwrap().iter().any(|step| step["queue"] == "shop"));

    let key = json!({"roles": ["read", "write"], "objects": ["queue/mine", "queue/shop"]});
    let reader = bearer(&server.key(key).await);
    let seen = server.call("GET", url, &[("authorization", &reader)], "").await.ok(200);
    assert_eq!(seen["steps"].as_array().unwrap().len(), all["steps"].as_array().unwrap().len());
    assert!(!seen.to_string().contains("key:"), "{seen}");
    assert!(seen.to_string().contains("shop.a from a key"), "{seen}");
    // One's own name is no secret.
    let auth = [JSON, ("authorization", reader.as_str())];
    let answer = server.call("POST", "/v1/events/shop.b", &auth, "{}").await.ok(202);
    let seen = server.call("GET", answer["status_url"].as_str().unwrap(), &auth[1..], "").await.ok(200);
    assert!(seen.to_string().contains("shop.b from key:"), "{seen}");

    let reader = bearer(&server.key(json!({"roles": ["read"], "objects": ["queue/mine"]})).await);
    let seen = server.call("GET", url, &[("authorization", &reader)], "").await.ok(200);
    let queues: Vec<_> =
        seen["steps"].as_array().unwrap().iter().filter_map(|step| step.get("queue")).collect();
    assert_eq!(queues, ["mine"]);
}
