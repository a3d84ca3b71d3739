//! Local processes: the target that needs nothing installed.
//!
//! Every release has a folder and, while it runs, a supervisor: the same program
//! with a hidden subcommand, which starts its processes, restarts and checks them,
//! and ends them. Orderwire tells it what to run over its standard input, so that
//! secrets are in no file and on no command line, and hears over its standard
//! output how it goes. When the input ends, Orderwire is gone, also by `kill -9`,
//! and the supervisor ends everything below it.
//!
//! Owner of the folder of releases. Invariants: at most one supervisor per release,
//! kept by a lock; whatever a release has started carries its id in the environment
//! and is found by it when a supervisor was killed.

mod assignment;
mod diff;
mod disk;
mod doors;
mod folder;
mod health;
mod leftovers;
mod manifest;
mod proc;
mod protocol;
mod supervised;
mod supervisor;
mod target;

pub use supervisor::supervise;
pub use target::{BEAT, ProcessOptions, ProcessTarget, STOP_MARGIN};

/// What the target would refuse of these objects, each with its object and field.
pub(crate) fn check(manifests: &[crate::target::Manifest]) -> Vec<String> {
    manifest::parse(manifests).err().unwrap_or_default()
}

/// The names of the ports of an object.
pub(crate) fn ports(manifest: &crate::target::Manifest) -> Vec<String> {
    manifest::ports(manifest)
}

/// The id of the release, on everything that runs for it.
const RELEASE: &str = "ORDERWIRE_RELEASE";
/// The folder of releases, on everything that runs below it.
const HOME: &str = "ORDERWIRE_HOME";
/// The name of the process, on it and what it starts.
const PROCESS: &str = "ORDERWIRE_PROCESS";
/// The id of the release, on its supervisor.
const SUPERVISES: &str = "ORDERWIRE_SUPERVISES";
