//! Everything on a PostgreSQL.

use anyhow::{Context, Result, ensure};
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{Server, Start, run_with};
use serde_json::{Value, json};

use crate::orders::ordered;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/air-quality");

/// What a test has posted itself: a module that was ordered records rows of its client there, too.
const MINE: &str = "/rest/air?select=id_entity&_client=eq.default&limit=1000000";

/// The environment of a server on this PostgreSQL.
pub(crate) fn env(url: &str, password: Option<&str>) -> Vec<(String, String)> {
    let mut env = vec![("ORDERWIRE__STORE__URL".to_owned(), url.to_owned())];
    if let Some(password) = password {
        env.push(("ORDERWIRE__STORE__PASSWORD".to_owned(), "${TEST_STORE_PASSWORD}".to_owned()));
        env.push(("TEST_STORE_PASSWORD".to_owned(), password.to_owned()));
    }
    env
}

/// How a server on this PostgreSQL is started.
pub(crate) fn on(postgres: &Postgres) -> Start {
    Start { env: env(&postgres.url(), Some("secret")), ..Start::default() }
}

/// Tests that are the same on both stores: each is a function of how its server is started.
macro_rules! both_stores {
    ($($test:ident)*) => {
        mod on_files {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() -> anyhow::Result<()> {
                super::$test(&orderwire_e2e::Start::default()).await
            })*
        }
        mod on_a_postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() -> anyhow::Result<()> {
                let postgres = orderwire_e2e::postgres::Postgres::started()?;
                super::$test(&crate::postgres::on(&postgres)).await
            })*
        }
    };
}
pub(crate) use both_stores;

