//! What an export takes of memory, however many rows it is of.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{PATIENCE, Server, binary};
use reqwest::Method;
use serde_json::json;

use crate::postgres::on;

/// Rows of the smaller and of the larger dataset, of more than 100 bytes each as JSON.
const ROWS: [usize; 2] = [40_000, 400_000];

/// What the larger one may take more: half of what its rows are.
const MORE_MIB: u64 = 24;

/// The most that a process had in memory so far.
fn peak_mib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}

/// Exports a dataset to the last row; the peak of who writes the file.
async fn export(server: &Server, dataset: &str, format: &str) -> Result<u64> {
    let words = ["--server", &server.url, "--key", &server.key, "dataset", "export", dataset];
    let mut command = Command::new(binary());
    let null = Stdio::null;
    let mut child =
        command.args(words).args(["--format", format]).stdin(null()).stdout(null()).stderr(null()).spawn()?;
    let mut peak = 0;
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "{format}: {status}");
            return Ok(peak);
        }
        // Between its end and its burial a process has no memory.
        peak = peak_mib(child.id()).unwrap_or(peak).max(peak);
        ensure!(Instant::now() < deadline, "{format}: it takes too long");
        // tidy: sleep because the peak of a process is to be seen only while it runs
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_export_takes_the_same_memory_for_ten_times_the_rows() -> Result<()> {
    let (folder, postgres) = (tempfile::tempdir()?, Postgres::started()?);
    let server = Server::start(&folder.path().join("data"), &on(&postgres))?;
    let def = json!({"fields": [{"name": "n", "type": "integer"}, {"name": "t", "type": "text"}]});
    for (dataset, rows) in ["small", "large"].into_iter().zip(ROWS) {
        let (status, answer) = server.send(Method::PUT, &format!("/v1/datasets/{dataset}"), &def).await?;
        ensure!(status == 201, "{status}: {answer}");
        postgres.ask(
            "orderwire",
            &format!(
                "INSERT INTO data.{dataset} SELECT n, 'default', gen_random_uuid(), gen_random_uuid(), now(), n, \
                 repeat(n::text, 15) FROM generate_series(1, {rows}) AS n"
            ),
        )?;
    }
    for format in ["csv", "ndjson", "parquet"] {
        let small = export(&server, "small", format).await?;
        let before = peak_mib(server.pid())?;
        let began = Instant::now();
        let large = export(&server, "large", format).await?;
        let after = peak_mib(server.pid())?;
        println!(
            "{format}: {:?}; server {before}, then {after} MiB; file {small}, then {large} MiB",
            began.elapsed()
        );
        ensure!(before > 0 && after <= before + MORE_MIB, "{format}: {before} MiB, then {after}");
        ensure!(
            small > 0 && large <= small + MORE_MIB,
            "{format}: whoever writes: {small} MiB, then {large}"
        );
    }
    ensure!(server.stop()?.success());
    Ok(())
}
