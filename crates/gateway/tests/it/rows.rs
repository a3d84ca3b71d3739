//! Datasets and their rows.

use serde_json::json;

use crate::support::{CSV, JSON, NDJSON, Server, bearer};

const ROW: &str = r#"{"station":"s1","at":"2024-01-01T00:00:00Z","no2":1.50,"raw":{"a":1.10}}"#;

#[tokio::test]
async fn rows_of_a_request_are_one_event_with_their_digits() {
    let server = Server::start().await;
    server.air().await;
    for (form, body) in [(JSON, format!("[{ROW},{ROW}]")), (NDJSON, format!("{ROW}\n\n{ROW}\n"))] {
        let answer = server.call("POST", "/v1/datasets/air/rows", &[form], body).await.ok(202);
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(0)));
        let waiting =
            server.queues.peek(&orderwire_types::Scope::internal("t"), &"data".parse().unwrap(), 9).await;
        let last = waiting.unwrap().pop().unwrap().1;
        let text = String::from_utf8(last.body.to_vec()).unwrap();
        assert!(text.contains(&format!("[{ROW},{ROW}]")), "{text}");
        assert!(text.contains(answer["event_id"].as_str().unwrap()));
    }
    let waiting = server.waiting("data").await;
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[0]["type"], "orderwire.rows.air");
    server.call("POST", "/v1/datasets/air/rows", &[JSON], ROW).await.ok(202);
    assert!(server.waiting("data").await[2]["data"]["json"].is_array());
}

