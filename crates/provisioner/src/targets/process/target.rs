//! The target: the contract of [`crate::target`] over supervisors.

use std::collections::{BTreeMap, HashMap};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Resource as Limit, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;
use uuid::Uuid;

use super::folder::Folder;
use super::health::{health, of_process, resource};
use super::manifest::{self, FILE, FileSpec, PROCESS, Parsed, ProcessSpec};
use super::protocol::{self, Assignment, Phase};
use super::supervised::{END_BOUND, Start, Status, Supervised};
use super::{HOME, RELEASE, diff, leftovers};
use crate::target::{
    Desired, Effect, Error, FieldChange, Grant, Manifest, Observed, Placement, Planned, Target,
};

/// Changes that a slow receiver may be behind.
const CHANGES: usize = 1_024;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
    doors: Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>,
    changed: broadcast::Sender<Uuid>,
}

/// Held by whoever changes a release. Work on a thread of its own goes on when its
/// call is dropped; it keeps the door, so that the next call waits for it.
type Door = Arc<tokio::sync::OwnedMutexGuard<()>>;

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
            doors: Mutex::default(),
            changed: broadcast::channel(CHANGES).0,
        }
    }

    async fn enter(&self, release: Uuid) -> Door {
        let door =
            self.doors.lock().unwrap_or_else(PoisonError::into_inner).entry(release).or_default().clone();
        Arc::new(door.lock_owned().await)
    }

    /// Takes the door out, unless somebody else waits for it: who came next would have
    /// another.
    fn leave(&self, release: Uuid, door: &Door) {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = Arc::strong_count(tokio::sync::OwnedMutexGuard::mutex(door)) > 2;
        if !waits {
            doors.remove(&release);
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
        let door = door.clone();
        let cleared = blocking(move || {
            let _door = door;
            leftovers::clear(&home, release)
        });
        names.extend(cleared.await?);
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

    fn assignment(
        &self,
        placement: &Placement,
        desired: &Desired,
        grant: &Grant,
        processes: Vec<ProcessSpec>,
    ) -> Assignment {
        let folder = Folder::new(&self.options.folder, placement.release);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let path = std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned());
        let base = [
            ("PATH", path),
            ("HOME", text(&folder.work())),
            ("LANG", "C.UTF-8".to_owned()),
            ("TMPDIR", text(&folder.temporary())),
        ];
        let trace = desired.trace.w3c();
        let span = placement.release.as_u64_pair().1;
        let own = [
            ("ORDERWIRE_TRACE_ID", desired.trace.to_string()),
            ("TRACEPARENT", format!("00-{trace}-{span:016x}-01")),
            ("ORDERWIRE_CLIENT", placement.client.to_string()),
            ("ORDERWIRE_ENVIRONMENT", placement.environment.clone()),
            ("ORDERWIRE_NAME", placement.name.clone()),
            ("ORDERWIRE_PRODUCT", placement.product.clone()),
            (RELEASE, placement.release.to_string()),
            (HOME, text(&self.options.folder)),
        ];
        let named = |values: &[(&str, String)]| -> Vec<(String, String)> {
            values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        Assignment {
            lock: folder.lock(),
            ports: folder.ports(),
            work: folder.work(),
            program: self.options.program.clone(),
            supervise: self.options.supervise.clone(),
            grace: self.options.grace,
            beat: self.options.beat,
            memory: self.options.memory,
            open_files: self.open_files,
            base: named(&base),
            given: grant.values.iter().cloned().chain(named(&own)).collect(),
            processes,
        }
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
        let folder = Folder::new(&self.options.folder, placement.release);
        let files = blocking(move || files_on_disk(&folder)).await?;
        for (path, (name, content)) in files {
            let as_desired = parsed.files.iter().find(|file| file.name == name && file.path == path);
            let manifest =
                desired.manifests.iter().find(|other| other.kind() == FILE && other.name() == name);
            let mut manifest = manifest.filter(|_| as_desired.is_some()).cloned().unwrap_or_else(|| {
                Manifest(json!({"apiVersion": "orderwire.dev/v1", "kind": FILE, "metadata": {"name": name},
                    "spec": {"path": path}}))
            });
            manifest.0["spec"]["content"] = String::from_utf8_lossy(&content).into();
            there.push(manifest);
        }
        Ok(there)
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
        let door = self.enter(placement.release).await;
        let folder = Folder::new(&self.options.folder, placement.release);
        let runs = self.supervisor(placement.release).filter(|supervisor| {
            let has_given_up = supervisor.status().states.iter().any(|state| state.phase == Phase::Failed);
            supervisor.manifests == desired.manifests
                && supervisor.grant == fingerprint(grant)
                && !supervisor.is_ending()
                && !has_given_up
        });
        let assignment = self.assignment(placement, desired, grant, processes);
        let line = protocol::line(&assignment)?;
        let (held, to) = (door.clone(), folder.clone());
        let staged = blocking(move || {
            let _door = held;
            to.stage(&files)
        })
        .await?;
        // Only now: what cannot be written leaves the former revision running.
        if runs.is_none() {
            self.end(placement.release, &door).await?;
        }
        let held = door.clone();
        blocking(move || {
            let _door = held;
            folder.place(&staged)
        })
        .await?;
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
        let folder = Folder::new(&self.options.folder, placement.release);
        let paths: Vec<FileSpec> = parsed.files.clone();
        let missing = blocking(move || missing_files(&folder, paths)).await?;
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
        let door = self.enter(release).await;
        let mut processes = self.end(release, &door).await?;
        processes.sort_unstable();
        processes.dedup();
        let mut removed: Vec<String> =
            processes.into_iter().map(|name| format!("{PROCESS} {name}")).collect();
        let folder = Folder::new(&self.options.folder, release);
        let home = self.options.folder.clone();
        let held = door.clone();
        let (files, was_there) = blocking(move || {
            let _door = held;
            let files = files_on_disk(&folder)?;
            let was_there = folder.remove()?;
            // What was started while it was looked at would be found now.
            leftovers::clear(&home, release)?;
            Ok((files, was_there))
        })
        .await?;
        removed.extend(files.into_values().map(|(name, _)| format!("{FILE} {name}")));
        if was_there {
            removed.push(format!("Folder {release}"));
        }
        self.leave(release, &door);
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

/// A value that no environment can hold would fail every start.
fn check_grant(grant: &Grant) -> Result<(), Error> {
    let wrong = |(name, value): &&(String, String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    match grant.values.iter().find(wrong) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::Refused(format!("secret {name} holds a zero byte or has no usable name")))
        }
    }
}

fn fingerprint(grant: &Grant) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, value) in &grant.values {
        for text in [name, value] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    hash.finalize().into()
}

