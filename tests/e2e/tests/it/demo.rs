//! `orderwire demo`, as a newcomer runs it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::binary;

use crate::readme::checkout;

/// The numbered headlines: `1. Rows in: …`.
fn headlines(text: &str) -> Vec<&str> {
    let is_numbered =
        |line: &&str| line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
    text.lines().filter(is_numbered).collect()
}

/// Runs the demo until it has shown everything, then presses Ctrl-C.
fn demo(data: &std::path::Path) -> Result<(Vec<String>, std::process::ExitStatus)> {
    let mut child = Command::new(binary())
        .args(["demo", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let done = line.starts_with("Ctrl-C");
        lines.push(line);
        if done {
            let pid = child.id().to_string();
            ensure!(Command::new("kill").args(["-INT", &pid]).status()?.success());
        }
    }
    Ok((lines, child.wait()?))
}

#[test]
fn the_demo_shows_the_line_and_ends_cleanly_twice() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for run in ["first", "second"] {
        let (lines, status) = demo(&folder.path().join("data"))?;
        let text = lines.join("\n");
        ensure!(status.success(), "{run}: {status}\n{text}");
        ensure!(lines.last().is_some_and(|line| line.starts_with("Ctrl-C")), "{run}: {text}");
        for shown in [
            "\"cache\": false",
            "\"cache\": true",
            "TimeInstant",
            "accepted",
            "attempt",
            "provisioner",
            "acme",
        ] {
            ensure!(text.contains(shown), "{run}: {shown} is missing in\n{text}");
        }
        let traces = text.matches("state done").count();
        let wanted = if run == "first" { 3 } else { 2 };
        ensure!(
            traces == wanted && !text.contains("state open"),
            "{run}: {traces} traces are done in\n{text}"
        );
        if run == "first" {
            let readme = std::fs::read_to_string(checkout()?.join("README.md"))?;
            let (_, tour) = readme.split_once("\n## A tour\n").context("the tour of the README")?;
            let tour = tour.split("\n## ").next().unwrap_or(tour);
            let (shown, told) = (headlines(&text), headlines(tour));
            ensure!(shown == told, "the demo and the README's tour differ:\n{shown:#?}\n{told:#?}");
        }
        let imported = match run {
            "first" => "1,200 rows accepted and recorded",
            _ => "the same file twice adds nothing",
        };
        let ordered = match run {
            "first" => "ready: release sensor in dev, revision 1",
            _ => "nothing was restarted",
        };
        ensure!(text.contains(ordered), "{run}: {ordered} is missing in\n{text}");
        ensure!(text.contains(imported), "{run}: {imported} is missing in\n{text}");
    }
    Ok(())
}
