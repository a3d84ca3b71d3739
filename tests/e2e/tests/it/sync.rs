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
    synchronised(Log::Queue, Vec::new()).await
}

/// Nobody listens where the broker should be, so that all is kept in the spool.
#[tokio::test]
async fn data_of_the_spool_is_synchronised_before_each_acknowledgement() -> Result<()> {
    synchronised(Log::Spool, vec![("ORDERWIRE__BROKER__URL".to_owned(), "amqp://127.0.0.1:1".to_owned())])
        .await
}

/// All that is posted is in this log before it is acknowledged.
async fn synchronised(log: Log, env: Vec<(String, String)>) -> Result<()> {
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
    let under = ["strace", "-D", "-f", "-ttt", "-y", "-s", "9000", "-e", calls, "-o"].map(str::to_owned);
    let mut under = under.to_vec();
    under.push(trace.to_string_lossy().into_owned());
    // A queue that is made later would not be known to a broker.
    let config = folder.path().join("orderwire.yaml");
    std::fs::write(&config, "queues: {sync: {types: ['sync.#']}}\n")?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    let start = Start { under, env, flags, ..Start::default() };
    let server = Server::start(&folder.path().join("data"), &start)?;
    let dataset = json!({"fields": [{"name": "mark", "type": "text"}]});
    server.send(Method::PUT, "/v1/datasets/sync", &dataset).await?;
    // One after the other, so that each has a synchronisation of its own.
    for n in 0..POSTS {
        let path = if n % 2 == 0 { "/v1/events/sync.a" } else { "/v1/datasets/sync/rows" };
        let (status, answer) = server.post(path, &json!({"mark": mark(n)})).await?;
        ensure!(status == 202, "{status}: {answer}");
    }
    server.signal("TERM").ok();
    let mut server = server;
    server.wait()?;
    check(&std::fs::read_to_string(&trace)?, log)
}

/// Whose write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Log {
    Queue,
    Spool,
    Store,
}

impl Log {
    fn of(call: &str) -> Option<Self> {
        if call.contains("/spool/queue.db-wal>") {
            Some(Self::Spool)
        } else if call.contains("/queue.db-wal>") {
            Some(Self::Queue)
        } else {
            call.contains("/store.db-wal>").then_some(Self::Store)
        }
    }
}

/// What the trace shows of one line.
#[derive(Debug, PartialEq)]
enum Call<'a> {
    /// Bytes written to a log.
    Write(Log, &'a str),
    /// A log is on the device.
    Synchronised(Log),
    /// A 202 on a socket.
    Acknowledged,
}

/// Every payload was written to this log, then that was synchronised,
/// and only then its 202 sent.
fn check(trace: &str, log: Log) -> Result<()> {
    let calls = calls(trace);
    let acknowledged: Vec<usize> = (0..calls.len()).filter(|at| calls[*at] == Call::Acknowledged).collect();
    ensure!(acknowledged.len() == POSTS, "{} acknowledgements instead of {POSTS}", acknowledged.len());
    for (n, acknowledged) in acknowledged.into_iter().enumerate() {
        let written =
            first_write(&calls, log, n).with_context(|| format!("payload {n} was never written"))?;
        ensure!(written < acknowledged, "payload {n} was written after its 202");
        let synchronised = calls[written..acknowledged].contains(&Call::Synchronised(log));
        ensure!(synchronised, "payload {n} was written and acknowledged without a synchronisation between");
    }
    // Odd posts are rows: their record is synchronised as well, where they get so far.
    for n in (1..POSTS).step_by(2).filter(|_| log == Log::Queue) {
        let written =
            first_write(&calls, Log::Store, n).with_context(|| format!("row {n} was never recorded"))?;
        let synchronised = calls[written..].contains(&Call::Synchronised(Log::Store));
        ensure!(synchronised, "row {n} was recorded without a synchronisation");
    }
    Ok(())
}

fn first_write(calls: &[Call<'_>], log: Log, n: usize) -> Option<usize> {
    let mark = mark(n);
    calls
        .iter()
        .position(|call| matches!(call, Call::Write(to, bytes) if *to == log && bytes.contains(&mark)))
}

fn calls(trace: &str) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    // Threads whose synchronisation of a log is under way.
    let mut synchronising: Vec<(&str, Log)> = Vec::new();
    for line in trace.lines() {
        let (thread, rest) = line.split_once(' ').unwrap_or((line, ""));
        let call = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
        let synchronises = call.starts_with("fsync(") || call.starts_with("fdatasync(");
        if let Some(log) = Log::of(call).filter(|_| call.starts_with("pwrite64(")) {
            calls.push(Call::Write(log, call));
        } else if let Some(log) = Log::of(call).filter(|_| synchronises) {
            if call.contains("<unfinished") {
                synchronising.push((thread, log));
            } else if call.ends_with("= 0") {
                calls.push(Call::Synchronised(log));
            }
        } else if call.starts_with("<... fsync resumed") || call.starts_with("<... fdatasync resumed") {
            let ended = synchronising.iter().position(|(other, _)| *other == thread);
            let ended = ended.map(|at| synchronising.remove(at));
            if let Some((_, log)) = ended.filter(|_| call.ends_with("= 0")) {
                calls.push(Call::Synchronised(log));
            }
        } else if call.contains("HTTP/1.1 202") {
            calls.push(Call::Acknowledged);
        }
    }
    calls
}

/// What the payload of post `n` alone contains.
fn mark(n: usize) -> String {
    format!("mark-{n}-end")
}

#[test]
fn a_trace_without_synchronisation_is_caught() {
    let post = |n: usize, first: &str, second: &str| {
        let write = format!("7 1.0 pwrite64(9</d/queue.db-wal>, \"{}\", 1, 0) = 1\n", mark(n));
        let sync = "7 1.1 fsync(9</d/queue.db-wal> <unfinished ...>\n7 1.2 <... fsync resumed>) = 0\n";
        let ack = "8 1.3 sendto(5<socket>, \"HTTP/1.1 202 Accepted\", 21, 0, NULL, 0) = 21\n";
        let line = |name: &str| match name {
            "sync" => sync.to_owned(),
            "ack" => ack.to_owned(),
            other => panic!("{other}"),
        };
        let store = format!("{write}{sync}").replace("queue.db", "store.db");
        format!("{write}{}{}{store}", line(first), line(second))
    };
    let good: String = (0..POSTS).map(|n| post(n, "sync", "ack")).collect();
    assert!(check(&good, Log::Queue).is_ok());
    let late: String =
        (0..POSTS).map(|n| if n == 3 { post(n, "ack", "sync") } else { post(n, "sync", "ack") }).collect();
    assert!(check(&late, Log::Queue).is_err());
    assert!(check(&good.replace("fsync", "nosync"), Log::Queue).is_err());
    assert!(check(&good.replace("fsync resumed>) = 0", "fsync resumed>) = -1 EIO"), Log::Queue).is_err());
    assert!(check(&post(0, "sync", "ack"), Log::Queue).is_err());
    let unrecorded =
        good.replace("fsync(9</d/store.db-wal> <unfinished ...>", "close(9</d/store.db-wal>) = 0");
    assert!(check(&unrecorded, Log::Queue).is_err());
    assert!(check(&good, Log::Spool).is_err(), "it is in another log");
    assert!(check(&good.replace("/d/queue.db", "/d/spool/queue.db"), Log::Spool).is_ok());
}