/// Of the files that were declared last, those that are there: their names and
/// contents by their paths.
fn files_on_disk(folder: &Folder) -> Result<BTreeMap<String, (String, Vec<u8>)>, Error> {
    let mut files = BTreeMap::new();
    for (path, name) in folder.declared()? {
        if let Some(content) = folder.read(&path)? {
            files.insert(path, (name, content));
        }
    }
    Ok(files)
}

fn missing_files(folder: &Folder, files: Vec<FileSpec>) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for file in files {
        if !folder.has(&file.path)? {
            missing.push(file.name);
        }
    }
    Ok(missing)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Unavailable(format!("it was given up: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn a_door_stays_the_same_while_somebody_waits_for_it() {
        let home = tempfile::tempdir().unwrap();
        let target = ProcessTarget::new(ProcessOptions {
            folder: home.path().to_owned(),
            program: "/nowhere".into(),
            supervise: Vec::new(),
            memory: 1 << 30,
            grace: Duration::ZERO,
            beat: BEAT,
        });
        let release = Uuid::new_v4();
        let first = target.enter(release).await;
        let mut second = std::pin::pin!(target.enter(release));
        assert!(poll!(&mut second).is_pending());
        target.leave(release, &first);
        drop(first);
        let second = second.await;
        assert!(poll!(std::pin::pin!(target.enter(release))).is_pending(), "two are inside");
        target.leave(release, &second);
        assert!(target.doors.lock().unwrap().is_empty());
    }
}
