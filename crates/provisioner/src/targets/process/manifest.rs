//! The kinds `Process` and `File`: what their manifests may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::time::Duration;

use orderwire_config::ByteSize;
use orderwire_types::Label;
use orderwire_types::dataset::Span;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::probe::is_request_path;
use crate::target::Manifest;

pub(super) const PROCESS: &str = "Process";
pub(super) const FILE: &str = "File";

const API_VERSION: &str = "orderwire.dev/v1";
const PROCESSES_MAX: usize = 16;
const FILES_MAX: usize = 100;
const CONTENT_BYTES_MAX: usize = 1 << 20;
/// Of a command, or of an environment.
const TEXT_BYTES_MAX: usize = 64 << 10;
const PORTS_MAX: usize = 16;
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// A process, as its supervisor gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ProcessSpec {
    pub(super) name: String,
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// By name; 0 is any free one.
    pub(super) ports: BTreeMap<String, u16>,
    /// `None`: it is ready once it has run for `settle`.
    pub(super) ready: Option<Ready>,
    pub(super) settle: Duration,
    pub(super) limits: Limits,
    pub(super) restart_first: Duration,
    pub(super) restart_last: Duration,
    /// How often it may end before it was ever ready.
    pub(super) failures: u32,
}

/// What shows that a process is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Ready {
    /// A GET is answered with 2xx or 3xx.
    Http {
        port: String,
        #[serde(default = "root")]
        path: String,
    },
    /// A connection is accepted.
    Tcp { port: String },
    /// A command exits with 0.
    Command(Vec<String>),
    /// A line of its output has this text.
    Output(String),
}

fn root() -> String {
    "/".to_owned()
}

/// What a process may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) memory: Option<ByteSize>,
    pub(super) open_files: Option<u64>,
    pub(super) processes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Restart {
    first: Span,
    last: Span,
}

impl Default for Restart {
    fn default() -> Self {
        Self { first: Span(Duration::from_millis(200)), last: Span(Duration::from_secs(10)) }
    }
}

/// A file of the working folder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FileSpec {
    pub(super) name: String,
    /// Below the working folder, without `.` and `..`.
    pub(super) path: String,
    pub(super) content: String,
}

/// What the manifests of a revision say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parsed {
    pub(super) processes: Vec<ProcessSpec>,
    pub(super) files: Vec<FileSpec>,
}

/// Reads manifests; else every fault, with its object and field.
pub(super) fn parse(manifests: &[Manifest]) -> Result<Parsed, Vec<String>> {
    let mut parsed = Parsed::default();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, manifest) in manifests.iter().enumerate() {
        let Some(mut fields) = Fields::of(index, manifest, &mut faults) else { continue };
        if !seen.insert((manifest.kind(), manifest.name())) {
            fields.fault("metadata.name", "another object of the kind has this name");
        }
        match manifest.kind() {
            PROCESS => parsed.processes.extend(process(manifest.name(), &mut fields)),
            _ => parsed.files.extend(file(manifest.name(), &mut fields)),
        }
    }
    if parsed.processes.len() > PROCESSES_MAX {
        faults.push(format!("a release has at most {PROCESSES_MAX} objects of kind Process"));
    }
    if parsed.files.len() > FILES_MAX {
        faults.push(format!("a release has at most {FILES_MAX} objects of kind File"));
    }
    clashes(&parsed.files, &mut faults);
    if faults.is_empty() { Ok(parsed) } else { Err(faults) }
}

