//! The target: the contract of [`crate::target`] over supervisors.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Resource as Limit, Rlimit, getrlimit, setrlimit};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::assignment::{check_grant, fingerprint};
use super::doors::{Door, Doors, blocking};
use super::folder::Folder;
use super::health::{health, of_process, resource};
use super::manifest::{self, FILE, PROCESS, Parsed};
use super::protocol::{self, Assignment, Phase};
use super::supervised::{END_BOUND, Start, Status, Supervised};
use super::{diff, disk, leftovers};
use crate::target::{
    Desired, Effect, Error, FieldChange, Grant, Manifest, Observed, Placement, Planned, Target,
};

/// Changes that a slow receiver may be behind.
const CHANGES: usize = 1_024;

/// What the target is made with.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// Where every release has its folder. Made when it is not there.
    pub folder: PathBuf,
    /// The program that calls [`super::supervise`], and what `orderwire` in a command
    /// stands for.
    pub program: PathBuf,
    /// The arguments with which it does: `supervise`.
    pub supervise: Vec<String>,
    /// The most memory that a process may take, in bytes; its manifest may say less.
    pub memory: u64,
    /// How long a process has to end after SIGTERM, before SIGKILL.
    pub grace: Duration,
    /// How often a supervisor reports at least; one that has missed four reports in a row
    /// hangs, is killed and with it what it runs. Longer than a busy machine may hold it
    /// up: [`BEAT`].
    pub beat: Duration,
}

/// How long [`Target::stop`] may take beyond the grace.
pub const STOP_MARGIN: Duration = END_BOUND.saturating_add(leftovers::STOP_BOUND);

/// How often supervisors report.
pub const BEAT: Duration = Duration::from_secs(5);

/// Runs releases as processes of this machine.
pub struct ProcessTarget {
    options: ProcessOptions,
    /// The limit of open files that Orderwire was started with.
    open_files: Option<u64>,
    supervisors: Mutex<HashMap<Uuid, Arc<Supervised>>>,
    doors: Doors,
    changed: broadcast::Sender<Uuid>,
}

impl ProcessTarget {
    /// Over a folder that no other Orderwire uses. Kills what runs for it without a
    /// supervisor: the last Orderwire and its supervisors were killed.
    pub fn new(mut options: ProcessOptions) -> Self {
        // The folder marks processes, so it has to have one spelling, from the start.
        // Where it cannot be made, an apply says why.
        DirBuilder::new().recursive(true).mode(0o700).create(&options.folder).ok();
        let absolute = std::path::absolute(&options.folder).unwrap_or_else(|_| options.folder.clone());
        options.folder = absolute.canonicalize().unwrap_or(absolute);
        metrics::describe_gauge!("orderwire_target_processes", "Processes of releases that run");
        metrics::describe_counter!(
            "orderwire_target_output_dropped_total",
            "Lines of output of processes that were dropped, because there were too many"
        );
        if let Err(error) = leftovers::kill_unsupervised(&options.folder) {
            // Each release tries again before it starts anything.
            tracing::warn!(%error, "processes of an earlier run may be left");
        }
        Self {
            options,
            open_files: raise_open_files(),
            supervisors: Mutex::default(),
            doors: Doors::default(),
            changed: broadcast::channel(CHANGES).0,
        }
    }

    fn supervisor(&self, release: Uuid) -> Option<Arc<Supervised>> {
        self.supervisors().get(&release).cloned()
    }

