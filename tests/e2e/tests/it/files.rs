//! Files in and out: forms, dialects, what is put aside, and what interrupts them.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::disk::Disk;
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{Ran, Server, Start, binary, run};
use serde_json::{Value, json};

use crate::cli::{Site, fails};
use crate::postgres::{both_stores, on};

const MEASURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/air-quality/measures.csv");

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

both_stores! {
    parquet_goes_out_and_comes_in_again
    faulty_rows_are_put_aside_and_may_come_later
    an_import_whose_client_and_server_are_killed_goes_on
}

async fn rows(site: &Site, dataset: &str) -> Result<Value> {
    site.server.get(&format!("/rest/{dataset}")).await
}

#[tokio::test]
async fn csv_is_imported_however_it_is_written() -> Result<()> {
    let site = Site::start()?;
    let wanted = json!([{"n": 1, "t": "ä\nb"}, {"n": 2, "t": "7"}]);
    let marked = site.bytes("marked.csv", &utf16("\u{feff}n;t\r\n1;\"ä\nb\"\r\n2;7\r\n"))?;
    site.json(&["dataset", "import", "marked", &marked, "--yes"])?;
    ensure!(rows(&site, "marked").await? == wanted);
    let latin = site.bytes("latin.txt", b"1|'\xe4\nb'\n2|7\n")?;
    let flags =
        ["--format", "csv", "--delimiter", "|", "--quote", "'", "--encoding", "latin1", "--columns", "n,t"];
    let words = [&["dataset", "import", "latin", &latin, "--yes"], &flags[..]].concat();
    site.json(&words)?;
    ensure!(rows(&site, "latin").await? == wanted);
    // Without names they are those of the dataset.
    let bare = site.file("bare.csv", "3,\"x\"\n")?;
    site.json(&["dataset", "import", "latin", &bare, "--no-header"])?;
    ensure!(rows(&site, "latin").await?[2] == json!({"n": 3, "t": "x"}));
    let wrong = site.bytes("wrong.csv", b"n,t\n1,\xe4\n")?;
    fails(&site.run(&["dataset", "import", "marked", &wrong])?, 7, &["line 2", "--encoding"])?;
    let flags = ["dataset", "import", "x", "x.ndjson", "--no-header"];
    fails(&site.run(&flags)?, 2, &["for CSV"])?;
    ensure!(site.server.stop()?.success());
    Ok(())
}

