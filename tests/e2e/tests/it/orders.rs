//! Orders become running products: processes of this machine.

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start, client, processes};
use serde_json::{Value, json};

/// An order that ends well or not: whatever is final.
pub(crate) const FINAL: [&str; 7] =
    ["ready", "unchanged", "failed", "rolled_back", "cancelled", "superseded", "removed"];

pub(crate) fn is_final(order: &Value) -> bool {
    order["state"].as_str().is_some_and(|state| FINAL.contains(&state))
}

/// Orders and waits for the end.
pub(crate) async fn ordered(server: &Server, order: &Value) -> Result<Value> {
    let (status, accepted) = server.post("/v1/orders", order).await?;
    ensure!(status == 202, "{status}: {accepted}");
    let path = accepted["status_url"].as_str().context("a status URL")?;
    server.until(path, is_final).await
}

pub(crate) fn text<'v>(value: &'v Value, member: &str) -> Result<&'v str> {
    value[member].as_str().with_context(|| format!("{member} in {value}"))
}

/// Whether it is a key that was made for a release and is valid.
pub(crate) fn is_valid_of_release(key: &Value) -> bool {
    key["name"].as_str().is_some_and(|name| name.starts_with("release ")) && key["revoked_at"].is_null()
}

/// The keys of releases that are valid.
pub(crate) async fn valid_release_keys(server: &Server) -> Result<Vec<Value>> {
    let keys = server.get("/v1/keys").await?;
    let keys = keys["items"].as_array().context("items")?.iter();
    Ok(keys.filter(|key| is_valid_of_release(key)).cloned().collect())
}

#[tokio::test]
async fn an_event_orders_and_one_without_the_right_does_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    let event = |client: &str, trace: &str| {
        json!({"client": client, "environment": "Development", "archtype": "SaaS", "hardware": "Dedicated",
            "product": "sensor",
            "MessageAttributes": {"event_type": {"Type": "String", "Value": "mycompany.producer.event.client.published"},
                "trace_id": trace, "retrace_intent": "0"},
            "Metadata": {"host": "portal", "origing": "Cloud", "publisher": "portal"}})
    };
    // A telemetry producer sends what looks like an order.
    let (status, key) = server
        .post("/v1/keys", &json!({"name": "telemetry", "roles": ["write"], "clients": ["mallory"]}))
        .await?;
    ensure!(status == 201, "{key}");
    let producer = client(text(&key, "key")?)?;
    let trace = "11111111-2222-4333-8444-555555555555";
    let url = format!("{}/v1/events", server.url);
    let answer = producer
        .post(&url)
        .body(event("mallory", trace).to_string())
        .header("content-type", "application/json")
        .send()
        .await?;
    ensure!(answer.status() == 202, "{}", answer.status());
    server.until(&format!("/v1/traces/{trace}"), |trace| trace.to_string().contains("passed over")).await?;
    let orders = server.get(&format!("/v1/orders?trace_id={trace}")).await?;
    ensure!(orders["items"] == json!([]), "{orders}");

    // The portal may order.
    let trace = "9a2ae9de-3f82-4f55-966b-47df50ff51ff";
    let (status, accepted) = server.post("/v1/events", &event("acme", trace)).await?;
    ensure!(status == 202 && accepted["trace_id"] == trace, "{accepted}");
    let path = format!("/v1/orders?trace_id={trace}");
    let orders = server
        .until(&path, |orders| orders["items"].as_array().is_some_and(|items| items.iter().any(is_final)))
        .await?;
    let order = &orders["items"][0];
    ensure!(order["state"] == "ready" && order["hardware"] == "dedicated", "{order}");
    ensure!(order["order_id"] == accepted["event_id"], "{order} {accepted}");
    // The same event again is the same order.
    let (status, again) = server.post("/v1/events", &event("acme", trace)).await?;
    ensure!(status == 202 && again["event_id"] == accepted["event_id"], "{again}");
    let orders = server.get(&path).await?;
    ensure!(orders["items"].as_array().is_some_and(|items| items.len() == 1), "{orders}");
    // The trace is on the process.
    let release = text(order, "release_id")?;
    let pid = *processes::until_count(release, |count| count > 0)?.first().context("a process")?;
    let environment = std::fs::read(format!("/proc/{pid}/environ"))?;
    ensure!(String::from_utf8_lossy(&environment).contains(trace), "the trace is not in the environment");
    // And told to whoever listens.
    let (status, leased) = server
        .post("/v1/queues/status/lease", &json!({"max": 100, "wait_ms": 5000, "lease_ms": 5000}))
        .await?;
    ensure!(status == 200 && leased.to_string().contains("orderwire.order."), "{leased}");
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_said_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    let refusals = [
        (json!({"client": "acme", "product": "no-such"}), 422, "/product"),
        (
            json!({"client": "acme", "product": "sensor", "parameters": {"interval_ms": "fast"}}),
            422,
            "/parameters/interval_ms",
        ),
        (json!({"client": "acme", "product": "sensor", "parameters": {"other": 1}}), 422, "/parameters"),
        (json!({"client": "acme", "product": "sensor", "namespace": "kube-system"}), 422, "/namespace"),
        (json!({"client": "acme", "product": "sensor", "namespace": "a\nb: c"}), 422, "/namespace"),
        (json!({"client": "Acme Corp", "product": "sensor"}), 422, "/client"),
        (json!({"client": "acme", "product": "sensor", "name": "x: {y}"}), 422, "/name"),
        (json!({"client": "acme", "product": "sensor", "environment": "moon"}), 422, "/environment"),
        (json!({"client": "acme", "product": "sensor", "action": "explode"}), 422, "/action"),
        (json!({"client": "acme", "product": "sensor", "colour": "red"}), 422, "/colour"),
        (json!({"client": "acme", "product": "sensor", "action": "update"}), 404, ""),
        (json!({"client": "acme", "product": "sensor", "action": "remove"}), 404, ""),
    ];
    for (order, status, pointer) in refusals {
        let (got, problem) = server.post("/v1/orders", &order).await?;
        ensure!(got == status, "{order}: {got} {problem}");
        ensure!(problem.to_string().contains(pointer), "{order}: {problem}");
    }
    let ready =
        ordered(&server, &json!({"client": "acme", "product": "broken", "parameters": {"how": "works"}}))
            .await?;
    ensure!(ready["state"] == "ready", "{ready}");
    let conflicts = [
        json!({"client": "acme", "product": "broken", "action": "create", "parameters": {"how": "works"}}),
        json!({"client": "mallory", "product": "sensor", "namespace": "acme"}),
        json!({"client": "acme", "product": "sensor", "name": "broken"}),
        json!({"client": "acme", "product": "sensor", "environment": "prod"}),
    ];
    for order in conflicts {
        let (status, problem) = server.post("/v1/orders", &order).await?;
        ensure!(status == 409, "{order}: {status} {problem}");
    }
    // A key without the order right.
    let (_, key) = server.post("/v1/keys", &json!({"name": "writer", "roles": ["write", "read"]})).await?;
    let writer = client(text(&key, "key")?)?;
    let answer =
        writer.post(format!("{}/v1/orders", server.url)).json(&json!({"product": "sensor"})).send().await?;
    ensure!(answer.status() == 403, "{}", answer.status());
    let orders = server.get("/v1/orders").await?;
    ensure!(orders["items"].as_array().is_some_and(|items| items.len() == 1), "{orders}");
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let order = json!({"client": "acme", "product": "web", "parameters": {"port": port}});
    let failed = ordered(&server, &order).await?;
    ensure!(failed["state"] == "rolled_back", "{failed}");
    ensure!(text(&failed, "reason")?.contains(&port.to_string()), "{failed}");
    drop(taken);
    let ready = ordered(&server, &order).await?;
    ensure!(ready["state"] == "ready", "{ready}");
    let release = server.get(&format!("/v1/releases/{}", text(&ready, "release_id")?)).await?;
    let opening = json!([{"name": "site", "url": format!("http://127.0.0.1:{port}")}]);
    ensure!(release["openings"] == opening, "{release}");
    let page = reqwest::get(text(&release["openings"][0], "url")?).await?;
    ensure!(page.status() == 200, "{}", page.status());
    Ok(())
}

