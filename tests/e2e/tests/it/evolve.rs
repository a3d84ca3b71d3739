//! Datasets that change while rows arrive and are read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{PATIENCE, Server, Start};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::postgres::both_stores;

/// How many rows more are acknowledged between two changes.
const BETWEEN: u64 = 60;

/// The columns of each definition, by their types, and whether the change to it loses something. Rows
/// bring `late` all the time, which is passed over where it is no column.
const CHANGES: [(&[(&str, &str)], &str); 6] = [
    (&[("v", "integer"), ("w", "integer"), ("id", "uuid")], ""),
    (&[("v", "integer"), ("w", "integer"), ("id", "uuid"), ("late", "integer")], ""),
    (&[("v", "decimal"), ("w", "integer"), ("id", "uuid"), ("late", "integer")], ""),
    (&[("v", "decimal"), ("w", "float"), ("id", "text"), ("late", "integer")], ""),
    (&[("v", "decimal"), ("w", "float"), ("id", "text")], "?allow=loss"),
    (&[("v", "decimal"), ("id", "text")], "?allow=loss"),
];

fn definition(columns: &[(&str, &str)]) -> Value {
    let mut fields = vec![json!({"name": "n", "type": "integer", "required": true})];
    fields.extend(columns.iter().map(|(name, kind)| json!({"name": name, "type": kind})));
    json!({"fields": fields, "unknown": "ignore"})
}

fn id(n: u64) -> String {
    format!("00000000-0000-0000-0000-{n:012}")
}

/// What those who post and read know of each other.
#[derive(Default)]
struct Progress {
    next: AtomicU64,
    acknowledged: watch::Sender<u64>,
    stop: AtomicBool,
}

/// Posts rows until it is told to stop; their numbers.
async fn post(url: String, http: reqwest::Client, progress: Arc<Progress>) -> Result<Vec<u64>> {
    let mut acknowledged = Vec::new();
    while !progress.stop.load(Ordering::Relaxed) {
        let n = progress.next.fetch_add(1, Ordering::Relaxed);
        let row = json!([{"n": n, "v": n, "w": n, "id": id(n), "late": n}]);
        let answer = http.post(format!("{url}/v1/datasets/d/rows")).json(&row).send().await?;
        let status = answer.status();
        ensure!(status == 202, "{status}: {}", answer.text().await?);
        acknowledged.push(n);
        progress.acknowledged.send_modify(|count| *count += 1);
    }
    Ok(acknowledged)
}

/// Reads all rows until it is told to stop.
async fn read(url: String, http: reqwest::Client, progress: Arc<Progress>) -> Result<()> {
    let mut seen = 0;
    while !progress.stop.load(Ordering::Relaxed) {
        let answer = http.get(format!("{url}/rest/d?select=n,v,id")).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status == 200, "{status}: {text}");
        let rows: Vec<Value> = serde_json::from_str(&text)?;
        ensure!(rows.len() >= seen, "{} rows after {seen}", rows.len());
        seen = rows.len();
    }
    Ok(())
}

/// Reads what the changes that lose nothing have made of `w` and `late`, which the others drop.
async fn kept(server: &Server, late_from: u64, until: u64) -> Result<()> {
    let whole = |rows: &Value| rows.as_array().is_some_and(|rows| rows.iter().any(|row| row["n"] == until));
    let rows = server.until("/rest/d?select=n,w,late&order=n", whole).await?;
    for row in rows.as_array().context("rows")? {
        let n = row["n"].as_u64().context("n")?;
        ensure!(row["w"].as_f64() == Some(n as f64), "an integer that became a float: {row}");
        // Of what was posted while the column came, it may be either.
        ensure!(row["late"] == n || (n < late_from && row["late"].is_null()), "from {late_from} on: {row}");
    }
    Ok(())
}

both_stores! { a_dataset_that_changes_loses_and_repeats_no_row_that_arrives }

async fn a_dataset_that_changes_loses_and_repeats_no_row_that_arrives(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), start)?;
    let progress = Arc::<Progress>::default();
    let (mut posters, mut reader, mut late_from) = (Vec::new(), None, None);
    for (columns, loss) in CHANGES {
        let def = definition(columns);
        let (status, answer) = server.send(Method::PUT, &format!("/v1/datasets/d{loss}"), &def).await?;
        let made = if reader.is_none() { 201 } else { 200 };
        ensure!(status == made, "{columns:?}: {status}: {answer}");
        let with = || (server.url.clone(), server.http.clone(), progress.clone());
        reader.get_or_insert_with(|| {
            let post = |(url, http, progress)| tokio::spawn(post(url, http, progress));
            posters.extend((0..4).map(|_| post(with())));
            let (url, http, progress) = with();
            tokio::spawn(read(url, http, progress))
        });
        let mut acknowledged = progress.acknowledged.subscribe();
        let least = *acknowledged.borrow() + BETWEEN;
        if columns.len() == 4 && late_from.is_none() {
            late_from = Some(progress.next.load(Ordering::Relaxed));
        }
        let more = tokio::time::timeout(PATIENCE, acknowledged.wait_for(|count| *count >= least)).await;
        more.with_context(|| format!("nothing is acknowledged after {columns:?}"))??;
        if let (Some(late_from), [.., ("late", _)]) = (late_from, columns) {
            kept(&server, late_from, progress.next.load(Ordering::Relaxed) + BETWEEN).await?;
        }
    }
    progress.stop.store(true, Ordering::Relaxed);
    reader.context("it reads")?.await??;
    let mut acknowledged = BTreeSet::new();
    for poster in posters {
        acknowledged.extend(poster.await??);
    }
    server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["in_flight"] == 0).await?;
    ensure!(server.get("/v1/dead").await?["items"] == json!([]), "dead letters");
    let rows = server.get("/rest/d?order=n").await?;
    let expected: Vec<Value> = acknowledged.iter().map(|n| json!({"n": n, "v": n, "id": id(*n)})).collect();
    let rows = rows.as_array().context("rows")?;
    let first = rows.iter().zip(&expected).find(|(row, expected)| row != expected);
    ensure!(
        *rows == expected,
        "{} rows of {} that were acknowledged; the first that differs: {first:?}",
        rows.len(),
        expected.len()
    );
    ensure!(server.stop()?.success());
    Ok(())
}
