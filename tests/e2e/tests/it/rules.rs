//! Rules, end to end: an event, what is emitted because of it, and where circles end.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::rabbit::Rabbit;
use orderwire_e2e::{Server, Start, run};
use serde_json::{Value, json};

const CONFIG: &str = r#"
queues:
  # Asked for behind a broker, because a rule orders.
  rules: {principal: {clients: all}}
  alarms: {types: ["plant.alarm.#"]}
  counts: {types: ["count.#"]}
  other: {types: ["other.#"]}
rules:
  hot:
    on: [plant.measure.taken]
    when: event.data.value > 90
    emit:
      - type: plant.alarm.raised
        data:
          value: "{{ event.data.value }}"
          serial: "{{ event.data.serial }}"
          whole: "{{ event.data }}"
          text: "{{ event.data.serial }} at {{ event.data.value }}"
      - {type: plant.alarm.told, client: ops, data: {of: "{{ event.client }}"}}
  echo:
    on: [count.up]
    when: event.data.go
    emit: [{type: count.up, data: "{{ event.data }}"}]
  chain:
    on: [orderwire.order.failed]
    emit: [{type: orderwire.order.requested, order: true, data: {product: turbine}}]
"#;

fn start(folder: &Path) -> Result<Server> {
    start_with(folder, Vec::new())
}

fn start_with(folder: &Path, env: Vec<(String, String)>) -> Result<Server> {
    let config = folder.join("orderwire.yaml");
    std::fs::write(&config, CONFIG)?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    Server::start(&folder.join("data"), &Start { flags, env, ..Start::default() })
}

/// Publishes an event, and says its id and the path of its trace.
async fn publish(server: &Server, event_type: &str, client: &str, data: &str) -> Result<(String, String)> {
    let response = server
        .http
        .post(format!("{}/v1/events/{event_type}", server.url))
        .header("content-type", "application/json")
        .header("orderwire-client", client)
        .body(data.to_owned())
        .send()
        .await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status == 202, "{status}: {text}");
    let answer: Value = serde_json::from_str(&text)?;
    let id = answer["event_id"].as_str().context("an id")?.to_owned();
    Ok((id, format!("/v1/traces/{}", answer["trace_id"].as_str().context("a trace")?)))
}

/// Leases what waits in a queue, as text: digits must not pass through a parser.
async fn leased(server: &Server, queue: &str, max: u64) -> Result<String> {
    let request = server.http.post(format!("{}/v1/queues/{queue}/lease", server.url));
    let response = request.json(&json!({"max": max, "wait_ms": 10_000})).send().await?;
    ensure!(response.status() == 200, "{}", response.status());
    Ok(response.text().await?)
}

async fn settled(server: &Server) -> Result<()> {
    let is_settled = |queue: &Value| queue["ready"] == 0 && queue["in_flight"] == 0 && queue["delayed"] == 0;
    server.until("/v1/queues/rules", is_settled).await.map(drop)
}

