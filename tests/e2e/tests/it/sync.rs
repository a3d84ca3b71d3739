//! A system-call trace: data is synchronised before each acknowledgement.
//! `kill -9` alone would not notice its absence, because the system keeps what
//! a killed process wrote.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start};
use reqwest::Method;
use serde_json::json;

const POSTS: usize = 20;

#[tokio::test]
async fn data_is_synchronised_before_each_acknowledgement() -> Result<()> {
    if !Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        ensure!(std::env::var_os("CI").is_none(), "strace cannot trace here, and CI needs it");
        eprintln!("SKIPPED: strace cannot trace here; install it to run this test");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.txt");
    let calls = "trace=fsync,fdatasync,sync_file_range,write,writev,pwrite64,sendto,sendmsg";
    let under = ["strace", "-f", "-ttt", "-y", "-s", "40", "-e", calls, "-o"].map(str::to_owned);
    let mut under = under.to_vec();
    under.push(trace.to_string_lossy().into_owned());
    let server = Server::start(&folder.path().join("data"), &Start { under, ..Start::default() })?;
    let dataset = json!({"fields": [{"name": "n", "type": "integer"}]});
    server.send(Method::PUT, "/v1/datasets/sync", &dataset).await?;
    server.post("/v1/queues", &json!({"name": "sync", "types": ["sync.#"]})).await?;
    // One after the other, so that each has a synchronisation of its own.
    for n in 0..POSTS {
        let path = if n % 2 == 0 { "/v1/events/sync.a" } else { "/v1/datasets/sync/rows" };
        let (status, answer) = server.post(path, &json!({"n": n})).await?;
        ensure!(status == 202, "{status}: {answer}");
    }
    server.signal("TERM").ok();
    let mut server = server;
    server.wait()?;
    check(&std::fs::read_to_string(&trace)?)
}

/// Between one 202 on a socket and the next, `queue.db-wal` is written and
/// then synchronised.
fn check(trace: &str) -> Result<()> {
    let mut written = false;
    let mut synchronised = false;
    let mut acknowledged = 0;
    for line in trace.lines() {
        let call = line.splitn(3, ' ').nth(2).unwrap_or_default();
        let call = call.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
        if call.starts_with("pwrite64(") && call.contains("queue.db-wal") {
            written = true;
            synchronised = false;
        } else if (call.starts_with("fdatasync(") || call.starts_with("fsync("))
            && call.contains("queue.db-wal")
        {
            // An unfinished call ends on a later line; the answer is written
            // by a thread that waits for it, so its begin is no proof, but a
            // missing one is a fault.
            synchronised = written;
        } else if call.contains("HTTP/1.1 202") {
            ensure!(written && synchronised, "202 without a synchronisation before it: {line}");
            acknowledged += 1;
            written = false;
            synchronised = false;
        }
    }
    ensure!(acknowledged == POSTS, "{acknowledged} acknowledgements in the trace instead of {POSTS}");
    Ok(())
}

#[test]
fn a_trace_without_synchronisation_is_caught() {
    let good = "7 1.0 pwrite64(9</d/queue.db-wal>, \"x\", 1, 0) = 1\n7 1.1 fdatasync(9</d/queue.db-wal>) = 0\n\
                8 1.2 sendto(5<socket>, \"HTTP/1.1 202 Accepted\", 21, 0, NULL, 0) = 21\n";
    let repeated = good.repeat(POSTS);
    assert!(check(&repeated).is_ok());
    let late = "7 1.0 pwrite64(9</d/queue.db-wal>, \"x\", 1, 0) = 1\n\
                8 1.2 sendto(5<socket>, \"HTTP/1.1 202 Accepted\", 21, 0, NULL, 0) = 21\n\
                7 1.3 fdatasync(9</d/queue.db-wal>) = 0\n";
    assert!(check(&format!("{late}{repeated}")).is_err());
    assert!(check(&repeated.replace("fdatasync", "fdatawait")).is_err());
    let missing = check(good).context("one of many");
    assert!(missing.is_err());
}