#[tokio::test]
async fn the_whole_line_works_on_a_postgresql() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::started()?;
    let config = format!("{EXAMPLE}/orderwire.yaml");
    let start = Start { flags: vec!["--config".to_owned(), config.clone()], ..on(&postgres) };
    let data = folder.path().join("data");
    let server = Server::start(&data, &start)?;

    // Rows, their view, their trace.
    let csv = std::fs::read_to_string(format!("{EXAMPLE}/measures.csv"))?;
    let rows = csv.lines().count() - 1;
    let url = format!("{}/v1/datasets/air/rows", server.url);
    let answer = server.http.post(url).header("content-type", "text/csv").body(csv).send().await?;
    ensure!(answer.status() == 202, "{answer:?}");
    let accepted: Value = serde_json::from_str(&answer.text().await?)?;
    let trace = accepted["trace_id"].as_str().context("a trace")?;
    server.until(&format!("/v1/traces/{trace}"), |trace| trace["state"] == "done").await?;
    let found = server.get(MINE).await?;
    ensure!(found.as_array().is_some_and(|found| found.len() == rows), "{rows} rows: {found}");
    for cached in [false, true] {
        let view = server.get("/api/v1/measures/air").await?;
        ensure!(view["cache"] == cached, "{}", view["cache"]);
    }
    // They are a plain table, for people with other tools.
    ensure!(postgres.ask("orderwire", "SELECT count(*) FROM data.air")? == rows.to_string());

    // An event that fails, its dead letter, its replay.
    let queue = json!({"name": "work", "types": ["work.#"], "attempts": 1});
    let (status, answer) = server.post("/v1/queues", &queue).await?;
    ensure!(status < 300, "{answer}");
    let (status, event) = server.post("/v1/events/work.a", &json!({"n": 9_007_199_254_740_993_u64})).await?;
    ensure!(status == 202, "{event}");
    for _ in 0..2 {
        let (_, leased) = server.post("/v1/queues/work/lease", &json!({"max": 5, "wait_ms": 30_000})).await?;
        let delivery = &leased["deliveries"][0];
        ensure!(delivery["event"]["data"]["n"] == json!(9_007_199_254_740_993_u64), "{leased}");
        let nack = json!({"delivery_ids": [delivery["delivery_id"]], "cause": "not today"});
        let (status, answer) = server.post("/v1/queues/work/nack", &nack).await?;
        ensure!(status == 200, "{answer}");
        let dead = server.get("/v1/dead?queue=work").await?;
        ensure!(dead["items"][0]["cause"] == "not today", "{dead}");
        let (status, replay) = server.post("/v1/dead/replay", &json!({"filter": {"queue": "work"}})).await?;
        ensure!(status < 300 && replay["count"] == 1, "{status}: {replay}");
    }

    // An order, a restart, and its removal.
    let order = ordered(&server, &json!({"client": "acme", "product": "sensor"})).await?;
    ensure!(order["state"] == "ready", "{order}");
    ensure!(server.stop()?.success());
    let server = Server::start(&data, &start)?;
    let releases = server
        .until("/v1/releases", |all| {
            all["items"][0]["state"] == "running" || all["items"][0]["state"] == "ready"
        })
        .await?;
    ensure!(releases["items"].as_array().is_some_and(|all| all.len() == 1), "{releases}");
    let removed =
        ordered(&server, &json!({"client": "acme", "product": "sensor", "action": "remove"})).await?;
    ensure!(removed["state"] == "removed", "{removed}");
    ensure!(server.get(MINE).await? == found, "rows after a restart");

    // The folder is one process's here, too.
    let second = run_with(&["up", "--listen", "127.0.0.1:0", "--data", &data.to_string_lossy()], &start.env)?;
    ensure!(second.code != 0 && second.stderr.contains(&server.pid().to_string()), "{second:?}");
    ensure!(!data.join("store.db").exists() && !data.join("queue.db").exists(), "it stores in files");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_postgresql_is_one_clear_sentence() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::started()?;
    postgres.tell("CREATE DATABASE latin OWNER orderwire ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")?;
    postgres.tell("CREATE ROLE guest LOGIN PASSWORD 'secret'")?;
    let url = postgres.url();
    let at =
        |user: &str, database: &str| format!("postgres://{user}@127.0.0.1:{}/{database}", postgres.port());
    let nobody = format!("postgres://orderwire@127.0.0.1:{}/orderwire", free_port()?);
    let away: &[&str] = &["refused", "start the server, or look at host and port"];
    for (url, password, said) in [
        (nobody, Some("secret"), away),
        (
            url.clone(),
            Some("wrong"),
            &["password authentication failed", "look at the user in the URL and at the password"],
        ),
        (url.clone(), None, &["password missing", "store.password"]),
        (at("orderwire", "nowhere"), Some("secret"), &["\"nowhere\" does not exist", "CREATE DATABASE"]),
        (at("orderwire", "latin"), Some("secret"), &["LATIN1", "needs UTF8"]),
        (at("guest", "orderwire"), Some("secret"), &["permission denied", "create schemas"]),
        (format!("{url}?sslmode=require"), Some("secret"), &["sslmode", "TLS"]),
    ] {
        let data = folder.path().join("data");
        let env = env(&url, password);
        let up = run_with(&["up", "--listen", "127.0.0.1:0", "--data", &data.to_string_lossy()], &env)?;
        let last = up.stderr.lines().last().unwrap_or_default();
        ensure!(up.code == 1, "{url}: {up:?}");
        for part in said {
            ensure!(last.contains(part), "{url}: {part} is missing in {last}");
        }
        ensure!(!up.stderr.contains("secret"), "{url}: {}", up.stderr);
        let check = ["check", "--connect", "--data", &data.to_string_lossy()].map(str::to_owned);
        let check = run_with(&check.each_ref().map(String::as_str), &env)?;
        let line =
            check.stdout.lines().find(|line| line.contains("store.url")).context("a line of the store")?;
        ensure!(check.code != 0 && line.starts_with("FAIL"), "{check:?}");
        ensure!(said.iter().any(|part| line.contains(part)), "{url}: {line}");
    }
    let data = folder.path().join("data");
    let check =
        run_with(&["check", "--connect", "--data", &data.to_string_lossy()], &env(&url, Some("secret")))?;
    ensure!(check.stdout.contains("connected to PostgreSQL"), "{check:?}");
    ensure!(
        postgres.ask("orderwire", "SELECT count(*) FROM pg_namespace WHERE nspname = 'orderwire'")? == "0"
    );
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
