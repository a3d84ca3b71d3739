//! What the tests of the target `process` are written with.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use orderwire_provisioner::target::{Desired, Grant, Health, Manifest, Observed, Placement, Target};
use orderwire_provisioner::targets::process::{BEAT, ProcessOptions, ProcessTarget};
use orderwire_provisioner::testkit::{Factory, Refused, Sample};
use orderwire_types::TraceId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A program of this package, built with the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built", program.display());
    program
}

pub(crate) fn options(folder: &Path, grace: Duration) -> ProcessOptions {
    ProcessOptions {
        folder: folder.to_owned(),
        program: example("supervise"),
        supervise: vec!["supervise".to_owned()],
        memory: 1 << 30,
        grace,
        beat: BEAT,
    }
}

/// A process `main` that runs a shell script.
pub(crate) fn shell(script: &str, more: &Value) -> Manifest {
    let mut spec = json!({"command": ["sh", "-c", script], "restart": {"first": "20ms", "last": "50ms"}});
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    object("Process", "main", &spec)
}

pub(crate) fn file(name: &str, path: &str, content: &str) -> Manifest {
    object("File", name, &json!({"path": path, "content": content}))
}

pub(crate) fn object(kind: &str, name: &str, spec: &Value) -> Manifest {
    Manifest(
        json!({"apiVersion": "orderwire.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}),
    )
}

/// A process of a folder of releases, by its own words.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) started: String,
    pub(crate) is_supervisor: bool,
    pub(crate) environment: BTreeMap<String, String>,
}

/// What runs for a release, supervisors too.
pub(crate) fn running(folder: &Path, release: Uuid) -> Vec<Running> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let read = |pid: i32| {
        let look = || std::fs::read(format!("/proc/{pid}/environ")).ok();
        // One that becomes another program at this moment shows nothing.
        let bytes = std::iter::repeat_with(look).take(100).flatten().find(|bytes| !bytes.is_empty())?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines = text.split('\0').filter_map(|line| line.split_once('='));
        let environment: BTreeMap<String, String> =
            lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let is = |name: &str, value: &str| environment.get(name).is_some_and(|other| other == value);
        let is_supervisor = is("ORDERWIRE_SUPERVISES", &release.to_string());
        let is_of_it = is_supervisor || is("ORDERWIRE_RELEASE", &release.to_string());
        if !is_of_it || !is("ORDERWIRE_HOME", folder.to_str()?) {
            return None;
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let started = stat.rsplit(')').next()?.split_whitespace().nth(19)?.to_owned();
        Some(Running { pid, started, is_supervisor, environment })
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(read).collect()
}

pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Looks until it is so.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        // tidy: sleep because what other processes do tells no event
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Kills what a test has left running, so that nothing outlives it.
struct Tidy {
    folder: PathBuf,
    release: Uuid,
}

impl Drop for Tidy {
    fn drop(&mut self) {
        for running in running(&self.folder, self.release) {
            // Another of these may have taken it along.
            kill_process(Pid::from_raw(running.pid).unwrap(), Signal::KILL).ok();
        }
    }
}

/// One release on a target of its own.
pub(crate) struct Rig {
    _tidy: Tidy,
    pub(crate) home: tempfile::TempDir,
    pub(crate) target: ProcessTarget,
    pub(crate) placement: Placement,
    pub(crate) grant: Grant,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_grace(Duration::from_secs(5))
    }

    pub(crate) fn with_grace(grace: Duration) -> Self {
        let home = tempfile::tempdir().unwrap();
        let target = ProcessTarget::new(options(home.path(), grace));
        let placement = Placement {
            release: Uuid::new_v4(),
            client: "acme".parse().unwrap(),
            environment: "dev".to_owned(),
            name: "a".to_owned(),
            product: "sample".to_owned(),
            namespace: "acme".to_owned(),
        };
        let grant = Grant { values: vec![("ORDERWIRE_API_KEY".to_owned(), "a-secret-key".to_owned())] };
        let _tidy = Tidy { folder: home.path().to_owned(), release: placement.release };
        Self { _tidy, home, target, placement, grant }
    }

    pub(crate) fn desired(&self, manifests: &[Manifest]) -> Desired {
        let trace = TraceId::from_uuid(self.placement.release);
        Desired { revision: 1, trace, manifests: manifests.to_vec(), patience: PATIENCE }
    }

    pub(crate) async fn apply(&self, manifests: &[Manifest]) {
        self.target.apply(&self.placement, &self.desired(manifests), &self.grant).await.unwrap();
    }

    pub(crate) async fn observe(&self, manifests: &[Manifest]) -> Observed {
        self.target.observe(&self.placement, &self.desired(manifests)).await.unwrap()
    }

    pub(crate) async fn until(&self, manifests: &[Manifest], is_so: impl Fn(&Health) -> bool) -> Observed {
        let mut changes = self.target.changes();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let observed = self.observe(manifests).await;
            if is_so(&observed.health) {
                return observed;
            }
            assert!(Instant::now() < deadline, "never: {observed:?}");
            // The next look says whether it was a change or the end of the wait.
            tokio::time::timeout(Duration::from_millis(50), changes.recv()).await.ok();
        }
    }

    pub(crate) async fn bring_up(&self, manifests: &[Manifest]) -> Observed {
        self.apply(manifests).await;
        self.until(manifests, |health| *health == Health::Ready).await
    }

    pub(crate) async fn remove(&self) -> Vec<String> {
        self.target.remove(&self.placement).await.unwrap()
    }

    pub(crate) fn running(&self) -> Vec<Running> {
        running(self.home.path(), self.placement.release)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.home.path().join(self.placement.release.to_string())
    }

    /// A file of the working folder, once it has something.
    pub(crate) async fn written(&self, name: &str) -> String {
        let path = self.folder().join("work").join(name);
        let read = || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'));
        eventually(name, read).await
    }
}