    fn supervisors(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Supervised>>> {
        self.supervisors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the supervisor and everything of the release that runs; returns the names
    /// of the processes.
    async fn end(&self, release: Uuid, door: &Door) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        if let Some(supervisor) = self.supervisor(release) {
            let states = supervisor.status().states;
            names.extend(states.into_iter().filter(|state| state.phase.runs()).map(|state| state.name));
            supervisor.end().await?;
        }
        let home = self.options.folder.clone();
        names.extend(door.blocking(move || leftovers::clear(&home, release)).await?);
        self.supervisors().remove(&release);
        Ok(names)
    }

    async fn start(
        &self,
        placement: &Placement,
        desired: &Desired,
        grant: &Grant,
        assignment: &[u8],
    ) -> Result<(), Error> {
        let supervisor = Supervised::start(Start {
            options: &self.options,
            placement,
            trace: desired.trace.to_string(),
            assignment,
            manifests: desired.manifests.clone(),
            grant: fingerprint(grant),
            revision: desired.revision,
            changed: self.changed.clone(),
        });
        let supervisor = supervisor.await?;
        self.supervisors().insert(placement.release, Arc::new(supervisor));
        self.tell(placement.release);
        Ok(())
    }

    /// What is there, as manifests: what runs and has not been given up, and the files
    /// as they are on disk. Desired files that are as desired are exactly as desired.
    async fn there(
        &self,
        placement: &Placement,
        desired: &Desired,
        parsed: &Parsed,
    ) -> Result<Vec<Manifest>, Error> {
        let mut there = Vec::new();
        if let Some(supervisor) =
            self.supervisor(placement.release).filter(|supervisor| !supervisor.is_ending())
        {
            there.extend(supervisor.manifests.iter().filter(|manifest| manifest.kind() == PROCESS).cloned());
        }
        let folder = self.folder(placement.release);
        let (manifests, files) = (desired.manifests.clone(), parsed.files.clone());
        there.extend(blocking(move || disk::manifests(&folder, &manifests, &files)).await?);
        Ok(there)
    }

    fn folder(&self, release: Uuid) -> Folder {
        Folder::new(&self.options.folder, release)
    }

    fn tell(&self, release: Uuid) {
        // Nobody may listen.
        self.changed.send(release).ok();
    }
}

#[async_trait]
impl Target for ProcessTarget {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn check(&self, manifests: &[Manifest]) -> Vec<String> {
        manifest::parse(manifests).err().unwrap_or_default()
    }

    fn ports(&self, manifest: &Manifest) -> Vec<String> {
        manifest::ports(manifest)
    }

    async fn plan(&self, placement: &Placement, desired: &Desired) -> Result<Vec<Planned>, Error> {
        let parsed = parse(desired)?;
        let there = self.there(placement, desired, &parsed).await?;
        let mut plan = diff::plan(&there, &desired.manifests);
        let states = self.supervisor(placement.release).map(|supervisor| supervisor.status().states);
        for state in states.into_iter().flatten().filter(|state| state.phase == Phase::Failed) {
            let given_up = |planned: &&mut Planned| planned.kind == PROCESS && planned.name == state.name;
            if let Some(planned) =
                plan.iter_mut().find(given_up).filter(|planned| planned.effect == Effect::Keep)
            {
                planned.effect = Effect::Change;
                planned.fields.push(FieldChange {
                    field: "/status/state".to_owned(),
                    old: Some("failed".into()),
                    new: Some("ready".into()),
                });
            }
        }
        Ok(plan)
    }

    async fn apply(&self, placement: &Placement, desired: &Desired, grant: &Grant) -> Result<(), Error> {
        let Parsed { processes, files } = parse(desired)?;
        check_grant(grant)?;
        let door = self.doors.enter(placement.release).await;
        let folder = self.folder(placement.release);
        let runs = self.supervisor(placement.release).filter(|supervisor| {
            let has_given_up = supervisor.status().states.iter().any(|state| state.phase == Phase::Failed);
            supervisor.manifests == desired.manifests
                && supervisor.grant == fingerprint(grant)
                && !supervisor.is_ending()
                && !has_given_up
        });
        let assignment =
            Assignment::new(&self.options, self.open_files, placement, desired, grant, processes);
        let line = protocol::line(&assignment)?;
        let to = folder.clone();
        let staged = door.blocking(move || to.stage(&files)).await?;
        // Only now: what cannot be written leaves the former revision running.
        if runs.is_none() {
            self.end(placement.release, &door).await?;
        }
        door.blocking(move || folder.place(&staged)).await?;
        match runs {
            Some(supervisor) => supervisor.hand_over(desired.revision),
            None => self.start(placement, desired, grant, &line).await?,
        }
        Ok(())
    }

