//! `cargo xtask check`: everything that a change must pass, cheapest first; at the end
//! the counts, which are a build of their own.

use anyhow::Result;

use crate::shell::{self, Stages, cargo};
use crate::{counts, test, tidy};

pub(crate) fn run() -> Result<()> {
    let mut stages = Stages::default();
    let outcome = every_stage(&mut stages);
    eprintln!("\n{}", stages.summary());
    outcome
}

fn every_stage(stages: &mut Stages) -> Result<()> {
    stages.stage("fmt", || shell::run(&mut cargo(["fmt", "--all", "--check"])))?;
    stages.stage("tidy", tidy::run)?;
    stages.stage("clippy", || {
        shell::run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    stages.stage("clippy with Kafka", || {
        let kafka = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "orderwire/kafka",
            "--",
            "-D",
            "warnings",
        ];
        shell::run(&mut cargo(kafka))
    })?;
    stages.stage("fuzz target", fuzz_target)?;
    stages.stage("docs", || {
        shell::run(cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    stages.stage("doc tests", || shell::run(&mut cargo(["test", "--workspace", "--doc"])))?;
    stages.stage("tests", || test::run(&[]))?;
    stages.stage("counts", counts::check)
}

/// Its workspace has a lock file of its own, and would build into a folder of its own, too.
fn fuzz_target() -> Result<()> {
    let mut check = cargo(["check", "--manifest-path", "fuzz/Cargo.toml", "--locked"]);
    shell::run(check.env("CARGO_TARGET_DIR", shell::target()?))
}
