//! A dataset that keeps what rows bring beyond its fields, whichever way they come.

use anyhow::{Result, ensure};
use orderwire_e2e::nats::Nats;
use orderwire_e2e::{Server, Start, run};
use reqwest::Method;
use serde_json::{Value, json};

use crate::broker::behind_of;
use crate::postgres::both_stores;

fn def(unknown: &str, more: &[Value]) -> Value {
    let mut fields = vec![json!({"name": "n", "type": "integer", "required": true})];
    fields.extend_from_slice(more);
    json!({"fields": fields, "key": ["n"], "unknown": unknown})
}

async fn put(server: &Server, path: &str, def: &Value) -> Result<(u16, Value)> {
    server.send(Method::PUT, &format!("/v1/datasets/{path}"), def).await
}

async fn send(server: &Server, path: &str, form: &str, body: &str) -> Result<()> {
    let request = server.http.post(format!("{}{path}", server.url)).header("content-type", form.to_owned());
    let response = request.body(body.to_owned()).send().await?;
    let status = response.status();
    ensure!(status == 202, "{path}: {status}: {}", response.text().await?);
    Ok(())
}

/// The rows as they are answered, byte by byte, once there are so many.
async fn rows(server: &Server, dataset: &str, count: usize) -> Result<String> {
    let path = format!("/rest/{dataset}?select=n,_extra&order=n");
    server.until(&path, |rows| rows.as_array().is_some_and(|rows| rows.len() == count)).await?;
    let response = server.http.get(format!("{}{path}", server.url)).send().await?;
    Ok(response.text().await?.replace('\n', ""))
}

both_stores! { what_rows_bring_beyond_the_fields_is_kept_whichever_way_they_come }

async fn what_rows_bring_beyond_the_fields_is_kept_whichever_way_they_come(start: &Start) -> Result<()> {
    let (nats, folder) = (Nats::started()?, tempfile::tempdir()?);
    let server = behind_of(start, &nats.url(), folder.path(), "")?;
    let (status, answer) = put(&server, "d", &def("keep", &[])).await?;
    ensure!(status == 201 && answer["unknown"] == "keep", "{status}: {answer}");

    send(
        &server,
        "/v1/datasets/d/rows",
        "application/json",
        r#"{"a":1.10,"n":1,"b":{"c":[9007199254740993]}}"#,
    )
    .await?;
    send(&server, "/v1/datasets/d/rows", "application/x-ndjson", "{\"n\":2}\n{\"n\":3,\"a\":\"x\"}\n")
        .await?;
    send(&server, "/v1/datasets/d/rows", "text/csv", "a,n,e\n1.10,4,\n").await?;
    send(&server, "/rest/d?columns=n,a", "application/json", r#"[{"n":5,"a":1e2,"z":0}]"#).await?;
    let event = |id: &str, row: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/meter","type":"orderwire.rows.d","data":[{row}]}}"#
        )
    };
    let form = "application/cloudevents+json";
    send(&server, "/v1/events", form, &event("1", r#"{"n":6,"a":1.0}"#)).await?;
    // They came through the broker: the queue is made there by now, and takes what others put on it.
    rows(&server, "d", 6).await?;
    nats.publish("orderwire.queue.data", &event("2", r#"{"n":7,"a":1.00}"#))?;
    let wanted = concat!(
        r#"[{"n":1,"_extra":{"a":1.10,"b":{"c":[9007199254740993]}}},{"n":2,"_extra":null},"#,
        r#"{"n":3,"_extra":{"a":"x"}},{"n":4,"_extra":{"a":"1.10","e":null}},{"n":5,"_extra":{"a":1e2}},"#,
        r#"{"n":6,"_extra":{"a":1.0}},{"n":7,"_extra":{"a":1.00}}]"#
    );
    let found = rows(&server, "d", 7).await?;
    ensure!(found == wanted, "{found}");
    ensure!(server.get("/rest/d?n=eq.1").await? == json!([{"n": 1}]), "it is in *");
    let found = server.get("/rest/d?select=v:_extra-%3Eb-%3Ec-%3E0&_extra-%3E%3Ea=eq.1.10&order=n").await?;
    ensure!(found == json!([{"v": 9_007_199_254_740_993_u64}, {"v": null}]), "{found}");

    // Out and in again, in every form.
    let key = ["--server", &server.url, "--key", &server.key];
    for form in ["csv", "ndjson", "parquet"] {
        let copy = format!("of_{form}");
        let file = folder.path().join(format!("d.{form}")).to_string_lossy().into_owned();
        let (status, answer) = put(&server, &copy, &def("keep", &[])).await?;
        ensure!(status == 201, "{answer}");
        for words in [["dataset", "export", "d", &file], ["dataset", "import", &copy, &file]] {
            let ran = run(&[&key[..], &words].concat())?;
            ensure!(ran.code == 0, "{ran:?}");
        }
        let found = rows(&server, &copy, 7).await?;
        ensure!(found == wanted, "{form}: {found}");
    }

    // A column of a kept name begins empty; what was kept stays.
    let with_a = [json!({"name": "a", "type": "decimal"})];
    let (status, answer) = put(&server, "d", &def("keep", &with_a)).await?;
    ensure!(status == 200, "{answer}");
    let found = server.get("/rest/d?select=a,kept:_extra-%3E%3Ea&n=eq.6").await?;
    ensure!(found == json!([{"a": null, "kept": "1.0"}]), "{found}");
    send(&server, "/v1/datasets/d/rows", "application/json", r#"{"n":8,"a":2.50,"q":1}"#).await?;
    rows(&server, "d", 8).await?;
    let response = server.http.get(format!("{}/rest/d?select=a,_extra&n=eq.8", server.url)).send().await?;
    let found = response.text().await?;
    ensure!(found.trim() == r#"[{"a":2.50,"_extra":{"q":1}}]"#, "{found}");

    // It ends with leave.
    let (status, refused) = put(&server, "d", &def("reject", &with_a)).await?;
    let said = refused["detail"].as_str().unwrap_or_default();
    ensure!(
        status == 409 && said.contains("kept beyond its fields") && said.contains("allow=loss"),
        "{refused}"
    );
    let (status, answer) = put(&server, "d?allow=loss", &def("reject", &with_a)).await?;
    ensure!(status == 200, "{answer}");
    let (status, refused) = server.post("/v1/datasets/d/rows", &json!({"n": 9, "q": 1})).await?;
    ensure!(status == 422 && refused["pointer"] == "/q", "{status}: {refused}");
    let gone = server.http.get(format!("{}/rest/d?select=_extra", server.url)).send().await?;
    ensure!(gone.status() == 400, "{gone:?}");
    ensure!(server.stop()?.success());
    Ok(())
}
