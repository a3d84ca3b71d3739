//! The checks that need more than one key: what is well formed and still
//! cannot work.

mod broker;
mod cache;
mod forwards;
mod mqtt;
mod orders;
mod rules;
mod store;
mod views;

use orderwire_types::dataset::Span;
use orderwire_types::queue::{Kind, alias};

use crate::fault::{Fault, Position};
use crate::model::{AUDIT, ByteSize, Config, base};
use crate::read::name;
use crate::secret::{Secret, SecretValue};
use crate::tree::{Id, Tree};

/// Queues whose worker expects them as they are.
const WORKED: [&str; 4] = ["infra", "clients", "data", "notify"];

/// Reports every fault of a configuration that could be read.
pub(crate) fn check(config: &Config, report: &mut Report<'_>) {
    store::check(config, report);
    if config.data.as_os_str().is_empty() {
        report.fault(&["data"], "the data folder has no name; write for example ./orderwire-data");
    }
    cache::check(config, report);
    broker::check(config, report);
    mqtt::check(config, report);
    queues(config, report);
    datasets(config, report);
    views::check(config, report);
    orders::check(config, report);
    forwards::check(config, report);
    rules::check(config, report);
    limits(config, report);
    retention(config, report);
    log(config, report);
}

/// Where the faults of a configuration go, and what is known about its source.
pub struct Report<'a> {
    tree: &'a Tree,
    root: Id,
    lost: &'a [Vec<String>],
    faults: &'a mut Vec<Fault>,
}

impl<'a> Report<'a> {
    /// `lost` are the paths that could not be read: nothing is said about
    /// their absence.
    pub(crate) fn new(tree: &'a Tree, root: Id, lost: &'a [Vec<String>], faults: &'a mut Vec<Fault>) -> Self {
        Self { tree, root, lost, faults }
    }

    /// A fault of the value at a path, in which `[2]` is an entry of a list.
    /// It is told with the place of the value, or of what would hold it.
    pub fn fault(&mut self, path: &[&str], detail: impl Into<String>) {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        let position: Option<Position> = self.tree.locate(self.root, &path);
        self.faults.push(Fault { position, key: name(&path), detail: detail.into() });
    }

    /// Whether a fault at or below this path was found already: what depends
    /// on it would only be said twice.
    pub fn is_faulty(&self, path: &[&str]) -> bool {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        let whole = name(&path);
        self.faults.iter().any(|fault| {
            let below = fault.key.strip_prefix(whole.as_str());
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Whether the value at a path stands in a file, where everybody may see it who may see
    /// the file.
    pub(crate) fn is_in_file(&self, path: &[&str]) -> bool {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        self.tree.locate(self.root, &path).is_some_and(|position| position.line.is_some())
    }

    /// Reads the secret that the value at a path names; a fault when that fails.
    pub fn secret(&mut self, path: &[&str], secret: &Secret) -> Option<SecretValue> {
        match secret.resolve() {
            Ok(value) => Some(value),
            Err(detail) => {
                self.fault(path, detail);
                None
            }
        }
    }

    /// Whether something at or below this path could not be read.
    pub(crate) fn lost(&self, path: &[&str]) -> bool {
        self.lost.iter().any(|lost| lost.len() >= path.len() && lost.iter().zip(path).all(|(a, b)| a == b))
    }
}

/// Shows the scheme alone: an URL may hold a password.
fn unavailable(url: &str, instead: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') => {
            format!("{scheme}:// is not available in this version; {instead}")
        }
        _ => format!("this is not an URL that is known; {instead}"),
    }
}

/// Whether an URL holds a password beside its user.
fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    authority.and_then(|text| text.rsplit_once('@')).is_some_and(|(info, _)| info.contains(':'))
}

