//! `cargo xtask counts`: the instructions of hot paths against what was recorded, a
//! guard against slower code that noise does not touch.
//!
//! The paths are those of `bench/counts`. Each runs N and 2N times under callgrind;
//! the difference, divided by N, is compared with `bench/counts.json`.

mod callgrind;
mod record;
mod tools;

pub(crate) use callgrind::works;

use anyhow::{Context, Result, bail};

use crate::shell;
use record::Record;
use tools::Tools;

/// How far a count may be from the recorded one, as a share of it.
const TOLERANCE: f64 = 0.03;
/// The same where other tools recorded it, which make other code of the same source.
const TOLERANCE_OF_OTHERS: f64 = 0.10;

/// Counts every path and compares. Where callgrind cannot run it is an error.
pub(crate) fn run(update: bool) -> Result<()> {
    let root = shell::root();
    let tools = Tools::here().context("find out what the counts depend on")?;
    let recorded = Record::read(&root)?;
    let (now, folder) = callgrind::count()?;
    let tolerance = match recorded.as_ref().map(|recorded| recorded.tools.differences(&tools)) {
        Some(differences) if !differences.is_empty() => {
            eprintln!(
                "WARNING: the counts were recorded with other tools, so each is held to {:.0} % only: {}",
                TOLERANCE_OF_OTHERS * 100.0,
                differences.join("; ")
            );
            TOLERANCE_OF_OTHERS
        }
        _ => TOLERANCE,
    };
    let counts = recorded.as_ref().map(|recorded| &recorded.instructions);
    let rows = record::compare(counts.unwrap_or(&Default::default()), &now, tolerance);
    print!("{}", record::table(&rows));
    if update {
        let record = Record::renewed(recorded, tools, rows);
        record.write(&root)?;
        eprintln!("recorded in {}", record::FILE);
        return Ok(());
    }
    let wrong: Vec<&str> =
        rows.iter().filter(|row| !row.verdict.is_fine()).map(|row| row.name.as_str()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "not as recorded: {}. What costs where is said by callgrind_annotate of the files in {}; a change on \
         purpose is recorded with `cargo xtask counts --update`, and its commit says why",
        wrong.join(", "),
        folder.display()
    )
}

/// The same as a part of `cargo xtask check`: skipped loudly where callgrind cannot
/// run, which under `CI=true` is an error.
pub(crate) fn check() -> Result<()> {
    if works() || shell::ci() {
        return run(false);
    }
    eprintln!(
        "WARNING: skipped, valgrind does not run here (a failure under CI=true): the instruction counts"
    );
    Ok(())
}