    async fn observe(&self, placement: &Placement, desired: &Desired) -> Result<Observed, Error> {
        let parsed = parse(desired)?;
        let supervisor = self.supervisor(placement.release);
        let (status, runs) = match &supervisor {
            None => (Status::default(), Err("it does not run".to_owned())),
            Some(supervisor) => {
                let status = supervisor.status();
                let runs = match &status.ended {
                    Some(reason) => Err(reason.clone()),
                    None if supervisor.is_ending() => Err("it is being ended".to_owned()),
                    None if supervisor.revision() != desired.revision
                        || supervisor.manifests != desired.manifests =>
                    {
                        Err("another revision was handed over last".to_owned())
                    }
                    None => Ok(()),
                };
                (status, runs)
            }
        };
        let (folder, files) = (self.folder(placement.release), parsed.files.clone());
        let missing = blocking(move || disk::missing(&folder, &files)).await?;
        let mut resources = Vec::new();
        for process in &parsed.processes {
            let state = status.states.iter().find(|state| state.name == process.name);
            resources.push(match &runs {
                Err(reason) => resource(PROCESS, &process.name, "missing", Some(reason.clone())),
                Ok(()) => of_process(&process.name, state),
            });
        }
        for file in &parsed.files {
            let missing = missing.contains(&file.name).then(|| format!("file {} is not there", file.path));
            let state = if missing.is_some() { "missing" } else { "ready" };
            resources.push(resource(FILE, &file.name, state, missing));
        }
        Ok(Observed { health: health(runs, &resources), resources })
    }

    async fn remove(&self, placement: &Placement) -> Result<Vec<String>, Error> {
        let release = placement.release;
        let door = self.doors.enter(release).await;
        let mut processes = self.end(release, &door).await?;
        processes.sort_unstable();
        processes.dedup();
        let mut removed: Vec<String> =
            processes.into_iter().map(|name| format!("{PROCESS} {name}")).collect();
        let (folder, home) = (self.folder(release), self.options.folder.clone());
        let look_and_remove = move || {
            let files = disk::files(&folder)?;
            let was_there = folder.remove()?;
            // What was started while it was looked at would be found now.
            leftovers::clear(&home, release)?;
            Ok((files, was_there))
        };
        let (files, was_there) = door.blocking(look_and_remove).await?;
        removed.extend(files.into_values().map(|(name, _)| format!("{FILE} {name}")));
        if was_there {
            removed.push(format!("Folder {release}"));
        }
        self.doors.leave(release, &door);
        self.tell(release);
        Ok(removed)
    }

    async fn drift(&self, placement: &Placement, desired: &Desired) -> Result<Vec<Planned>, Error> {
        let mut plan = self.plan(placement, desired).await?;
        plan.retain(|planned| planned.effect != Effect::Keep);
        Ok(plan)
    }

    fn changes(&self) -> broadcast::Receiver<Uuid> {
        self.changed.subscribe()
    }

    async fn stop(&self) {
        let supervisors: Vec<_> = self.supervisors().iter().map(|(id, of)| (*id, of.clone())).collect();
        let ends = supervisors.iter().map(|(release, supervisor)| async move {
            if let Err(error) = supervisor.end().await {
                tracing::error!(release.id = %release, %error, "a release does not end");
            }
        });
        futures::future::join_all(ends).await;
        // What a supervisor that was killed has left, also of releases that nobody brings
        // back.
        let home = self.options.folder.clone();
        if let Err(error) = blocking(move || leftovers::kill_all(&home)).await {
            tracing::error!(%error, "processes may be left");
        }
        for (release, _) in supervisors {
            self.tell(release);
        }
    }
}

/// Lets Orderwire open as many files as it may: a supervisor needs some for each release.
/// Returns what was allowed before; that is for programs which count on it.
fn raise_open_files() -> Option<u64> {
    static FORMER: OnceLock<Option<u64>> = OnceLock::new();
    *FORMER.get_or_init(|| {
        let now = getrlimit(Limit::Nofile);
        let raised = Rlimit { current: now.maximum, maximum: now.maximum };
        if let Err(error) = setrlimit(Limit::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
        now.current
    })
}

fn parse(desired: &Desired) -> Result<Parsed, Error> {
    manifest::parse(&desired.manifests).map_err(|faults| Error::Refused(faults.join("; ")))
}
