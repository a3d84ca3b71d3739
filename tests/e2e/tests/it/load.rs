//! The load generator against a real server: every scenario, what it says when
//! something is wrong, and that it leaves no release behind.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Ran, binary, run};
use serde_json::Value;

use crate::cli::{Site, fails};

/// A short run.
const SHORT: [&str; 6] = ["--duration", "1", "--warm-up", "0", "--connections", "4"];

fn load(site: &Site, words: &[&str]) -> Result<Value> {
    let report = site.json(&[&["load"], words, &SHORT].concat())?;
    ensure!(report["requests"].as_u64() > Some(0), "{report}");
    ensure!(report["errors"].as_object().is_some_and(serde_json::Map::is_empty), "{report}");
    let latency = &report["latency_ms"];
    ensure!(latency["p50"].as_f64() <= latency["p99"].as_f64(), "{report}");
    Ok(report)
}

/// What a queue holds.
async fn ready(site: &Site) -> Result<u64> {
    site.server.get("/v1/queues/load").await?["ready"].as_u64().context("ready")
}

#[tokio::test]
async fn events_of_every_form_are_published_and_consumed() -> Result<()> {
    let site = Site::start()?;
    let mut published = 0;
    for (words, entries) in [
        (&["single"][..], 1),
        (&["single", "--keys", "10", "--clients", "3", "--payload", "100..300"], 1),
        (&["batch", "--batch", "20", "--payload", "64:3,640:1"], 20),
        (&["batch", "--batch", "20", "--cloudevents", "--keys", "5", "--skew", "1"], 20),
    ] {
        let report = load(&site, words)?;
        ensure!(report["unit"] == "events", "{report}");
        published += report["requests"].as_u64().context("requests")? * entries;
        // Each was taken: no two have the same id.
        ensure!(ready(&site).await? == published, "{} of {published}: {report}", ready(&site).await?);
    }
    let consumed = load(&site, &["consume", "--batch", "50", "--prefill", "0"])?;
    ensure!(consumed["unit"] == "deliveries", "{consumed}");
    let stages = &consumed["stages_ms"];
    ensure!(
        stages["lease"]["p50"].as_f64() > Some(0.0) && stages["ack"]["p50"].as_f64() > Some(0.0),
        "{consumed}"
    );
    ensure!(ready(&site).await? < published, "nothing was consumed: {consumed}");
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn consume_fills_its_queue_and_ends_when_it_is_empty() -> Result<()> {
    let site = Site::start()?;
    let words = ["load", "consume", "--prefill", "2000", "--connections", "4", "--duration", "60"];
    let report = site.json(&words)?;
    let deliveries = report["units_per_second"].as_f64().zip(report["seconds"].as_f64());
    let (rate, seconds) = deliveries.context("figures")?;
    ensure!((rate * seconds).round() == 2_000.0, "{report}");
    ensure!(seconds < 30.0, "the end of the run was waited for: {report}");
    ensure!(ready(&site).await? == 0);
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn rows_are_written_and_read_from_the_cache_and_past_it() -> Result<()> {
    let site = Site::start()?;
    for (words, unit) in [
        (&["row"][..], "rows"),
        (&["rows", "--batch", "50", "--clients", "2"], "rows"),
        (&["read", "--path", "/rest/load?limit=10"], "answers"),
    ] {
        let report = load(&site, words)?;
        ensure!(report["unit"] == unit, "{report}");
    }
    // The recorder has to be done: a write after the first read makes a miss.
    let recorded = |queue: &Value| queue["ready"] == 0 && queue["in_flight"] == 0;
    site.server.until("/v1/queues/data", recorded).await?;
    for words in
        [&["read-cached"][..], &["read-uncached"], &["read-uncached", "--path", "/rest/load?limit={i}"]]
    {
        load(&site, words)?;
    }
    // It says nothing about a cache, and is taken as it is.
    load(&site, &["read-cached", "--path", "/healthz"])?;
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn reads_of_a_fresh_server_have_rows_of_their_own_to_read() -> Result<()> {
    let site = Site::start()?;
    load(&site, &["read-uncached"])?;
    let rows = site.server.get("/rest/load?limit=1000").await?;
    ensure!(rows.as_array().is_some_and(|rows| rows.len() == 100), "{rows}");
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn orders_become_ready_and_none_is_left() -> Result<()> {
    let site = Site::start()?;
    let report = load(&site, &["order", "--clients", "2"])?;
    ensure!(report["unit"] == "orders", "{report}");
    for stage in ["accepted to applied", "accepted to ready", "removed"] {
        ensure!(report["stages_ms"][stage]["p50"].as_f64() > Some(0.0), "{stage}: {report}");
    }
    let releases = site.json(&["release", "list"])?;
    ensure!(releases["items"].as_array().is_some_and(Vec::is_empty), "{releases}");
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn an_open_loop_sends_what_is_due_and_runs_are_compared() -> Result<()> {
    let site = Site::start()?;
    let page = site.file("report.html", "")?;
    let words = ["load", "single", "--duration", "1", "--warm-up", "0.2", "--rate", "50", "--runs", "3"];
    let report = site.json(&[&words[..], &["--seed", "7", "--html", &page]].concat())?;
    // What is due when a run ends may not be sent any more.
    let requests = report["requests"].as_u64().context("requests")?;
    ensure!((140..=150).contains(&requests), "{report}");
    ensure!(report["runs"].as_array().is_some_and(|runs| runs.len() == 3), "{report}");
    let rate = &report["spread"]["requests_per_second"];
    ensure!(rate["lowest"].as_f64() <= rate["median"].as_f64(), "{report}");
    ensure!(report["settings"]["seed"] == "7", "{report}");
    ensure!(
        report["server"]["version"].as_str().is_some_and(|name| name.starts_with("Orderwire ")),
        "{report}"
    );
    let page = std::fs::read_to_string(page)?;
    ensure!(page.contains("<svg") && page.ends_with("</html>\n"), "{page}");
    let random =
        ["load", "single", "--duration", "2", "--warm-up", "0", "--rate", "50", "--arrivals", "poisson"];
    let requests = site.json(&random)?["requests"].as_u64().context("requests")?;
    ensure!((50..=150).contains(&requests), "{requests} of about 100");
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_ramp_finds_the_knee_or_says_that_there_is_none() -> Result<()> {
    let site = Site::start()?;
    let steps = ["--step-seconds", "0.5", "--warm-up", "0", "--connections", "4"];
    // Of one connection and a rate that no server keeps, something is not sent.
    let words =
        ["load", "single", "--ramp", "--from", "20", "--factor", "100", "--p99", "60000", "--refine", "1"];
    let report = site.json(&[&words[..], &steps].concat())?;
    let knee = report["ramp"]["knee"].as_f64().context("a knee")?;
    ensure!(
        knee >= 20.0 && report["ramp"]["broke"] == true && report["rate"].as_f64() == Some(knee),
        "{report}"
    );
    let all = report["ramp"]["steps"].as_array().context("steps")?;
    ensure!(
        all.iter().any(|step| step["broken"].as_str().is_some_and(|why| why.contains("not sent"))),
        "{report}"
    );
    let page = site.file("knee.html", "")?;
    let hopeless = ["load", "single", "--ramp", "--from", "20", "--p99", "0.001", "--html", &page];
    let none = site.run(&[&hopeless[..], &steps].concat())?;
    fails(&none, 1, &["no rate kept the objective", "p99", "--from"])?;
    ensure!(none.stdout.contains("no rate kept p99 of 0.001 ms"), "the steps are shown: {none:?}");
    ensure!(std::fs::read_to_string(page)?.contains("No rate kept"));
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_measured_is_said() -> Result<()> {
    let site = Site::start()?;
    fails(&run(&["--server", "http://127.0.0.1:1", "--key", "x", "load", "single"])?, 6, &["orderwire up"])?;
    fails(&site.run(&["load", "read"])?, 2, &["--path"])?;
    fails(&site.run(&["load", "single", "--payload", "big"])?, 2, &["--payload", "big"])?;
    fails(&site.run(&["load", "single", "--html", "/nowhere/x.html"])?, 2, &["--html"])?;
    fails(&site.run(&["load", "read", "--path", "/rest/nowhere", "--duration", "1"])?, 1, &["404"])?;
    let keyless = ["load", "read", "--path", "/rest/load", "--no-key", "--duration", "1"];
    fails(&site.run(&keyless)?, 1, &["401"])?;
    let made = site.json(&["key", "create", "reader", "--role", "read"])?;
    let key = made["key"].as_str().context("a key")?;
    for (scenario, what) in [("single", "queue"), ("row", "dataset")] {
        fails(&site.run(&["--key", key, "load", scenario])?, 4, &[what, "operate"])?;
    }
    // What has the name and is somebody else's is left alone.
    site.json(&["queue", "create", "load", "--type", "other.#", "--kind", "stream"])?;
    fails(&site.run(&["load", "consume"])?, 5, &["a stream of other.#"])?;
    site.json(&["dataset", "create", "load", "--field", "other:integer"])?;
    fails(&site.run(&["load", "row"])?, 5, &["the dataset load"])?;
    ensure!(site.server.stop()?.success());
    Ok(())
}

/// Who is interrupted says what was measured until then.
#[tokio::test]
async fn an_interrupted_run_ends_early_and_reports() -> Result<()> {
    let site = Site::start()?;
    // No warm-up, so that there is something to report as soon as something waits.
    let words = ["-o", "json", "load", "single", "--duration", "600", "--warm-up", "0", "--connections", "2"];
    let child = Command::new(binary())
        .args(["--server", &site.server.url, "--key", &site.server.key])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    site.server
        .until("/v1/queues", |queues| {
            let all = queues["items"].as_array();
            all.is_some_and(|all| {
                all.iter().any(|queue| queue["name"] == "load" && queue["ready"].as_u64() > Some(10))
            })
        })
        .await?;
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    ensure!(killed.success());
    let output = child.wait_with_output()?;
    let ran = Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    };
    ensure!(ran.code == 0, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout)?;
    ensure!(report["stopped"] == true && report["requests"].as_u64() > Some(0), "{report}");
    ensure!(report["seconds"].as_f64() < Some(60.0), "{report}");
    ensure!(site.server.stop()?.success());
    Ok(())
}