#[tokio::test]
async fn an_event_a_rule_and_what_it_emits_are_one_trace() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(folder.path())?;
    let data = r#"{"value": 91.50, "serial": 9007199254740993, "more": [1.10, 5.122996, null]}"#;
    let (id, trace) = publish(&server, "plant.measure.taken", "acme", data).await?;
    publish(&server, "plant.measure.taken", "acme", r#"{"value": 90}"#).await?;
    publish(&server, "plant.measure.taken", "acme", r#"{"other": 1}"#).await?;
    settled(&server).await?;
    let waiting = server.until("/v1/queues/alarms", |queue| queue["ready"] == 2).await?;
    ensure!(waiting["dead"] == 0, "{waiting}");

    let text = leased(&server, "alarms", 10).await?;
    let compact: String = text.split_whitespace().collect();
    for part in [
        r#""value":91.50"#,
        r#""serial":9007199254740993"#,
        r#""whole":{"value":91.50,"serial":9007199254740993,"more":[1.10,5.122996,null]}"#,
        r#""text":"9007199254740993at91.50""#,
        &format!(r#""causeid":"{id}""#),
        r#""source":"/orderwire/rules/hot""#,
        r#""client":"ops""#,
        r#""of":"acme""#,
    ] {
        ensure!(compact.contains(part), "{part} is missing in {text}");
    }
    let deliveries: Value = serde_json::from_str(&text)?;
    let parents: Vec<&str> = deliveries["deliveries"]
        .as_array()
        .context("deliveries")?
        .iter()
        .filter_map(|delivery| delivery["event"]["traceparent"].as_str())
        .collect();
    let hex = trace.trim_start_matches("/v1/traces/").replace('-', "");
    ensure!(parents.len() == 2 && parents.iter().all(|parent| parent.contains(&hex)), "{parents:?} {hex}");

    let shown = server.get(&trace).await?;
    let steps = shown["steps"].as_array().context("steps")?;
    let emitted: Vec<&Value> = steps.iter().filter(|step| step["step"] == "emitted").collect();
    ensure!(
        emitted.len() == 1 && emitted[0]["role"] == "emitter" && emitted[0]["event_id"] == *id,
        "{shown}"
    );
    let detail = "rule hot: 2 events, plant.alarm.raised, plant.alarm.told";
    ensure!(emitted[0]["detail"] == detail, "{shown}");
    let accepted =
        |detail: &str| steps.iter().any(|step| step["step"] == "accepted" && step["detail"] == detail);
    ensure!(
        accepted("plant.alarm.raised from rule:hot") && accepted("plant.alarm.told from rule:hot"),
        "{shown}"
    );
    // A client that a rule names for the first time is registered.
    server.until("/v1/clients", |clients| clients.to_string().contains(r#""client":"ops""#)).await?;
    let (status, answer) = server.post("/v1/queues/rules/lease", &json!({"max": 1})).await?;
    ensure!(status == 409, "the queue has a worker: {status} {answer}");
    let metrics = server.http.get(format!("{}/metrics", server.url)).send().await?.text().await?;
    ensure!(metrics.contains(r#"orderwire_rule_emitted_total{rule="hot"} 2"#), "{metrics}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_rule_that_feeds_itself_ends_at_the_bound() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(folder.path())?;
    let (_, trace) = publish(&server, "count.up", "acme", r#"{"go": true, "n": 1.10}"#).await?;
    let dead = server.until("/v1/dead?queue=rules", |dead| dead["items"][0].is_object()).await?;
    ensure!(dead["items"].as_array().is_some_and(|all| all.len() == 1), "{dead}");
    let cause = dead["items"][0]["cause"].as_str().context("a cause")?;
    ensure!(cause.starts_with("rule echo: the chain ends here: 8 rules in a row"), "{cause}");
    settled(&server).await?;
    // The first from outside, and as many as the bound.
    server.until("/v1/queues/counts", |queue| queue["ready"] == 9).await?;
    let shown = server.until(&trace, |trace| trace["steps"].to_string().contains("dead-lettered")).await?;
    let steps = shown["steps"].as_array().context("steps")?;
    ensure!(steps.iter().filter(|step| step["step"] == "emitted").count() == 8, "{shown}");

    // The server is well, and others are served.
    let (_, other) =
        publish(&server, "plant.measure.taken", "globex", r#"{"value": 99, "serial": 1}"#).await?;
    server.until(&other, |trace| trace["steps"].to_string().contains("emitted")).await?;
    ensure!(server.get("/readyz").await?.is_object());
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_circle_through_orders_ends_at_the_bound() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(folder.path())?;
    // An order for what there is not fails, and a rule orders the same again.
    publish(&server, "orderwire.order.requested", "acme", r#"{"product": "turbine"}"#).await?;
    let dead = server.until("/v1/dead?queue=rules", |dead| dead["items"][0].is_object()).await?;
    let cause = dead["items"][0]["cause"].as_str().context("a cause")?;
    ensure!(cause.starts_with("rule chain: the chain ends here: 8 rules in a row"), "{cause}");
    let orders = server.get("/v1/orders").await?;
    ensure!(orders["items"].as_array().is_some_and(|all| all.len() == 9), "{orders}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn behind_a_broker_rules_see_what_comes_through_it_and_circles_end() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let server = start_with(folder.path(), vec![("ORDERWIRE__BROKER__URL".to_owned(), rabbit.url())])?;
    publish(&server, "plant.measure.taken", "acme", r#"{"value": 91.50, "serial": 1}"#).await?;
    server.until("/v1/queues/alarms", |queue| queue["ready"] == 2).await?;
    let (_, trace) = publish(&server, "count.up", "acme", r#"{"go": true}"#).await?;
    let dead = server.until("/v1/dead?queue=rules", |dead| dead["items"][0].is_object()).await?;
    let cause = dead["items"][0]["cause"].as_str().context("a cause")?;
    ensure!(cause.starts_with("rule echo: the chain ends here: 8 rules in a row"), "{cause}");
    server.until("/v1/queues/counts", |queue| queue["ready"] == 9).await?;
    settled(&server).await?;
    let shown = server.get(&trace).await?;
    let steps = shown["steps"].as_array().context("steps")?;
    ensure!(steps.iter().filter(|step| step["step"] == "emitted").count() == 8, "{shown}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn what_a_rule_cannot_do_is_a_dead_letter_that_can_be_replayed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(folder.path())?;
    let (_, trace) = publish(&server, "plant.measure.taken", "acme", r#"{"value": "hot"}"#).await?;
    let dead = server.until("/v1/dead?queue=rules", |dead| dead["items"][0].is_object()).await?;
    let cause = dead["items"][0]["cause"].as_str().context("a cause")?;
    ensure!(cause.starts_with("rule hot: when: a text cannot be compared with a number"), "{cause}");
    server.until(&trace, |trace| trace["state"] == "failed").await?;
    ensure!(server.stop()?.success());

    // The rule is corrected, and the letter replayed.
    let config = folder.path().join("orderwire.yaml");
    std::fs::write(
        &config,
        CONFIG
            .replace("event.data.value > 90", "event.data.value == 'hot'")
            .replace(
                r#"serial: "{{ event.data.serial }}""#,
                r#"serial: "{{ event.data.serial | default(0) }}""#,
            )
            .replace("{{ event.data.serial }} at", "at"),
    )?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    let server = Server::start(&folder.path().join("data"), &Start { flags, ..Start::default() })?;
    let (status, answer) = server.post("/v1/dead/replay", &json!({"filter": {"queue": "rules"}})).await?;
    ensure!(status < 300, "{status}: {answer}");
    server.until("/v1/queues/alarms", |queue| queue["ready"] == 2).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_kill_between_doubles_nothing_and_loses_nothing() -> Result<()> {
    const EVENTS: u64 = 60;
    let folder = tempfile::tempdir()?;
    let mut server = start(folder.path())?;
    for n in 0..EVENTS {
        publish(&server, "plant.measure.taken", "acme", &format!(r#"{{"value": 91, "serial": {n}}}"#))
            .await?;
        if n % 20 == 19 {
            // At this moment some are emitted, some are leased and some wait.
            server.kill()?;
            server = start(folder.path())?;
        }
    }
    server.until("/v1/queues/alarms", |queue| queue["ready"].as_u64() >= Some(2 * EVENTS)).await?;
    settled(&server).await?;
    let text = leased(&server, "alarms", 1_000).await?;
    let deliveries: Value = serde_json::from_str(&text)?;
    let mut serials: Vec<u64> = deliveries["deliveries"]
        .as_array()
        .context("deliveries")?
        .iter()
        .filter_map(|delivery| delivery["event"]["data"]["serial"].as_u64())
        .collect();
    serials.sort_unstable();
    ensure!(serials == (0..EVENTS).collect::<Vec<_>>(), "{serials:?}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[test]
fn rules_are_tried_without_a_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, event) = (folder.path().join("orderwire.yaml"), folder.path().join("event.json"));
    std::fs::write(&config, CONFIG)?;
    let (config, event) = (config.to_string_lossy().into_owned(), event.to_string_lossy().into_owned());
    let test = |data: &str, more: &[&str]| -> Result<orderwire_e2e::Ran> {
        std::fs::write(&event, data)?;
        run(&[&["rule", "test", "--config", &config, "--event", &event], more].concat())
    };
    let typed = ["--type", "plant.measure.taken"];
    let ran =
        test("{\"value\": 91.50,\n \"serial\": 9007199254740993}", &[&typed[..], &["-o", "json"]].concat())?;
    ensure!(ran.code == 0 && ran.stdout.lines().count() == 1, "{ran:?}");
    ensure!(
        ran.stdout.contains(r#""value":91.50,"whole":{"value":91.50,"serial":9007199254740993}"#),
        "{ran:?}"
    );
    let shown: Value = serde_json::from_str(&ran.stdout)?;
    let hot = shown["rules"].as_array().and_then(|all| all.iter().find(|rule| rule["rule"] == "hot"));
    let hot = hot.context("the rule hot")?;
    ensure!(hot["holds"] == true && hot["emits"][0]["queues"] == json!(["alarms"]), "{shown}");
    ensure!(shown["rules"][0]["matches"] == false, "{shown}");

    let ran = test(r#"{"other": 1}"#, &[&["hot"], &typed[..]].concat())?;
    ensure!(ran.code == 0 && ran.stdout.contains("event.data.value does not exist"), "{ran:?}");
    let attributes = r#"{"client":"acme","value":95,"serial":1,"MessageAttributes":{
        "event_type":{"Type":"String","Value":"plant.measure.taken"}}}"#;
    let ran = test(attributes, &[])?;
    ensure!(ran.code == 0 && ran.stdout.contains("hot emits, for alarms:"), "{ran:?}");
    for (data, more, code, said) in [
        (r#"{"value":"91"}"#, &typed[..], 7, "cannot be compared"),
        (r#"{"value":91}"#, &[], 7, "--type"),
        ("{", &typed[..], 7, "not JSON"),
        ("{}", &["hott", "--type", "a.b"], 3, "did you mean hot?"),
        ("{}", &["--type", "a..b"], 7, "event type"),
    ] {
        let ran = test(data, more)?;
        ensure!(
            ran.code == code && format!("{}{}", ran.stdout, ran.stderr).contains(said),
            "{data}: {ran:?}"
        );
    }
    let ran = run(&["rule", "test", "--config", &config, "--event", "/nowhere/event.json"])?;
    ensure!(ran.code == 3 && ran.stderr.contains("/nowhere/event.json"), "{ran:?}");
    let ran = run(&["rule", "list", "--config", &config])?;
    ensure!(ran.code == 0 && ran.stdout.contains("event.data.value > 90"), "{ran:?}");
    std::fs::write(folder.path().join("bad.yaml"), CONFIG.replace("event.data.value >", "value >"))?;
    let bad = folder.path().join("bad.yaml").to_string_lossy().into_owned();
    let ran = run(&["check", "--config", &bad])?;
    ensure!(
        ran.code == 7 && ran.stderr.contains("bad.yaml:11:11: rules.hot.when: value is not known"),
        "{ran:?}"
    );
    Ok(())
}
