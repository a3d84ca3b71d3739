//! `cargo xtask test`: says what the machine has, builds the binary that the
//! end-to-end tests drive, and runs the tests.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{self, cargo};
use crate::{needs, node, python};

/// The packages whose tests drive the real binary.
const DRIVE_THE_BINARY: &[&str] = &["orderwire-e2e"];

/// The packages whose tests start a Kafka.
const START_KAFKA: &[&str] = &["orderwire-e2e", "orderwire-broker-kafka"];

/// Runs the tests with cargo-nextest where it is installed, else with
/// `cargo test`. Without a package among `extra` it is the whole workspace.
pub(crate) fn run(extra: &[String]) -> Result<()> {
    needs::report()?;
    let selected = selected(extra);
    let mut command = runner(extra, selected.is_empty());
    let wants =
        |some: &[&str]| selected.is_empty() || selected.iter().any(|name| some.contains(&name.as_str()));
    if wants(DRIVE_THE_BINARY) {
        // By itself, with the features that users get: built together with the tests
        // it would carry what their dependencies switch on.
        command.env("ORDERWIRE_BIN_KAFKA", with_kafka()?);
        command.env("ORDERWIRE_BIN", shell::build("orderwire", &[])?);
        command.env("ORDERWIRE_NODE_MODULES", node::modules(&shell::target()?.join("test-node"))?);
    }
    if wants(START_KAFKA) {
        let python = python::interpreter(&shell::target()?.join("test-python"))?;
        if std::env::var_os("KAFKA_SERVER").is_none() {
            command.env("KAFKA_SERVER", python::kafka(&python)?);
        }
        command.env("ORDERWIRE_PYTHON", python);
    }
    shell::run(&mut command)
}

/// The binary that knows Kafka, beside the one that does not and is built under the same name.
fn with_kafka() -> Result<PathBuf> {
    let built = shell::build("orderwire", &["--features", "kafka"])?;
    let kept = built.with_file_name("orderwire-kafka");
    match std::fs::remove_file(&kept) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("remove the former binary"),
        _ => std::fs::hard_link(&built, &kept).context("keep the binary that knows Kafka"),
    }?;
    Ok(kept)
}

/// `cargo test` or `cargo nextest run`. Doc tests are a stage of their own,
/// because nextest does not run them.
fn runner(extra: &[String], whole: bool) -> Command {
    let nextest = shell::succeeds(&mut cargo(["nextest", "--version"]));
    let mut command = if nextest { cargo(["nextest", "run"]) } else { cargo(["test", "--tests"]) };
    if nextest && shell::ci() {
        command.args(["--profile", "ci"]);
    }
    if !nextest {
        // One run shows every failure, as the profile of nextest does.
        command.arg("--no-fail-fast");
    }
    if whole {
        command.arg("--workspace");
    }
    command.args(extra);
    command
}

/// The packages that the caller chose; none means all.
fn selected(extra: &[String]) -> Vec<String> {
    let mut packages = Vec::new();
    let mut args = extra.iter().take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        if arg == "-p" || arg == "--package" {
            packages.extend(args.next().cloned());
        } else if let Some(name) = arg.strip_prefix("--package=").or_else(|| arg.strip_prefix("-p")) {
            packages.push(name.to_owned());
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn packages_are_found_in_every_spelling() {
        let line = "-p orderwire-types --package orderwire-e2e --package=orderwire-cli a_filter";
        assert_eq!(selected(&words(line)), ["orderwire-types", "orderwire-e2e", "orderwire-cli"]);
        assert_eq!(selected(&words("-porderwire-types")), ["orderwire-types"]);
    }

    #[test]
    fn what_follows_two_dashes_is_the_tests_own() {
        assert!(selected(&words("kill -- -p not-a-package")).is_empty());
    }
}
