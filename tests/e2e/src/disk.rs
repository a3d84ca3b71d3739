//! Disks that are full.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A small file system that everybody may use, which ends with this value.
pub struct Disk(TempDir);

impl Disk {
    /// One of so many MiB. None, said loudly, where it cannot be mounted, for which one has to be root,
    /// and which `CI=true` requires.
    ///
    /// # Errors
    /// When it cannot be mounted and has to be.
    pub fn of_mib(mib: usize) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let options = format!("size={mib}m,mode=1777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
        if mount.status().is_ok_and(|status| status.success()) {
            return Ok(Some(Self(folder)));
        }
        ensure!(
            std::env::var_os("CI").is_none(),
            "a small file system cannot be mounted here, and CI needs it"
        );
        eprintln!("SKIPPED: mounting a small file system needs root");
        Ok(None)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves so many MiB of what is free, until the file is removed.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn leave(&self, mib: usize) -> Result<PathBuf> {
        let free =
            Command::new("df").args(["--output=avail", "--block-size=1M"]).arg(self.path()).output()?;
        let free = String::from_utf8(free.stdout)?;
        let free: usize = free.lines().last().context("a number")?.trim().parse()?;
        let ballast = self.path().join("ballast");
        std::fs::write(&ballast, vec![1; free.checked_sub(mib).context("there is less")? << 20])?;
        Ok(ballast)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is still open there ends with its owner.
        let ended = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !ended.is_ok_and(|status| status.success()) {
            eprintln!("a small file system of a test's own is still mounted at {}", self.path().display());
        }
    }
}
