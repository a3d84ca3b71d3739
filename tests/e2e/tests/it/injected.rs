//! Whatever stands in what a caller sends: it is kept as it is, or refused, and never read as SQL.

use anyhow::{Result, ensure};
use orderwire_e2e::{Server, Start};
use reqwest::Method;
use serde_json::{Value, json};

use crate::postgres::both_stores;

/// What would do harm as SQL, a line each.
const ATTACKS: &str = include_str!("../../../requests/attacks.txt");

/// Parameters of calls that write; `{}` is the attack.
const PARAMETERS: [&str; 8] = [
    "/rest/{}",
    "/rest/d?columns={}",
    "/rest/d?columns=t,{}",
    "/rest/d?on_conflict={}",
    "/rest/d?select={}",
    "/rest/d?{}=t",
    "/v1/datasets/{}/rows",
    "/v1/datasets/d/rows?import={}&first=0",
];

/// Headers that are read.
const HEADERS: [(&str, &str); 10] = [
    ("prefer", "{}"),
    ("prefer", "return=representation, resolution={}"),
    ("prefer", "handling=strict, {}"),
    ("accept", "{}"),
    ("content-type", "{}"),
    ("content-type", "text/csv; charset={}"),
    ("content-profile", "{}"),
    ("orderwire-client", "{}"),
    ("idempotency-key", "{}"),
    ("traceparent", "{}"),
];

/// What no engine may be heard to say.
const ENGINES: [&str; 5] = ["syntax error", "sqlite", "postgresql", "relation", "unrecognized token"];

/// Every byte as its number.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What was sent, and which texts of it have been accepted.
struct Sent<'s> {
    server: &'s Server,
    accepted: Vec<String>,
}

impl Sent<'_> {
    /// Sends a row with this text, somewhere near an attack.
    async fn row(&mut self, path: &str, headers: &[(&str, String)], text: &str) -> Result<()> {
        let row = json!([{"t": text}]).to_string();
        let status = self.body(Method::POST, path, headers, row).await?;
        if status < 300 {
            self.accepted.push(text.to_owned());
        }
        Ok(())
    }

    /// Sends anything; the status of the answer, which has to be one for a caller's fault at worst.
    async fn body(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: String,
    ) -> Result<u16> {
        let mut request = self.server.http.request(method, format!("{}{path}", self.server.url));
        if headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.body(body.clone()).send().await?;
        let (status, said) = (answer.status().as_u16(), answer.text().await?.to_lowercase());
        let asked = format!("{path} {headers:?} {body}").to_lowercase();
        ensure!(
            [200, 201, 202, 400, 404, 406, 409, 415, 422].contains(&status),
            "{status}: {said}, for {asked}"
        );
        for word in ENGINES {
            ensure!(
                !said.contains(word) || asked.contains(word),
                "it speaks of {word:?}: {said}, for {asked}"
            );
        }
        Ok(status)
    }
}

fn csv(name: &str, value: &str) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    format!("{}\r\n{}\r\n", quoted(name), quoted(value))
}

both_stores! { nothing_that_a_caller_sends_is_read_as_sql }

async fn nothing_that_a_caller_sends_is_read_as_sql(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), start)?;
    let def = json!({"fields": [{"name": "t", "type": "text"}, {"name": "raw", "type": "json"},
        {"name": "tags", "type": "text[]"}, {"name": "n", "type": "integer"}]});
    let keeps = json!({"fields": [{"name": "t", "type": "text"}], "unknown": "keep"});
    for (dataset, def) in [("d", &def), ("keeps", &keeps)] {
        let (status, answer) = server.send(Method::PUT, &format!("/v1/datasets/{dataset}"), def).await?;
        ensure!(status == 201, "{status}: {answer}");
    }
    let mut sent = Sent { server: &server, accepted: Vec::new() };
    for attack in ATTACKS.lines() {
        sent.row("/rest/d", &[], attack).await?;
        ensure!(sent.accepted.last().is_some_and(|last| last == attack), "a text is refused: {attack}");
        let post = async |path: &str, body: Value| sent.body(Method::POST, path, &[], body.to_string()).await;
        ensure!(post("/rest/d", json!({ attack: 1 })).await? == 422, "{attack} is no column");
        ensure!(post("/rest/d", json!({"n": attack})).await? == 422, "{attack} is no number");
        ensure!(post("/rest/d", json!({"raw": {attack: attack}, "tags": [attack]})).await? == 202);
        ensure!(post("/rest/keeps", json!({"t": "x", attack: attack})).await? == 202);
        let named = json!({"fields": [{"name": attack, "type": "text"}]}).to_string();
        ensure!(sent.body(Method::PUT, "/v1/datasets/other", &[], named).await? == 422, "{attack} is a name");
        let told = json!({"fields": [{"name": "t", "type": "text", "default": attack, "unit": attack, "description": attack}],
            "unknown": "keep"});
        ensure!(sent.body(Method::PUT, "/v1/datasets/keeps", &[], told.to_string()).await? == 200);
        let as_csv = [("content-type", "text/csv".to_owned())];
        ensure!(sent.body(Method::POST, "/rest/d", &as_csv, csv(attack, "1")).await? == 422);
        ensure!(sent.body(Method::POST, "/rest/d", &as_csv, csv("t", attack)).await? == 202);
        sent.accepted.push(attack.to_owned());
        for place in PARAMETERS {
            let returned = [("prefer", "return=representation".to_owned())];
            sent.row(&place.replace("{}", &encoded(attack)), &returned, "by a parameter").await?;
        }
        for (name, place) in HEADERS.iter().filter(|_| attack.is_ascii()) {
            sent.row("/rest/d", &[(name, place.replace("{}", attack))], "by a header").await?;
        }
    }
    let accepted = sent.accepted;
    server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["in_flight"] == 0).await?;
    ensure!(server.get("/v1/dead").await?["items"] == json!([]), "dead letters");
    let found = server.get("/rest/d?select=t&t=not.is.null&order=_seq&limit=10000").await?;
    let expected: Vec<Value> = accepted.iter().map(|text| json!({"t": text})).collect();
    ensure!(found == json!(expected), "{found}");
    let raw = server.get("/rest/d?select=raw,tags&raw=not.is.null&order=_seq").await?;
    let expected: Vec<Value> =
        ATTACKS.lines().map(|attack| json!({"raw": {attack: attack}, "tags": [attack]})).collect();
    ensure!(raw == json!(expected), "{raw}");
    let kept = server.get("/rest/keeps?select=_extra&order=_seq").await?;
    let expected: Vec<Value> = ATTACKS.lines().map(|attack| json!({"_extra": {attack: attack}})).collect();
    ensure!(kept == json!(expected), "{kept}");
    let datasets = server.get("/v1/datasets").await?;
    ensure!(datasets["items"].as_array().is_some_and(|all| all.len() == 2), "{datasets}");
    ensure!(server.stop()?.success());
    Ok(())
}