/// The names of the ports of an object.
pub(super) fn ports(manifest: &Manifest) -> Vec<String> {
    let ports = manifest.0["spec"]["ports"].as_object().filter(|_| manifest.kind() == PROCESS);
    ports.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// Two files cannot be at one path, nor one file at the folder of another.
fn clashes(files: &[FileSpec], faults: &mut Vec<String>) {
    let paths: BTreeMap<&str, &str> =
        files.iter().map(|file| (file.path.as_str(), file.name.as_str())).collect();
    for file in files {
        let folders = Path::new(&file.path).ancestors().filter_map(Path::to_str);
        let other = folders.filter_map(|path| paths.get(path)).find(|name| **name != file.name);
        if let Some(other) = other {
            faults.push(format!("File {}: spec.path: File {other} is in the way", file.name));
        }
    }
}

fn process(name: &str, fields: &mut Fields<'_>) -> Option<ProcessSpec> {
    let command = fields.required("command");
    let environment: BTreeMap<String, String> = fields.optional("environment");
    let ports: BTreeMap<String, u16> = fields.optional("ports");
    let ready: Option<Ready> = fields.optional("ready");
    let settle: Option<Span> = fields.optional("settle");
    let limits: Limits = fields.optional("limits");
    let restart: Restart = fields.optional("restart");
    let failures: Option<u32> = fields.optional("failures");
    fields.nothing_else();

    let command: Vec<String> = command?;
    check_command("spec.command", &command, fields);
    check_environment(&environment, fields);
    check_ports(&ports, fields);
    check_ready(ready.as_ref(), &ports, fields);
    check_limits(limits, fields);
    let settle = settle.map_or(Duration::from_secs(1), |settle| settle.0);
    if settle > WAIT_MAX {
        fields.fault("spec.settle", "at most 1h");
    }
    let (first, last) = (restart.first.0, restart.last.0);
    if first < Duration::from_millis(10) || first > last || last > WAIT_MAX {
        fields.fault("spec.restart", "first is at least 10ms and at most last, last at most 1h");
    }
    let failures = failures.unwrap_or(3);
    if !(1..=100).contains(&failures) {
        fields.fault("spec.failures", "between 1 and 100");
    }
    Some(ProcessSpec {
        name: name.to_owned(),
        command,
        environment,
        ports,
        ready,
        settle,
        limits,
        restart_first: first,
        restart_last: last,
        failures,
    })
}

fn check_command(field: &str, command: &[String], fields: &mut Fields<'_>) {
    if command.first().is_none_or(String::is_empty) {
        fields.fault(field, "names no program");
    }
    if command.iter().map(String::len).sum::<usize>() > TEXT_BYTES_MAX {
        fields.fault(field, "longer than 64 KiB");
    }
    if command.iter().any(|word| word.contains('\0')) {
        fields.fault(field, "holds a zero byte");
    }
}

fn check_environment(environment: &BTreeMap<String, String>, fields: &mut Fields<'_>) {
    for (name, value) in environment {
        let field = format!("spec.environment.{name}");
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
        if !is_name {
            fields.fault(&field, "a name has letters, digits and _, and no digit first");
        }
        if name.starts_with("ORDERWIRE_") || name == "TRACEPARENT" {
            fields.fault(&field, "is set by Orderwire: choose another name");
        }
        if value.contains('\0') {
            fields.fault(&field, "holds a zero byte");
        }
    }
    if environment.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > TEXT_BYTES_MAX {
        fields.fault("spec.environment", "longer than 64 KiB");
    }
}

fn check_ports(ports: &BTreeMap<String, u16>, fields: &mut Fields<'_>) {
    for name in ports.keys().filter(|name| name.parse::<Label>().is_err()) {
        fields.fault(&format!("spec.ports.{name}"), "a name has small letters, digits and -");
    }
    if ports.len() > PORTS_MAX {
        fields.fault("spec.ports", "more than 16");
    }
}

fn check_ready(ready: Option<&Ready>, ports: &BTreeMap<String, u16>, fields: &mut Fields<'_>) {
    match ready {
        Some(Ready::Http { port, .. } | Ready::Tcp { port }) if !ports.contains_key(port) => {
            fields.fault("spec.ready", &format!("port {port:?} is not among spec.ports"));
        }
        Some(Ready::Http { path, .. }) if !is_request_path(path) => {
            fields.fault("spec.ready.http.path", "begins with / and has no space or control character");
        }
        Some(Ready::Command(command)) => check_command("spec.ready.command", command, fields),
        Some(Ready::Output(text)) if text.is_empty() || text.len() > 1_024 || text.contains('\n') => {
            fields.fault("spec.ready.output", "1 to 1024 bytes of one line");
        }
        _ => {}
    }
}

fn check_limits(limits: Limits, fields: &mut Fields<'_>) {
    if limits.memory.is_some_and(|memory| memory.0 < 1 << 20) {
        fields.fault("spec.limits.memory", "at least 1MiB");
    }
    if limits.open_files.is_some_and(|files| !(16..=1 << 20).contains(&files)) {
        fields.fault("spec.limits.open_files", "between 16 and 1048576");
    }
    if limits.processes.is_some_and(|processes| !(1..=1 << 16).contains(&processes)) {
        fields.fault("spec.limits.processes", "between 1 and 65536");
    }
}

fn file(name: &str, fields: &mut Fields<'_>) -> Option<FileSpec> {
    let path = fields.required::<String>("path");
    let content = fields.required::<String>("content");
    fields.nothing_else();
    let (path, content) = (path?, content?);
    if content.len() > CONTENT_BYTES_MAX {
        fields.fault("spec.content", "longer than 1 MiB");
    }
    if !is_below(&path) {
        fields.fault(
            "spec.path",
            "is a path below the working folder, without . and .., such as site/index.html",
        );
    }
    if path == TEMPORARY || path.starts_with(&format!("{TEMPORARY}/")) {
        fields.fault("spec.path", ".tmp is the folder of temporary files: choose another");
    }
    Some(FileSpec { name: name.to_owned(), path, content })
}

/// The folder of temporary files in the working folder.
pub(super) const TEMPORARY: &str = ".tmp";

fn is_below(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty() && part.len() <= 255 && !part.contains('\0') && !matches!(*part, "." | "..")
    };
    parts.iter().all(plain)
        && path.len() <= 1_024
        && parts.len() <= 32
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The fields of an object's `spec`, with a place for what is wrong.
struct Fields<'a> {
    object: String,
    left: Map<String, Value>,
    faults: &'a mut Vec<String>,
}

