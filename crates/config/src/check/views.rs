//! Views: their paths, and the columns that they show. Their `filter` and
//! `order` are in a dialect of its own, which the query server reads and checks.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use orderwire_types::dataset::{DatasetDef, FieldType, HIDDEN_COLUMNS, Span};

use super::{Report, span};
use crate::model::{Clients, Config, Freshness, Read, Shape, View};

/// The first parts of paths that belong to the server itself.
const RESERVED: [&str; 9] =
    ["v1", "rest", "healthz", "readyz", "metrics", "openapi.json", "asyncapi.json", "docs", "console"];

pub(super) fn check(config: &Config, report: &mut Report<'_>) {
    let mut paths: HashMap<&str, &str> = HashMap::new();
    for (name, view) in &config.views {
        let at = |key: &'static str| ["views", name.as_str(), key];
        if !valid_name(name) {
            let detail = format!("view {name:?} is not valid: 1 to 64 of a-z 0-9 - _ and a letter first");
            report.fault(&["views", name], detail);
        }
        if let Some(detail) = path_fault(&view.path) {
            report.fault(&at("path"), detail);
        } else if let Some(other) = paths.insert(&view.path, name) {
            report.fault(&at("path"), format!("the view {other} has this path already; choose another"));
        }
        columns(config, name, view, report);
        shape(name, view, report);
        params(name, view, report);
        bounds(config, name, view, report);
        if view.read == Read::Key && view.clients.is_some() && !report.lost(&at("read")) {
            let detail =
                "with read: key the key decides whose rows are shown; remove clients, or use read: public";
            report.fault(&at("clients"), detail);
        }
        let nobody = matches!(&view.clients, Some(Clients::Named(clients)) if clients.is_empty());
        if nobody && !report.lost(&at("clients")) {
            report.fault(&at("clients"), "names nobody; name at least one client, or write all");
        }
    }
}

fn valid_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(allowed)
}

