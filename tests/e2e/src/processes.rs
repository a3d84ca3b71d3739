//! Processes that a server has started for releases, as the system shows them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::PATIENCE;

/// The processes whose environment names this release, by id.
pub fn of_release(release: &str) -> Result<Vec<u32>> {
    with_environment(|variables| variables.iter().any(|it| *it == format!("ORDERWIRE_RELEASE={release}")))
}

/// The processes that run below this data folder, by their environment.
pub fn of_data(data: &Path) -> Result<Vec<u32>> {
    let folder = data.to_string_lossy().into_owned();
    with_environment(|variables| variables.iter().any(|it| it.starts_with("HOME=") && it.contains(&folder)))
}

/// The processes of this release that run the module of this name, by id.
pub fn running(release: &str, module: &str) -> Result<Vec<u32>> {
    let runs = |pid: &u32| {
        // It may have ended meanwhile.
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("\0{module}\0"))
    };
    Ok(of_release(release)?.into_iter().filter(runs).collect())
}

/// Waits until as many of them are there as wanted.
pub fn until_running(release: &str, module: &str, wanted: impl Fn(usize) -> bool) -> Result<Vec<u32>> {
    until(|| running(release, module), |found| wanted(found.len()))
}

/// Waits until as many processes of the release are there as wanted.
pub fn until_count(release: &str, wanted: impl Fn(usize) -> bool) -> Result<Vec<u32>> {
    until(|| of_release(release), |found| wanted(found.len()))
}

/// Waits until no process runs below the data folder.
pub fn until_none(data: &Path) -> Result<()> {
    until(|| of_data(data), Vec::is_empty).map(drop)
}

fn until<T: std::fmt::Debug>(look: impl Fn() -> Result<T>, wanted: impl Fn(&T) -> bool) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = look()?;
        if wanted(&found) {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "the processes never got as wanted; last: {found:?}");
        // tidy: sleep because the processes are no children of ours and there is no event to await
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Zombies have no environment any more, so that they do not count.
fn with_environment(wanted: impl Fn(&[String]) -> bool) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        // It may have ended meanwhile.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let variables: Vec<String> =
            environment.split(|byte| *byte == 0).map(|it| String::from_utf8_lossy(it).into_owned()).collect();
        if wanted(&variables) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}
