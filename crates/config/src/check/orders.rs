//! What orders are resolved with: words that mean one thing each, and targets that can
//! work.

use std::collections::{BTreeMap, HashMap};

use super::{Report, span};
use crate::model::{
    ARCHTYPES, ByteSize, Config, DEFAULT, ENVIRONMENTS, HARDWARE, LOCAL, Names, PLACEHOLDERS, TargetSettings,
};

/// The longest alias, in bytes.
const ALIAS_MAX: usize = 64;
/// The longest DNS label.
const LABEL_MAX: usize = 63;

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    products(config, report);
    for (name, target) in &config.targets {
        self::target(name.as_str(), target, report);
    }
    environments(config, report);
    let of_environment = config.environments.iter().filter(|(name, _)| name.as_str() != DEFAULT);
    let of_environment = of_environment.map(|(name, own)| (name.as_str(), own.aliases.as_slice()));
    words("environments", "environment", &ENVIRONMENTS, &of_environment.collect(), report);
    let of_archtype = config.archtypes.iter().map(|(name, own)| (name.as_str(), own.aliases.as_slice()));
    words("archtypes", "archtype", &ARCHTYPES, &of_archtype.collect(), report);
    let of_hardware = config.hardware.iter().map(|(name, own)| (name.as_str(), own.aliases.as_slice()));
    words("hardware", "hardware class", &HARDWARE, &of_hardware.collect(), report);
}

fn products(config: &Config, report: &mut Report<'_>) {
    for (i, folder) in config.products.folders.iter().enumerate() {
        if folder.as_os_str().is_empty() {
            let detail = "this folder has no name; write for example ./products, or remove it";
            report.fault(&["products", "folders", &format!("[{i}]")], detail);
        }
    }
    let aliases = &config.products.aliases;
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (alias, product) in aliases {
        let path = ["products", "aliases", alias];
        let lower = alias.to_lowercase();
        if let Some(detail) = alias_fault(alias) {
            report.fault(&path, detail);
        } else if let Some(other) = seen.insert(lower, product.as_str())
            && other != product.as_str()
        {
            let detail = format!("{alias} stands for {other} already, in another case; keep one");
            report.fault(&path, detail);
        }
    }
    for (alias, product) in aliases {
        if let Some(meant) = seen.get(product.as_str())
            && *meant != product.as_str()
        {
            let detail = format!("{product} is itself another name of {meant}; write {meant}");
            report.fault(&["products", "aliases", alias], detail);
        }
    }
}

fn target(name: &str, target: &TargetSettings, report: &mut Report<'_>) {
    if let Some(detail) = namespace_fault(&target.namespace) {
        report.fault(&["targets", name, "namespace"], detail);
    }
    if !(1..=256).contains(&target.concurrency) {
        let detail = format!("{} is out of range: 1 to 256", target.concurrency);
        report.fault(&["targets", name, "concurrency"], detail);
    }
    if target.memory < ByteSize(1 << 20) || target.memory > ByteSize(1 << 40) {
        let detail = format!("{} is out of range: 1MiB to 1TiB", target.memory);
        report.fault(&["targets", name, "memory"], detail);
    }
    span(report, &["targets", name, "grace"], target.grace, "0s", "5m");
}

fn environments(config: &Config, report: &mut Report<'_>) {
    let names = Names::of(config);
    for (name, own) in &config.environments {
        let name = name.as_str();
        if let Some(target) = &own.target
            && target.as_str() != LOCAL
            && !config.targets.contains_key(target)
            && !report.lost(&["targets", target.as_str()])
        {
            let detail = format!("there is no target {target}; define it under targets");
            report.fault(&["environments", name, "target"], detail);
        }
        if name != DEFAULT {
            if own.name.is_some() {
                let detail = "only default has a name, which is the environment of an order that names none; \
                              remove it, or write it into environments.default";
                report.fault(&["environments", name, "name"], detail);
            }
            continue;
        }
        if !own.aliases.is_empty() {
            let detail = "default is no environment and has no other names; give them to an environment";
            report.fault(&["environments", name, "aliases"], detail);
        }
        if let Some(given) = &own.name
            && names.environment(Some(given.as_str())).is_none()
            && !report.lost(&["environments", given.as_str()])
        {
            let known: Vec<&str> = names.environments().collect();
            let detail = format!(
                "there is no environment {given}; define it under environments, or use one of {}",
                known.join(", ")
            );
            report.fault(&["environments", name, "name"], detail);
        }
    }
}

/// The words of one enumeration: an alias stands for one thing, and is no name of
/// another. It may be an alias of a word that exists anyway: what is configured goes
/// first.
fn words(
    section: &str,
    what: &str,
    existing: &[(&str, &[&str])],
    configured: &BTreeMap<&str, &[String]>,
    report: &mut Report<'_>,
) {
    let is_name =
        |text: &str| configured.contains_key(text) || existing.iter().any(|(name, _)| *name == text);
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (name, aliases) in configured {
        for (i, alias) in aliases.iter().enumerate() {
            let lower = alias.to_lowercase();
            let detail = if let Some(detail) = alias_fault(alias) {
                detail
            } else if lower != *name && is_name(&lower) {
                format!("{alias} is the name of another {what}; choose another alias")
            } else if let Some(other) = seen.insert(lower, name)
                && other != *name
            {
                format!("{alias} stands for {other} already; remove it from one of them")
            } else {
                continue;
            };
            report.fault(&[section, name, "aliases", &format!("[{i}]")], detail);
        }
    }
}

/// Why a text can be no alias at all.
fn alias_fault(alias: &str) -> Option<String> {
    if alias.trim().is_empty() {
        return Some("an alias cannot be empty; remove it".to_owned());
    }
    if alias.len() > ALIAS_MAX || alias.trim() != alias || alias.chars().any(char::is_control) {
        return Some(format!(
            "an alias has at most {ALIAS_MAX} bytes, no control characters, and no space at its ends"
        ));
    }
    None
}

/// Why a template cannot make a DNS label.
fn namespace_fault(template: &str) -> Option<String> {
    let known = || PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ");
    let (mut rest, mut least) = (template, 0);
    while let Some(next) = rest.chars().next() {
        least += 1;
        if next == '{' {
            let Some((name, after)) = rest[1..].split_once('}') else {
                return Some(format!("a brace is not closed; the placeholders are {}", known()));
            };
            if !PLACEHOLDERS.contains(&name) {
                return Some(format!("{{{name}}} is not known; the placeholders are {}", known()));
            }
            rest = after;
        } else if next.is_ascii_lowercase() || next.is_ascii_digit() || next == '-' {
            rest = &rest[1..];
        } else {
            return Some(format!(
                "{next:?} cannot be in a namespace; use a-z 0-9 - and the placeholders {}",
                known()
            ));
        }
    }
    if template.is_empty() {
        Some(format!("the template is empty; write for example {{client}}, or any of {}", known()))
    } else if template.starts_with('-') || template.ends_with('-') {
        Some("a namespace begins and ends with a letter or digit; remove the dash".to_owned())
    } else if least > LABEL_MAX {
        Some(format!("this makes at least {least} characters, and a namespace has {LABEL_MAX} at most"))
    } else {
        None
    }
}