/// Why a path cannot be a view's.
fn path_fault(path: &str) -> Option<String> {
    let Some(parts) = path.strip_prefix('/') else {
        return Some(format!("{path:?} must begin with /"));
    };
    let first = parts.split('/').next().unwrap_or_default();
    // Not by letters alone: a proxy in front may fold case.
    if RESERVED.contains(&first.to_ascii_lowercase().as_str()) {
        return Some(format!("/{first} is reserved; choose another, for example /api/v1/{}", last(parts)));
    }
    if path.len() > 255 {
        return Some("longer than 255 characters".to_owned());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
    for part in parts.split('/') {
        if part.is_empty() {
            return Some(format!("{path:?} has an empty part; write it without // and without / at its end"));
        }
        if matches!(part, "." | "..") || !part.chars().all(allowed) {
            return Some(format!("{part:?} in {path:?} is not valid: use A-Z a-z 0-9 . _ ~ -"));
        }
    }
    None
}

fn last(parts: &str) -> &str {
    parts.rsplit('/').find(|part| !part.is_empty()).unwrap_or("view")
}

/// The dataset and every column that the view speaks of must exist.
fn columns(config: &Config, name: &str, view: &View, report: &mut Report<'_>) {
    let dataset = view.dataset.as_str();
    let Some(def) = config.datasets.get(&view.dataset) else {
        if !report.lost(&["datasets", dataset]) && !report.lost(&["datasets"]) {
            let detail = format!("there is no dataset {dataset}; define it under datasets");
            report.fault(&["views", name, "dataset"], detail);
        }
        return;
    };
    let lost = report.lost(&["datasets", dataset]);
    let unknown = |column: &str| (!lost && !exists(def, column)).then(|| missing(def, dataset, column));
    let mut found: Vec<(Vec<String>, String)> = Vec::new();
    let mut push = |path: &[&str], detail: String| {
        found.push((path.iter().map(|step| (*step).to_owned()).collect(), detail));
    };
    if let Some(columns) = &view.columns {
        if columns.is_empty() {
            push(&["columns"], "shows no column; name some, or remove it to show all".to_owned());
        }
        let mut seen = HashSet::new();
        for (i, column) in columns.iter().enumerate() {
            if let Some(detail) = unknown(column) {
                push(&["columns", &format!("[{i}]")], detail);
            } else if !seen.insert(column) {
                push(&["columns", &format!("[{i}]")], format!("column {column} is named twice"));
            }
        }
    }
    if let Some(column) = &view.group_by
        && let Some(detail) = unknown(column)
    {
        push(&["group_by"], detail);
    }
    for (path, detail) in found {
        let path: Vec<&str> = ["views", name].into_iter().chain(path.iter().map(String::as_str)).collect();
        report.fault(&path, detail);
    }
}

fn exists(def: &DatasetDef, column: &str) -> bool {
    def.field(column).is_some() || HIDDEN_COLUMNS.contains(&column)
}

fn missing(def: &DatasetDef, dataset: &str, column: &str) -> String {
    let names: Vec<&str> = def.fields.iter().take(20).map(|field| field.name.as_str()).collect();
    let more = if def.fields.len() > names.len() { ", …" } else { "" };
    format!("column {column:?} is not in dataset {dataset}; it has {}{more}", names.join(", "))
}

fn shape(name: &str, view: &View, report: &mut Report<'_>) {
    match (view.shape, &view.group_by) {
        (Shape::Grouped | Shape::Latest, None) if !report.lost(&["views", name, "group_by"]) => {
            let shape = if view.shape == Shape::Grouped { "grouped" } else { "latest" };
            let detail = format!("shape: {shape} needs group_by: the column whose value groups the rows");
            report.fault(&["views", name, "shape"], detail);
        }
        (Shape::Rows, Some(_)) if !report.lost(&["views", name, "shape"]) => {
            let detail = "group_by belongs to shape: grouped, latest or series; add one, or remove group_by";
            report.fault(&["views", name, "group_by"], detail);
        }
        _ => {}
    }
}

/// How many parameters a view has at most.
const PARAMS_MAX: usize = 32;

fn params(name: &str, view: &View, report: &mut Report<'_>) {
    if view.params.len() > PARAMS_MAX {
        let detail = format!("has {} parameters; at most {PARAMS_MAX} are served", view.params.len());
        report.fault(&["views", name, "params"], detail);
    }
    for (param, def) in &view.params {
        let at = ["views", name, "params", param.as_str()];
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let begins = param.starts_with(|c: char| c.is_ascii_alphabetic());
        if param.len() > 63 || !begins || !param.chars().all(allowed) {
            let detail =
                format!("parameter {param:?} is not valid: 1 to 63 of A-Z a-z 0-9 _ and a letter first");
            report.fault(&at, detail);
        }
        if def.param_type == FieldType::Json {
            report.fault(&at, "a parameter cannot be json; compare with a text");
        }
        if def.required && def.default.is_some() {
            report.fault(&at, "what must be given needs no default; remove one of the two");
        }
    }
}

fn bounds(config: &Config, name: &str, view: &View, report: &mut Report<'_>) {
    let most = config.limits.rows;
    if let Some(limit) = view.limit
        && !(1..=most).contains(&limit)
    {
        report
            .fault(&["views", name, "limit"], format!("{limit} is out of range: 1 to {most} (limits.rows)"));
    }
    span(report, &["views", name, "ttl"], view.ttl, "1s", "1h");
    if let Freshness::Within(age) = view.freshness {
        span(report, &["views", name, "freshness"], age, "5s", "1h");
        if age > view.ttl && view.ttl >= Span(Duration::from_secs(1)) {
            let detail =
                format!("{age} is longer than ttl ({}), which bounds it; lower this or raise ttl", view.ttl);
            report.fault(&["views", name, "freshness"], detail);
        }
    }
}