fn queues(config: &Config, report: &mut Report<'_>) {
    for (name, def) in config.queue_definitions() {
        let Some(settings) = config.queues.get(&name) else { continue };
        if forwards::owns(config, &name) {
            continue;
        }
        let name = name.as_str();
        let base = base(name);
        let meant = alias(name);
        if meant != name {
            report.fault(
                &["queues", name],
                format!("{name} is another name of the queue {meant}; configure that one"),
            );
        } else if base.is_none() && def.types.is_empty() && !report.lost(&["queues", name, "types"]) {
            let detail =
                "types is missing: say which event types it takes, for example types: [\"mycompany.#\"]";
            report.fault(&["queues", name], detail);
        }
        if let Some(base) = base
            && base.kind != def.kind
            && (WORKED.contains(&name) || name == AUDIT)
        {
            let detail = "the kind of this queue cannot change; remove it, or add a queue of another name";
            report.fault(&["queues", name, "kind"], detail);
        }
        if def.kind == Kind::Stream && settings.key.is_some() {
            report.fault(
                &["queues", name, "key"],
                "a stream is in arrival order; remove key, or use kind: task",
            );
        }
        if !(1..=1_000).contains(&def.attempts) {
            report
                .fault(&["queues", name, "attempts"], format!("{} is out of range: 1 to 1000", def.attempts));
        }
        let (first, last) = (def.backoff.first, def.backoff.last);
        if first > last {
            report
                .fault(&["queues", name, "backoff"], format!("first ({first}) is longer than last ({last})"));
        }
        span(report, &["queues", name, "backoff", "last"], last, "1ms", "1d");
    }
}

fn datasets(config: &Config, report: &mut Report<'_>) {
    for (name, def) in &config.datasets {
        let path = ["datasets", name.as_str()];
        if report.lost(&path) {
            continue;
        }
        for fault in def.faults() {
            // In the pointers of a definition, every number is an index.
            let step = |step: &str| match step.parse::<usize>() {
                Ok(index) => format!("[{index}]"),
                Err(_) => step.to_owned(),
            };
            let steps: Vec<String> = fault.pointer.split('/').skip(1).map(step).collect();
            let steps: Vec<&str> = path.into_iter().chain(steps.iter().map(String::as_str)).collect();
            report.fault(&steps, fault.detail);
        }
        if let Some(retention) = def.retention {
            span(report, &[path[0], path[1], "retention"], retention, "1m", "36500d");
        }
    }
}

fn limits(config: &Config, report: &mut Report<'_>) {
    let limits = &config.limits;
    for (name, value, least, most) in limits.bounds() {
        if value < least || value > most {
            let detail = if name.ends_with("_bytes") {
                format!("{} is out of range: {} to {}", ByteSize(value), ByteSize(least), ByteSize(most))
            } else {
                format!("{value} is out of range: {least} to {most}")
            };
            report.fault(&["limits", name], detail);
        }
    }
    let chain = [
        ("event_bytes", limits.event_bytes, "body_bytes", limits.body_bytes),
        ("field_bytes", limits.field_bytes, "event_bytes", limits.event_bytes),
    ];
    for (small, value, large, most) in chain {
        if value > most {
            report.fault(
                &["limits", small],
                format!("{value} is more than {large} ({most}); raise that or lower this"),
            );
        }
    }
}

fn retention(config: &Config, report: &mut Report<'_>) {
    let retention = &config.retention;
    span(report, &["retention", "traces"], retention.traces, "1h", "3650d");
    span(report, &["retention", "dead_letters"], retention.dead_letters, "1h", "3650d");
    span(report, &["retention", "idempotency"], retention.idempotency, "1h", "30d");
    span(report, &["retention", "forwards"], retention.forwards, "1h", "3650d");
    span(report, &["retention", "orders"], retention.orders, "1d", "3650d");
    if !(2..=1000).contains(&retention.revisions) {
        let detail = format!("{} is out of range: 2 to 1000", retention.revisions);
        report.fault(&["retention", "revisions"], detail);
    }
}

fn log(config: &Config, report: &mut Report<'_>) {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let target = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-'))
    };
    for part in config.telemetry.log.split(',').map(str::trim) {
        let valid = match part.split_once('=') {
            Some((name, level)) => target(name) && levels.contains(&level),
            None => levels.contains(&part),
        };
        if !valid {
            let detail = format!(
                "{part:?} is not a level ({}) nor a part with one such as orderwire_queue=debug",
                levels.join(", ")
            );
            report.fault(&["telemetry", "log"], detail);
        }
    }
}

/// A length of time must lie within bounds, which are written as people do.
pub(crate) fn span(report: &mut Report<'_>, path: &[&str], value: Span, least: &str, most: &str) {
    let bound = |text: &str| text.parse::<Span>().expect("a length of time");
    if value < bound(least) || value > bound(most) {
        report.fault(path, format!("{value} is out of range: {least} to {most}"));
    }
}