async fn parquet_goes_out_and_comes_in_again(start: &Start) -> Result<()> {
    let site = Site::started(start)?;
    site.json(&["dataset", "import", "air", MEASURES, "--yes"])?;
    let file = site.path("air.parquet");
    let exported = site.json(&["dataset", "export", "air", &file])?;
    ensure!(exported["rows"] == 1_200, "{exported}");
    let copied = site.json(&["dataset", "import", "copy", &file, "--yes"])?;
    ensure!(copied["added"] == 1_200, "{copied}");
    let again = site.json(&["dataset", "import", "copy", &file])?;
    ensure!(again["added"] == 0 && again["already_there"] == 1_200, "{again}");
    let (a, b) = (site.run(&["dataset", "export", "air"])?, site.run(&["dataset", "export", "copy"])?);
    ensure!(a.code == 0 && a.stdout == b.stdout, "the copy differs");
    let (a, b) = (site.server.get("/v1/datasets/air").await?, site.server.get("/v1/datasets/copy").await?);
    ensure!(a["fields"] == b["fields"] && a["time"] == b["time"], "{a} {b}");
    let cut = std::fs::read(&file)?;
    let cut = site.bytes("cut.parquet", &cut[..cut.len() / 2])?;
    fails(&site.run(&["dataset", "import", "copy", &cut])?, 7, &["cannot be read as Parquet"])?;
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[test]
fn a_preview_needs_no_server() -> Result<()> {
    let nobody = ["--server", "http://127.0.0.1:1"];
    let words = [&nobody[..], &["dataset", "import", "air", MEASURES, "--preview"]].concat();
    let shown = run(&words)?;
    ensure!(shown.code == 0, "{shown:?}");
    for word in ["1,200 rows", "timestamp (time)", "The first rows:", "orderwire dataset create air --field "]
    {
        ensure!(shown.stdout.contains(word), "{word} is missing: {}", shown.stdout);
    }
    let shown = run(&[&words[..], &["-o", "json"]].concat())?;
    let preview: Value = serde_json::from_str(&shown.stdout).with_context(|| format!("{shown:?}"))?;
    ensure!(preview["rows"] == 1_200 && preview["definition"]["time"] == "TimeInstant", "{preview}");
    ensure!(preview["first"].as_array().is_some_and(|rows| rows.len() == 5), "{preview}");
    Ok(())
}

async fn faulty_rows_are_put_aside_and_may_come_later(start: &Start) -> Result<()> {
    let site = Site::started(start)?;
    site.json(&["dataset", "create", "air", "--field", "n:integer!", "--field", "t:text"])?;
    let mut csv = String::from("n,t\n");
    for n in 0..5_000 {
        let number = if n % 1_000 == 999 { "many".to_owned() } else { n.to_string() };
        csv.push_str(&format!("{number},x\n"));
    }
    let (file, aside) = (site.file("some.csv", &csv)?, site.path("aside.ndjson"));
    fails(
        &site.run(&["dataset", "import", "air", &file])?,
        7,
        &["5 of the 5,000", "line 1001: /n", "--rejects"],
    )?;
    let few = ["dataset", "import", "air", &file, "--rejects", &aside, "--rejects-max", "4"];
    fails(&site.run(&few)?, 7, &["more than 4 rows are faulty"])?;
    ensure!(!Path::new(&aside).exists());
    let words = ["dataset", "import", "air", &file, "--rejects", &aside];
    let done = site.json(&words)?;
    ensure!(done["added"] == 4_995 && done["rejected"] == 5 && done["rejects"] == aside.as_str(), "{done}");
    let lines: Vec<Value> =
        std::fs::read_to_string(&aside)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(
        lines.len() == 5 && lines[0]["line"] == 1_001 && lines[0]["row"] == json!(["many", "x"]),
        "{lines:?}"
    );
    // Again: nothing; and nothing twice.
    let again = site.json(&words)?;
    ensure!(again["added"] == 0 && again["already_there"] == 4_995 && again["rejected"] == 5, "{again}");
    let said = site.run(&words)?;
    ensure!(said.stdout.contains("nothing to add") && said.stdout.contains("5 faulty rows"), "{said:?}");
    ensure!(
        numbers(&site.server, "air").await? == (0..5_000).filter(|n| n % 1_000 != 999).collect::<Vec<_>>()
    );
    ensure!(site.server.stop()?.success());
    Ok(())
}

async fn numbers(server: &Server, dataset: &str) -> Result<Vec<i64>> {
    let found = server.get(&format!("/rest/{dataset}?select=n&order=n.asc")).await?;
    Ok(found.as_array().context("rows")?.iter().filter_map(|row| row["n"].as_i64()).collect())
}

const MANY: i64 = 200_000;

fn many() -> String {
    let mut csv = String::from("n,name\n");
    (0..MANY).for_each(|n| csv.push_str(&format!("{n},\"a\nb\"\n")));
    csv
}

async fn an_import_whose_client_and_server_are_killed_goes_on(start: &Start) -> Result<()> {
    let site = Site::started(start)?;
    site.json(&["dataset", "create", "big", "--field", "n:integer!", "--field", "name:text"])?;
    let file = site.file("big.csv", &many())?;
    let sha = sha256_of(&file)?;
    let mut client = site.spawn(&["dataset", "import", "big", &file])?;
    let state = format!("/v1/datasets/big/imports/{sha}");
    site.server.until(&state, |state| state["rows"].as_i64() > Some(0)).await?;
    client.kill()?;
    client.wait()?;
    let site = site.killed()?;
    // What was acknowledged is recorded before it is counted.
    site.server.until("/v1/queues/data", |queue| queue["ready"] == 0).await?;
    let before = site.server.get(&state).await?["rows"].as_i64().context("rows")?;
    ensure!(0 < before && before < MANY, "{before} of {MANY}: it was not interrupted");
    let summary = site.json(&["dataset", "import", "big", &file])?;
    ensure!(summary["already_there"] == before && summary["added"] == MANY - before, "{summary}");
    ensure!(numbers(&site.server, "big").await? == (0..MANY).collect::<Vec<_>>());
    ensure!(site.server.stop()?.success());
    Ok(())
}

fn sha256_of(path: &str) -> Result<String> {
    let output = Command::new("sha256sum").arg(path).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().next().context("a hash")?.to_owned())
}

