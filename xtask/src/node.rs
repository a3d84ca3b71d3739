//! The packages of Node.js that tests run: what `tests/e2e/clients/package-lock.json` names, in the
//! target folder, installed when that changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// Where what is needed is named. The lock file holds no addresses of registries, so that each
/// machine asks its own.
const CLIENTS: &str = "tests/e2e/clients";

/// The files that say what is installed, and how.
const NAMED: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// The folder of the packages, installed into this folder if need be.
pub(crate) fn modules(folder: &Path) -> Result<PathBuf> {
    let mut wanted = String::new();
    for name in NAMED {
        let file = shell::root().join(CLIENTS).join(name);
        wanted += &std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    }
    let (modules, stamp) = (folder.join("node_modules"), folder.join("installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && modules.exists() {
        return Ok(modules);
    }
    eprintln!("installing packages of Node.js for the tests in {}", folder.display());
    std::fs::create_dir_all(folder)?;
    for name in NAMED {
        std::fs::copy(shell::root().join(CLIENTS).join(name), folder.join(name))?;
    }
    let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    shell::run(Command::new("npm").args(install).current_dir(folder))
        .context("npm is needed (Debian: npm)")?;
    std::fs::write(&stamp, wanted)?;
    Ok(modules)
}