/// For the suite.
pub(crate) struct ProcessFactory {
    home: tempfile::TempDir,
}

impl ProcessFactory {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }
}

const UP: &str = "echo up; exec sleep 1000";

#[async_trait]
impl Factory for ProcessFactory {
    async fn open(&self) -> Result<Arc<dyn Target>, String> {
        Ok(Arc::new(ProcessTarget::new(options(self.home.path(), Duration::from_secs(2)))))
    }

    fn sample(&self) -> Sample {
        let up = |environment: Value| {
            shell(UP, &json!({"ready": {"output": "up"}, "environment": environment, "ports": {"http": 0}}))
        };
        let page = file("page", "site/index.html", "hello");
        let refused =
            |manifests: Vec<Manifest>, names: &[&'static str]| Refused { manifests, names: names.to_vec() };
        Sample {
            healthy: vec![up(json!({})), page.clone(), file("note", "note", "1")],
            other: vec![up(json!({"A": "1"})), page, file("extra", "deep/er/extra", "2")],
            never_ready: vec![shell(UP, &json!({"ports": {"x": 0}, "ready": {"tcp": {"port": "x"}}}))],
            fails: vec![shell("echo no; exit 3", &json!({"failures": 2}))],
            refused: vec![
                refused(vec![object("Deployment", "main", &json!({}))], &["Deployment main", "kind"]),
                refused(vec![shell(UP, &json!({"reddy": 1}))], &["Process main", "spec.reddy"]),
                refused(vec![file("page", "../x", "")], &["File page", "spec.path"]),
            ],
            patience: PATIENCE,
        }
    }

    async fn things(&self, release: Uuid) -> Result<BTreeSet<String>, String> {
        let mut things: BTreeSet<String> = running(self.home.path(), release)
            .into_iter()
            .map(|running| format!("process {} {}", running.pid, running.started))
            .collect();
        let folder = self.home.path().join(release.to_string());
        if folder.exists() {
            things.insert("folder".to_owned());
        }
        files(&folder.join("work"), &mut things);
        Ok(things)
    }

    async fn address(&self, release: Uuid, port: &str) -> Result<Option<String>, String> {
        let variable = format!("PORT_{}", port.to_uppercase());
        let running = running(self.home.path(), release);
        let mut ports = running.iter().filter_map(|running| running.environment.get(&variable));
        Ok(ports.next().map(|port| format!("127.0.0.1:{port}")))
    }

    async fn disturb(&self, release: Uuid) -> Result<(), String> {
        let file = self.home.path().join(release.to_string()).join("work/site/index.html");
        std::fs::write(file, "disturbed").map_err(|error| error.to_string())
    }

    async fn break_down(&self, release: Uuid) -> Result<(), String> {
        let running = running(self.home.path(), release);
        kill(running.iter().find(|running| running.is_supervisor).ok_or("nothing runs")?.pid);
        Ok(())
    }

    fn ends_with_orderwire(&self) -> bool {
        true
    }
}

fn files(folder: &Path, things: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, things);
        } else {
            let inode = std::fs::metadata(&path).map_or(0, |metadata| metadata.ino());
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            things.insert(format!("file {} {inode} {text}", path.display()));
        }
    }
}