/// Mounting a small file system needs root; CI has it.
#[tokio::test]
async fn an_import_onto_a_full_disk_says_so_and_goes_on_with_space() -> Result<()> {
    let Some(disk) = Disk::of_mib(24)? else { return Ok(()) };
    fill(&disk, &disk.path().join("data"), &Start::default()).await
}

/// The database is on it; the server's own files, and its log of changes, are not.
#[tokio::test]
async fn an_import_into_a_postgresql_with_a_full_disk_says_so_and_goes_on_with_space() -> Result<()> {
    let Some(disk) = Disk::of_mib(48)? else { return Ok(()) };
    let (folder, postgres) = (tempfile::tempdir()?, Postgres::started()?);
    let tables = disk.path().join("tables");
    std::fs::create_dir(&tables)?;
    postgres.put("orderwire", &tables)?;
    fill(&disk, &folder.path().join("data"), &on(&postgres)).await
}

/// Imports more than finds place on the disk, and then makes place.
async fn fill(disk: &Disk, data: &Path, start: &Start) -> Result<()> {
    let server = Server::start(data, start)?;
    // Not even the queue takes all rows then.
    let ballast = disk.leave(4)?;
    let folder = tempfile::tempdir()?;
    let csv = folder.path().join("wide.csv");
    let padding = "x".repeat(1_000);
    let text: String = (0..6_000).map(|n| format!("{n},{padding}\n")).collect();
    std::fs::write(&csv, format!("n,t\n{text}"))?;
    let (csv, data) = (csv.to_string_lossy().into_owned(), data.to_string_lossy().into_owned());
    let import = || -> Result<Ran> {
        run(&[
            "--server",
            &server.url,
            "--data",
            &data,
            "-o",
            "json",
            "dataset",
            "import",
            "wide",
            &csv,
            "--yes",
        ])
    };
    let refused = import()?;
    ensure!(refused.code == 6, "{refused:?}");
    ensure!(refused.stderr.contains("import it again"), "{refused:?}");
    // Reads go on, and what is there is the beginning of the file.
    let there = numbers(&server, "wide").await?;
    ensure!(
        there == (0..i64::try_from(there.len())?).collect::<Vec<_>>() && there.len() < 6_000,
        "{there:?}"
    );
    ensure!(server.get("/v1/whoami").await?["principal"].is_string());
    std::fs::remove_file(ballast)?;
    let done = import()?;
    ensure!(done.code == 0, "{done:?}");
    ensure!(numbers(&server, "wide").await? == (0..6_000).collect::<Vec<_>>());
    let again = import()?;
    let summary: Value = serde_json::from_str(&again.stdout).with_context(|| format!("{again:?}"))?;
    ensure!(summary["added"] == 0 && summary["already_there"] == 6_000, "{summary}");
    ensure!(numbers(&server, "wide").await?.len() == 6_000, "rows are there twice");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn an_export_that_cannot_be_written_leaves_nothing() -> Result<()> {
    let site = Site::start()?;
    site.json(&["dataset", "import", "air", MEASURES, "--yes"])?;
    let nowhere = site.path("nowhere/out.csv");
    fails(&site.run(&["dataset", "export", "air", &nowhere])?, 1, &["cannot write"])?;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let status = Command::new(binary())
        .args(["--server", &site.server.url, "--key", &site.server.key, "dataset", "export", "air"])
        .stdin(Stdio::null())
        .stdout(full)
        .status()?;
    ensure!(status.code() == Some(1), "{status}");
    // With a filter, in every form, the same rows.
    let condition = ["--where", "no2=gt.200"];
    let csv = site.run(&[&["dataset", "export", "air"], &condition[..]].concat())?;
    let ndjson = site.run(&[&["dataset", "export", "air", "--format", "ndjson"], &condition[..]].concat())?;
    ensure!(csv.stdout.lines().count() == ndjson.stdout.lines().count() + 1, "{csv:?} {ndjson:?}");
    let parquet = site.path("some.parquet");
    let some = site.json(&[&["dataset", "export", "air", &parquet], &condition[..]].concat())?;
    ensure!(some["rows"] == ndjson.stdout.lines().count(), "{some}");
    ensure!(site.server.stop()?.success());
    Ok(())
}
