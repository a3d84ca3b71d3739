//! Builds the paths and counts them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use crate::shell;

/// The profile of the build, see `Cargo.toml`.
const PROFILE: &str = "counts";
const PACKAGE: &str = "orderwire-counts";

/// Instructions by path.
pub(super) type Counts = BTreeMap<String, u64>;

/// A path as the program lists it.
#[derive(Debug, PartialEq, Eq)]
struct HotPath {
    name: String,
    /// N.
    times: u64,
    what: String,
}

/// Whether callgrind runs on this machine.
pub(crate) fn works() -> bool {
    shell::succeeds(Command::new("valgrind").args([
        "--tool=callgrind",
        "--command-line-only=yes",
        "--callgrind-out-file=/dev/null",
        "true",
    ]))
}

/// Counts every path; what callgrind wrote stays in the folder.
pub(super) fn count() -> Result<(Counts, PathBuf)> {
    ensure!(
        works(),
        "valgrind does not run here; it is a package of that name in every distribution of Linux"
    );
    let program = shell::build(PACKAGE, &["--profile", PROFILE])?;
    let paths = list(&shell::output(&mut Command::new(&program))?)?;
    let folder = program.parent().context("a program is in a folder")?.join("callgrind");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    eprintln!("counting, with callgrind's files in {}:", folder.display());
    let counts = in_parallel(&paths, |path| {
        let one = instructions(&program, &folder, path, path.times)?;
        let two = instructions(&program, &folder, path, 2 * path.times)?;
        let more = two.checked_sub(one).filter(|more| *more > 0);
        let more =
            more.with_context(|| format!("{}: twice as often took no more instructions", path.name))?;
        let count = more / path.times;
        eprintln!("  {:<24} {:>14}  {}", path.name, super::record::digits(count), path.what);
        Ok((path.name.clone(), count))
    })?;
    Ok((counts, folder))
}

/// Runs a path so many times, in a process that knows nothing of this one: not its
/// environment, whose size moves the stack, nor anybody's settings of valgrind.
fn instructions(program: &Path, folder: &Path, path: &HotPath, times: u64) -> Result<u64> {
    let stem = format!("{}-{times}", path.name);
    let (out, data) = (folder.join(format!("{stem}.out")), folder.join(format!("{stem}.data")));
    std::fs::create_dir(&data).with_context(|| format!("make {}", data.display()))?;
    let mut valgrind = Command::new(valgrind()?);
    valgrind.env_clear().current_dir(folder);
    valgrind.args(["--tool=callgrind", "--command-line-only=yes", "--quiet"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(program).arg(&path.name).arg(times.to_string()).arg(&data);
    shell::output(&mut valgrind)?;
    std::fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))?;
    let text = std::fs::read_to_string(&out).with_context(|| format!("read {}", out.display()))?;
    total(&text).with_context(|| format!("read {}", out.display()))
}

/// Where it is: the environment that it runs in has no PATH.
fn valgrind() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("valgrind")).find(|file| file.is_file());
    found.context("valgrind is not on the PATH")
}

/// One path at a time and core.
fn in_parallel(
    paths: &[HotPath],
    count: impl Fn(&HotPath) -> Result<(String, u64)> + Sync,
) -> Result<Counts> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, counts) = (Mutex::new(paths.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let Some(path) = next.lock().expect("nobody panics with it").next() else { return };
                    let counted = count(path);
                    counts.lock().expect("nobody panics with it").push(counted);
                }
            });
        }
    });
    counts.into_inner().expect("nobody panics with it").into_iter().collect()
}

/// The paths, one `name TAB times TAB what` a line.
fn list(text: &str) -> Result<Vec<HotPath>> {
    let path = |line: &str| {
        let mut parts = line.splitn(3, '\t').map(str::to_owned);
        let (name, times, what) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        (times > 0).then_some(HotPath { name, times, what })
    };
    let paths: Vec<HotPath> = text
        .lines()
        .map(|line| path(line).with_context(|| format!("{line:?} is no path of {PACKAGE}")))
        .collect::<Result<_>>()?;
    ensure!(!paths.is_empty(), "{PACKAGE} lists no path");
    Ok(paths)
}

/// The instructions of a whole file of callgrind's.
fn total(text: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    line.and_then(|line| line.trim().parse().ok()).context("callgrind wrote no sum")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_line_by_line() {
        let path = HotPath { name: "append-1".into(), times: 40, what: "one event, one commit".into() };
        assert_eq!(list("append-1\t40\tone event, one commit\n").unwrap(), [path]);
        for bad in ["", "append-1", "append-1\tforty\tx", "append-1\t0\tx"] {
            assert!(list(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_sum_is_read_from_what_callgrind_writes() {
        assert_eq!(total("events: Ir\nsummary: 126557\n\nfn=(1)\n31 1\n").unwrap(), 126_557);
        assert!(total("events: Ir\n31 1\n").is_err());
    }
}