/// A site that serves a folder in which a file is there from the start or never.
fn write_gated(folder: &std::path::Path) -> Result<()> {
    let files = [
        (
            "product.yaml",
            "product: gated\nversion: '1'\ndescription: A page behind a gate.\ntargets: [process]\n\
             kinds: [Process, File]\nopenings: {site: {port: http}}\n\
             health: {patience: 5s, gates: [{http: {opening: site, path: /page.html, contains: fine}}]}\n\
             parameters:\n  type: object\n  additionalProperties: false\n  properties:\n    page: {type: string, default: page.html}\n",
        ),
        (
            "templates/site.yaml",
            "apiVersion: orderwire.dev/v1\nkind: File\nmetadata: {name: page}\nspec: {path: \"site/{{ values.page }}\", content: fine}\n\
             ---\napiVersion: orderwire.dev/v1\nkind: Process\nmetadata: {name: server}\nspec:\n  \
             command: [orderwire, module, web, --folder, site]\n  ports: {http: 0}\n  ready: {tcp: {port: http}}\n",
        ),
    ];
    std::fs::create_dir_all(folder.join("templates"))?;
    files.iter().try_for_each(|(name, text)| Ok(std::fs::write(folder.join(name), text)?))
}

#[tokio::test]
async fn an_update_that_does_not_pass_its_gate_is_rolled_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let products = folder.path().join("products");
    write_gated(&products.join("gated"))?;
    let config = folder.path().join("orderwire.yaml");
    std::fs::write(&config, format!("products: {{folders: [{}]}}\n", products.display()))?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    let start = Start { flags, ..Start::default() };
    let server = Server::start(&folder.path().join("data"), &start)?;
    let order = |page: &str| json!({"client": "acme", "product": "gated", "parameters": {"page": page}});
    let ready = ordered(&server, &order("page.html")).await?;
    ensure!(ready["state"] == "ready", "{ready}");
    // It runs and answers, but not with what it shall.
    let failed = ordered(&server, &order("other.html")).await?;
    ensure!(failed["state"] == "rolled_back", "{failed}");
    let reason = "not healthy within 5 s: gate http /page.html of opening site: 404, wanted 200";
    ensure!(failed["reason"] == reason, "{failed}");
    let release = server.get(&format!("/v1/releases/{}", text(&failed, "release_id")?)).await?;
    ensure!(release["state"] == "ready" && release["revision"] == 1, "{release}");
    let page = format!("{}/page.html", text(&release["openings"][0], "url")?);
    ensure!(reqwest::get(page).await?.text().await? == "fine");
    Ok(())
}
