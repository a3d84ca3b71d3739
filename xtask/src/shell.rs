//! Running other programs, and saying what ran and how long it took.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Where the checkout is.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().expect("xtask is a folder of the checkout").to_path_buf()
}

/// Whether this runs as continuous integration, where a skip is a failure.
pub(crate) fn ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// A call of the cargo that runs us, in the root of the checkout.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(args);
    command
}

/// Runs a command to its end with its output shown; anything but success is an
/// error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}

/// Runs a command to its end and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("start {shown}"))?;
    if !output.status.success() {
        bail!("{shown} failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("read the output of {shown}"))
}

/// Builds the program of a package, named as the package, and returns where it is.
pub(crate) fn build(package: &str, args: &[&str]) -> Result<PathBuf> {
    let mut command = cargo(["build", "--package", package, "--bin", package]);
    command.args(args);
    eprintln!("$ {}", show(&command));
    let messages = output(command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()))?;
    executable(&messages, package).with_context(|| format!("find the {package} that cargo built"))
}

/// The folder that cargo builds into.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = output(&mut cargo(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("read cargo's metadata")?;
    Ok(metadata["target_directory"].as_str().context("cargo names its target folder")?.into())
}

/// The path of the executable among cargo's messages, one JSON object a line.
fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(line).context("read cargo's message")?;
        if message["reason"] == "compiler-artifact"
            && message["target"]["name"] == name
            && let Some(path) = message["executable"].as_str()
        {
            return Ok(path.into());
        }
    }
    bail!("cargo named no executable called {name}")
}

/// Whether a command runs and succeeds, silently.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The parts of a longer run, with the time that each took.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    done: Vec<(&'static str, Duration)>,
}

impl Stages {
    /// Runs one part; its failure ends the run and names it.
    pub(crate) fn stage(&mut self, name: &'static str, part: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("\n== {name}");
        let begun = Instant::now();
        let outcome = part();
        let took = begun.elapsed();
        let word = if outcome.is_ok() { "done" } else { "FAILED" };
        eprintln!("== {name}: {word} in {:.1} s", took.as_secs_f64());
        self.done.push((name, took));
        outcome.with_context(|| format!("stage {name}"))
    }

    /// One line with every part and the sum.
    pub(crate) fn summary(&self) -> String {
        let parts: Vec<String> =
            self.done.iter().map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f64())).collect();
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        format!("{}; {:.1} s in all", parts.join(", "), total.as_secs_f64())
    }
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_read_from_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"orderwire_types"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"orderwire"},"executable":"/t/debug/orderwire"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages, "orderwire").unwrap(), PathBuf::from("/t/debug/orderwire"));
        assert!(executable(messages, "orderwire-counts").is_err());
    }
}
