//! What a hot path is.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use futures::future::LocalBoxFuture;

/// A path that is counted.
pub(crate) struct HotPath {
    /// Its name in `bench/counts.json`; a new name is a new path.
    pub(crate) name: &'static str,
    /// How often it is run, N: the other run is twice as long.
    pub(crate) times: usize,
    /// What one run of it does.
    pub(crate) what: &'static str,
    /// Prepares and then runs it [`Run::times`] times.
    pub(crate) run: fn(Run) -> LocalBoxFuture<'static, Result<()>>,
}

/// One counted process.
pub(crate) struct Run {
    /// How often the path is run.
    pub(crate) times: usize,
    /// The most that it is ever run: prepare inputs for so many, so that what
    /// preparing costs does not depend on `times`.
    pub(crate) times_max: usize,
    /// An empty folder.
    pub(crate) folder: PathBuf,
}

impl HotPath {
    /// Runs it on a runtime of one thread.
    pub(crate) fn run(&self, times: usize, folder: &Path) -> Result<()> {
        let times_max = 2 * self.times;
        ensure!(times <= times_max, "{} is run at most {times_max} times", self.name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on((self.run)(Run { times, times_max, folder: folder.to_owned() }))
    }
}