impl<'a> Fields<'a> {
    fn of(index: usize, manifest: &Manifest, faults: &'a mut Vec<String>) -> Option<Self> {
        let (kind, name) = (manifest.kind(), manifest.name());
        let object = match (kind, name) {
            ("", _) | (_, "") => format!("object {}", index + 1),
            (kind, name) => format!("{kind} {name}"),
        };
        let mut fields = Self { object, left: Map::new(), faults };
        let Some(top) = manifest.0.as_object() else {
            fields.fault("/", "is no object");
            return None;
        };
        if manifest.0["apiVersion"] != API_VERSION {
            fields.fault("apiVersion", &format!("must be {API_VERSION}"));
        }
        if ![PROCESS, FILE].contains(&kind) {
            fields.fault("kind", &format!("the target process knows Process and File, not {kind:?}"));
            return None;
        }
        if name.parse::<Label>().is_err() {
            fields.fault("metadata.name", "must be a DNS label: small letters, digits and -");
        }
        fields.known("", top, &["apiVersion", "kind", "metadata", "spec"]);
        if let Some(metadata) = manifest.0["metadata"].as_object() {
            fields.known("metadata.", metadata, &["name", "namespace", "labels", "annotations"]);
        }
        let Some(spec) = manifest.0["spec"].as_object() else {
            fields.fault("spec", "must be a map");
            return None;
        };
        fields.left = spec.clone();
        Some(fields)
    }

    fn fault(&mut self, field: &str, what: &str) {
        self.faults.push(format!("{}: {field}: {what}", self.object));
    }

    fn known(&mut self, path: &str, map: &Map<String, Value>, known: &[&str]) {
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            self.fault(&format!("{path}{name}"), "is no known field");
        }
    }

    fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        if !self.left.contains_key(name) {
            self.fault(&format!("spec.{name}"), "is missing");
        }
        self.take(name)
    }

    /// The default, where it is absent or wrong.
    fn optional<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.take(name).unwrap_or_default()
    }

    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        match serde_json::from_value(self.left.remove(name)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(&format!("spec.{name}"), &error.to_string());
                None
            }
        }
    }

    fn nothing_else(&mut self) {
        for name in std::mem::take(&mut self.left).keys() {
            self.fault(&format!("spec.{name}"), "is no known field");
        }
    }
}