#[tokio::test]
async fn csv_is_read_as_its_columns_say() {
    let server = Server::start().await;
    server.air().await;
    let csv = "station,at,no2,count\ns1,2024-01-01 00:00:00,1.50,\n\"s,2\",2024-01-01T00:00:00Z,,7\n";
    let answer = server.call("POST", "/v1/datasets/air/rows", &[CSV], csv).await.ok(202);
    assert_eq!(answer["accepted"], 2);
    let text = server.first_waiting("data").await;
    assert!(text.contains(r#""no2":1.50,"count":null"#), "{text}");
    assert!(text.contains(r#""station":"s,2""#), "{text}");
    let bad = "station,at,no2\ns1,2024-01-01 00:00:00,much\ns2,2024-01-01 00:00:00,1\ns3,never,1\n";
    let problem = server.call("POST", "/v1/datasets/air/rows", &[CSV], bad).await.problem(422, "invalid");
    assert_eq!(
        problem["errors"][0],
        json!({"line": 2, "pointer": "/no2", "detail": "must be a finite number"})
    );
    assert_eq!((&problem["errors"][1]["line"], &problem["errors"][1]["pointer"]), (&json!(4), &json!("/at")));
    let unknown = server.call("POST", "/v1/datasets/air/rows", &[CSV], "station,at,x\n").await;
    assert_eq!(unknown.problem(422, "invalid")["pointer"], "/x");
}

#[tokio::test]
async fn every_faulty_row_is_named_and_can_be_skipped() {
    let server = Server::start().await;
    server.air().await;
    let bad = r#"{"station":1,"at":"2024-01-01T00:00:00Z"}"#;
    let rows = format!("[{ROW},{bad},{ROW},{bad}]");
    let problem =
        server.call("POST", "/v1/datasets/air/rows", &[JSON], rows.clone()).await.problem(422, "invalid");
    let named: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(named, ["/1/station", "/3/station"]);
    assert!(server.waiting("data").await.is_empty());
    let answer = server.call("POST", "/v1/datasets/air/rows?on_error=skip", &[JSON], rows).await.ok(202);
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(2)));
    assert_eq!(answer["errors"][1]["line"], 4);
    assert_eq!(server.waiting("data").await[0]["data"]["json"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn at_most_a_thousand_faults_are_named() {
    let server = Server::start().await;
    server.air().await;
    let problem = server.call("POST", "/v1/datasets/air/rows", &[NDJSON], "1\n".repeat(1_500)).await;
    let problem = problem.problem(422, "invalid");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 1_000);
    assert!(problem["detail"].as_str().unwrap().starts_with("1500 of 1500 rows"), "{}", problem["detail"]);
}

#[tokio::test]
async fn a_piece_of_a_file_is_one_event_however_often_it_is_sent() {
    let server = Server::start().await;
    server.air().await;
    let file = "AB".repeat(32);
    let path = format!("/v1/datasets/air/rows?import={file}&first=10");
    let first = server.call("POST", &path, &[NDJSON], ROW).await.ok(202);
    let again = server.call("POST", &path, &[NDJSON], ROW).await.ok(202);
    assert_eq!(first, again);
    let waiting = server.waiting("data").await;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["import"], json!({"file": file.to_lowercase(), "first": 10}));
    let state = server.get(&format!("/v1/datasets/air/imports/{file}")).await.ok(200);
    assert_eq!(state, json!({"rows": 0, "lines": 0}));
    for query in
        [format!("import={file}"), "import=x&first=0".into(), format!("import={file}&first=0&on_error=skip")]
    {
        let answer = server.call("POST", &format!("/v1/datasets/air/rows?{query}"), &[NDJSON], ROW).await;
        answer.problem(422, "invalid");
    }
}

#[tokio::test]
async fn a_dataset_is_made_changed_and_removed() {
    let server = Server::start().await;
    server.air().await;
    let faulty = json!({"fields": [{"name": "a", "type": "text"}, {"name": "A", "type": "text"}], "key": ["b"], "time": "a"});
    let problem =
        server.call("PUT", "/v1/datasets/x", &[JSON], faulty.to_string()).await.problem(422, "invalid");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/fields/1/name", "/key/0", "/time"]);
    let mistyped = json!({"fields": [{"name": "a", "type": "number"}]});
    let problem =
        server.call("PUT", "/v1/datasets/x", &[JSON], mistyped.to_string()).await.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/fields/0/type");
    let other = json!({"fields": [{"name": "station", "type": "integer"}]});
    server.call("PUT", "/v1/datasets/air", &[JSON], other.to_string()).await.problem(409, "conflict");
    let air = server.get("/v1/datasets/air").await.ok(200);
    assert_eq!((&air["name"], &air["key"]), (&json!("air"), &json!(["station", "at"])));
    let mut said = air.clone();
    said["key"] = json!(["_client", "station", "at"]);
    for own in ["name", "created_at", "changed_at"] {
        said.as_object_mut().unwrap().remove(own);
    }
    let same = server.call("PUT", "/v1/datasets/air", &[JSON], said.to_string()).await.ok(200);
    assert_eq!((&same["key"], &same["changed_at"]), (&air["key"], &air["changed_at"]));
    said["key"] = json!(["station", "_client", "at"]);
    let misplaced = server.call("PUT", "/v1/datasets/air", &[JSON], said.to_string()).await;
    assert_eq!(misplaced.problem(422, "invalid")["pointer"], "/key");
    assert_eq!(server.get("/v1/datasets").await.ok(200)["items"].as_array().unwrap().len(), 1);
    let reader = bearer(&server.key(json!({"roles": ["read"]})).await);
    let auth = ("authorization", reader.as_str());
    server.call("PUT", "/v1/datasets/air", &[JSON, auth], air.to_string()).await.problem(422, "invalid");
    server.call("DELETE", "/v1/datasets/air", &[auth], "").await.problem(403, "forbidden");
    assert_eq!(server.call("DELETE", "/v1/datasets/air", &[], "").await.status, 204);
    server.get("/v1/datasets/air").await.problem(404, "not-found");
    server.call("POST", "/v1/datasets/air/rows", &[JSON], ROW).await.problem(404, "not-found");
}

#[tokio::test]
async fn the_latest_row_of_a_key_is_shown() {
    let server = Server::start().await;
    server.air().await;
    let rows = r#"[{"station":"s1","at":"2024-01-01T00:00:00Z","no2":1.5},
        {"station":"s1","at":"2024-01-03T00:00:00Z","no2":3,"raw":{"digits":1.10}},
        {"station":"s1","at":"2024-01-02T00:00:00Z","no2":2}]"#;
    record(&server, rows).await;
    let answer = server.get("/v1/datasets/air/latest/s1").await;
    assert_eq!(answer.status, 200);
    let row = String::from_utf8(answer.body).unwrap();
    assert_eq!(
        row,
        r#"{"station":"s1","at":"2024-01-03T00:00:00Z","no2":3.0,"count":null,"raw":{"digits":1.10}}"#
    );
    server.get("/v1/datasets/air/latest/s2").await.problem(404, "not-found");
    let other = [("orderwire-client", "other")];
    server.call("GET", "/v1/datasets/air/latest/s1", &other, "").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_changed_definition_holds_for_the_next_row() {
    let server = Server::start().await;
    let define = |fields: serde_json::Value| json!({"fields": fields}).to_string();
    let one = define(json!([{"name": "a", "type": "text"}]));
    server.call("PUT", "/v1/datasets/d", &[JSON], one).await.ok(201);
    let row = r#"{"a":"x","b":1}"#;
    let problem = server.call("POST", "/v1/datasets/d/rows", &[JSON], row).await.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/b");
    let two = define(json!([{"name": "a", "type": "text"}, {"name": "b", "type": "integer"}]));
    server.call("PUT", "/v1/datasets/d", &[JSON], two).await.ok(200);
    server.call("POST", "/v1/datasets/d/rows", &[JSON], row).await.ok(202);
    server.call("POST", "/v1/events/orderwire.rows.d", &[NDJSON], format!("{row}\n{row}")).await.ok(202);
}

#[tokio::test]
async fn the_trace_of_rows_is_told_from_both_sides() {
    let server = Server::start().await;
    server.knows_default_client().await;
    server.air().await;
    let answer = server.call("POST", "/v1/datasets/air/rows", &[JSON], ROW).await.ok(202);
    let url = answer["status_url"].as_str().unwrap();
    let open = server.get(url).await.ok(200);
    assert_eq!(open["state"], "open", "{open}");

    let data = "data".parse().unwrap();
    let entry =
        server.queues.peek(&orderwire_types::Scope::internal("t"), &data, 1).await.unwrap().remove(0).1;
    let event = orderwire_types::Event::decode(&entry.body).unwrap();
    server.time.advance(std::time::Duration::from_millis(5));
    record_as(&server, &format!("[{ROW}]"), event.id, event.trace.id).await;
    server.queues.advance(&data, entry.position).await.unwrap();
    let done = server.get(url).await.ok(200);
    assert_eq!(done["state"], "done", "{done}");
    let steps: Vec<_> = done["steps"].as_array().unwrap().iter().map(|step| step["step"].clone()).collect();
    assert_eq!(steps, ["accepted", "queued", "recorded"], "{done}");
    assert_eq!(done["steps"][2]["event_id"], answer["event_id"]);
}

/// Does what the recorder does with the rows of an event.
async fn record(server: &Server, rows: &str) {
    let (event, trace) = (uuid::Uuid::from_u128(7), uuid::Uuid::from_u128(8));
    record_as(server, rows, orderwire_types::EventId(event), trace).await;
}

async fn record_as(server: &Server, rows: &str, event_id: orderwire_types::EventId, trace: uuid::Uuid) {
    use orderwire_types::{Client, RawJson};
    let event = orderwire_store::RowsEvent {
        dataset: "air".parse().unwrap(),
        client: Client::default_client(),
        event_id,
        trace,
        rows: RawJson::parse(rows.to_owned()).unwrap(),
        accepted_at: server.time.now(),
        import: None,
        remembered: false,
    };
    let recording = orderwire_store::Recording {
        reader: "data".into(),
        source: orderwire_store::Source::Stream { from: 0, to: 1 },
        events: vec![event],
        now: server.time.now(),
    };
    server.store.record(recording).await.unwrap();
}

/// Whichever way rows come, a key that PostgreSQL makes no index of is refused at the edge,
/// whatever the engine: with the row, the field, and what to do.
#[tokio::test]
async fn a_key_that_is_too_long_is_refused_whichever_way_it_comes() {
    let server = Server::start().await;
    server.air().await;
    let row = |bytes: usize| format!(r#"{{"station":"{}","at":"2024-01-01T00:00:00Z"}}"#, "x".repeat(bytes));
    let (longest, long) = (row(1_024), row(1_025));
    let told = |fault: &serde_json::Value| {
        let detail = fault["detail"].as_str().unwrap();
        assert!(detail.contains("at most 1024 bytes") && detail.contains("shorten"), "{detail}");
        fault["pointer"].as_str().unwrap().to_owned()
    };
    let path = "/v1/datasets/air/rows";
    server.call("POST", path, &[JSON], longest.clone()).await.ok(202);
    let one = server.call("POST", path, &[JSON], long.clone()).await.problem(422, "invalid");
    assert_eq!(told(&one), "/station");
    let csv = format!("station,at\ns,2024-01-01T00:00:00Z\n{},2024-01-01T00:00:00Z\n", "x".repeat(1_025));
    for (path, form, body, line, pointer) in [
        (path, JSON, format!("[{longest},{long}]"), 2, "/1/station"),
        (path, NDJSON, format!("{longest}\n{long}\n"), 2, "/station"),
        (path, CSV, csv, 3, "/station"),
    ] {
        let problem = server.call("POST", path, &[form], body).await.problem(422, "invalid");
        let fault = &problem["errors"][0];
        assert_eq!((told(fault).as_str(), &fault["line"]), (pointer, &json!(line)), "{form:?}");
    }
    let rest = server.call("POST", "/rest/air", &[JSON], long.clone()).await;
    assert_eq!(rest.status, 422);
    assert!(String::from_utf8_lossy(&rest.body).contains("shorten"));
    let event = |row: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"orderwire.rows.air","data":[{longest},{row}]}}"#
        )
    };
    let cloud = [("content-type", "application/cloudevents+json")];
    let problem = server.call("POST", "/v1/events", &cloud, event(&long)).await.problem(422, "invalid");
    assert_eq!(told(&problem), "/data/1/station");
    server.call("POST", "/v1/events", &cloud, event(&longest)).await.ok(202);
}
