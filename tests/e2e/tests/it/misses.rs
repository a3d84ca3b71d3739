//! A thousand callers who ask the same at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{PATIENCE, Server, Start};
use serde_json::{Value, json};

use crate::explained::{explain, reads};
use crate::postgres::on;

const CALLERS: usize = 1_000;

const CONFIG: &str = "datasets: {air: {fields: [{name: n, type: integer}]}}
views: {air: {path: /api/air, dataset: air, order: n}}
";

/// The port of a server.
fn port(server: &Server) -> Result<u16> {
    Ok(server.url.rsplit_once(':').context("a port")?.1.parse()?)
}

/// Of how many connections a server has taken all that was sent, as the system shows them.
fn taken(server: &Server) -> Result<usize> {
    let port = format!(":{:04X}", port(server)?);
    let connections = std::fs::read_to_string("/proc/net/tcp")?;
    let taken = |line: &&str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        // Its own end, established, with nothing in the queue of what came.
        columns[1].ends_with(&port) && columns[3] == "01" && columns[4].ends_with(":00000000")
    };
    Ok(connections.lines().skip(1).filter(taken).count())
}

async fn until(what: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        ensure!(Instant::now() < deadline, "{what} never came");
        // tidy: sleep because another process does not tell what becomes of it
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// An answer, which has this body.
fn told(caller: &mut TcpStream, body: &str) -> Result<String> {
    let mut answer = String::new();
    while !answer.ends_with(body) {
        let mut piece = [0; 4096];
        let length = caller.read(&mut piece).with_context(|| format!("after {answer}"))?;
        ensure!(length > 0, "it ends with {answer}");
        answer.push_str(std::str::from_utf8(&piece[..length])?);
    }
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(answer)
}

#[tokio::test]
async fn a_thousand_equal_misses_are_one_query_of_a_postgresql() -> Result<()> {
    let (folder, postgres) = (tempfile::tempdir()?, Postgres::started()?);
    explain(&postgres)?;
    let config = folder.path().join("orderwire.yaml");
    std::fs::write(&config, CONFIG)?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    let server = Server::start(&folder.path().join("data"), &Start { flags, ..on(&postgres) })?;
    let (status, answer) = server.post("/v1/datasets/air/rows", &json!([{"n": 1}, {"n": 2}])).await?;
    ensure!(status == 202, "{status}: {answer}");
    server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["in_flight"] == 0).await?;

    let mut callers = Vec::with_capacity(CALLERS);
    for _ in 0..CALLERS {
        let caller = TcpStream::connect(("127.0.0.1", port(&server)?))?;
        caller.set_read_timeout(Some(PATIENCE))?;
        callers.push(caller);
    }
    for (round, (path, rows)) in [
        ("/rest/air?select=n&n=gt.0&order=n", "[{\"n\":1},\n{\"n\":2}]"),
        ("/api/air?n=gt.0", "{\"values\":[{\"n\":1},\n{\"n\":2}],\"cache\": false}"),
    ]
    .into_iter()
    .enumerate()
    {
        // Until all have asked nobody gets an answer.
        let held = postgres.hold("orderwire", "LOCK TABLE data.air IN ACCESS EXCLUSIVE MODE")?;
        for caller in &mut callers {
            write!(caller, "GET {path} HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\n\r\n", server.key)?;
        }
        until("a thousand questions", || Ok(taken(&server)? >= CALLERS)).await?;
        drop(held);
        let (mut misses, mut collapsed) = (0, 0);
        for caller in &mut callers {
            let answer = told(caller, rows)?;
            misses += usize::from(answer.contains("cache-status: orderwire; fwd=miss\r\n"));
            collapsed += usize::from(answer.contains("cache-status: orderwire; fwd=miss; collapsed\r\n"));
        }
        // What was read before another question is written down before it.
        server.get(&format!("/rest/air?select=n&n=eq.{}", 7 + round)).await?;
        let of_another =
            |read: &Value| read["Query Text"].as_str().is_some_and(|sql| sql.contains("\"n\" = "));
        let begun = 2 * round;
        until("the read of another question", || {
            Ok(reads(&postgres, "air")?.iter().skip(begun).any(of_another))
        })
        .await?;
        let queries = reads(&postgres, "air")?;
        ensure!(queries.len() == begun + 2, "{} queries for {path}", queries.len() - begun - 1);
        ensure!(misses == 1 && collapsed > CALLERS / 2, "{misses} misses, {collapsed} collapsed");
    }
    ensure!(server.stop()?.success());
    Ok(())
}
